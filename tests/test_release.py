"""Releases: what is in them, the same from the same inputs, and readable by others."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from annotation.labels import Label
from pipelines.cli import main
from pipelines.embeddings import embeddings
from pipelines.gather import add
from pipelines.release.manifest import read_manifest
from pipelines.table import Table
from pipelines.targets import targets
from tests.collection import ROOT, command
from tests.making import HEAD, made, reasons, rows
from tests.releasing import AUGMENTED, LABELS, catalogue, clip, collection, heard, spec, tagged, track

# What is in it


def test_every_clip_is_one_row_with_its_features_labels_and_terms(tmp_path: Path) -> None:
    store = collection(tmp_path)
    done = made(tmp_path)
    table = rows(done)
    stored = {
        (row["clip_id"], row["view"]): row["mean"] for row in store.table("emb").dataset.to_table(["clip_id", "view", "mean"]).to_pylist()
    }
    assert len(table) == len(stored) == 80
    for row in table.to_pylist():
        assert row["mean"] == stored[row["clip_id"], row["view"]]
        assert row["row_id"] == f"{row['clip_id']}-{row['view']}"
        number = int(row["track_id"], 16)
        assert row["tag"] == [("calm", "wild")[number // 2 % 2]]
        assert row["tag_hot"] == [float(number // 2 % 2 == 0), float(number // 2 % 2)]
        assert row["tag_by"] == "consensus"
        assert (row["license"], row["license_sources"]) == ("CC-BY-4.0", ["CC-BY-4.0"])
    one = Table([str(done.folder / path) for path in done.manifest["splits"]["train"]["shards"]])
    assert one.labels("tag_hot") == ("calm", "wild")
    assert one.numpy("mean").shape == (len(one), 4)


def test_tags_are_those_that_targets_tell(tmp_path: Path) -> None:
    store = collection(tmp_path, count=12, artists=12)
    tagged(store, {0: ["calm", "sad"], 3: []}, author_kind="gold")
    add(store, [Label("tag", "odd", "mira", "gold", track(5), start=12.0, duration=1.0)])  # of the second clip
    add(store, [Label("tag", "long", "mira", "gold", track(6))])  # of the whole recording
    made_of = rows(made(tmp_path))
    clips = embeddings(store, "emb", "mean")
    told = targets(store, clips, "tag", "tag")
    expected = dict(zip(clips.clips, told.values.tolist(), strict=True))
    hot = dict(zip(made_of["clip_id"].to_pylist(), made_of["tag_hot"].to_pylist(), strict=True))
    assert told.tags == ("calm", "long", "odd", "sad", "wild")
    assert hot.keys() == expected.keys()
    for name, values in hot.items():
        np.testing.assert_array_equal(values, expected[name])
    assert hot[clip(5, 0)] == [0, 0, 0, 0, 0]
    assert hot[clip(3, 0)] == [0, 0, 0, 0, 0]


def test_a_doubtful_tag_is_unknown_and_one_nobody_spoke_of_is_not_absent(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number} for number in range(4)])
    heard(store, range(4))
    tagged(store, {0: ["calm"], 1: ["wild"]}, confidence=0.9)
    tagged(store, {0: ["wild"], 2: ["calm"]}, confidence=0.6)
    words = LABELS + "confidence = 0.8\n"
    done = made(tmp_path, HEAD + '[rows]\nlabelled = "no"\n' + words)
    found = {row["clip_id"]: row for row in rows(done).to_pylist()}
    np.testing.assert_array_equal(found[clip(0)]["tag_hot"], [1, np.nan])
    np.testing.assert_array_equal(found[clip(1)]["tag_hot"], [0, 1])
    np.testing.assert_array_equal(found[clip(2)]["tag_hot"], [np.nan, 0])
    np.testing.assert_array_equal(found[clip(3)]["tag_hot"], [np.nan, np.nan])
    assert found[clip(2)]["tag"] == []
    assert found[clip(3)]["tag"] is found[clip(3)]["tag_by"] is None
    again = made(tmp_path, HEAD + words)
    assert reasons(again) == {"nobody spoke of any of tag": 2}


def test_raw_votes_are_not_heard_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = catalogue(tmp_path, [{"number": number} for number in range(10)])
    heard(store, range(10))
    tagged(store, {number: ["calm"] for number in range(10)}, author_kind="person")
    file = spec(tmp_path)
    assert main(["release", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 2
    assert "labels[0].author_kinds: of 'tag' none of gold, consensus spoke; those who did: person" in capsys.readouterr().err
    assert len(rows(made(tmp_path, HEAD + LABELS + 'author_kinds = ["person"]\n'))) == 20


def test_regions_are_cut_to_the_clip_and_a_clip_that_was_spoken_of_may_have_none(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 0}, {"number": 1}])
    heard(store, range(2))
    said = [("guitar", 8.0, 4.0), ("drums", 10.0, 0.0), ("voice", 2.0, 3.0)]
    add(store, [Label("instrument", value, "mira", "gold", track(0), start=start, duration=long) for value, start, long in said])
    add(store, [Label("instrument", "flute", "mira", "gold", track(1), clip_id=clip(1, 1), start=1.0, duration=2.0)])
    text = HEAD + '[rows]\nlabelled = "no"\n[[labels]]\nkind = "instrument"\nas = "regions"\n'
    found = {row["clip_id"]: row["instrument"] for row in rows(made(tmp_path, text)).to_pylist()}

    def region(value: str, start: float, duration: float) -> dict[str, Any]:
        return {"kind": "instrument", "value": value, "start": start, "duration": duration}

    assert found[clip(0, 0)] == [region("voice", 2, 3), region("guitar", 8, 2)]
    assert found[clip(0, 1)] == [region("drums", 0, 0), region("guitar", 0, 2)]
    assert found[clip(1, 1)] == [region("flute", 1, 2)]
    assert found[clip(1, 0)] is None


def test_the_same_inputs_give_the_same_bytes_and_other_seeds_another_order(tmp_path: Path) -> None:
    done = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        collection(tmp_path / name)
        done.append(made(tmp_path / name))
    assert done[0].manifest["digest"] == done[1].manifest["digest"]
    for path in done[0].manifest["files"]:
        assert (done[0].folder / path).read_bytes() == (done[1].folder / path).read_bytes(), path
    order = rows(done[0], "train")["row_id"].to_pylist()
    assert order != sorted(order)
    other = made(tmp_path / "one", HEAD + "[split]\nseed = 5\n" + LABELS)
    assert [name for name in rows(other, "train")["row_id"].to_pylist() if name in order] != order


@pytest.mark.slow
def test_other_processes_give_the_same_bytes_whatever_the_seed_of_their_hashes_and_their_threads(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number, "artist": f"artist {number % 9}"} for number in range(30)])
    uses = {
        (number, 0): [
            {"use": "AddBackground", "uri": f"/noise/{number % 4}.wav"},
            {"use": "ImpulseResponse", "uri": f"/room/{number % 3}.wav"},
            {"use": "AddBackground", "track_id": track((number + 9) % 30), "uri": ""},
        ]
        for number in range(30)
    }
    heard(store, range(30), AUGMENTED, lineages=uses)
    tagged(store, {number: ["calm", "wild"][: 1 + number % 2] for number in range(30)})
    file = spec(tmp_path, HEAD + '[licences]\nstated = { "/noise/*" = "CC0", "/room/*" = "CC-BY-3.0" }\n' + LABELS)
    found = []
    for number in ("1", "2", "3"):
        arguments = command("release", file, "--store", tmp_path / "store", "--out", tmp_path / number)
        threads = dict.fromkeys(("PYTHONHASHSEED", "OMP_NUM_THREADS", "ARROW_NUM_THREADS"), number)
        subprocess.run(arguments, cwd=ROOT, env=os.environ | threads, check=True, capture_output=True, timeout=120)
        found.append(read_manifest(tmp_path / number / "set/v1"))
    assert found[0]["files"] == found[1]["files"] == found[2]["files"]
    assert found[0]["digest"] == found[1]["digest"] == found[2]["digest"]


def test_shards_that_do_not_fit_into_memory_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    collection(tmp_path)
    collection(tmp_path / "small")
    text = HEAD + "[shards]\nmegabytes = 0.005\nrow_group_megabytes = 0.0005\n" + LABELS
    done, spilled = made(tmp_path, text), made(tmp_path / "small", text, memory=100)
    assert len(done.manifest["splits"]["train"]["shards"]) > 2
    assert max(each.get("row_groups", 0) for each in done.manifest["files"].values()) > 1
    assert done.manifest["files"] == spilled.manifest["files"]


def test_two_tables_are_joined_and_columns_of_one_name_told_apart(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number} for number in range(6)])
    heard(store, range(6))
    heard(store, range(5, -1, -1), table="other", part="elsewhere", seed=7, without=[(2, 1), (4, 0), (4, 1)])
    done = made(tmp_path, 'name = "set"\nfeatures = ["emb.mean", "other.mean"]\n')
    table = rows(done)
    assert reasons(done) == {"no row in other": 3}
    for name in ("emb", "other"):
        stored = store.table(name).dataset.to_table(["clip_id", "mean"]).to_pylist()
        assert {row["clip_id"]: row["mean"] for row in stored}.items() >= {
            row["clip_id"]: row[f"{name}_mean"] for row in table.to_pylist()
        }.items()


def test_a_file_may_be_called_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    spec(tmp_path).rename(tmp_path / "diff.toml")
    monkeypatch.chdir(tmp_path)
    assert main(["release", "diff.toml", "--store", "store", "--out", "out"]) == 0
    assert main(["release", "diff.toml"]) == 2
    assert "needs --store STORE and --out DIR" in capsys.readouterr().err


def test_the_manifest_names_everything_it_came_from(tmp_path: Path) -> None:
    store = collection(tmp_path)
    tagged(store, {0: ["calm"]}, author_kind="person", campaign="moods")
    done = made(tmp_path)
    said = done.manifest["from"]
    assert said["features"]["emb"]["footer"]["window"]["seconds"] == 10.0
    assert said["labels"]["rows"] == 80
    assert said["votes"]["rows"] == 2
    assert said["consensus"][""]["methods"] == ["majority"]
    assert said["libraries"]["pyarrow"] == pa.__version__
    assert json.loads(pq.read_schema(done.folder / "train/part-00000.parquet").metadata[b"earmark"])["digest"] == done.manifest["digest"]
    assert os.path.getmtime(done.folder / "manifest.json") <= time.time()


# The card, and others' readers


def test_the_card_is_read_by_hugging_face_and_so_are_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = pytest.importorskip("yaml")
    collection(tmp_path)
    done = made(tmp_path)
    front = yaml.safe_load((done.folder / "README.md").read_text().split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    evil = '🎵 "Moods"\\n\\u2028license: mit\\n---\\n# x'
    other = made(tmp_path, HEAD + f'title = "{evil}"\n'.replace('"Moods"', '\\"Moods\\"') + LABELS)
    said = (other.folder / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(said)["license"] == "cc-by-4.0"
    assert yaml.safe_load(said)["pretty_name"].startswith('🎵 "Moods"')
    assert [each["split"] for each in front["configs"][0]["data_files"]] == ["train", "valid", "test"]
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(done.folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(each) for name, each in loaded.items()} == {name: each["rows"] for name, each in done.manifest["splits"].items()}


def test_any_reader_of_parquet_opens_it(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    collection(tmp_path)
    done = made(tmp_path)
    pattern = str(done.folder / "*/*.parquet")
    assert duckdb.sql(f"select count(*), count(distinct row_id) from read_parquet('{pattern}')").fetchall() == [(80, 80)]
    assert pads.dataset(done.folder / "train", format="parquet").count_rows() == done.manifest["splits"]["train"]["rows"]
