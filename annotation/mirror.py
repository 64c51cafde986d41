"""What a campaign has pulled, on local disk: pages as they came, and a row for each revision of each answer; nothing is ever removed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotation.answer import Answer, Page, news
from annotation.parts import Parts, answers, number, numbered, of

LEFT = (".state.json.*", ".answers.arrow.*", "raw/.*", "answers/.*")  # what a killed pull had not finished writing


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


@dataclass(frozen=True)
class Mark:
    """How far a mirror went at some moment: its last part, and how many rows there were."""

    part: str = ""
    rows: int = 0


class Mirror:
    """The folder of a campaign: `raw/TIME-N.json` (pages), `answers/TIME-N.parquet` (what was new in them), state.json, lock.

    Beside them `answers.arrow`, a copy of all parts in one file, which may be lost: it is made anew.

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
        self._parts = Parts(self.folder / "answers", _publish)

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
            self._parts.compact()

    def _recover(self) -> None:
        """Merge pages that a killed pull left unmerged, in their order, and sweep what it had not finished writing."""
        for path in (each for left in LEFT for each in self.folder.glob(left)):
            path.unlink()
        merged = set(self._parts.names())
        for name in numbered(self.folder / "raw"):
            if name not in merged:
                self._merge(name, self._news(json.loads((self.folder / "raw" / f"{name}.json").read_bytes())))

    # Writing, under the lock

    def keep(self, page: Page) -> list[Answer]:
        """Keep a page: first as it came, then what is new in it. A page that says nothing new is not kept again.

        Args:
            page: {"project", "users": {id: email}, "tasks": [tasks with annotations and predictions, as the server gave them]}, or
                {"project", "ids": [all tasks that the server has], "at": its greatest updated_at}: annotations of others are gone.
        Returns:
            the new rows.
        """
        new = self._news(page)
        if new:
            count = max(map(number, numbered(self.folder / "raw")), default=0) + 1
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{count:06d}"
            _publish(self.folder / "raw" / f"{name}.json", json.dumps(page).encode())
            self._merge(name, new)
        return new

    def save(self, state: State) -> None:
        """Replace state.json, in one step."""
        _publish(self.folder / "state.json", json.dumps(asdict(state), indent=1).encode())

    def _news(self, page: Page) -> list[Answer]:
        if "ids" in page:
            return news(page, self.latest())
        tasks = page["tasks"]
        return news(page, self.latest([task["id"] for task in tasks], [said["id"] for task in tasks for said in task["annotations"]]))

    def _merge(self, name: str, new: Sequence[Answer]) -> None:
        self._parts.add(name, new)

    # Reading

    def state(self) -> State:
        """Where the last pull ended; an empty one before the first."""
        try:
            return State(**json.loads((self.folder / "state.json").read_bytes()))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            raise MirrorError(f"{self.folder}/state.json: {error}; move it away, and the next pull reads everything anew") from error

    def answers(self, clips: Collection[str] | None = None) -> list[Answer]:
        """Every revision of every annotation, tombstones among them, in the order in which they were seen.

        Args:
            clips: ext_ids; only annotations that are, or once were, of one of these.
        """
        rows = self._parts.rows()
        return answers(rows if clips is None else of(rows, "ext_id", clips))

    def latest(self, tasks: Collection[int] | None = None, annotations: Collection[int] = ()) -> Mapping[tuple[str, int], Answer]:
        """The last row of each annotation by (project, annotation_id), deleted ones too.

        Args:
            tasks: only annotations that are, or once were, of a task with one of these ids. annotations: and these.
        """
        rows = self._parts.rows()
        found = answers(rows if tasks is None else of(rows, "task_id", tasks, annotations))
        return {(row.project, row.annotation_id): row for row in found}

    def mark(self) -> Mark:
        """How far it goes now."""
        rows, names = self._parts.rows(), self._parts.read
        return Mark(names[-1] if names else "", rows.num_rows)

    def since(self, mark: Mark) -> set[str] | None:
        """The clips (ext_ids) of whose annotations anything was heard since a mark; None where the mark is of another mirror."""
        rows, names = self._parts.rows(), self._parts.read
        if mark.part not in names or mark.rows > rows.num_rows:
            return None
        new = rows["annotation_id"].slice(mark.rows).unique().to_pylist()
        return set(of(rows, "ext_id", (), new)["ext_id"].unique().to_pylist())


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
