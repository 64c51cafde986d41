"""What every engine gives back for a unit of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipelines.stage import Heard, Unit


@dataclass(frozen=True)
class Lost:
    """A worker that died or hung with the unit in hand."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """An exception that no retry would mend."""

    message: str


Outcome = Heard | Lost | Failed


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
