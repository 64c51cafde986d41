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


def unit(vectors: Vectors) -> Vectors:
    """(rows, dimensions) float32 of length 1 each, so that an inner product is a cosine; rows of zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 0, length, 1), np.float32)


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


def _faiss() -> Any:
    import faiss

    # Each search's numbers are its own: more threads are no other result, only an earlier one.
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    return faiss
