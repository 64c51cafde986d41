"""Manifests and tags: what is said of recordings, whose words win, and mistakes named with their place."""

from __future__ import annotations

from pathlib import Path

import fsspec
import mutagen
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutagen.id3 import TALB, TCOP, TIT2, TPE1

from pipelines.catalog import scan
from pipelines.manifest import SourceError
from pipelines.store import Store
from tests.scanning import rejects, tone, tracks


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


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


def test_a_manifest_that_names_a_file_twice_or_in_another_order_gives_the_same_tracks(store: Store, music: Path) -> None:
    names = [Path(tone(music / name, 100 + number)).name for number, name in enumerate(["b.wav", "ä.wav", "a b.wav", "Z.wav"])]
    (music / "one.csv").write_text("\n".join(["uri,title", *(f"{name},{name}" for name in [*names, names[0]])]))
    (music / "two.csv").write_text("\n".join(["uri,title", *(f"{name},{name}" for name in reversed(names))]))
    other = Store(music.parent / "other")
    assert scan(store, [str(music / "one.csv")]).found == scan(other, [str(music / "two.csv"), str(music)]).found == 4
    assert store.names("tracks") == other.names("tracks")
    rows = store.read("tracks", ["uri", "title"]).to_pylist()
    assert [Path(row["uri"]).name for row in rows] == [row["title"] for row in rows] == sorted(names)
