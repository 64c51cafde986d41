"""A few clips out of many, so that what is learnt from them tells most about all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NOISE = 0.1  # an answer's, against a clip's squared length of 1
SHORT = 30_000  # candidates that are compared with each other


def spread(
    vectors: NDArray[Any],
    doubt: NDArray[Any],
    worth: NDArray[Any],
    heard: NDArray[Any],
    count: int,
    groups: NDArray[Any] | None = None,
    most: int = 0,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose clips one after the other, each where an answer takes most doubt from all clips, those before it counted as answered.

    A linear model's variance at a clip falls by what an answer elsewhere shares with it; near clips share most. Summed over all clips, each
    with its doubt, that finds what is both typical of many clips and unlike those that are known: diversity and density in one number.

    Args:
        vectors: (clips, axes), `compressed`. doubt: (clips,) ≥ 0, what it would be good to know of each clip.
        worth: (clips,) ≥ 0, what an answer's gain is multiplied by; clips with 0 are not chosen.
        heard: (clips,) ≥ 0, answers that a clip is believed to have; one that is chosen anyway is judged as if it had none.
        count: clips to choose. groups: (clips,) numbers, -1 for none; `most` of one group are chosen.
        seed: which candidates are compared where there are more than SHORT.
    Returns:
        rows in the order of choice, and what each was worth.
    Source:
        K. Yu, J. Bi, V. Tresp, Active learning via transductive experimental design, ICML 2006.
    """
    axes = vectors.shape[1]
    asked = heard > 0
    known = vectors[asked].astype(np.float64)
    spare = np.linalg.inv(np.eye(axes) + (known * heard[asked, None]).T @ known / NOISE)
    ask = np.zeros((axes, axes))
    for start in range(0, len(vectors), 65_536):
        part = vectors[start : start + 65_536]
        ask += (part * doubt[start : start + 65_536, None]).T @ part
    rows = _candidates(doubt, worth, seed)
    near = vectors[rows].astype(np.float32)
    own = np.einsum("ij,ij->i", near @ spare.astype(np.float32), near).astype(np.float64)
    told = np.einsum("ij,ij->i", near @ (spare @ ask @ spare).astype(np.float32), near).astype(np.float64)
    without = 1 / np.maximum(1 - own * heard[rows] / NOISE, 1e-3)
    value = worth[rows].astype(np.float64).copy()
    left = np.full(int(groups.max()) + 1 if groups is not None and len(groups) else 0, most)
    chosen, gains = [], []
    for _ in range(min(count, len(rows))):
        score = value * told * without**2 / (NOISE + own * without)
        best = int(score.argmax())
        if value[best] <= 0:
            break
        chosen.append(int(rows[best]))
        gains.append(float(score[best]))
        value[best] = 0.0
        if groups is not None and most and (group := groups[rows[best]]) >= 0:
            left[group] -= 1
            if not left[group]:
                value[groups[rows] == group] = 0.0
        if heard[rows[best]] > 0:
            continue  # its place is known already; only its answer was in doubt
        step = spare @ near[best].astype(np.float64)
        size = NOISE + own[best]
        side = spare @ (ask @ step)
        along = near @ np.stack([step, side], axis=1).astype(np.float32)
        told += -2 * along[:, 0] * along[:, 1] / size + along[:, 0].astype(np.float64) ** 2 * (step @ ask @ step) / size**2
        own -= along[:, 0].astype(np.float64) ** 2 / size
        np.maximum(told, 0, out=told)
        np.maximum(own, 0, out=own)
        spare -= np.outer(step, step) / size
    return np.array(chosen, np.int64), np.array(gains)


def _candidates(doubt: NDArray[Any], worth: NDArray[Any], seed: int) -> NDArray[Any]:
    """Rows that may be chosen; of many, half those that are worth most, half by lot."""
    rows = np.flatnonzero(worth > 0)
    if len(rows) <= SHORT:
        return rows
    best = np.argsort(-(doubt[rows] * worth[rows]), kind="stable")
    lot = np.random.default_rng(seed).choice(best[SHORT // 2 :], SHORT - SHORT // 2, replace=False)
    kept: NDArray[Any] = rows[np.sort(np.concatenate([best[: SHORT // 2], lot]))]
    return kept
