"""A table of a store, for reading: as Arrow, pandas, NumPy or batches for training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation import foreign
from pipelines.cells import TableError, cell_shape, holds_arrays, tensor_field, to_numpy, with_tensors

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.training import TrainingRows


class Table:
    """The whole parts of one table, as they were when it was opened.

    Anything that reads Arrow streams takes it as it is: `pa.table(table)`, `polars.DataFrame(table)`, DuckDB.
    (DuckDB reads float16 from Parquet but not from Arrow: give it the files of such a table, `read_parquet`.)

    Args:
        parts: paths inside `filesystem`, in the order in which rows are to come.
        filesystem: where they are.
        schema: what to expect; the first part's where absent.
    Raises:
        TableError: there are no parts.
    """

    def __init__(self, parts: Sequence[str], filesystem: pafs.FileSystem | None = None, schema: pa.Schema | None = None) -> None:
        self.parts = list(parts)
        self.filesystem = filesystem or pafs.LocalFileSystem()
        if not self.parts and schema is None:
            raise TableError("the table has no whole part yet; run its recipe first")
        self._stored = schema

    @cached_property
    def dataset(self) -> pads.Dataset:
        """What is stored, as a pyarrow dataset; arrays are flat lists in it."""
        if isinstance(self.filesystem, pafs.LocalFileSystem) and self.parts:
            foreign.regular(self.parts[0])  # the one that is opened now: a pipe would be waited for
        try:
            return pads.dataset(self.parts, filesystem=self.filesystem, format="parquet", schema=self._stored)
        except pa.ArrowException as error:
            raise TableError(f"{self.parts[0]}: cannot be read as a table ({' '.join(str(error).split())[:300]})") from error

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns as `to_table` gives them: arrays are tensors that know their shape."""
        stored = self.dataset.schema
        return pa.schema([tensor_field(field) for field in stored], metadata=stored.metadata)

    @property
    def column_names(self) -> list[str]:
        """The columns' names."""
        return list(self.schema.names)

    @cached_property
    def _rows(self) -> int:
        return int(self.dataset.count_rows())

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"Table({len(self.parts)} parts: {', '.join(self.column_names)})"

    def labels(self, column: str) -> tuple[str, ...]:
        """Names along a column's last dimension (tags, say); () where they have none.

        Raises:
            TableError: there is no such column.
        """
        metadata = self._field(column).metadata or {}
        try:
            return tuple(json.loads(metadata.get(b"labels", b"[]")))
        except (ValueError, TypeError, RecursionError):
            raise TableError(f"{column}: its metadata 'labels' is not what earmark writes; make the table again") from None

    def to_table(self, columns: Sequence[str] | None = None, filter: Any = None) -> pa.Table:
        """Rows as an Arrow table, always in the same order.

        Args:
            columns: only these are read.
            filter: a pyarrow expression, or pyarrow's lists of tuples, as in [("view", "=", 0)].
        Raises:
            TableError: there is no such column.
        """
        return with_tensors(self.dataset.to_table(columns=self.names(columns), filter=_expression(filter)))

    def to_pandas(self, columns: Sequence[str] | None = None, filter: Any = None) -> pd.DataFrame:
        """Rows as a data frame, with one NumPy array per cell where a column holds arrays.

        The arrays share one read-only buffer: copy a cell to write into it.

        Args:
            columns, filter: as in `to_table`.
        Raises:
            TableError: there is no such column.
        """
        table = self.dataset.to_table(columns=self.names(columns), filter=_expression(filter))
        arrays = [field.name for field in table.schema if holds_arrays(field)]
        frame: pd.DataFrame = table.drop_columns(arrays).to_pandas()
        for name in arrays:
            field = table.schema.field(name)
            cells = np.empty(len(table), dtype=object)
            at = 0
            for chunk in table.column(name).chunks:
                arrays_of_chunk: Any = to_numpy(chunk, field)
                for cell in arrays_of_chunk:  # assigning them at once would spread each over many cells
                    cells[at] = cell
                    at += 1
            frame[name] = cells
        in_order: pd.DataFrame = frame[table.schema.names]
        return in_order

    def numpy(self, column: str) -> NDArray[Any]:
        """One column as one array, copied once, part by part.

        Returns:
            (rows, *shape) in the stored dtype.
        Raises:
            TableError: there is no such column, or its rows are of several shapes, or are no numbers.
        """
        field = self._field(column)
        shape = cell_shape(field)
        if shape is None:
            raise TableError(f"{column}: {field.type} is not one array; to_pandas gives it row by row")
        kind = field.type
        while isinstance(kind, pa.FixedShapeTensorType) or pa.types.is_fixed_size_list(kind):  # lists, where no shape was said
            kind = kind.value_type
        try:
            whole = np.empty((len(self), *shape), kind.to_pandas_dtype())
        except (MemoryError, ValueError) as error:  # ValueError: beyond any address
            raise TableError(f"{column}: {len(self)} rows of {shape} do not fit into memory; read them in batches") from error
        at = 0
        for batch in self.dataset.to_batches(columns=[column]):
            values = to_numpy(batch.column(0), field)
            if len(whole[at : at + batch.num_rows]) == batch.num_rows:  # a footer may say fewer than there are
                whole[at : at + batch.num_rows] = values
            at += batch.num_rows
        if at != len(whole):
            raise TableError(f"{column}: {at} rows where {len(whole)} were expected; copy the table again")
        return whole

    def torch(
        self,
        columns: Sequence[str] | None = None,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start_batch: int = 0,
        pool: int = 16,
        drop_last: bool = False,
        rank: int = 0,
        ranks: int = 1,
        even: bool = True,
    ) -> TrainingRows:
        """Rows in batches, for `torch.utils.data.DataLoader(rows, batch_size=None, num_workers=…)`.

        Args:
            columns: only these are read; all where absent.
            batch_size, …: as in `pipelines.position.Plan`; epoch and start_batch as in `pipelines.training.TrainingRows`.
        Raises:
            TableError: there is no such column, or an option is out of its range.
        """
        from pipelines.position import Plan
        from pipelines.training import TrainingRows

        plan = Plan(batch_size, shuffle, seed, pool, drop_last, rank, ranks, even)
        return TrainingRows(self.parts, self.filesystem, self.names(columns), plan, epoch, start_batch)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        stored = self.dataset.schema
        batches = (_batch(batch, self.schema) for batch in self.dataset.to_batches())
        reader = pa.RecordBatchReader.from_batches(self.schema, batches) if stored != self.schema else self.dataset.scanner().to_reader()
        return reader.__arrow_c_stream__(requested_schema)

    def _field(self, column: str) -> pa.Field:
        return self.schema.field(self.names([column])[0])

    def names(self, columns: Sequence[str] | None = None) -> list[str]:
        """The columns asked for, or all.

        Raises:
            TableError: there is no such column.
        """
        if columns is None:
            return self.column_names
        unknown = [name for name in columns if name not in self.column_names]
        if unknown:
            raise TableError(f"no column {', '.join(map(repr, unknown))}; there are {', '.join(self.column_names)}")
        return list(columns)


def _batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    table = with_tensors(pa.Table.from_batches([batch]))
    return pa.RecordBatch.from_arrays([column.chunk(0) for column in table.columns], schema=schema)


def _expression(filter: Any) -> Any:
    return pq.filters_to_expression(filter) if isinstance(filter, list) else filter
