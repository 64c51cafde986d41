"""Beam: the same shards on Dataflow, Flink, Spark or Beam's own runner; what became of each is read from the store.

A pipeline runs in a child process, so that a crashing decoder ends the child and not the run. Each unit leaves two small files in the
store: that it was begun, and its outcome. They come back from any runner, which values do not.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pyarrow.fs as pafs

from pipelines.engines.beam_pipeline import ROUND, name_of, notes_folder, outcome_in
from pipelines.engines.engine import Lost, Outcome
from pipelines.part import StoreError
from pipelines.process import ENVIRONMENT, alive
from pipelines.stage import Unit
from pipelines.store import Store

POLL_SECONDS = 0.5
STOP_SECONDS = 10.0


class Beam:
    """Units by a Beam pipeline, a round at a time: what a round loses, or the caller adds, goes into the next.

    Args:
        store: where the outcomes are left, too, in a hidden folder that goes away with this engine.
        options: of the pipeline, as Beam has them: ["--runner=DataflowRunner", "--region=…"]; DirectRunner without.
        accelerator: as Beam's resource hint says it ("type:nvidia-tesla-t4;count:1;install-nvidia-driver"); workers then compute on CUDA.
    """

    def __init__(self, store: str, options: Sequence[str] = (), accelerator: str = "") -> None:
        self.workers = 0  # the runner's affair
        self.device = "cuda" if accelerator else "cpu"
        self.counters: dict[str, int] = {}
        self._store = Store(store)
        self._options = list(options)
        self._accelerator = accelerator
        self._folder = notes_folder(self._store)
        self._suspects: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="earmark-beam-")  # Beam leaves its own behind when it is ended

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty and nothing is in flight.

        Raises:
            StoreError: a pipeline did not start.
        """
        number = 0
        while queue:
            number += 1
            units: dict[str, Unit] = {}
            while queue:
                unit = queue.popleft()
                units[name_of(unit)] = unit
            yield from self._round(f"{self._folder}/{number}", units, queue)

    def close(self) -> None:
        """Stop the pipeline, and take the notes away."""
        self._stop()
        folder = self._store.folder(self._folder)
        if self._store.filesystem.get_file_info(folder).type == pafs.FileType.Directory:
            self._store.filesystem.delete_dir(folder)
        self._scratch.cleanup()

    def _round(self, folder: str, units: dict[str, Unit], queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        said = os.path.join(self._scratch.name, "said")
        self._start(folder, units, said)
        assert self._child is not None  # noqa: S101 - it was started
        left = dict(units)
        workers: dict[str, int] = {}  # of this machine, by what they have begun
        guilty: set[str] | None = None
        moved = time.monotonic()
        patience = max(unit.deadline() for unit in units.values()) + 60.0
        while True:
            # Before the look at the notes, so that nothing is missed.
            ended = self._child.poll() is not None
            died = {name for name, worker in workers.items() if not alive(worker)}
            looked = time.monotonic()
            notes = self._notes(folder)
            looked = time.monotonic() - looked
            for name in [name for name in left if f"{name}.done" in notes]:
                moved = time.monotonic()
                workers.pop(name, None)
                yield left.pop(name), outcome_in(self._store, self._store.folder(f"{folder}/{name}.done"))
            if ended:
                break
            begun = {name for name in left if f"{name}.begun" in notes}
            workers |= {name: int(self._read(folder, f"{name}.begun")) for name in begun - workers.keys() if notes[f"{name}.begun"]}
            # Beam's runner waits for ever for a worker that died, and others may. Machines take a cloud some minutes, so only
            # what was begun counts.
            if died & left.keys() or (begun and time.monotonic() - moved > patience):
                guilty = died & left.keys() or begun
                self._stop()
            time.sleep(max(POLL_SECONDS, 5 * looked))  # a bucket lists a thousand notes at a time
        if "counters" in notes:
            counted: dict[str, int] = json.loads(self._read(folder, "counters"))
            self.counters = {name: self.counters.get(name, 0) + counted.get(name, 0) for name in {*self.counters, *counted}}
        begun = {name for name in left if f"{name}.begun" in notes}
        lost = begun if guilty is None else begun & guilty
        if left and not begun and len(left) == len(units):  # it never started: the same again would end the same way
            with open(said, errors="replace") as file:
                last = file.read().strip().splitlines()[-1:] or [f"its process ended with {self._child.returncode}"]
            raise StoreError(f"{self._store.root}: the Beam pipeline did not start: {last[0]}")
        for name, unit in left.items():
            if name in lost:
                self._suspects.add(unit.shard)
                yield unit, Lost("its worker died or did not end")
            else:
                queue.append(unit)

    def _start(self, folder: str, units: dict[str, Unit], said: str) -> None:
        work = [(unit, unit.dry or unit.shard in self._suspects) for unit in units.values()]
        there = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "TMPDIR": self._scratch.name, ROUND: folder}
        with open(said, "wb") as file:
            self._child = subprocess.Popen(
                # Not by -m: what is in __main__ is pickled by value.
                [sys.executable, "-c", "from pipelines.engines.beam_pipeline import main; main()"],
                stdin=subprocess.PIPE,  # open for as long as this process lives
                stdout=subprocess.DEVNULL,
                stderr=file,
                env={**os.environ, **ENVIRONMENT, **there},
                start_new_session=True,
            )
        assert self._child.stdin is not None  # noqa: S101 - it was asked for
        with suppress(BrokenPipeError):  # it has ended already, and why is in `said`
            self._child.stdin.write(pickle.dumps((self._store.root, folder, work, self._options, self._accelerator)))
            self._child.stdin.flush()

    def _stop(self) -> None:
        """End the pipeline's process and those that it has started; one that waits for a job elsewhere cancels it first."""
        if self._child is None or self._child.poll() is not None:
            return
        os.killpg(self._child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _notes(self, folder: str) -> dict[str, int]:
        """The notes that are there, and their sizes."""
        selector = pafs.FileSelector(self._store.folder(folder), allow_not_found=True)
        return {info.base_name: info.size for info in self._store.filesystem.get_file_info(selector)}

    def _read(self, folder: str, name: str) -> bytes:
        with self._store.filesystem.open_input_file(f"{self._store.folder(folder)}/{name}") as file:
            content: bytes = file.read()
        return content
