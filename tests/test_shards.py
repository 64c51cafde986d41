"""Shards: the same for the same collection, an hour at most; and what a scan of very many files needs."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tracemalloc
import wave
from pathlib import Path

import pytest

import pipelines.catalog
import pipelines.ledger
import pipelines.shards
from extractors.audio import AudioInfo
from pipelines.catalog import scan
from pipelines.entries import Entry
from pipelines.identify import Identity
from pipelines.manifest import SourceError, Words
from pipelines.shards import Shards
from pipelines.store import Store
from pipelines.tracks import TRACKS
from tests.scanning import RATE, tone


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


def test_two_stores_of_one_collection_have_the_same_shards(music: Path, tmp_path: Path) -> None:
    for number in range(30):
        tone(music / f"{number}.wav", 100 + number, seconds=20)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    scan(one, [str(music)], workers=1)
    scan(two, [f"{music}/*.wav"], workers=8)
    assert one.names("tracks") == two.names("tracks")
    # 600 s: not an hour in one piece, but two minutes for each of five workers.
    assert [one.read("tracks", names=[name]).num_rows for name in one.names("tracks")] == [6] * 5
    tone(music / "0.5.wav", 50)
    report = scan(one, [str(music)])
    assert (report.new, report.shards) == (1, 1)
    assert set(two.names("tracks")) < set(one.names("tracks"))


def test_a_shard_holds_an_hour_and_a_longer_track_stands_alone(store: Store) -> None:
    def row(number: int, seconds: float) -> tuple[object, ...]:
        known = {"track_id": f"{number:06}", "uri": f"/{number}", "seconds": seconds}
        return tuple(known.get(name) for name in TRACKS.names)

    shards = Shards(store, 3600)
    for number in range(6400):
        shards.add(row(number, 36.0))
    assert len(store.names("tracks")) == 63, "full shards are published before the end"
    shards.add(row(6400, 9000.0))
    shards.add(row(6401, 1.0))
    shards.finish()
    sizes = [store.read("tracks", ["seconds"], [name])["seconds"].to_pylist() for name in store.names("tracks")]
    assert sorted((len(seconds), sum(seconds)) for seconds in sizes) == [(1, 1.0), (1, 9000.0)] + [(100, 3600.0)] * 64


def test_of_many_tiny_clips_no_more_wait_for_their_shard_than_fit_in_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.shards, "_MOST_WAITING", 3000)
    shards = Shards(store, 3600)
    for number in range(7300):
        known = {"track_id": f"{number:06}", "uri": f"/{number}", "seconds": 0.1}
        shards.add(tuple(known.get(name) for name in TRACKS.names))
    assert len(store.names("tracks")) == 6, "two minutes each, as finer ones would cost more to start than to hear"
    shards.finish()
    assert sorted(store.read("tracks", names=[name]).num_rows for name in store.names("tracks")) == [100] + [1200] * 6


def test_shard_hours_must_be_sensible(store: Store) -> None:
    for hours in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SourceError, match="shard_hours"):
            scan(store, [], shard_hours=hours)


def test_memory_does_not_grow_with_the_files(store: Store, music: Path) -> None:
    with wave.open(str(music / "long.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 100_000_000, "NONE", ""))
        file._datawritten = file._nframes * 2  # type: ignore[attr-defined]  # the header is right, the sound a hole in the disk
        file.writeframesraw(b"")
        file._file.seek(0, os.SEEK_END)  # type: ignore[attr-defined]
    os.truncate(music / "long.wav", 44 + 200_000_000)
    tracemalloc.start()
    report = scan(store, [str(music)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.hours == pytest.approx(12_500 / 3600)
    assert peak < 20e6


def test_memory_does_not_grow_with_the_number_of_files(store: Store, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identified(entry: Entry, held: object = None) -> Identity:
        info = AudioInfo(format="wav", seconds=240.0, sample_rate=RATE, channels=1)
        return Identity(entry.bytes or 0, hashlib.sha256(entry.uri.encode()).hexdigest(), entry.modified, info, Words(), None)

    monkeypatch.setattr(pipelines.catalog, "identify", identified)
    monkeypatch.setattr(pipelines.ledger, "_AT_ONCE", 50)
    scan(store, [])  # imports
    peaks = {}
    for count in (300, 900):
        for number in range(count):
            (music / f"{number}.wav").touch()
        for again in (False, True):
            tracemalloc.start()
            report = scan(Store(store.root + str(count)), [str(music)], shard_hours=0.3)
            peaks[count, again] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert (report.new, report.known) == ((0, count) if again else (count, 0))
    # A file was once a kilobyte of Python objects for the listing, and half of one for what was known.
    assert peaks[900, False] < peaks[300, False] + 150_000
    assert peaks[900, True] < peaks[300, True] + 150_000


def test_a_full_temporary_folder_is_one_clear_error(store: Store, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone(music / "a.wav")

    class Full:
        def execute(self, *_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", lambda _: Full())
    with pytest.raises(SourceError, match=r"temporary files: database or disk is full; free it or set TMPDIR"):
        scan(store, [str(music)])
