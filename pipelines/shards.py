"""How new tracks are cut into shards, the units of work: fixed once, when they are scanned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pipelines.tracks import TRACKS, table

if TYPE_CHECKING:
    from pipelines.store import Store

# A small collection is cut into this many shards, so that every core of a cluster has work, ...
_PIECES = 64
# ... but not finer than this, or starting a shard would cost more than hearing it.
_SHORTEST_SECONDS = 120.0
# How fine is decided at the latest when this many tracks wait for it.
_MOST_WAITING = 100_000

_ID = TRACKS.get_field_index("track_id")
_SECONDS = TRACKS.get_field_index("seconds")


def shard_name(track_ids: Iterable[str]) -> str:
    """A shard's name, from its tracks in order: two stores of the same collection have the same shards.

    >>> shard_name(["a", "b"])
    '7e18f737311b2dc3'
    """
    return hashlib.sha256("\n".join(track_ids).encode()).hexdigest()[:16]


class Shards:
    """Takes new tracks in order and publishes them, shard by shard, as parts of `tracks`.

    A shard holds at most `seconds` of sound, or one longer track. How fine to cut depends on how much there is; once
    there is enough for full shards, or as much as should be held in memory, they are published as they fill, so that a
    scan that is killed has not worked in vain.

    Args:
        seconds: see above. kept: is called before each is published, and raises if another scan is at work.
    """

    def __init__(self, store: Store, seconds: float, kept: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self.seconds = 0.0
        self._store = store
        self._kept = kept
        self._longest = seconds
        self._target = 0.0
        self._waiting: list[tuple[Any, ...]] = []
        self._open: list[tuple[Any, ...]] = []
        self._open_seconds = 0.0

    def add(self, row: tuple[Any, ...]) -> None:
        """Take one track, a tuple in the order of `TRACKS`."""
        self.seconds += row[_SECONDS]
        if self._target:
            self._place(row)
            return
        self._waiting.append(row)
        if self._aim() == self._longest or len(self._waiting) >= _MOST_WAITING:
            self._settle()

    def finish(self) -> None:
        """Publish what is left."""
        if not self._target:
            self._settle()
        self._publish()

    def _aim(self) -> float:
        return min(self._longest, max(_SHORTEST_SECONDS, self.seconds / _PIECES))

    def _settle(self) -> None:
        self._target = self._aim()
        waiting, self._waiting = self._waiting, []
        for row in waiting:
            self._place(row)

    def _place(self, row: tuple[Any, ...]) -> None:
        if self._open_seconds + row[_SECONDS] > self._target:
            self._publish()
        self._open.append(row)
        self._open_seconds += row[_SECONDS]

    def _publish(self) -> None:
        if self._open:
            self._kept()
            self._store.publish("tracks", shard_name(row[_ID] for row in self._open), table(self._open, TRACKS))
            self.count += 1
        self._open, self._open_seconds = [], 0.0
