"""Beam: the same shards on Dataflow, Flink, Spark or Beam's own runner; what became of each is read from the store.

A pipeline runs in a child process, so that a crashing decoder ends the child and not the run. Each unit leaves two small files in the
store: that it was begun, and its outcome. They come back from any runner, which values do not.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.fs as pafs

from pipelines.engines.engine import Failed, Lost, Outcome
from pipelines.part import publish
from pipelines.process import ENVIRONMENT
from pipelines.stage import Heard, Unit
from pipelines.store import Store

POLL_SECONDS = 0.5
COUNTED = ("tracks", "clips", "views", "seconds", "bytes")


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
        self._folder = f".beam/{uuid.uuid4().hex[:12]}"
        self._suspects: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty and nothing is in flight."""
        number = 0
        while queue:
            number += 1
            units: dict[str, Unit] = {}
            while queue:
                unit = queue.popleft()
                units[_name(unit)] = unit
            yield from self._round(f"{self._folder}/{number}", units, queue)

    def close(self) -> None:
        """Stop the pipeline, and take the notes away."""
        if self._child is not None and self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGTERM)  # it cancels a job that runs elsewhere
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._child.pid, signal.SIGKILL)
        folder = self._store.folder(self._folder)
        if self._store.filesystem.get_file_info(folder).type == pafs.FileType.Directory:
            self._store.filesystem.delete_dir(folder)

    def _round(self, folder: str, units: dict[str, Unit], queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        work = [(unit, unit.dry or unit.shard in self._suspects) for unit in units.values()]
        told = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the round ends
        self._child = subprocess.Popen(
            [sys.executable, "-c", "from pipelines.engines.beam import main; main()"],  # as __main__ it would be pickled by value
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )
        assert self._child.stdin is not None  # noqa: S101 - it was asked for
        self._child.stdin.write(pickle.dumps((self._store.root, folder, work, self._options, self._accelerator)))
        self._child.stdin.close()
        left = dict(units)
        moved = time.monotonic()
        patience = max(unit.deadline() for unit in units.values()) + 60.0
        while True:
            ended = self._child.poll() is not None  # before the look, so that nothing is missed
            notes = self._notes(folder)
            for name in [name for name in left if f"{name}.done" in notes]:
                moved = time.monotonic()
                yield left.pop(name), self._outcome(folder, name)
            if ended:
                break
            # A runner may wait for ever for a worker that died. Machines take a cloud some minutes, so only what was begun counts.
            if any(f"{name}.begun" in notes for name in left) and time.monotonic() - moved > patience:
                os.killpg(self._child.pid, signal.SIGKILL)
                self._child.wait()
            time.sleep(POLL_SECONDS)
        told.seek(0)
        last = told.read().decode(errors="replace").strip().splitlines()
        told.close()
        if "counters" in notes:
            counted: dict[str, int] = json.loads(self._read(folder, "counters"))
            self.counters = {name: self.counters.get(name, 0) + counted.get(name, 0) for name in {*self.counters, *counted}}
        begun = {name for name in left if f"{name}.begun" in notes}
        if left and not begun and len(left) == len(units):  # it never started: the same again would end the same way
            message = f"the Beam pipeline did not start: {last[-1] if last else f'its process ended with {self._child.returncode}'}"
            for unit in left.values():
                yield unit, Failed(message)
            return
        for name, unit in left.items():
            if name in begun:
                self._suspects.add(unit.shard)
                yield unit, Lost("its worker died or did not end")
            else:
                queue.append(unit)

    def _notes(self, folder: str) -> set[str]:
        selector = pafs.FileSelector(self._store.folder(folder), allow_not_found=True)
        return {info.base_name for info in self._store.filesystem.get_file_info(selector)}

    def _read(self, folder: str, name: str) -> bytes:
        with self._store.filesystem.open_input_file(f"{self._store.folder(folder)}/{name}") as file:
            content: bytes = file.read()
        return content

    def _outcome(self, folder: str, name: str) -> Outcome:
        said = json.loads(self._read(folder, f"{name}.done"))
        kinds: dict[str, Any] = {"Heard": Heard, "Lost": Lost, "Failed": Failed}
        outcome: Outcome = kinds[said.pop("outcome")](**said)
        return outcome


def work_on(unit: Unit, apart: bool, folder: str) -> Outcome:
    """What a worker does with one unit: make its parts, and leave the outcome where the driver looks for it.

    Args:
        apart: in a process of its own, as it may have ended a worker before.
    """
    from pipelines.engines.apart import hear_apart
    from pipelines.engines.watchdog import deadline
    from pipelines.process import keep_memory
    from pipelines.stage import hear

    keep_memory()
    store, place = Store(unit.store), f"{folder}/{_name(unit)}"
    publish(store.filesystem, store.folder(f"{place}.begun"), b"")
    outcome: Outcome
    if apart:
        outcome = hear_apart(unit)
    else:
        try:
            with deadline(unit.deadline()):
                outcome = hear(unit)
        except Exception as error:  # noqa: BLE001 - every exception is an outcome; the run reports it
            outcome = Failed(f"{type(error).__name__}: {error}")
    publish(store.filesystem, store.folder(f"{place}.done"), json.dumps({"outcome": type(outcome).__name__, **asdict(outcome)}).encode())
    return outcome


def _name(unit: Unit) -> str:
    said = json.dumps([unit.shard, unit.part, unit.tables, unit.tracks, unit.dry, unit.poison])
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def _pipeline(store: str, folder: str, work: list[tuple[Unit, bool]], options: Sequence[str], accelerator: str) -> None:
    """Run one pipeline to its end."""
    import apache_beam as beam
    from apache_beam.metrics import Metrics, MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions

    class Hear(beam.DoFn):  # type: ignore[misc]
        """A unit becomes its parts; counters tell the runner's own pages how far it is."""

        def process(self, each: tuple[Unit, bool]) -> Iterator[str]:
            outcome = work_on(*each, folder)
            Metrics.counter("earmark", type(outcome).__name__.lower()).inc()
            if isinstance(outcome, Heard):
                for name in COUNTED:
                    Metrics.counter("earmark", name).inc(int(getattr(outcome, name)))
                Metrics.counter("earmark", "rejects").inc(len(outcome.rejects))
            yield each[0].part

    pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    hear = beam.ParDo(Hear())
    if accelerator:
        hear = hear.with_resource_hints(accelerator=accelerator)
    # One shuffle spreads the shards over workers; nothing but their names passes through it.
    _ = pipeline | "shards" >> beam.Create(work, reshuffle=False) | "spread" >> beam.Reshuffle() | "hear" >> hear
    result = pipeline.run()

    def cancel(*_: object) -> None:
        result.cancel()
        os._exit(143)

    signal.signal(signal.SIGTERM, cancel)
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("earmark"))["counters"]
    there = Store(store)
    counted = {each.key.metric.name: each.result for each in counters}
    publish(there.filesystem, there.folder(f"{folder}/counters"), json.dumps(counted).encode())


def main() -> None:
    """Run the pipeline that the parent process describes on standard input."""
    _pipeline(*pickle.load(sys.stdin.buffer))
