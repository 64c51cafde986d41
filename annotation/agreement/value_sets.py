"""Answers as sets of values, and how far two sets lie apart.

masi: 1 - J·M, where J is Jaccard's share of common values and M is 1 for equal sets, 2/3 where one holds the other, 1/3 where they overlap,
0 where they have nothing in common. jaccard: 1 - J. nominal: 1 unless they are equal. Two empty sets are equal.

Source: Passonneau, Measuring agreement on set-valued items (MASI) for semantic and pragmatic annotation, LREC 2006.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annotation.votes import Votes

Array = NDArray[Any]
Distance = Literal["masi", "jaccard", "nominal"]


def distinct(votes: Votes) -> tuple[Array, Array]:
    """The different answers.

    Returns:
        (answers,) int64, which of them each answer is, and (sets, values) bool, what they hold.
    """
    width = max(1, len(votes.values))
    once = np.unique(votes.answer * width + votes.value)
    answer, value = once // width, once % width
    # A set's name is the sum of 64 random bits for each value (Zobrist): a million different sets collide once in 40 million such tables.
    bits = np.random.default_rng(0).integers(2**64, size=width, dtype=np.uint64)
    name = np.zeros(len(votes), np.uint64)
    np.add.at(name, answer, bits[value])
    _, first, number = np.unique(name, return_index=True, return_inverse=True)
    holds = np.zeros((len(first), len(votes.values)), bool)
    place = np.full(len(votes), -1)
    place[first] = np.arange(len(first))
    members = place[answer] >= 0
    holds[place[answer[members]], value[members]] = True
    return number, holds


def table(one: Array, other: Array, distance: Distance) -> Array:
    """(m, n) float32: the distances between the sets `one` (m, values) and `other` (n, values), bool."""
    common = one.astype(np.float32) @ other.T.astype(np.float32)
    sizes = one.sum(axis=1, dtype=np.float32)[:, None], other.sum(axis=1, dtype=np.float32)[None]
    return _apart(common, *sizes, distance)


def between(one: Array, other: Array, distance: Distance) -> Array:
    """(n,) float32: the distances between sets in the same row of both, (n, values) bool."""
    common = (one & other).sum(axis=1, dtype=np.float32)
    return _apart(common, one.sum(axis=1, dtype=np.float32), other.sum(axis=1, dtype=np.float32), distance)


def _apart(common: Array, size: Array, other: Array, distance: Distance) -> Array:
    equal = (common == size) & (common == other)
    if distance == "nominal":
        return np.asarray(1 - equal.astype(np.float32))
    jaccard = common / np.maximum(size + other - common, 1)
    if distance == "jaccard":
        return np.where(equal, np.float32(0), 1 - jaccard)
    within = (common == size) | (common == other)  # where the smaller one is empty, jaccard is 0 anyway
    monotone = np.where(within, np.float32(2 / 3), np.float32(1 / 3))
    return np.asarray(np.where(equal, np.float32(0), 1 - jaccard * monotone))
