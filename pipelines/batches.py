"""A batch under way: rows are copied once, from the pool to where the loader's process will find them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.groups import Pool

Batch = dict[str, Any]
_ALIGNED = 64  # bytes


class Filling:
    """A batch of a known number of rows that takes them from one pool after another.

    Args:
        pool: the first of them; it says what the columns are.
        shared: in shared memory, all arrays in one piece: workers send one handle for each piece, which costs more than a small batch.
    """

    def __init__(self, pool: Pool, rows: int, shared: bool) -> None:
        self.rows = self.missing = rows
        shapes = {name: (column.dtype, (rows, *column.shape[1:])) for name, column in pool.items() if isinstance(column, np.ndarray)}
        sizes = {name: math.prod(shape) * dtype.itemsize for name, (dtype, shape) in shapes.items()}
        self._layout = {}
        end = 0
        for name, (dtype, shape) in shapes.items():
            self._layout[name] = end, torch.from_numpy(np.empty(0, dtype)).dtype, shape
            end += -(-sizes[name] // _ALIGNED) * _ALIGNED
        self._piece = _shared(end) if shared else torch.empty(end, dtype=torch.uint8)
        self._tensors = _views(self._piece, self._layout)
        self._arrays = {name: tensor.numpy() for name, tensor in self._tensors.items()}
        self._lists: dict[str, list[Any]] = {name: [] for name in pool if name not in shapes}
        self._names = list(pool)
        self._shared = shared

    def take(self, pool: Pool, rows: NDArray[Any]) -> NDArray[Any]:
        """Copy as many rows as are missing.

        Returns:
            the rows that were not needed.
        """
        now, rest = rows[: self.missing], rows[self.missing :]
        at = self.rows - self.missing
        for name, column in pool.items():
            if name in self._arrays:
                # "clip", as "raise" copies once more; the rows are ours.
                np.take(column, now, axis=0, out=self._arrays[name][at : at + len(now)], mode="clip")
            else:
                self._lists[name] += [_as_tensor(column[row]) for row in now]
        self.missing -= len(now)
        return rest

    def whole(self) -> Batch:
        """The batch, its columns in order."""
        batch: Batch = {name: self._tensors[name] if name in self._tensors else self._lists[name] for name in self._names}
        return _Sent(batch, self._piece, self._layout) if self._shared and self._layout else batch


class _Sent(Batch):
    """A batch that goes to another process as one piece of memory and what it holds; it arrives as a dict of its own."""

    def __init__(self, batch: Batch, piece: torch.Tensor, layout: Mapping[str, Any]) -> None:
        super().__init__(batch)
        self._piece, self._layout = piece, layout

    def __copy__(self) -> _Sent:
        return _Sent(self, self._piece, self._layout)

    def __reduce__(self) -> tuple[Any, ...]:
        same = {name: place for name, place in self._layout.items() if self._is_there(name, *place)}
        return _arrived, (self._piece, same, [(name, None if name in same else value) for name, value in self.items()])

    def _is_there(self, name: str, at: int, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
        """Whether a column still lies where it was put: a collate_fn may have changed it for another."""
        value = self.get(name)
        if not isinstance(value, torch.Tensor) or not value.is_contiguous():
            return False
        return value.dtype == dtype and tuple(value.shape) == shape and value.data_ptr() == self._piece.data_ptr() + at


def _arrived(piece: torch.Tensor, layout: Mapping[str, Any], values: list[tuple[str, Any]]) -> Batch:
    views = _views(piece, layout)
    return {name: views.get(name, value) for name, value in values}


def _views(piece: torch.Tensor, layout: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: piece[at : at + math.prod(shape) * dtype.itemsize].view(dtype).view(shape) for name, (at, dtype, shape) in layout.items()}


def _shared(size: int) -> torch.Tensor:
    storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call] # as torch's own collate does
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _as_tensor(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray) else value
