"""Pictures without a plotting library: PNG by hand, a colour map, a waveform's outline, frames laid along a time axis."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Viridis (S. van der Walt, N. Smith, CC0) at nine places: lightness rises evenly, for any kind of colour vision.
ANCHORS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")

# Decibels between the darkest and the brightest colour of a log-mel picture.
RANGE_DB = 70.0


class Stretch(NamedTuple):
    """Frames that lie evenly over a stretch of a track. values: (frames, features), frames ≥ 1; start, seconds: in s."""

    start: float
    seconds: float
    values: NDArray[Any]


def colours() -> NDArray[np.uint8]:
    """(256, 3) the colour map, red, green and blue.

    >>> colours()[[0, 255]].tolist()
    [[68, 1, 84], [253, 231, 37]]
    """
    anchors = np.array([list(bytes.fromhex(anchor)) for anchor in ANCHORS], float)
    at = np.linspace(0, len(ANCHORS) - 1, 256)
    mixed = [np.interp(at, np.arange(len(ANCHORS)), anchors[:, channel]) for channel in range(3)]
    return np.stack(mixed, axis=1).round().astype(np.uint8)


def png(levels: NDArray[Any]) -> bytes:
    """A PNG of (rows, columns) levels from 0 to 1, top row first; what is not a number is transparent.

    Source: W3C, Portable Network Graphics (PNG) Specification, third edition.
    """
    rows, columns = levels.shape
    known = np.isfinite(levels)
    # Colour 0 is given up for what is transparent.
    indices = np.where(known, 1 + np.clip(np.where(known, levels, 0), 0, 1) * 254, 0).astype(np.uint8)
    lines = np.zeros((rows, columns + 1), np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = indices
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours().tobytes()),
        (b"tRNS", b"\0"),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def level(picture: NDArray[Any], loudest: float) -> NDArray[Any]:
    """(bands, columns) dB, lowest band first, as the levels of a picture with the lowest band at the bottom; 1 is `loudest`.

    >>> level(np.array([[-35.0], [0.0]]), 0.0).tolist()
    [[1.0], [0.5]]
    """
    return (picture[::-1] - loudest) / RANGE_DB + 1


def inline(content: bytes, kind: str = "image/png") -> str:
    """A picture or a sound as a data: URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def along(stretches: Iterable[Stretch], seconds: float, columns: int) -> NDArray[np.float32]:
    """Frames laid along a track of `seconds`, averaged where several fall into one column.

    Returns:
        (features, columns), NaN where there are no frames.

    >>> along([Stretch(0.0, 2.0, np.array([[1.0], [3.0]])), Stretch(2.0, 1.0, np.array([[5.0]]))], 4.0, 4)
    array([[ 1.,  3.,  5., nan]], dtype=float32)
    >>> along([Stretch(0.0, 4.0, np.arange(8.0)[:, None])], 4.0, 2)
    array([[1.5, 5.5]], dtype=float32)
    """
    picture: NDArray[np.float32] | None = None
    per_second = columns / seconds
    for stretch in stretches:
        frames = len(stretch.values)
        first = min(round(stretch.start * per_second), columns - 1)
        last = max(first + 1, min(columns, round((stretch.start + stretch.seconds) * per_second)))
        edges = np.linspace(0, frames, last - first, endpoint=False).astype(int)
        counts = np.maximum(1, np.diff(edges, append=frames))
        means = np.add.reduceat(stretch.values.astype(np.float32), edges, axis=0) / counts[:, None]
        if picture is None:
            picture = np.full((means.shape[1], columns), np.nan, np.float32)
        picture[:, first:last] = means.T
    return picture if picture is not None else np.full((1, columns), np.nan, np.float32)


def peaks(blocks: Iterable[NDArray[np.float32]], samples: int, columns: int) -> NDArray[np.float32]:
    """The lowest and highest sample of each column.

    Args:
        blocks: sound, block by block.
        samples: how many there are in all; more are left out.
    Returns:
        (columns, 2), zero beyond the sound's end.

    >>> peaks([np.array([0.1, -0.2, 0.5], np.float32), np.array([-0.3], np.float32)], 4, 2).tolist() == [
    ...     [np.float32(-0.2), np.float32(0.1)], [np.float32(-0.3), np.float32(0.5)]]
    True
    """
    found = np.zeros((columns, 2), np.float32)
    begun = np.zeros(columns, bool)
    at = 0
    for block in blocks:
        column = (np.arange(at, at + len(block)) * columns) // max(1, samples)
        inside = block[column < columns]
        present, starts = np.unique(column[column < columns], return_index=True)
        if len(present):
            low, high = np.minimum.reduceat(inside, starts), np.maximum.reduceat(inside, starts)
            old = begun[present]
            found[present, 0] = np.where(old, np.minimum(found[present, 0], low), low)
            found[present, 1] = np.where(old, np.maximum(found[present, 1], high), high)
            begun[present] = True
        at += len(block)
    return found


def outline(extremes: NDArray[np.float32], height: int) -> str:
    """An SVG path around (columns, 2) lowest and highest samples, the loudest reaching the edge.

    >>> outline(np.array([[-1.0, 1.0], [0.0, 0.5]], np.float32), 100)
    'M0,0 1,25 1,50 0,100Z'
    """
    loudest = float(np.abs(extremes).max()) or 1.0
    low, high = (height / 2 * (1 - extremes[:, side] / loudest) for side in (0, 1))
    low = np.maximum(low, high + 1)  # silence is a line one pixel thick
    points: Sequence[tuple[int, float]] = [*enumerate(high), *reversed(list(enumerate(low)))]
    return "M" + " ".join(f"{x},{round(float(y))}" for x, y in points) + "Z"
