"""The index of landmarks: which recordings have which hashes, in parts for each prefix of the hash, built shard after shard.

A part `landmarks/VARIANT/PREFIX-GROUP.parquet` holds the landmarks of a group of shards whose hashes begin with that prefix, by hash.
The footer of a group's first part says which shards and recordings are in it. A group counts once all of its parts are there:
what a kill leaves behind is made again, and nothing whole is ever rewritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from extractors.fingerprint import HASH_BITS, Fingerprint
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.versions import versions

TABLE = "landmarks"
PREFIX_BITS = 4
PREFIXES = 1 << PREFIX_BITS
# Shards are put together until they have so many landmarks: four hours of music, 300 MB while they are sorted.
GROUP = 8_000_000
# Small row groups: a lookup reads those that its hashes may be in.
ROW_GROUP_BYTES = 1 << 19
# A landmark as one number: hash, recording in its group, frame.
TRACK_BITS, FRAME_BITS = 17, 24

SCHEMA = pa.schema([("hash", pa.uint32()), ("track_id", pa.string()), ("frame", pa.int32())])
RECIPE = "pipelines/recipes/fingerprint.toml"  # a recipe with `use = "Fingerprint"`


@dataclass(frozen=True, eq=False)
class Heard:
    """One recording's landmarks. hashes: (landmarks,); frames: (landmarks,) from the recording's beginning."""

    track_id: str
    hashes: NDArray[np.uint32]
    frames: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """The table that `Fingerprint` filled: its name, its variant, and the extractor as its footer says it."""

    table: str
    variant: str
    extractor: Fingerprint


def source(store: Store) -> Source:
    """The latest table of fingerprints.

    Raises:
        StoreError: there is none; the message says which recipe makes one.
    """
    current, tables = store.current(), store.tables()
    for table in sorted(tables, key=lambda name: name != "fingerprint"):
        if not (variant := current.get(table, "")) or not (names := store.names(table, variant)):
            continue
        metadata = pq.read_schema(f"{store.folder(table, variant)}/{names[0]}.parquet", filesystem=store.filesystem).metadata or {}
        spec = dict(json.loads(metadata.get(b"earmark", b"{}")).get("extractor") or {})
        if spec.get("use") == "Fingerprint":
            if spec.pop("version") != Fingerprint.version:
                continue
            spec.pop("weights")
            return Source(table, variant, Fingerprint.model_validate(spec))
    raise StoreError(f"{store.root}: no fingerprints; run a recipe that has them: earmark run {RECIPE} --store {store.root}")


def recordings(store: Store, found: Source, part: str) -> Iterator[Heard]:
    """The landmarks of each recording in one part of the fingerprints, in the part's order; of clips that overlap, once."""
    path = f"{store.folder(found.table, found.variant)}/{part}.parquet"
    rows = pq.read_table(path, columns=["track_id", "start", "hashes", "frames"], filters=[("view", "=", 0)], filesystem=store.filesystem)
    if not rows.num_rows:
        return
    rate = found.extractor.sample_rate / found.extractor.hop_length
    begins = np.rint(rows["start"].to_numpy() * rate).astype(np.int64)
    counts = np.concatenate([chunk.value_lengths().to_numpy() for chunk in rows["hashes"].chunks])
    hashes, frames = (np.concatenate([chunk.flatten().to_numpy() for chunk in rows[name].chunks]) for name in ("hashes", "frames"))
    # A recording of more than three days has no landmarks after them: their frames are numbers of 24 bits.
    frames = np.minimum(frames + np.repeat(begins, counts), (1 << FRAME_BITS) - 1)
    tracks = rows["track_id"].to_pylist()
    ends = np.cumsum(counts)
    borders = [0, *(at for at in range(1, len(tracks)) if tracks[at] != tracks[at - 1]), len(tracks)]
    for first, last in pairwise(borders):
        mine = slice(int(ends[first] - counts[first]), int(ends[last - 1]))
        both = np.unique(hashes[mine].astype(np.int64) << FRAME_BITS | frames[mine])
        yield Heard(tracks[first], (both >> FRAME_BITS).astype(np.uint32), both & (1 << FRAME_BITS) - 1)


def build(store: Store, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Bring the index up to date with the fingerprints; what is there stays.

    Args:
        progress: called with how many shards are done, and how many are to be done.
    Returns:
        How many shards were taken in.
    Raises:
        StoreError: there are no fingerprints, the store cannot be written, or another process builds.
    """
    found = source(store)
    with store.lock(TABLE) as kept:
        whole = whole_groups(store, found.variant)
        for name in store.names(TABLE, found.variant):
            if name[2:] not in whole:  # of an attempt that was killed
                store.filesystem.delete_file(f"{store.folder(TABLE, found.variant)}/{name}.parquet")
        there = {shard for each in whole.values() for shard in each["shards"]}
        missing = [shard for shard in store.names(found.table, found.variant) if shard not in there]
        shards: list[str] = []
        waiting: list[Heard] = []
        size = 0
        for done, shard in enumerate(missing, 1):
            heard = list(recordings(store, found, shard))
            shards.append(shard)
            waiting += heard
            size += sum(len(each.hashes) for each in heard)
            if size >= GROUP or len(waiting) >= 1 << TRACK_BITS - 1 or done == len(missing):
                kept()
                _write(store, found, shards, waiting)
                shards, waiting, size = [], [], 0
                progress(done, len(missing))
    return len(missing)


def _write(store: Store, found: Source, shards: list[str], heard: list[Heard]) -> None:
    """The parts of one group, the first last."""
    lengths = [len(each.hashes) for each in heard]
    packed = np.empty(sum(lengths), np.int64)
    at = 0
    for code, each in enumerate(heard):
        packed[at : at + len(each.hashes)] = (each.hashes.astype(np.int64) << TRACK_BITS | code) << FRAME_BITS | each.frames
        at += len(each.hashes)
    packed.sort()
    frames_of = {each.track_id: int(each.frames.max(initial=-1)) + 1 for each in heard}
    footer = {"shards": shards, "landmarks": len(packed)}
    footer |= {"extractor": found.extractor.identity(), "versions": versions()}
    group = hashlib.sha256("\n".join(shards).encode()).hexdigest()[:16]
    borders = [*np.searchsorted(packed, np.arange(PREFIXES) << (HASH_BITS - PREFIX_BITS + TRACK_BITS + FRAME_BITS)), len(packed)]
    names = pa.array([each.track_id for each in heard], pa.string())
    for prefix in reversed(range(PREFIXES)):
        mine = packed[borders[prefix] : borders[prefix + 1]]
        codes = pa.array((mine >> FRAME_BITS & (1 << TRACK_BITS) - 1).astype(np.int32))
        columns = [
            pa.array((mine >> TRACK_BITS + FRAME_BITS).astype(np.uint32)),
            pa.DictionaryArray.from_arrays(codes, names).cast(pa.string()) if len(mine) else pa.array([], pa.string()),
            pa.array((mine & (1 << FRAME_BITS) - 1).astype(np.int32)),
        ]
        said = footer if prefix else footer | {"lengths": frames_of}
        schema = SCHEMA.with_metadata({"earmark": json.dumps(said, sort_keys=True)})
        with store.writer(TABLE, f"{prefix:x}-{group}", schema, found.variant, ROW_GROUP_BYTES) as part:
            part.append(pa.Table.from_arrays(columns, schema=schema))
            part.publish(len(mine))


def whole_groups(store: Store, variant: str) -> dict[str, dict[str, Any]]:
    """What the footers of the whole groups say."""
    names = set(store.names(TABLE, variant))
    groups = sorted({name[2:] for name in names if all(f"{prefix:x}-{name[2:]}" in names for prefix in range(PREFIXES))})
    footers = {}
    for group in groups:
        schema = pq.read_schema(f"{store.folder(TABLE, variant)}/0-{group}.parquet", filesystem=store.filesystem)
        footers[group] = json.loads(schema.metadata[b"earmark"])
    return footers
