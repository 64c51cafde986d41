"""Columns of arrays: how a store keeps them, and how they become NumPy without touching a single number.

Arrays of one shape lie flat in Parquet, as a fixed-size list whose field says the shape: every reader opens those, and not
every reader knows Arrow's tensors. In memory they are `arrow.fixed_shape_tensor` again, over the same buffer.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.part import StoreError


class TableError(StoreError):
    """A table that has no such column, or a column that cannot be had in the form asked for."""


def cell_shape(field: pa.Field) -> tuple[int, ...] | None:
    """The shape of one row's array; () for a number, None where it varies or the column holds no numbers.

    >>> cell_shape(pa.field("tags", pa.list_(pa.float32(), 6), metadata={"shape": "[3, 2]"}))
    (3, 2)
    >>> cell_shape(pa.field("title", pa.string())) is None
    True
    """
    kind = field.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return tuple(kind.shape)
    shape: tuple[int, ...] = ()
    while pa.types.is_fixed_size_list(kind):
        shape += (kind.list_size,)
        kind = kind.value_type
    if not _is_number(kind):
        return None
    said = _said(field, b"shape")
    if said and not all(isinstance(size, int) and size >= 0 for size in said):
        raise TableError(f"{field.name}: its metadata says the shape {str(said)[:60]}, and sizes are whole numbers")
    return tuple(said) if said and math.prod(said) == math.prod(shape) else shape


def holds_arrays(field: pa.Field) -> bool:
    """Whether a cell is an array of numbers, of fixed shape or not."""
    kind = field.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return True
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_nested(field.type)) and _is_number(kind)


def tensor_field(field: pa.Field) -> pa.Field:
    """The field as it is in memory: a flat list whose shape is known is a tensor, anything else is itself."""
    shape, said = cell_shape(field), _said(field, b"shape")
    if not shape or not said or isinstance(field.type, pa.BaseExtensionType):
        return field
    dims = _said(field, b"dims")
    kind = pa.fixed_shape_tensor(field.type.value_type, shape, dim_names=dims if dims and len(dims) == len(shape) else None)
    return field.with_type(kind)


def with_tensors(table: pa.Table) -> pa.Table:
    """The same table with its arrays as tensors; no number is copied."""
    for at, field in enumerate(table.schema):
        new = tensor_field(field)
        if new.type != field.type:
            chunks = [pa.ExtensionArray.from_storage(new.type, chunk) for chunk in table.column(at).chunks]
            table = table.set_column(at, new, pa.chunked_array(chunks, type=new.type))
    return table


def to_numpy(array: pa.Array, field: pa.Field) -> NDArray[Any] | list[NDArray[Any]] | None:
    """One chunk of a column as NumPy, over Arrow's own buffer.

    Returns:
        (rows, *shape) where the shape is fixed; a list of one array per row where it varies; None where the column holds
        something else than numbers.
    Raises:
        TableError: rows are missing where there is no number that says so.
    """
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_list(storage.type) or pa.types.is_large_list(storage.type):
        said = _said(field, b"shape")
        rest = {"shape": json.dumps(said[1:])} if said and said[1:] else None
        values = to_numpy(storage.values, pa.field(field.name, storage.type.value_type, metadata=rest))
        if not isinstance(values, np.ndarray):
            return None
        ends = _whole(storage, field).offsets.to_numpy()
        return [values[start:end] for start, end in pairwise(ends)]
    shape = cell_shape(field)
    if shape is None:
        return None
    rows = len(storage)
    while pa.types.is_fixed_size_list(storage.type):
        # flatten leaves out the lists that are null, values forgets where a slice begins
        storage = _whole(storage, field).flatten()
    if not pa.types.is_floating(storage.type):
        storage = _whole(storage, field)
    numbers: NDArray[Any] = storage.to_numpy(zero_copy_only=False)
    return numbers.reshape(rows, *shape)


def _whole(array: pa.Array, field: pa.Field) -> pa.Array:
    if array.null_count:
        raise TableError(f"{field.name}: {array.null_count} of {len(array)} rows are null, which an array of {array.type} cannot say")
    return array


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _said(field: pa.Field, key: bytes) -> list[Any] | None:
    said = (field.metadata or {}).get(key)
    try:
        return list(json.loads(said)) if said else None
    except (ValueError, TypeError, RecursionError):
        raise TableError(f"{field.name}: its metadata {key.decode()!r} is not what earmark writes; make the table again") from None
