"""What the catalogue holds: the columns of `tracks` and `aliases`, and which recordings have moved."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

if TYPE_CHECKING:
    from pipelines.store import Store

TRACKS = pa.schema(
    [
        ("track_id", pa.string()),  # from the file's bytes
        ("uri", pa.string()),  # where it was first found
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("format", pa.string()),
        ("seconds", pa.float64()),
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        ("title", pa.string()),
        ("artist", pa.string()),
        ("album", pa.string()),
        ("license", pa.string()),
        ("license_source", pa.string()),  # "manifest", "tag" or null
        ("group", pa.string()),
        ("modified", pa.float64()),  # seconds since 1970; null where the filesystem does not say
        ("scanned_at", pa.timestamp("us", tz="UTC")),
    ]
)

# What later scans saw: a further place of a track, a place left (present is false), a file touched but not changed.
# Rows are added, never altered; the latest on a uri, here or in `tracks`, holds.
ALIASES = pa.schema(
    [
        ("uri", pa.string()),
        ("track_id", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.float64()),
        ("present", pa.bool_()),
        ("scanned_at", pa.timestamp("us", tz="UTC")),
    ]
)


class Held(NamedTuple):
    """The latest word on one uri: the track that it holds, or held when it was last there."""

    track_id: str
    bytes: int
    modified: float | None
    present: bool


def moved(store: Store) -> dict[str, str]:
    """Where to find the tracks that no longer lie at their `uri` in `tracks` but, by a later scan, elsewhere.

    Memory grows with `aliases`, and `tracks` are passed over once for a catalogue, however many of its files have left.

    Returns:
        track_id to uri; empty for most stores.
    """
    aliases = tuple(store.names("aliases"))
    return _moved(store.root, aliases, tuple(store.names("tracks"))) if aliases else {}


@functools.lru_cache(maxsize=1)
def _moved(root: str, alias_parts: tuple[str, ...], track_parts: tuple[str, ...]) -> dict[str, str]:
    from pipelines.store import Store

    store = Store(root)
    aliases = store.read("aliases", ["uri", "track_id", "present", "scanned_at"], alias_parts)
    if aliases is None or not track_parts:
        return {}
    # Only a track with an alias can have moved, and only the words on its places tell.
    candidates = pc.unique(aliases.filter(aliases["present"])["track_id"])
    tracks = store.table("tracks").dataset
    first = {row["track_id"]: row["uri"] for row in _where(tracks, ["track_id", "uri"], "track_id", candidates)}
    uris = pa.array({*first.values(), *aliases["uri"].to_pylist()}, pa.string())
    words = [{**row, "present": True} for row in _where(tracks, ["uri", "track_id", "scanned_at"], "uri", uris)] + aliases.to_pylist()
    latest = {row["uri"]: row for row in sorted(words, key=lambda row: row["scanned_at"])}
    lies: dict[str, str] = {}
    for uri, row in sorted(latest.items(), reverse=True):
        if row["present"]:
            lies[row["track_id"]] = uri
    left = {track_id for track_id, uri in first.items() if not (latest[uri]["present"] and latest[uri]["track_id"] == track_id)}
    return {track_id: uri for track_id, uri in lies.items() if track_id in left}


def _where(tracks: pads.Dataset, columns: list[str], column: str, values: pa.Array) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tracks.to_table(columns=columns, filter=pads.field(column).isin(values)).to_pylist()
    return rows


def table(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Rows, each a tuple in the schema's order, as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.Table.from_arrays([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema)
