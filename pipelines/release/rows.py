"""The rows that a release may have: every view of every clip of the tracks asked for, and where each table has its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.part import StoreError
from pipelines.release.origins import Source
from pipelines.release.spec import Release
from pipelines.store import Store

KEYS = ("clip_id", "view", "track_id", "start", "seconds")


@dataclass(frozen=True, eq=False)
class Rows:
    """One entry for each view of each clip, in the order of their names.

    table: row_id, clip_id, view, view_id, track_id, start, seconds, lineage.
    track: (rows,) each row's place in the catalogue. parent: (rows,) the place of the same clip's view 0, -1 where there is none.
    at: by table, (rows,) the number of the row in it, -1 where it has none.
    """

    table: pa.Table
    track: NDArray[np.int64]
    view: NDArray[np.int32]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    parent: NDArray[np.int64]
    at: dict[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def strings(self, column: str) -> pa.Array:
        """A column of names."""
        return self.table.column(column).combine_chunks()


def tracks(store: Store, spec: Release) -> tuple[pa.Table, NDArray[np.bool_]]:
    """The catalogue by track_id, each recording once, and which of it is asked for.

    Raises:
        StoreError: the catalogue is empty, or no recording fits.
    """
    found = store.read("tracks")
    if found is None:
        raise StoreError(f"{store.root}: no tracks yet; 'earmark scan FOLDER --store {store.root}' finds them")
    for name in ("title", "artist", "album", "license", "license_source", "group", "sha256", "uri"):
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(len(found), pa.string()))
    found = found.sort_by([("track_id", "ascending"), ("uri", "ascending")])
    names = found.column("track_id").combine_chunks()
    first = np.ones(len(names), bool)
    first[1:] = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    found = found.filter(pa.array(first)).combine_chunks()
    wanted: NDArray[np.bool_] = np.ones(len(found), bool)
    if spec.rows.where:
        numbered = found.append_column("row", pa.array(np.arange(len(found))))
        wanted = np.isin(np.arange(len(found)), numbered.filter(expression(spec.rows.where)).column("row").to_numpy())
    if not wanted.any():
        raise StoreError(f"{store.root}: no recording fits; look at rows.where")
    return found, wanted


def expression(where: Sequence[object]) -> pc.Expression:
    """Conditions as pyarrow takes them."""
    return pq.filters_to_expression([(each.column, each.op, each.value) for each in where])  # type: ignore[attr-defined]


def rows(store: Store, sources: Sequence[Source], track_ids: pa.Array, wanted: NDArray[np.bool_]) -> Rows:
    """All views of all clips of the tracks asked for that any of the tables, or the table of views, knows.

    Args:
        track_ids: of the whole catalogue.
    Raises:
        StoreError: there are none.
    """
    keys = {source.name: _named(_keys(source.table.dataset.to_table(columns=list(KEYS)))) for source in sources}
    known = _views(store, sources)
    every = pa.concat_tables([*(each.select(["row_id", *KEYS]) for each in keys.values()), known.select(["row_id", *KEYS])])
    every = every.filter(pc.is_in(every.column("track_id"), track_ids.filter(pa.array(wanted))))
    if not every.num_rows:
        raise StoreError(f"{store.root}: no clips of these recordings; run a recipe first")
    every = every.take(_first(every.column("row_id")))
    names = every.column("row_id").combine_chunks()
    view = every.column("view").to_numpy().astype(np.int32)
    clip_ids = every.column("clip_id").combine_chunks()
    parent = place(names, pc.binary_join_element_wise(clip_ids, "0", "-"))
    more = place(known.column("row_id").combine_chunks(), names)
    for name in ("view_id", "lineage"):
        every = every.append_column(name, _taken_or_null(known.column(name), more))
    at = {name: place(each.column("row_id").combine_chunks(), names) for name, each in keys.items()}
    return Rows(
        every.select(["row_id", "clip_id", "view", "view_id", "track_id", "start", "seconds", "lineage"]).combine_chunks(),
        place(track_ids, every.column("track_id").combine_chunks()),
        view,
        every.column("start").to_numpy(),
        every.column("seconds").to_numpy(),
        parent,
        at,
    )


def _keys(table: pa.Table) -> pa.Table:
    types = (pa.string(), pa.int32(), pa.string(), pa.float64(), pa.float64())
    return table.cast(pa.schema(list(zip(KEYS, types, strict=True))))


def _named(table: pa.Table) -> pa.Table:
    names = pc.binary_join_element_wise(table.column("clip_id"), pc.cast(table.column("view"), pa.string()), "-")
    return table.append_column("row_id", names)


def _views(store: Store, sources: Sequence[Source]) -> pa.Table:
    """The rows of the table `views` that these tables' recipes filled, those with augmented views first."""
    columns = [*KEYS, "view_id", "lineage"]
    variants = dict.fromkeys(source.views for source in sorted(sources, key=lambda each: not each.augmented) if source.views)
    found = []
    for variant in variants:
        if store.paths("views", variant):
            table = store.table("views", variant).dataset.to_table(columns=columns)
            found.append(pa.concat_tables([_keys(table.select(list(KEYS)))]).append_column("view_id", table.column("view_id")))
            found[-1] = found[-1].append_column("lineage", table.column("lineage"))
    if not found:
        found = [pa.table({name: pa.array([], pa.string()) for name in columns})]
        found = [
            _keys(found[0].select(list(KEYS))).append_column("view_id", found[0].column(5)).append_column("lineage", found[0].column(6))
        ]
    return _named(pa.concat_tables(found))


def _first(names: pa.ChunkedArray) -> pa.Array:
    """The places of each name's first row, in the order of the names."""
    numbered = pa.table({"name": names, "row": np.arange(len(names))})
    return numbered.group_by("name").aggregate([("row", "min")]).sort_by("name").column("row_min").combine_chunks()


def place(among: pa.Array, names: pa.Array) -> NDArray[np.int64]:
    """Where each name stands, -1 where it does not."""
    found = pc.fill_null(pc.index_in(names, value_set=among), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


def _taken_or_null(column: pa.ChunkedArray, places: NDArray[np.int64]) -> pa.Array:
    taken = column.take(pa.array(places, mask=places < 0))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
