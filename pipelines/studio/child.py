"""A server process that lives no longer than the process that started it, even if that one is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, Signals

# Ends the server when the pipe that its parent alone holds is closed: nothing else tells of a killed parent on every system.
GUARD = 'read -r nothing; kill -s "$1" "$2"'


class Child:
    """A running server.

    It has a session of its own: Ctrl-C in a terminal reaches the parent alone, which then stops its servers in order.

    Args:
        command: program and arguments.
        log: a file of mode 600 to which its output is added.
        ending: the signal that asks it to end.
        environment: all of it; nothing is inherited. None: the parent's.
        user: the numbers of user and group to run as, if it is not to run as the parent's.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ending: Signals,
        environment: Mapping[str, str] | None = None,
        user: tuple[int, int] | None = None,
    ) -> None:
        self.log = log
        self.ending = ending
        uid, gid = user or (None, None)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            self._from = out.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env=environment,
                user=uid,
                group=gid,
                extra_groups=[] if user else None,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", ending.name[3:], str(self.process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, seconds: float = 30) -> None:
        """Ask it to end; after some seconds, end it."""
        if self.alive():
            self.process.send_signal(self.ending)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End it as the kernel would when memory runs out."""
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin:
            self._guard.stdin.close()
        if self.alive():
            self.process.send_signal(SIGKILL)
        self.process.wait()

    def said(self) -> str:
        """What it has written to its log."""
        with open(self.log, "rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")


def process_alive(pid: int, words: str) -> bool:
    """Whether a process is there whose command line contains these words; numbers of processes are used again."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        command = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return words in command


def wait_until_gone(pid: int, words: str, seconds: float = 30) -> bool:
    """Whether a process ended within some seconds."""
    end = time.monotonic() + seconds
    while process_alive(pid, words):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
