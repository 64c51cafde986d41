"""A release as WebDataset tars: one sample for each row, its arrays as .npy, all else as .json; equal rows give equal bytes."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.cells import holds_arrays, to_numpy
from pipelines.part import StoreError
from pipelines.release.loader import Release

SHARD_BYTES = 128 << 20


def write(release: Release, out: Path, shard_bytes: int = SHARD_BYTES) -> int:
    """Write `SPLIT-000000.tar`, …, as few for each split as the size allows, with equally many rows in each.

    Rows come in the release's order, which is shuffled. A sample's key is the row's row_id; an array is `KEY.COLUMN.npy`, other columns
    are one object, `KEY.json`. What is null is left out of the arrays, and null in the object.

    Returns:
        rows written, over all splits.
    Raises:
        StoreError: two columns would have one name, or two rows one key.
    """
    written = 0
    for split in sorted(release.splits):
        parts = release.table(split).parts
        footers = [pq.read_metadata(part) for part in parts]
        rows = sum(footer.num_rows for footer in footers)
        size = sum(footer.row_group(group).total_byte_size for footer in footers for group in range(footer.num_row_groups))
        count = max(1, math.ceil(size / shard_bytes))
        samples = _samples(parts)
        for shard in range(count):
            with _Tar(out / f"{split}-{shard:06}.tar") as tar:
                for _ in range(rows * (shard + 1) // count - rows * shard // count):
                    tar.add(*next(samples))
        written += rows
    return written


def _samples(parts: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each row's key and its files by ending."""
    keys: set[str] = set()
    for part in parts:
        with pq.ParquetFile(part) as file:
            arrays = [field for field in file.schema_arrow if holds_arrays(field)]
            endings = _endings([field.name for field in arrays])
            others = [field.name for field in file.schema_arrow if not holds_arrays(field)]
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group).combine_chunks()
                said = rows.select(others).to_pylist()
                columns = [_cells(rows.column(field.name), field) for field in arrays]
                for at, row in enumerate(said):
                    key = _key(str(row["row_id"]))
                    if key in keys:
                        raise StoreError(f"{part}: the row {key} is there twice; nothing was exported")
                    keys.add(key)
                    cells = zip(endings, (column[at] for column in columns), strict=True)
                    files = {ending: _npy(cell) for ending, cell in cells if cell is not None}
                    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
                    yield key, {**files, "json": text.encode("utf-8", "backslashreplace")}


def _cells(column: pa.ChunkedArray, field: pa.Field) -> Any:
    """A column's arrays, row by row; None where one is null."""
    if not column.null_count:
        return to_numpy(column.chunk(0), field) if column.num_chunks else []
    found: list[Any] = []
    for at in range(len(column)):
        one = to_numpy(column.slice(at, 1).combine_chunks(), field) if column[at].is_valid else None
        found.append(None if one is None else one[0])
    return found


def _npy(cell: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(cell), allow_pickle=False)
    return stream.getvalue()


def _key(row_id: str) -> str:
    r"""A name without a directory and without a dot, at which WebDataset cuts.

    >>> _key("0a1b-0"), _key("../../etc/x.tar\n")
    ('0a1b-0', '%2E%2E%2F%2E%2E%2Fetc%2Fx%2Etar%0A')
    """
    return quote(row_id, safe="").replace(".", "%2E")


def _endings(names: list[str]) -> list[str]:
    """Endings of the columns' files. WebDataset reads them as lower case.

    Raises:
        StoreError: two are the same.
    """
    endings = [f"{_key(name).lower()}.npy" for name in names]
    for at, ending in enumerate(endings):
        if ending in endings[:at]:
            raise StoreError(
                f"columns {names[endings.index(ending)]!r} and {names[at]!r}: WebDataset reads names as lower case; rename one"
            )
    return endings


class _Tar:
    """A tar whose bytes hang on its files' names and contents alone."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by __exit__

    def add(self, key: str, files: dict[str, bytes]) -> None:
        """One sample, its files side by side, as WebDataset wants them."""
        for ending in sorted(files):
            entry = tarfile.TarInfo(f"{key}.{ending}")
            entry.size, entry.mode, entry.mtime = len(files[ending]), 0o644, 0
            self._tar.addfile(entry, io.BytesIO(files[ending]))

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()
