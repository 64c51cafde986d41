"""The Beam pipeline itself: the process that builds it and waits for it, and what its workers do with a shard."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.fs as pafs

from pipelines.engines.engine import Failed, Lost, Outcome, raised
from pipelines.part import attempt, unfinished
from pipelines.stage import Heard, Unit
from pipelines.store import Store

COUNTED = ("tracks", "clips", "views", "seconds", "bytes")
ROUND = "EARMARK_BEAM_ROUND"  # in the environment of the pipeline's process and of workers that it starts on this machine
_MONTH = 30 * 86_400.0  # no pipeline of another machine is without a new round for so long
_KINDS: dict[str, Any] = {"Heard": Heard, "Lost": Lost, "Failed": Failed}

Work = tuple[Unit, bool]  # and whether it works in a process of its own, as it may have ended a worker before


def notes_folder(store: Store) -> str:
    """A new folder for a pipeline's notes, below the store's root; those that killed commands left are taken away."""
    for info in store.filesystem.get_file_info(pafs.FileSelector(store.folder(".beam"), allow_not_found=True)):
        written = info.mtime.timestamp() if info.mtime else time.time()
        if unfinished(info.base_name, _MONTH, written):
            with contextlib.suppress(OSError):  # somebody else does the same
                store.filesystem.delete_dir(info.path)
    return attempt(".beam/notes")


def name_of(unit: Unit) -> str:
    """What its notes are called in a round."""
    said = json.dumps([unit.shard, unit.part, unit.tables, unit.tracks, unit.dry, unit.poison])
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def work_on(unit: Unit, apart: bool, folder: str) -> Outcome:
    """What a worker does with one unit: make its parts, and leave the outcome where the driver looks for it.

    Runners repeat what died with its worker. What has an outcome is not made again; what was begun may have been the
    cause, and is made in a process of its own.
    """
    from pipelines.engines.apart import hear_apart
    from pipelines.engines.memory import bounded, share
    from pipelines.engines.watchdog import deadline
    from pipelines.process import keep_memory
    from pipelines.stage import hear

    keep_memory()
    store, name = Store(unit.store, founded=True), name_of(unit)
    begun, done = (f"{folder}/{name}.{note}" for note in ("begun", "done"))
    before = [info.type == pafs.FileType.File for info in store.filesystem.get_file_info([*map(store.folder, (begun, done))])]
    if before[1]:
        return outcome_in(store, store.folder(done))
    here = os.environ.get(ROUND) == folder  # then the driver can see whether this process lives
    store.put(begun, str(os.getpid()).encode() if here else b"")
    outcome: Outcome
    if apart or before[0]:
        outcome = hear_apart(unit)
    else:
        try:
            with deadline(unit.deadline()), bounded(share(unit.recipe.run.memory_gb, workers=0)):
                outcome = hear(unit)
        except Exception as error:  # noqa: BLE001 - every exception is an outcome; the run reports it
            outcome = raised(error)
    store.put(done, json.dumps({"outcome": type(outcome).__name__, **asdict(outcome)}).encode())
    return outcome


def outcome_in(store: Store, path: str) -> Outcome:
    """Read the outcome that a worker has left."""
    with store.filesystem.open_input_file(path) as file:
        said = json.loads(file.read())
    try:
        outcome: Outcome = _KINDS[said.pop("outcome")](**said)
    except TypeError:
        outcome = Failed("its worker has another version of earmark; install this one on the workers, or build their image anew")
    return outcome


def build(folder: str, work: Sequence[Work], options: Sequence[str], accelerator: str) -> Any:
    """A pipeline that hears `work` and leaves notes in `folder` of the store."""
    import apache_beam as beam
    from apache_beam.metrics import Metrics
    from apache_beam.options.pipeline_options import PipelineOptions

    class Hear(beam.DoFn):  # type: ignore[misc]
        """A unit becomes its parts; counters tell the runner's own pages how far it is."""

        def process(self, each: Work) -> Iterator[str]:
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
    return pipeline


def _run(store: str, folder: str, work: Sequence[Work], options: Sequence[str], accelerator: str) -> None:
    """Run one pipeline to its end."""
    from apache_beam.metrics import MetricsFilter

    result = build(folder, work, options, accelerator).run()

    def cancel(*_: object) -> None:
        try:
            result.cancel()
        finally:
            os._exit(143)

    signal.signal(signal.SIGTERM, cancel)
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("earmark"))["counters"]
    counted = {each.key.metric.name: each.result or 0 for each in counters}  # job servers say nothing where it is 0
    Store(store, founded=True).put(f"{folder}/counters", json.dumps(counted).encode())


def main() -> None:
    """Run the pipeline that the parent process describes on standard input, and stop with the parent."""
    described = pickle.load(sys.stdin.buffer)

    def watch() -> None:
        os.read(0, 1)  # nothing more comes: it ends when the parent does
        os.killpg(0, signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    try:
        _run(*described)
    except Exception as error:  # noqa: BLE001 - runners raise whatever they like; the parent tells the last line
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
