"""How far people agree, each score with an interval, worst first; what cannot be computed says why.

A score is of independent answers. Where people confirmed what a model had written, a second score tells how far those answers agree: pairs
of which at least one was only confirmed. Such agreement is partly the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.agreement.bootstrap import FEWEST_CLIPS, drawn, interval, point
from annotation.agreement.measures import Measure, main_measure, measures
from annotation.agreement.pairs import shared
from annotation.agreement.value_sets import Distance
from annotation.question import Question
from annotation.votes import Votes

Array = NDArray[Any]

ONE = "all answers are one person's"
# What stands behind a measure, by how its name begins.
MEANINGS = {
    "alpha": "Krippendorff's alpha, 1 is perfect and 0 what chance gives; of a choice: said or not; of a whole question: nominal, or by"
    " a distance of sets (MASI, Jaccard)",
    "Cohen": "Cohen's kappa, of two people",
    "Fleiss": "Fleiss' kappa, of as many people for each clip",
    "F within": "F-measure of what two people drew: starts and ends within the tolerance (ends also within 20 % of the shorter stretch;"
    " of beats and onsets starts alone), matched one to one; where neither drew anything the pair is left out",
    "overlap": "time that two people both marked with a value, as a share of what either of them did",
    "start deviation": "median of how far starts lie apart where stretches match at the widest tolerance",
    "end deviation": "median of how far ends lie apart where stretches match at the widest tolerance",
    "MIREX": "1 the same key, 0.5 a fifth up or down, 0.3 relative, 0.2 parallel",
    "tempo": "the faster at most 4 % faster; octaves allowed: or 2 or 3 times as fast within 4 %",
    "chords": "share of the time for which two chords are the same as major, minor or none (mir_eval's majmin)",
    "exact": "two texts are the same, letter by letter",
}


@dataclass(frozen=True)
class Agreement:
    """One score.

    value: what it is about, a tag; "" is the whole question.
    score: in the measure's own scale, None where it cannot be computed. low, high: 95 % interval, of other clips of the same kind.
    clips, answers, annotators: those that were compared.
    why: why there is no score, or no interval.
    accepted: whether it is of pairs in which at least one answer merely confirmed a pre-annotation.
    detail: counts of pairs behind it, such as keys a fifth apart.
    """

    question: str
    value: str
    measure: str
    score: float | None
    low: float | None
    high: float | None
    clips: int
    answers: int
    annotators: int
    why: str = ""
    accepted: bool = False
    detail: dict[str, float] = field(default_factory=dict)


def agreement(
    votes: Votes, question: Question, seed: int = 0, draws: int = 1000, distance: Distance = "masi", within: Sequence[float] = ()
) -> list[Agreement]:
    """How far people agree on one question.

    Args:
        draws: of the bootstrap, which draws clips.
        distance: of answers with several choices.
        within: tolerances in seconds, ascending, for what is drawn; those of the kind (`regions_agreement.tolerances`) if there are none.
    Returns:
        worst first; then what cannot be computed; after that the same of answers that merely accepted a pre-annotation, if there are any.
    """
    found = _scores(votes.only(~votes.accepted), question, seed, draws, distance, within, accepted=False)
    if votes.accepted.any():
        independent = {"nobody answered": "all answers merely accepted a pre-annotation", ONE: "all independent answers are one person's"}
        found = [replace(each, why=independent.get(each.why, each.why)) for each in found]
        touched = np.bincount(votes.clip[votes.accepted], minlength=len(votes.clips)) > 0
        found += _scores(votes.only(touched[votes.clip]), question, seed, draws, distance, within, accepted=True)
    return worst_first(found)


def worst_first(found: Sequence[Agreement]) -> list[Agreement]:
    """The lowest score first, then the largest deviation, then what has no score; what merely accepted a pre-annotation after the rest."""

    def place(each: Agreement) -> tuple[Any, ...]:
        apart = "deviation" in each.measure
        score = 0.0 if each.score is None else -each.score if apart else each.score
        return each.accepted, each.score is None, apart, score, each.question, each.value, each.measure

    return sorted(found, key=place)


def _scores(
    votes: Votes, question: Question, seed: int, draws: int, distance: Distance, within: Sequence[float], accepted: bool
) -> list[Agreement]:
    both = shared(votes)
    if not len(both):
        people = len(np.unique(votes.annotator))
        why = _nothing_shared(people, accepted)
        counts = len(np.unique(votes.clip)), len(votes), people
        return [Agreement(question.name, "", main_measure(question, distance, within), None, None, None, *counts, why, accepted)]
    apart = ~both.accepted if accepted else np.zeros(len(both), bool)
    taken = list(measures(both, apart, question, distance, within))

    def scores(weights: Array) -> Array:
        return np.concatenate([each.scores(weights) for each in taken])

    clips = len(both.clips)
    points = point(scores, clips)
    low, high = interval(drawn(scores, clips, draws, seed)) if draws else np.full((2, len(points)), np.nan)
    rows = [(measure, index, value) for measure in taken for index, value in enumerate(measure.values)]
    used = _Used(both)
    return [
        _row(question, measure, value, (points[row], low[row], high[row]), used.counts(measure, index), accepted, draws)
        for row, (measure, index, value) in enumerate(rows)
    ]


def _nothing_shared(people: int, accepted: bool) -> str:
    if people == 0:
        return "nobody answered"
    if people == 1:
        return ONE
    return "no second answer beside one that accepted a pre-annotation" if accepted else "no clip was answered by two people"


def _row(
    question: Question,
    measure: Measure,
    value: str,
    numbers: tuple[float, float, float],
    counts: tuple[int, int, int],
    accepted: bool,
    draws: int,
) -> Agreement:
    why = measure.why.get(value, "" if np.isfinite(numbers[0]) else "undefined for these answers")
    score, low, high = (None if why or not np.isfinite(number) else float(number) for number in numbers)
    if score is not None:
        why = _no_interval(low, high, counts[0], draws)
    if why:
        low = high = None
    return Agreement(question.name, value, measure.name, score, low, high, *counts, why, accepted, measure.detail)


def _no_interval(low: float | None, high: float | None, clips: int, draws: int) -> str:
    """Why there is none, "" where there is one."""
    if not draws:
        return "no interval was asked for"
    if clips < FEWEST_CLIPS:
        return f"no interval: {clips} {'clip' if clips == 1 else 'clips'}"
    if low is None:
        return "no interval: undefined in too many draws"
    return "no interval: all draws give the same" if low == high else ""


class _Used:
    """Counts clips, answers and people behind scores."""

    def __init__(self, votes: Votes) -> None:
        self._votes = votes
        self._answers = np.bincount(votes.clip, minlength=len(votes.clips))
        self._all = len(votes.clips), len(votes), len(np.unique(votes.annotator))

    def counts(self, measure: Measure, index: int) -> tuple[int, int, int]:
        if measure.used is None:
            return self._all
        column = measure.used[:, [index]]
        used = np.asarray(column.toarray() if hasattr(column, "toarray") else column).ravel() > 0
        people = np.unique(self._votes.annotator[used[self._votes.clip]])
        return int(used.sum()), int(self._answers[used].sum()), len(people)
