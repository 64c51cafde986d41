"""The end of a process whose work takes too long: nothing else stops C code."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_lock = threading.Lock()
_ends: dict[object, float] = {}
_quiet: list[IO[str]] = []  # the worker's standard error may not be a real file


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End this process unless the block is left in time. Several threads may be in such blocks; the earliest end counts."""
    mine = object()
    with _lock:
        _ends[mine] = time.monotonic() + seconds
        _arm()
    try:
        yield
    finally:
        with _lock:
            del _ends[mine]
            _arm()


def _arm() -> None:
    if not _ends:
        faulthandler.cancel_dump_traceback_later()
        return
    if not _quiet:
        _quiet.append(open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
    # A timer in C, which runs even if Python's lock is held; there is one for each process.
    faulthandler.dump_traceback_later(max(0.01, min(_ends.values()) - time.monotonic()), exit=True, file=_quiet[0])
