"""How a process that computes should be set up, before NumPy is imported."""

from __future__ import annotations

import ctypes
import os

# More BLAS threads than one make bytes depend on their number, and are slower: parallelism is over shards.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # Ray: no usage report, and no GPU hidden from tasks that ask for none.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
}

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def single_threaded() -> None:
    """One thread for each library that would start its own; call it before they are imported."""
    os.environ.update(ENVIRONMENT)


def keep_memory() -> None:
    """Keep freed buffers instead of returning them to the system, which would clear each page again for the next batch."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # not glibc; its own allocator decides
    mallopt(_M_MMAP_THRESHOLD, 64 << 20)
    mallopt(_M_TRIM_THRESHOLD, 256 << 20)
    mallopt(_M_TOP_PAD, 16 << 20)


def alive(process: int) -> bool:
    """Whether a process of this host still runs; one that is dead and only waits for its parent does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return True  # no /proc here
