"""A release in other forms reads back with those forms' own packages, is whole or absent, and gives the same bytes each time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import datasets
import jams
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from annotation.jams import read_jams
from annotation.labels import from_rows
from pipelines.cli import main
from pipelines.part import StoreError
from pipelines.release.export import export
from pipelines.release.loader import Release
from pipelines.release.webdataset_tars import write
from tests.released import LONG, SPLITS, TAGS, mel, released, sign, tags
from tests.releasing import collection, spec

ROWS = {split: sum(sizes) for split, sizes in SPLITS.items()}
FORMS = ("webdataset", "huggingface", "jams")


@pytest.fixture
def folder(tmp_path) -> Path:
    return released(tmp_path / "v1")


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


def entries(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def test_webdataset_reads_every_row_with_its_arrays_and_the_rest(folder, tmp_path):
    facts = export(folder, "webdataset", tmp_path / "out")
    assert facts["rows"] == sum(ROWS.values())
    row = 0
    for split in ("train", "valid"):
        for sample in webdataset.WebDataset(str(tmp_path / f"out/{split}-000000.tar"), shardshuffle=False).decode():
            assert sample["__key__"] == f"{row:020x}-0"
            np.testing.assert_array_equal(sample["mel.npy"], mel(row))
            assert sample["mel.npy"].dtype == np.float16
            np.testing.assert_array_equal(sample["embedding.npy"], np.full(5, row, np.float32))
            assert sample["json"]["mood"] == tags(row)
            assert sample["json"]["clip_id"] == f"{row:020x}"
            assert sample["json"]["section"] == (
                None if row % 3 == 0 else [{"kind": "section", "value": "A", "start": 0.5, "duration": 1.0}]
            )
            assert np.isnan(sample["mood_hot.npy"]).all() == (tags(row) is None)
            row += 1
    assert row == ROWS["train"] + ROWS["valid"]
    assert entries(tmp_path / "out/test-000000.tar") == []


@pytest.mark.parametrize("to", FORMS)
def test_a_release_as_the_command_makes_it_is_exported_by_the_command(tmp_path, to):
    collection(tmp_path)
    file = spec(tmp_path)
    assert main(["release", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").glob("*/v1")
    release = Release(folder)
    release.verify()
    assert main(["release", "export", str(folder), "--to", to, "--out", str(tmp_path / "exported")]) == 0
    rows = {split: set(release.table(split).to_table(["row_id"])["row_id"].to_pylist()) for split in release.splits}
    if to == "webdataset":
        tars = {split: sorted(map(str, (tmp_path / "exported").glob(f"{split}-*.tar"))) for split in rows}
        found = {split: {each["__key__"] for each in webdataset.WebDataset(tars[split], shardshuffle=False)} for split in rows}
        assert found == rows
    elif to == "huggingface":
        exported = datasets.load_from_disk(str(tmp_path / "exported"))
        assert {split: set(exported[split]["row_id"]) for split in exported} == {split: names for split, names in rows.items() if names}
    else:
        assert len(list((tmp_path / "exported").rglob("*.jams"))) > 0
        for path in (tmp_path / "exported").rglob("*.jams"):
            jams.load(str(path), validate=True)


def test_tars_share_rows_out_evenly_and_their_entries_have_no_time(folder, tmp_path):
    tmp_path.joinpath("out").mkdir()
    write(Release(folder), tmp_path / "out", shard_bytes=2000)
    shards = sorted((tmp_path / "out").glob("train-*.tar"))
    counts = [len({entry.name.partition(".")[0] for entry in entries(shard)}) for shard in shards]
    assert len(shards) > 2
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == ROWS["train"]
    assert {(entry.mtime, entry.uid, entry.uname) for shard in shards for entry in entries(shard)} == {(0, 0, "")}
    keys = [sample["__key__"] for sample in webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False)]
    assert len(set(keys)) == ROWS["train"]


@pytest.mark.parametrize("to", FORMS)
def test_the_same_release_gives_the_same_bytes(folder, tmp_path, to):
    export(folder, to, tmp_path / "a")
    export(folder, to, tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    said = json.loads((tmp_path / "a/export.json").read_text())
    found = hashes(tmp_path / "a")
    assert {name: each["sha256"] for name, each in said["files"].items()} == {name: found[name] for name in found.keys() - {"export.json"}}


def test_hostile_row_ids_and_column_names_stay_inside_the_tar(tmp_path):
    def hostile(rows: pa.Table) -> pa.Table:
        row_ids = [f"../../{'/etc/' if row % 2 else ''}x.\n{row_id}" for row, row_id in enumerate(rows["row_id"].to_pylist())]
        names = ["../mel" if name == "mel" else name for name in rows.column_names]
        return rows.set_column(0, "row_id", pa.array(row_ids, pa.string())).rename_columns(names)

    folder = released(tmp_path / "v1", hostile)
    export(folder, "webdataset", tmp_path / "out")
    names = [entry.name for entry in entries(tmp_path / "out/train-000000.tar")]
    assert all("/" not in name and "\n" not in name and not name.startswith(".") for name in names)
    samples = list(webdataset.WebDataset(str(tmp_path / "out/train-000000.tar"), shardshuffle=False).decode())
    assert len(samples) == ROWS["train"]
    assert samples[1]["json"]["row_id"].startswith("../..//etc/x.\n")
    np.testing.assert_array_equal(samples[1]["%2e%2e%2fmel.npy"], mel(1))


def test_rows_of_one_key_and_columns_of_one_name_are_refused(tmp_path):
    twice = released(tmp_path / "twice", lambda rows: rows.set_column(0, "row_id", pa.array(["x"] * rows.num_rows, pa.string())))
    with pytest.raises(StoreError, match="the row x is there twice; nothing was exported"):
        export(twice, "webdataset", tmp_path / "out")
    names = released(tmp_path / "names", lambda rows: rows.append_column("MEL", rows["mel"]))
    with pytest.raises(StoreError, match="columns 'mel' and 'MEL'"):
        export(names, "webdataset", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["names", "twice"]


def test_hugging_face_opens_the_release_folder_itself(folder, tmp_path):
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {split: count for split, count in ROWS.items() if count}
    features = found["train"].features
    assert (features["mel"].length, features["mel"].feature.dtype) == (24, "float16")
    assert features["section"].feature["start"].dtype == "float64"
    train = found["train"].with_format("numpy")
    np.testing.assert_array_equal(train[17]["mel"], mel(17).reshape(-1))
    files = {split: str(folder / split / "*.parquet") for split in ("train", "valid")}
    again = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache2"))
    assert again["valid"]["row_id"][0] == f"{ROWS['train']:020x}-0"


def test_a_hugging_face_export_knows_shapes_and_tags(folder, tmp_path):
    export(folder, "huggingface", tmp_path / "out")
    found = datasets.load_from_disk(str(tmp_path / "out"))
    assert {split: len(rows) for split, rows in found.items()} == {split: count for split, count in ROWS.items() if count}
    features = found["train"].features
    assert features["mood"].feature.names == TAGS
    assert features["mel"].shape == (6, 4)
    shaped = found["train"].with_format("torch", columns=["mel", "embedding"])
    for row in (0, 7, 41, ROWS["train"] - 1):
        np.testing.assert_array_equal(shaped[row]["mel"].numpy(), mel(row).astype(np.float32))
        said = found["train"][row]
        assert said["mood"] == (None if tags(row) is None else [TAGS.index(tag) for tag in tags(row)])
        assert said["row_id"] == f"{row:020x}-0"
        assert (said["section"] is None) == (row % 3 == 0)


def test_a_tag_that_the_manifest_lacks_stops_the_hugging_face_export(folder, tmp_path):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["columns"]["labels"][0]["tags"] = TAGS[:2]
    sign(folder, manifest)
    with pytest.raises(StoreError, match="mood: rows have the tag 'été', which the manifest does not name"):
        export(folder, "huggingface", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_jams_files_are_valid_and_give_every_label_again(folder, tmp_path):
    facts = export(folder, "jams", tmp_path / "out")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jams"))
    assert files == sorted([*(f"train/track{row}.jams" for row in range(4)), f"train/track0-{0:020x}.jams", "valid/track4.jams"])
    found = []
    for name in files:
        jams.load(str(tmp_path / "out" / name), validate=True)
        track = name.partition("/")[2].partition(".")[0].partition("-")[0]
        found += read_jams(tmp_path / "out" / name, track).labels
    stored = from_rows(pq.read_table(folder / "labels.parquet"))
    assert len(found) == len(stored) == facts["rows"]
    assert {(each.track_id, each.kind, each.value, each.start, each.author) for each in found} == {
        (each.track_id, each.kind, each.value, each.start, each.author) for each in stored
    }
    assert jams.load(str(tmp_path / f"out/train/track0-{0:020x}.jams")).file_metadata.duration == 3.0


def test_hostile_and_equal_file_names_never_become_paths(tmp_path):
    uris = {
        "track0": "/music/a/../..%2F..%2Fetc\n<b>.wav",
        "track1": "/music/song.wav",
        "track2": "/other/SONG.flac",
        "track3": f"/music/{LONG}.wav",
        "track4": "/music/...wav",
    }
    export(released(tmp_path / "v1", uris=uris), "jams", tmp_path / "out")
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jams"))
    assert len(found) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "v1"]
    assert all(name.count("/") == 1 and "\n" not in name and "/." not in name for name in found)
    assert {"train/song.jams", "train/SONG-track2.jams"} <= set(found)


@pytest.mark.parametrize("to", FORMS)
def test_exporting_again_does_nothing_and_never_writes_over_something_else(folder, tmp_path, to):
    out = tmp_path / "out"
    first = export(folder, to, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = export(folder, to, out)
    assert again["text"].endswith("there already, whole")
    assert (again["rows"], again["files"], again["bytes"]) == (first["rows"], first["files"], first["bytes"])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(StoreError, match=f"another export, {to} of moods v1"):
        export(folder, "jams" if to != "jams" else "webdataset", out)
    next(path for path in out.rglob("*") if path.is_file() and path.name != "export.json").write_bytes(b"")
    with pytest.raises(StoreError, match="no longer whole"):
        export(folder, to, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="holds something that is no whole export"):
        export(folder, to, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"


def test_mistakes_are_named(folder, tmp_path):
    with pytest.raises(StoreError, match="'tar' is not one of webdataset, huggingface, jams"):
        export(folder, "tar", tmp_path / "out")
    with pytest.raises(StoreError, match="lies inside the release"):
        export(folder, "jams", folder / "jams")
    (folder / "labels.parquet").unlink()
    sign(folder, json.loads((folder / "manifest.json").read_text()))
    with pytest.raises(StoreError, match=r"no labels\.parquet"):
        export(folder, "jams", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", FORMS)
def test_a_release_that_was_tampered_with_is_not_exported(folder, tmp_path, to):
    path = folder / "valid/part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="other bytes than the manifest says"):
        export(folder, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


KILLED = """
import sys, time
from pathlib import Path
from pipelines.release import export as exporting, webdataset_tars

def slowly(release, out):
    webdataset_tars.write(release, out)
    print("written", flush=True)
    time.sleep(100)

exporting._forms = lambda: {"webdataset": slowly}
exporting.export(Path(sys.argv[1]), "webdataset", Path(sys.argv[2]))
"""


def test_an_export_that_is_killed_leaves_nothing_in_its_place_and_the_next_one_clears_up(folder, tmp_path):
    place = tmp_path / "exports"
    command = [sys.executable, "-c", KILLED, str(folder), str(place / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert killed.stdout.readline() == b"written\n"
    assert not (place / "out").exists()
    assert len(list(place.iterdir())) == 1
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    time.sleep(0.01)
    export(folder, "webdataset", place / "out")
    assert [path.name for path in place.iterdir()] == ["out"]
