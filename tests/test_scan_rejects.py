"""Files that a scan cannot use: each is rejected with its cause, forgotten when it is mended, and costs no neighbour."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

import pipelines.catalog
import pipelines.ledger
import pipelines.shards
from extractors.uri import to_path, to_uri
from pipelines.catalog import retry, scan
from pipelines.store import REJECTS, Store
from tests.collection import ROOT, command, tones
from tests.scanning import RATE, rejects, tone, tracks


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


def test_what_is_no_sound_is_rejected_and_its_neighbours_live(store: Store, music: Path) -> None:
    tone(music / "good.wav")
    (music / "empty.wav").touch()
    (music / "text.mp3").write_text("These are not the sounds that you look for.\n" * 40)
    soundfile.write(music / "none.wav", np.zeros(0), RATE)
    header = bytearray((music / "good.wav").read_bytes())
    header[22:24] = b"\0\0"
    (music / "zero_channels.wav").write_bytes(header)
    os.mkfifo(music / "pipe.wav")
    (music / "dangling.wav").symlink_to(music / "nowhere.wav")
    (music / "round.wav").symlink_to(music / "round.wav")
    (music / "device.wav").symlink_to("/dev/zero")
    (music / "memory.wav").symlink_to("/proc/self/mem")
    tone(music / "folder.mp3" / "inside.wav", 880)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(music / "socket.wav"))
        report = scan(store, [str(music)])
    assert {Path(uri).name: error for uri, error in rejects(store).items()} == {
        "empty.wav": "empty",
        "text.mp3": "not audio",
        "none.wav": "no samples",
        "zero_channels.wav": "no samples",
        "pipe.wav": "not a file",
        "dangling.wav": "broken link",
        "round.wav": "broken link",
        "device.wav": "not a file",
        "memory.wav": "unreadable",
        "socket.wav": "not a file",
    }
    assert (report.new, report.rejected) == (2, 10)
    assert sorted(Path(uri).name for uri in tracks(store)) == ["good.wav", "inside.wav"]
    for row in store.open_rejects():
        assert Path(row["uri"]).name in row["message"]
        assert row["remedy"]


def test_a_mended_file_is_taken_and_a_removed_one_forgotten(store: Store, music: Path) -> None:
    (music / "a.wav").touch()
    (music / "b.wav").touch()
    for _ in range(2):
        assert scan(store, [str(music)]).rejected == 2
    assert store.read("rejects").num_rows == 2, "the same failure is noted once"
    tone(music / "a.wav")
    (music / "b.wav").unlink()
    assert scan(store, [str(music)]).new == 1
    assert rejects(store) == {}


def test_a_file_that_was_rejected_before_the_clock_was_set_back_is_mended_all_the_same(store: Store, music: Path) -> None:
    path = tone(music / "a.wav")
    said = {"uri": str(path), "stage": "scan", "error": "empty", "at": datetime(2100, 1, 1, tzinfo=UTC)}
    store.publish("rejects", "0", pa.Table.from_pylist([said], schema=REJECTS))
    assert rejects(store) == {str(path): "empty"}
    scan(store, [str(music)])
    assert rejects(store) == {}


def test_a_retry_reads_what_was_rejected_and_nothing_else(store: Store, music: Path) -> None:
    tone(music / "other" / "unlisted.wav", 300)
    tone(music / "late.wav")
    sound = (music / "late.wav").read_bytes()
    (music / "late.wav").write_bytes(b"")
    (music / "gone.wav").touch()
    (music / "m.csv").write_text(f"uri\nlate.wav\ngone.wav\n{music / 'other'}\nnosuch://x/a.wav\nfile://elsewhere/a.wav\n")
    assert scan(store, [str(music / "m.csv")]).rejected == 5
    (music / "late.wav").write_bytes(sound)
    (music / "gone.wav").unlink()
    report = retry(store)
    assert (report.found, report.new, report.rejected) == (5, 1, 4)
    assert list(tracks(store)) == [str(music / "late.wav")]
    assert sorted(rejects(store).values()) == ["missing", "not a file", "unreadable", "unreadable"]


def test_a_known_file_that_breaks_is_rejected_under_its_track(store: Store, music: Path) -> None:
    path = tone(music / "a.wav")
    scan(store, [str(music)])
    sound, status = path.read_bytes(), path.stat()
    path.write_bytes(b"")
    report = scan(store, [str(music)])
    assert (report.rejected, report.vanished) == (1, [])
    assert store.open_rejects()[0]["track_id"] == tracks(store)[str(path)]["track_id"]
    path.write_bytes(sound)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert scan(store, [str(music)]).known == 1
    assert rejects(store) == {}


NAMES = [
    b"two\nlines.wav",
    b"caf\xe9.wav",
    b'it\'s "quoted", 100%.wav',
    b"-rf.wav",
    b"[live] *?.wav",
    "月光 é.wav".encode(),
    b" .wav",
    b"\x1b[31m.wav",
]


@pytest.mark.parametrize("how", ["folder", "glob", "file", "csv"])
def test_any_name_is_taken_however_it_is_given(how: str, store: Store, music: Path) -> None:
    paths = [os.path.join(os.fsencode(music), name) for name in NAMES]
    for pitch, path in enumerate(paths):
        tone(path, 100 + pitch)
    sources = {"folder": [str(music)], "glob": [f"{music}/*.wav"], "file": [os.fsdecode(path) for path in paths]}
    if how == "csv":
        rows = b"".join(b'"' + name.replace(b'"', b'""') + b'"\r\n' for name in NAMES)
        (music / "all.csv").write_bytes(b"\xef\xbb\xbfuri\r\n" + rows)
        sources["csv"] = [str(music / "all.csv")]
    report = scan(store, sources[how])
    assert (report.new, report.rejected) == (len(NAMES), 0)
    assert {os.fsencode(to_path(uri)) for uri in tracks(store)} == set(paths)
    assert scan(store, sources[how]).known == len(NAMES)
    os.unlink(paths[1])
    if how in ("folder", "glob", "csv"):
        assert [gone.uri for gone in scan(store, sources[how]).vanished] == [to_uri(paths[1])]


def test_a_rejected_file_with_a_hostile_name_can_be_stored(store: Store, music: Path) -> None:
    with open(os.path.join(os.fsencode(music), b"\xff\n.mp3"), "wb") as file:
        file.write(b"not audio, whatever it says")
    scan(store, [str(music)])
    (row,) = store.open_rejects()
    assert row["uri"].endswith("/%FF%0A.mp3")
    assert row["message"].isprintable()


def test_a_file_that_grows_while_it_is_read_is_left_for_later(store: Store, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tone(music / "a.wav")
    digest = hashlib.file_digest

    def meanwhile(file: object, name: str) -> object:
        with path.open("ab") as other:
            other.write(b"more")
        return digest(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", meanwhile)
    scan(store, [str(music)])
    assert rejects(store) == {str(path): "changing"}


def test_a_file_that_vanishes_during_the_scan_is_rejected(store: Store, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tone(music / "a.wav")
    identify = pipelines.catalog.identify
    monkeypatch.setattr(pipelines.catalog, "identify", lambda entry, held: (path.unlink(), identify(entry, held))[1])
    scan(store, [str(music)])
    assert rejects(store) == {str(path): "vanished"}


CRASHING = """
import ctypes, time
import pipelines.identify as identify

probe = identify.probe

def crashing(path):
    if path.endswith("-crash.wav"):
        time.sleep(0.2)  # others are under way
        ctypes.string_at(0)
    return probe(path)

identify.probe = crashing
"""


@pytest.mark.slow
def test_files_that_crash_whoever_opens_them_are_rejected_and_the_scan_goes_on(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 12)
    for name in ("0-crash.wav", "m-crash.wav", "z-crash.wav"):
        shutil.copy(tmp_path / "audio" / "000.flac", tmp_path / "audio" / name)
    (tmp_path / "sitecustomize.py").write_text(CRASHING)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    arguments = command("scan", tmp_path / "audio", "--store", tmp_path / "store", "--json")
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["new"], told["rejected"]) == (12, 3)
    rejects = Store(tmp_path / "store").open_rejects()
    assert sorted(Path(row["uri"]).name for row in rejects) == ["0-crash.wav", "m-crash.wav", "z-crash.wav"]
    assert {row["error"] for row in rejects} == {"poison"}
    assert "the process that opened it ended with -11" in rejects[0]["message"]
    assert 1 <= done.stderr.count("a file crashed its decoder or network (SIGSEGV); going on with that file set apart") <= 3
