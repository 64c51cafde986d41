"""What threads have in hand, in memory that outlives a crash: the next child of the same parent reads whose fault it may have been."""

from __future__ import annotations

import hashlib
import itertools
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_BYTES = 20  # of a name's digest
_THREADS, _SUSPECTS = 256, 16_384


class InHand:
    """Names that threads hold, shared by a process with all that it forks."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BYTES * (_THREADS + _SUSPECTS))
        self._own = threading.local()
        self._numbers = itertools.count()
        self._suspects: frozenset[bytes] = frozenset()

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Have something in hand. It costs a microsecond or two."""
        if not hasattr(self._own, "at"):
            self._own.at = _BYTES * (next(self._numbers) % _THREADS)
        at = self._own.at
        self._memory[at : at + _BYTES] = _digest(name)
        try:
            yield
        finally:
            self._memory[at : at + _BYTES] = bytes(_BYTES)

    def suspect(self, name: str) -> bool:
        """Whether it was in hand when an earlier child ended; see `look`."""
        return bool(self._suspects) and _digest(name) in self._suspects

    def look(self) -> None:
        """Take what earlier children left in hand for suspects, as long as the parent lives; nothing may be held yet."""
        slots = [self._memory[at : at + _BYTES] for at in range(0, len(self._memory), _BYTES)]
        found = list(dict.fromkeys(each for each in (*slots[_THREADS:], *slots[:_THREADS]) if any(each)))[:_SUSPECTS]
        self._suspects = frozenset(found)
        self._memory[:] = (bytes(_BYTES * _THREADS) + b"".join(found)).ljust(len(self._memory), b"\0")


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=_BYTES).digest()
