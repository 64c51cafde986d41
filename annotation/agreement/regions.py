"""How far people agree on stretches and moments that they drew: F-measure, overlap in time, and how far boundaries lie apart.

A stretch of one person and one of another match if they have the same value, their starts are within a tolerance, and their ends within
that tolerance or a fifth of the shorter one, whichever is more; moments match by their starts. Each matches one other at most, and as many
are matched as can be, as in mir_eval, and of all such ways that with the least distance. F is taken for each pair of people, then averaged
over a clip's pairs, then over clips, so that every clip weighs the same. Where one drew something and the other nothing, F is 0; where
neither did, there is nothing to compare and the pair is left out: silence on which everybody agrees would hide how they draw.

Source: Mesaros, Heittola, Virtanen, Metrics for polyphonic sound event detection, Applied Sciences 6(6), 2016 (event-based F, its 200 ms
and 20 %); Raffel et al., mir_eval, ISMIR 2014 (as many matches as can be; 70 ms for beats, 50 ms for onsets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.agreement.pairs import pairs
from annotation.kinds import base
from annotation.votes import Votes

Array = NDArray[Any]

TOLERANCES = {"beat": (0.07,), "downbeat": (0.07,), "onset": (0.05,)}
STRETCH_TOLERANCES = (0.2, 1.0)
END_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Drawn:
    """What two people drew in the same clip, one row for each pair and value that either of them drew.

    tolerances: seconds. clip, pair, value: (rows,) indices; pairs are counted over all clips.
    count: (rows,) stretches of both together. matched: (rows, tolerances) pairs of stretches.
    common, covered: (rows,) seconds that both, and that either of them covers.
    matched_clip, start_apart, end_apart: (matches,) at the widest tolerance: the clip, and seconds between two starts and two ends.
    untimed: stretches that have no start, which are left out.
    """

    tolerances: tuple[float, ...]
    clip: Array
    pair: Array
    value: Array
    count: Array
    matched: Array
    common: Array
    covered: Array
    matched_clip: Array
    start_apart: Array
    end_apart: Array
    untimed: int


def tolerances(kind: str) -> tuple[float, ...]:
    """Seconds at which a kind of label is compared: 70 ms for beats, 50 ms for onsets, 0.2 s and 1 s for stretches."""
    return TOLERANCES.get(base(kind), STRETCH_TOLERANCES)


def compare(votes: Votes, apart: Array, within: Sequence[float] = ()) -> Drawn:
    """Compare all pairs of answers.

    Args:
        votes: of clips with two answers or more (`pairs.shared`).
        within: tolerances in seconds, ascending; those of the kind if there are none.
    """
    within = tuple(within) or tolerances(votes.kind)
    timed = np.isfinite(votes.start)
    order = np.lexsort((votes.start, votes.answer))
    order = order[timed[order]]
    edges = np.searchsorted(votes.answer[order], np.arange(len(votes) + 1))
    start, value = votes.start[order], votes.value[order]
    end = start + np.nan_to_num(votes.duration[order])
    held = _by_value(votes, order, start, end)
    rows: list[tuple[float, ...]] = []
    deviations: list[Array] = [np.zeros((3, 0))]
    for number, (first, second) in enumerate(zip(*(each.tolist() for each in pairs(votes, apart)), strict=True)):
        one, other = slice(*edges[first : first + 2]), slice(*edges[second : second + 2])
        values = sorted(held[first].keys() | held[second].keys())
        if not values:
            continue
        matches = [_matched((start[one], end[one], value[one]), (start[other], end[other], value[other]), each) for each in within]
        of_value = [np.bincount(value[one][mine], minlength=values[-1] + 1).tolist() for mine, _ in matches]
        for each in values:
            here, there = held[first].get(each, []), held[second].get(each, [])
            covered = _length([*here, *there])
            common = _length(here) + _length(there) - covered
            counts = [count[each] for count in of_value]
            rows.append((votes.clip[first], number, each, len(here) + len(there), common, covered, *counts))
        mine, yours = matches[-1]
        gaps = abs(start[one][mine] - start[other][yours]), abs(end[one][mine] - end[other][yours])
        deviations.append(np.array([np.full(len(mine), votes.clip[first]), *gaps]))
    table = np.array(rows, float).reshape(-1, 6 + len(within))
    clip, pair, spoken, count = table[:, :4].T.astype(int)
    matched_clip, start_apart, end_apart = np.concatenate(deviations, axis=1)
    gaps_of = matched_clip.astype(int), start_apart, end_apart
    return Drawn(within, clip, pair, spoken, count, table[:, 6:], table[:, 4], table[:, 5], *gaps_of, int((~timed).sum()))


def _matched(one: tuple[Array, Array, Array], other: tuple[Array, Array, Array], tolerance: float) -> tuple[Array, Array]:
    """Indices of the stretches (starts, ends, values) that match, on either side."""
    from scipy.optimize import linear_sum_assignment

    if not len(one[0]) or not len(other[0]):
        return np.zeros(0, int), np.zeros(0, int)
    start, end = (abs(mine[:, None] - yours[None]) for mine, yours in zip(one[:2], other[:2], strict=True))
    shorter = np.minimum((one[1] - one[0])[:, None], (other[1] - other[0])[None])
    far = np.maximum(start / tolerance, end / np.maximum(tolerance, END_SHARE * shorter))
    far[one[2][:, None] != other[2][None]] = np.inf
    near = far <= 1 + 1e-9  # what is written as 0.07 s apart is so in floats, too
    # One match more outweighs all distances. mir_eval's own matching is a recursion, which long rows of onsets exhaust.
    mine, yours = linear_sum_assignment(np.where(near, far, 1.0 + min(far.shape)))
    kept = near[mine, yours]
    return mine[kept], yours[kept]


def _by_value(votes: Votes, order: Array, start: Array, end: Array) -> list[dict[int, list[tuple[float, float]]]]:
    """Of each answer the starts and ends of what was drawn, by value."""
    held: list[dict[int, list[tuple[float, float]]]] = [{} for _ in range(len(votes))]
    columns = votes.answer[order], votes.value[order], start, end
    for answer, value, begin, stop in zip(*(each.tolist() for each in columns), strict=True):
        held[answer].setdefault(value, []).append((begin, stop))
    return held


def _length(spans: list[tuple[float, float]]) -> float:
    """Seconds that starts and ends cover, together.

    >>> _length([(0.0, 2.0), (1.0, 3.0), (4.0, 5.0)])
    4.0
    """
    covered, reached = 0.0, 0.0
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered
