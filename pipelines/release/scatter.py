"""Rows of tables on their way to shards: each table is read once, in its own order, and every row lands where the shuffle wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.part import StoreError
from pipelines.release.origins import Source

# What waits in memory for its shard; beyond that it waits on the disk.
MEMORY = 1 << 30


@dataclass(frozen=True)
class Shard:
    """A file to be: rows first to last of the release's order. path: inside the release's folder."""

    path: str
    split: str
    first: int
    last: int


class Scattered:
    """Rows of one table on their way to their shards: in memory as long as there is room, then in files of a folder."""

    def __init__(self, folder: Path, shards: Sequence[Shard], memory: int) -> None:
        self._folder, self._memory = folder, memory
        self._ends = np.array([shard.last for shard in shards], np.int64)
        self._waiting: list[list[pa.Table]] = [[] for _ in shards]
        self._targets: list[list[NDArray[np.int64]]] = [[] for _ in shards]
        self._held = 0
        self._spilled: dict[int, tuple[Any, Any]] = {}

    def add(self, rows: pa.Table, targets: NDArray[np.int64]) -> None:
        """Take rows that belong at these places; those below 0 are not wanted."""
        wanted = np.flatnonzero(targets >= 0)
        shard = np.searchsorted(self._ends, targets[wanted], side="right")
        order = np.argsort(shard, kind="stable")
        wanted, shard = wanted[order], shard[order]
        rows = taken(rows, wanted)
        edges = np.flatnonzero(np.diff(shard, prepend=-1, append=-1))
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            part = rows.slice(low, high - low)
            self._waiting[shard[low]].append(part)
            self._targets[shard[low]].append(targets[wanted[low:high]])
        self._held += rows.nbytes
        if self._held > self._memory:
            self._spill()

    def _spill(self) -> None:
        for number, waiting in enumerate(self._waiting):
            if waiting:
                if number not in self._spilled:
                    sink = pa.OSFile(str(self._folder / f"{id(self)}-{number}.arrow"), "wb")
                    self._spilled[number] = sink, pa.ipc.new_file(sink, waiting[0].schema)
                for part in waiting:
                    self._spilled[number][1].write_table(part)
                waiting.clear()
        self._held = 0

    def gather(self, number: int, first: int) -> pa.Table:
        """A shard's rows in their places; what was held for it is let go."""
        parts = []
        if number in self._spilled:
            sink, writer = self._spilled.pop(number)
            writer.close()
            sink.close()
            path = self._folder / f"{id(self)}-{number}.arrow"
            with pa.memory_map(str(path)) as file:
                parts.append(pa.ipc.open_file(file).read_all())
            path.unlink()
        parts += self._waiting[number]
        at = np.concatenate(self._targets[number]) - first
        self._waiting[number], self._targets[number] = [], []
        return taken(pa.concat_tables(parts), np.argsort(at))


def taken(rows: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """Rows at some places; arrays of one shape by NumPy, which takes them several times as fast as Arrow does."""
    if len(places) == rows.num_rows and (np.diff(places, prepend=-1) == 1).all():
        return rows
    rows = rows.combine_chunks()
    columns = []
    for column in rows.columns:
        kind, chunk = column.type, column.chunk(0) if column.num_chunks else pa.array([], column.type)
        if pa.types.is_fixed_size_list(kind) and pa.types.is_primitive(kind.value_type) and not chunk.null_count:
            flat = chunk.flatten()
            if not flat.null_count and not pa.types.is_boolean(kind.value_type):
                cells = flat.to_numpy(zero_copy_only=True).reshape(-1, kind.list_size)
                columns.append(pa.FixedSizeListArray.from_arrays(pa.array(np.take(cells, places, axis=0).reshape(-1)), type=kind))
                continue
        columns.append(chunk.take(pa.array(places)))
    return pa.Table.from_arrays(columns, schema=rows.schema)


def scatter(source: Source, targets: NDArray[np.int64], into: Scattered, progress: Callable[[int], None]) -> None:
    """Read a table once, a few row groups at a time.

    Args:
        targets: (rows of the table,) where in the release's order each belongs, -1 for nowhere.
    Raises:
        StoreError: a feature that the release needs is null.
    """
    at = 0
    columns = list(source.columns)
    for batch in source.table.dataset.to_batches(columns=columns, batch_size=1 << 14, batch_readahead=4, fragment_readahead=2):
        now = targets[at : at + batch.num_rows]
        at += batch.num_rows
        if (now >= 0).any():
            for name, column in zip(columns, batch.columns, strict=True):
                if column.null_count:
                    raise StoreError(f"{source.name}.{name}: {column.null_count} rows are null; nothing was released")
            into.add(pa.Table.from_batches([batch]), now)
        progress(batch.num_rows)


def size_of(source: Source) -> float:
    """Bytes of a row of the columns wanted, before compression, as the parts' footers say."""
    size, rows = 0, 0
    for path in source.table.parts[:64]:  # enough to know
        footer = pq.read_metadata(path, filesystem=source.table.filesystem)
        rows += footer.num_rows
        for group in map(footer.row_group, range(footer.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                if column.path_in_schema.partition(".")[0] in source.columns:
                    size += column.total_uncompressed_size
    return size / max(rows, 1)
