"""Splits of releases: what belongs together stays in one, and what does not is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation.labels import Label
from pipelines.embeddings import embeddings
from pipelines.gather import add
from pipelines.store import Store
from tests.making import HEAD, made, split_of
from tests.releasing import LABELS, catalogue, clip, collection, heard, tagged, track


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
