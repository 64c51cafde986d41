"""Kappa, where people expect it: Cohen's for two people, Fleiss' for a fixed number of people per clip.

Alpha says the same of more: it needs no fixed number, and corrects for few clips.

Source: Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20(1), 1960.
Fleiss, Measuring nominal scale agreement among many raters, Psychological Bulletin 76(5), 1971.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.agreement.bootstrap import Scores
from annotation.agreement.pairs import said_of
from annotation.agreement.pairs import table as counted
from annotation.votes import Votes

Array = NDArray[Any]


def fitting(votes: Votes) -> str:
    """Which of them fits votes on clips with two answers or more (`pairs.shared`): "Cohen's", "Fleiss'" or "" for neither."""
    people = np.bincount(votes.clip)
    if len(np.unique(votes.annotator)) == 2:
        return "Cohen's"
    return "Fleiss'" if len(people) and people.min() == people.max() else ""


def tag_kappa(votes: Votes) -> Scores:
    """One score for each value, said or not; by what fits.

    Raises:
        ValueError: neither fits.
    """
    yes = said_of(votes)
    people = np.bincount(votes.clip, minlength=len(votes.clips)).astype(float)
    if _which(votes) == "Fleiss'":
        each = people[0]
        against = 2 * (each * yes - yes * yes) / (each * (each - 1))
        first = second = yes / each
    else:
        first, second = (said_of(votes, votes.annotator == person) for person in np.unique(votes.annotator))
        against = abs(first - second)

    def scores(weights: Array) -> Array:
        total = weights.sum(axis=0)
        one = first.T @ weights / total
        other = one if second is first else second.T @ weights / total
        return _corrected(1 - against.T @ weights / total, one * other + (1 - one) * (1 - other))

    return scores


def choice_kappa(votes: Votes, number: Array, count: int) -> Scores:
    """One score, of which of `count` answers each is (`value_sets.distinct`); by what fits.

    Raises:
        ValueError: neither fits.
    """
    shape = len(votes.clips), count
    answers = counted(votes.clip, number, shape)
    people = np.asarray(answers.sum(axis=1)).ravel()
    agreed = np.asarray((answers * answers - answers).sum(axis=1)).ravel() / (people * (people - 1))
    if _which(votes) == "Fleiss'":
        first = second = answers / people[0]
    else:
        by = [votes.annotator == person for person in np.unique(votes.annotator)]
        first, second = (counted(votes.clip[mask], number[mask], shape) for mask in by)

    def scores(weights: Array) -> Array:
        total = weights.sum(axis=0)
        one = first.T @ weights / total
        other = one if second is first else second.T @ weights / total
        return _corrected((agreed @ weights / total)[None], (one * other).sum(axis=0)[None])

    return scores


def _which(votes: Votes) -> str:
    if not (found := fitting(votes)):
        raise ValueError(f"{votes.question}: kappa needs two people in all, or the same number for each clip; alpha takes any")
    return found


def _corrected(observed: Array, expected: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan))
