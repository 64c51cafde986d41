"""Releases of stores made by hand, and what is read back from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.release.build import Made, release
from pipelines.release.spec import load
from pipelines.store import Store
from tests.releasing import spec

HEAD = 'name = "set"\nfeatures = ["emb.mean"]\n'


def made(folder: Path, text: str = "", **more: Any) -> Made:
    """A release of the folder's store."""
    file = spec(folder, text)
    return release(Store(folder / "store"), load(file), folder / "out", file, **more)


def rows(done: Made, split: str = "") -> pa.Table:
    """The rows of a split, or of all, with the split's name."""
    found = []
    for name, said in done.manifest["splits"].items():
        if split in ("", name):
            table = pa.concat_tables([pq.read_table(done.folder / path, partitioning=None) for path in said["shards"]])
            found.append(table.append_column("split", pa.array([name] * len(table), pa.string())))
    return pa.concat_tables(found)


def split_of(done: Made) -> dict[str, str]:
    """Each recording's split, from the rows themselves; one that has two fails."""
    found: dict[str, str] = {}
    table = rows(done)
    for name, split in zip(table["track_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        assert found.setdefault(name, split) == split
    return found


def reasons(done: Made) -> dict[str, int]:
    """How often each reason is given."""
    table = pq.read_table(done.folder / "exclusions.parquet")
    return {each["values"]: each["counts"] for each in pc.value_counts(table["reason"]).to_pylist()}
