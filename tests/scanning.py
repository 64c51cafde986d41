"""A collection of tones, and what a scan of it has noted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile

from pipelines.store import Store

RATE = 8000


def tone(path: Path | bytes | str, pitch: float = 440.0, seconds: float = 0.1, **options: str) -> Path:
    """A sine, different bytes for each pitch."""
    sound = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        soundfile.write(file, sound, RATE, format=options.pop("format", "WAV"), **options)
    return Path(os.fsdecode(path))


def tracks(store: Store) -> dict[str, dict[str, object]]:
    """The rows of `tracks`, by uri."""
    table = store.read("tracks")
    return {row["uri"]: row for row in table.to_pylist()} if table is not None else {}


def rejects(store: Store) -> dict[str, str]:
    """The causes that still stand, by uri."""
    return {row["uri"]: row["error"] for row in store.open_rejects()}
