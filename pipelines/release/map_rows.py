"""Rows by index: the row group that a row lies in is decoded when it is asked for, and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.fs as pafs
import torch
from torch.utils.data import Dataset

from pipelines.groups import Pool, RowGroups


class MapRows(Dataset[dict[str, Any]]):
    """A map-style dataset: an item is a dict: a tensor for each array and each number, anything else as it is.

    It pickles to spawned workers; each keeps decoded row groups of its own, up to `cache_bytes`.
    """

    def __init__(self, parts: Sequence[str], filesystem: pafs.FileSystem, columns: Sequence[str], cache_bytes: int = 1 << 30) -> None:
        self._groups = RowGroups(parts, filesystem, columns)
        self._ends = np.cumsum(self._groups.sizes)
        self._cache_bytes = cache_bytes
        self._held: OrderedDict[int, tuple[Pool, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        group = int(np.searchsorted(self._ends, index, side="right"))
        row = index - int(self._ends[group] - self._groups.sizes[group])
        return {name: _item(column[row]) for name, column in self._pool(group).items()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows, as a loader asks for a batch: each row group is decoded once for all of them."""
        items: dict[int, dict[str, Any]] = {
            at: self[indices[at]] for at in sorted(range(len(indices)), key=lambda at: indices[at] % len(self))
        }
        return [items[at] for at in range(len(indices))]

    def _pool(self, group: int) -> Pool:
        if group in self._held:
            self._held.move_to_end(group)
            return self._held[group][0]
        pool = self._groups.read(np.array([group]), {}, int(self._groups.sizes[group]))
        size = sum(column.nbytes if isinstance(column, np.ndarray) else 64 * len(column) for column in pool.values())
        self._held[group] = pool, size
        self._bytes += size
        while self._bytes > self._cache_bytes and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1][1]
        return pool

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": OrderedDict(), "_bytes": 0}


def _item(value: Any) -> Any:
    # A copy: the row group's memory is not held by a row, and a row may be written to.
    return torch.tensor(value) if isinstance(value, np.ndarray | np.generic) else value
