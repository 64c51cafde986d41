"""Processes that tests start, with whatever these start themselves."""

from __future__ import annotations

import contextlib
import subprocess

import psutil


def end(child: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a process and all that it started; some of them may have ended by themselves meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(child.pid)
        for each in [*first.children(recursive=True), first]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    child.wait()
