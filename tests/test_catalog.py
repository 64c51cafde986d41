"""Scanning: every recording once, whatever it is called, and nothing that a folder may hold stops it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tracemalloc
import wave
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import mutagen
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from mutagen.id3 import TALB, TCOP, TIT2, TPE1

import pipelines.catalog
import pipelines.ledger
import pipelines.shards
from extractors.audio import AudioInfo
from extractors.clip import track_id
from extractors.uri import to_path, to_uri
from pipelines.catalog import retry, scan
from pipelines.entries import Entry
from pipelines.identify import Identity
from pipelines.manifest import SourceError, Words
from pipelines.part import StoreError
from pipelines.shards import Shards
from pipelines.store import REJECTS, Store
from pipelines.tracks import TRACKS, moved
from tests.collection import ROOT, command, tones

RATE = 8000


def tone(path: Path | bytes | str, pitch: float = 440.0, seconds: float = 0.1, **options: str) -> Path:
    """A sine, different bytes for each pitch."""
    sound = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        soundfile.write(file, sound, RATE, format=options.pop("format", "WAV"), **options)
    return Path(os.fsdecode(path))


def tracks(store: Store) -> dict[str, dict[str, object]]:
    """The rows of `tracks`, by uri."""
    table = store.read("tracks")
    return {row["uri"]: row for row in table.to_pylist()} if table is not None else {}


def rejects(store: Store) -> dict[str, str]:
    """The causes that still stand, by uri."""
    return {row["uri"]: row["error"] for row in store.open_rejects()}


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


def test_linked_folders_are_searched_once_and_loops_end(store: Store, music: Path) -> None:
    tone(music / "z" / "a.wav")
    outside = tone(music.parent / "outside" / "b.wav", 200).parent
    (music / "a_link").symlink_to(music / "z")
    (music / "z" / "loop").symlink_to(music)
    (music / "mount").symlink_to(outside)
    report = scan(store, [str(music)])
    assert (report.found, report.new) == (2, 2)
    assert sorted(tracks(store)) == [str(music / "mount" / "b.wav"), str(music / "z" / "a.wav")]


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


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_manifest_names_files_and_its_words_win_over_tags(form: str, store: Store, music: Path) -> None:
    path = tone(music / "sounds" / "a.flac", format="FLAC")
    file = mutagen.File(path)
    file.update({"title": "tag's title", "artist": "tag's artist", "license": "tag's license"})
    file.save()
    rows = [
        {"uri": "sounds/a.flac", "title": "Air, BWV 1068", "license": "CC0-1.0", "group": "suite", "bpm": "60"},
        {"uri": str(tone(music / "b.wav", 200)), "title": None, "license": None, "group": None, "bpm": None},
        {"uri": "none.wav", "title": None, "license": None, "group": None, "bpm": None},
    ]
    manifest = music / f"m.{form}"
    table = pa.Table.from_pylist(rows)
    if form == "parquet":
        pq.write_table(table, manifest)
    elif form == "csv":
        table.to_pandas().to_csv(manifest, index=False)
    else:
        table.to_pandas().to_json(manifest, orient="records", lines=True)
    report = scan(store, [str(manifest)])
    assert (report.new, report.rejected) == (2, 1)
    assert rejects(store) == {str(music / "none.wav"): "missing"}
    assert any("bpm" in note for note in report.notes)
    row = tracks(store)[str(path)]
    assert [row[name] for name in ("title", "artist", "license", "license_source", "group")] == [
        "Air, BWV 1068",
        "tag's artist",
        "CC0-1.0",
        "manifest",
        "suite",
    ]
    # The same files by way of their folder: a manifest's words win there, too.
    other = Store(music.parent / "other")
    scan(other, [str(music), str(manifest)])
    assert tracks(other)[str(path)]["title"] == "Air, BWV 1068"


def test_a_manifest_that_changes_its_mind_is_reported(store: Store, music: Path) -> None:
    tone(music / "a.wav")
    for license in ("CC0-1.0", "all rights reserved"):
        (music / "m.csv").write_text(f"uri,license\na.wav,{license}\n")
        report = scan(store, [str(music / "m.csv")])
    assert any("1 known track" in note for note in report.notes)
    assert tracks(store)[str(music / "a.wav")]["license"] == "CC0-1.0"


MISTAKES = {
    "no_uri.csv": ("path,title\na.wav,A\n", r"no_uri\.csv: no column 'uri'; the columns are 'path', 'title'"),
    "empty.csv": ("", r"empty\.csv: no column 'uri'; the columns are none"),
    "blank.csv": ("uri,title\na.wav,A\n,B\n", r"blank\.csv, line 3: no uri"),
    "comma.csv": ("uri,title\na.wav,Air, on G\n", r"comma\.csv, line 2: 3 cells under 2 columns"),
    "no_uri.jsonl": ('{"path": "a.wav"}\n', r"no_uri\.jsonl, line 1: no column 'uri'; the columns are 'path'"),
    "broken.jsonl": ('{"uri": "a.wav"}\n{"uri": \n', r"broken\.jsonl, line 2: not JSON"),
    "list.jsonl": ("[1]\n", r"list\.jsonl, line 1: not an object"),
    "text.parquet": ("uri\n", r"text\.parquet: not Parquet"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_manifest_is_named_with_its_place(name: str, store: Store, music: Path) -> None:
    text, message = MISTAKES[name]
    (music / name).write_text(text)
    with pytest.raises(SourceError, match=message):
        scan(store, [str(music / name)])
    assert store.names("tracks") == []


def test_odd_uris_in_a_manifest_are_rejects(store: Store, music: Path) -> None:
    tone(music / "a.wav")
    odd = [str(music), "nosuch://x/a.wav", "file://elsewhere/a.wav", "file:///a%00b.wav", "x" * 5000]
    (music / "m.csv").write_text("\n".join(["uri", "a.wav", *odd]) + "\n")
    report = scan(store, [str(music / "m.csv")])
    assert (report.new, report.rejected) == (1, len(odd))
    assert rejects(store)[str(music)] == "not a file"
    assert scan(store, [str(music)]).known == 1


def test_a_source_that_is_not_there_stops_the_scan_before_it_begins(store: Store, music: Path) -> None:
    for source in (f"{music}/none", f"{music}/*.wav", "memory://nothing/here", "nosuch://x", "file://elsewhere/a"):
        with pytest.raises(SourceError, match=r"no such|nothing|not known|not a file"):
            scan(store, [source])


def test_tags_are_read_where_no_manifest_speaks(store: Store, music: Path) -> None:
    for name, form in (("a.flac", "FLAC"), ("a.ogg", "OGG"), ("a.mp3", "MP3"), ("a.wav", "WAV"), ("a.aiff", "AIFF")):
        path = tone(music / name, format=form, seconds=1)
        file = mutagen.File(path)
        if name in ("a.flac", "a.ogg"):
            file.update({"title": "Air", "artist": ["Bach", "Gounod"], "album": "Suite", "license": "CC-BY-4.0", "copyright": "(c) 2020"})
        else:
            if file.tags is None:
                file.add_tags()
            for frame in (TIT2(text="Air"), TPE1(text=["Bach", "Gounod"]), TALB(text="Suite"), TCOP(text="CC-BY-4.0")):
                file.tags.add(frame)
        file.save()
    scan(store, [str(music)])
    rows = tracks(store)
    assert len(rows) == 5
    for row in rows.values():
        said = [row[name] for name in ("title", "artist", "album", "license", "license_source", "group")]
        assert said == ["Air", "Bach; Gounod", "Suite", "CC-BY-4.0", "tag", None], row["uri"]


def test_broken_tags_cost_no_track(store: Store, music: Path) -> None:
    rng = np.random.default_rng(0)
    sound = tone(music / "good.mp3", format="MP3", seconds=1).read_bytes()
    for number in range(40):
        junk = rng.bytes(200)
        (music / f"{number}.mp3").write_bytes(b"ID3\x03\x00\x00\x00\x00\x01\x48TIT2" + junk[:196] + sound)
    assert scan(store, [str(music)]).new == 41


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


def test_a_remote_manifest_names_files_beside_it(store: Store, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("a.wav", tone(music / "a.wav").read_bytes()), ("all.csv", b"uri,license\na.wav,CC0-1.0\nnone.wav,\n")):
        with fsspec.open(f"memory://manifest/{name}", "wb") as file:
            file.write(content)
    report = scan(store, ["memory://manifest/all.csv"])
    assert (report.new, report.rejected) == (1, 1)
    assert tracks(store)["memory:///manifest/a.wav"]["license"] == "CC0-1.0"
    assert rejects(store) == {"memory:///manifest/none.wav": "missing"}
    monkeypatch.setattr("pipelines.identify.open_local", None)  # known by size and time: not fetched again
    assert scan(store, ["memory://manifest/all.csv"]).known == 1


def test_progress_counts_every_file(store: Store, music: Path) -> None:
    for pitch in range(5):
        tone(music / f"{pitch}.wav", 100 + pitch)
    seen: list[tuple[int, int]] = []
    scan(store, [str(music)], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


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


def test_a_manifest_that_names_a_file_twice_or_in_another_order_gives_the_same_tracks(store: Store, music: Path) -> None:
    names = [Path(tone(music / name, 100 + number)).name for number, name in enumerate(["b.wav", "ä.wav", "a b.wav", "Z.wav"])]
    (music / "one.csv").write_text("\n".join(["uri,title", *(f"{name},{name}" for name in [*names, names[0]])]))
    (music / "two.csv").write_text("\n".join(["uri,title", *(f"{name},{name}" for name in reversed(names))]))
    other = Store(music.parent / "other")
    assert scan(store, [str(music / "one.csv")]).found == scan(other, [str(music / "two.csv"), str(music)]).found == 4
    assert store.names("tracks") == other.names("tracks")
    rows = store.read("tracks", ["uri", "title"]).to_pylist()
    assert [Path(row["uri"]).name for row in rows] == [row["title"] for row in rows] == sorted(names)


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
