"""Scanning: every recording once, whatever it is called, moved, touched or killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

import pipelines.catalog
import pipelines.ledger
import pipelines.shards
from extractors.clip import track_id
from pipelines.catalog import scan
from pipelines.manifest import SourceError
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.tracks import TRACKS, moved
from tests.scanning import rejects, tone, tracks


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


def test_a_track_is_described_by_its_bytes_and_its_header(store: Store, music: Path) -> None:
    path = music / "deep" / "a.flac"
    path.parent.mkdir()
    soundfile.write(path, np.zeros((12_000, 2)), 48_000)
    tone(music / "b.wav", seconds=1.5)
    (music / "cover.jpg").write_bytes(b"\xff\xd8")
    report = scan(store, [str(music)])
    assert (report.found, report.new, report.skipped) == (2, 2, 1)
    assert report.hours == pytest.approx(1.75 / 3600)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    row = tracks(store)[str(path)]
    scanned_at = row.pop("scanned_at")
    assert scanned_at is not None
    assert row == {
        "track_id": track_id(sha256),
        "uri": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256,
        "format": "flac",
        "seconds": 0.25,
        "sample_rate": 48_000,
        "channels": 2,
        **dict.fromkeys(("title", "artist", "album", "license", "license_source", "group")),
        "modified": path.stat().st_mtime,
    }
    table = store.read("tracks")
    assert table is not None
    assert table.schema.equals(TRACKS)


def test_the_same_bytes_under_two_names_are_one_track(store: Store, music: Path) -> None:
    tone(music / "b.wav")
    (music / "a.wav").write_bytes((music / "b.wav").read_bytes())
    (music / "c.wav").symlink_to(music / "b.wav")
    report = scan(store, [str(music)])
    assert (report.new, report.aliases) == (1, 2)
    row = tracks(store)[str(music / "a.wav")]
    aliases = store.read("aliases")
    assert aliases is not None
    assert sorted(aliases["uri"].to_pylist()) == [str(music / "b.wav"), str(music / "c.wav")]
    assert set(aliases["track_id"].to_pylist()) == {row["track_id"]}
    again = scan(store, [str(music)])
    assert (again.known, again.aliases, again.new) == (3, 0, 0)


def test_a_second_scan_reads_nothing_that_is_known(store: Store, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pitch in range(3):
        tone(music / f"{pitch}.wav", 100 + pitch)
    scan(store, [str(music)])
    parts = store.names("tracks")
    read: list[str] = []
    identify = pipelines.catalog.identify
    monkeypatch.setattr(pipelines.catalog, "identify", lambda entry, held: (read.append(entry.uri), identify(entry, held))[1])
    tone(music / "new.wav", 200)
    report = scan(store, [str(music)])
    assert read == [str(music / "new.wav")]
    assert (report.known, report.new, report.shards) == (3, 1, 1)
    assert set(parts) < set(store.names("tracks"))


def test_a_touched_file_is_read_once_more_and_stays_the_same_track(store: Store, music: Path) -> None:
    path = tone(music / "a.wav")
    scan(store, [str(music)])
    os.utime(path, (1e9, 1e9))
    assert (scan(store, [str(music)]).known, scan(store, [str(music)]).known) == (1, 1)
    aliases = store.read("aliases")
    assert aliases is not None
    assert aliases["modified"].to_pylist() == [1e9]
    assert len(tracks(store)) == 1


def test_what_vanished_is_reported_and_what_moved_is_found(store: Store, music: Path) -> None:
    tone(music / "gone.wav", 100)
    tone(music / "old.wav", 200)
    elsewhere = tone(music.parent / "elsewhere" / "c.wav", 300)
    scan(store, [str(music), str(elsewhere)])
    rows = tracks(store)
    (music / "gone.wav").unlink()
    (music / "old.wav").rename(music / "new.wav")
    report = scan(store, [str(music)])
    assert (report.new, report.aliases) == (0, 1)
    assert report.vanished == [
        (str(music / "gone.wav"), rows[str(music / "gone.wav")]["track_id"], None),
        (str(music / "old.wav"), rows[str(music / "old.wav")]["track_id"], str(music / "new.wav")),
    ]
    assert moved(store) == {rows[str(music / "old.wav")]["track_id"]: str(music / "new.wav")}
    assert "gone.wav" in str(report)
    assert "-> " + str(music / "new.wav") in str(report)
    # A move is news once, a loss until it is made good.
    assert [gone.uri for gone in scan(store, [str(music)]).vanished] == [str(music / "gone.wav")]
    tone(music / "gone.wav", 100)
    (music / "new.wav").rename(music / "old.wav")
    back = scan(store, [str(music)])
    assert [gone.uri for gone in back.vanished] == [str(music / "new.wav")]
    assert moved(store) == {}
    assert scan(store, [str(music)]).vanished == []
    assert tracks(store) == rows


def test_other_bytes_under_a_known_name_are_another_track(store: Store, music: Path) -> None:
    path = tone(music / "a.wav", 100)
    scan(store, [str(music)])
    (first,) = tracks(store).values()
    path.rename(music / "b.wav")
    tone(path, 200, seconds=0.2)
    report = scan(store, [str(music)])
    assert (report.new, report.aliases) == (1, 1)
    assert report.vanished == [(str(path), first["track_id"], str(music / "b.wav"))]
    assert moved(store) == {first["track_id"]: str(music / "b.wav")}


def test_files_outside_the_sources_are_not_missed(store: Store, music: Path) -> None:
    for folder in ("one", "two"):
        tone(music / folder / "a.wav", len(folder) + ord(folder[0]))
    scan(store, [str(music)])
    (music / "two" / "a.wav").unlink()
    assert scan(store, [str(music / "one")]).vanished == []
    assert scan(store, [f"{music}/one/*.wav"]).vanished == []
    assert len(scan(store, [f"{music}/*"]).vanished) == 1


def test_linked_folders_are_searched_once_and_loops_end(store: Store, music: Path) -> None:
    tone(music / "z" / "a.wav")
    outside = tone(music.parent / "outside" / "b.wav", 200).parent
    (music / "a_link").symlink_to(music / "z")
    (music / "z" / "loop").symlink_to(music)
    (music / "mount").symlink_to(outside)
    report = scan(store, [str(music)])
    assert (report.found, report.new) == (2, 2)
    assert sorted(tracks(store)) == [str(music / "mount" / "b.wav"), str(music / "z" / "a.wav")]


def test_a_source_that_is_not_there_stops_the_scan_before_it_begins(store: Store, music: Path) -> None:
    for source in (f"{music}/none", f"{music}/*.wav", "memory://nothing/here", "nosuch://x", "file://elsewhere/a"):
        with pytest.raises(SourceError, match=r"no such|nothing|not known|not a file"):
            scan(store, [source])


def test_a_scan_killed_half_way_and_repeated_ends_in_the_same_tracks(music: Path, tmp_path: Path) -> None:
    for number in range(60):
        tone(music / f"{number}.wav", 100 + number)
    (music / "copy.wav").write_bytes((music / "7.wav").read_bytes())
    (music / "bad.wav").touch()
    code = """
import os, signal, sys
from pipelines.catalog import scan
from pipelines.store import REJECTS, Store
def progress(done, total):
    if done == 40:
        os.kill(os.getpid(), signal.SIGKILL)
scan(Store(sys.argv[1]), [sys.argv[2]], shard_hours=0.5 / 3600, progress=progress)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "killed"), str(music)], cwd=Path(__file__).parents[1])
    assert killed.returncode == -signal.SIGKILL
    store, undisturbed = Store(tmp_path / "killed"), Store(tmp_path / "undisturbed")
    assert 0 < len(tracks(store)) < 40
    report = scan(store, [str(music)], shard_hours=0.5 / 3600)
    assert report.known > 0
    scan(undisturbed, [str(music)], shard_hours=0.5 / 3600)
    assert store.read("tracks").num_rows == 60
    assert store.names("tracks") == undisturbed.names("tracks")
    assert rejects(store) == rejects(undisturbed)


def test_two_scans_at_once_are_refused(store: Store, music: Path) -> None:
    tone(music / "a.wav")
    with store.lock("scan"), pytest.raises(StoreError, match="another scan"):
        scan(Store(store.root), [str(music)])


def test_a_store_that_cannot_be_written_is_one_clear_error(music: Path) -> None:
    tone(music / "a.wav")
    (music / "file").touch()
    with pytest.raises(StoreError, match="file/store"):
        scan(Store(music / "file" / "store"), [str(music)])


def test_a_remote_folder_is_scanned_like_a_local_one(store: Store, music: Path) -> None:
    sound = tone(music / "a.wav").read_bytes()
    for name, content in (("x/a.wav", sound), ("x/y/copy.wav", sound), ("x/bad.mp3", b"text"), ("x/notes.txt", b"")):
        with fsspec.open(f"memory://bucket/{name}", "wb") as file:
            file.write(content)
    report = scan(store, ["memory://bucket/x"])
    assert (report.new, report.aliases, report.rejected, report.skipped) == (1, 1, 1, 1)
    (row,) = store.open_rejects()
    assert (row["uri"], row["error"]) == ("memory:///bucket/x/bad.mp3", "not audio")
    assert "/tmp" not in row["message"]
    assert (scan(store, ["memory://bucket/**/*.wav"]).known, scan(store, ["memory://bucket/x/a.wav"]).known) == (2, 1)
    fsspec.filesystem("memory").rm("/bucket/x/a.wav")
    (gone,) = scan(store, ["memory://bucket/x/"]).vanished
    assert (gone.uri, gone.still_at) == ("memory:///bucket/x/a.wav", "memory:///bucket/x/y/copy.wav")


def test_progress_counts_every_file(store: Store, music: Path) -> None:
    for pitch in range(5):
        tone(music / f"{pitch}.wav", 100 + pitch)
    seen: list[tuple[int, int]] = []
    scan(store, [str(music)], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


def test_a_track_that_moved_thrice_is_found_where_it_lies_now_and_the_catalogue_is_passed_over_once(
    store: Store, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        tone(music / f"{number}.wav", 100 + number)
    scan(store, [str(music)])
    ids = {uri: row["track_id"] for uri, row in tracks(store).items()}
    for place in ("x.wav", "y.wav", "z.wav"):
        next(path for path in music.iterdir() if path.name in ("0.wav", "x.wav", "y.wav")).rename(music / place)
        scan(store, [str(music)])
        assert moved(store) == {ids[str(music / "0.wav")]: str(music / place)}
    # Another recording takes the first place; a copy of a third is no move.
    (music / "0.wav").write_bytes((music / "2.wav").read_bytes())
    scan(store, [str(music)])
    assert moved(store) == {ids[str(music / "0.wav")]: str(music / "z.wav")}
    monkeypatch.setattr(Store, "read", None)
    assert moved(Store(store.root)) == {ids[str(music / "0.wav")]: str(music / "z.wav")}
