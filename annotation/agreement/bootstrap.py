"""How far a score would move with other clips: it is computed again from clips drawn with replacement.

A score is written as a function of how much each clip weighs, and all scores of a question share the draws: a million votes then cost a few
products of matrices for each, and no loop over votes. The score itself is the one with all weights 1.

Source: Efron, Bootstrap methods: another look at the jackknife, The Annals of Statistics 7(1), 1979; percentile intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# (clips, draws) weights, whole numbers -> (scores, draws), nan where a score is undefined.
Scores = Callable[[Array], Array]

FEWEST_CLIPS = 5  # fewer say next to nothing of other clips, and their bootstrap is far too narrow
_AT_ONCE = 4_000_000  # weights in memory: 32 MB


def point(scores: Scores, clips: int) -> Array:
    """(scores,): of the clips as they are."""
    return scores(np.ones((clips, 1)))[:, 0]


def drawn(scores: Scores, clips: int, draws: int, seed: int) -> Array:
    """(scores, draws): of clips drawn with replacement, as many as there are.

    Args:
        clips: how many there are, 1 or more.
    """
    rng = np.random.default_rng(seed)
    batch = max(1, min(draws, _AT_ONCE // clips))
    found = []
    for begin in range(0, draws, batch):
        rows = [np.bincount(rng.integers(clips, size=clips), minlength=clips) for _ in range(min(batch, draws - begin))]
        found.append(scores(np.ascontiguousarray(np.stack(rows, axis=1), float)))
    return np.concatenate(found, axis=1)


def interval(scores: Array) -> tuple[Array, Array]:
    """The middle 95 % of the draws.

    Args:
        scores: (scores, draws) of `drawn`.
    Returns:
        (scores,) low and high; nan where a score is undefined in more than one draw of twenty.
    """
    known = np.isfinite(scores).mean(axis=1) >= 0.95
    low, high = np.full((2, len(scores)), np.nan)
    if known.any():
        low[known], high[known] = np.nanquantile(scores[known], (0.025, 0.975), axis=1)
    return low, high


def ratio(above: Any, below: Any) -> Scores:
    """Weighted sums over weighted sums.

    Args:
        above, below: (clips, scores), dense or sparse.
    """

    def scores(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((above.T @ weights) / (below.T @ weights))

    return scores


def mean(amounts: Array) -> Scores:
    """The mean over clips.

    Args:
        amounts: (clips, scores); nan where a clip says nothing.
    """
    return ratio(np.nan_to_num(amounts), np.isfinite(amounts).astype(float))


def median(clip: Array, amounts: Array) -> Scores:
    """One score: the median of things that lie in clips; between the two in the middle where their number is even.

    Args:
        clip: (things,) of each its clip. amounts: (things,).
    """
    order = np.argsort(amounts, kind="stable")
    clip, amounts = clip[order], np.append(amounts[order], np.nan)

    def scores(weights: Array) -> Array:
        found = []
        for weight in weights.T:
            reached = np.cumsum(weight[clip])
            half = reached[-1] / 2 if len(reached) and reached[-1] else np.inf
            found.append((amounts[np.searchsorted(reached, half, "left")] + amounts[np.searchsorted(reached, half, "right")]) / 2)
        return np.array([found])

    return scores
