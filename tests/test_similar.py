"""What is the same recording, what only sounds alike, and an index that survives kills and crowds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.instruments import SAMPLE_RATE, open_synthesizer
from extractors import encode
from extractors.fingerprint import Fingerprint, code
from pipelines.part import StoreError
from pipelines.rows import KEYS, arrow_field
from pipelines.similar import landmarks as landmark_index
from pipelines.similar import search as searching
from pipelines.similar.duplicates import closure, duplicate_groups, groups, near_pairs
from pipelines.similar.landmarks import Heard, build
from pipelines.similar.lookup import Landmarks
from pipelines.similar.matching import ALIKE, Match, candidates, chance, matches, query
from pipelines.similar.search import by_embedding, search
from pipelines.similar.similar import pooled, resolve, similar
from pipelines.store import Store
from tests.benchmarks.fingerprint import backgrounds, collection, measured, pink, rendered, treatments, with_noise
from tests.collection import ROOT, earmark
from tests.pieces import piece

RECIPE = ROOT / "pipelines/recipes/fingerprint.toml"
Columns = list[tuple[str, list[float]]]


def heard_store(folder: Path, sounds: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> Store:
    """A store whose fingerprints are given: for each recording the hashes and frames of its clips of 30 s."""
    from extractors.extractor import Column

    store = Store(folder)
    extractor = Fingerprint()
    for part, (track, clips) in enumerate(sounds.items()):
        rows = {
            "clip_id": [f"{track}{at}" for at in range(len(clips))],
            "view": pa.array([0] * len(clips), pa.int32()),
            "track_id": [track] * len(clips),
            "start": [30.0 * at for at in range(len(clips))],
            "seconds": [30.0] * len(clips),
            "hashes": pa.array([clip[0].tolist() for clip in clips], pa.list_(pa.uint32())),
            "frames": pa.array([clip[1].tolist() for clip in clips], pa.list_(pa.int32())),
        }
        fields = [*KEYS, *(arrow_field(each) for each in extractor.columns(30.0))]
        footer = {"earmark": json.dumps({"extractor": extractor.identity()})}
        assert all(isinstance(each, Column) for each in extractor.columns(30.0))
        store.publish("fingerprint", f"{part:04}", pa.table(rows, pa.schema(fields, metadata=footer)), "v")
    store.remember({}, {"fingerprint": "v"})
    return store


def chance_landmarks(seed: int, count: int = 3000, frames: int = 1800) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << 22, count), np.sort(rng.integers(0, frames, count))


def embedded_store(folder: Path, clips: Columns, uris: dict[str, str] | None = None) -> Store:
    """A store with one table of embeddings: rows of (track_id, vector), the clips of a track 10 s apart."""
    store = Store(folder)
    seen: dict[str, int] = {}
    rows = []
    for track, vector in clips:
        at = seen[track] = seen.get(track, -1) + 1
        rows.append((f"{track}-{at}", 0, track, 10.0 * at, 10.0, vector))
    field = pa.field("vector", pa.list_(pa.float32(), len(clips[0][1])), metadata={"shape": json.dumps([len(clips[0][1])])})
    columns = [pa.array(each, kind) for each, kind in zip(zip(*rows, strict=True), [*KEYS.types, field.type], strict=True)]
    store.publish("emb", "part", pa.Table.from_arrays(columns, schema=pa.schema([*KEYS, field])), "v")
    named = uris or {track: f"/music/{track}.flac" for track in seen}
    store.publish("tracks", "part", pa.table({"track_id": list(named), "uri": list(named.values())}))
    return store


# What is found


@pytest.mark.slow
def test_three_seconds_find_their_piece_through_noise_coding_and_equalisers_and_no_stranger_matches(tmp_path: Path) -> None:
    sounds, strangers = rendered(40), rendered(40, 500, 4.0)
    store, numbers = collection(tmp_path, sounds)
    index = Landmarks(store)
    noises = backgrounds()
    right = []
    for name, treat in treatments({name: noises[name] for name in ("white", "pink", "music")}).items():
        if name.endswith((" 10 dB", " 15 dB")):  # easier than what is heard anyway
            continue
        row = measured(index, numbers, sounds, strangers, treat)
        assert row["strangers"] == row["wrong"] == 0, name
        assert row["right"] >= 0.8, name
        right.append(row["right"])
    assert np.mean(right) >= 0.975


@pytest.mark.slow
def test_copies_are_one_group_and_other_dresses_of_the_score_are_not(tmp_path: Path) -> None:
    synthesizer = open_synthesizer()
    rng = np.random.default_rng(0)
    song, other = (piece(synthesizer, number, 20.0) for number in (7, 8))
    files = {
        "song.flac": song,
        "song.wav": song,
        "song.mp3": song,
        "excerpt.ogg": song[5 * SAMPLE_RATE : 9 * SAMPLE_RATE],
        "noisy.flac": with_noise(song, pink(rng, len(song)), 10) / 4,
        "dressed.flac": piece(synthesizer, 7, 20.0, dressed=1),
        "other.flac": other,
        "silence.flac": np.zeros(SAMPLE_RATE * 5, np.float32),
        "short.flac": other[:100],
    }
    (tmp_path / "audio").mkdir()
    for name, sound in files.items():
        encode.write(tmp_path / "audio" / name, sound, SAMPLE_RATE, kbps=64 if name.endswith("mp3") else None)
    store = tmp_path / "store"
    earmark("scan", tmp_path / "audio", "--store", store)
    earmark("run", RECIPE, "--store", store, "--engine", "local")
    found = earmark("duplicates", "--store", store)
    named = {row["track_id"]: Path(row["uri"]).name for row in Store(store).read("tracks").to_pylist()}  # type: ignore[union-attr]
    assert found["groups"] == groups(Store(store))
    alike: dict[str, set[str]] = {}
    for track, group in found["groups"].items():
        alike.setdefault(group, set()).add(named[track])
    copies = {"song.flac", "song.wav", "song.mp3", "excerpt.ogg", "noisy.flac"}
    assert sorted(alike.values(), key=len)[-1] == copies
    assert all(len(each) == 1 for each in alike.values() if each != copies)
    assert set(named.values()) - {name for each in alike.values() for name in each} == set()
    # The excerpt begins at 5 s of the song; which of the two is `other` hangs on their bytes.
    offsets = {(named[pair["track_id"]], named[pair["other"]]): pair["offset"] for pair in found["pairs"] if pair["why"] == "fingerprint"}
    offset = offsets.get(("excerpt.ogg", "song.flac"), -offsets.get(("song.flac", "excerpt.ogg"), 0.0))
    assert offset == pytest.approx(5.0, abs=0.02)
    pairs = duplicate_groups(Store(store))
    assert {(pair["track_id"], pair["other"]) for pair in found["pairs"]} == {pair[:2] for pair in pairs}
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")}
    assert earmark("duplicates", "--store", store) == found
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")} == before


def test_a_query_of_noise_or_nothing_matches_nothing(tmp_path: Path) -> None:
    store = heard_store(tmp_path, {f"t{number}": [chance_landmarks(number)] for number in range(50)})
    build(store)
    index = Landmarks(store)
    rng = np.random.default_rng(9)
    sounds = [
        query(Fingerprint(), sound.astype(np.float32), 8000)
        for sound in (rng.normal(size=24_000), np.zeros(24_000), np.zeros(0), np.full(24_000, 0.3), rng.normal(size=10))
    ]
    assert matches(index, sounds) == [[], [], [], [], []]


def test_an_excerpt_is_found_at_its_offset_across_the_clips_of_its_recording(tmp_path: Path) -> None:
    clips = [chance_landmarks(1), chance_landmarks(2)]
    store = heard_store(tmp_path, {"aa": clips, "bb": [chance_landmarks(3)]})
    build(store)
    rate = 8000 / 128
    taken = (clips[1][1] >= 500) & (clips[1][1] < 700)
    sound = Heard("", clips[1][0][taken].astype(np.uint32), clips[1][1][taken] - 500)
    [[match]] = matches(Landmarks(store), [sound])
    assert match.track_id == "aa"
    assert match.offset == pytest.approx(30.0 + 500 / rate, abs=1e-3)
    # 200 frames are 13 slices at most, and no slice counts for more than two.
    assert match.score == 2 * len(np.unique((clips[1][1][taken] - 500) // 16))


def test_a_chord_in_common_is_no_match_however_many_landmarks_it_has(tmp_path: Path) -> None:
    chord = (np.arange(400) * 977, np.repeat(np.arange(40), 10))
    store = heard_store(tmp_path, {"aa": [chord], "bb": [chance_landmarks(3)]})
    build(store)
    sound = Heard("", chord[0].astype(np.uint32), chord[1].astype(np.int64))
    best = candidates(Landmarks(store), [sound])[0][0]
    assert (best.track_id, best.score) == ("aa", 2 * 3)
    assert not best.sure


def test_chance_bounds_how_often_scattered_landmarks_agree() -> None:
    # Oracle: the very model, drawn. 2000 cells of Poisson(ALIKE * 0.5) agreements.
    drawn = np.random.default_rng(0).poisson(ALIKE * 0.5, (500, 2000))
    for score in (6, 8):
        expected = float((drawn >= score).sum(1).mean())
        assert chance(np.array([score]), 0.5, 2000)[0] == pytest.approx(expected, rel=0.25)
    assert not Match("a", 40, 0.0, 0.9, 0.1).sure
    assert not Match("a", 5, 0.0, 0.9, 1e-9).sure
    assert not Match("a", 40, 0.0, 0.1, 1e-9).sure
    assert Match("a", 40, 0.0, 0.9, 1e-9, 30).sure


def test_the_fewer_landmarks_agree_the_more_pitches_and_the_weaker_rivals_it_takes() -> None:
    assert [Match("a", score, 0.0, 0.9, 1e-9, 6, 0).sure for score in (17, 18)] == [False, True]
    # 18 + 2.5 × 6 = 33 = 16 + 0.5 × 9 + 6.25 × 2.
    assert [Match("a", 16, 0.0, 0.9, 1e-9, 6, pitches, 2.0).sure for pitches in (8, 9)] == [False, True]
    assert not Match("a", 16, 0.0, 0.9, 1e-9, 7, 9, 2.0).sure
    # A rival below 5 is no better than 5: 18 + 2.5 × 5 = 30.5 = 16 + 0.5 × 4 + 6.25 × 2.
    assert [Match("a", 16, 0.0, 0.9, 1e-9, 0, pitches, 2.0).sure for pitches in (3, 4)] == [False, True]
    # e landmarks at a moment cost as much as six pitches; and a span counts for 2.56 s at most: 16.
    assert [Match("a", 16, 0.0, 0.9, 1e-9, 5, pitches, 2.0, math.e).sure for pitches in (9, 10)] == [False, True]
    assert [Match("a", 10, 0.0, 0.9, 1e-9, 5, pitches, 99.0).sure for pitches in (8, 9)] == [False, True]
    assert [Match("a", score, 0.0, 0.9, 1e-9, 5, 40, 2.56).sure for score in (9, 10)] == [False, True]


def test_landmarks_that_agree_in_few_pitches_count_less_than_as_many_in_many(tmp_path: Path) -> None:
    # Eight slices, two landmarks in each: once of two pitches over and over, once of sixteen.
    frames = np.arange(8).repeat(2) * 16
    times = 1 + np.arange(16)
    steady = code(np.tile([100, 140], 8), np.full(16, 5), times), frames
    moving = code(100 + 10 * np.arange(16), np.full(16, 5), times), frames
    store = heard_store(tmp_path, {"aa": [steady], "bb": [moving]})
    build(store)
    index = Landmarks(store)
    found = [candidates(index, [Heard("", hashes, begun)])[0][0] for hashes, begun in (steady, moving)]
    assert [(each.track_id, each.score, each.pitches, each.sure) for each in found] == [("aa", 16, 2, False), ("bb", 16, 16, True)]
    # As many where either side may be a frame off.
    assert candidates(index, [Heard("", *moving)], width=2)[0][0].pitches == 16


# The index


def test_the_index_grows_by_new_shards_and_rewrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = {f"t{number}": [chance_landmarks(number)] for number in range(4)}
    store = heard_store(tmp_path / "s", dict(list(sounds.items())[:2]))
    assert build(store) == 2
    assert build(store) == 0
    before = {path: path.read_bytes() for path in Path(store.folder("landmarks")).rglob("*.parquet")}
    assert len(before) == 16
    heard_store(tmp_path / "s", sounds)
    assert build(store) == 2
    after = {path: path.read_bytes() for path in Path(store.folder("landmarks")).rglob("*.parquet")}
    assert len(after) == 32
    assert {path: after[path] for path in before} == before
    whole = heard_store(tmp_path / "w", sounds)
    monkeypatch.setattr(landmark_index, "GROUP", 1)  # a group for each shard
    build(whole)
    assert len(list(Path(whole.folder("landmarks")).rglob("*.parquet"))) == 64
    sound = Heard("", sounds["t3"][0][0][:400].astype(np.uint32), sounds["t3"][0][1][:400])
    found = [matches(Landmarks(each), [sound]) for each in (store, whole)]
    assert found[0] == found[1]
    assert [match.track_id for match in found[0][0]] == ["t3"]


def test_a_group_that_a_kill_left_incomplete_counts_for_nothing_and_is_made_again(tmp_path: Path) -> None:
    store = heard_store(tmp_path, {"aa": [chance_landmarks(1)]})
    build(store)
    parts = sorted(Path(store.folder("landmarks")).rglob("*.parquet"))
    kept = {path: path.read_bytes() for path in parts}
    for path in parts[:3]:  # the parts of a group are written from the last to the first
        path.unlink()
    assert Landmarks(store).lengths == {}
    assert build(store) == 1
    assert {path: path.read_bytes() for path in Path(store.folder("landmarks")).rglob("*.parquet")} == kept


def test_parts_hold_their_prefix_alone_in_order(tmp_path: Path) -> None:
    hashes, frames = chance_landmarks(1)
    store = heard_store(tmp_path, {"aa": [(hashes, frames)]})
    build(store)
    rows = 0
    for path in Path(store.folder("landmarks")).rglob("*.parquet"):
        held = pq.read_table(path)
        values = held["hash"].to_numpy()
        assert (np.diff(values.astype(np.int64)) >= 0).all()
        assert set(values >> 18) <= {int(path.name[0], 16)}
        rows += len(values)
    assert rows == len(np.unique(hashes.astype(np.int64) << 24 | frames))


def test_a_lookup_reads_only_row_groups_that_may_hold_its_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_index, "ROW_GROUP_BYTES", 2000)
    store = heard_store(tmp_path, {"aa": [chance_landmarks(1, 20_000)]})
    build(store)
    read: list[int] = []
    original = pq.ParquetFile.read_row_groups

    def counted(self: pq.ParquetFile, row_groups: list[int], *rest: object, **more: object) -> pa.Table:
        read.append(len(row_groups))
        assert len(row_groups) < self.num_row_groups / 4
        return original(self, row_groups, *rest, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    hashes, frames = chance_landmarks(1, 20_000)
    which, tracks, found = next(Landmarks(store).hits(hashes[:1].astype(np.uint32)))
    assert read == [1]
    assert frames[0] in found
    assert set(which) == set(tracks) == {0}


def test_hits_are_those_of_a_plain_join(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sounds = {f"t{number}": [(rng.integers(0, 50, 200) * 70_000, np.sort(rng.integers(0, 1000, 200)))] for number in range(5)}
    store = heard_store(tmp_path, sounds)
    build(store)
    index = Landmarks(store)
    asked = (rng.integers(0, 60, 30) * 70_000).astype(np.uint32)
    found = set()
    for which, tracks, frames in index.hits(asked):
        found |= {(int(a), index.tracks[int(b)], int(c)) for a, b, c in zip(which, tracks, frames, strict=True)}
    expected = {
        (row, track, int(frame))
        for row, value in enumerate(asked)
        for track, [(hashes, frames)] in sounds.items()
        for held, frame in zip(hashes, frames, strict=True)
        if held == value
    }
    assert found == expected
    assert len(expected) > 100


def test_a_hash_that_thousands_of_recordings_share_is_passed_over(tmp_path: Path) -> None:
    steady = (np.full(1500, 77), np.arange(1500))
    store = heard_store(tmp_path, {"aa": [steady], "bb": [steady], "cc": [chance_landmarks(1)]})
    build(store)
    index = Landmarks(store)
    assert index.common == 1000
    assert [*index.hits(np.array([77], np.uint32))] == [] or all(len(each[0]) == 0 for each in index.hits(np.array([77], np.uint32)))
    assert search(store).pairs == []


def test_a_loop_matches_its_copy_and_neither_itself_nor_others(tmp_path: Path) -> None:
    hashes, frames = chance_landmarks(1, 300, 120)
    loop = (np.tile(hashes, 15), np.concatenate([frames + 120 * turn for turn in range(15)]))
    store = heard_store(tmp_path, {"aa": [loop], "bb": [loop], "cc": [chance_landmarks(2)]})
    found = search(store)
    [pair] = found.pairs
    assert (pair.track_id, pair.other, pair.offset) == ("aa", "bb", 0.0)
    assert found.groups == {"aa": "aa", "bb": "aa", "cc": "cc"}


def test_fewer_hashes_are_compared_where_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = chance_landmarks(1, 9000)
    store = heard_store(tmp_path, {"aa": [same], "bb": [same], "cc": [chance_landmarks(2)]})
    assert search(store).share == 1
    monkeypatch.setattr(searching, "WORK", 150)
    found = search(store)
    assert found.share < 0.5
    assert "of the hashes were compared" in str(found)
    assert [(pair.track_id, pair.other) for pair in found.pairs] == [("aa", "bb")]


def test_without_fingerprints_one_line_names_the_recipe(tmp_path: Path) -> None:
    for store in (Store(tmp_path / "empty"), embedded_store(tmp_path / "embedded", [("aa", [1.0, 0.0])])):
        with pytest.raises(
            StoreError, match=r"no fingerprints; run a recipe that has them: earmark run pipelines/recipes/fingerprint.toml"
        ):
            search(store)
        with pytest.raises(StoreError, match="nobody has looked for duplicates; 'earmark duplicates --store"):
            groups(store)


# Near embeddings


def test_near_pairs_are_those_of_all_products() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(40, 8)), 5, 0) + 0.05 * rng.normal(size=(200, 8))
    left, right, cosines = near_pairs(vectors.astype(np.float32), 0.99)
    length = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    products = length @ length.T
    expected = np.argwhere(np.triu(products >= 0.99, 1))
    np.testing.assert_array_equal(np.stack([left, right], 1), expected)
    np.testing.assert_allclose(cosines, products[left, right], atol=1e-5)
    assert len(expected) > 50


def test_a_crowd_of_near_vectors_is_joined_without_listing_all_its_pairs() -> None:
    rng = np.random.default_rng(1)
    # A chain along a circle, each near its neighbours only, in which every vector stands 30 times; and a crowd apart.
    angles = np.repeat(np.arange(40) * 0.1, 30)
    chain = np.stack([np.cos(angles), np.sin(angles), np.zeros(1200)], 1)
    crowd = np.array([0.0, 0.0, 1.0]) + 1e-4 * rng.normal(size=(500, 3))
    vectors = np.concatenate([chain, crowd]).astype(np.float32)
    left, right, _ = near_pairs(vectors, float(np.cos(0.11)), limit=8)
    assert len(left) < 20 * len(vectors)
    group = closure(map(str, range(len(vectors))), ((str(a), str(b)) for a, b in zip(left, right, strict=True)))
    assert len({group[str(row)] for row in range(1200)}) == 1
    assert len({group[str(row)] for row in range(1200, 1700)}) == 1
    assert group["0"] != group["1200"]


def test_silence_and_nan_are_near_nothing() -> None:
    vectors = np.array([[0, 0], [0, 0], [np.nan, 1], [np.nan, 1], [1, 0], [2, 0]], np.float32)
    left, right, cosines = near_pairs(vectors, 0.9)
    assert (left.tolist(), right.tolist(), cosines.tolist()) == ([4], [5], [1.0])
    assert [each.tolist() for each in near_pairs(vectors[:1], 0.9)] == [[], [], []]
    with pytest.raises(ValueError, match="near: 0 is no cosine above 0"):
        near_pairs(vectors, 0)


def test_recordings_are_near_as_a_whole(tmp_path: Path) -> None:
    from pipelines.embeddings import embeddings

    store = embedded_store(
        tmp_path,
        [("bb", [1, 0]), ("bb", [0, 1]), ("aa", [0, 5]), ("aa", [3, 0]), ("cc", [1, 0]), ("dd", [0, 0]), ("ee", [1, 0]), ("ee", [-1, 0])],
    )
    found = embeddings(store, "emb", "vector")
    tracks, vectors = pooled(found)
    assert tracks == ["aa", "bb", "cc"]  # dd is silent, ee's clips cancel out
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-6)
    [pair] = by_embedding(found, 0.98)
    assert (pair.track_id, pair.other, pair.why, pair.offset) == ("aa", "bb", "embedding", None)
    assert pair.score == pytest.approx(1.0)


def test_the_nearest_come_first_with_the_moments_that_are_most_alike(tmp_path: Path) -> None:
    def at(degrees: float) -> list[float]:
        return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]

    store = embedded_store(tmp_path, [("aa", at(0)), ("aa", at(20)), ("bb", at(100)), ("cc", at(70)), ("cc", at(30)), ("dd", at(12))])
    found = similar(store, "aa", "emb", "vector", count=2)
    assert [each.track_id for each in found] == ["dd", "cc"]
    assert [each.cosine for each in found] == pytest.approx([np.cos(np.radians(2)), np.cos(np.radians(40))], abs=1e-6)
    # Of cc the second clip, 10 s in, is nearest to aa's second.
    assert (found[1].here, found[1].there) == (10.0, 10.0)
    assert found[1].clip_cosine == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert found[0].uri == "/music/dd.flac"
    printed = earmark("similar", "dd.flac", "--store", tmp_path, "--embeddings", "emb.vector")
    assert [each["track_id"] for each in printed["similar"]] == ["aa", "cc", "bb"]


def test_a_name_means_one_recording_or_names_those_that_it_fits(tmp_path: Path) -> None:
    uris = {"ab12": "/a/song.flac", "ab34": "/b/song.flac", "cd56": "/b/ab12", "ef\n7": "/b/line\nbreak.ogg"}
    store = embedded_store(tmp_path, [(track, [1.0, 0.0]) for track in uris], uris)
    assert resolve(store, "ab12") == ("ab12", "/a/song.flac")
    assert resolve(store, "/b/song.flac") == ("ab34", "/b/song.flac")
    assert resolve(store, "cd") == ("cd56", "/b/ab12")
    assert resolve(store, "line\nbreak") == ("ef\n7", "/b/line\nbreak.ogg")
    with pytest.raises(StoreError, match=r"^'song' is 2 recordings: ab12 \('/a/song.flac'\), ab34 \('/b/song.flac'\); say which"):
        resolve(store, "song")
    with pytest.raises(StoreError, match="'ab' is 2 recordings"):
        resolve(store, "ab")
    for nobody in ("xyz", ""):
        with pytest.raises(StoreError, match=f"no recording is called '{nobody}'"):
            resolve(store, nobody)
    with pytest.raises(StoreError, match="no tracks yet"):
        resolve(Store(tmp_path / "nothing"), "ab12")


def test_a_recording_without_a_vector_is_said_to_have_none(tmp_path: Path) -> None:
    uris = {name: f"/music/{name}.flac" for name in ("aa", "bb", "cc")}
    store = embedded_store(tmp_path, [("aa", [1.0, 0.0]), ("bb", [float("nan"), 0.0])], uris)
    with pytest.raises(StoreError, match=r"bb has nothing in emb\.vector: its vector is zero or not a number"):
        similar(store, "bb", "emb", "vector")
    with pytest.raises(StoreError, match=r"cc has nothing in emb\.vector: the run that made 'emb' left it out"):
        similar(store, "cc", "emb", "vector")
    with pytest.raises(ValueError, match="count needs to be at least 1, got 0"):
        similar(store, "aa", "emb", "vector", 0)
    assert similar(store, "aa", "emb", "vector") == []
