"""Which rows of an epoch fall to which worker of which rank, and where each goes on after a number of batches."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.cells import TableError


@dataclass(frozen=True)
class Plan:
    """How rows are put into batches.

    batch_size: rows of a batch; the last of each worker may have fewer, unless `drop_last` leaves it out.
    shuffle: draw the order of row groups, and of the rows within `pool` of them; else rows come as they are stored.
    seed: of every draw.
    pool: row groups in memory at once; a store's have 8 MB or one shard's rows, whichever is less.
    rank, ranks: which of several processes this one is.
    even: with several ranks, leave out up to one row per worker in each epoch, so that every rank has the same number of batches, as
        training in step needs; else every row comes, and a rank may have a batch more than another.
    """

    batch_size: int = 32
    shuffle: bool = False
    seed: int = 0
    pool: int = 16
    drop_last: bool = False
    rank: int = 0
    ranks: int = 1
    even: bool = True

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.pool < 1:
            raise TableError(f"batch_size and pool are at least 1, got batch_size={self.batch_size} pool={self.pool}")
        if not 0 <= self.rank < self.ranks:
            raise TableError(f"rank counts from 0 to ranks - 1, got rank={self.rank} ranks={self.ranks}")

    def stretch(self, rows: int, worker: int, workers: int) -> tuple[int, int]:
        """The rows, from and to, of the epoch's sequence that a worker of this rank gives."""
        at, among = self.rank * workers + worker, self.ranks * workers
        if self.ranks > 1 and self.even:
            return at * (rows // among), (at + 1) * (rows // among)
        return at * rows // among, (at + 1) * rows // among

    def batches(self, rows: int, worker: int, workers: int) -> int:
        """How many batches a worker gives in an epoch."""
        start, end = self.stretch(rows, worker, workers)
        return (end - start) // self.batch_size if self.drop_last else -(-(end - start) // self.batch_size)

    def place(self, rows: int, taken: int, worker: int, workers: int) -> tuple[int, int]:
        """Where a worker goes on after `taken` batches of the epoch were taken from all workers in turn.

        Returns:
            (role, batches): the worker of the first run whose part it plays, and how many batches that one had given.
            A loader asks its first worker first, so the part that is due falls to worker 0.
        """
        counts = [self.batches(rows, each, workers) for each in range(workers)]
        rounds = min(taken // workers, min(counts))
        given, due = [rounds] * workers, 0
        # Stretches differ by one row, hence counts by one batch: what is left over is less than one more round.
        left = taken - rounds * workers
        for each in range(workers):
            if left and counts[each] > rounds:
                given[each] += 1
                left -= 1
                due = each + 1
        role = (worker + due) % workers
        return role, given[role]
