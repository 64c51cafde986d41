"""Which recordings belong together, so that none of a kind is learnt from while another of it is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.part import StoreError
from pipelines.store import Store

# What tells that recordings belong together: columns of `tracks`.
COLUMNS = ("artist", "album", "group")


def groups(store: Store, tracks: Sequence[str], by: Sequence[str] = COLUMNS) -> NDArray[np.int64]:
    """(clips,) the number of the group that each clip's recording is in: those linked by any of the columns, through others too.

    Recordings that the table `groups` calls duplicates are linked as well. A recording of which nothing is known is a group of its own.

    Args:
        tracks: track_id of each clip. by: columns of `tracks`; () is each recording by itself.
    Raises:
        StoreError: there is no such column.

    Albums count by title alone: two artists' "Greatest Hits" are linked for nothing, but no compilation is torn apart.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if strange := [name for name in by if name not in COLUMNS]:
        raise StoreError(f"groups: {strange[0]!r} is not one of {', '.join(COLUMNS)}, none")
    names, place = np.unique(np.asarray(tracks, object).astype(str), return_inverse=True)
    number = {name: index for index, name in enumerate(names.tolist())}
    links: list[tuple[int, int]] = []
    first: dict[tuple[str, str], int] = {}
    for table, columns in _sources(store, by):
        rows = table.filter(pc.is_valid(table.column("track_id")))
        track_ids = rows.column("track_id").to_pylist()
        for column in columns:
            for track, value in zip(track_ids, rows.column(column).to_pylist(), strict=True):
                if value and track in number:
                    node = number[track]
                    links.append((first.setdefault((column, str(value)), node), node))
    ends = np.array(links, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    return np.asarray(component[place], np.int64)


def _sources(store: Store, by: Sequence[str]) -> list[tuple[Any, list[str]]]:
    found = []
    if by and (tracks := store.read("tracks", ["track_id", *by])) is not None:
        found.append((tracks, list(by)))
    if by and "groups" in store.tables():
        table = store.table("groups").to_table(columns=["track_id", "group"])
        found.append((table.rename_columns(["track_id", "duplicates"]), ["duplicates"]))
    return found


def folds(values: NDArray[np.float32], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(clips,) the fold of each clip: whole groups, so that each fold has its share of each tag and of the clips, rare tags first.

    Largest groups first, each goes where it brings the folds' shares nearest to equal.

    Args:
        values: (clips, tags) 1, 0 or nan. groups: (clips,). count: of folds.
    Raises:
        ValueError: there are fewer groups than folds.

    >>> folds(np.array([[1], [1], [0], [0]], np.float32), np.array([0, 1, 2, 3]), 2).tolist()
    [0, 1, 0, 1]
    """
    _, group = np.unique(groups, return_inverse=True)
    total = int(group.max()) + 1 if len(group) else 0
    if not 2 <= count <= total:
        raise ValueError(f"folds: {count} of {total} groups; each fold needs a group of recordings of its own, and there are two at least")
    counts = np.zeros((total, values.shape[1] + 1))
    np.add.at(counts, group, np.column_stack([values == 1, np.ones(len(values))]))
    sizes = counts / counts.sum(0).clip(1)
    held = np.zeros((count, counts.shape[1]))
    fold = np.zeros(total, np.int64)
    for each in np.lexsort((np.arange(total), -sizes.max(1))):
        # What the squares of the shares grow by; of equal folds the first.
        fold[each] = np.argmin(np.round((2 * held * sizes[each]).sum(1), 12))
        held[fold[each]] += sizes[each]
    return np.asarray(fold[group], np.int64)
