"""The Beam engine on Beam's own runner: the rows of the others, its own counters, and workers that die."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.beam import Beam
from pipelines.engines.engine import Failed
from pipelines.plan import missing
from pipelines.recipe import load
from pipelines.stage import Heard
from pipelines.store import Store
from tests.collection import PEAKS, RECIPE, ROOT, clips, earmark, parts, tone, tones

PROCESSES = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A store with 8 tracks in 4 shards, and a recipe beside it."""
    tones(tmp_path / "audio", 8)
    for store in ("store", "other"):
        earmark("scan", tmp_path / "audio", "--store", tmp_path / store, "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def run(folder: Path, engine: str, *more: str, store: str = "store", code: int = 0) -> dict[str, Any]:
    return earmark("run", folder / "recipe.toml", "--store", folder / store, "--engine", engine, *more, code=code)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), PROCESSES], ids=["one process", "two processes"])
def test_beam_equals_local(collection: Path, options: tuple[str, ...]) -> None:
    assert run(collection, "beam", *options)["clips"] == run(collection, "local", store="other")["clips"] == 16
    assert parts(collection / "store") == parts(collection / "other")
    assert run(collection, "beam", *options)["planned"] == 0


@pytest.mark.slow
def test_a_file_that_crashes_its_worker_is_rejected_and_its_neighbours_are_saved(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 3)
    crash = tone(tmp_path / "audio" / "crash.flac", 98, peak=0.9)
    (tmp_path / "recipe.toml").write_text("[window]\nseconds = 1.0\n" + PEAKS)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", "1")
    summary = run(tmp_path, "beam")
    assert summary["rejects"] == {"poison": 1}
    assert summary["failed"] == {}
    assert len(clips(tmp_path / "store", "peaks")) == 6
    assert [row["uri"] for row in Store(tmp_path / "store").open_rejects()] == [str(crash)]


def test_a_worker_with_several_threads_is_ended_at_the_earliest_deadline() -> None:
    code = """
import threading, time
from pipelines.engines.watchdog import deadline

def work(seconds, takes):
    with deadline(seconds):
        time.sleep(takes)

with deadline(60):
    work(1, 0)  # left in time: it ends nothing
    time.sleep(1.2)
    print("alive", flush=True)
    threading.Thread(target=work, args=(0.2, 60)).start()
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=50, check=False)
    assert done.stdout == "alive\n"
    assert done.returncode == 1


@pytest.mark.slow
def test_beams_own_counters_count_what_was_heard_and_nothing_is_left_behind(collection: Path) -> None:
    store = Store(collection / "store")
    engine = Beam(str(collection / "store"))
    units = [replace(unit, seconds=4.0) for unit in missing(store, load(collection / "recipe.toml"), "cpu")]
    outcomes = [outcome for _, outcome in engine.run(deque(units))]
    engine.close()
    assert all(isinstance(outcome, Heard) for outcome in outcomes)
    assert {name: engine.counters[name] for name in ("heard", "tracks", "clips", "rejects")} == {
        "heard": 4,
        "tracks": 8,
        "clips": 16,
        "rejects": 0,
    }
    assert not list((collection / "store" / ".beam").iterdir())


@pytest.mark.slow
def test_a_pipeline_that_cannot_start_says_why_and_makes_nothing(collection: Path) -> None:
    units = missing(Store(collection / "store"), load(collection / "recipe.toml"), "cpu")
    engine = Beam(str(collection / "store"), ["--runner=NoSuchRunner"])
    outcomes = [outcome for _, outcome in engine.run(deque(replace(unit, seconds=4.0) for unit in units))]
    engine.close()
    assert len(outcomes) == 4
    assert all(isinstance(outcome, Failed) and "NoSuchRunner" in outcome.message for outcome in outcomes)


def test_options_that_nobody_knows_are_refused_by_the_other_engines(collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli import main

    with pytest.raises(SystemExit, match="2"):
        main(["run", "recipe.toml", "--store", "s", "--engine", "local", "--runner=DirectRunner"])
    assert "unrecognized arguments: --runner=DirectRunner" in capfd.readouterr().err
