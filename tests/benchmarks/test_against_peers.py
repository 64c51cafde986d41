"""How fast earmark is, as ratios to what others do in the same minutes on the same cores."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.contestants import RACES
from tests.benchmarks.corpus import corpus
from tests.benchmarks.measure import ROOT, Times, race, table

ROUNDS = 3

pytestmark = pytest.mark.timeout(3600)


def results(name: str, rounds: int = ROUNDS) -> dict[str, Times]:
    """A race, run and printed."""
    contestants, few, many = RACES[name]
    times = race(contestants, few, many, rounds)
    print(f"\n{name}, {few} and {many} files, {rounds} rounds\n{table(times)}")
    return times


@pytest.fixture(scope="module")
def logmel() -> dict[str, Times]:
    return results("logmel")


@pytest.fixture(scope="module")
def musicnn() -> dict[str, Times]:
    return results("musicnn", 3)


@pytest.fixture(scope="module")
def augmented() -> dict[str, Times]:
    return results("augmented")


@pytest.mark.parametrize(("peer", "ratio"), [("joblib + librosa", 1.6), ("lhotse", 1.5), ("soundfile + soxr + scipy by hand", 0.85)])
def test_log_mel_to_parquet_is_faster_than(logmel: dict[str, Times], peer: str, ratio: float) -> None:
    assert logmel["earmark"].steady >= ratio * logmel[peer].steady


def test_local_starts_within_2_seconds_and_holds_less_than_a_gigabyte(logmel: dict[str, Times]) -> None:
    assert logmel["earmark"].start_up < 2
    assert logmel["earmark"].peak_bytes < 1e9


@pytest.mark.parametrize(("precision", "ratio"), [("bf16", 3.5), ("float32", 2.3)])
def test_musicnn_is_faster_than_eager_torch(musicnn: dict[str, Times], precision: str, ratio: float) -> None:
    assert musicnn[f"earmark, {precision}"].steady >= ratio * musicnn["joblib + librosa + eager torch"].steady


@pytest.mark.parametrize(("precision", "ratio"), [("bf16", 3.0), ("float32", 2.2)])
def test_augmented_views_are_faster_than_audiomentations_and_eager_torch(augmented: dict[str, Times], precision: str, ratio: float) -> None:
    # As people write it: a clip's patches at once. The table that is printed has the same script patch by patch too, twice as fast.
    assert augmented[f"earmark, {precision}"].steady >= ratio * augmented["joblib + audiomentations + eager torch"].steady


def test_three_extractors_cost_little_more_than_the_dearest() -> None:
    times = results("three")
    files = list(map(str, corpus(24)))
    command = [sys.executable, "-m", "tests.benchmarks.arithmetic", *files]
    bare = float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout) / 1e3
    three, dearest = times["three extractors"].seconds_per_file, times["MusiCNN alone"].seconds_per_file
    print(f"per file: three {1e3 * three:.1f} ms, MusiCNN alone {1e3 * dearest:.1f} ms, bare arithmetic of the others {1e3 * bare:.1f} ms")
    assert three <= 1.15 * dearest + bare


def test_ray_keeps_up_with_local() -> None:
    times = results("ray", 3)
    assert times["ray"].steady >= 0.85 * times["local"].steady
