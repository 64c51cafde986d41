"""Making a release: decided first, then written where nobody sees it, then shown in one step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.part import StoreError
from pipelines.release.card import card
from pipelines.release.columns import Columns
from pipelines.release.draft import Draft, draft
from pipelines.release.figures import counts, figures
from pipelines.release.manifest import FORMAT, MANIFEST, encoded, hidden, keep, next_version, publish, read_manifest, sealed, versions
from pipelines.release.pedigree import digest, pedigree
from pipelines.release.proof import crossing, proof
from pipelines.release.scatter import MEMORY, size_of
from pipelines.release.shards import Written, cut, footer, shuffled, write_all
from pipelines.release.spec import Release
from pipelines.release.terms import POLICY, attribution
from pipelines.store import Store


@dataclass(frozen=True)
class Made:
    """folder: of the version. new: whether it was made now. manifest, proof: as in its files."""

    folder: Path
    new: bool
    manifest: Mapping[str, Any]
    proof: Mapping[str, Any]


def release(
    store: Store,
    spec: Release,
    out: Path,
    file: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    memory: int = MEMORY,
) -> Made:
    """Make the next version of a release, unless a version of the same inputs is there.

    Args:
        out: the folder of releases; this one is OUT/NAME/VERSION.
        file: where `spec` was read: mistakes are told with its lines, and the table of splits lies beside it.
        memory: bytes of features that wait in memory; beyond that they wait on the disk.
    Raises:
        FileError: the file names what the store does not have.
        StoreError: nothing is left to release, what is stated parts what belongs together, the disk is full, or another release is at work.
    """
    folder = out / spec.name
    with Store(folder).lock("release"):
        there = {version: _earlier(folder / version, spec) for version in versions(folder)}
        made = draft(store, spec, file, _splits_before(folder, there))
        order = _order(made)
        origin = pedigree(made)
        name = digest(made, origin)
        for version, manifest in there.items():
            if manifest["digest"] == name:
                return Made(folder / version, False, manifest, json.loads((folder / version / "proof.json").read_text()))
        shown = proof(made)
        if leaks := crossing(shown):
            raise StoreError(f"{folder}: splits would leak ({'; '.join(leaks)}); nothing was released")  # a defect of ours, if ever
        version = next_version(folder)
        try:
            with hidden(folder, version) as building:
                previous = {key: list(there.values())[-1][key] for key in ("version", "digest")} if there else None
                manifest = _write(made, order, building, version, name, origin, shown, previous, progress, memory)
                return Made(publish(building, folder, version), True, manifest, shown)
        except OSError as error:
            raise StoreError(f"{error.filename or folder}: {error.strerror or error}; nothing was released") from error


def _earlier(folder: Path, spec: Release) -> dict[str, Any]:
    """The manifest of an earlier version.

    Raises:
        StoreError: the folder is somebody else's.
    """
    try:
        manifest = read_manifest(folder)
        whose = "" if manifest.get("name") == spec.name else f"a release of {manifest.get('name')!r}"
    except StoreError as error:
        whose = f"no release ({error})"
    if whose:
        raise StoreError(f"{folder}: is there, and {whose}; move it away, or give this release another name")
    return manifest


def _splits_before(folder: Path, there: Iterable[str]) -> dict[str, str]:
    """The split of every recording in the versions that are there, the latest word on each.

    Raises:
        StoreError: one of them is damaged: without it nothing says what was learnt from.
    """
    before: dict[str, str] = {}
    for version in there:
        path = folder / version / "tracks.parquet"
        try:
            rows = pq.read_table(path, columns=["track_id", "split"], partitioning=None)
        except (OSError, pa.ArrowException) as error:
            why = str(error).partition("\n")[0]
            raise StoreError(f"{path}: cannot be read, and says which recordings were learnt from; bring it back ({why})") from error
        before.update(zip(rows.column("track_id").to_pylist(), rows.column("split").to_pylist(), strict=True))
    return before


def _order(made: Draft) -> NDArray[np.int64]:
    """Places in `made.kept`: the splits one after another, each shuffled by its rows' names."""
    names = made.rows.strings("row_id").take(pa.array(made.kept))
    order: NDArray[np.int64] = np.lexsort((np.arange(len(names)), shuffled(names, made.spec.split.seed), made.split))
    return order


def _write(
    made: Draft,
    order: NDArray[np.int64],
    building: Path,
    version: str,
    name: str,
    origin: Mapping[str, Any],
    shown: Mapping[str, Any],
    previous: dict[str, str] | None,
    progress: Callable[[int, int], None],
    memory: int,
) -> dict[str, Any]:
    """All files of a release; the manifest last."""
    spec = made.spec
    size = sum(map(size_of, made.sources)) + 200.0
    edges = np.searchsorted(made.split[order], np.arange(len(made.splits) + 1))
    shards = [
        shard
        for number, split in enumerate(made.splits)
        for shard in cut(split, int(edges[number]), int(edges[number + 1] - edges[number]), size, spec.shards.megabytes)
    ]
    kept = made.kept[order]
    columns = Columns(made, kept)
    targets = {}
    for source in made.sources:
        targets[source.name] = np.full(len(source.table), -1, np.int64)
        targets[source.name][made.rows.at[source.name][kept]] = np.arange(len(kept))
    written = write_all(
        building,
        shards,
        made.sources,
        targets,
        lambda shard, found: columns.table(shard, found, footer(spec.name, version, name, shard.split)),
        columns.features,
        spec.shards.compression,
        spec.shards.row_group_megabytes * 2**20,
        progress,
        memory,
    )
    files = {each.path: {"bytes": each.bytes, "sha256": each.sha256, "rows": each.rows, "row_groups": each.row_groups} for each in written}
    for path, table in (("exclusions", made.exclusions), ("tracks", columns.tracks()), ("labels", columns.labels())):
        files[f"{path}.parquet"] = keep(building / f"{path}.parquet", _parquet(table))
    drawn = figures(made, shown)
    for path, (_, picture) in drawn.items():
        files[path] = keep(building / path, picture.encode())
    files["proof.json"] = keep(building / "proof.json", encoded(shown))
    files["ATTRIBUTION.tsv"] = keep(building / "ATTRIBUTION.tsv", attribution(made).encode())
    manifest = {
        "format": FORMAT,
        "name": spec.name,
        "version": version,
        "digest": name,
        "title": spec.title,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "previous": previous,
        "spec": spec.model_dump(mode="json", by_alias=True),
        "splits": _splits(made, shown, written),
        "columns": columns.facts(),
        "from": dict(origin),
        "licences": {"policy": POLICY, "allow": list(spec.licences.allow), "counts": counts(made)},
    }
    files["README.md"] = keep(
        building / "README.md", card(made, manifest, shown, {path: what for path, (what, _) in drawn.items()}).encode()
    )
    manifest["files"] = files
    keep(building / MANIFEST, sealed(manifest))
    return manifest


def _splits(made: Draft, shown: Mapping[str, Any], written: list[Written]) -> dict[str, Any]:
    found = {}
    for each in shown["splits"]:
        mine = [one for one in written if one.path.startswith(f"{each['split']}/")]
        found[each["split"]] = {key: each[key] for key in ("rows", "tracks", "groups", "seconds")} | {
            "bytes": sum(one.bytes for one in mine),
            "shards": [one.path for one in mine],
        }
    return found


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
