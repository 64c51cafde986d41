"""What every engine gives back for a unit of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipelines.stage import Heard, Unit


@dataclass(frozen=True)
class Lost:
    """A worker that died or hung with the unit in hand.

    blameless: for a reason that says nothing of the unit's files, as when its machine was full.
    """

    reason: str
    blameless: bool = False


@dataclass(frozen=True)
class Failed:
    """An exception that no retry would mend."""

    message: str


Outcome = Heard | Lost | Failed


def raised(error: BaseException) -> Lost | Failed:
    """What an exception says of its unit. One for want of memory comes of a file, as a crash does, and so that file is looked for."""
    if isinstance(error, MemoryError):
        return Lost(f"more memory was asked for than its machine has{f' ({error})' if str(error) else ''}")
    return Failed(f"{type(error).__name__}: {error}")


class Engine(Protocol):
    """Spreads units over workers."""

    workers: int
    device: str

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty and nothing is in flight; the caller may add to the queue meanwhile."""
        ...

    def close(self) -> None:
        """Stop the workers, whatever they do."""
        ...
