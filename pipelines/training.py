"""Rows of a table as batches of torch tensors: shuffled, shared out among workers and ranks, resumed at an exact batch.

Which row comes when follows from (seed, epoch, workers, ranks) and the footers alone, so a position is a number of batches:

- the row groups of all parts are put in an order, drawn anew for every epoch;
- that sequence of rows is cut into equal stretches, one per worker of every rank;
- a worker reads `pool` row groups at a time and draws the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pipelines.cells import TableError, to_numpy
from pipelines.position import Plan

Batch = dict[str, Any]


class TrainingRows(IterableDataset[Batch]):
    """An iterable dataset of ready-made batches; hand it to a loader with `batch_size=None`.

    A batch is a dict: numbers and arrays of one shape as a tensor (rows, *shape), arrays of several shapes as a list of tensors,
    anything else as a list of Python values. It pickles to spawned workers and is forked safely: files are opened where
    they are read. (Object stores' clients do not survive a fork: use multiprocessing_context="spawn" with them.)

    Args:
        parts, filesystem: the table's; their footers are read here, once.
        columns: what to read; nothing else is.
        epoch: which pass over the rows; `set_epoch` between passes.
        start_batch: how many batches of that epoch had been taken from a loader with the same number of workers.
    Raises:
        TableError: an option is out of its range.
    """

    def __init__(
        self,
        parts: Sequence[str],
        filesystem: pafs.FileSystem,
        columns: Sequence[str],
        plan: Plan | None = None,
        epoch: int = 0,
        start_batch: int = 0,
    ) -> None:
        self.parts = list(parts)
        self.filesystem = filesystem
        self.columns = list(columns)
        self.plan = plan or Plan()
        with ThreadPoolExecutor() as threads:
            footers = list(threads.map(partial(_row_groups, filesystem), self.parts))
        self._sizes = np.array([rows for groups in footers for rows in groups], np.int64)
        self._parts = np.array([part for part, groups in enumerate(footers) for _ in groups], np.int64)
        self._groups = np.array([group for groups in footers for group in range(len(groups))], np.int64)
        self._taken = start_batch
        # Shared with workers that live on from epoch to epoch: epoch, batches to skip, workers they were counted with (0: any).
        self._position = torch.tensor([epoch, start_batch, 0]).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def rows(self) -> int:
        """Rows of an epoch, over all ranks."""
        return int(self._sizes.sum())

    def batches(self, workers: int = 0) -> int:
        """Batches that a loader with that many workers gives in a whole epoch."""
        among = max(1, workers)
        return sum(self.plan.batches(self.rows, worker, among) for worker in range(among))

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass for the next iteration: another one starts at its first batch, the present one where it stood."""
        if epoch != int(self._position[0]):
            self._position[:] = torch.tensor([epoch, 0, 0])
            self._taken = 0

    def state_dict(self, batches: int | None = None, workers: int = 0) -> dict[str, Any]:
        """Where the pass stands, as plain numbers.

        Args:
            batches: how many the loop has taken in this epoch, those skipped at its start among them. A loader's workers read
                ahead, so only the loop knows; without workers it may be left out.
            workers: the loader's num_workers.
        """
        taken = self._taken if batches is None else batches
        return {"epoch": int(self._position[0]), "batches": taken, "workers": max(1, workers), **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict` when next iterated, with as many workers as then.

        Raises:
            TableError: the rows, or how they are put into batches, are not those of the state.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise TableError(f"the position was saved with {name}={state.get(name)}, and here it is {value}")
        self._position[:] = torch.tensor([state["epoch"], state["batches"], state["workers"]])
        self._taken = state["batches"]

    def _identity(self) -> dict[str, Any]:
        return {"rows": self.rows, "row_groups": len(self._sizes), **asdict(self.plan)}

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, taken, counted_with = self._position.tolist()
        if counted_with and counted_with != workers:
            raise TableError(f"the position was counted with {counted_with} workers, and this loader has {workers}")
        role, given = self.plan.place(self.rows, taken, worker, workers)
        self._taken = taken
        parts: list[Batch] = []
        missing = self.plan.batch_size
        for pool, drawn in self._pools(epoch, role, workers, given):
            while len(drawn):
                now, drawn = drawn[:missing], drawn[missing:]
                parts.append({name: _taken(column, now) for name, column in pool.items()})
                missing -= len(now)
                if not missing:
                    self._taken += 1
                    yield _joined(parts)
                    parts, missing = [], self.plan.batch_size
        if parts:
            self._taken += 1
            yield _joined(parts)

    def _pools(self, epoch: int, role: int, workers: int, given: int) -> Iterator[tuple[dict[str, Any], NDArray[Any]]]:
        """What is in memory at a time, and which of its rows come in which order."""
        plan, count = self.plan, len(self._sizes)
        order = np.random.default_rng([plan.seed, epoch]).permutation(count) if plan.shuffle else np.arange(count)
        ends = np.cumsum(self._sizes[order])
        first, last = plan.stretch(self.rows, role, workers)
        at = first + given * plan.batch_size
        stop = min(last, first + plan.batches(self.rows, role, workers) * plan.batch_size)
        groups = plan.pool if plan.shuffle else 1  # nothing to mix: one at a time
        room = int(np.sort(self._sizes)[-groups:].sum())  # for the largest pool that may come
        buffers: dict[str, NDArray[Any]] = {}
        # Pools are counted from the stretch's own first row group, so that they are the same wherever one goes on.
        begin, end = np.searchsorted(ends, first, side="right"), np.searchsorted(ends, last, side="left") + 1
        for low in range(int(begin), min(int(end), count), groups):
            high = min(low + groups, int(end), count)
            offset = int(ends[low] - self._sizes[order[low]])
            start, finish = max(offset, first), min(int(ends[high - 1]), last)
            if start >= stop:
                return
            if finish <= at:
                continue  # given before: its files are not even opened
            drawn: NDArray[Any] = np.arange(start, finish) - offset
            if plan.shuffle:
                drawn = np.random.default_rng([plan.seed, epoch, low, first]).permutation(drawn)
            yield self._read(order[low:high], buffers, room, threads=workers == 1), drawn[max(at - start, 0) : stop - start]

    def _read(self, groups: NDArray[Any], buffers: dict[str, NDArray[Any]], room: int, threads: bool) -> dict[str, Any]:
        """Row groups' columns one after another: arrays in `buffers`, which serve every pool, as new pages cost more than decoding."""
        pool: dict[str, Any] = {name: [] for name in self.columns}
        at = 0
        for group in groups:
            with pq.ParquetFile(self.parts[self._parts[group]], filesystem=self.filesystem) as file:
                table = file.read_row_group(int(self._groups[group]), columns=self.columns, use_threads=threads).combine_chunks()
            for name in self.columns:
                column, field = table.column(name), table.schema.field(name)
                values = to_numpy(column.chunk(0), field) if column.num_chunks else []
                if isinstance(values, np.ndarray):
                    if name not in buffers:
                        buffers[name] = np.empty((room, *values.shape[1:]), values.dtype)
                    buffers[name][at : at + len(values)] = values
                    pool[name] = buffers[name]
                else:
                    pool[name] += column.to_pylist() if values is None else values
            at += table.num_rows
        return pool


def _row_groups(filesystem: pafs.FileSystem, path: str) -> list[int]:
    footer = pq.read_metadata(path, filesystem=filesystem)
    return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]


def _taken(column: Any, rows: NDArray[Any]) -> Any:
    if isinstance(column, np.ndarray):
        return np.take(column, rows, axis=0)
    return [torch.tensor(column[row]) if isinstance(column[row], np.ndarray) else column[row] for row in rows]


def _joined(parts: list[Batch]) -> Batch:
    return {name: _joined_column([part[name] for part in parts]) for name in parts[0]}


def _joined_column(values: list[Any]) -> Any:
    if isinstance(values[0], np.ndarray):
        return torch.from_numpy(np.concatenate(values) if len(values) > 1 else values[0])
    return [value for each in values for value in each]
