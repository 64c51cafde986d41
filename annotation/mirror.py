"""What a campaign has pulled, on local disk: pages as they came, and a row for each revision of each answer; nothing is ever removed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotation.answer import Answer, Page, news, schema


class MirrorError(ValueError):
    """A mirror that cannot be used as asked, in one line."""


class Busy(MirrorError):
    """Another process writes to the mirror."""


@dataclass(frozen=True)
class State:
    """Where the last pull ended.

    project: the project on the server, its id and when it was made ("12@2026-11-22T21:45:23.206507Z"): two servers may use one id.
    cursor: the greatest updated_at that the server has told of a task whose page is kept; only ever compared with the server's own times.
    full_at: when the last full reconcile ended, by this machine's clock. pulls: how many pulls since then.
    """

    project: str = ""
    cursor: str = ""
    full_at: str = ""
    pulls: int = 0


class Mirror:
    """The folder of a campaign: `raw/TIME-N.json` (pages), `answers/TIME-N.parquet` (what was new in them), state.json, lock.

    A page is on disk, fsynced, before anything is made of it; its part of `answers` follows from it and the parts before; state.json is
    replaced after both. So a pull may be killed anywhere: what was kept and not merged the next one merges, as it takes the `lock`.

    Args:
        folder: made when first written to.
    Raises:
        MirrorError: not on a local disk.
    """

    def __init__(self, folder: str | Path) -> None:
        if "://" in str(folder):
            raise MirrorError(f"{folder}: what people said is kept on a local disk, as buckets know no locks; give a folder")
        self.folder = Path(folder)
        self._latest: dict[tuple[str, int], Answer] = {}
        self._merged: set[str] = set()

    # One writer

    @contextlib.contextmanager
    def lock(self, doing: str = "pull") -> Iterator[None]:
        """Keep a second process from writing; what a killed one left half done is completed first.

        Raises:
            Busy: another one writes; the line names it. MirrorError: the folder cannot be written.
        """
        try:
            for each in ("raw", "answers"):
                (self.folder / each).mkdir(parents=True, exist_ok=True)
            file = open(self.folder / "lock", "a+")  # noqa: SIM115 - closed by the `with` below
        except OSError as error:
            raise MirrorError(f"{self.folder}: cannot be written ({error.strerror}); choose another place") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise Busy(f"{self.folder}: another {file.read().strip() or 'pull'} is at work; wait for it to end") from None
            file.truncate(0)
            file.write(f"{doing} (process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)")
            file.flush()
            self._recover()
            yield

    def _recover(self) -> None:
        """Merge pages that a killed pull left unmerged, in their order, and sweep what it had not finished writing."""
        for path in (*self.folder.glob(".state.json.*"), *self.folder.glob("raw/.*"), *self.folder.glob("answers/.*")):
            path.unlink()
        merged = set(self._names("answers"))
        for name in self._names("raw"):
            if name not in merged:
                self._merge(name, news(json.loads((self.folder / "raw" / f"{name}.json").read_bytes()), self.latest()))

    # Writing, under the lock

    def keep(self, page: Page) -> list[Answer]:
        """Keep a page: first as it came, then what is new in it. A page that says nothing new is not kept again.

        Args:
            page: {"project", "users": {id: email}, "tasks": [tasks with annotations and predictions, as the server gave them]}, or
                {"project", "ids": [all tasks that the server has], "at": its greatest updated_at}: annotations of others are gone.
        Returns:
            the new rows.
        """
        new = news(page, self.latest())
        if new:
            number = max((_number(each) for each in self._names("raw")), default=0) + 1
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{number:06d}"
            _publish(self.folder / "raw" / f"{name}.json", json.dumps(page).encode())
            self._merge(name, new)
        return new

    def save(self, state: State) -> None:
        """Replace state.json, in one step."""
        _publish(self.folder / "state.json", json.dumps(asdict(state), indent=1).encode())

    def _merge(self, name: str, new: Sequence[Answer]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = pa.table({each: [getattr(row, each) for row in new] for each in schema().names}, schema=schema())
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd")
        _publish(self.folder / "answers" / f"{name}.parquet", sink.getvalue())
        for row in new:
            self._latest[row.project, row.annotation_id] = row
        self._merged.add(name)

    # Reading

    def state(self) -> State:
        """Where the last pull ended; an empty one before the first."""
        try:
            return State(**json.loads((self.folder / "state.json").read_bytes()))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            raise MirrorError(f"{self.folder}/state.json: {error}; move it away, and the next pull reads everything anew") from error

    def answers(self) -> list[Answer]:
        """Every revision of every annotation, tombstones among them, in the order in which they were seen."""
        return [row for name in self._names("answers") for row in self._part(name)]

    def latest(self) -> Mapping[tuple[str, int], Answer]:
        """The last row of each annotation by (project, annotation_id), deleted ones too."""
        for name in self._names("answers"):
            if name not in self._merged:
                self._latest.update(((row.project, row.annotation_id), row) for row in self._part(name))
                self._merged.add(name)
        return self._latest

    def _part(self, name: str) -> Iterator[Answer]:
        import pyarrow.parquet as pq

        rows = pq.ParquetFile(self.folder / "answers" / f"{name}.parquet").read(use_threads=False)
        columns = [rows[each].to_pylist() for each in schema().names]
        return (Answer(*row) for row in zip(*columns, strict=True))

    def _names(self, folder: str) -> list[str]:
        try:
            found = os.listdir(self.folder / folder)
        except FileNotFoundError:
            return []
        # By number: clocks may be set back, counting is not.
        return sorted((name.rpartition(".")[0] for name in found if not name.startswith(".")), key=_number)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _publish(path: Path, content: Any) -> None:
    """A file that is whole and on disk, or absent; an older one stays until then."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
