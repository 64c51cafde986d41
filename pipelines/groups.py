"""Row groups of a table's parts, read whole into buffers that serve again and again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.cells import TableError, cell_shape, to_numpy
from pipelines.pages import Chunk, PageError, chunks, plain, read_chunk

# Columns in memory: an array (rows, *shape) where the shape is fixed, else a list with something for each row.
Pool = dict[str, Any]


class RowGroups:
    """All row groups of the parts, in the order of their rows; the footers are read here, once.

    sizes: rows of each.
    """

    def __init__(self, parts: Sequence[str], filesystem: pafs.FileSystem, columns: Sequence[str]) -> None:
        self.parts = list(parts)
        self.filesystem = filesystem
        self.columns = list(columns)
        with ThreadPoolExecutor() as threads:
            footers = list(threads.map(partial(_footer, filesystem, frozenset(columns)), self.parts))
        self.sizes = np.array([rows for groups in footers for rows, _ in groups], np.int64)
        self._part = np.array([part for part, groups in enumerate(footers) for _ in groups], np.int64)
        self._group = np.array([group for groups in footers for group in range(len(groups))], np.int64)
        self._chunks: list[dict[str, tuple[Chunk, pa.Field]]] = [each for groups in footers for _, each in groups]

    def read(self, groups: NDArray[Any], buffers: Pool, room: int) -> Pool:
        """Columns of some row groups, one after another.

        Args:
            buffers: where arrays go, as earlier reads have left it.
            room: rows that a buffer has to hold.
        """
        pool: Pool = {name: [] for name in self.columns}
        at = 0
        for group in groups:
            rows = int(self.sizes[group])
            if not rows:
                continue
            by_arrow = set(self.columns)
            if self._chunks[group]:
                with self.filesystem.open_input_file(self.parts[self._part[group]]) as file:
                    for name, (chunk, field) in self._chunks[group].items():
                        try:
                            read_chunk(file, chunk, _space(pool, buffers, room, field)[at : at + rows])
                            by_arrow.discard(name)
                        except PageError:
                            pass
            if by_arrow:
                self._by_arrow(int(group), [name for name in self.columns if name in by_arrow], pool, buffers, at, room)
            at += rows
        return pool

    def _by_arrow(self, group: int, columns: list[str], pool: Pool, buffers: Pool, at: int, room: int) -> None:
        path = self.parts[self._part[group]]
        with pq.ParquetFile(path, filesystem=self.filesystem) as file:
            table = file.read_row_group(int(self._group[group]), columns=columns, use_threads=False).combine_chunks()
        if table.num_rows != self.sizes[group]:  # Arrow passes over pages that it does not know
            raise TableError(f"{path}: {table.num_rows} rows where its footer says {self.sizes[group]}; copy the file again")
        for name in columns:
            column, field = table.column(name), table.schema.field(name)
            values = to_numpy(column.chunk(0), field) if column.num_chunks else []
            if isinstance(values, np.ndarray):
                if name not in buffers:
                    buffers[name] = np.empty((room, *values.shape[1:]), values.dtype)
                buffers[name][at : at + len(values)] = values
                pool[name] = buffers[name]
            else:
                pool[name] += column.to_pylist() if values is None else values


def _space(pool: Pool, buffers: Pool, room: int, field: pa.Field) -> NDArray[Any]:
    kind = field.type
    while pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    shape, dtype = cell_shape(field) or (), np.dtype(kind.to_pandas_dtype())
    space: NDArray[Any] = buffers.setdefault(field.name, np.empty((room, *shape), dtype))
    if space.shape[1:] != shape or space.dtype != dtype:
        raise PageError("another part has another type")
    pool[field.name] = space
    return space


def _footer(filesystem: pafs.FileSystem, columns: frozenset[str], path: str) -> list[tuple[int, dict[str, tuple[Chunk, pa.Field]]]]:
    footer = pq.read_metadata(path, filesystem=filesystem)
    schema = footer.schema.to_arrow_schema()
    fields = {field.name: field for field in schema if field.name in columns and plain(field)}
    wanted = pa.schema(fields.values())
    found = []
    for group in range(footer.num_row_groups):
        of_group = chunks(footer, wanted, group) if fields else {}
        found.append((footer.row_group(group).num_rows, {name: (chunk, fields[name]) for name, chunk in of_group.items()}))
    return found
