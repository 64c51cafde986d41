"""Arithmetic on NumPy's arrays and on torch's tensors alike: (clips, frames, bins) in, the same kind out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from extractors.stft import Projection


def namespace(array: Any) -> Any:
    """The module that an array's functions live in."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def decibels(power: Any, ref: float | Literal["max"] = 1.0, amin: float = 1e-10, top_db: float | None = 80.0) -> Any:
    """10 log10(power / ref) of each clip, as librosa.power_to_db.

    Args:
        power: (clips, frames, bins) >= 0.
        ref: power that is 0 dB, or "max": each clip's loudest.
        amin: power below this is taken for this.
        top_db: nothing is further than this below a clip's loudest; None for no floor.

    >>> decibels(np.array([[[1.0, 0.01, 0.0]]])).tolist()
    [[[0.0, -20.0, -80.0]]]
    """
    xp = namespace(power)
    db = xp.clip(power, amin, None)
    if math.prod(db.shape) == 0:
        return db
    xp.log10(db, out=db)
    db *= 10
    if ref != "max" and ref != 1:
        db -= 10 * math.log10(max(amin, abs(ref)))
    if ref == "max" or top_db is not None:
        peak = xp.amax(db, (-2, -1), keepdims=True)
        if ref == "max":
            db -= peak
            peak = xp.zeros_like(peak)
        if top_db is not None:
            xp.maximum(db, peak - top_db, out=db)
    return db


def times(inputs: Any, matrix: NDArray[np.float32]) -> Any:
    """(clips, frames, inputs) @ (inputs, outputs); on the CPU the same to the last bit for any number of threads."""
    if not isinstance(inputs, np.ndarray):
        import torch

        bank = torch.from_numpy(np.ascontiguousarray(matrix)).to(inputs.device)
        return torch.bmm(inputs, bank.expand(len(inputs), -1, -1))
    out = np.empty((*inputs.shape[:-1], matrix.shape[1]), np.float32)
    project = Projection(matrix)
    for clip, target in zip(inputs, out, strict=True):
        project(clip, target)
    return out


def normalized(power: Any, norm: Literal["inf"] | float | None) -> Any:
    """Each frame divided by its norm, unless that is too small to divide by; as librosa.util.normalize.

    >>> normalized(np.array([[[1.0, 4.0], [0.0, 0.0]]], np.float32), "inf").tolist()
    [[[0.25, 1.0], [0.0, 0.0]]]
    """
    if norm is None:
        return power
    xp = namespace(power)
    length = xp.amax(power, -1, keepdims=True) if norm == "inf" else (power**norm).sum(-1, keepdims=True) ** (1 / norm)
    return power / xp.where(length < np.finfo(np.float32).tiny, xp.ones_like(length), length)


def stack(arrays: Sequence[Any]) -> Any:
    """Arrays of one shape as one array, first dimension new."""
    return namespace(arrays[0]).stack(arrays)
