"""Which measures of agreement are taken of which question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from annotation.agreement.alpha import set_alpha, tag_alpha
from annotation.agreement.bootstrap import Scores, mean, median, ratio
from annotation.agreement.kappa import choice_kappa, fitting, tag_kappa
from annotation.agreement.nearness import KEY_WEIGHTS, TEMPO_RATIOS, chords_match, key_relation, tempo, tempo_relation
from annotation.agreement.pairs import alone, by_clip, pairs, said_of
from annotation.agreement.regions import Drawn, compare, tolerances
from annotation.agreement.value_sets import Distance, distinct
from annotation.kinds import base
from annotation.question import Question
from annotation.votes import Votes

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Measure:
    """Scores of one kind, of one question.

    values: of each score, what it is about; "" is the whole question.
    used: (clips, values), not zero where a clip has a part in a score; None: all have.
    why: why a value has no score, in a few words. detail: counts that stand behind the scores of the whole question.
    """

    name: str
    values: tuple[str, ...]
    scores: Scores
    used: Any = None
    why: dict[str, str] = field(default_factory=dict)
    detail: dict[str, float] = field(default_factory=dict)


def main_measure(question: Question, distance: Distance = "masi", within: Sequence[float] = ()) -> str:
    """The name of the measure that a question is judged by."""
    root = base(question.kind)
    if question.regions:
        return f"F within {(within or tolerances(question.kind))[0]:g} s"
    if root in ("key", "tempo", "chord"):
        return {"key": "MIREX key score", "tempo": "tempo within 4 %", "chord": "chords as major or minor"}[root]
    return _alpha_name(question, distance) if question.control == "Choices" else "exact match"


def measures(votes: Votes, apart: Array, question: Question, distance: Distance, within: Sequence[float] = ()) -> Iterator[Measure]:
    """All that is measured.

    Args:
        votes: of clips with two answers or more (`pairs.shared`), not empty. apart: see `annotation.agreement.pairs`.
        distance: of sets, where several choices may be taken. within: seconds, for what is drawn; what is usual if there are none.
    """
    root = base(question.kind)
    if question.regions:
        yield from _drawn(votes, compare(votes, apart, within), question.moment)
        if not question.moment:
            yield Measure("alpha", votes.values, tag_alpha(votes, apart), why=_one_sided(votes))
        if root == "chord":
            yield _chords(votes, apart)
        return
    if root in ("key", "tempo", "chord"):
        yield from {"key": _keys, "tempo": _tempi, "chord": lambda *given: iter([_chords(*given)])}[root](votes, apart)
    if question.control == "Choices":
        yield from _choices(votes, apart, question, distance, each=root not in ("key", "chord"))
    elif root not in ("tempo", "chord"):
        yield _exact(votes, apart)


def _alpha_name(question: Question, distance: Distance) -> str:
    return {"masi": "alpha (MASI)", "jaccard": "alpha (Jaccard)", "nominal": "alpha"}[distance if question.multiple else "nominal"]


def _choices(votes: Votes, apart: Array, question: Question, distance: Distance, each: bool) -> Iterator[Measure]:
    number, holds = distinct(votes)
    why = {"": same} if (same := _same(number)) else {}
    yield Measure(_alpha_name(question, distance), ("",), set_alpha(votes, apart, distance if question.multiple else "nominal"), why=why)
    each = each and (question.multiple or len(votes.values) > 2)  # of two choices, each says what both say
    if each:
        yield Measure("alpha", votes.values, tag_alpha(votes, apart), why=_one_sided(votes))
    if apart.any() or not (name := fitting(votes)):
        return
    if not question.multiple:
        yield Measure(f"{name} kappa", ("",), choice_kappa(votes, number, len(holds)), why=why)
    elif each:
        yield Measure(f"{name} kappa", votes.values, tag_kappa(votes), why=_one_sided(votes))


def _same(number: Array) -> str:
    most = int(np.bincount(number).max())
    if most == len(number):
        return "everybody says the same: chance cannot be told from agreement"
    return "all answers but one say the same" if most == len(number) - 1 else ""


def _one_sided(votes: Votes) -> dict[str, str]:
    said = np.asarray(said_of(votes).sum(axis=0)).ravel()
    cases = {len(votes): "everybody said it", len(votes) - 1: "all answers but one say it", 1: "said only once", 0: "nobody said it"}
    return {value: cases[int(count)] for value, count in zip(votes.values, said, strict=True) if int(count) in cases}


def _of_pairs(votes: Votes, name: str, first: Array, score: Array, detail: dict[str, float], none: str) -> Measure:
    """A measure that is the mean over clips of the mean over a clip's pairs, (pairs,), nan where two cannot be compared."""
    amounts = by_clip(votes.clip[first], score, len(votes.clips))[:, None]
    left_out = {"left_out": float(np.isnan(score).sum())} if np.isnan(score).any() else {}
    why = {} if np.isfinite(amounts).any() else {"": none}
    return Measure(name, ("",), mean(amounts), np.isfinite(amounts), why, {"pairs": float(np.isfinite(score).sum()), **detail, **left_out})


def _related(
    votes: Votes, apart: Array, names: Sequence[str], relation: Callable[[str, str], str]
) -> tuple[Array, Array, dict[str, float]]:
    """Of pairs of single values: (pairs,) the first answers, (pairs,) which of `names` relates the two or -1, and how often each does."""
    value = alone(votes)
    first, second = pairs(votes, apart)
    known = (value[first] >= 0) & (value[second] >= 0)
    met, which = np.unique(np.stack([value[first[known]], value[second[known]]]), axis=1, return_inverse=True)
    found = np.array([names.index(relation(votes.values[one], votes.values[other])) for one, other in met.T], int)
    place = np.full(len(first), -1)
    place[known] = found[which.ravel()]
    return first, place, {name: float((place == index).sum()) for index, name in enumerate(names)}


def _keys(votes: Votes, apart: Array) -> Iterator[Measure]:
    names = list(KEY_WEIGHTS)
    first, place, counts = _related(votes, apart, names, key_relation)
    score = np.array([*KEY_WEIGHTS.values(), np.nan])[place]
    yield _of_pairs(votes, "MIREX key score", first, score, counts, "no two people named one key each")


def _tempi(votes: Votes, apart: Array) -> Iterator[Measure]:
    names = [*TEMPO_RATIOS, "other"]
    first, place, counts = _related(votes, apart, names, lambda one, other: tempo_relation(tempo(one), tempo(other)))
    none = "no two people named one tempo each"
    for name, score in (("tempo within 4 %", [1, 0, 0, 0, np.nan]), ("tempo within 4 %, octaves allowed", [1, 1, 1, 0, np.nan])):
        yield _of_pairs(votes, name, first, np.array(score, float)[place], counts, none)


def _chords(votes: Votes, apart: Array) -> Measure:
    first, second = pairs(votes, apart)
    spans: list[list[tuple[float, float, str]]] = [[] for _ in range(len(votes))]
    for answer, value, start, duration in zip(votes.answer, votes.value, votes.start, votes.duration, strict=True):
        begin, length = (0.0, 1.0) if np.isnan(start) else (float(start), float(np.nan_to_num(duration)))
        spans[answer].append((begin, begin + length, votes.values[value]))
    score = np.array([chords_match(spans[one], spans[other]) for one, other in zip(first, second, strict=True)], float)
    return _of_pairs(votes, "chords as major or minor", first, score, {}, "no two chords could be compared")


def _exact(votes: Votes, apart: Array) -> Measure:
    number, holds = distinct(votes)
    first, second = pairs(votes, apart)
    spoken = np.asarray(holds.any(axis=1), bool)[number]
    score = np.where(spoken[first] | spoken[second], number[first] == number[second], np.nan)
    return _of_pairs(votes, "exact match", first, score, {}, "nobody wrote anything")


def _drawn(votes: Votes, drawn: Drawn, moment: bool) -> Iterator[Measure]:
    size = len(votes.clips)
    detail = {"untimed": float(drawn.untimed)} if drawn.untimed else {}
    met, pair = np.unique(drawn.pair, return_inverse=True)
    clip = np.zeros(len(met), int)
    clip[pair] = drawn.clip
    nothing = {} if len(met) else {"": "nobody drew anything"}
    for index, tolerance in enumerate(drawn.tolerances):
        name = f"F within {tolerance:g} s"
        matched, count = (np.bincount(pair, amounts, len(met)) for amounts in (drawn.matched[:, index], drawn.count))
        amounts = by_clip(clip, 2 * matched / count, size)[:, None]
        yield Measure(name, ("",), mean(amounts), np.isfinite(amounts), nothing, {"pairs": float(len(met)), **detail})
        if len(votes.values) > 1:
            above, below = _by_value(votes, drawn, 2 * drawn.matched[:, index] / drawn.count)
            there = set(drawn.value.tolist())
            why = {name: "nobody drew it" for value, name in enumerate(votes.values) if value not in there}
            yield Measure(name, votes.values, ratio(above, below), below, why)
    if not moment:
        common, covered = (np.bincount(pair, amounts, len(met)) for amounts in (drawn.common, drawn.covered))
        with np.errstate(invalid="ignore"):
            amounts = by_clip(clip, common / covered, size)[:, None]
        yield Measure("overlap in time", ("",), mean(amounts), np.isfinite(amounts), nothing)
    used = np.bincount(drawn.matched_clip, minlength=size)[:, None]
    unmatched = nothing or ({} if len(drawn.matched_clip) else {"": "no two stretches match"})
    for name, gaps in (("start deviation, s", drawn.start_apart), ("end deviation, s", drawn.end_apart))[: 1 if moment else 2]:
        yield Measure(name, ("",), median(drawn.matched_clip, gaps), used, unmatched, {"matched": float(len(gaps))})


def _by_value(votes: Votes, drawn: Drawn, amounts: Array) -> tuple[Any, Any]:
    """Sparse (clips, values): the mean over a clip's pairs, and 1 where there is one."""
    place, which = np.unique(drawn.clip * max(1, len(votes.values)) + drawn.value, return_inverse=True)
    where = place // max(1, len(votes.values)), place % max(1, len(votes.values))
    means = np.bincount(which, amounts, len(place)) / np.maximum(np.bincount(which, minlength=len(place)), 1)
    shape = len(votes.clips), len(votes.values)
    return sparse.csr_array((means, where), shape=shape), sparse.csr_array((np.ones(len(place)), where), shape=shape)
