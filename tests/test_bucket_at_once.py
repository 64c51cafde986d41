"""Two commands at once on a store in a bucket, on each S3 server of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from annotation.labels import Label
from pipelines import lease
from pipelines.catalog import scan
from pipelines.gather import add
from pipelines.part import StoreError
from pipelines.store import Store
from tests.buckets import enter, guarded, new_bucket
from tests.ceph import KINDS, s3
from tests.collection import RECIPE, command, earmark, ran, tones

pytest.importorskip("moto")


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that all tests of this file share."""
    with s3(request.param, tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket of its own with five recordings and one broken file, and the environment that opens it."""
    enter(monkeypatch, server, token="")
    bucket = new_bucket(server)
    for path in tones(tmp_path / "audio", 5):
        bucket.upload_file(str(path), f"music/{path.name}")
    bucket.put_object(Key="music/broken.flac", Body=b"fLaC and nothing")
    return bucket


class Slow:
    """A web server with one recording: it tells when that is asked for, and gives it when it is let go."""

    def __init__(self, sound: bytes) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

        class Answers(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_HEAD(here) -> None:
                here.send_response(200)
                here.send_header("Content-Length", str(len(sound)))
                here.end_headers()

            def do_GET(here) -> None:
                self.asked.set()
                self.go.wait(60)
                here.do_HEAD()
                here.wfile.write(sound)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._http.server_port}/slow.flac"

    def close(self) -> None:
        self.go.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    """A recording that a scan waits for, with whatever else it has found."""
    served = Slow(tones(tmp_path / "slow", 6)[-1].read_bytes())
    yield served
    served.close()


def tracks(store: Store) -> list[str]:
    """Where each row of the catalogue says that a track is, by name."""
    rows = store.read("tracks", ["uri"])
    return sorted(uri.rpartition("/")[2] for uri in rows["uri"].to_pylist()) if rows is not None else []


ALL = ["000.flac", "001.flac", "002.flac", "003.flac", "004.flac", "slow.flac"]


@pytest.mark.slow
def test_two_scans_at_once_lose_no_track_and_none_is_heard_twice(bucket: Any, slow: Slow, tmp_path: Path) -> None:
    root, more = f"s3://{bucket.name}/store", f"s3://{bucket.name}/music/00[0-2].flac"
    (tmp_path / "recipe.toml").write_text(RECIPE)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(earmark, "scan", f"s3://{bucket.name}/music", slow.uri, "--store", root)
        assert slow.asked.wait(60)
        second = ran("scan", more, "--store", root)
        slow.go.set()
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.startswith(f"earmark: {root}: another scan is at work (process ")
        assert second.stderr.count("\n") == 1
        assert (first.result()["new"], first.result()["rejected"]) == (6, 1)
        assert scan(Store(root), [more]).known == 3
        assert tracks(Store(root)) == ALL
        assert [row["uri"].rpartition("/")[2] for row in Store(root).open_rejects()] == ["broken.flac"]
        runs = [pool.submit(earmark, "run", tmp_path / "recipe.toml", "--store", root, "--engine", "local") for _ in range(2)]
        assert [run.result()["failed"] for run in runs] == [{}, {}]
    rows = Store(root).table("logmel").to_table(columns=["clip_id"])["clip_id"].to_pylist()
    assert (len(rows), len(set(rows))) == (12, 12)


@pytest.mark.slow
def test_a_scan_that_was_killed_keeps_nobody_out(bucket: Any, slow: Slow) -> None:
    root = f"s3://{bucket.name}/store"
    words = command("scan", f"s3://{bucket.name}/music", slow.uri, "--store", root)
    child = subprocess.Popen(words, start_new_session=True)
    assert slow.asked.wait(60)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    slow.go.set()
    assert earmark(*words[3:])["new"] == 6
    assert tracks(Store(root)) == ALL


def test_a_scan_that_slept_while_another_took_its_lock_ends_and_publishes_nothing_twice(
    bucket: Any, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"s3://{bucket.name}/store"
    with ThreadPoolExecutor() as pool:
        first = pool.submit(scan, Store(root), [f"s3://{bucket.name}/music", slow.uri])
        assert slow.asked.wait(60)
        monkeypatch.setattr(lease, "_DEAD_SECONDS", -1.0)  # as if it had been silent for as long as that
        assert scan(Store(root), [f"s3://{bucket.name}/music/00[0-2].flac"]).new == 3
        slow.go.set()
        with pytest.raises(StoreError, match=r"has begun another scan.*what it published stays") as told:
            first.result(60)
    assert "\n" not in str(told.value)
    assert scan(Store(root), [f"s3://{bucket.name}/music", slow.uri]).new == 3
    assert tracks(Store(root)) == ALL


def test_an_owner_elsewhere_is_told_from_a_dead_one_by_what_it_writes(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"s3://{bucket.name}/store")
    monkeypatch.setattr(lease, "_machine", lambda: "")  # as if process ids meant nothing here
    monkeypatch.setattr(lease, "_BEAT_SECONDS", 0.2)
    with (
        store.lock("scan") as kept,
        pytest.raises(StoreError, match=rf"another scan is at work \(process {os.getpid()} on "),
        store.lock("scan"),
    ):
        pass
    with store.lock("scan") as kept, store.lock("labels-add"):
        kept()
    assert len(list(bucket.objects.filter(Prefix="store/.scan.lock/"))) == 1
    bucket.put_object(Key="store/.scan.lock/00000009", Body=b"what nobody of ours wrote")
    monkeypatch.setattr(lease, "_DEAD_SECONDS", -1.0)
    with store.lock("scan") as kept:
        kept()


@pytest.mark.parametrize("server", ["moto"], indirect=True)  # where rights can be had by name
def test_the_lock_needs_no_right_to_delete(server: str, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded(server, writer=["s3:Get*", "s3:List*", "s3:Put*"]) as keys:
        enter(monkeypatch, server, *keys["writer"], token="")
        store = Store(f"s3://{bucket.name}/store")
        for _ in range(3):
            with store.lock("scan") as kept:
                kept()
    assert len(list(bucket.objects.filter(Prefix="store/.scan.lock/"))) == 3


@pytest.mark.parametrize("server", KINDS[1:], indirect=True)  # moto looks first and writes then
def test_of_many_that_begin_at_once_one_has_the_lock(bucket: Any) -> None:
    store, have, done = Store(f"s3://{bucket.name}/store"), threading.Barrier(8), threading.Event()

    def one() -> bool:
        with ExitStack() as held:
            have.wait(60)
            try:
                kept = held.enter_context(store.lock("scan"))
            except StoreError:
                return False
            done.wait(60)
            kept()
            return True

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(one) for _ in range(8)]
        while sum(each.done() for each in asked) < 7:
            done.wait(0.05)
        done.set()
        assert sum(each.result(60) for each in asked) == 1


def test_an_upload_that_was_sent_twice_is_not_taken_for_another_scan(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As botocore does where the first answer was lost: what it tells then is that the object is there."""
    put = lease._Lock._put

    def twice(lock: Any, number: int, more: dict[str, Any], **condition: str) -> None:
        put(lock, number, more, **condition)
        if condition:
            put(lock, number, more, **condition)

    monkeypatch.setattr(lease._Lock, "_put", twice)
    store = Store(f"s3://{bucket.name}/store")
    for _ in range(2):
        with store.lock("scan") as kept:
            kept()


def test_a_dead_owner_is_found_by_watching_where_the_server_tells_no_time(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_age", lambda found: -3600.0)  # nor where its machines' clocks differ
    monkeypatch.setattr(lease, "_DEAD_SECONDS", 0.3)
    monkeypatch.setattr(lease, "_BEAT_SECONDS", 0.1)
    bucket.put_object(Key="store/.scan.lock/00000004", Body=b'{"who": "somebody", "machine": "elsewhere", "process": 1}')
    with Store(f"s3://{bucket.name}/store").lock("scan") as kept:
        kept()


def test_a_bucket_that_cannot_be_is_one_line() -> None:
    with pytest.raises(StoreError, match=r"s3://a:b/store: cannot be written \(Parameter validation failed: Inv") as told:
        lease.lease("s3://a:b/store", "a:b/store", "scan").__enter__()
    assert "\n" not in str(told.value)


def test_labels_are_not_added_by_who_lost_the_lock(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"s3://{bucket.name}/store")
    scan(store, [f"s3://{bucket.name}/music/000.flac"])
    track = store.read("tracks", ["track_id"])["track_id"][0].as_py()
    read = store.read

    def slowly(table: str, *words: Any) -> Any:
        if table == "labels":  # while it reads, another has waited long enough, and begins
            bucket.put_object(Key="store/.labels-add.lock/00000009", Body=b'{"who": "somebody"}')
        return read(table, *words)

    monkeypatch.setattr(store, "read", slowly)
    with pytest.raises(StoreError, match="somebody has begun another labels-add"):
        add(store, [Label("tag", "calm", "anna", "person", track_id=track)])
    assert store.names("labels") == []
