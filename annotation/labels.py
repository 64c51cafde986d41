"""What is said about sound: rows of one kind, whoever says it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import pyarrow as pa

AuthorKind = Literal["model", "person", "gold", "consensus"]


@dataclass(frozen=True)
class Label:
    """One statement by one author about a stretch of a clip or a track.

    kind: what is spoken of; these are known, and others are welcome:
        "key" ("F# minor"), "tempo" (beats per minute), "meter" ("6/8"), "instrument" (General MIDI's name),
        "note" (MIDI number, 60 is middle C), "beat" (its number in the bar, from 1), "downbeat" ("1"), "composer", "license".
    value: what is said, as text.
    author: who says it. author_kind: a model's guess, a person's vote, a gold answer (true by construction or by an expert),
        or a consensus of votes.
    start, duration: seconds from the beginning of the clip, or of the track where clip_id is None. Duration 0 is a moment;
        both None: the whole.
    confidence: 0 to 1; None where none was given.
    campaign: the campaign in which it was asked. at: when it was said, with a time zone; None where that means nothing.
    replaces: label_id of the row that this one corrects. Rows are never changed; a correction is a further row.
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

    def __post_init__(self) -> None:
        if self.author_kind not in get_args(AuthorKind):
            raise ValueError(f"label.author_kind: {self.author_kind!r} is not one of {', '.join(get_args(AuthorKind))}")
        for name, most in (("start", math.inf), ("duration", math.inf), ("confidence", 1.0)):
            value = getattr(self, name)
            if value is not None and not (0 <= value <= most and math.isfinite(value)):
                raise ValueError(f"label.{name}: {value} is not between 0 and {most:g}")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError(f"label.at: {self.at.isoformat()} has no time zone; datetime.now(UTC) has one")

    @property
    def label_id(self) -> str:
        """20 hex digits of everything that the row says, so that the same statement is the same row.

        >>> Label("key", "C major", "score", "gold", "e3b0c44298fc1c149afb").label_id
        'e4a0749a1e132e2d99db'
        """
        said = asdict(self)
        said |= {name: float(said[name]) for name in ("start", "duration", "confidence") if said[name] is not None}
        said["at"] = self.at.astimezone(UTC).isoformat(timespec="microseconds") if self.at else None
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]


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
        ]
    )


def table(labels: Iterable[Label]) -> pa.Table:
    """Labels as a table of `schema`, in their order; a statement made twice is one row."""
    import pyarrow as pa

    rows = [{"label_id": label.label_id, **asdict(label)} for label in dict.fromkeys(labels)]
    return pa.Table.from_pylist(rows, schema=schema())
