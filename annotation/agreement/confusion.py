"""Who says what where others say something else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.agreement.pairs import pairs, shared
from annotation.agreement.value_sets import distinct
from annotation.votes import Votes

Array = NDArray[Any]


def confusion(votes: Votes) -> tuple[tuple[str, ...], Array]:
    """How often one value is said where another person says another.

    Returns:
        the values and "" for saying nothing (else), and (values + 1, values + 1) symmetric: in cell (a, a) how often two people
        said a, in (a, b) how often one said a and not b where the other said b and not a. Several such others share one count, and a
        clip's pairs weigh 1 / (people - 1), so that of single choices it is Krippendorff's coincidence matrix: a row's sum is how often
        a was said.
    """
    votes = shared(votes)
    number, holds = distinct(votes)
    names = (*votes.values, "")
    cells = np.zeros((len(names), len(names)))
    first, second = pairs(votes, np.zeros(len(votes), bool))
    people = np.bincount(votes.clip, minlength=len(votes.clips))[votes.clip[first]]
    kinds, which = np.unique(np.stack([number[first], number[second]]), axis=1, return_inverse=True)
    weight = np.bincount(which.ravel(), 1 / (people - 1), minlength=kinds.shape[1])
    for at in np.array_split(np.arange(kinds.shape[1]), kinds.shape[1] // 50_000 + 1):
        one, other = holds[kinds[0, at]], holds[kinds[1, at]]
        mine, yours = _or_nothing(one & ~other), _or_nothing(other & ~one)
        sizes = mine.sum(axis=1), yours.sum(axis=1)
        share = weight[at] * (one != other).any(axis=1) * np.maximum(*sizes) / (sizes[0] * sizes[1])
        half = (mine * share[:, None]).T @ yours
        both = np.append(2 * (weight[at] @ (one & other)), 2 * (weight[at] @ ~(one | other).any(axis=1)))
        cells += half + half.T + np.diag(both)
    return names, cells


def _or_nothing(values: Array) -> Array:
    """(pairs, values + 1) float: what is said on one side alone; nothing where that is none."""
    return np.concatenate([values, ~values.any(axis=1, keepdims=True)], axis=1).astype(float)
