"""How a run is seen from outside: from another terminal, and in its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.diary import Diary, Note, notes
from pipelines.engines.engine import Failed, Lost
from pipelines.recipe import Recipe
from pipelines.run import Summary
from pipelines.stage import Heard, Unit
from pipelines.store import Store
from tests.collection import PEAKS, RECIPE, command, earmark, tones


def unit(shard: str) -> Unit:
    return Unit("store", shard, Recipe.model_validate({"extract": [{"use": "Mfcc"}]}), ("mfcc",))


def test_a_finished_run_is_told_with_what_it_made_and_each_shard_is_a_line_of_the_log(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 6)
    (tmp_path / "audio" / "text.wav").write_text("no sound")
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    earmark("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local", "--log", tmp_path / "log")
    (note,) = earmark("status", "--store", tmp_path / "store")
    assert (note["state"], note["planned"], note["shards"], note["tracks"], note["clips"], note["audio_seconds"]) == (
        "done",
        3,
        3,
        6,
        12,
        12.0,
    )
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "heard", "heard", "heard", "done"]
    assert sum(line["clips"] for line in lines[1:4]) == 12


@pytest.mark.slow
def test_a_run_under_way_is_seen_from_another_process_and_a_killed_one_falls_silent(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 12)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(1.5 / 3600))
    (tmp_path / "recipe.toml").write_text("[window]\nseconds = 1.0\n" + PEAKS.replace("Poison", "Slow"))
    arguments = ("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local", "--workers", "1")
    child = subprocess.Popen(command(*arguments), start_new_session=True, stderr=subprocess.DEVNULL)
    found: list[Note] = []
    while not found and child.poll() is None:
        found = notes(Store(tmp_path / "store"))
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert found[0].state == "running"
    assert 0 < found[0].shards < found[0].planned == 12
    later = Note(**{**vars(found[0]), "at": found[0].at - 600})
    assert "silent for" in str(later)
    assert "to go" not in str(later)


def test_lost_workers_and_failed_shards_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    diary = Diary(store, "local", ("mfcc",))
    summary = Summary(planned=3)
    diary.told(summary, unit("a"), Lost("died"))
    summary.failed["b"] = "no"
    diary.told(summary, unit("b"), Failed("no"))
    summary.add(Heard(tracks=1, clips=2, seconds=2.0))
    diary.told(summary, unit("a"), Heard(tracks=1, clips=2, seconds=2.0))
    diary.end(summary)
    (note,) = notes(store)
    assert (note.state, note.lost, note.failed, note.shards) == ("failed", 1, 1, 1)
    assert "shards failed: 1; workers lost: 1" in str(note)


def test_a_store_on_which_nothing_ran_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--store", str(tmp_path)]) == 0
    assert "no run has told of itself" in capsys.readouterr().out


def test_the_last_run_comes_first_and_no_more_than_were_asked_for(tmp_path: Path) -> None:
    for engine in ("local", "ray", "beam"):
        diary = Diary(Store(tmp_path), engine, ())
        diary._run = f"{len(notes(Store(tmp_path)))}-run"
        diary.end(Summary())
    assert [note.engine for note in notes(Store(tmp_path), 2)] == ["beam", "ray"]
