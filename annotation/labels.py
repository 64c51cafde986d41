"""What is said about sound: rows of one kind, whoever says it."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from uuid import uuid4

from annotation.foreign import parquet
from annotation.kinds import check

if TYPE_CHECKING:
    import pyarrow as pa

AuthorKind = Literal["model", "person", "gold", "consensus"]
AUTHOR_KINDS = get_args(AuthorKind)


@dataclass(frozen=True)
class Label:
    """One statement by one author about a stretch of a clip or a track.

    kind: what is spoken of; these are known, and others are welcome. A taxonomy may follow after a dot: "tag.gtzan".
        "tag", "instrument", "singing_voice" ("yes", "no"), "music_speech" ("music", "speech", "both", "neither"),
        "key" ("F# minor", "N"), "tempo" (beats per minute), "meter" ("6/8"), "beat" (its number in the bar, from 1), "downbeat" ("1"),
        "onset", "chord" (Harte's syntax: "F#:min7/b3", "N"), "note" (MIDI pitch, 60 is middle C, and velocity: "60", "60.5 92"),
        "section", "pitch_contour" (Hz: "440.0", negative where unvoiced), "text", "composer", "license".
    value: what is said, as text; annotation.kinds reads it.
    author: who says it. author_kind: a model's guess, a person's vote, a gold answer (true by construction or by an expert),
        or a consensus of votes.
    start, duration: seconds from the beginning of the clip, or of the track where clip_id is None. Duration 0 is a moment;
        both None: the whole.
    confidence: 0 to 1; None where none was given.
    campaign: the campaign in which it was asked. at: when it was said, with a time zone; None where that means nothing.
    replaces: label_id of the row that this one corrects. Rows are never changed; a correction is a further row.
    view_id: the view of the clip that was listened to, if it was not the clip itself; times and pitches are those of the view.
    """

    kind: str
    value: str
    author: str
    author_kind: AuthorKind
    track_id: str
    clip_id: str | None = None
    start: float | None = None
    duration: float | None = None
    confidence: float | None = None
    campaign: str | None = None
    at: datetime | None = None
    replaces: str | None = None
    view_id: str | None = None

    def __post_init__(self) -> None:
        # Millions of labels pass here: no loop, and values are looked at where they come in (read).
        if self.author_kind not in AUTHOR_KINDS:
            raise ValueError(f"label.author_kind: {self.author_kind!r} is not one of {', '.join(AUTHOR_KINDS)}")
        if self.start is not None and not 0 <= self.start < math.inf:
            raise ValueError(f"label.start: {self.start} is not between 0 and inf")
        if self.duration is not None and not 0 <= self.duration < math.inf:
            raise ValueError(f"label.duration: {self.duration} is not between 0 and inf")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"label.confidence: {self.confidence} is not between 0 and 1")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError(f"label.at: {self.at.isoformat()} has no time zone; datetime.now(UTC) has one")

    @property
    def label_id(self) -> str:
        """20 hex digits of everything that the row says, so that the same statement is the same row.

        >>> Label("key", "C major", "score", "gold", "e3b0c44298fc1c149afb").label_id
        'e4a0749a1e132e2d99db'
        """
        said = dict(vars(self))
        said |= {name: float(said[name]) for name in ("start", "duration", "confidence") if said[name] is not None}
        if self.view_id is None:  # rows that were named before there were views keep their names
            del said["view_id"]
        said["at"] = self.at.astimezone(UTC).isoformat(timespec="microseconds") if self.at else None
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]


def overlaps(start: float, duration: float | None, begin: float, seconds: float) -> bool:
    """Whether a stretch, or a moment, lies in a clip; one that ends where the clip begins, or begins where it ends, does not.

    Args:
        start, duration: seconds of the recording, as in `Label`. begin, seconds: of the clip.

    >>> overlaps(1.0, 2.0, 3.0, 3.0), overlaps(1.0, 2.5, 3.0, 3.0), overlaps(3.0, 0.0, 3.0, 3.0), overlaps(6.0, 0.0, 3.0, 3.0)
    (False, True, True, False)
    """
    return start < begin + seconds and (start + duration > begin if duration else start >= begin)


def schema() -> pa.Schema:
    """The Arrow schema of the table of labels; its key is label_id."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            pa.field("label_id", text, nullable=False),
            pa.field("clip_id", text),
            pa.field("track_id", text, nullable=False),
            pa.field("kind", text, nullable=False),
            pa.field("start", pa.float64()),
            pa.field("duration", pa.float64()),
            pa.field("value", text, nullable=False),
            pa.field("author", text, nullable=False),
            pa.field("author_kind", text, nullable=False),
            pa.field("confidence", pa.float64()),
            pa.field("campaign", text),
            pa.field("at", pa.timestamp("us", tz="UTC")),
            pa.field("replaces", text),
            pa.field("view_id", text),
        ]
    )


def table(labels: Iterable[Label]) -> pa.Table:
    """Labels as a table of `schema`, in their order; a statement made twice is one row."""
    import pyarrow as pa

    rows = list(dict.fromkeys(labels))
    return pa.table({field.name: [getattr(row, field.name) for row in rows] for field in schema()}, schema=schema())


def from_rows(rows: pa.Table) -> list[Label]:
    """Labels from a table of `schema`, in its order; columns that may be null may be absent. Values are not looked at.

    Raises:
        ValueError: a row that is no label.
    """
    present = set(rows.column_names)
    nothing = [None] * rows.num_rows
    columns = (rows[field.name].to_pylist() if field.name in present else nothing for field in fields(Label))
    return [Label(*row) for row in zip(*columns, strict=True)]


def read(path: str | Path) -> list[Label]:
    """Labels from a Parquet file, such as the labels.parquet of `earmark synthesize`.

    Columns that may be null may be absent, and so may label_id, as it follows from the others.

    Raises:
        ValueError: no such file, not a table of labels, or a row that is no label or whose value means nothing: one line.
    """
    try:
        rows = _conform(parquet(path, [field.name for field in schema()]), path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
    try:
        labels = from_rows(rows)
    except (ValueError, OverflowError):  # of times after the year 9999
        _blame(rows, path)
        raise
    places = {(label.kind, label.value): row for row, label in zip(range(len(labels), 0, -1), reversed(labels), strict=True)}
    for (kind, value), row in places.items():
        try:
            check(kind, value)
        except ValueError as error:
            raise ValueError(f"{path}, row {row}: {error}") from None
    return labels


def write(labels: Iterable[Label], path: str | Path) -> None:
    """Labels as a Parquet file, whole or absent; a statement made twice is one row.

    Raises:
        OSError: the place cannot be written.
    """
    import pyarrow.parquet as pq

    with unfinished(path) as beside:
        pq.write_table(table(labels), beside, compression="zstd")


@contextmanager
def unfinished(path: str | Path) -> Iterator[Path]:
    """A name beside a path; what was written there takes the path's place in one step, or is gone if writing failed."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _conform(rows: pa.Table, path: str | Path) -> pa.Table:
    """The table with the columns and types of `schema`, as far as it has them.

    Raises:
        ValueError: a column is missing, of another type, or has nulls where a label needs a value.
    """
    import pyarrow as pa

    wanted = {field.name: field for field in schema()}
    needed = [name for name, field in wanted.items() if not field.nullable and name != "label_id"]
    if missing := [name for name in needed if name not in rows.column_names]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; labels need {', '.join(needed)}")
    columns = {}
    for name in rows.column_names:
        column, kind = rows[name], wanted[name].type
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            raise ValueError(f"{path}: column {name} has times without a time zone; store them with UTC")
        try:
            columns[name] = column.cast(kind)
        except pa.ArrowException as error:
            raise ValueError(f"{path}: column {name} is {column.type}, not {kind} ({str(error).splitlines()[0]})") from error
        if name in needed and column.null_count:
            raise ValueError(f"{path}, row {column.is_null().index(True).as_py() + 1}: no {name}")
    return pa.table(columns)


def _blame(rows: pa.Table, path: str | Path) -> None:
    """Raises: ValueError with the first row that is no label."""
    for row in range(rows.num_rows):
        try:
            from_rows(rows.slice(row, 1))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{path}, row {row + 1}: {error}") from None
