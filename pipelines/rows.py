"""What a row of features is: whose it is, how its arrays lie in Parquet, and what the file's footer says of it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa

from augment.chain import identity, view_id
from extractors.batch import Batch
from extractors.clip import clip_id
from extractors.extractor import Column
from pipelines.recipe import Recipe
from pipelines.versions import versions

VIEWS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("view", pa.int32()),
        ("track_id", pa.string()),
        ("start", pa.float64()),
        ("seconds", pa.float64()),
        ("view_id", pa.string()),
        ("peak", pa.float32()),
        ("lineage", pa.string()),
    ]
)
KEYS = pa.schema(list(VIEWS)[:5])


def keys(batch: Batch) -> pa.Table:
    """What tells the rows of a batch apart: `KEYS`, one row for each view of a clip."""
    clips = batch.clips
    columns: list[pa.Array] = [
        pa.array([clip_id(clip.track_id, clip.start, batch.seconds) for clip in clips]),
        pa.array([clip.view for clip in clips], pa.int32()),
        pa.array([clip.track_id for clip in clips]),
        pa.array([clip.start for clip in clips], pa.float64()),
        pa.array(batch.sound, pa.float64()),
    ]
    return pa.Table.from_arrays(columns, schema=KEYS)


def views(batch: Batch, key_columns: pa.Table) -> pa.Table:
    """The rows of the table `views`: the keys, and how each view was made.

    view_id: of clip and lineage. peak: the largest absolute sample; above 1 a view would clip if it were written as integers.
    """
    lineages = [clip.lineage for clip in batch.clips]
    names = key_columns.column("clip_id").to_pylist()
    columns = {
        "view_id": pa.array([view_id(name, lineage) for name, lineage in zip(names, lineages, strict=True)]),
        "peak": pa.array([clip.peak for clip in batch.clips], pa.float32()),
        "lineage": pa.array(lineages),
    }
    for name, column in columns.items():
        key_columns = key_columns.append_column(name, column)
    return key_columns


def arrow_type(column: Column) -> pa.DataType:
    """How a column is stored: a number, a flat list of fixed size, or a list over time where the length varies.

    Not `fixed_shape_tensor`: the bytes are the same, but Hugging Face datasets refuses the type. The shape is in the
    field's metadata, from which `Table` makes tensors again.
    """
    value = pa.from_numpy_dtype(np.dtype(column.dtype))
    if not column.shape:
        return value
    if column.shape[0] is None:
        rest = math.prod(size or 1 for size in column.shape[1:])
        return pa.list_(pa.list_(value, rest) if len(column.shape) > 1 else value)
    return pa.list_(value, math.prod(size or 1 for size in column.shape))


def arrow_field(column: Column) -> pa.Field:
    """A column's field; shape, names of dimensions and labels lie in its metadata as JSON."""
    notes = {"shape": column.shape, "dims": column.dims, "labels": column.labels}
    return pa.field(column.name, arrow_type(column), metadata={key: json.dumps(value) for key, value in notes.items() if value} or None)


def to_arrow(values: Any, column: Column) -> pa.Array:
    """(clips, *shape) numbers, NumPy's or torch's, or a list of each clip's, as an Arrow array without a Python loop over numbers.

    Raises:
        ValueError: the extractor gave another shape than it announced.
    """
    if isinstance(values, list):
        return _ragged(values, column)
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    values = np.ascontiguousarray(values, dtype=column.dtype)
    announced = tuple(had if size is None else size for size, had in zip(column.shape, values.shape[1:], strict=False))
    if values.shape[1:] != announced or len(column.shape) != values.ndim - 1:
        raise ValueError(f"{column.name}: {values.shape[1:]} where the extractor announced {column.shape}; mend its columns()")
    kind = arrow_type(column)
    flat = pa.array(values.reshape(-1))
    if not column.shape:
        return flat
    if column.shape[0] is not None:
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    inner = pa.FixedSizeListArray.from_arrays(flat, kind.value_type.list_size) if len(column.shape) > 1 else flat
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), inner)


def _ragged(values: list[Any], column: Column) -> pa.Array:
    """A list of (length,) numbers for each clip, of any length each."""
    if column.shape != (None,):
        raise ValueError(f"{column.name}: a list of arrays where the extractor announced {column.shape}; mend its columns()")
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in values], dtype=np.int64)])
    flat = np.concatenate([np.empty(0, column.dtype), *values]).astype(column.dtype, copy=False)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat))


def footed(recipe: Recipe, table: str, variant: str) -> pa.Schema:
    """A table's schema, with what its values came from in the footer."""
    if table == "views":
        fields, spec = list(VIEWS), {}
    else:
        extractor = recipe.tables()[table]
        spec = extractor.identity()
        fields = list(KEYS)
        fields += [arrow_field(column) for column in extractor.columns(recipe.window.length)]
    footer = {
        "recipe": recipe.name,
        "variant": variant,
        "window": recipe.window.model_dump(mode="json"),
        "views": identity(recipe.seed, recipe.views.count, recipe.views.sample_rate, recipe.augment) if recipe.augment else {},
        "extractor": spec,
        "versions": versions(),
    }
    return pa.schema(fields, metadata={"earmark": json.dumps(footer, sort_keys=True)})
