"""The reference engine: threads in this process, as decoders and networks release the GIL."""

from __future__ import annotations

import hashlib
import os
import queue as queues
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from augment import stretching
from pipelines.engines.apart import hear_apart
from pipelines.engines.engine import Lost, Outcome, raised
from pipelines.engines.memory import bounded, share
from pipelines.process import alive, keep_memory
from pipelines.stage import Unit, hear


class Local:
    """A thread for each worker.

    A file that crashes its decoder, or takes memory without end, ends the whole process, so each shard under way is noted in
    a small file outside the store; those which a dead run left are worked on in child processes the next time. A thread that
    hangs is given up.

    Raises:
        ValueError: the folder for those notes is somebody else's.
    """

    def __init__(self, store: str, workers: int = 0, device: str = "auto") -> None:
        self.store = store
        self.workers = workers or len(os.sched_getaffinity(0))
        self.device = _device(device)
        folder = hashlib.sha256(store.encode()).hexdigest()[:16]
        self._notes = _home() / folder
        self._notes.mkdir(exist_ok=True)
        self._suspects = self._left_open()
        keep_memory()
        stretching.apart(self.workers > 1)  # it would keep the other threads waiting

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty and nothing is in flight."""
        done: queues.SimpleQueue[tuple[int, Outcome]] = queues.SimpleQueue()
        tasks: queues.SimpleQueue[tuple[int, Unit]] = queues.SimpleQueue()
        started: dict[int, float] = {}
        live: dict[int, Unit] = {}
        given_up: set[int] = set()
        number = 0

        def work() -> None:
            while True:
                key, unit = tasks.get()
                started[key] = time.monotonic()
                done.put((key, self._hear(unit)))
                if key in given_up:
                    return  # it hung, was replaced, and came back after all

        for _ in range(self.workers):
            threading.Thread(target=work, name=f"hear {self.store}", daemon=True).start()
        while queue or live:
            # One more than there are threads, so that none waits for this one to wake up.
            while queue and len(live) <= self.workers:
                number += 1
                live[number] = queue.popleft()
                tasks.put((number, live[number]))
            try:
                key, outcome = done.get(timeout=0.5)
            except queues.Empty:
                pass
            else:
                started.pop(key, None)
                if key in live:
                    yield live.pop(key), outcome
            for key, began in list(started.items()):
                # Work apart has a deadline of its own; the margin leaves it the first word.
                if key in live and time.monotonic() - began > live[key].deadline() + 5:
                    unit = live.pop(key)
                    started.pop(key)
                    given_up.add(key)
                    self._suspects.add(unit.shard)
                    threading.Thread(target=work, name=f"hear {self.store}", daemon=True).start()
                    yield unit, Lost(unit.overdue())

    def close(self) -> None:
        """The threads are daemons and need no stopping."""
        stretching.apart(False)

    def _hear(self, unit: Unit) -> Outcome:
        if unit.dry or unit.shard in self._suspects:
            return hear_apart(unit)
        note = self._notes / f"{unit.shard}.{socket.gethostname()}.{os.getpid()}"
        note.touch()
        try:
            with bounded(share(unit.recipe.run.memory_gb, self.workers)):
                return hear(unit)
        except Exception as error:  # noqa: BLE001 - every exception is an outcome; the run reports it
            return raised(error)
        finally:
            note.unlink(missing_ok=True)

    def _left_open(self) -> set[str]:
        """The shards that were under way when an earlier run died."""
        suspects = set()
        for note in self._notes.iterdir():
            shard, _, process = note.name.partition(".")
            if not alive(int(process.rpartition(".")[2])):
                suspects.add(shard)
                note.unlink(missing_ok=True)
        return suspects


def _home() -> Path:
    """The folder of this user's notes. On a shared machine anybody may have made one of that name, or a link to elsewhere."""
    home = Path(tempfile.gettempdir()) / f"earmark-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.lstat().st_uid != os.getuid():
        raise ValueError(f"{home}: belongs to somebody else; set TMPDIR to a folder of your own")
    return home


def _device(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    # Asked of the driver's library, because importing torch to hear "no" takes two seconds.
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        if wanted == "gpu":
            raise ValueError("run.devices: 'gpu', but this machine has no CUDA driver; take 'auto' or 'cpu'") from None
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
