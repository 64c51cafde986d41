"""Krippendorff's alpha: 1 for perfect agreement, 0 for what chance would give, below 0 for less.

It takes any number of people per clip, other people for each clip, and missing answers. Here it is a function of the clips' weights, for
intervals; `apart` (see `annotation.agreement.pairs`) leaves pairs out of the observed disagreement, each clip keeping its weight.

Source: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.agreement.bootstrap import Scores
from annotation.agreement.pairs import by_clip, pairs, said_of
from annotation.agreement.pairs import table as counted
from annotation.agreement.value_sets import Distance, between, distinct, table
from annotation.votes import Votes

Array = NDArray[Any]

EXACT_SETS = 2048  # different answers whose whole table of distances is multiplied in each draw
SAMPLE = 4096  # answers against which distances are taken where a table of all would be too large


def tag_alpha(votes: Votes, apart: Array) -> Scores:
    """One score for each value: it is said or it is not.

    Args:
        votes: of clips with two answers or more (`pairs.shared`).
    """
    yes, people = said_of(votes), np.bincount(votes.clip, minlength=len(votes.clips)).astype(float)
    left, set_apart = said_of(votes, apart), np.bincount(votes.clip[apart], minlength=len(votes.clips)).astype(float)
    # Ordered pairs of which one says yes and the other no, as a clip's mean over pairs times its people.
    against = _times(yes, people) - yes * yes - _times(left, set_apart) + left * left
    seen = _times(2 * against, people / _ordered(people, set_apart))

    def scores(weights: Array) -> Array:
        said, total = yes.T @ weights, people @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = 2 * said * (total - said) / (total - 1)
            return np.asarray(1 - seen.T @ weights / expected)

    return scores


def set_alpha(votes: Votes, apart: Array, distance: Distance, exact: int = EXACT_SETS) -> Scores:
    """One score, of whole answers as sets of values.

    Beyond `exact` different answers, draws take the expected disagreement to the first order in the weights (what is left out is as small
    against it as one clip against all), and beyond four times as many it comes from a sample of 4,096 answers.
    """
    number, holds = distinct(votes)
    return (
        _all_sets(votes, apart, number, holds, distance)
        if len(holds) <= exact
        else _many_sets(votes, apart, number, holds, distance, exact)
    )


def _all_sets(votes: Votes, apart: Array, number: Array, holds: Array, distance: Distance) -> Scores:
    far = table(holds, holds, distance).astype(float)
    shape = len(votes.clips), len(holds)
    answers, left = counted(votes.clip, number, shape), counted(votes.clip[apart], number[apart], shape)
    people, set_apart = (np.asarray(each.sum(axis=1)).ravel() for each in (answers, left))
    seen = (_within(answers, far) - _within(left, far)) * people / _ordered(people, set_apart)

    def scores(weights: Array) -> Array:
        said, total = answers.T @ weights, people @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = (said * (far @ said)).sum(axis=0) / (total - 1)
            return np.asarray(1 - (seen @ weights / expected)[None])

    return scores


def _many_sets(votes: Votes, apart: Array, number: Array, holds: Array, distance: Distance, exact: int) -> Scores:
    people = np.bincount(votes.clip, minlength=len(votes.clips)).astype(float)
    first, second = pairs(votes, apart)
    chunks = np.array_split(np.arange(len(first)), len(first) // 100_000 + 1)
    gaps = np.concatenate([between(holds[number[first[at]]], holds[number[second[at]]], distance) for at in chunks])
    seen = by_clip(votes.clip[first], gaps, len(votes.clips)) * people
    if len(holds) > 4 * exact:
        against = np.bincount(number[np.random.default_rng(0).permutation(len(number))[:SAMPLE]], minlength=len(holds))
    else:
        against = np.bincount(number, minlength=len(holds))
    share = against[against > 0] * (len(number) / against.sum())
    reach = np.concatenate([table(some, holds[against > 0], distance) @ share for some in np.array_split(holds, len(holds) // 1000 + 1)])
    per_clip = np.bincount(votes.clip, reach[number], minlength=len(votes.clips))

    def scores(weights: Array) -> Array:
        total = people @ weights
        expected = (2 * per_clip @ weights - per_clip.sum()) / (total - 1)
        return np.asarray(1 - (seen @ weights / expected)[None])

    return scores


def _ordered(people: Array, set_apart: Array) -> Array:
    """(clips,): ordered pairs that count."""
    return np.asarray(people * (people - 1) - set_apart * (set_apart - 1))


def _within(answers: Any, far: Array) -> Array:
    """(clips,): distances summed over each clip's ordered pairs."""
    parts = [answers[begin : begin + 4096] for begin in range(0, answers.shape[0], 4096)]
    return np.concatenate([np.asarray(part.multiply(part @ far).sum(axis=1)).ravel() for part in parts])


def _times(table: Any, by_row: Array) -> Any:
    """A sparse table, each row times a number."""
    found = table.tocsr(copy=True).astype(float)
    found.data *= np.repeat(by_row, np.diff(found.indptr))
    return found
