"""What is missing: the parts that a recipe should have on a store, less those that are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from pipelines.recipe import Recipe
from pipelines.stage import Unit
from pipelines.store import Store


def missing(store: Store, recipe: Recipe, device: str = "cpu") -> list[Unit]:
    """One unit for each shard that lacks a part, by one listing per table: no file is opened."""
    variants = recipe.variants()
    shards = store.names("tracks")
    have = {table: set(store.names(table, variant)) for table, variant in variants.items()}
    units = []
    for shard in shards:
        tables = tuple(table for table in variants if shard not in have[table])
        if tables:
            units.append(Unit(store.root, shard, recipe, tables, device=device))
    return units


def retries(store: Store, recipe: Recipe, rejects: Iterable[Mapping[str, Any]], device: str = "cpu") -> Iterator[Unit]:
    """Units for rejected tracks whose rows are still missing: their rows go to parts beside the shard's own."""
    wanted = {row["track_id"] for row in rejects if row["track_id"] and row["stage"] == "decode"}
    if not wanted:
        return
    variants = recipe.variants()
    parts = {table: store.names(table, variant) for table, variant in variants.items()}
    for shard, mine in _shards(store, wanted).items():
        lacking: dict[str, list[str]] = defaultdict(list)
        for name, variant in variants.items():
            of_shard = [part for part in parts[name] if part.partition("~")[0] == shard]
            if shard not in of_shard:
                continue  # the shard's own part is missing too, and will be made with all its tracks
            for track in sorted(mine - _tracks(store, name, variant, of_shard)):
                lacking[track].append(name)
        together: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for track, names in lacking.items():
            together[tuple(names)].append(track)
        for tables, tracks in together.items():
            yield Unit(store.root, shard, recipe, tables, device=device, tracks=tuple(tracks), supplement=True)


def _shards(store: Store, wanted: set[str]) -> dict[str, set[str]]:
    """Which shards hold which of these tracks, in one pass over the catalogue; by name."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    tracks = pads.dataset(store.paths("tracks"), filesystem=store.filesystem)
    among = pc.field("track_id").isin(pa.array(sorted(wanted)))
    for row in tracks.to_table(columns=["track_id", "__filename"], filter=among).to_pylist():
        found[row["__filename"].rpartition("/")[2].removesuffix(".parquet")].add(row["track_id"])
    return dict(sorted(found.items()))


def _tracks(store: Store, table: str, variant: str, parts: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in parts:
        path = f"{store.folder(table, variant)}/{part}.parquet"
        found.update(pq.read_table(path, columns=["track_id"], filesystem=store.filesystem).column("track_id").to_pylist())
    return found
