"""How a run is seen from outside: from another terminal, and in its log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.diary import Diary, Note, notes
from pipelines.engines.engine import Failed, Lost
from pipelines.process import alive
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
    while not (found and found[0].shards) and child.poll() is None:
        found = notes(Store(tmp_path / "store"))
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    while alive(found[0].process):  # the command's child, which is not ours to wait for
        time.sleep(0.05)
    assert found[0].state == "running"
    assert 0 < found[0].shards < found[0].planned == 12
    assert "nothing is known of the end yet" in str(replace(found[0], at=time.time(), recent=None))
    later = replace(found[0], at=time.time() - 600)
    assert "dead, its process is gone" in str(later)
    assert "silent for 10 min: dead, or on long shards" in str(replace(later, host="elsewhere"))
    assert "silent for 10 min: on long shards" in str(replace(later, process=os.getpid()))
    assert "to go" not in str(later)


def test_lost_workers_and_failed_shards_are_counted(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()  # without a catalogue there is no store
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


def test_a_run_is_seen_before_its_first_shard_is_done_and_failed_shards_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    diary = Diary(Store(tmp_path), "ray", ("mfcc",))
    (note,) = notes(Store(tmp_path))
    assert str(replace(note, at=time.time())).splitlines()[0].endswith(": planning")
    diary.told(Summary(planned=3, shards=1, failed={"b": "no"}), unit("b"), Failed("no"))
    (note,) = notes(Store(tmp_path))
    assert "about 2 s to go" in str(replace(note, at=time.time(), recent=0.5))
    assert "to go" not in str(replace(note, at=time.time(), recent=0.5, planned=2))


def test_a_resumed_run_plans_and_tells_only_what_is_left(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 6)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    arguments = ("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local")
    earmark(*arguments)
    next(tmp_path.glob("store/logmel/*/*.parquet")).unlink()
    earmark(*arguments)
    again, first = earmark("status", "--store", tmp_path / "store")
    assert (first["planned"], first["shards"], again["planned"], again["shards"]) == (3, 3, 1, 1)


DAMAGED = {
    "cut off": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: b"garbage",
    "no UTF-8": lambda text: b"\xff\xfe\x00" + text,
    "another thing": lambda text: b"[1]",
    "without a field": lambda text: text.replace(b'"clips"', b'"clicks"'),
    "no time": lambda text: re.sub(rb'"began": [0-9.]+', b'"began": 1e300', text),
    "nothing": lambda text: b"",
}


def test_a_damaged_note_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tracks").mkdir()
    Diary(Store(tmp_path), "local", ()).end(Summary())
    (path,) = (tmp_path / "runs").iterdir()
    for name, damage in DAMAGED.items():
        (tmp_path / "runs" / f"z {name}.json").write_bytes(damage(path.read_bytes()))
    assert main(["status", "--store", str(tmp_path), "--runs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": done")
    assert [line for line in lines if "not a note" in line] == [
        f"{tmp_path}/runs/z {name}.json: not a note of a run, delete it" for name in sorted(DAMAGED, reverse=True)
    ]


def test_a_note_from_the_future_and_one_with_a_hostile_name_are_told_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    Diary(Store(tmp_path), "local", ())
    (note,) = notes(Store(tmp_path))
    ahead = str(replace(note, at=time.time() + 7230, planned=2, recent=1.0, rejects={"\x1b[31m": 1}))
    assert "its clock is 2.0 h ahead of this machine's" in ahead
    assert "to go" not in ahead
    assert "\x1b" not in ahead


def test_two_runs_at_once_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    one, two = (Diary(Store(tmp_path), engine, ()) for engine in ("local", "ray"))
    one.end(Summary(planned=2, shards=2))
    two.end(Summary(planned=3, shards=1, failed={"a": "no", "b": "no"}))
    assert {(note.engine, note.state, note.shards) for note in notes(Store(tmp_path))} == {("local", "done", 2), ("ray", "failed", 1)}


def test_a_store_on_which_nothing_ran_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--store", str(tmp_path)]) == 0
    assert "no run has told of itself" in capsys.readouterr().out


def test_the_last_run_comes_first_and_no_more_than_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    for number, engine in enumerate(("local", "ray", "beam")):
        diary = Diary(Store(tmp_path), engine, ())
        (tmp_path / "runs" / f"{diary._run}.json").unlink()
        diary._run = f"{number}-run"
        diary.end(Summary())
    assert [note.engine for note in notes(Store(tmp_path), 2)] == ["beam", "ray"]
