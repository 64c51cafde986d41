"""What the catalogue holds: the columns of `tracks` and `aliases`, and which recording lies where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from pipelines.manifest import Words

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


class Known:
    """Everything that earlier scans found.

    holds: by uri, the latest word on it.
    ids: of all tracks.
    at: the time to write on new rows, later than on all before.
    """

    def __init__(self, store: Store) -> None:
        self.holds: dict[str, Held] = {}
        self.ids: set[str] = set()
        self.at = datetime.now(UTC)
        columns = [name for name in ALIASES.names if name != "present"]
        tracks, aliases = store.read("tracks", columns), store.read("aliases")
        if tracks is None:
            return
        said = tracks.append_column("present", pa.array([True] * len(tracks)))
        if aliases is not None:
            said = pa.concat_tables([said.select(ALIASES.names), aliases.select(ALIASES.names)]).sort_by("scanned_at")
        for batch in said.select(["uri", *Held._fields]).to_batches(max_chunksize=10_000):
            values = [column.to_pylist() for column in batch.columns]
            self.ids.update(values[1])  # a million names twice would be seventy megabytes
            self.holds.update((uri, Held(*rest)) for uri, *rest in zip(*values, strict=True))
        # A clock set back must not make new rows older than what they replace.
        self.at = max(self.at, said["scanned_at"][len(said) - 1].as_py() + timedelta(microseconds=1))

    def places(self, track_ids: Iterable[str]) -> dict[str, list[str]]:
        """Where tracks lie, by the latest word: every uri, sorted."""
        found: dict[str, list[str]] = {track_id: [] for track_id in track_ids}
        for uri in sorted(uri for uri, held in self.holds.items() if held.present and held.track_id in found):
            found[self.holds[uri].track_id].append(uri)
        return found


def moved(store: Store) -> dict[str, str]:
    """Where to find the tracks that no longer lie at their `uri` in `tracks` but, by a later scan, elsewhere.

    Returns:
        track_id to uri; empty for most stores.
    """
    if not store.names("aliases"):
        return {}
    known = Known(store)
    left = {track_id for track_id, uri in _first_places(store) if not _there(known.holds[uri], track_id)}
    return {track_id: uris[0] for track_id, uris in known.places(left).items() if uris}


def stored_words(store: Store) -> dict[str, Words]:
    """What `tracks` says of each recording, by track_id."""
    tracks = store.read("tracks", ["track_id", *Words._fields])
    if tracks is None:
        return {}
    return dict(zip(tracks["track_id"].to_pylist(), map(Words, *(_shared(tracks[name]) for name in Words._fields)), strict=True))


def table(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Rows, each a tuple in the schema's order, as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.Table.from_arrays([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema)


def _shared(column: pa.ChunkedArray) -> Iterator[str | None]:
    """A column's values, equal ones the same object: a million recordings have few artists."""
    encoded = column.combine_chunks().dictionary_encode()
    values = [*encoded.dictionary.to_pylist(), None]
    return map(values.__getitem__, encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False).tolist())


def _there(held: Held, track_id: str) -> bool:
    return held.present and held.track_id == track_id


def _first_places(store: Store) -> Iterator[tuple[str, str]]:
    tracks = store.read("tracks", ["track_id", "uri"])
    if tracks is not None:
        yield from zip(tracks["track_id"].to_pylist(), tracks["uri"].to_pylist(), strict=True)
