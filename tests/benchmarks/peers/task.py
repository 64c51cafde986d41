"""What every peer is told, and how it stores what it makes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

# As any of their users would: parallelism is over files. Before NumPy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

PART = 4  # files whose rows are stored together, as many as a small shard of earmark has


def arguments(description: str) -> argparse.Namespace:
    """files, out, workers, singly, rooms."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--singly", action="store_true", help="where there is a network: patch by patch")
    parser.add_argument("--rooms", type=Path, help="joblib_augmented only: a folder of impulse responses")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def parts(files: Sequence[Path]) -> list[tuple[int, list[Path]]]:
    """Numbered handfuls of files."""
    return [(number, list(files[first : first + PART])) for number, first in enumerate(range(0, len(files), PART))]


def store(path: Path, files: Sequence[Path], columns: dict[str, np.ndarray]) -> None:
    """Write one Parquet file: for each file a row, with each column's (files, …) numbers as a flat list."""
    arrays = {"file": pa.array([str(file) for file in files])}
    for name, values in columns.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values[0].size)
    pq.write_table(pa.table(arrays), path, compression="zstd", compression_level=1, use_dictionary=False)
