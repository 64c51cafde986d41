"""Recordings that are the same: re-encodings, excerpts and noisy copies by fingerprint, near copies by embedding.

What was found is a table, `groups`: a row for each recording and each other that it is joined with, and one row for a recording that is
alone. A search over other fingerprints, embeddings or settings is another variant; the latest holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.part import StoreError

if TYPE_CHECKING:
    from pipelines.store import Store

TABLE = "groups"
SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("group", pa.string()),  # the smallest track_id among those that it is joined with, directly or by others
        ("why", pa.string()),  # "fingerprint", "embedding"; null for a recording that is alone
        ("score", pa.float64()),  # landmarks that agree, or the cosine
        ("other", pa.string()),
        ("offset", pa.float64()),  # seconds of `other` at which this recording begins; null for embeddings
    ]
)


@dataclass(frozen=True)
class Pair:
    """Two recordings that are the same, track_id < other. offset: seconds of `other` at which `track_id` begins; None by embedding."""

    track_id: str
    other: str
    why: str
    score: float
    offset: float | None = None


def duplicate_groups(store: Store) -> list[tuple[str, str, str, float]]:
    """The pairs of recordings that the latest `earmark duplicates` found to be the same.

    Returns:
        (track_id, other track_id, why, score), track_id < other, sorted; why is "fingerprint" (score: landmarks that agree)
        or "embedding" (score: cosine). Files of identical bytes are one track_id already and no pair.
    Raises:
        StoreError: nobody has looked for duplicates in this store; the message says which command does.
    """
    rows = _rows(store, ["track_id", "other", "why", "score"])
    return sorted(
        (row["track_id"], row["other"], row["why"], row["score"]) for row in rows if row["other"] and row["track_id"] < row["other"]
    )


def groups(store: Store) -> dict[str, str]:
    """The group of every recording that was looked at: the smallest track_id among those that it is joined with, its own if none.

    Recordings heard since then are no keys of it.

    Raises:
        StoreError: as `duplicate_groups`.
    """
    return {row["track_id"]: row["group"] for row in _rows(store, ["track_id", "group"])}


def near_pairs(
    vectors: NDArray[np.float32], threshold: float, limit: int = 64
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows whose cosine is at least `threshold`: all that closure by single links needs, never all pairs in memory.

    Args:
        vectors: (rows, dimensions) float32; rows that are zero or not finite are near nothing.
        threshold: cosine, above 0. limit: a row's nearest so many are all given; of more, as many as join what is to be joined.
    Returns:
        left (pairs,), right (pairs,) with left < right, and cosines (pairs,); by left, then right.
    Raises:
        ValueError: the threshold is not above 0 and at most 1.
    """
    from pipelines.neighbours import near

    if not 0 < threshold <= 1:
        raise ValueError(f"near: {threshold} is no cosine above 0; 0.98 is usual")
    return near(vectors, threshold, limit)


def closure(tracks: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each: the smallest among all that pairs join it with, directly or by others.

    >>> closure(["d", "c", "b", "a"], [("d", "c"), ("b", "c")])
    {'d': 'b', 'c': 'b', 'b': 'b', 'a': 'a'}
    """
    parent: dict[str, str] = {track: track for track in tracks}

    def root(track: str) -> str:
        while parent[track] != track:
            parent[track] = track = parent[parent[track]]
        return track

    for one, other in pairs:
        parent.setdefault(one, one)
        parent.setdefault(other, other)
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {track: root(track) for track in parent}


def _rows(store: Store, columns: list[str]) -> list[dict[str, Any]]:
    variant = store.current().get(TABLE, "")
    if not variant or not store.names(TABLE, variant):
        raise StoreError(f"{store.root}: nobody has looked for duplicates; 'earmark duplicates --store {store.root}' does")
    rows: list[dict[str, Any]] = store.table(TABLE, variant).to_table(columns).to_pylist()
    return rows
