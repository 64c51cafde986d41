"""A head: a small classifier on stored embeddings, as numbers that any program can read.

fit(vectors, values, tags, …) -> Head           a head that has learnt
Head.scores, Head.probabilities, Head.thresholds
learnable(values, tags) -> {tag: why not}       what cannot be learnt from so little
pipelines.heads.files: save, load, head_hash    pipelines.heads.train: cross-validation, calibration, thresholds
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind = Literal["linear", "svm", "mlp"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

ROWS = 65_536  # that are computed at once
CERTAIN = 1e-6  # nothing is more certain than this, so that a threshold of 1 is never reached


@dataclass(frozen=True, eq=False)
class Head:
    """What a head knows.

    kind: linear, svm, mlp. exclusive: one tag for each clip, and not any number of them.
    mean, scale: (dimensions,) taken from embeddings and divided by, before anything else.
    layers: (inputs, outputs) weights and (outputs,) what is added, with max(0, ·) between layers.
    slope, offset: (tags,) that make probabilities of the last layer's scores: of slope × score + offset the logistic function of each
        tag, or the softmax over all if exclusive.
    thresholds: (tags,) probabilities from which on a tag is said.
    origin: whose embeddings it takes and what it learnt from, JSON. figures: how good it was in cross-validation, JSON.
    """

    kind: Kind
    exclusive: bool
    tags: tuple[str, ...]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    layers: Layers
    slope: NDArray[np.float32]
    offset: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    origin: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    def scores(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """(clips, tags) float32 before calibration; nan for a vector that is not finite.

        Raises:
            ValueError: vectors of another length than the head has learnt from.
        """
        given = np.asarray(vectors, np.float32)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise ValueError(f"a head of {len(self.mean)} dimensions was given vectors of shape {given.shape}")
        found = np.empty((len(given), len(self.tags)), np.float32)
        for start in range(0, len(given), ROWS):
            rows = given[start : start + ROWS]
            strange: NDArray[np.bool_] = np.logical_not(np.isfinite(rows).all(axis=1))
            live = (np.where(strange[:, None], 0, rows) - self.mean) / self.scale
            for depth, (weights, bias) in enumerate(self.layers):
                live = (np.maximum(live, 0) if depth else live) @ weights + bias
            live[strange] = np.nan
            found[start : start + ROWS] = live
        return found

    def probabilities(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """(clips, tags) float32, calibrated; nan for a vector that is not finite.

        Raises:
            ValueError: vectors of another length than the head has learnt from.
        """
        return as_probabilities(self.scores(vectors), self.slope, self.offset, self.exclusive)


def as_probabilities(scores: NDArray[Any], slope: ArrayLike, offset: ArrayLike, exclusive: bool) -> NDArray[np.float32]:
    """Scores as probabilities, (clips, tags) float32.

    >>> as_probabilities(np.array([[0.0, np.log(3)]]), [1, 1], [0, 0], True).round(4).tolist()
    [[0.25, 0.75]]
    """
    from scipy.special import expit, softmax

    straight = np.asarray(scores, np.float64) * np.asarray(slope) + np.asarray(offset)
    found = softmax(straight, axis=1) if exclusive else expit(straight)
    return np.asarray(found.clip(CERTAIN, 1 - CERTAIN), np.float32)


def learnable(values: NDArray[Any], tags: Sequence[str]) -> dict[str, str]:
    """The tags that cannot be learnt, each with the reason.

    Args:
        values: (clips, tags) 1, 0 or nan for unknown.

    >>> learnable(np.array([[1, 1, np.nan], [0, 1, np.nan], [1, 0, 1]]), ["piano", "oboe", "harp"])
    {'harp': '1 clips have it and 0 lack it; both are needed'}
    """
    have, lack = (values == 1).sum(0).tolist(), (values == 0).sum(0).tolist()
    counts = zip(tags, have, lack, strict=True)
    return {tag: f"{some} clips have it and {none} lack it; both are needed" for tag, some, none in counts if not (some and none)}


def fit(
    vectors: ArrayLike,
    values: ArrayLike,
    tags: Sequence[str],
    kind: Kind = "linear",
    exclusive: bool = False,
    strength: float = 1.0,
    seed: int = 0,
) -> Head:
    """A head that has learnt all that it is given; equal inputs give an equal head.

    Clips whose vector is not finite, or of which nothing is known, are left out. Probabilities are those of the fit: logistic regression
    is calibrated by itself, an mlp nearly; for an svm, by its own margins, they are too certain. `pipelines.heads.train` calibrates on
    clips that the head has not learnt from. Thresholds are 0.5.

    Args:
        vectors: (clips, dimensions) embeddings as they are stored.
        values: (clips, tags) 1 has it, 0 lacks it, nan nobody said. If exclusive, one 1 in each row, or nan throughout.
        kind: linear: logistic regression. svm: a linear one, squared hinge. mlp: one hidden layer of 64 units.
        strength: what squared weights / 2 cost beside the sum of the losses (1 / C in scikit-learn).
        seed: of what kind is fitted by chance: mlp.
    Raises:
        ValueError: shapes that do not fit, no clip to learn from, a tag that all clips have or lack, or classes that are not exclusive.
    """
    from pipelines.heads.fitting import fitted

    given, truth = np.asarray(vectors, np.float32), np.asarray(values, np.float32)
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    if given.ndim != 2 or truth.shape != (len(given), len(tags)) or not len(tags):
        raise ValueError(
            f"vectors {given.shape} and values {truth.shape} for {len(tags)} tags: they need (clips, dimensions), (clips, tags)"
        )
    if not 0 < strength < np.inf:
        raise ValueError(f"strength: {strength} is not above 0")
    used = np.isfinite(given).all(1) & ~np.isnan(truth).all(1)
    given, truth = given[used], truth[used]
    if not len(given):
        raise ValueError("no clip has both a label and an embedding that is finite")
    if exclusive and ((truth == 1).sum(1) != 1).any():
        raise ValueError("exclusive classes need one for each clip; a clip has none or several. Leave exclusive out for tags")
    if exclusive and len(tags) < 2:
        raise ValueError(f"exclusive classes need two at least, got {', '.join(tags)}")
    if missing := learnable(truth, tags):
        raise ValueError("; ".join(f"{tag!r}: {why}" for tag, why in missing.items()))
    mean, deviation = given.mean(0, dtype=np.float64), given.std(0, dtype=np.float64)
    # A column that never changes says nothing; dividing by its rounding would make it shout when it does change.
    scale = np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0)
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    layers = fitted((given - mean) / scale, truth, kind, exclusive, strength, seed)
    single = tuple((np.ascontiguousarray(weights, np.float32), np.asarray(bias, np.float32)) for weights, bias in layers)
    one, none = np.ones(len(tags), np.float32), np.zeros(len(tags), np.float32)
    head = Head(kind, exclusive, tuple(tags), mean, scale, single, one, none, np.full(len(tags), 0.5, np.float32))
    if kind != "svm":
        return head
    from dataclasses import replace

    from pipelines.heads.calibration import calibrate

    slope, offset = calibrate(head.scores(given), truth, exclusive)
    return replace(head, slope=slope, offset=offset)
