"""How fast a run gets on, and how long it has to go."""

from __future__ import annotations

from collections import deque

RECENT = 600.0  # seconds that the pace goes by, at least


class Pace:
    """Shards per second of late: over the last ten minutes, or the last half of the run if that is longer.

    Shards are worked on in the order of their names, which are digests, so those that are done are a fair sample of the others,
    however uneven they are. Workers that start together also end their first shards together: nothing is said before a second
    round may have begun, as the first would look like a sprint.

    Args:
        began: when the work did, in seconds of any steady clock; what follows is in the same.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._first = 0.0
        self._settled: deque[tuple[float, int]] = deque([(began, 0)])

    def told(self, settled: int, now: float) -> None:
        """Take in how many shards are settled, made or failed for good."""
        if settled and not self._first:
            self._first = now
        self._settled.append((now, settled))
        edge = now - max(RECENT, (now - self._began) / 2)
        while len(self._settled) > 2 and self._settled[1][0] <= edge:
            self._settled.popleft()

    def rate(self) -> float | None:
        """Shards per second as last told; None as long as nothing is known."""
        (since, before), (now, settled) = self._settled[0], self._settled[-1]
        if not self._first or now <= since or now - self._began < 2 * (self._first - self._began):
            return None
        return (settled - before) / (now - since) or None


def clock(seconds: float) -> str:
    """A length of time for people.

    >>> clock(48), clock(620), clock(86_000)
    ('48 s', '10 min', '23.9 h')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
