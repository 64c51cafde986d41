"""Nearest neighbours among vectors, and a few that stand for all: the one door to FAISS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    Vectors = NDArray[np.float32]

# Above so many vectors an exact search takes minutes: an inverted file answers instead, from a share of its cells.
EXACT = 50_000
# Queries of an exact search that are answered at once; those of which each may find thousands.
BLOCK, FEW = 4096, 64
KINDS = (np.int64, np.int64, np.float32)


def unit(vectors: Vectors) -> Vectors:
    """(rows, dimensions) float32 of length 1 each, so that an inner product is a cosine; rows of zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 0, length, 1), np.float32)


def finite(vectors: Vectors) -> Vectors:
    """The vectors, with zeros for rows in which a number is NaN or infinite: near nothing."""
    return np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, np.float32(0))


def nearest(vectors: Vectors, queries: Vectors, count: int, exact: bool | None = None) -> tuple[Vectors, NDArray[np.int64]]:
    """The nearest vectors to each query by cosine, the nearest first.

    Args:
        vectors: (rows, dimensions) float32, finite. queries: (queries, dimensions) float32.
        count: neighbours for each query; -1 and a cosine of -inf stand where there are fewer rows.
        exact: look at every row; below `EXACT` rows if absent.
    Returns:
        (queries, count) cosines, and (queries, count) rows.
    """
    faiss = _faiss()
    vectors, queries = unit(vectors), unit(queries)
    dimensions = vectors.shape[1]
    index: Any = faiss.IndexFlatIP(dimensions)
    if not (len(vectors) <= EXACT if exact is None else exact):
        cells = int(np.sqrt(len(vectors)))
        index = faiss.IndexIVFFlat(index, dimensions, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 0
        index.train(vectors[np.random.default_rng(0).permutation(len(vectors))[: cells * 40]])
        index.nprobe = max(8, cells // 50)
    index.add(vectors)
    cosines, rows = index.search(queries, count)
    return np.where(rows < 0, -np.inf, cosines).astype(np.float32), rows


def near(vectors: Vectors, threshold: float, limit: int = 64) -> tuple[NDArray[np.int64], NDArray[np.int64], Vectors]:
    """Rows whose cosine is at least `threshold`, looking at every row, in blocks.

    Of a row that has more than `limit` such neighbours (silence, say, in thousands of clips) the nearest are given, and of the others as
    many as join all rows that a chain of near ones joins: components are those of all pairs, though not all pairs are listed.

    Args:
        vectors: (rows, dimensions) float32; rows that are zero or not finite are near nothing. threshold: above 0.
    Returns:
        left (pairs,), right (pairs,) with left < right, and cosines (pairs,); by left, then right.
    """
    faiss = _faiss()
    vectors = unit(finite(vectors))
    index: Any = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Vectors]] = []
    full: list[NDArray[np.int64]] = []
    take = min(limit + 1, len(vectors))  # a row's nearest is mostly itself
    for first in range(0, len(vectors), BLOCK):
        cosines, rows = index.search(vectors[first : first + BLOCK], take)
        enough = cosines >= threshold
        mine = np.broadcast_to(np.arange(first, first + len(rows))[:, None], rows.shape)
        found.append((mine[enough], rows[enough], cosines[enough]))
        if take < len(vectors):
            full.append(first + np.flatnonzero(enough[:, -1]))
    found += _joining(index, vectors, np.concatenate([np.empty(0, np.int64), *full]), threshold, found)
    one, other, cosine = (np.concatenate([np.empty(0, kind), *parts]) for kind, parts in zip(KINDS, _columns(found), strict=True))
    left, right = np.minimum(one, other).astype(np.int64), np.maximum(one, other).astype(np.int64)
    _, keep = np.unique(left * len(vectors) + right, return_index=True)
    keep = keep[left[keep] < right[keep]]
    return left[keep], right[keep], np.minimum(cosine[keep], 1).astype(np.float32)


def _joining(
    index: Any,
    vectors: Vectors,
    full: NDArray[np.int64],
    threshold: float,
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Vectors]],
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Vectors]]:
    """Further pairs of the rows `full`, but only such as join what no pair joined before."""
    if not len(full):
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    def components(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
        links = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(vectors), len(vectors)))
        return np.asarray(connected_components(links, directed=False)[1], np.int64)

    group = components(np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found]))
    more: list[tuple[NDArray[np.int64], NDArray[np.int64], Vectors]] = []
    for first in range(0, len(full), FEW):
        asked = full[first : first + FEW]
        ends, cosines, rows = index.range_search(vectors[asked], np.nextafter(np.float32(threshold), np.float32(-1)))
        mine = np.repeat(asked, np.diff(ends.astype(np.int64)))
        # One pair for each two components: their smallest, whichever it is.
        apart = np.flatnonzero(group[mine] != group[rows])
        low, high = np.minimum(group[mine[apart]], group[rows[apart]]), np.maximum(group[mine[apart]], group[rows[apart]])
        apart = apart[np.unique(low * len(vectors) + high, return_index=True)[1]]
        if len(apart):
            more.append((mine[apart], rows[apart], cosines[apart]))
            members = np.arange(len(vectors))
            _, leader = np.unique(group, return_index=True)
            group = components(np.concatenate([members, mine[apart]]), np.concatenate([leader[group], rows[apart]]))
    return more


def _columns(found: list[tuple[NDArray[np.int64], NDArray[np.int64], Vectors]]) -> list[list[NDArray[Any]]]:
    return [[each[at] for each in found] for at in range(3)]


def centres(vectors: Vectors, count: int, seed: int = 0) -> NDArray[np.int64]:
    """The rows nearest to the centres of k-means, the largest cluster first; fewer than `count` where centres share a row.

    Args:
        vectors: (rows, dimensions) float32, finite. count: clusters, at most as many as rows.
    """
    faiss = _faiss()
    vectors = np.ascontiguousarray(vectors, np.float32)
    if count >= len(vectors):
        return np.arange(len(vectors))
    means = faiss.Kmeans(vectors.shape[1], count, niter=20, nredo=5, seed=seed, min_points_per_centroid=1, max_points_per_centroid=1000)
    means.train(vectors)
    _, clusters = means.index.search(vectors, 1)
    sizes = np.bincount(clusters[:, 0], minlength=count)
    index: Any = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    _, rows = index.search(np.ascontiguousarray(means.centroids[np.argsort(-sizes, kind="stable")]), 1)
    return np.array(list(dict.fromkeys(rows[:, 0].tolist())), np.int64)


def _faiss() -> Any:
    import faiss

    # Each search's numbers are its own: more threads are no other result, only an earlier one.
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    return faiss
