"""What a run tells while it is under way: a note in the store for `earmark status`, and lines of JSON for a log."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import pyarrow.fs as pafs
from pydantic import Field, TypeAdapter, ValidationError

from extractors.uri import printable
from pipelines.engines.engine import Failed, Lost, Outcome
from pipelines.pace import Pace, clock
from pipelines.part import StoreError
from pipelines.process import alive
from pipelines.run import Summary
from pipelines.stage import Unit
from pipelines.store import Store

FOLDER = "runs"
_LONGEST = 1 << 20  # bytes of a note
EVERY = 5.0  # seconds between notes; a bucket keeps each
GRACE = 15.0  # seconds after which a process that is gone from this machine is a run that died, and not one that just ended
SILENCE = 60.0  # seconds without a note after which a run may be dead

_Moment = Annotated[float, Field(ge=0, le=2.5e11)]  # a calendar has it


@dataclass(frozen=True)
class Note:
    """A run as it last told. at, began: seconds since 1970.

    state: "running", "done", "failed" (shards of it), "interrupted" (also by a store that was gone).
    recent: shards finished per second of late; None as long as nothing is known. planned is 0 until the run has planned.
    """

    run: str
    host: str
    process: int
    engine: str
    tables: tuple[str, ...]
    state: str
    began: _Moment
    at: _Moment
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
        begun = f"{datetime.fromtimestamp(self.began, UTC):%Y-%m-%d %H:%M}"
        state, working = self._state(time.time() - self.at)
        lines = [
            f"run {self.run} on {self.host} ({self.engine}), begun {begun} UTC: {state}",
            f"  {self.shards} of {self.planned} shards, {self.tracks} tracks, {self.clips} clips,"
            f" {self.audio_seconds / 3600:.2f} h of sound, {self.audio_seconds / took:.0f} x real time, {self.bytes / 1e6:.1f} MB",
        ]
        if self.rejects or self.failed or self.lost:
            causes = ", ".join(f"{count} {cause}" for cause, count in sorted(self.rejects.items(), key=lambda each: -each[1]))
            lines.append(f"  rejects: {causes or 'none'}; shards failed: {self.failed}; workers lost: {self.lost}")
        todo = self.planned - self.shards - self.failed
        if working and todo > 0:
            known = f"about {clock(todo / self.recent)} to go, if the other shards are like the last" if self.recent else ""
            lines.append(f"  {known or 'nothing is known of the end yet'}")
        return "\n".join(map(printable, lines))

    def _state(self, since: float) -> tuple[str, bool]:
        """What to say of a run that told of itself so many seconds ago, and whether it is known to work."""
        if self.state != "running":
            return self.state, False
        resume = "the same 'earmark run' goes on where it stopped"
        if since < -SILENCE:
            return f"unknown: its clock is {clock(-since)} ahead of this machine's", False
        here = self.host == socket.gethostname()
        if here and since > GRACE and not alive(self.process):
            return f"dead, its process is gone; {resume}", False
        if since > SILENCE:
            return f"silent for {clock(since)}: {'on long shards' if here else f'dead, or on long shards; {resume}'}", here
        return ("running" if self.planned else "planning"), True


class Diary:
    """Keeps a run's note up to date; `told` after each unit, `end` once.

    Args:
        log: a file that each unit adds a line of JSON to; none if "".
    Raises:
        OSError: the log cannot be written.
    """

    def __init__(self, store: Store, engine: str, tables: tuple[str, ...], log: str = "") -> None:
        self._store = store
        self._began = time.monotonic()
        self._run = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}"  # names are in the order of time
        self._engine, self._tables = engine, tables
        self._lost = 0
        self._written = 0.0
        self._pace = Pace(self._began)
        self._log: IO[str] | None = Path(log).open("a", encoding="utf-8") if log else None  # noqa: SIM115 - closed by end
        self._say("begun", engine=engine, tables=tables, store=store.root)
        self._write(Summary(), "running")
        self._written = 0.0  # the first shard is told at once

    def told(self, summary: Summary, unit: Unit, outcome: Outcome) -> None:
        """Take in how a unit ended."""
        self._lost += isinstance(outcome, Lost)
        facts: dict[str, Any] = {"shard": unit.shard, "part": unit.part, "dry": unit.dry}
        if isinstance(outcome, Lost | Failed):
            self._say("lost" if isinstance(outcome, Lost) else "failed", **facts, **asdict(outcome))
        else:
            counted = {name: value for name, value in asdict(outcome).items() if name != "rejects"}
            self._say("heard", **facts, **counted, rejects=[row["error"] for row in outcome.rejects])
        self._pace.told(summary.shards + len(summary.failed), time.monotonic())
        if time.monotonic() - self._written >= EVERY:
            self._write(summary, "running")

    def end(self, summary: Summary) -> None:
        """The last word."""
        state = "interrupted" if summary.interrupted or summary.away else "failed" if summary.failed else "done"
        self._write(summary, state)
        self._say(state, shards=summary.shards, wall_seconds=summary.wall_seconds, failed=summary.failed)
        if self._log:
            self._log.close()

    def _write(self, summary: Summary, state: str) -> None:
        now = time.monotonic()
        at = time.time()
        began = at - (now - self._began)  # a clock that was set changes when, and not how long
        note = Note(
            *(self._run, socket.gethostname(), os.getpid(), self._engine, self._tables, state, began, at),
            *(summary.planned, summary.shards, summary.tracks, summary.clips, summary.audio_seconds, summary.bytes),
            *(dict(summary.rejects), len(summary.failed), self._lost, self._pace.rate()),
        )
        with contextlib.suppress(StoreError):  # the work goes on, and says itself what it cannot store
            self._store.put(f"{FOLDER}/{self._run}.json", json.dumps(asdict(note)).encode())
        self._written = now

    def _say(self, event: str, **facts: Any) -> None:
        if self._log:
            line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "run": self._run, "event": event, **facts}
            self._log.write(json.dumps(line, default=str) + "\n")
            self._log.flush()


def notes(store: Store, count: int = 5, damaged: list[str] | None = None) -> list[Note]:
    """The latest runs on a store, the last one first.

    Args:
        damaged: takes one line on each file that is no note of a run.
    """
    selector = pafs.FileSelector(store.folder(FOLDER), allow_not_found=True)
    infos = [info for info in store.filesystem.get_file_info(selector) if info.base_name.endswith(".json")]
    found: list[Note] = []
    note = TypeAdapter(Note)
    for info in sorted(infos, key=lambda info: info.base_name, reverse=True):
        if len(found) == count or info.base_name.startswith("."):
            continue
        with store.filesystem.open_input_file(info.path) as file:
            said = file.read(_LONGEST)
        try:
            found.append(note.validate_json(said))
        except ValidationError:
            if damaged is not None:
                damaged.append(f"{store.root}/{FOLDER}/{printable(info.base_name)}: not a note of a run, delete it")
    return found
