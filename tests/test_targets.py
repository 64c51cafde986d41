"""What is known of clips, as numbers to learn from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from annotation.labels import Label, table
from pipelines.embeddings import Embeddings, embeddings
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.targets import targets

AT = datetime(2026, 1, 1, tzinfo=UTC)


def clips(*names: str, seconds: float = 3.0) -> Embeddings:
    """Clips t-0, t-1, … of tracks t, one after another."""
    starts = np.array([float(name.split("-")[1]) * seconds for name in names])
    tracks = tuple(name.split("-")[0] for name in names)
    return Embeddings(names, tracks, starts, np.full(len(names), seconds), np.zeros((len(names), 2), np.float32))


def holding(folder: Path, labels: Iterable[Label]) -> Store:
    store = Store(folder)
    store.publish("labels", "all", table(labels))
    return store


def test_a_clip_that_was_spoken_of_lacks_what_was_not_said_and_of_others_nothing_is_known(tmp_path: Path) -> None:
    store = holding(
        tmp_path,
        [
            Label("tag.mood", "calm", "consensus:majority", "consensus", "a", "a-0", campaign="c"),
            Label("tag.mood", "wild", "consensus:majority", "consensus", "b", "b-0", campaign="c"),
            Label("nothing", "mood", "consensus:majority", "consensus", "b", "b-1", campaign="c"),
            Label("nothing", "key", "consensus:majority", "consensus", "b", "b-2", campaign="c"),
            Label("tag.mood", "calm", "ada", "person", "a", "a-1", campaign="c"),
        ],
    )
    found = targets(store, clips("a-0", "a-1", "b-0", "b-1", "b-2"), "tag.mood", "mood")
    assert found.tags == ("calm", "wild")
    unknown = [np.nan, np.nan]
    np.testing.assert_equal(found.values, np.array([[1, 0], unknown, [0, 1], [0, 0], unknown], np.float32))
    assert found.known.tolist() == [True, False, True, True, False]


def test_a_label_of_a_track_holds_for_its_clips_and_one_of_a_stretch_for_those_it_overlaps(tmp_path: Path) -> None:
    store = holding(
        tmp_path,
        [
            Label("instrument", "flute", "score", "gold", "a"),
            Label("instrument", "drums", "score", "gold", "b", start=2.0, duration=2.0),
        ],
    )
    found = targets(store, clips("a-0", "a-1", "b-0", "b-1", "b-2"), "instrument")
    assert found.tags == ("drums", "flute")
    np.testing.assert_equal(found.values, np.array([[0, 1], [0, 1], [1, 0], [1, 0], [0, 0]], np.float32))


def test_gold_is_heard_before_consensus(tmp_path: Path) -> None:
    said = [
        Label("tag", "calm", "expert", "gold", "a", "a-0"),
        Label("tag", "wild", "consensus:majority", "consensus", "a", "a-0", campaign="c"),
    ]
    store = holding(tmp_path, said)
    np.testing.assert_equal(targets(store, clips("a-0"), "tag", tags=["wild", "calm"]).values, [[0, 1]])
    turned = targets(store, clips("a-0"), "tag", author_kinds=("consensus",), campaign="other", tags=["wild"])
    np.testing.assert_equal(turned.values, [[np.nan]])


def test_what_was_corrected_is_not_known_any_more(tmp_path: Path) -> None:
    first = Label("tag", "calm", "consensus:majority", "consensus", "a", "a-0", campaign="c", at=AT)
    taken_back = Label("withdrawn", "", "consensus:majority", "consensus", "a", "a-0", campaign="c", at=AT, replaces=first.label_id)
    store = holding(tmp_path, [first, taken_back])
    assert targets(store, clips("a-0"), "tag", tags=["calm"]).known.tolist() == [False]


def test_a_store_without_labels_knows_nothing(tmp_path: Path) -> None:
    assert targets(Store(tmp_path), clips("a-0"), "tag").values.shape == (1, 0)


def test_embeddings_are_those_of_the_clips_themselves(tmp_path: Path) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2)
    keys = {"clip_id": ["a-0", "a-0", "b-0"], "view": [0, 1, 0], "track_id": ["a", "a", "b"], "start": [0.0] * 3, "seconds": [3.0] * 3}
    rows = pa.table({**{name: pa.array(values) for name, values in keys.items()}, "vector": vectors})
    field = pa.field("vector", vectors.type, metadata={"shape": "[2]"})
    store = Store(tmp_path)
    store.publish("net", "part", rows.cast(rows.schema.set(5, field)), "v")
    found = embeddings(store, "net", "vector")
    assert found.clips == ("a-0", "b-0")
    np.testing.assert_equal(found.vectors, np.array([[0, 1], [4, 5]], np.float32))
    with pytest.raises(StoreError, match="no column 'vectors'; there are clip_id, view"):
        embeddings(store, "net", "vectors")
    with pytest.raises(StoreError, match="'clip_id' of 'net' is string, not one vector a clip"):
        embeddings(store, "net", "clip_id")


def test_a_stretch_that_ends_where_a_clip_begins_is_not_in_it_and_a_moment_there_is(tmp_path: Path) -> None:
    said = [
        Label("instrument", "drums", "score", "gold", "a", start=0.0, duration=3.0),
        Label("instrument", "bell", "score", "gold", "a", start=3.0, duration=0.0),
        Label("instrument", "horn", "score", "gold", "a", start=6.0, duration=1.0),
    ]
    found = targets(holding(tmp_path, said), clips("a-0", "a-1", "a-2"), "instrument", tags=["drums", "bell", "horn"])
    np.testing.assert_equal(found.values, np.eye(3, dtype=np.float32))


def test_a_correction_of_another_question_says_nothing_about_this_one(tmp_path: Path) -> None:
    first = Label("key", "C major", "consensus:weighted", "consensus", "a", "a-0", campaign="c", at=AT)
    mended = Label("key", "G major", "consensus:weighted", "consensus", "a", "a-0", campaign="c", at=AT, replaces=first.label_id)
    silent = Label("nothing", "key", "consensus:weighted", "consensus", "a", "a-1", campaign="c", at=AT, replaces="0" * 20)
    calm = Label("tag.mood", "calm", "consensus:majority", "consensus", "a", "a-2", campaign="c", at=AT)
    found = targets(holding(tmp_path, [first, mended, silent, calm]), clips("a-0", "a-1", "a-2"), "tag.mood", "mood")
    np.testing.assert_equal(found.values, [[np.nan], [np.nan], [1]])


def test_gold_that_names_no_campaign_counts_beside_what_was_said_in_one(tmp_path: Path) -> None:
    said = [
        Label("tag", "calm", "expert", "gold", "a", "a-0"),
        Label("tag", "wild", "consensus:majority", "consensus", "a", "a-1", campaign="c"),
        Label("tag", "wild", "consensus:majority", "consensus", "a", "a-2", campaign="other"),
    ]
    found = targets(holding(tmp_path, said), clips("a-0", "a-1", "a-2"), "tag", campaign="c", tags=["calm", "wild"])
    np.testing.assert_equal(found.values, [[1, 0], [0, 1], [np.nan, np.nan]])
