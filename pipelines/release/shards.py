"""Rows into Parquet shards: shuffled, cut by size, written down to the disk with the hash of their bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.release.origins import Source
from pipelines.release.scatter import MEMORY, Scattered, Shard, scatter


@dataclass(frozen=True)
class Written:
    """A file that is there."""

    path: str
    bytes: int
    sha256: str
    rows: int
    row_groups: int


def shuffled(row_ids: pa.Array, seed: int) -> NDArray[np.uint64]:
    """(rows,) a number for each name, by which rows are put in an order: it hangs on seed and name alone."""
    raw = np.array(row_ids.to_numpy(zero_copy_only=False), "S") if len(row_ids) else np.empty(0, "S1")
    digits = raw.view(np.uint8).reshape(len(raw), -1)
    state: NDArray[np.uint64] = np.full(len(raw), 0xCBF29CE484222325 ^ seed, np.uint64)
    with np.errstate(over="ignore"):
        for column in digits.T:  # FNV-1a over characters, all rows at once
            state = (state ^ column.astype(np.uint64)) * np.uint64(0x100000001B3)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # and splitmix64's finish
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state ^ (state >> np.uint64(31))


def cut(split: str, first: int, rows: int, bytes_a_row: float, megabytes: float) -> Iterator[Shard]:
    """The shards of a split: as few as the size allows, of equal size; one for a split without rows."""
    count = max(1, -(-int(rows * bytes_a_row) // int(megabytes * 2**20)))
    edges = [first + rows * at // count for at in range(count + 1)]
    for at in range(count):
        yield Shard(f"{split}/part-{at:05}.parquet", split, edges[at], edges[at + 1])


class _Hashed:
    """A file that knows the hash of what is written to it."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "wb")  # noqa: SIM115 - closed by whoever made it
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        self.file.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def write(folder: Path, shard: Shard, rows: pa.Table, features: Sequence[str], compression: str, row_group_bytes: float) -> Written:
    """Write one shard, down to the disk.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    path = folder / shard.path
    path.parent.mkdir(exist_ok=True)
    sink = _Hashed(path)
    with sink.file:
        leaves = _leaves(rows.schema)
        codecs = {leaf: compression.replace("none", "NONE") if leaf.partition(".")[0] in features else "zstd" for leaf in leaves}
        per_row = max(1.0, rows.nbytes / max(1, rows.num_rows))
        with pq.ParquetWriter(
            sink,
            rows.schema,
            compression=codecs,
            use_dictionary=[leaf for leaf, kind in leaves.items() if pa.types.is_string(kind)],
            use_byte_stream_split=[leaf for leaf, kind in leaves.items() if pa.types.is_float32(kind)] if compression == "zstd" else False,
            write_statistics=[field.name for field in rows.schema if not pa.types.is_nested(field.type)],
        ) as writer:
            writer.write_table(rows, row_group_size=max(1, int(row_group_bytes / per_row)))
        sink.file.flush()
        os.fsync(sink.file.fileno())
        size = sink.file.tell()
    groups = pq.read_metadata(path).num_row_groups
    return Written(shard.path, size, sink.digest.hexdigest(), rows.num_rows, groups)


def write_all(
    folder: Path,
    shards: Sequence[Shard],
    sources: Sequence[Source],
    targets: Mapping[str, NDArray[np.int64]],
    columns: Callable[[Shard, Mapping[str, pa.Table]], pa.Table],
    features: Sequence[str],
    compression: str,
    row_group_bytes: float,
    progress: Callable[[int, int], None] = lambda done, of: None,
    memory: int = MEMORY,
) -> list[Written]:
    """Write all shards.

    Args:
        targets: by table, where each of its rows belongs.
        columns: makes a shard's table of the tables' rows, which come in its order.
    """
    total = sum(len(each) for each in targets.values()) + sum(shard.last - shard.first for shard in shards)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    waiting = {source.name: Scattered(folder, shards, memory // max(1, len(sources))) for source in sources}
    for source in sources:
        scatter(source, targets[source.name], waiting[source.name], advance)

    def made(number: int) -> Written:
        shard = shards[number]
        if shard.first == shard.last:
            empty = {source.name: source.table.dataset.schema.empty_table().select(list(source.columns)) for source in sources}
            return write(folder, shard, columns(shard, empty), features, compression, row_group_bytes)
        found = {source.name: waiting[source.name].gather(number, shard.first) for source in sources}
        written = write(folder, shard, columns(shard, found), features, compression, row_group_bytes)
        advance(written.rows)
        return written

    with ThreadPoolExecutor(2) as threads:  # one encodes while the other waits for the disk
        return list(threads.map(made, range(len(shards))))


def _leaves(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns as Parquet names them, and what lies in them."""
    found: dict[str, pa.DataType] = {}

    def walk(path: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind):
            for field in kind:
                walk(f"{path}.{field.name}", field.type)
        elif pa.types.is_nested(kind):
            walk(f"{path}.list.element", kind.value_type)
        else:
            found[path] = kind

    for field in schema:
        walk(field.name, field.type)
    return found


def footer(name: str, version: str, digest: str, split: str) -> dict[str, str]:
    """What each shard says of itself."""
    return {"earmark": json.dumps({"release": name, "version": version, "digest": digest, "split": split}, sort_keys=True)}
