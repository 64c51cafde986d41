"""A window laid over sound as it comes in, holding no more of it than the clip at hand."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt

from extractors.clip import Clip, Window

Samples = npt.NDArray[np.float32]  # (n,), mono
# Puts the next samples into (n,) float32 and says how many: fewer than n only at the end.
Fill = Callable[[Samples], int]

_FIRST = 1 << 22  # samples to make room for before there is proof of more: a header may lie
_NOTHING = np.empty(0, np.float32)


def cut(fill: Fill, track_id: str, sample_rate: int, window: Window) -> Generator[Clip, None, int]:
    """Clips of a track, one by one.

    Clip k begins at sample round(k · hop · sample_rate) and is round(seconds · sample_rate) long, or shorter at the end. All sound is
    drawn, that between and behind clips too. Each clip's samples are its own.

    Returns:
        the number of samples that the track had, as the generator's value.
    """
    if window.length is None:
        samples = take(fill, sys.maxsize)
        if len(samples):
            yield Clip(track_id, 0.0, sample_rate, samples)
        return len(samples)
    length = max(1, round(window.length * sample_rate))
    hop = window.length if window.hop is None else window.hop
    samples, start, drawn = _NOTHING, 0, 0
    for k in itertools.count():
        start, before = round(k * hop * sample_rate), start
        if start < drawn:
            overlap = samples[start - before :]
        else:
            overlap = _NOTHING
            drawn += skip(fill, start - drawn)
        samples = take(fill, length, overlap)
        drawn += len(samples) - len(overlap)
        if not len(samples):
            break
        if k == 0 or len(samples) >= min(length, window.min_seconds * sample_rate):
            yield Clip(track_id, k * hop, sample_rate, samples)
    return drawn


def take(fill: Fill, length: int, before: Samples = _NOTHING) -> Samples:
    """An array of `before` and what follows it: length samples, fewer only at the end."""
    samples = np.empty(max(len(before), min(length, _FIRST)), np.float32)
    samples[: len(before)] = before
    filled = len(before)
    while True:
        filled += fill(samples[filled:])
        if filled < len(samples) or len(samples) >= length:
            break
        # Nobody else has seen this array: it may move, and if it is large the system moves its pages without copying.
        samples.resize(min(length, 2 * len(samples)), refcheck=False)
    samples.resize(filled, refcheck=False)
    return samples


def skip(fill: Fill, length: int) -> int:
    """Draw length samples and drop them; how many there were."""
    scratch = np.empty(min(length, 1 << 16), np.float32)
    skipped = 0
    while skipped < length:
        got = fill(scratch[: length - skipped])
        skipped += got
        if not got:
            break
    return skipped
