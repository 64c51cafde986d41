"""Whole runs on one machine: the same rows from every engine, and nothing lost to a kill, a crash, a hang or a bad file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from extractors import LogMel
from pipelines.engines.local import Local
from pipelines.recipe import Recipe, load
from pipelines.run import run as whole_run
from pipelines.stage import Heard, Unit
from pipelines.store import Store
from tests.collection import MFCC, PEAKS, RECIPE, ROOT, clips, command, earmark, parts, tone, tones
from tests.sounds import long_mp3

POISON = (
    """
[window]
seconds = 1.0
"""
    + PEAKS
    + """
[run]
deadline_seconds = 12
"""
)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A store with 12 tracks in 6 shards, and a recipe beside it."""
    tones(tmp_path / "audio", 12)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert len(Store(tmp_path / "store").names("tracks")) == 6
    return tmp_path


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Five recordings of 1 s in one shard, to which the test adds its own; not yet scanned."""
    tones(tmp_path / "audio", 5, 1.0)
    (tmp_path / "recipe.toml").write_text(POISON.replace("deadline_seconds = 12", "deadline_seconds = 17"))  # few tracks add little to it
    return tmp_path


def run(
    folder: Path, *more: str | Path, store: str = "store", recipe: str = "recipe.toml", code: int = 0, **environment: str
) -> dict[str, Any]:
    """One `earmark run` in a process of its own, by the local engine unless `more` says another."""
    engine = () if "--engine" in more else ("--engine", "local")
    return earmark("run", folder / recipe, "--store", folder / store, *engine, *more, code=code, **environment)


def copy_of(folder: Path, name: str) -> str:
    """Another store with the same tracks, for a run to compare with."""
    for table in Store(folder / "store").paths("tracks"):
        to = folder / name / "tracks"
        to.mkdir(parents=True, exist_ok=True)
        (to / Path(table).name).write_bytes(Path(table).read_bytes())
    return name


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Poll for something that another process brings about."""
    for _ in range(int(seconds / 0.02)):
        if what():
            return
        time.sleep(0.02)
    raise TimeoutError(what)


def test_a_run_makes_each_part_once_and_then_has_nothing_to_do(collection: Path) -> None:
    first = run(collection)
    assert (first["tracks"], first["clips"], first["planned"]) == (12, 24, 6)
    before = parts(collection / "store")
    assert len(before) == 12
    again = run(collection)
    assert again["planned"] == 0
    assert parts(collection / "store") == before


def test_rows_carry_their_identity_and_footers_their_origin(collection: Path) -> None:
    run(collection)
    store = Store(collection / "store")
    views, mel = store.table("views"), store.table("logmel")
    assert views.to_table().column("clip_id").to_pylist() == mel.to_table().column("clip_id").to_pylist()
    assert len(set(mel.to_table().column("clip_id").to_pylist())) == 24
    footer = json.loads(mel.schema.metadata[b"earmark"])
    assert footer["extractor"]["use"] == "LogMel"
    assert footer["extractor"]["n_mels"] == 40
    assert "numpy" in footer["versions"]
    assert footer["variant"] in store.tables()["logmel"]


def test_any_number_of_workers_and_any_batch_give_the_same_bytes(collection: Path) -> None:
    (collection / "recipe.toml").write_text(RECIPE + MFCC)
    run(collection)
    expected = parts(collection / "store")
    for workers, batch in (("1", 1), ("3", 7)):
        (collection / "recipe.toml").write_text(RECIPE + MFCC + f"[run]\nbatch = {batch}\n")
        store = copy_of(collection, f"store{workers}")
        run(collection, "--workers", workers, store=store, PYTHONHASHSEED=workers)
        assert parts(collection / store) == expected


@pytest.mark.slow
def test_ray_equals_local(collection: Path) -> None:
    (collection / "recipe.toml").write_text(RECIPE + MFCC)
    run(collection)
    store = copy_of(collection, "by_ray")
    summary = run(collection, "--engine", "ray", store=store)
    assert summary["clips"] == 24
    assert parts(collection / store) == parts(collection / "store")


def test_no_local_worker_is_lost_over_many_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Local, "_hear", lambda self, unit: Heard(clips=1))
    engine = Local(str(tmp_path), workers=4)
    unit = Unit(str(tmp_path), "shard", Recipe(extract=(LogMel(),)), ("logmel",))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns after every few instructions, so that rare orders of events occur
    try:
        outcomes = list(engine.run(deque([unit] * 3000)))
    finally:
        sys.setswitchinterval(interval)
    assert len(outcomes) == 3000
    assert sum(thread.name == f"hear {tmp_path}" for thread in threading.enumerate()) == 4


def test_adding_an_extractor_computes_only_that(collection: Path) -> None:
    run(collection)
    before = {path: path.stat().st_mtime_ns for path in (collection / "store").glob("*/*/*.parquet")}
    (collection / "recipe.toml").write_text(RECIPE + MFCC)
    assert run(collection)["planned"] == 6
    after = {path: path.stat().st_mtime_ns for path in (collection / "store").glob("*/*/*.parquet")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 6


def test_a_changed_parameter_computes_only_what_depends_on_it(collection: Path) -> None:
    (collection / "recipe.toml").write_text(RECIPE + MFCC)
    run(collection)
    before = parts(collection / "store")
    (collection / "recipe.toml").write_text(RECIPE + MFCC.replace("n_mels = 40", "n_mels = 20"))
    run(collection)
    new = set(parts(collection / "store")) - set(before)
    assert len(new) == 6
    assert {name.split("/")[0] for name in new} == {"mfcc"}
    assert len(clips(collection / "store", "mfcc")) == 24


def test_new_tracks_are_heard_without_touching_old_parts(collection: Path) -> None:
    run(collection)
    before = parts(collection / "store")
    tone(collection / "audio" / "new.flac", 77)
    earmark("scan", collection / "audio", "--store", collection / "store")
    assert run(collection)["tracks"] == 1
    assert before.items() <= parts(collection / "store").items()
    assert len(clips(collection / "store", "logmel")) == 26


def test_a_run_killed_at_any_moment_is_resumed_with_nothing_twice_and_nothing_missing(collection: Path) -> None:
    run(collection, store=copy_of(collection, "undisturbed"))
    expected = parts(collection / "undisturbed")
    kept = 0
    for published in (1, 4, 7):
        arguments = command("run", collection / "recipe.toml", "--store", collection / "store", "--engine", "local", "--workers", "1")
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as child:
            try:
                wait_until(lambda: len(parts(collection / "store")) >= published or child.poll() is not None)  # noqa: B023
            finally:
                child.kill()
        done = parts(collection / "store")
        assert done.items() <= expected.items()
        assert len(done) >= kept
        kept = len(done)
    time.sleep(0.5)  # the killed parent's child dies with it, a moment later
    run(collection)
    assert parts(collection / "store") == expected
    assert not list((collection / "store").glob("*/*/.*"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_ctrl_c_stops_within_seconds_and_says_how_to_go_on(collection: Path, engine: str) -> None:
    (collection / "recipe.toml").write_text(POISON.replace("deadline_seconds = 12", "deadline_seconds = 600"))
    tone(collection / "audio" / "hang.flac", 99, peak=0.7)
    earmark("scan", collection / "audio", "--store", collection / "store")
    arguments = command("run", collection / "recipe.toml", "--store", collection / "store", "--engine", engine)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        wait_until(lambda: len(parts(collection / "store")) >= 6)
        os.killpg(child.pid, signal.SIGINT)
        began = time.monotonic()
        _, err = child.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert child.returncode == 130
    assert "the same command goes on where it stopped" in err


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_file_that_crashes_or_hangs_its_worker_is_rejected_and_its_neighbours_are_saved(shard: Path, engine: str) -> None:
    crash = tone(shard / "audio" / "crash.flac", 98, peak=0.9)
    hang = tone(shard / "audio" / "hang.flac", 99, peak=0.7)
    earmark("scan", shard / "audio", "--store", shard / "store")  # every track has bad neighbours
    summary = run(shard, "--engine", engine)
    assert summary["rejects"] == {"poison": 2}
    assert summary["failed"] == {}
    assert len(clips(shard / "store", "peaks")) == 5
    rejects = Store(shard / "store").open_rejects()
    assert sorted(row["uri"] for row in rejects) == [str(crash), str(hang)]
    assert "no end after" in rejects[1]["message"]


@pytest.mark.slow
def test_a_file_that_stops_every_thread_of_the_process_is_found_too(shard: Path) -> None:
    seize = tone(shard / "audio" / "seize.flac", 98, peak=0.8)
    earmark("scan", shard / "audio", "--store", shard / "store")
    code = (
        "import sys; from pipelines import cli; from pipelines.engines import supervisor as s; s.STUCK_SECONDS = 4.0; sys.exit(cli.main())"
    )
    arguments = command("run", shard / "recipe.toml", "--store", shard / "store", "--engine", "local", "--json")[3:]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "something held Python's lock for two minutes (SIGALRM); going on with that shard set apart" in done.stderr
    assert json.loads(done.stdout)["rejects"] == {"poison": 1}
    assert [row["uri"] for row in Store(shard / "store").open_rejects()] == [str(seize)]
    assert len(clips(shard / "store", "peaks")) == 5


def test_an_extractor_that_raises_fails_its_shard_and_is_named(collection: Path) -> None:
    (collection / "recipe.toml").write_text(POISON.replace("outputs = { peak = [1] }", "outputs = { peak = [2] }"))
    summary = run(collection, code=1)
    failed = summary["failed"]
    assert len(failed) == 6
    assert all("peak" in message for message in failed.values())
    assert parts(collection / "store") == {}


def test_a_vanished_file_is_rejected_and_won_back_beside_the_old_part(collection: Path) -> None:
    lost = collection / "audio" / "003.flac"
    lost.rename(collection / "away.flac")
    assert run(collection)["rejects"] == {"vanished": 1}
    before = parts(collection / "store")
    assert len(clips(collection / "store", "logmel")) == 22
    (collection / "away.flac").rename(lost)
    assert run(collection)["planned"] == 0
    assert run(collection, "--retry-rejects")["tracks"] == 1
    assert before.items() <= parts(collection / "store").items()
    run(collection, store=copy_of(collection, "undisturbed"))
    for table in ("views", "logmel"):
        assert clips(collection / "store", table) == clips(collection / "undisturbed", table)
    assert Store(collection / "store").open_rejects() == []
    assert run(collection, "--retry-rejects")["planned"] == 0


def test_a_file_that_changed_since_the_scan_is_not_taken_for_the_old_one(collection: Path) -> None:
    tone(collection / "audio" / "003.flac", 55, seconds=3.0)
    assert run(collection)["rejects"] == {"changed": 1}
    assert "scan again" in Store(collection / "store").open_rejects()[0]["remedy"]


def test_a_truncated_file_is_kept_and_flagged(tmp_path: Path) -> None:
    whole = tone(tmp_path / "whole.flac", 1, seconds=20.0)
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "half.flac").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    summary = run(tmp_path)
    assert summary["rejects"] == {"truncated": 1}
    assert 5 <= len(clips(tmp_path / "store", "logmel")) <= 15


def test_two_runs_at_once_on_one_store_do_no_harm(collection: Path) -> None:
    run(collection, store=copy_of(collection, "undisturbed"))
    arguments = command("run", collection / "recipe.toml", "--store", collection / "store", "--engine", "local")
    children = [subprocess.Popen(arguments, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    assert parts(collection / "store") == parts(collection / "undisturbed")


def test_whole_tracks_of_different_lengths_are_one_row_each(tmp_path: Path) -> None:
    for number, seconds in enumerate((0.5, 3.0, 1.25)):
        (tmp_path / "audio").mkdir(exist_ok=True)
        tone(tmp_path / "audio" / f"{number}.flac", number, seconds)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    (tmp_path / "recipe.toml").write_text(
        RECIPE.replace("seconds = 1.0", 'seconds = "track"') + '[[extract]]\nuse = "SelfSimilarity"\nsize = 32\n'
    )
    assert run(tmp_path)["clips"] == 3
    rows = Store(tmp_path / "store").table("logmel").to_pandas()
    assert sorted(rows["valid"]) == [1 + round(16_000 * seconds) // 256 for seconds in (0.5, 1.25, 3.0)]
    assert all(len(mel) == valid for mel, valid in zip(rows["mel"], rows["valid"], strict=True))


def test_a_whole_track_too_long_for_memory_is_rejected_with_a_way_out(collection: Path) -> None:
    tone(collection / "audio" / "long.flac", 40, seconds=6.0)
    earmark("scan", collection / "audio", "--store", collection / "store")
    (collection / "recipe.toml").write_text(RECIPE.replace("seconds = 1.0", 'seconds = "track"\nmax_seconds = 5.0'))
    assert run(collection)["rejects"] == {"too long": 1}
    assert "raise window.max_seconds" in Store(collection / "store").open_rejects()[0]["remedy"]


@pytest.mark.slow
def test_a_four_hour_recording_is_heard_in_bounded_memory(tmp_path: Path) -> None:
    """At most 300 MB beyond what a short recording needs, in one worker."""
    peaks = []
    for name, minutes in (("short", 1), ("long", 240)):
        folder = tmp_path / name
        folder.mkdir()
        long_mp3(folder / "recording.mp3", minutes)
        earmark("scan", folder, "--store", folder / "store")
        (folder / "recipe.toml").write_text(RECIPE.replace("seconds = 1.0", "seconds = 30.0"))
        arguments = command("run", folder / "recipe.toml", "--store", folder / "store", "--engine", "local", "--workers", "1")
        peak = 0
        with psutil.Popen(arguments, stdout=subprocess.DEVNULL) as child:
            while child.poll() is None:
                with contextlib.suppress(psutil.Error):
                    peak = max(peak, *(each.memory_info().rss for each in child.children(recursive=True)), 0)
                time.sleep(0.02)
            assert child.returncode == 0
        peaks.append(peak)
        assert len(Store(folder / "store").table("logmel")) == pytest.approx(2 * minutes, rel=0.01)
    assert peaks[0] > 50e6
    assert peaks[1] - peaks[0] < 300e6


def test_a_store_without_tracks_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    from pipelines.cli import main

    assert main(["run", str(tmp_path / "recipe.toml"), "--store", str(tmp_path / "nowhere")]) == 2
    assert "no tracks yet; 'earmark scan FOLDER --store" in capfd.readouterr().err


def test_help_answers_at_once_because_nothing_heavy_is_imported() -> None:
    code = "import sys; from pipelines.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([command()[0], "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pyarrow", "torch", "ray", "pydantic"} & set(done.stdout.split())


def test_notes_are_not_kept_in_a_folder_that_somebody_else_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Local("store", 1, "cpu")
    mine = tmp_path / f"earmark-{os.getuid()}"
    assert mine.stat().st_mode & 0o777 == 0o700
    mine.rename(tmp_path / "elsewhere")
    mine.symlink_to(tmp_path / "elsewhere")
    lstat = Path.lstat
    monkeypatch.setattr(Path, "lstat", lambda path: os.stat_result((*lstat(path)[:4], os.getuid() + 1, *lstat(path)[5:])))
    with pytest.raises(ValueError, match=f"earmark-{os.getuid()}: belongs to somebody else; set TMPDIR"):
        Local("store", 1, "cpu")


def test_what_an_interrupted_run_has_made_is_struck_out_of_the_rejects(tmp_path: Path) -> None:
    (path,) = tones(tmp_path / "audio", 1)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    store = Store(tmp_path / "store")
    (track_id,) = store.table("tracks").to_table(["track_id"]).column("track_id").to_pylist()
    said = {"uri": str(path), "stage": "augment", "track_id": track_id, "error": "silent", "message": "m", "remedy": "r"}
    store.reject([said])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    summary = whole_run(store, load(tmp_path / "recipe.toml"), Local(store.root, 1, "cpu"), told=interrupt)
    assert summary.interrupted
    assert store.open_rejects() == []
