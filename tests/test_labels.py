"""Labels: one kind of row, named by what it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annotation.labels import Label, schema, table

TRACK = "e3b0c44298fc1c149afb"
BEAT = Label("beat", "1", "mira", "person", TRACK, start=1.5, duration=0.0, confidence=0.9, at=datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_columns_are_those_of_the_table_of_labels() -> None:
    names = "label_id clip_id track_id kind start duration value author author_kind confidence campaign at replaces"
    assert " ".join(schema().names) == names


def test_a_label_read_back_from_parquet_has_the_same_id(tmp_path: Path) -> None:
    pq.write_table(table([BEAT]), tmp_path / "labels.parquet")
    row = pq.read_table(tmp_path / "labels.parquet").to_pylist()[0]
    label_id = row.pop("label_id")
    assert Label(**row) == BEAT
    assert Label(**row).label_id == label_id == BEAT.label_id


@pytest.mark.parametrize(
    "change",
    [{"value": "2"}, {"start": 1.6}, {"author": "ada"}, {"clip_id": "c"}, {"confidence": 0.8}, {"replaces": "x"}, {"campaign": "spring"}],
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
