"""Parts are whole or absent, whatever happens to the process that writes them."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.part import ROW_GROUP_BYTES, StoreError, attempt, unfinished
from pipelines.store import Store

ROWS = pa.table({"clip_id": ["a", "b"], "value": pa.array([1.0, 2.0], pa.float32())})


def test_a_part_is_invisible_until_it_is_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writer("logmel", "p", ROWS.schema, "v") as part:
        part.append(ROWS)
        assert store.names("logmel", "v") == []
        part.publish(2)
    assert store.names("logmel", "v") == ["p"]
    assert store.table("logmel").to_table().num_rows == 2


def test_a_part_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.writer("logmel", "p", ROWS.schema, "v") as part:
        part.append(ROWS)
        raise ZeroDivisionError
    assert list((tmp_path / "logmel" / "v").iterdir()) == []


def test_a_part_with_a_row_missing_is_not_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="2 rows where 3 were expected"), store.writer("logmel", "p", ROWS.schema, "v") as part:
        part.append(ROWS)
        part.publish(3)
    assert store.names("logmel", "v") == []


def test_the_same_rows_give_the_same_bytes_in_any_batches(tmp_path: Path) -> None:
    store = Store(tmp_path)
    values = np.random.default_rng(0).normal(size=(40, 200_000)).astype(np.float32)
    rows = pa.table({"x": pa.FixedSizeListArray.from_arrays(values.reshape(-1), 200_000)})
    assert rows.nbytes > 2 * ROW_GROUP_BYTES
    for name, size in (("one", 1), ("seven", 7), ("all", 40)):
        with store.writer("t", name, rows.schema, "v") as part:
            for at in range(0, 40, size):
                part.append(rows.slice(at, size))
            part.publish(40)
    contents = {(tmp_path / "t" / "v" / f"{name}.parquet").read_bytes() for name in ("one", "seven", "all")}
    assert len(contents) == 1
    assert pq.ParquetFile(tmp_path / "t" / "v" / "one.parquet").num_row_groups > 2


def test_two_writers_of_one_part_leave_one_whole_part(tmp_path: Path) -> None:
    store = Store(tmp_path)
    barrier = threading.Barrier(8)

    def write() -> None:
        barrier.wait()
        for _ in range(20):
            store.publish("tracks", "p", ROWS)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for path in store.paths("tracks"):
            assert pq.read_table(path).equals(ROWS)
    assert [path.name for path in (tmp_path / "tracks").iterdir()] == ["p.parquet"]


WRITE_SLOWLY = """
import sys, time, pyarrow as pa
from pipelines.store import Store
rows = pa.table({"x": list(range(1000))})
with Store(sys.argv[1]).writer("tracks", "p", rows.schema) as part:
    part.append(rows)
    part._flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_no_part_and_its_attempt_is_swept(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", WRITE_SLOWLY, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    store = Store(tmp_path)
    assert store.names("tracks") == []
    assert len(list((tmp_path / "tracks").iterdir())) == 1
    assert store.sweep() == 1
    assert list((tmp_path / "tracks").iterdir()) == []


def test_attempts_of_the_living_are_not_swept(tmp_path: Path) -> None:
    name = os.path.basename(attempt(str(tmp_path / "p.parquet")))
    now = 2e9
    assert not unfinished(name, 86_400, modified=now)
    assert not unfinished(name, 86_400, modified=0.0)  # whatever the clock says
    assert not unfinished(".p.parquet.another-host.999999.0a1b2c3d", 86_400, modified=now)
    assert unfinished(".p.parquet.another-host.999999.0a1b2c3d", 86_400, modified=0.0)


def test_a_full_disk_is_one_clear_line_and_no_part(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    store = Store(tmp_path)
    rows = pa.table({"x": np.random.default_rng(0).normal(size=4_000_000)})
    with pytest.raises(StoreError, match="No space left on device; nothing was published"), store.writer("t", "p", rows.schema) as part:
        os.dup2(os.open("/dev/full", os.O_WRONLY), part._sink.fileno())
        part.append(rows)
        part.publish(rows.num_rows)
    assert store.names("t") == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tracks").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="tracks"):
        Store(tmp_path).publish("tracks", "p", ROWS)
    with pytest.raises(StoreError, match="this is a file"):
        Store(tmp_path / "tracks")


def test_a_store_works_on_an_object_store(tmp_path: Path) -> None:
    store = Store("memory://bucket/store")
    store.publish("tracks", "p", ROWS)
    store.reject([{"uri": "x", "stage": "scan", "error": "empty", "message": "m", "remedy": "r"}])
    assert Store("memory://bucket/store").names("tracks") == ["p"]
    table = store.read("tracks")
    assert table is not None
    assert table.equals(ROWS)
    assert [row["uri"] for row in store.open_rejects()] == ["x"]


def test_a_reject_is_struck_out_by_a_later_success_and_returns_with_a_later_failure(tmp_path: Path) -> None:
    store = Store(tmp_path)
    failure = {"uri": "x", "stage": "scan", "track_id": None, "error": "empty", "message": "m", "remedy": "r"}
    store.reject([failure])
    store.reject([failure])
    assert len(store.names("rejects")) == 1  # found again is not found twice
    store.reject([{**failure, "error": ""}])
    assert store.open_rejects() == []
    store.reject([failure])
    assert [row["error"] for row in store.open_rejects()] == ["empty"]


def test_the_table_of_the_latest_run_is_the_one_that_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for variant in ("zzz", "aaa"):
        with store.writer("logmel", "p", ROWS.schema, variant) as part:
            part.append(ROWS.slice(0, 1) if variant == "zzz" else ROWS)
            part.publish(1 if variant == "zzz" else 2)
        store.remember({}, {"logmel": variant})
    assert len(store.table("logmel")) == 2
    assert len(store.table("logmel", "zzz")) == 1
    with pytest.raises(StoreError, match="no variant 'bbb' of 'logmel'; there are aaa, zzz"):
        store.table("logmel", "bbb")
    with pytest.raises(StoreError, match="no table 'mfcc'; there are logmel"):
        store.table("mfcc")


def test_a_second_scan_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path).lock("scan"), pytest.raises(StoreError, match="another scan is at work"), Store(tmp_path).lock("scan"):
        pass


def set_back(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Let the store believe that it is earlier."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(hours=hours)

    monkeypatch.setattr("pipelines.store.datetime", Earlier)


def test_what_is_mended_after_the_clock_was_set_back_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.reject([{"uri": "a", "stage": "decode", "track_id": "1", "error": "unreadable", "message": "m", "remedy": "r"}])
    set_back(monkeypatch, 5)
    store.reject([{**row, "error": ""} for row in store.open_rejects()])
    assert store.open_rejects() == []


def test_the_latest_run_is_the_latest_even_if_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.remember({}, {"logmel": "first"})
    set_back(monkeypatch, 5)
    store.remember({}, {"logmel": "second"})
    assert store.current() == {"logmel": "second"}


def test_nothing_is_made_where_a_store_was(tmp_path: Path) -> None:
    place, disk = tmp_path / "place", tmp_path / "disk"
    seen = Store(place)
    seen.publish("tracks", "a", ROWS)
    place.rename(disk)
    place.mkdir()  # as where a disk was mounted
    for store in (seen, Store(place, founded=True)):
        for write in (lambda store=store: store.publish("logmel", "a", ROWS, "v"), lambda store=store: store.put("runs/a.json", b"{}")):
            with pytest.raises(StoreError, match="no longer there"):
                write()
        with pytest.raises(StoreError, match="no longer there"):
            store.reject([{"uri": "a", "error": "unreadable"}])
    assert not list(place.iterdir())


def test_a_store_that_goes_away_at_the_worst_moment_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, disk = tmp_path / "place", tmp_path / "disk"
    store = Store(place)
    store.publish("tracks", "a", ROWS)
    mkdir = os.mkdir

    def late(*words: object, **more: object) -> None:
        if not disk.exists():
            place.rename(disk)
            mkdir(place)
        mkdir(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "mkdir", late)
    with pytest.raises(StoreError):
        store.publish("logmel", "a", ROWS, "v")
    assert not list(place.iterdir())
    assert not list((disk / "logmel" / "v").iterdir())
    place.rmdir()
    disk.rename(place)
    store.publish("logmel", "a", ROWS, "v")
    assert store.names("logmel", "v") == ["a"]


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """Whatever is written to a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_small_file_for_which_there_is_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    with no_room(), pytest.raises(StoreError, match="File too large; nothing was published"):
        Store(tmp_path).put("runs/a.json", b"{}")
    assert not list((tmp_path / "runs").iterdir())


def test_a_lock_for_which_there_is_no_room_is_one_line_and_free_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with no_room(), pytest.raises(StoreError, match=rf"{tmp_path}: cannot be written \(File too large\)"), store.lock("scan"):
        pass
    with store.lock("scan"):
        pass
