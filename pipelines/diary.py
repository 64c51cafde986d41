"""What a run tells while it is under way: a note in the store for `earmark status`, and lines of JSON for a log."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow.fs as pafs

from pipelines.engines.engine import Failed, Lost, Outcome
from pipelines.part import StoreError, publish
from pipelines.run import Summary
from pipelines.stage import Unit
from pipelines.store import Store

FOLDER = "runs"
EVERY = 5.0  # seconds between notes; a bucket keeps each
SILENCE = 60.0  # seconds without a note after which a run may be dead
RECENT = 600.0  # seconds of the rate that the estimate goes by


@dataclass(frozen=True)
class Note:
    """A run as it last told. state: "running", "done", "failed" (shards of it), "interrupted". at, began: seconds since 1970.

    recent: shards finished per second of late; None before the second.
    """

    run: str
    host: str
    process: int
    engine: str
    tables: tuple[str, ...]
    state: str
    began: float
    at: float
    planned: int
    shards: int
    tracks: int
    clips: int
    audio_seconds: float
    bytes: int
    rejects: dict[str, int]
    failed: int
    lost: int
    recent: float | None

    def __str__(self) -> str:
        took = max(self.at - self.began, 1e-9)
        since = time.time() - self.at
        state = self.state
        if state == "running" and since > SILENCE:
            state = f"silent for {since:.0f} s: dead, or on a long shard; the same 'earmark run' goes on where it stopped"
        lines = [
            f"run {self.run} on {self.host} ({self.engine}), begun {datetime.fromtimestamp(self.began, UTC):%Y-%m-%d %H:%M} UTC: {state}",
            f"  {self.shards} of {self.planned} shards, {self.tracks} tracks, {self.clips} clips,"
            f" {self.audio_seconds / 3600:.2f} h of sound, {self.audio_seconds / took:.0f} x real time, {self.bytes / 1e6:.1f} MB",
        ]
        if self.rejects or self.failed or self.lost:
            causes = ", ".join(f"{count} {cause}" for cause, count in sorted(self.rejects.items(), key=lambda each: -each[1]))
            lines.append(f"  rejects: {causes or 'none'}; shards failed: {self.failed}; workers lost: {self.lost}")
        if self.state == "running" and since <= SILENCE and self.shards < self.planned:
            left = "nothing is known of the end before the second shard"
            if self.recent:
                left = f"about {clock((self.planned - self.shards) / self.recent)} to go, if the other shards are like the last"
            lines.append(f"  {left}")
        return "\n".join(lines)


class Diary:
    """Keeps a run's note up to date; `told` after each unit, `end` once.

    Args:
        log: a file that each unit adds a line of JSON to; none if "".
    Raises:
        OSError: the log cannot be written.
    """

    def __init__(self, store: Store, engine: str, tables: tuple[str, ...], log: str = "") -> None:
        self._store = store
        self._began = time.time()
        self._run = f"{datetime.fromtimestamp(self._began, UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._engine, self._tables = engine, tables
        self._lost = 0
        self._written = 0.0
        self._finished: deque[float] = deque(maxlen=10_000)
        self._log: IO[str] | None = Path(log).open("a", encoding="utf-8") if log else None  # noqa: SIM115 - closed by end
        self._say("begun", engine=engine, tables=tables, store=store.root)

    def told(self, summary: Summary, unit: Unit, outcome: Outcome) -> None:
        """Take in how a unit ended."""
        self._lost += isinstance(outcome, Lost)
        facts: dict[str, Any] = {"shard": unit.shard, "part": unit.part, "dry": unit.dry}
        if isinstance(outcome, Lost | Failed):
            self._say("lost" if isinstance(outcome, Lost) else "failed", **facts, **asdict(outcome))
        else:
            if not unit.dry:
                self._finished.append(time.monotonic())
            counted = {name: value for name, value in asdict(outcome).items() if name != "rejects"}
            self._say("heard", **facts, **counted, rejects=[row["error"] for row in outcome.rejects])
        if time.monotonic() - self._written >= EVERY:
            self._write(summary, "running")

    def end(self, summary: Summary) -> None:
        """The last word."""
        state = "interrupted" if summary.interrupted else "failed" if summary.failed else "done"
        self._write(summary, state)
        self._say(state, shards=summary.shards, wall_seconds=summary.wall_seconds, failed=summary.failed)
        if self._log:
            self._log.close()

    def _write(self, summary: Summary, state: str) -> None:
        now = time.monotonic()
        lately = [at for at in self._finished if at > now - RECENT]
        recent = (len(lately) - 1) / (lately[-1] - lately[0]) if len(lately) > 1 and lately[-1] > lately[0] else None
        note = Note(
            *(self._run, socket.gethostname(), os.getpid(), self._engine, self._tables, state, self._began, time.time()),
            *(summary.planned, summary.shards, summary.tracks, summary.clips, summary.audio_seconds, summary.bytes),
            *(dict(summary.rejects), len(summary.failed), self._lost, recent),
        )
        with contextlib.suppress(StoreError):  # the work goes on, and says itself what it cannot store
            publish(self._store.filesystem, f"{self._store.folder(FOLDER)}/{self._run}.json", json.dumps(asdict(note)).encode())
        self._written = now

    def _say(self, event: str, **facts: Any) -> None:
        if self._log:
            line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "run": self._run, "event": event, **facts}
            self._log.write(json.dumps(line, default=str) + "\n")
            self._log.flush()


def notes(store: Store, count: int = 5) -> list[Note]:
    """The latest runs on a store, the last one first."""
    selector = pafs.FileSelector(store.folder(FOLDER), allow_not_found=True)
    names = sorted(info.path for info in store.filesystem.get_file_info(selector) if info.base_name.endswith(".json"))
    found = []
    for path in [path for path in reversed(names) if not path.rpartition("/")[2].startswith(".")][:count]:
        with store.filesystem.open_input_file(path) as file:
            said = json.loads(file.read())
        found.append(Note(**{**said, "tables": tuple(said["tables"])}))
    return found


def clock(seconds: float) -> str:
    """A length of time for people.

    >>> clock(48), clock(620), clock(86_000)
    ('48 s', '10 min', '23.9 h')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
