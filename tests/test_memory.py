"""Work that takes memory without end: its process ends, its file is found, and a full machine is nobody's fault."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.engines import memory
from pipelines.engines.engine import Failed, Lost, Outcome, raised
from pipelines.engines.memory import GREEDY, share
from pipelines.recipe import load
from pipelines.run import run
from pipelines.stage import Unit
from pipelines.store import Store
from tests.collection import PEAKS, RECIPE, ROOT, clips, earmark, tone, tones


def test_a_process_that_takes_more_than_its_bound_ends_and_says_why() -> None:
    code = """
import time
from pipelines.engines.memory import bounded

with bounded(4e9):
    with bounded(2e8, print):
        kept = []
        for _ in range(100):
            kept.append(b"x" * 10_000_000)
            time.sleep(0.01)
"""
    done = subprocess.run([sys.executable, "-u", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == GREEDY
    assert done.stdout == "its process took more than 0.2 GB of memory\n"


def test_a_bound_that_was_left_and_one_that_is_kept_end_nothing() -> None:
    code = """
import time
from pipelines.engines.memory import bounded

with bounded(2e8):
    pass
with bounded(4e9):
    kept = b"x" * 500_000_000
    time.sleep(1)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n"


@pytest.mark.parametrize(
    ("machine", "cores", "gigabytes", "workers", "expected"),
    [
        (40e9, 4, 0, 1, 8e9),
        (40e9, 4, 0, 3, 24e9),
        (40e9, 4, 0, 0, 32e9),
        (40e9, 20, 0, 1, 2e9),  # its share would be 1.6 GB
        (40e9, 4, 1.5, 2, 3e9),
        (40e9, 4, 50, 1, 32e9),
    ],
)
def test_a_share_is_by_cores_at_least_two_gigabytes_and_never_the_whole_machine(
    machine: float, cores: int, gigabytes: float, workers: int, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_machine_bytes", lambda: int(machine))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    assert share(gigabytes, workers) == pytest.approx(expected)


def test_an_error_for_want_of_memory_comes_of_a_file_and_any_other_of_the_code() -> None:
    assert raised(MemoryError("8 TiB")) == Lost("more memory was asked for than its machine has (8 TiB)")
    assert raised(ValueError("no")) == Failed("ValueError: no")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_file_that_takes_memory_without_end_is_rejected_and_its_neighbour_is_saved(engine: str, tmp_path: Path) -> None:
    tones(tmp_path / "audio", 1)
    greedy = tone(tmp_path / "audio" / "greedy.flac", 97, peak=0.6)
    (tmp_path / "recipe.toml").write_text(f"[window]\nseconds = 1.0\n{PEAKS}[run]\nmax_retries = 0\nmemory_gb = 0.8\n")
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", "1")
    summary = earmark("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", engine, "--workers", "2")
    assert summary["rejects"] == {"poison": 1}
    assert summary["failed"] == {}
    assert len(clips(tmp_path / "store", "peaks")) == 2
    (reject,) = Store(tmp_path / "store").open_rejects()
    assert reject["uri"] == str(greedy)
    assert reject["message"] == "its process took more than 0.8 GB of memory while this file was heard"
    assert "run.memory_gb" in reject["remedy"]


class Full:
    """An engine on a machine whose memory is full for its first units."""

    workers = 1
    device = "cpu"

    def __init__(self, units: int) -> None:
        self.left = units
        self.heard: list[Unit] = []

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Lose units to the machine, and hear what comes later."""
        from pipelines.stage import hear

        while queue:
            unit = queue.popleft()
            self.heard.append(unit)
            self.left -= 1
            yield unit, Lost("full", blameless=True) if self.left >= 0 else hear(unit)

    def close(self) -> None:
        """Nothing is open."""


def test_what_a_full_machine_ends_is_tried_again_and_then_left_for_the_next_run_and_no_file_is_blamed(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 3)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", "1")
    store, recipe = Store(tmp_path / "store"), load(tmp_path / "recipe.toml")
    for_good = Full(9)
    assert list(run(store, recipe, for_good).failed.values()) == ["full"]
    assert len(for_good.heard) == 2  # one more try, and no hunt
    assert run(store, recipe, Full(1)).failed == {}
    assert len(clips(tmp_path / "store", "logmel")) == 6
    assert store.open_rejects() == []


@pytest.mark.slow
def test_a_worker_that_ray_ends_on_a_full_machine_leaves_its_shard_to_the_next_run(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 3)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", "1")
    arguments = ("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--workers", "1")
    # Ray takes a machine for full that uses a hundredth of its memory, as any does that runs this.
    full = earmark(*arguments, code=1, RAY_memory_usage_threshold="0.01", RAY_memory_monitor_refresh_ms="50")
    assert ["memory" in message for message in full["failed"].values()] == [True]
    assert Store(tmp_path / "store").open_rejects() == []
    assert earmark(*arguments, "--engine", "local")["failed"] == {}
    assert len(clips(tmp_path / "store", "logmel")) == 6
