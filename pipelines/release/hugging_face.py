"""A release as a Hugging Face dataset on disk: arrays that know their shape, tags as class labels; `datasets.load_from_disk` opens it.

The release's own folder opens too, with `datasets.load_dataset(FOLDER)`; there arrays lie flat and tags are text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.cells import cell_shape
from pipelines.part import StoreError
from pipelines.release.loader import Release

SHARD_SIZE = "500MB"
_ARRAYS = {2: "Array2D", 3: "Array3D", 4: "Array4D", 5: "Array5D"}


def write(release: Release, out: Path) -> int:
    """Write a DatasetDict of all splits that have rows: `datasets` cannot open one without.

    Returns:
        rows written.
    Raises:
        StoreError: the package `datasets` is not installed, or a row has a tag that the manifest does not name.
    """
    try:
        import datasets
    except ImportError:
        raise StoreError("the export to Hugging Face needs the package datasets: pip install datasets") from None
    tags = {each["name"]: list(each["tags"]) for each in release.manifest["columns"]["labels"] if each["as"] == "tags"}
    rows = 0
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        made = {}
        for split in sorted(split for split in release.splits if release.manifest["splits"][split]["rows"]):
            parts = release.table(split).parts
            features = _features(datasets, pq.read_schema(parts[0]), tags)
            one = out / f"{split}.unfinished"
            schema = features.arrow_schema
            with pa.OSFile(str(one), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
                for part in parts:
                    with pq.ParquetFile(part) as file:
                        for group in range(file.num_row_groups):
                            writer.write_table(_rows(file.read_row_group(group).combine_chunks(), schema, tags))
            info = datasets.DatasetInfo(description=f"{release.name} {release.version}", features=features)
            table = datasets.table.MemoryMappedTable.from_file(str(one))
            made[split] = datasets.Dataset(table, info=info, split=datasets.Split(split), fingerprint=release.digest[:16])
            rows += len(made[split])
        datasets.DatasetDict(made).save_to_disk(str(out), max_shard_size=SHARD_SIZE)
        for split in made:
            (out / f"{split}.unfinished").unlink()
    finally:
        if not shown:
            datasets.enable_progress_bars()
    return rows


def _features(datasets: Any, schema: pa.Schema, tags: dict[str, list[str]]) -> Any:
    """What each column is to Hugging Face."""
    features = datasets.Features.from_arrow_schema(schema.remove_metadata())
    for field in schema:
        shape = cell_shape(field) or ()
        if field.name in tags and pa.types.is_list(field.type):
            features[field.name] = datasets.Sequence(datasets.ClassLabel(names=tags[field.name]))
        elif len(shape) in _ARRAYS and pa.types.is_fixed_size_list(field.type):
            dtype = datasets.Features.from_arrow_schema(pa.schema([pa.field("value", _element(field.type))]))["value"].dtype
            features[field.name] = getattr(datasets, _ARRAYS[len(shape)])(shape=shape, dtype=dtype)
    return features


def _rows(rows: pa.Table, schema: pa.Schema, tags: dict[str, list[str]]) -> pa.Table:
    columns = []
    for field, wanted in zip(rows.schema, schema, strict=True):
        column = rows.column(field.name).chunk(0) if rows.num_rows else pa.array([], field.type)
        if isinstance(wanted.type, pa.BaseExtensionType):
            column = pa.ExtensionArray.from_storage(wanted.type, _nested(column, cell_shape(field) or (), wanted.type.storage_type))
        elif field.name in tags and pa.types.is_list(field.type):
            column = _numbered(column, tags[field.name], field.name)
        columns.append(column if column.type == wanted.type else column.cast(wanted.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _nested(column: pa.Array, shape: tuple[int, ...], kind: pa.DataType) -> pa.Array:
    """Flat arrays as lists of lists, over the same numbers."""
    values = column.flatten()
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    for size in shape[::-1]:
        values = pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, size, dtype=np.int32)), values)
    return values.cast(kind) if values.type != kind else values


def _numbered(column: pa.Array, names: list[str], name: str) -> pa.Array:
    """Lists of tags as lists of their numbers."""
    numbers = pc.index_in(column.values, value_set=pa.array(names, pa.string()))
    if numbers.null_count:
        strange = column.values.filter(pc.is_null(numbers))[0]
        raise StoreError(f"{name}: rows have the tag {strange.as_py()!r}, which the manifest does not name; make the release again")
    return pa.ListArray.from_arrays(column.offsets, numbers.cast(pa.int64()), mask=column.is_null())


def _element(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind
