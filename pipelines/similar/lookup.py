"""Looking hashes up in the index of landmarks: prefix by prefix, and only what may hold them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from extractors.fingerprint import HASH_BITS
from pipelines.similar.landmarks import PREFIX_BITS, PREFIXES, TABLE, source, whole_groups
from pipelines.store import Store

# A hash that more landmarks share, and many times as many as the average hash, tells nothing and is passed over (a tone
# that thousands of recordings hold): the work for a hash is bounded.
COMMON, COMMON_TIMES = 1000, 32


class Landmarks:
    """The index for looking up, as it is now.

    tracks: the recordings met so far; `hits` speaks of them by their place here.
    lengths: frames of every recording in the index, up to its last landmark. frames, landmarks: of all of them together.
    shards: what it was built from.
    """

    def __init__(self, store: Store) -> None:
        """Raises StoreError where there are no fingerprints."""
        self.store, self.source = store, source(store)
        groups = whole_groups(store, self.source.variant)
        self.groups = list(groups)
        self.shards = sorted(shard for each in groups.values() for shard in each["shards"])
        self.lengths: dict[str, int] = {}
        for each in groups.values():
            self.lengths.update(each["lengths"])
        self.frames = sum(self.lengths.values())
        self.landmarks = sum(int(each["landmarks"]) for each in groups.values())
        self.tracks: list[str] = []
        self._codes: dict[str, int] = {}
        self._footers: dict[str, tuple[pq.FileMetaData, NDArray[np.int64]]] = {}

    @property
    def common(self) -> int:
        """Landmarks of one hash above which it is passed over."""
        return max(COMMON, COMMON_TIMES * self.landmarks // (1 << HASH_BITS))

    def hits(
        self, hashes: NDArray[np.uint32], prefixes: int = PREFIXES
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Every landmark in the index that has one of the hashes; one prefix after the other, of which few rows are in memory.

        Args:
            hashes: (hashes,), in any order, any of them more than once. prefixes: only so many of the 16 are looked up.
        Returns:
            for each prefix: (hits,) which of `hashes`, (hits,) which of `tracks`, (hits,) frame.
        """
        order = np.argsort(hashes, kind="stable")
        wanted = hashes[order].astype(np.int64)
        borders = np.searchsorted(wanted, np.arange(PREFIXES + 1) << HASH_BITS - PREFIX_BITS)
        for prefix in range(prefixes):
            mine = slice(borders[prefix], borders[prefix + 1])
            if mine.start == mine.stop:
                continue
            found = [each for group in self.groups if (each := self._read(f"{prefix:x}-{group}", wanted[mine])) is not None]
            if not found:
                continue
            held, tracks, frames = map(np.concatenate, zip(*found, strict=True))
            by_hash = np.argsort(held, kind="stable")
            held = held[by_hash]
            first, last = (np.searchsorted(held, wanted[mine], side) for side in ("left", "right"))
            count = np.where(last - first > self.common, 0, last - first)
            place = by_hash[np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)]
            yield np.repeat(order[mine], count), tracks[place], frames[place]

    def _read(self, name: str, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
        """Hashes, tracks and frames of the rows of one part that have one of the hashes wanted, (hashes,) in order."""
        path = f"{self.store.folder(TABLE, self.source.variant)}/{name}.parquet"
        if name not in self._footers:
            footer = pq.read_metadata(path, filesystem=self.store.filesystem)
            statistics = [footer.row_group(at).column(0).statistics for at in range(footer.num_row_groups)]
            self._footers[name] = footer, np.array([(each.min, each.max) for each in statistics], np.int64).reshape(-1, 2)
        footer, bounds = self._footers[name]
        some = np.flatnonzero(np.searchsorted(wanted, bounds[:, 0]) < np.searchsorted(wanted, bounds[:, 1], "right"))
        if not len(some):
            return None
        with self.store.filesystem.open_input_file(path) as file:
            rows = pq.ParquetFile(file, metadata=footer, read_dictionary=["track_id"]).read_row_groups(some.tolist())
        hashes = rows["hash"].to_numpy().astype(np.int64)
        near = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        keep = wanted[near] == hashes
        tracks = np.concatenate([self._numbers(chunk.dictionary)[chunk.indices.to_numpy()] for chunk in rows["track_id"].chunks])
        return hashes[keep], tracks[keep], rows["frame"].to_numpy().astype(np.int64)[keep]

    def _numbers(self, names: pa.Array) -> NDArray[np.int64]:
        """The recordings' places in `tracks`."""
        for name in (found := names.to_pylist()):
            if name not in self._codes:
                self._codes[name] = len(self.tracks)
                self.tracks.append(name)
        return np.array([self._codes[name] for name in found], np.int64)
