"""How well probabilities tell clips apart: areas under curves, with intervals by drawing groups of recordings again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 20  # draws


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; nan where nothing can be said."""

    value: float
    low: float
    high: float

    def json(self) -> list[float | None]:
        """[value, low, high], None for nan."""
        return [None if np.isnan(each) else round(float(each), 6) for each in (self.value, self.low, self.high)]


def areas(probabilities: NDArray[Any], truth: NDArray[Any], weights: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """ROC-AUC and PR-AUC (average precision), for several weightings of the clips at once.

    Args:
        probabilities, truth: (clips,), truth 1 or 0. weights: (clips, draws), how often each clip counts; once if absent.
    Returns:
        two arrays (draws,); nan where a draw has one class alone.
    Source:
        J. Hanley and B. McNeil, doi:10.1148/radiology.143.1.7063747; average precision as in scikit-learn: no interpolation.

    >>> [area.round(3).tolist() for area in areas(np.array([0.9, 0.8, 0.3]), np.array([1, 0, 1]))]
    [[0.5], [0.833]]
    """
    weights = np.ones((len(truth), 1), np.float32) if weights is None else weights
    order = np.argsort(-probabilities, kind="stable")
    said, places = probabilities[order], np.flatnonzero(truth[order] == 1)
    # Of each positive: what lies above the clips that are as probable, and what lies above or with them; of all, and of positives.
    first, last = np.searchsorted(-said, -said[places]), np.searchsorted(-said, -said[places], "right")
    first_hit, last_hit = np.searchsorted(places, first), np.searchsorted(places, last)
    found = []
    for start in range(0, weights.shape[1], AT_ONCE):
        ordered = weights[order, start : start + AT_ONCE]
        gained = ordered[places]
        above, hits = _sums(ordered), _sums(gained)
        have, lack = hits[-1], above[-1] - hits[-1]
        false = (above[first] - hits[first_hit] + above[last] - hits[last_hit]) / 2  # of negatives as probable half are above
        with np.errstate(invalid="ignore", divide="ignore"):
            roc = 1 - (gained * false).sum(0, dtype=np.float64) / (have * lack)
            pr = (gained * hits[last_hit] / np.maximum(above[last], 1)).sum(0, dtype=np.float64) / have
        found.append((roc, np.where(lack > 0, pr, np.nan)))
    return np.concatenate([roc for roc, _ in found]), np.concatenate([pr for _, pr in found])


def _sums(weights: NDArray[Any]) -> NDArray[Any]:
    """(clips + 1, draws) what comes before each place."""
    found = np.zeros((len(weights) + 1, weights.shape[1]), np.float32)  # whole numbers: exact to 16 million
    np.cumsum(weights, axis=0, out=found[1:])
    return found


def draws(groups: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
    """(clips, count) how often each clip is in each draw of as many groups as there are, with replacement."""
    _, group = np.unique(groups, return_inverse=True)
    total = int(group.max()) + 1
    often = np.random.default_rng(seed).multinomial(total, np.full(total, 1 / total), size=count)
    return np.asarray(often.T[group], np.float32)


def interval(value: float, drawn: NDArray[Any]) -> Interval:
    """A figure with the middle 95 % of its draws, of which those that cannot be computed are left out."""
    real = drawn[~np.isnan(drawn)]
    low, high = np.percentile(real, [2.5, 97.5]) if len(real) > 1 else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))


def hits(said: NDArray[np.bool_], truth: NDArray[Any]) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 where nothing is said or nothing there.

    >>> hits(np.array([True, True, False]), np.array([1, 0, 1]))
    (0.5, 0.5, 0.5)
    """
    right, told, there = int((said & (truth == 1)).sum()), int(said.sum()), int((truth == 1).sum())
    return right / told if told else 0.0, right / there if there else 0.0, 2 * right / (told + there) if told + there else 0.0
