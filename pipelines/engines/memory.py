"""The end of a process whose work takes more memory than its share, before the machine ends a neighbour for it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# How a process ends that took more than its share.
GREEDY = 86

# Of the machine's memory, what all its workers may take; Ray's own monitor begins to end workers at 95 %.
_OURS = 0.8
# What one may take at least: machines with many cores and little memory would end honest work.
_LEAST_BYTES = 2e9
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_PAUSE_SECONDS = 0.1

_lock = threading.Lock()
_bounds: dict[object, tuple[float, Callable[[str], object]]] = {}
_watchers: list[threading.Thread] = []


def share(gigabytes: float = 0.0, workers: int = 1) -> float:
    """Bytes that a process may take.

    Args:
        gigabytes: for each worker; 0 is the machine's memory by its cores, and 2 at least.
        workers: in this process; 0 is as many as there are cores.
    """
    ours = _OURS * _machine_bytes()
    cores = len(os.sched_getaffinity(0))
    each = 1e9 * gigabytes or max(_LEAST_BYTES, ours / cores)
    return min((workers or cores) * each, ours)


@contextlib.contextmanager
def bounded(most: float, tell: Callable[[str], object] = str) -> Iterator[None]:
    """End this process if it takes more bytes than `most` while it is in the block.

    It is looked at ten times a second, by a thread: a limit of the kernel's would fail a neighbour's allocation as soon as the culprit's,
    and count address space, of which networks' libraries reserve far more than they fill.

    Args:
        tell: is told why before the process ends.
    """
    mine = object()
    with _lock:
        _bounds[mine] = (most, tell)
        if not _watchers:
            _watchers.append(threading.Thread(target=_watch, name="memory", daemon=True))
            _watchers[0].start()
    try:
        yield
    finally:
        with _lock:
            del _bounds[mine]


def reason(most: float) -> str:
    """Why a process with that bound ended."""
    return f"its process took more than {most / 1e9:.1f} GB of memory"


def _watch() -> None:
    while True:
        time.sleep(_PAUSE_SECONDS)
        with _lock:
            taken = _taken_bytes() if _bounds else 0
            over = [each for each in _bounds.values() if taken > each[0]]
            if over:
                try:
                    for most, tell in over:
                        tell(reason(most))
                finally:
                    os._exit(GREEDY)


def _taken_bytes() -> int:
    """Memory that nothing but this process fills: files and shared memory are others' too, and Ray's object store is both."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0  # no /proc here: nothing is bounded
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def _machine_bytes() -> int:
    """Of this machine, or of this container if it may take less."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for place in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            sizes.append(int(Path(place).read_text()))
    return min(sizes)
