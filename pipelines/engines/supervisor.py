"""A parent that watches: when a file crashes the process that hears it, the run goes on."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

from pipelines.engines.memory import GREEDY

CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGALRM}
MOST = 1000
STUCK_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1


def supervised(what: str = "shard") -> None:
    """Return in a child process; the parent stays behind, starts another child after a crash, and ends as the last one did.

    The next child finds what was under way (see `Local` and `InHand`) and works on that in processes of its own, so no file
    crashes two children.

    Args:
        what: is set apart, for people.
    """
    for _ in range(MOST):
        child = os.fork()
        if child == 0:
            _die_with_parent()
            threading.Thread(target=_beat, name="heartbeat", daemon=True).start()
            return
        status = _wait(child)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == GREEDY:
            print(f"a file took more memory than a worker may (run.memory_gb); going on with that {what} set apart", file=sys.stderr)
            continue
        if not os.WIFSIGNALED(status):
            os._exit(os.WEXITSTATUS(status))
        if os.WTERMSIG(status) not in CRASHES:
            os.kill(os.getpid(), os.WTERMSIG(status))
        name = signal.Signals(os.WTERMSIG(status)).name
        event = "something held Python's lock for two minutes" if name == "SIGALRM" else "a file crashed its decoder or network"
        print(f"{event} ({name}); going on with that {what} set apart", file=sys.stderr)
    os._exit(1)


def _beat() -> None:
    """Wind up the kernel's timer, which ends the process, for as long as Python threads run at all.

    C code that waits while it holds Python's lock stops every thread, a watchdog's among them.
    """
    while True:
        signal.setitimer(signal.ITIMER_REAL, STUCK_SECONDS)
        time.sleep(STUCK_SECONDS / 24)


def _die_with_parent() -> None:
    # Whoever kills the parent means the run.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(child: int) -> int:
    while True:
        try:
            return os.waitpid(child, 0)[1]
        except KeyboardInterrupt:
            continue  # the child was interrupted too, and says so itself
