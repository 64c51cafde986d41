"""Labels: one kind of row, named by what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.labels import Label, from_rows, read, schema, table, write

TRACK = "e3b0c44298fc1c149afb"
BEAT = Label("beat", "1", "mira", "person", TRACK, start=1.5, duration=0.0, confidence=0.9, at=datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_columns_are_those_of_the_table_of_labels() -> None:
    names = "label_id clip_id track_id kind start duration value author author_kind confidence campaign at replaces view_id"
    assert " ".join(schema().names) == names


def test_a_label_read_back_from_parquet_has_the_same_id(tmp_path: Path) -> None:
    pq.write_table(table([BEAT]), tmp_path / "labels.parquet")
    row = pq.read_table(tmp_path / "labels.parquet").to_pylist()[0]
    label_id = row.pop("label_id")
    assert Label(**row) == BEAT
    assert Label(**row).label_id == label_id == BEAT.label_id


@pytest.mark.parametrize(
    "change",
    [
        {"value": "2"},
        {"start": 1.6},
        {"author": "ada"},
        {"clip_id": "c"},
        {"confidence": 0.8},
        {"replaces": "x"},
        {"campaign": "spring"},
        {"view_id": "v"},
    ],
)
def test_whatever_is_said_otherwise_is_another_row(change: dict[str, Any]) -> None:
    said = {name: getattr(BEAT, name) for name in BEAT.__dataclass_fields__}
    assert Label(**(said | change)).label_id != BEAT.label_id


def test_the_same_moment_in_another_time_zone_and_whole_seconds_are_the_same_row() -> None:
    said = {name: getattr(BEAT, name) for name in BEAT.__dataclass_fields__}
    elsewhere = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert Label(**(said | {"at": elsewhere, "duration": 0})).label_id == BEAT.label_id


def test_a_statement_made_twice_is_one_row() -> None:
    assert table([BEAT, BEAT]).num_rows == 1


def test_no_labels_are_an_empty_table_with_all_columns() -> None:
    assert table([]).schema == schema()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"author_kind": "robot"}, "label.author_kind: 'robot' is not one of model, person, gold, consensus"),
        ({"start": -1.0}, "label.start: -1.0 is not between 0 and inf"),
        ({"duration": float("nan")}, "label.duration: nan is not between 0 and inf"),
        ({"confidence": 1.5}, "label.confidence: 1.5 is not between 0 and 1"),
        ({"at": datetime(2026, 3, 1)}, "label.at: 2026-03-01T00:00:00 has no time zone"),
    ],
)
def test_a_mistake_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    said = {name: getattr(BEAT, name) for name in BEAT.__dataclass_fields__}
    with pytest.raises(ValueError, match="^" + message):
        Label(**(said | change))


def test_an_id_is_what_it_was_before_there_were_views() -> None:
    assert Label("key", "C major", "score", "gold", "e3b0c44298fc1c149afb").label_id == "e4a0749a1e132e2d99db"


_seconds = st.none() | st.floats(0, 1e6)
_text = st.none() | st.text(st.characters(codec="utf-8"), max_size=5)
_moments = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
_labels = st.builds(
    Label,
    kind=st.sampled_from(["tag", "tag.mine", "range"]),
    value=st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(str.strip),
    author=st.sampled_from(["mira", "ada"]),
    author_kind=st.sampled_from(["model", "person", "gold", "consensus"]),
    track_id=st.just(TRACK),
    clip_id=_text,
    start=_seconds,
    duration=_seconds,
    confidence=st.none() | st.floats(0, 1),
    campaign=_text,
    at=_moments,
    replaces=_text,
    view_id=_text,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_labels, max_size=4, unique=True))
def test_labels_that_are_written_are_read_with_the_same_ids(tmp_path: Path, labels: list[Label]) -> None:
    path = tmp_path / "labels.parquet"
    write(labels, path)
    back = read(path)
    assert back == labels == from_rows(table(labels))
    assert [label.label_id for label in back] == pq.read_table(path)["label_id"].to_pylist()


def test_writing_replaces_a_file_in_one_step_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    write([BEAT], path)

    def breaks() -> Any:
        yield BEAT
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(breaks(), path)
    assert read(path) == [BEAT]
    assert [each.name for each in tmp_path.iterdir()] == ["labels.parquet"]


def test_columns_that_may_be_null_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(table([BEAT]).drop_columns(["view_id", "campaign", "label_id", "clip_id", "replaces"]), path)
    assert read(path) == [BEAT]


def test_other_types_that_hold_the_same_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    said = {"kind": ["beat"], "value": [1], "author": ["a"], "author_kind": ["gold"], "track_id": [TRACK], "start": [2]}
    pq.write_table(pa.table(said).set_column(0, "kind", pa.array(["beat"]).dictionary_encode()), path)
    assert read(path) == [Label("beat", "1", "a", "gold", TRACK, start=2.0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": ["1", "none"]}, ", row 2: beat 'none': not a number in the bar"),
        ({"kind": ["beat", None]}, ", row 2: no kind"),
        ({"start": [0.0, -1.0]}, ", row 2: label.start: -1.0 is not between 0 and inf"),
        ({"author_kind": ["robot", "gold"]}, ", row 1: label.author_kind: 'robot' is not one of model, person, gold, consensus"),
        ({"start": ["soon", "later"]}, ": column start is string, not double"),
        ({"at": [datetime(2026, 3, 1), None]}, ": column at has times without a time zone; store them with UTC"),
        ({"at": pa.array([None, 1 << 62], pa.timestamp("us", "UTC"))}, ", row 2: date value out of range"),
        ({"begin": [1.0, 2.0]}, ": begin: no column of labels; rename or drop it"),
        ({"author": None}, ": no column author; labels need track_id, kind, value, author, author_kind"),
    ],
)
def test_a_file_that_holds_no_labels_is_named_with_the_place(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "labels.parquet"
    said: dict[str, Any] = {
        "kind": ["beat"] * 2,
        "value": ["1", "2"],
        "author": ["a"] * 2,
        "author_kind": ["gold"] * 2,
        "track_id": [TRACK] * 2,
    }
    pq.write_table(pa.table({name: each for name, each in (said | change).items() if each is not None}), path)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}{message}")) as error:
        read(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_absent_or_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.parquet: no such file$"):
        read(tmp_path / "labels.parquet")
    (tmp_path / "labels.parquet").write_text("kind,value")
    with pytest.raises(ValueError, match=r"^\S*labels\.parquet: not a Parquet file that can be read \(.*\)$"):
        read(tmp_path / "labels.parquet")
