"""Recordings into splits: as stated, as they were, and the rest by stratification; whole groups only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from annotation import foreign
from pipelines.part import StoreError
from pipelines.release.check import mistake
from pipelines.release.closure import Closure
from pipelines.release.rows import Rows, expression, place
from pipelines.release.said import Said
from pipelines.release.spec import Release
from pipelines.release.split import FREE, settled, stratified


@dataclass(frozen=True, eq=False)
class Divided:
    """split: (catalogue,) place among the splits, -1 for recordings without rows. home: the same, of recordings without rows too.

    groups: (catalogue,) number of the group from 0 among those that have rows, -1 for others. sizes: (groups,) clips.
    moved: recordings that had another split in an earlier version, and why.
    """

    split: NDArray[np.int64]
    home: NDArray[np.int64]
    groups: NDArray[np.int64]
    sizes: NDArray[np.int64]
    moved: Sequence[Mapping[str, str]]


def divide(
    spec: Release,
    file: Path | None,
    catalogue: pa.Table,
    rows: Rows,
    stays: NDArray[np.bool_],
    columns: Sequence[Said],
    closed: Closure,
    before: Mapping[str, str],
) -> Divided:
    """Give every recording that has rows a split.

    Args:
        stays: (rows,) those that may be released. before: split by track_id in earlier versions.
    Raises:
        StoreError: what the file states parts a group.
    """
    names = tuple(spec.split.shares)
    members = np.unique(rows.track[stays])
    _, group = np.unique(closed.group[members], return_inverse=True)
    count = int(group.max()) + 1
    number = np.full(len(catalogue), -1, np.int64)
    number[members] = group
    clips = stays & ((rows.view == 0) | (rows.parent < 0) | ~stays[rows.parent])  # a clip once, however many views it has
    once = np.flatnonzero(clips)
    sizes = np.bincount(number[rows.track[once]], minlength=count).astype(np.float64)
    positives = [np.zeros((count, 0))]
    wanted = spec.split.stratify or tuple(each.words.column for each in columns if each.words.form == "tags")
    for each in columns:
        if each.words.column in wanted:
            tags = np.zeros((count, len(each.tags)))
            np.add.at(tags, number[rows.track[once]], each.values[once] == 1)
            positives.append(tags)
    track_ids = catalogue.column("track_id").take(pa.array(members)).to_pylist()
    stated = _stated(spec, file, catalogue)[members]
    fixed = _whole(spec, file, stated, group, count, members, closed, catalogue)
    kept = settled(before, group, track_ids, names)
    fixed = np.where(fixed != FREE, fixed, kept)
    first = np.full(count, len(members), np.int64)
    np.minimum.at(first, group, np.arange(len(members)))
    chosen = stratified(
        np.concatenate(positives, axis=1), sizes, tuple(spec.split.shares.values()), fixed, [track_ids[at] for at in first], spec.split.seed
    )
    split = np.full(len(catalogue), -1, np.int64)
    split[members] = chosen[group]
    # A recording that is only mixed into others is at home where its group is, else where models learn.
    home = np.zeros(len(catalogue), np.int64)
    of_group = np.zeros(len(catalogue), np.int64)
    of_group[closed.group[members]] = chosen[group]
    home[:] = of_group[closed.group]
    moved = []
    for at, name in enumerate(track_ids):
        had, now = before.get(name, ""), names[chosen[group[at]]]
        if had and had != now:
            why = _why(spec, had, stated[at] != FREE, closed, members[group == group[at]])
            moved.append({"track_id": name, "from": had, "to": now, "why": why})
    return Divided(split, home, number, sizes.astype(np.int64), moved)


def _why(spec: Release, had: str, stated: bool, closed: Closure, members: NDArray[np.int64]) -> str:
    if stated:
        return "the release's file states it"
    if had not in spec.split.shares:
        return f"there is no split {had!r} any more"
    return f"now one group with recordings of another split: {closed.why(members, spec.split.close) or 'through recordings between them'}"


def _stated(spec: Release, file: Path | None, catalogue: pa.Table) -> NDArray[np.int64]:
    """(catalogue,) the split that the file gives each recording, or `FREE`.

    Raises:
        StoreError: two splits are stated for a recording, or the table of splits cannot be used.
    """
    stated = np.full(len(catalogue), FREE, np.int64)
    names = tuple(spec.split.shares)
    if spec.split.file:
        return _listed(Path(spec.split.file) if file is None else file.parent / spec.split.file, catalogue, names)
    numbered = catalogue.append_column("row", pa.array(np.arange(len(catalogue))))
    for name, where in spec.split.where.items():
        rows = numbered.filter(expression(where)).column("row").to_numpy()
        if (twice := rows[stated[rows] != FREE]).size:
            track = catalogue.column("track_id")[int(twice[0])].as_py()
            both = f"{names[stated[twice[0]]]} and {name}"
            raise StoreError(mistake(file, ("split", "where", name), f"track {track} is stated to be in {both}; narrow one of them"))
        stated[rows] = names.index(name)
    return stated


def _listed(path: Path, catalogue: pa.Table, names: tuple[str, ...]) -> NDArray[np.int64]:
    import pyarrow.csv as pacsv

    try:
        table = foreign.parquet(path) if path.suffix == ".parquet" else pacsv.read_csv(foreign.regular(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from error
    key = next((name for name in ("track_id", "uri") if name in table.column_names), "")
    if not key or "split" not in table.column_names:
        raise StoreError(f"{path}: needs the columns track_id or uri, and split; there are {foreign.named(table.column_names)}")
    said = [str(each) for each in table.column("split").to_pylist()]
    if strange := sorted(set(said) - set(names)):
        raise StoreError(f"{path}: split {strange[0]!r} has no share; there are {', '.join(names)}")
    at = place(catalogue.column(key).combine_chunks(), table.column(key).cast(pa.string()).combine_chunks())
    number = np.array([names.index(each) for each in said], np.int64)
    known = at >= 0
    stated = np.full(len(catalogue), FREE, np.int64)
    stated[at[known]] = number[known]
    if (stated[at[known]] != number[known]).any():
        both = table.column(key)[int(np.flatnonzero(known)[stated[at[known]] != number[known]][0])].as_py()
        raise StoreError(f"{path}: {key} {both!r} stands there twice, with different splits")
    return stated


def _whole(
    spec: Release,
    file: Path | None,
    stated: NDArray[np.int64],
    group: NDArray[np.int64],
    count: int,
    members: NDArray[np.int64],
    closed: Closure,
    catalogue: pa.Table,
) -> NDArray[np.int64]:
    """(groups,) the split that is stated for any of their recordings.

    Raises:
        StoreError: two are stated for one group.
    """
    low, high = np.full(count, len(spec.split.shares), np.int64), np.full(count, FREE, np.int64)
    there = stated != FREE
    np.minimum.at(low, group[there], stated[there])
    np.maximum.at(high, group[there], stated[there])
    parted = np.flatnonzero((high != FREE) & (low != high))
    if parted.size:
        inside = members[group == parted[0]]
        names = tuple(spec.split.shares)
        pair = [int(inside[np.flatnonzero(stated[group == parted[0]] == each)[0]]) for each in (low[parted[0]], high[parted[0]])]
        tracks = [catalogue.column("track_id")[at].as_py() for at in pair]
        where = " and ".join(f"track {name} in {names[each]}" for name, each in zip(tracks, (low[parted[0]], high[parted[0]]), strict=True))
        why = closed.why(inside, spec.split.close) or "through recordings between them"
        more = f" ({parted.size - 1} more groups are parted)" if parted.size > 1 else ""
        text = f"{where} are stated, but they belong together: {why}; take a relation out of split.close, or state one split{more}"
        raise StoreError(mistake(file, ("split", "file" if spec.split.file else "where"), text))
    return high


def too_large(spec: Release, divided: Divided) -> NDArray[np.int64]:
    """Groups with more clips than the smallest split is to have, the largest first."""
    smallest = min(spec.split.shares.values()) * divided.sizes.sum()
    large = np.flatnonzero(divided.sizes > smallest)
    return large[np.argsort(-divided.sizes[large], kind="stable")] if len(spec.split.shares) > 1 else large[:0]


def facts(spec: Release, closed: Closure, divided: Divided, catalogue: pa.Table, group: int) -> dict[str, Any]:
    """What to say of one group."""
    members = np.flatnonzero(divided.groups == group)
    total = divided.sizes.sum()
    return {
        "tracks": len(members),
        "clips": int(divided.sizes[group]),
        "share": float(divided.sizes[group] / total),
        "split": tuple(spec.split.shares)[divided.split[members[0]]],
        "by": closed.why(members, spec.split.close),
        "track_id": catalogue.column("track_id")[int(members[0])].as_py(),
    }
