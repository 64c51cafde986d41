"""What the tests of hostile input share: inputs drawn from a strategy and counted, bytes damaged, errors of one line.

EARMARK_FUZZ_SECONDS=120 tries inputs for so long in each test instead of a few hundred; the numbers tried are printed (pytest -s).
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Containers by their muxer and codec in FFmpeg.
CONTAINERS = {"M4A": ("ipod", "aac"), "ALAC": ("ipod", "alac"), "ADTS": ("adts", "aac"), "MKV": ("matroska", "flac")}
SECONDS = float(os.environ.get("EARMARK_FUZZ_SECONDS", "0"))


def one_line(error: Exception, *starts: str) -> None:
    """What an error says is one line, with its place in front."""
    assert "\n" not in str(error)
    assert str(error).startswith(starts), str(error)


def fuzz(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], what: str, examples: int = 200) -> None:
    """Give a check inputs drawn from a strategy: so many, or as many as the time allows."""
    tried, until = 0, time.monotonic() + SECONDS

    def once(seed: int) -> None:
        def counted(value: Any) -> None:
            nonlocal tried
            tried += 1
            check(value)

        quiet = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=not seed)
        quiet(given(strategy)(counted))()

    once(0)
    while time.monotonic() < until:
        once(1)
    print(f"{what}: {tried} inputs")
    assert tried >= examples / 2


@st.composite
def mutated(draw: st.DrawFn, whole: bytes, front: int = 400) -> bytes:
    """Bytes with a few places overwritten, mostly near the front, pieces moved, and the end cut off."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(front, len(raw)) - 1) | st.integers(0, len(raw) - 1))
        extremes = st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f"])
        new = draw(st.binary(min_size=1, max_size=8) | extremes)
        if draw(st.booleans()):
            raw[at : at + len(new)] = new
        else:
            raw[at:at] = new
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 4)) == 0 else raw)


def sound(form: str) -> bytes:
    """Half a second of a tone, in a format of libsndfile's or a container of FFmpeg's."""
    held = io.BytesIO()
    if form in CONTAINERS:
        container, codec = CONTAINERS[form]
        with av.open(held, "w", format=container) as file:
            coding = file.add_stream(codec, rate=24_000, layout="mono")
            samples = (9000 * np.sin(np.arange(12_000) / 9)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.rate, frame.pts = 24_000, 0
            for packet in [*coding.encode(frame), *coding.encode(None)]:
                file.mux(packet)
        return held.getvalue()
    options = {"subtype": "OPUS"} if form == "OPUS" else {}
    tone = 0.3 * np.sin(np.arange(12_000) / 9)
    soundfile.write(held, np.stack([tone, tone], 1), 24_000, format="OGG" if form == "OPUS" else form, **options)
    return held.getvalue()
