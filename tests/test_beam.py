"""The Beam engine on Beam's own runner: the rows of the others, its own counters, and workers that die."""

from __future__ import annotations

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
from tests.collection import PEAKS, RECIPE, clips, earmark, parts, tone, tones

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
def test_files_that_crash_and_hang_their_worker_are_rejected_and_their_neighbours_are_saved(collection: Path) -> None:
    crash = tone(collection / "audio" / "crash.flac", 98, peak=0.9)
    hang = tone(collection / "audio" / "hang.flac", 99, peak=0.7)
    (collection / "recipe.toml").write_text("[window]\nseconds = 1.0\n" + PEAKS + "[run]\ndeadline_seconds = 10\n")
    earmark("scan", collection / "audio", "--store", collection / "third")  # one shard: every track has bad neighbours
    summary = run(collection, "beam", store="third")
    assert summary["rejects"] == {"poison": 2}
    assert summary["failed"] == {}
    assert len(clips(collection / "third", "peaks")) == 16
    assert sorted(row["uri"] for row in Store(collection / "third").open_rejects()) == [str(crash), str(hang)]


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
