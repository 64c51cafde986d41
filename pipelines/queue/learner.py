"""A head for few labels: shrunk discriminants, solved at once, so that it can learn anew after every few answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 65_536  # rows that are worked on at once
SHRINK = 0.2  # of the covariance towards a sphere; with 60 to 240 labels 0.1 to 0.3 measured alike, less or more worse
PULL = 1.0  # labels' worth of the grand mean in each class's mean, so that a class with one label is believed little


def compressed(vectors: NDArray[Any], dimensions: int = 200) -> NDArray[np.float32]:
    """Embeddings made ready for learning: their signed logarithm, each dimension scaled to one spread, rotated to principal axes.

    Args:
        vectors: (clips, dimensions), finite.
        dimensions: axes that are kept, the widest.
    Returns:
        (clips, axes) float32 whose squared length is 1 on average, unless all clips are alike.
    """
    count, width = vectors.shape
    total, square = np.zeros(width), np.zeros((width, width))
    about = next(_chunks(vectors)).mean(axis=0)  # near the mean, so that single precision does
    for chunk in _chunks(vectors):
        chunk -= about
        total += chunk.sum(axis=0)
        square += chunk.T @ chunk
    mean = (about + total / count).astype(np.float32)
    square -= np.outer(total, total) / count
    deviation = np.sqrt(np.maximum(np.diag(square), 0) / count)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
    spread, axes = np.linalg.eigh(square / count * scale[:, None] * scale)
    kept = np.argsort(-spread, kind="stable")[:dimensions]
    kept = kept[spread[kept] > 1e-6 * max(1e-6, spread.max())]
    size = np.sqrt(max(spread[kept].sum(), 1e-12))
    # Eigenvectors have no sign of their own: the largest entry becomes positive, so that equal input gives equal output.
    signs = np.sign(axes[np.abs(axes[:, kept]).argmax(axis=0), kept])
    turn = (scale[:, None] * axes[:, kept] * signs / size).astype(np.float32)
    return np.concatenate([(chunk - mean) @ turn for chunk in _chunks(vectors)])


def _chunks(vectors: NDArray[Any]) -> Any:
    for start in range(0, len(vectors), CHUNK):
        chunk = vectors[start : start + CHUNK].astype(np.float32)
        yield np.copysign(np.log1p(np.abs(chunk)), chunk)


@dataclass(frozen=True, eq=False)
class Learner:
    """What was learnt. slopes: (axes, tags). offsets: (tags,), -inf for a tag that nobody has said. exclusive: one tag a clip."""

    slopes: NDArray[Any]
    offsets: NDArray[Any]
    exclusive: bool

    def probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """(clips, tags) float32, what each clip is thought to have."""
        found = np.empty((len(vectors), len(self.offsets)), np.float32)
        for start in range(0, len(vectors), CHUNK):
            logits = vectors[start : start + CHUNK] @ self.slopes + self.offsets
            if self.exclusive:
                logits = np.exp(logits - logits.max(axis=1, keepdims=True))
                found[start : start + CHUNK] = logits / logits.sum(axis=1, keepdims=True)
            else:
                found[start : start + CHUNK] = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        return found


def learn(vectors: NDArray[Any], values: NDArray[Any], trust: NDArray[Any], exclusive: bool) -> Learner:
    """Gaussians of one common covariance, for each tag (exclusive), or for each tag and its absence.

    Args:
        vectors: (clips, axes), `compressed`. values: (clips, tags), probability that a clip has a tag.
        trust: (clips,), how much each clip counts, 0 to 1.
    Source:
        J. Friedman, Regularized discriminant analysis, JASA 84 (1989).
    """
    vectors = vectors.astype(np.float64)
    weight = values * trust[:, None]
    grand = trust @ vectors / max(trust.sum(), 1e-9)
    has, sums = weight.sum(axis=0), weight.T @ vectors
    means = (sums + PULL * grand) / (has[:, None] + PULL)
    square = (vectors * trust[:, None]).T @ vectors
    if exclusive:
        cross = sums.T @ means
        within = square - cross - cross.T + (means * has[:, None]).T @ means
        within /= max(1.0, trust.sum() - (has > 0).sum())
    else:
        within = square / max(1e-9, trust.sum()) - np.outer(grand, grand)
    axes = len(grand)
    within = (1 - SHRINK) * within + SHRINK / max(1, axes) * np.eye(axes)
    solved = np.linalg.solve(within, means.T) if axes else means.T
    offsets = -0.5 * (means.T * solved).sum(axis=0)
    if exclusive:
        offsets += 0.5 * np.log((has + 1) / (has + 1).sum())
        return Learner(solved.astype(np.float32), np.where(has > 0, offsets, -np.inf).astype(np.float32), True)
    lacks = trust.sum() - has
    others = (trust @ vectors - sums + PULL * grand) / (lacks[:, None] + PULL)
    against = np.linalg.solve(within, others.T) if axes else others.T
    offsets += 0.5 * (others.T * against).sum(axis=0) + np.log((has + 1) / (lacks + 1))
    return Learner((solved - against).astype(np.float32), offsets.astype(np.float32), False)


def unseen(vectors: NDArray[Any], values: NDArray[Any], trust: NDArray[Any], exclusive: bool, seed: int) -> NDArray[np.float32]:
    """(clips, tags) float32: what each clip is thought to have by learners that did not see its own label; five folds."""
    fold = np.random.default_rng(seed).permutation(len(vectors)) % 5
    found = np.empty(values.shape, np.float32)
    for each in range(5):
        mine = fold == each
        if mine.any():
            if mine.all():
                found[mine] = 1 / values.shape[1] if exclusive else 0.5
            else:
                found[mine] = learn(vectors[~mine], values[~mine], trust[~mine], exclusive).probabilities(vectors[mine])
    return found
