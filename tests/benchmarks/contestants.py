"""The commands that race: earmark with its recipes, and its peers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.corpus import corpus, folder, impulse_responses
from tests.benchmarks.measure import CORES, ROOT, Make

LOGMEL = '[[extract]]\nuse = "LogMel"\n'
MFCC = '[[extract]]\nuse = "Mfcc"\n'
BF16 = '[[extract]]\nuse = "MusiCNN"\nprecision = "bf16"\n'
FLOAT32 = '[[extract]]\nuse = "MusiCNN"\n'
# Noise and gain are drawn from where audiomentations draws them if told nothing.
VIEWS = """
seed = 1
[views]
count = 4
sample_rate = 22050
[[augment]]
use = "PitchShift"
low = -2
high = 2
step = 0
p = 0.5
[[augment]]
use = "AddNoise"
p = 0.5
[[augment]]
use = "ImpulseResponse"
files = "{rooms}"
p = 0.5
[[augment]]
use = "Gain"
low_db = -12
high_db = 12
p = 0.5
"""
RECIPES = {
    "logmel": LOGMEL,
    "bf16": BF16,
    "float32": FLOAT32,
    "logmel_bf16": LOGMEL + BF16,
    "views": VIEWS + LOGMEL + BF16,
    "three": LOGMEL + MFCC + BF16,
    "augmented_bf16": VIEWS + LOGMEL + MFCC + BF16,
    "augmented_float32": VIEWS + LOGMEL + MFCC + FLOAT32,
}


def earmark(recipe: str, engine: str) -> Make:
    """`earmark run` over a store that has been scanned and holds nothing else."""

    def make(files: int) -> list[str]:
        file = folder() / f"{recipe}.toml"
        file.write_text(RECIPES[recipe].format(rooms=impulse_responses()))
        return [
            *(sys.executable, "-m", "pipelines.cli", "run", str(file), "--store", str(scanned(files))),
            *("--engine", engine, "--workers", str(len(CORES))),
        ]

    return make


def scanned(files: int) -> Path:
    """A store with the first files of the corpus in its catalogue, and no features."""
    store = folder() / "stores" / str(files)
    if not (store / "tracks").exists():
        sources = folder() / "sources" / str(files)
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir(parents=True)
        for path in corpus(files):
            (sources / path.name).symlink_to(path)
        shutil.rmtree(store, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "pipelines.cli", "scan", str(sources), "--store", str(store)], cwd=ROOT, check=True)
    for table in store.iterdir():
        if table.is_dir() and table.name not in ("tracks", "aliases"):
            shutil.rmtree(table)
    return store


def peer(name: str, *options: str) -> Make:
    """A script from the folder `peers`."""

    def make(files: int) -> list[str]:
        out = folder() / "out"
        shutil.rmtree(out, ignore_errors=True)
        script = ROOT / "tests" / "benchmarks" / "peers" / f"{name}.py"
        return [sys.executable, str(script), *map(str, corpus(files)), "--out", str(out), "--workers", str(len(CORES)), *options]

    return make


def augmented(*options: str) -> Make:
    """The peer that makes views, with its folder of rooms."""
    return lambda files: peer("joblib_augmented", "--rooms", str(impulse_responses()), *options)(files)


# By name: who takes part, the first against the others, and over how many files.
RACES: dict[str, tuple[dict[str, Make], int, int]] = {
    "logmel": (
        {
            "earmark": earmark("logmel", "local"),
            "soundfile + soxr + scipy by hand": peer("hand_fused"),
            "joblib + librosa": peer("joblib_librosa"),
            "lhotse": peer("lhotse_mel"),
        },
        40,
        600,
    ),
    "musicnn": (
        {
            "earmark, bf16": earmark("bf16", "local"),
            "earmark, float32": earmark("float32", "local"),
            "joblib + librosa + eager torch": peer("joblib_eager"),
            "the same, patch by patch": peer("joblib_eager", "--singly"),
        },
        24,
        72,
    ),
    "three": ({"three extractors": earmark("three", "local"), "MusiCNN alone": earmark("bf16", "local")}, 24, 104),
    "augmented": (
        {
            "earmark, bf16": earmark("augmented_bf16", "local"),
            "earmark, float32": earmark("augmented_float32", "local"),
            "joblib + audiomentations + eager": augmented(),
            "the same, patch by patch": augmented("--singly"),
        },
        16,
        48,
    ),
    "ray": ({"ray": earmark("logmel", "ray"), "local": earmark("logmel", "local")}, 200, 1200),
}
