"""Rows of a table as batches of torch tensors: shuffled, shared out among workers and ranks, resumed at an exact batch.

Which row comes when follows from (seed, epoch, workers, ranks) and the footers alone, so a position is a number of batches:

- the row groups of all parts are put in an order, drawn anew for every epoch;
- that sequence of rows is cut into equal stretches, one per worker of every rank;
- a worker reads `pool` row groups at a time and draws the order of their rows.

New pages of memory cost as much as decoding what goes into them: pools are read into buffers that serve again, and a worker fills
its batches in shared memory, where the loader's process takes them from.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.fs as pafs
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pipelines.batches import Batch, Filling
from pipelines.cells import TableError
from pipelines.groups import Pool, RowGroups
from pipelines.position import Plan


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
        self.columns = list(columns)
        self.plan = plan or Plan()
        self._groups = RowGroups(parts, filesystem, columns)
        self._sizes = self._groups.sizes
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
        left = max(0, self._stop(role, workers) - self.plan.stretch(self.rows, role, workers)[0] - given * self.plan.batch_size)
        batch: Filling | None = None
        with closing(self._pools(epoch, role, workers, given, alone=info is None)) as pools:
            for pool, drawn in pools:
                while len(drawn):
                    batch = batch or Filling(pool, min(self.plan.batch_size, left), shared=info is not None)
                    drawn = batch.take(pool, drawn)
                    if not batch.missing:
                        self._taken += 1
                        left -= batch.rows
                        yield batch.whole()
                        batch = None

    def _stop(self, role: int, workers: int) -> int:
        """Where a worker's stretch ends; earlier than it does, if its last batch is left out."""
        first, last = self.plan.stretch(self.rows, role, workers)
        return min(last, first + self.plan.batches(self.rows, role, workers) * self.plan.batch_size)

    def _pools(self, epoch: int, role: int, workers: int, given: int, alone: bool) -> Generator[tuple[Pool, NDArray[Any]]]:
        """What is in memory at a time, and which of its rows come in which order.

        Args:
            alone: there are no worker processes: a thread reads the next pool meanwhile.
        """
        turns = self._turns(epoch, role, workers, given)
        if not alone:
            buffers: Pool = {}
            for groups, drawn in turns:
                yield self._groups.read(groups, buffers, self._room), drawn
            return
        both: tuple[Pool, Pool] = ({}, {})
        with ThreadPoolExecutor(1) as ahead:
            waiting: Any = None
            for turn, (groups, drawn) in enumerate(turns):
                coming = ahead.submit(self._groups.read, groups, both[turn % 2], self._room), drawn
                if waiting:
                    yield waiting[0].result(), waiting[1]
                waiting = coming
            if waiting:
                yield waiting[0].result(), waiting[1]

    @property
    def _room(self) -> int:
        """Rows of the largest pool that may come."""
        return int(np.sort(self._sizes)[-self._at_once :].sum())

    @property
    def _at_once(self) -> int:
        return self.plan.pool if self.plan.shuffle else 1  # nothing to mix: one at a time

    def _turns(self, epoch: int, role: int, workers: int, given: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Which row groups are read at a time, and which of their rows are given, in which order."""
        plan, count = self.plan, len(self._sizes)
        order = np.random.default_rng([plan.seed, epoch]).permutation(count) if plan.shuffle else np.arange(count)
        ends = np.cumsum(self._sizes[order])
        first, last = plan.stretch(self.rows, role, workers)
        at, stop, groups = first + given * plan.batch_size, self._stop(role, workers), self._at_once
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
            yield order[low:high], drawn[max(at - start, 0) : stop - start]
