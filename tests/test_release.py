"""Releases: immutable, reproducible, without leaks; and what is said where something is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from annotation.labels import Label
from pipelines.cli import main
from pipelines.embeddings import embeddings
from pipelines.gather import add
from pipelines.part import StoreError
from pipelines.release.build import Made, release
from pipelines.release.diff import diff
from pipelines.release.manifest import read_manifest, sealed, verify
from pipelines.release.origins import _not_finite
from pipelines.release.spec import load
from pipelines.store import Store
from pipelines.table import Table
from pipelines.targets import targets
from tests.collection import ROOT, command
from tests.releasing import AUGMENTED, LABELS, catalogue, clip, collection, heard, spec, tagged, track

NO_SOUND = "no sound is needed: the store is made by hand"
HEAD = 'name = "set"\nfeatures = ["emb.mean"]\n'


def made(folder: Path, text: str = "", **more: Any) -> Made:
    """A release of the folder's store."""
    file = spec(folder, text)
    return release(Store(folder / "store"), load(file), folder / "out", file, **more)


def rows(done: Made, split: str = "") -> pa.Table:
    """The rows of a split, or of all, with the split's name."""
    found = []
    for name, said in done.manifest["splits"].items():
        if split in ("", name):
            table = pa.concat_tables([pq.read_table(done.folder / path, partitioning=None) for path in said["shards"]])
            found.append(table.append_column("split", pa.array([name] * len(table), pa.string())))
    return pa.concat_tables(found)


def split_of(done: Made) -> dict[str, str]:
    """Each recording's split, from the rows themselves; one that has two fails."""
    found: dict[str, str] = {}
    table = rows(done)
    for name, split in zip(table["track_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        assert found.setdefault(name, split) == split
    return found


def reasons(done: Made) -> dict[str, int]:
    """How often each reason is given."""
    table = pq.read_table(done.folder / "exclusions.parquet")
    return {each["values"]: each["counts"] for each in pc.value_counts(table["reason"]).to_pylist()}


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


# Splits


def test_no_artist_crosses_and_growth_moves_only_what_it_joins(tmp_path: Path) -> None:
    store = collection(tmp_path, count=60, artists=30)
    first = made(tmp_path)
    before = split_of(first)
    for artist in range(30):
        assert len({before[track(number)] for number in range(60) if number % 30 == artist}) == 1
    one = next(number for number in range(30) if before[track(number)] == "train")
    other = next(number for number in range(30) if before[track(number)] == "test")
    # Sixty more by artists of their own, and one recording that joins an artist of train with one of test.
    new = [{"number": number} for number in range(100, 160)]
    store = catalogue(tmp_path, [*new, {"number": 99, "artist": f"artist {one}", "album": "Duets"}], "later")
    store.publish("tracks", "shard", _albums(store, other))
    heard(store, range(99, 160), part="later")
    tagged(store, {number: ["wild"] for number in range(99, 160)})
    second = made(tmp_path)
    after = split_of(second)
    assert second.manifest["version"] == "v2"
    assert second.manifest["previous"] == {"version": "v1", "digest": first.manifest["digest"]}
    moved = {name for name in before if after[name] != before[name]}
    assert moved == {track(other), track(other + 30)}
    assert {(each["track_id"], each["from"], each["to"]) for each in second.proof["moved"]} == {(name, "test", "train") for name in moved}
    assert all("album 'Duets'" in each["why"] for each in second.proof["moved"])
    assert set(after.values()) == {"train", "valid", "test"}


def _albums(store: Store, number: int) -> pa.Table:
    """The first shard of tracks, in which one recording is of the album "Duets"."""
    table = pq.read_table(store.paths("tracks")[-1])
    albums = ["Duets" if name == track(number) else None for name in table["track_id"].to_pylist()]
    return table.set_column(table.schema.get_field_index("album"), "album", pa.array(albums, pa.string()))


def test_recordings_without_an_artist_are_not_one_group(tmp_path: Path) -> None:
    collection(tmp_path, artists=40, artist=None)
    done = made(tmp_path)
    assert done.proof["groups"] == 40
    artist = next(each for each in done.proof["closure"] if each["relation"] == "artist")
    assert (artist["values"], artist["say_nothing"]) == (0, 40)


def test_stated_splits_hold_and_what_they_part_is_refused(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number, "artist": "Orchestra", "group": f"A{number % 8}"} for number in range(40)])
    heard(store, range(40))
    where = '[split]\nwhere = { test = [["group", "in", ["A0", "A5"]]] }\n'
    with pytest.raises(
        Exception, match=r"release.toml, line \d+: split.where: track \S+ in train and|are stated, but they belong"
    ) as error:
        made(tmp_path, HEAD + where.replace("] }", '], train = [["group", "==", "A1"]] }'))
    assert "artist 'Orchestra' (40 recordings)" in str(error.value)
    done = made(tmp_path, HEAD + where + 'close = ["group"]\n')
    table = pq.read_table(done.folder / "tracks.parquet")
    tests = {row["group"] for row in table.to_pylist() if row["split"] == "test"}
    assert tests == {"A0", "A5"}
    artist = next(each for each in done.proof["closure"] if each["relation"] == "artist")
    assert (artist["closes"], artist["crossing"]) == (False, 1)


def test_a_table_states_splits(tmp_path: Path) -> None:
    collection(tmp_path, artists=40)
    (tmp_path / "splits.csv").write_text("uri,split\n/music/3.wav,test\n/music/4.wav,valid\n/music/none.wav,test\n")
    text = HEAD + '[split]\nfile = "splits.csv"\n' + LABELS
    split = split_of(made(tmp_path, text))
    assert (split[track(3)], split[track(4)]) == ("test", "valid")
    (tmp_path / "splits.csv").write_text("uri,split\n/music/3.wav,dev\n")
    with pytest.raises(Exception, match=r"splits.csv: split 'dev' has no share; there are train, valid, test"):
        made(tmp_path, text)


def test_a_group_larger_than_a_split_is_said_with_a_way_out(tmp_path: Path) -> None:
    collection(tmp_path, artists=1)
    done = made(tmp_path)
    (large,) = done.proof["too_large"]
    assert (large["tracks"], large["share"], large["split"], large["by"]) == (40, 1.0, "train", "artist 'artist 0' (40 recordings)")
    assert "split.ignore.artist" in large["way_out"]
    assert done.manifest["splits"]["test"]["rows"] == 0
    assert len(pq.read_table(done.folder / "test/part-00000.parquet", partitioning=None)) == 0
    text = HEAD + '[split]\nignore = { artist = ["ARTIST 0"] }\n' + LABELS
    assert not made(tmp_path, text).proof["too_large"]


def test_a_tag_with_one_positive_is_named_in_the_splits_that_lack_it(tmp_path: Path) -> None:
    store = collection(tmp_path, count=100, artists=100)
    add(store, [Label("tag", "rare", "mira", "consensus", track(7), clip_id=clip(7))])
    done = made(tmp_path)
    few = {(each["tag"], each["split"]): each["note"] for each in done.proof["few"]}
    assert few["rare", "train"] == "1 row of 1 recordings"
    assert few["rare", "valid"] == few["rare", "test"] == "nothing has it"
    assert "| tag | rare | test | nothing has it |" in (done.folder / "README.md").read_text()


def test_the_nearest_pairs_across_splits_are_those_of_brute_force(tmp_path: Path) -> None:
    store = collection(tmp_path)
    done = made(tmp_path)
    split = split_of(done)
    found = embeddings(store, "emb", "mean")
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    across = np.array([[split[a] != split[b] for b in found.tracks] for a in found.tracks])
    best = np.where(across, cosines, -2).max()
    pair = done.proof["nearest"]["pairs"][0]
    assert pair["cosine"] == pytest.approx(best, abs=1e-5)
    assert {pair["a"]["split"], pair["b"]["split"]} == {split[pair["a"]["track_id"]], split[pair["b"]["track_id"]]}
    assert done.proof["crossing"] == {"tracks": 0, "groups": 0, "mixed_in": 0}


# Views


def augmented(folder: Path, steps: dict[tuple[int, int], list[dict[str, Any]]], count: int = 30, **row: Any) -> Store:
    """Recordings of whose clips some have a view 1."""
    store = catalogue(folder, [{"number": number, **row} for number in range(count)])
    heard(store, range(count), AUGMENTED, lineages=steps)
    tagged(store, {number: ["calm"] if number % 2 else ["wild"] for number in range(count)})
    return store


GAIN = {"use": "Gain", "gain_db": -3.0}


def mixed(number: int) -> dict[str, Any]:
    """A step that mixes a recording in."""
    return {"use": "Mix", "track_id": track(number), "uri": f"/music/{number}.wav", "start": 0.0, "seconds": 10.0, "snr_db": 0.0}


def test_views_are_in_train_alone_with_their_own_labels(tmp_path: Path) -> None:
    augmented(tmp_path, {(number, at): [GAIN] for number in range(30) for at in range(2)})
    done = made(tmp_path)
    for split, said in done.manifest["splits"].items():
        table = rows(done, split)
        assert set(table["view"].to_pylist()) == ({0, 1} if split == "train" else {0})
        assert said["rows"] == len(table)
    views = [row for row in rows(done).to_pylist() if row["view"] == 1]
    assert all(row["tag"] == ["calm" if int(row["track_id"], 16) % 2 else "wild"] for row in views)
    everywhere = made(tmp_path, HEAD + '[rows]\nviews = "all"\n' + LABELS)
    assert set(rows(everywhere, "test")["view"].to_pylist()) == {0, 1}
    nowhere = made(tmp_path, HEAD + '[rows]\nviews = "none"\n' + LABELS)
    assert set(rows(nowhere)["view"].to_pylist()) == {0}


def test_a_view_that_mixes_in_another_split_s_recording_is_left_out_or_joins_the_groups(tmp_path: Path) -> None:
    steps = {(number, 0): [mixed((number + 1) % 30)] for number in range(30)}
    augmented(tmp_path, steps)
    done = made(tmp_path)
    split = split_of(done)
    for row in rows(done).to_pylist():
        if row["view"]:
            assert split[track((int(row["track_id"], 16) + 1) % 30)] == row["split"] == "train"
    left_out = sum(split[track(number)] == "train" != split[track((number + 1) % 30)] for number in range(30))
    assert left_out > 0
    told = [each for each in done.proof["excluded"] if each["what"] == "lineage"]
    assert sum(each["entries"] for each in told) >= left_out
    joined = made(tmp_path, HEAD + '[split]\nclose = ["lineage"]\n' + LABELS)
    assert joined.proof["groups"] == 1
    assert "lineage" in joined.proof["too_large"][0]["by"]


def test_a_mixture_has_the_guest_s_tags_and_does_not_lack_what_the_guest_may_have(tmp_path: Path) -> None:
    store = augmented(tmp_path, {(0, 0): [mixed(1)], (2, 0): [mixed(29)], (4, 0): [GAIN]}, artist="one")
    with_nobody = catalogue(tmp_path, [{"number": 40, "artist": "one"}, {"number": 41, "artist": "one"}], "more")
    heard(with_nobody, [40, 41], AUGMENTED, part="more", lineages={(40, 0): [mixed(41)]})
    tagged(store, {40: ["wild"]})
    found = {(row["clip_id"], row["view"]): row["tag_hot"] for row in rows(made(tmp_path)).to_pylist()}
    assert found[clip(0), 0] == [0, 1]
    assert found[clip(0), 1][0] == 1  # calm came with the guest
    assert found[clip(0), 1][1] == 1
    np.testing.assert_array_equal(found[clip(4), 1], [0, 1])
    np.testing.assert_array_equal(found[clip(40), 1], [np.nan, 1])  # nobody spoke of the guest


def test_a_view_carries_the_terms_of_all_that_sounds_in_it(tmp_path: Path) -> None:
    licences = {0: "CC BY-SA 3.0", 1: "CC BY-NC-SA 3.0", 2: "CC0", 3: "CC BY-ND 4.0", 4: "CC BY 4.0"}
    store = catalogue(tmp_path, [{"number": number, "artist": "one", "license": text} for number, text in licences.items()])
    heard(
        store,
        range(5),
        AUGMENTED,
        lineages={
            (0, 0): [mixed(1)],
            (0, 1): [mixed(4)],
            (1, 0): [mixed(4)],
            (3, 0): [GAIN],
            (4, 0): [{"use": "AddBackground", "uri": "file:///noise/rain.wav", "start": 0.0, "seconds": 1.0, "snr_db": 3.0}],
            (4, 1): [{"use": "AddBackground", "uri": "file:///birds/lark.wav", "start": 0.0, "seconds": 1.0, "snr_db": 3.0}],
        },
    )
    done = made(tmp_path, HEAD + '[licences]\nstated = { "/noise/*" = "CC BY-NC 4.0" }\n')
    found = {(int(row["track_id"], 16), row["start"] > 0, row["view"]): row for row in rows(done).to_pylist()}
    assert (0, False, 1) not in found
    assert found[0, True, 1]["license"] == "CC-BY-SA-3.0"
    assert found[0, True, 1]["license_sources"] == ["CC-BY-4.0", "CC-BY-SA-3.0"]
    assert found[1, False, 1]["license"] == "CC-BY-NC-SA-3.0"
    assert (3, False, 0) in found
    assert (3, False, 1) not in found
    assert found[4, False, 1]["license"] == "CC-BY-NC-4.0"
    assert (4, True, 1) not in found
    assert reasons(done) == {
        "CC-BY-NC-SA-3.0 and CC-BY-SA-3.0 each ask that what is made of them has their own licence": 1,
        "CC-BY-ND-4.0 allows no changed sound": 1,
        "what is mixed into the view: no licence is said; say what it means under licences.stated": 1,
    }
    lines = [line.split("\t") for line in (done.folder / "ATTRIBUTION.tsv").read_text().splitlines()]
    assert {line[3]: line[4] for line in lines[1:]} == {
        **{
            f"/music/{number}.wav": name
            for number, name in enumerate(["CC-BY-SA-3.0", "CC-BY-NC-SA-3.0", "CC0-1.0", "CC-BY-ND-4.0", "CC-BY-4.0"])
        },
        "file:///noise/rain.wav": "CC-BY-NC-4.0",
    }
    card = (done.folder / "README.md").read_text()
    assert card.splitlines()[2:7] == [
        "license:",
        *(f"- {name}" for name in ("cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nd-4.0")),
    ]
    assert "The strictest terms of any row are CC-BY-ND-4.0" in card


def test_recordings_that_sound_the_same_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = collection(tmp_path, artists=40)
    unchecked = {each["relation"]: each["note"] for each in made(tmp_path).proof["closure"] if not each["checked"]}
    assert unchecked["fingerprint"].startswith("not checked: ")
    assert unchecked["embedding"] == "not checked: no [split.near] names a column of embeddings"
    # Ten copies of ten recordings, by other artists: of half of them fingerprints tell, of the others embeddings.
    pairs = [(track(number), track(number + 10), "fingerprint", 99.0) for number in range(5)]
    monkeypatch.setattr("pipelines.similar.duplicates.duplicate_groups", lambda store: pairs)
    (path,) = store.paths("emb", store.tables()["emb"][0])
    table = pq.read_table(path, partitioning=None)
    row = {name: at for at, name in enumerate(table["clip_id"].to_pylist())}
    cells = np.stack(table["mean"].to_numpy(zero_copy_only=False))
    for number in range(5, 10):
        cells[row[clip(number + 10, 1)]] = 2 * cells[row[clip(number, 0)]]
    column = pa.FixedSizeListArray.from_arrays(pa.array(cells.reshape(-1)), 4)
    pq.write_table(table.set_column(5, table.schema.field("mean"), column), path)
    near = '[split]\nseed = 3\n[split.near]\ncolumn = "emb.mean"\ncosine = 0.99999\n'
    (tmp_path / "out").rename(tmp_path / "before")  # splits of earlier versions would hold
    done = made(tmp_path, HEAD + near + LABELS)
    split = split_of(done)
    for number in range(10):
        assert split[track(number)] == split[track(number + 10)]
    assert done.proof["groups"] == 30
    assert all(each["checked"] for each in done.proof["closure"])
    assert done.proof["nearest"]["pairs"][0]["cosine"] < 0.99999


def test_a_background_of_a_folder_is_at_home_where_models_learn(tmp_path: Path) -> None:
    rain = {"use": "AddBackground", "uri": "file:///noise/rain.wav", "start": 0.0, "seconds": 1.0, "snr_db": 3.0}
    augmented(tmp_path, {(number, 0): [rain] for number in range(30)})
    text = HEAD + '[rows]\nviews = "all"\n[licences]\nstated = { "*" = "CC0" }\n' + LABELS
    done = made(tmp_path, text)
    assert {row["split"] for row in rows(done).to_pylist() if row["view"]} == {"train"}
    assert any("at home in 'train'" in reason for reason in reasons(done))
    lineage = next(each for each in done.proof["closure"] if each["relation"] == "lineage")
    assert (lineage["values"], lineage["crossing"]) == (1, 0)


def test_what_was_said_of_a_view_counts_for_the_clip_as_it_sounds_there(tmp_path: Path) -> None:
    slow = {"use": "TimeStretch", "rate": 0.5}
    store = augmented(tmp_path, {(0, 0): [slow]}, artist="one")
    table = store.table("views").to_table(["clip_id", "view", "view_id"]).to_pylist()
    view = next(row["view_id"] for row in table if row["clip_id"] == clip(0) and row["view"] == 1)
    said = Label("instrument", "flute", "mira", "gold", track(0), clip_id=clip(0), view_id=view, start=2.0, duration=4.0)
    add(store, [said])
    words = '[rows]\nlabelled = "no"\n[[labels]]\nkind = "instrument"\nas = "regions"\n'
    found = {(row["clip_id"], row["view"]): row["instrument"] for row in rows(made(tmp_path, HEAD + words)).to_pylist()}
    assert [(each["value"], each["start"], each["duration"]) for each in found[clip(0), 1]] == [("flute", 2.0, 4.0)]
    assert [(each["value"], each["start"], each["duration"]) for each in found[clip(0), 0]] == [("flute", 1.0, 2.0)]


# Licences


def test_allowed_licences_stay_and_every_recording_left_out_has_its_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    texts = ["CC0", "CC BY 4.0", "CC BY-NC 4.0", None, "free for research", "(c) 2010 X. All rights reserved."]
    store = catalogue(tmp_path, [{"number": number, "license": text} for number, text in enumerate(texts)])
    heard(store, range(6))
    file = spec(tmp_path, HEAD)
    where = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert main(["release", str(file), *where, "--allow", "CC0,CC-BY", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    left = pq.read_table(Path(facts["folder"]) / "exclusions.parquet").to_pylist()
    assert {int(row["track_id"], 16): row["reason"] for row in left} == {
        2: "CC-BY-NC-4.0 is not among the licences allowed: CC0, CC-BY",
        3: "no licence is said; say what it means under licences.stated",
        4: "licence not understood: 'free for research'; say what it means under licences.means",
        5: "all rights reserved",
    }
    assert all(row["clip_id"] is None for row in left)
    means = '[licences]\nmeans = { "free for research" = "CC BY-NC 4.0" }\nunlicensed = "keep"\n'
    kept = rows(made(tmp_path, HEAD + means))
    assert {int(name, 16): text for name, text in zip(kept["track_id"].to_pylist(), kept["license"].to_pylist(), strict=True)} == {
        0: "CC0-1.0",
        1: "CC-BY-4.0",
        2: "CC-BY-NC-4.0",
        3: "unknown",
        4: "CC-BY-NC-4.0",
    }
    assert main(["release", str(file), *where, "--allow", "free"]) == 2
    assert capfd.readouterr().err == (
        "earmark: 'free' is no licence known here; as in CC0, CC-BY, CC-BY-SA-4.0, CC-BY-NC-SA, public-domain, ODbL\n"
    )


def test_what_grants_nothing_does_not_slip_in_by_what_grants_even_less(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 0, "license": "all rights reserved"}, {"number": 1, "license": None}])
    heard(store, [0, 1], AUGMENTED, lineages={(0, 0): [{"use": "AddBackground", "track_id": track(1), "uri": "/music/1.wav"}]})
    text = HEAD + '[rows]\nlabelled = "no"\n[licences]\nreserved = "keep"\n[split]\nshares = { train = 1.0 }\n'
    done = made(tmp_path, text)
    assert set(rows(done)["view"].to_pylist()) == {0}
    reasons = [row["reason"] for row in pq.read_table(done.folder / "exclusions.parquet").to_pylist() if row["view"] == 1]
    assert reasons == ["what is mixed into the view: no licence is said; say what it means under licences.stated"]


def test_the_mark_of_the_public_domain_is_no_licence_of_databases(tmp_path: Path) -> None:
    collection(tmp_path, license="Public Domain")
    front = (made(tmp_path).folder / "README.md").read_text().split("---\n")[1]
    assert 'license: other\nlicense_name: "public-domain"\n' in front


def test_a_collection_without_licences_is_refused_with_a_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, license=None)
    file = spec(tmp_path)
    assert main(["release", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no row is left to release: 40 × no licence is said" in error
    assert "[licences] stated" in error
    assert error.count("\n") == 1
    assert [path.name for path in (tmp_path / "out" / "set").iterdir()] == [".release.lock"]


# Immutable, and whole or absent


def test_a_second_run_says_that_it_is_there_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    arguments = ["release", str(spec(tmp_path)), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/set/v1").rglob("*")}
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"nothing to do: {tmp_path}/out/set/v1 is of the same inputs\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/set/v1").rglob("*")} == before
    assert sorted(path.name for path in (tmp_path / "out/set").iterdir()) == [".release.lock", "v1"]


def test_verify_finds_every_changed_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    done = made(tmp_path)
    assert verify(done.folder) == []
    assert main(["release", "verify", str(done.folder)]) == 0
    listed = set(read_manifest(done.folder)["files"]) | {"manifest.json"}
    assert {str(path.relative_to(done.folder)) for path in done.folder.rglob("*") if path.is_file()} == listed
    path = done.folder / "train/part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (done.folder / "proof.json").unlink()
    capsys.readouterr()
    assert main(["release", "verify", str(done.folder)]) == 1
    assert sorted(capsys.readouterr().out.splitlines()) == [
        f"{done.folder}/proof.json: No such file or directory",
        f"{done.folder}/train/part-00000.parquet: other bytes than the manifest says",
    ]


@pytest.mark.parametrize("name", ["manifest.json", "README.md", "proof.json", "test/part-00000.parquet", "figures/splits.svg"])
def test_verify_sees_any_byte_of_any_file(tmp_path: Path, name: str) -> None:
    collection(tmp_path)
    path = made(tmp_path).folder / name
    content = path.read_bytes()
    for at in range(0, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            wrong = verify(tmp_path / "out/set/v1")
        except StoreError:  # a manifest that is no JSON any more, or of another format
            wrong = ["manifest.json"]
        assert any(line.startswith(name) for line in wrong), at
    path.write_bytes(content)
    (path.parent / "part-99999.parquet").write_bytes(b"")
    (wrong,) = verify(tmp_path / "out/set/v1")
    assert wrong.endswith("part-99999.parquet: does not belong to the release")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"/dev/zero": {"bytes": 0, "sha256": ""}}},
        {"files": {"../../release.toml": {"bytes": 0, "sha256": ""}}},
        {"splits": {"train": {"shards": ["../../../x.parquet"]}}},
        {"files": []},
        {"files": {"x": 1}},
        {"files": {"x": {"bytes": None, "sha256": ""}}},
        {"splits": None},
        {"format": "one"},
        {"format": 99},
    ],
)
def test_a_hostile_manifest_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(sealed({"format": 1, "name": "set", "files": {}, "splits": {}} | change))
    for read in (verify, read_manifest, lambda folder: diff(folder, folder)):
        with pytest.raises(StoreError) as error:
            read(tmp_path)
        assert "\n" not in str(error.value)


def test_a_folder_that_is_somebody_else_s_is_neither_written_nor_skipped(tmp_path: Path) -> None:
    collection(tmp_path)
    theirs = tmp_path / "out/set/v1"
    theirs.mkdir(parents=True)
    (theirs / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"set/v1: is there, and no release .*; move it away, or give this release another name"):
        made(tmp_path)
    assert [path.name for path in theirs.iterdir()] == ["thesis.txt"]
    theirs.rename(tmp_path / "out/set/kept")
    (tmp_path / "out/set/v1").write_text("a file")
    assert made(tmp_path).manifest["version"] == "v2"
    (tmp_path / "out/set").rename(tmp_path / "out/other")
    with pytest.raises(StoreError, match="other/v2: is there, and a release of 'set'"):
        made(tmp_path, HEAD.replace("set", "other") + LABELS)


def test_without_what_was_learnt_from_no_further_version_is_made(tmp_path: Path) -> None:
    collection(tmp_path)
    path = made(tmp_path).folder / "tracks.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"tracks\.parquet: cannot be read, and says which recordings were learnt from"):
        made(tmp_path)


def test_a_bucket_is_no_place_for_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", str(spec(tmp_path)), "--store", str(tmp_path), "--out", "s3://bucket/sets"]) == 2
    assert "--out s3://bucket/sets: releases are made in a folder of this machine" in capsys.readouterr().err


def test_two_releases_at_once_are_told_apart(tmp_path: Path) -> None:
    collection(tmp_path)
    with Store(tmp_path / "out/set").lock("release"), pytest.raises(Exception, match="another release is at work"):
        made(tmp_path)
    assert made(tmp_path).manifest["version"] == "v1"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write_all", "attribution", "card", "sealed", "publish"])
def test_a_killed_release_leaves_nothing_visible_and_the_next_sweeps_up(tmp_path: Path, step: str) -> None:
    collection(tmp_path)
    file = spec(tmp_path)
    stop = (
        "import sys, os, signal, pipelines.release.build as build\n"
        f"build.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from pipelines.cli import main\n"
        f"main(['release', {str(file)!r}, '--store', {str(tmp_path / 'store')!r}, '--out', {str(tmp_path / 'out')!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", stop], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (hidden,) = (path for path in (tmp_path / "out/set").iterdir() if path.is_dir())
    assert hidden.name.startswith(".v1.")
    assert list(hidden.rglob("*.parquet")) or step == "write_all"
    assert made(tmp_path).manifest["version"] == "v1"
    assert sorted(path.name for path in (tmp_path / "out/set").iterdir()) == [".release.lock", "v1"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    collection(tmp_path)
    arguments = command("release", spec(tmp_path), "--store", tmp_path / "store", "--out", tmp_path / "out")

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # as a full disk: writing fails in the middle of a file

    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, preexec_fn=little)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing was released" in done.stderr
    assert [path.name for path in (tmp_path / "out/set").iterdir()] == [".release.lock"]


# Mistakes


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('name = "set"\nfeatures = ["mfcc.mean"]\n', "release.toml, line 2: features: no table 'mfcc' in {store}; there are emb"),
        ('name = "set"\nfeatures = ["emb.max"]\n', "release.toml, line 2: features: 'emb' has no column 'max'; there are mean"),
        (
            HEAD + '[variants]\nemb = "abc"\n',
            "release.toml, line 4: variants.emb: no variant 'abc' of 'emb'; there are 679ba3d1-emb",
        ),
        (
            HEAD + '[[labels]]\nkind = "tag"\nconfidence = 0.9\nauthor_kinds = ["gold"]\n',
            "release.toml, line 4: labels[0].kind: no tag of 'tag' stands that is heard and sure enough",
        ),
        (HEAD + '[[labels]]\nkind = "mood"\n', "release.toml, line 4: labels[0].kind: nobody spoke of 'mood'; there are tag"),
        (
            HEAD + '[rows]\nwhere = [["genre", "==", "folk"]]\n',
            "release.toml, line 4: rows.where[0]: no column 'genre' in the catalogue; there are track_id, ",
        ),
        (
            HEAD + "[split]\nshares = { train = 0.8, test = 0.1 }\n",
            "release.toml, line 4: split.shares: train 0.8, test 0.1 make 0.9, not 1",
        ),
        (HEAD + '[licences]\nallow = ["free"]\n', "release.toml, line 4: licences.allow: 'free' is no licence known here"),
        (HEAD + '[split]\nclose = ["artists"]\n', "release.toml, line 4: split.close[0]: "),
        (HEAD + "[split]\nshares = { 'träin' = 1.0 }\n", "release.toml, line 4: split.shares"),
        (HEAD + '[[labels]]\nkind = "tag"\nname = "seconds"\n', "labels[0].name: column 'seconds' is taken"),
        (
            HEAD + '[[labels]]\nkind = "tag"\n[[labels]]\nkind = "tag"\nname = "tag_hot"\n',
            "labels[0].name: column 'tag' is taken",
        ),
        ('name = "Set One"\nfeatures = ["emb.mean"]\n', "release.toml, line 1: name: "),
        ('name = "set"\nfeatures = ["emb"]\n', "release.toml, line 2: features: 'emb' is not a table and a column"),
        (HEAD + "[row]\n", "release.toml, line 3: row: no such setting; there are description, features, labels, licences, name"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tagged(collection(tmp_path, count=4, artists=4), {0: ["calm"]}, author_kind="gold", confidence=0.5)
    file = spec(tmp_path, text)
    assert main(["release", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert error.replace("{store}", str(tmp_path / "store")) in said
    assert said.count("\n") == 1


def test_clips_without_features_and_recordings_that_nobody_heard_are_counted_and_named(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number} for number in range(8)])
    heard(store, range(6), without=[(0, 0), (1, 0), (1, 1)])
    reject = {
        "uri": "/music/7.wav",
        "stage": "run",
        "track_id": track(7),
        "error": "empty",
        "message": "7.wav:\nno sound",
        "remedy": "none",
    }
    store.reject([reject])
    done = made(tmp_path, HEAD)
    assert len(rows(done)) == 9
    left = pq.read_table(done.folder / "exclusions.parquet").to_pylist()
    assert {(int(row["track_id"], 16), row["clip_id"], row["reason"]) for row in left} == {
        (0, clip(0, 0), "no row in emb"),
        (1, clip(1, 0), "no row in emb"),
        (1, clip(1, 1), "no row in emb"),
        (6, None, "no clips: no run has heard it"),
        (7, None, "rejected: 7.wav: no sound"),
    }


def test_hostile_names_stay_text_in_card_attribution_and_figures(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\n| x\t](y) ```"
    store = catalogue(tmp_path, [{"number": number, "title": evil, "uri": f"/m/{number}\n.wav"} for number in range(8)])
    heard(store, range(8))
    tagged(store, {number: [evil] for number in range(8)})
    done = made(tmp_path)
    card = (done.folder / "README.md").read_text()
    assert "<script>" not in card
    assert "\n| x" not in card
    for line in (done.folder / "ATTRIBUTION.tsv").read_text().splitlines():
        assert line.count("\t") == 6
    import xml.etree.ElementTree as ElementTree

    for path in (done.folder / "figures").iterdir():
        ElementTree.parse(path)


def test_rows_of_what_is_no_number_are_left_out_and_named(tmp_path: Path) -> None:
    store = collection(tmp_path)
    (path,) = store.paths("emb", store.tables()["emb"][0])
    table = pq.read_table(path, partitioning=None)
    cells = np.stack(table["mean"].to_numpy(zero_copy_only=False)).astype(np.float32)
    cells[:3] = np.nan
    cells[7, 2] = -np.inf
    column = pa.FixedSizeListArray.from_arrays(pa.array(cells.reshape(-1)), 4)
    pq.write_table(table.set_column(5, table.schema.field("mean"), column), path)
    done = made(tmp_path)
    assert len(rows(done)) == 76
    assert all(np.isfinite(np.stack(rows(done)["mean"].to_numpy(zero_copy_only=False))).ravel())
    left = pq.read_table(done.folder / "exclusions.parquet").to_pylist()
    assert {row["clip_id"] for row in left} == set(table["clip_id"].take([0, 1, 2, 7]).to_pylist())
    assert {row["reason"] for row in left} == {"emb.mean has numbers that are not finite"}


def test_what_is_not_finite_is_found_in_cells_of_any_form() -> None:
    nan, inf = float("nan"), float("inf")
    fixed = pa.array([[1, 2], [nan, 1], [3, inf]], pa.list_(pa.float16(), 2))
    frames = pa.array([[[1, 2], [3, 4]], [], [[1, 2], [3, 4], [5, nan]], [[-inf, 1]]], pa.list_(pa.list_(pa.float64(), 2)))
    for array, places in (
        (pa.array([1.0, nan, inf]), [1, 2]),
        (pa.array([1, 2]), []),
        (fixed, [1, 2]),
        (fixed[1:], [0, 1]),
        (frames, [2, 3]),
        (frames[2:], [0, 1]),
        (pa.array([[0.5], [], [1.0, nan]], pa.large_list(pa.float32())), [2]),
    ):
        assert _not_finite(array).tolist() == places


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


# What changed


def test_diff_counts_labels_and_whose_word_changed_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = collection(tmp_path, artists=40)
    first = made(tmp_path)
    # number 0 was calm; an expert says wild: two tags of two clips. number 9 gets its first word on "new" from the consensus.
    tagged(store, {0: ["wild"]}, author_kind="gold")
    tagged(store, {1: ["wild"]})
    more = catalogue(tmp_path, [{"number": 50, "artist": "more"}], "more")
    heard(more, [50], part="more")
    tagged(store, {50: ["calm"]})
    second = made(tmp_path)
    found = diff(first.folder, second.folder)
    assert (found.changed, found.by_adjudication) == (6, 4)
    (labels,) = found.labels
    assert (labels.rows, dict(labels.by)) == (4, {"gold": 4, "consensus": 2})
    assert found.rows == {"added": 2, "removed": 0, "common": 80}
    assert found.tracks == {"added": 1, "removed": 0, "common": 40}
    assert found.moved == []
    assert main(["release", "diff", str(first.folder), str(second.folder)]) == 0
    assert "  6 labels changed, 4 by adjudication\n" in capfd.readouterr().out
    assert main(["release", "diff", str(second.folder), str(first.folder), "--json"]) == 0
    back = json.loads(capfd.readouterr().out)
    assert (back["labels_changed"], back["rows"]["removed"]) == (6, 2)
    assert str(diff(first.folder, first.folder)) == "set v1 and set v1 are of the same inputs"


def test_diff_of_no_release_names_the_versions_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    done = made(tmp_path)
    assert main(["release", "diff", str(done.folder), str(done.folder.parent)]) == 2
    assert "name one of its versions: v1" in capsys.readouterr().err
    assert main(["release", "diff", str(done.folder)]) == 2
    assert "name two versions" in capsys.readouterr().err


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
