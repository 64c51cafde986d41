"""Regions, events, keys and tempi of several people made one, where a share of votes would mean nothing.

Free text is not merged: two sentences have no mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from annotation.kinds import parse_key, pitch_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = {"onset": 0.05, "beat": 0.07, "downbeat": 0.07}  # seconds, as mir_eval counts hits
TEMPO = 0.04  # of a tempo: what McKinney and others call the same
OCTAVES = (2.0, 0.5, 3.0, 1 / 3)
PARTLY = 0.5  # what a vote for half or double, or a third or three times the tempo, counts


@dataclass(frozen=True)
class Merged:
    """One statement that several people make.

    start, duration: seconds; 0 long for a moment. confidence: weighted share, 0 to 1, of those who answered. said: how many people.
    """

    value: str
    start: float
    duration: float
    confidence: float
    said: int


def weighted_median(values: Sequence[float] | NDArray[Any], weights: Sequence[float] | NDArray[Any]) -> float:
    """The value with half of the weight on either side; between two such, the middle.

    >>> weighted_median([1.0, 2.0, 9.0], [1.0, 1.0, 1.0]), weighted_median([1.0, 3.0], [1.0, 1.0]), weighted_median([1.0, 3.0], [1.0, 3.0])
    (2.0, 2.0, 3.0)
    """
    import numpy as np

    order = np.argsort(values, kind="stable")
    ordered, weight = np.asarray(values, float)[order], np.asarray(weights, float)[order]
    half = weight.sum() / 2
    reached = np.cumsum(weight)
    first = min(int(np.searchsorted(reached, half * (1 - 1e-12))), len(ordered) - 1)
    if abs(reached[first] - half) <= 1e-12 * half and first + 1 < len(ordered):
        return float((ordered[first] + ordered[first + 1]) / 2)
    return float(ordered[first])


def regions(
    who: NDArray[Any], start: NDArray[Any], duration: NDArray[Any], weights: NDArray[Any], value: str = "", support: float = 0.5
) -> list[Merged]:
    """Stretches of one value in one clip that enough people drew.

    Where more than `support` of the weight says so at once is a region; its boundaries are the weighted medians of those whose own
    regions overlap it.

    Args:
        who: (regions,) the place in `weights` of who drew it. start, duration: (regions,) seconds.
        weights: (people,) of all who answered, ≥ 0, those included who drew nothing.
        support: share of the weight that must be exceeded; 0 keeps whatever anybody drew.
    Returns:
        regions in time, none of which overlap.
    """
    import numpy as np

    total = float(weights.sum())
    spans = [(person, *span) for person in np.unique(who).tolist() for span in _united(start[who == person], duration[who == person])]
    if not spans or total <= 0:
        return []
    people, starts, ends = (
        np.array([each[0] for each in spans]),
        np.array([each[1] for each in spans]),
        np.array([each[2] for each in spans]),
    )
    edges = np.concatenate([starts, ends])
    # At one moment, what begins comes first: regions that touch are not torn apart.
    order = np.lexsort((np.repeat([0, 1], len(starts)), edges))
    level = np.cumsum(np.concatenate([weights[people], -weights[people]])[order]) / total
    above = np.concatenate([[False], level > support + 1e-9])
    rises, falls = np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(~above[1:] & above[:-1])
    found: list[Merged] = []
    for rise, fall in zip(rises, falls, strict=True):
        begin, end = edges[order[rise]], edges[order[fall]]
        if end <= begin:
            continue  # one person's region begins where another's ends: they say nothing at once
        with_it = (starts < end) & (ends > begin)
        persons = np.unique(people[with_it])
        first = [starts[with_it & (people == person)].min() for person in persons]
        last = [ends[with_it & (people == person)].max() for person in persons]
        left, right = weighted_median(first, weights[persons]), weighted_median(last, weights[persons])
        if found and left < found[-1].start + found[-1].duration:
            left = begin  # somebody's one region is other people's two: the gap between them stays
        confidence = min(1.0, float(weights[persons].sum()) / total)
        found.append(Merged(value, left, max(0.0, right - left), confidence, len(persons)))
    return [_before(each, found[index + 1 :]) for index, each in enumerate(found)]


def events(
    who: NDArray[Any], start: NDArray[Any], values: Sequence[str], weights: NDArray[Any], tolerance: float, support: float = 0.5
) -> list[Merged]:
    """Moments in one clip that enough people marked: beats with their numbers, downbeats, onsets.

    The moment with the most weight of people within the tolerance comes first and takes the nearest mark of each; then the next.

    Args:
        who, start, weights, support: as for `regions`. values: (marks,) of which the heaviest is taken.
        tolerance: seconds to either side of the moment.
    Returns:
        moments in time: the weighted medians of the marks.
    """
    import numpy as np

    total = float(weights.sum())
    if total <= 0 or not len(start):
        return []
    order = np.lexsort((who, start))
    times = np.asarray(start, float)[order]
    found = []
    # Marks that are farther apart than the tolerance never meet.
    for places in np.split(order, np.flatnonzero(np.diff(times) > tolerance + 1e-9) + 1):
        while len(places):
            members = min(
                (_near(who, start, places, centre, tolerance) for centre in places), key=lambda each: _rank(start, weights[who[each]], each)
            )
            share = float(weights[who[members]].sum()) / total
            if share <= support + 1e-9:
                break
            word = _heaviest([values[place] for place in members], weights[who[members]])
            found.append(Merged(word, weighted_median(start[members], weights[who[members]]), 0.0, min(1.0, share), len(members)))
            places = np.setdiff1d(places, members)
    return sorted(found, key=lambda each: each.start)


def key(values: Sequence[str], weights: Sequence[float]) -> tuple[str, float]:
    """Of the keys that were said, the one that loses least if a vote, drawn by weight, is right: MIREX counts near misses in part.

    Returns:
        it, and the weighted share of those who said just it.

    >>> key(["E major", "C major", "G major", "Ab minor"], [1.0, 1.0, 1.0, 1.0])
    ('G major', 0.25)
    """
    total = sum(weights)
    said = {value: sum(w for v, w in zip(values, weights, strict=True) if v == value) for value in sorted(set(values))}
    gain = {each: sum(weight * mirex(reference, each) for reference, weight in said.items()) for each in said}
    best = max(said, key=lambda each: (round(gain[each], 9), said[each]))
    return best, said[best] / total if total else 0.0


@lru_cache(4096)
def mirex(reference: str, estimate: str) -> float:
    """MIREX's score of a key: 1 right, 0.5 a fifth too high, 0.3 the relative, 0.2 the parallel, else 0.

    >>> mirex("C major", "G major"), mirex("C major", "A minor"), mirex("C major", "C minor"), mirex("C# major", "Db major")
    (0.5, 0.3, 0.2, 1.0)
    """
    (tonic, mode), (other, another) = parse_key(reference), parse_key(estimate)
    if "N" in (tonic, other):
        return float(tonic == other)
    up = (pitch_class(other) - pitch_class(tonic)) % 12
    if mode == another:
        return {0: 1.0, 7: 0.5}.get(up, 0.0)
    if {mode, another} != {"major", "minor"}:
        return 0.0
    if up == 0:
        return 0.2
    return 0.3 if up == (9 if mode == "major" else 3) else 0.0


def tempo(values: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """The tempo that most people mean, in beats per minute: of all clusters the one that weighs most, its octaves in part.

    Returns:
        the weighted median of the cluster's votes, and their share of the weight; votes for its octaves are not in that.

    >>> tempo([120.0, 121.0, 60.0, 90.0], [1.0, 1.0, 1.0, 1.0])
    (120.5, 0.5)
    """
    import numpy as np

    said, weight = np.asarray(values, float), np.asarray(weights, float)
    best: tuple[tuple[float, float, float], float] | None = None
    for centre in sorted(set(said.tolist())):
        same = np.abs(said / centre - 1) <= TEMPO
        median = weighted_median(said[same], weight[same])
        same = np.abs(said / median - 1) <= TEMPO
        octave = np.any([np.abs(said / (median * factor) - 1) <= TEMPO for factor in OCTAVES], axis=0) & ~same
        gain = float(weight[same].sum() + PARTLY * weight[octave].sum())
        rank = (round(gain, 9), round(float(weight[same].sum()), 9), -median)
        if best is None or rank > best[0]:
            best = rank, median
    if best is None:
        raise ValueError("tempo: no votes")
    return best[1], best[0][1] / float(weight.sum()) if weight.sum() else 0.0


def _united(start: NDArray[Any], duration: NDArray[Any]) -> list[tuple[float, float]]:
    """One person's regions as spans (start, end), those that overlap as one."""
    spans: list[tuple[float, float]] = []
    for begin, end in sorted(zip(start.tolist(), (start + duration).tolist(), strict=True)):
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((begin, end))
    return spans


def _before(region: Merged, later: Sequence[Merged]) -> Merged:
    end = min([region.start + region.duration, *(each.start for each in later)])
    return Merged(region.value, region.start, max(0.0, end - region.start), region.confidence, region.said)


def _near(who: NDArray[Any], start: NDArray[Any], places: NDArray[Any], centre: int, tolerance: float) -> NDArray[Any]:
    """Of each person the mark that is nearest to one mark, within the tolerance; that one first."""
    import numpy as np

    far = np.abs(start[places] - start[centre])
    near = places[far <= tolerance + 1e-9]
    near = near[np.lexsort((near, np.abs(start[near] - start[centre])))]
    _, first = np.unique(who[near], return_index=True)
    return np.asarray(near[np.sort(first)])


def _rank(start: NDArray[Any], weights: NDArray[Any], members: NDArray[Any]) -> tuple[float, float, float]:
    """The heaviest first, of these the narrowest, of these the earliest."""
    import numpy as np

    return -round(float(weights.sum()), 9), round(float(np.abs(start[members] - start[members[0]]).sum()), 9), float(start[members[0]])


def _heaviest(words: Iterable[str], weights: NDArray[Any]) -> str:
    heavy: Counter[str] = Counter()
    for word, weight in zip(words, weights.tolist(), strict=True):
        heavy[word] += weight
    return max(sorted(heavy), key=lambda word: round(heavy[word], 9))
