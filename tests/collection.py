"""A small collection of real files and the commands on it, for the tests of whole runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.forked import forked

ROOT = Path(__file__).parents[1]
RATE = 16_000

MEL = """
[[extract]]
use = "LogMel"
sample_rate = 16000
n_fft = 512
hop_length = 256
n_mels = 40
"""
RECIPE = (
    """
[window]
seconds = 1.0
"""
    + MEL
)
# See tests/poison.py.
PEAKS = """
[[extract]]
use = "TorchModel"
name = "peaks"
factory = "tests.poison:Poison"
front = "wave"
sample_rate = 16000
layout = "time"
outputs = { peak = [1] }
"""
MFCC = """
[[extract]]
use = "Mfcc"
sample_rate = 16000
n_fft = 512
hop_length = 256
n_mels = 40
"""


def tones(folder: Path, count: int, seconds: float = 2.0) -> list[Path]:
    """Decaying tones in noise, each of its own pitch and peak 0.5."""
    folder.mkdir(parents=True, exist_ok=True)
    return [tone(folder / f"{index:03}.flac", index, seconds) for index in range(count)]


def tone(path: Path, number: int, seconds: float = 2.0, peak: float = 0.5) -> Path:
    """One recording; equal numbers give equal bytes."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(number).normal(size=len(time))
    sound = np.sin(2 * np.pi * 220 * 1.05**number * time) * np.exp(-time) + 0.01 * noise
    soundfile.write(path, peak * sound / np.abs(sound).max(), RATE, subtype="PCM_16")
    return path


def ran(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a command says and ends with, right or wrong; in a process of its own."""
    return forked(command(*arguments)[3:], ROOT, 240)


def earmark(*arguments: str | Path, code: int = 0, timeout: float = 240, **environment: str) -> dict[str, Any]:
    """Run a command with --json in a process of its own and give what it printed."""
    words = command(*arguments, "--json")
    # A cluster's driver is a program that was started as users start it, and so is what an environment is given to.
    if environment or "beam" in words or (words[3] == "run" and "local" not in words):
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=os.environ | environment, cwd=ROOT)
    else:
        done = forked(words[3:], ROOT, timeout)
    if done.returncode != code:
        raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return answer


def command(*arguments: str | Path) -> list[str]:
    """The command line of a process of its own; the tests' recipes may run the tests' code."""
    words = [*map(str, arguments)]
    trusted = words[:1] == ["run"] and os.path.exists(words[1]) and "factory" in Path(words[1]).read_text()
    return [sys.executable, "-m", "pipelines.cli", *words, *(["--allow-code"] if trusted else [])]


def parts(store: Path) -> dict[str, bytes]:
    """Every published feature part by its place, with its bytes."""
    found = store.glob("*/*/*.parquet")
    return {str(path.relative_to(store)): path.read_bytes() for path in found if not path.name.startswith(".")}


def clips(store: Path, table: str) -> list[tuple[str, float]]:
    """(track_id, start) of each row of a table, sorted."""
    from pipelines.store import Store

    rows = Store(store).table(table).to_table(columns=["track_id", "start"]).to_pylist()
    return sorted((row["track_id"], row["start"]) for row in rows)
