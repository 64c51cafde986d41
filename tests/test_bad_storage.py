"""Disks that fail to read, take their time or go away: nothing is lost by it, and no good file is taken for a bad one."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from pipelines import recording
from pipelines.catalog import scan
from pipelines.engines.apart import hear_apart
from pipelines.engines.engine import Lost
from pipelines.engines.local import Local
from pipelines.plan import missing
from pipelines.recipe import Recipe, load
from pipelines.run import Summary, run
from pipelines.stage import hear
from pipelines.store import Store
from tests.collection import MEL, RATE, clips, parts, tones
from tests.gate import Gate
from tests.sick_disk import SickDisk

SHARDS = 4
KINDS = ("flac", "mp3", "ogg", "wav")  # by libsndfile, mpg123, FFmpeg and nobody


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight recordings in four shards, seen through a disk that may fall ill, a catalogue, and the store of an undisturbed run."""
    folder = tmp_path_factory.mktemp("storage")
    for path in tones(folder / "real", 8, seconds=8.0):
        samples, _ = soundfile.read(path)
        path.unlink()
        soundfile.write(path.with_suffix(f".{KINDS[int(path.stem) % len(KINDS)]}"), samples, RATE)
    (folder / "recipe.toml").write_text("[window]\nseconds = 2.0\n[run]\nmax_retries = 2  # a shard has two files\n" + MEL)
    with SickDisk(folder / "real", folder / "seen"):
        scan(Store(folder / "catalogue"), [str(folder / "seen")], shard_hours=17 / 3600)
        shutil.copytree(folder / "catalogue", folder / "store")
        assert heard(folder, folder / "store").failed == {}
    assert len(parts(folder / "store")) == 2 * SHARDS
    return folder


@pytest.fixture
def store(healthy: Path, tmp_path: Path) -> Path:
    """A store with the catalogue only."""
    return Path(shutil.copytree(healthy / "catalogue", tmp_path / "store"))


@pytest.fixture
def disk(healthy: Path) -> Iterator[SickDisk]:
    """The disk with the recordings; it is well."""
    with SickDisk(healthy / "real", healthy / "seen") as mounted:
        yield mounted


def heard(folder: Path, store: Path | str, told: Callable[[], None] = lambda: None) -> Summary:
    """A run on one thread; `told` is called after each shard."""
    there = Store(store)
    return run(there, load(folder / "recipe.toml"), Local(str(store), 1, "cpu"), told=lambda *_: told())


def broken(disk: SickDisk, times: int, files: tuple[str, ...] = ("",), beyond: int = 20_000, to: int = 10**9) -> dict[str, int]:
    """Make reads of these files fail beyond an offset and before another, so many times for each; gives how often they did."""
    failed: dict[str, int] = {}

    def fault(name: str, offset: int, size: int) -> None:
        if offset + size > beyond and offset < to and name.startswith(files) and failed.get(name, 0) < times:
            failed[name] = failed.get(name, 0) + 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.fault = fault
    return failed


def test_a_read_that_fails_once_in_each_file_leaves_no_trace(healthy: Path, store: Path, disk: SickDisk) -> None:
    failed = broken(disk, times=1)
    summary = heard(healthy, store)
    assert len(failed) == 8
    assert (summary.failed, dict(summary.rejects), summary.shards) == ({}, {}, SHARDS)
    assert parts(store) == parts(healthy / "store")


@pytest.mark.parametrize("name", ["000", "001", "002", "003"])
def test_a_file_that_its_disk_does_not_give_is_left_out_and_tried_again_by_the_next_run(
    name: str, healthy: Path, store: Path, disk: SickDisk
) -> None:
    broken(disk, times=10**6, files=(name,))
    for _ in range(2):
        summary = heard(healthy, store)
        assert (summary.failed, dict(summary.rejects)) == ({}, {"unreadable": 1})
    assert len(clips(store, "logmel")) == 28
    assert "Input/output error" in Store(store).open_rejects()[0]["message"]
    disk.fault = lambda name, offset, size: None
    assert heard(healthy, store).clips == 4
    assert clips(store, "logmel") == clips(healthy / "store", "logmel")
    assert Store(store).open_rejects() == []
    assert heard(healthy, store).planned == 0


@pytest.fixture
def hanging(disk: SickDisk) -> Iterator[SickDisk]:
    """The disk, which gives nothing of one recording until the test has ended."""
    well = threading.Event()
    disk.fault = lambda name, offset, size: well.wait(60) if name.startswith("002") else None
    yield disk
    well.set()


def impatient(folder: Path, seconds: float) -> Recipe:
    """The recipe, with a deadline that is near."""
    recipe = load(folder / "recipe.toml")
    return recipe.model_copy(update={"run": recipe.run.model_copy(update={"deadline_seconds": seconds})})


@pytest.mark.usefixtures("hanging")
def test_a_file_at_which_workers_hung_is_unreadable_if_its_disk_hangs_too(healthy: Path, store: Path) -> None:
    recipe = impatient(healthy, 2.0)
    units = missing(Store(store), recipe)
    rows = {unit.shard: Store(store).read("tracks", names=[unit.shard]).to_pylist() for unit in units}  # type: ignore[union-attr]
    (unit,) = (each for each in units if any("/002." in row["uri"] for row in rows[each.shard]))
    poison = tuple((row["track_id"], unit.overdue()) for row in rows[unit.shard])  # of two, one is to blame itself
    assert hear(replace(unit, poison=poison)).unread
    assert parts(store) == {}
    heard = hear(replace(unit, poison=poison, tolerant=True))
    assert sorted(row["error"] for row in heard.rejects) == ["poison", "unreadable"]
    (said,) = (row["message"] for row in heard.rejects if row["error"] == "unreadable")
    assert "002.ogg': its storage does not give it within" in said


@pytest.mark.usefixtures("hanging")
def test_a_process_that_waits_for_a_disk_is_given_up(healthy: Path, store: Path) -> None:
    recipe = impatient(healthy, 4.0)
    for unit in missing(Store(store), recipe):
        if isinstance(outcome := hear_apart(unit), Lost):
            break
    assert outcome == Lost(unit.overdue())


def test_a_source_that_is_away_fails_its_shards_and_makes_no_reject(healthy: Path, store: Path) -> None:
    summary = heard(healthy, store)
    assert len(summary.failed) == SHARDS
    assert all("none of its 2 recordings can be read" in message for message in summary.failed.values())
    assert parts(store) == {}
    assert Store(store).open_rejects() == []
    with SickDisk(healthy / "real", healthy / "seen"):
        assert heard(healthy, store).failed == {}
    assert parts(store) == parts(healthy / "store")


def test_what_a_scan_has_seen_to_be_gone_is_a_reject(healthy: Path, store: Path) -> None:
    scan(Store(store), [str(healthy / "seen")])
    (healthy / "seen").rmdir()
    summary = heard(healthy, store)
    assert (summary.failed, dict(summary.rejects)) == ({}, {"vanished": 8})


def test_a_long_file_that_fails_late_fails_its_shard_and_leaves_no_clip(
    healthy: Path, store: Path, disk: SickDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WHOLE_SECONDS", 1.0)  # clips are passed on as they come
    broken(disk, times=10**6, files=("000", "007"), beyond=100_000, to=150_000)
    summary = heard(healthy, store)
    assert all("Input/output error" in message for message in summary.failed.values())
    assert len(summary.failed) == 2
    failed = broken(disk, times=1, files=("000", "007"), beyond=100_000, to=150_000)
    assert heard(healthy, store).failed == {}
    assert len(failed) == 2
    assert parts(store) == parts(healthy / "store")


def test_a_scan_goes_on_past_a_read_that_fails_and_the_next_one_has_all(healthy: Path, disk: SickDisk, tmp_path: Path) -> None:
    for unlucky in range(0, 160, 16):
        reads = itertools.count()

        def fault(name: str, offset: int, size: int, reads: Iterator[int] = reads, unlucky: int = unlucky) -> None:
            if next(reads) == unlucky:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        disk.fault = fault
        store = Store(tmp_path / str(unlucky))
        first = scan(store, [str(healthy / "seen")])
        assert next(reads) > unlucky
        assert first.new + first.rejected == 8
        assert first.new + scan(store, [str(healthy / "seen")]).new == 8
        assert store.open_rejects() == []


def test_slow_reads_change_nothing(healthy: Path, store: Path, disk: SickDisk) -> None:
    disk.fault = lambda name, offset, size: time.sleep(0.01 if offset == 0 else 0)
    assert heard(healthy, store).failed == {}
    assert parts(store) == parts(healthy / "store")


def mount(*words: str | Path) -> None:
    if subprocess.run(["mount", *words], check=False, capture_output=True).returncode:
        pytest.skip("a store that goes away needs the right to mount one")


@pytest.mark.parametrize("below", ["", "deep/store"])
def test_a_store_that_is_unmounted_ends_the_run_and_is_not_made_anew_where_it_was(
    below: str, healthy: Path, disk: SickDisk, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    shutil.copytree(healthy / "catalogue", tmp_path / "disk" / below)
    mount("--bind", tmp_path / "disk", place)
    try:
        gone = iter([["umount", "-l", place]])
        summary = heard(healthy, place / below, lambda: [subprocess.run(words, check=True) for words in gone] and None)
        assert f"{place / below}" in summary.away
        assert "\n" not in summary.away
        assert not list(place.iterdir())
        right = parts(healthy / "store")
        assert 0 < len(parts(tmp_path / "disk" / below)) < len(right)
        mount("--bind", tmp_path / "disk", place)
        summary = heard(healthy, place / below)
        assert (summary.failed, summary.away) == ({}, "")
        assert parts(place / below) == right
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.mark.slow
def test_a_bucket_that_refuses_for_a_while_ends_the_run_in_one_line_and_has_whole_objects_only(
    healthy: Path, disk: SickDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "any")
    for name in ("DEFAULT_REGION", "REGION"):
        monkeypatch.setenv(f"AWS_{name}", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = boto3.resource("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="music")
    for path in (healthy / "catalogue" / "tracks").iterdir():
        bucket.upload_file(str(path), f"store/tracks/{path.name}")

    def made() -> dict[str, bytes]:
        found = {each.key.removeprefix("store/"): each.get()["Body"].read() for each in bucket.objects.all()}
        return {name: content for name, content in found.items() if name.startswith(("logmel/", "views/"))}

    right = parts(healthy / "store")
    try:
        with Gate(f"http://{host}:{port}") as gate:
            monkeypatch.setenv("AWS_ENDPOINT_URL", gate.url)
            summary = heard(healthy, "s3://music/store", lambda: setattr(gate, "shut", True))
            assert summary.away.startswith("s3://music/store: ")
            assert "\n" not in summary.away
            assert 0 < len(made()) < len(right)
            assert made().items() <= right.items()
            gate.shut, gate.cut = False, 1500  # every other connection breaks in the middle
            while (summary := heard(healthy, "s3://music/store")).failed or summary.away:
                assert made().items() <= right.items()
            assert gate.cuts
        assert made() == right
        assert summary.rejects == {}
    finally:
        server.stop()
