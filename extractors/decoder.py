"""What a decoder of one file gives: its facts, and its samples as one channel or as all."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from extractors.containers import AudioInfo
from extractors.cutting import Samples

BLOCK = 1 << 18  # values decoded at a time: a megabyte, to stay in the cache


class Decoder(Protocol):
    def info(self) -> AudioInfo: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    def fill(self, out: Samples) -> int:
        """Put the next samples into out, (n,) mono or (n, channels); fewer than n only at the end."""
        ...

    def seek(self, start: int) -> bool:
        """Go to a sample, if what follows is then bit for bit what decoding from the beginning gives."""
        ...

    def close(self) -> None: ...


def put(channels: list[Samples], out: Samples) -> None:
    """Channels into (n, channels), or their mean into (n,)."""
    if out.ndim == 2:
        np.stack(channels, axis=1, out=out)
        return
    # Column by column: a mean over the axis of interleaved samples takes 36 times as long.
    if len(channels) == 1:
        out[:] = channels[0]
        return
    with np.errstate(invalid="ignore", over="ignore"):
        np.add(channels[0], channels[1], out=out)
        for channel in channels[2:]:
            out += channel
    if len(channels) == 2:
        out *= 0.5
    else:
        out /= len(channels)
