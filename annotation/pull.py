"""From the server into the mirror, as often as wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, Protocol, TypeVar

from annotation.answer import Answer, time
from annotation.campaign import Campaign
from annotation.mirror import Busy, Mirror, MirrorError, State
from annotation.outcome import Away, Gone
from annotation.records import Listed, Project
from annotation.task import campaign_line

OVERLAP = timedelta(minutes=10)  # a transaction that began earlier may end later
FULL_EVERY = timedelta(hours=24)
FULL_PULLS = 1000
CHUNK = 200  # tasks that are asked for at once

T = TypeVar("T")


class Source(Protocol):
    """What a pull asks the server: these of `annotation.studio.Studio`."""

    def project(self, campaign: str) -> tuple[int, str]: ...
    def read_project(self, project: int) -> Project: ...
    def listed(self, project: int, since: datetime | None) -> Sequence[Listed]: ...
    def tasks(self, project: int, ids: Sequence[int]) -> Sequence[dict[str, Any]]: ...
    def users(self) -> dict[int, str]: ...


@dataclass(frozen=True)
class Pulled:
    """What a pull found. listed: tasks that the server named; read: those that were looked into; the rest counts annotations."""

    full: bool = False
    listed: int = 0
    read: int = 0
    answers: int = 0
    skips: int = 0
    edits: int = 0
    deleted: int = 0
    gone_with_tasks: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def new(self) -> int:
        """How many rows are new."""
        return self.answers + self.skips + self.edits + self.deleted + self.gone_with_tasks

    def __str__(self) -> str:
        counts = {
            "new answers": self.answers,
            "skips": self.skips,
            "edits": self.edits,
            "deleted": self.deleted,
            "gone with their tasks": self.gone_with_tasks,
        }
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing new"
        return "\n".join([f"{said}{' (everything compared)' if self.full else ''}", *self.remarks])


def pull(source: Source, mirror: Mirror, campaign: Campaign, full: bool = False) -> Pulled:
    """Bring the mirror up to date.

    Tasks that were touched since the last pull, and in the ten minutes before it, are looked at, as transactions do not end in the order in
    which they begin; those that changed are read. Now and then (`full`, the first time, after a day or a thousand pulls) all tasks are
    looked at: annotations of those that somebody deleted get tombstones, and what was missed is read. The server's times are never compared
    with this machine's.

    Raises:
        Busy: another pull is at work. MirrorError: the project is gone.
        StudioError: the server refuses or is away; what was pulled stays, and the next pull goes on there.
    """
    with mirror.lock():
        state = mirror.state()
        project_id, made, remarks = _project(source, mirror, campaign, state)
        project = f"{project_id}@{made}"
        if state.project != project:
            state = State(project)
        full = full or _is_due(state)
        since = time(state.cursor) - OVERLAP if state.cursor else None
        listed = source.listed(project_id, None if full else since)
        new: list[Answer] = []
        unread = list(_unread(listed, mirror, project))
        users = {str(user): email for user, email in source.users().items()} if unread else {}
        for start in range(0, len(unread), CHUNK):
            chunk = unread[start : start + CHUNK]
            tasks = [_unsigned(each) for each in source.tasks(project_id, [each.task_id for each in chunk])]
            new += mirror.keep({"project": project, "users": users, "tasks": tasks})
            # A first pull that is killed goes on here: whatever is not in `listed` was touched later.
            state = _forward(state, chunk)
            mirror.save(state)
        if full:
            # Of all tasks, so that a server which went back to a backup is followed.
            state = replace(state, cursor="")
        state = _forward(state, listed)
        if full:
            ids = sorted(each.task_id for each in listed)
            new += mirror.keep({"project": project, "ids": ids, "at": state.cursor or made})
            state = replace(state, full_at=datetime.now(UTC).isoformat(), pulls=0)
        mirror.save(replace(state, pulls=state.pulls + 1))
    return _told(new, full, len(listed), len(unread), remarks)


def _unsigned(task: dict[str, Any]) -> dict[str, Any]:
    """A task without what signs the link to its sound: pages are kept for good, and whoever has a signed link may listen."""
    audio = task["data"].get("audio")
    return {**task, "data": {**task["data"], "audio": audio.partition("?")[0]}} if isinstance(audio, str) else task


def _project(source: Source, mirror: Mirror, campaign: Campaign, state: State) -> tuple[int, str, list[str]]:
    """The campaign's project on the server, when it was made, and what is odd about it.

    Raises:
        MirrorError: there is none.
    """
    line, earlier = campaign_line(campaign.name), state.project.partition("@")[0]
    try:
        project_id, made = source.project(campaign.name)
    except Gone as gone:
        with contextlib.suppress(Gone):
            if earlier and (project := source.read_project(int(earlier))).key == state.project:
                said = f"project {project.id} has lost the line {line!r} of its description; put it back, or apply makes another project"
                return project.id, project.created_at, [said]
        kept = f"; what was pulled of {len(mirror.latest())} annotations stays in {mirror.folder}" if earlier else ""
        raise MirrorError(f"{gone}{kept}") from None
    if state.project in ("", f"{project_id}@{made}"):
        return project_id, made, []
    return project_id, made, [f"project {earlier} was replaced by {project_id}; what was said in the earlier one stays"]


def _is_due(state: State) -> bool:
    if not state.full_at or state.pulls > FULL_PULLS:
        return True
    return abs(datetime.now(UTC) - time(state.full_at)) >= FULL_EVERY


def _unread(listed: Iterable[Listed], mirror: Mirror, project: str) -> Iterator[Listed]:
    """The tasks to look into: those of which the mirror does not know what the index tells.

    The server touches a task after it has written the annotation, and tells of a task before its annotations: who has read a task with this
    updated_at has read what was said until then.
    """
    known: dict[int, list[Answer]] = {}
    listed = list(listed)
    for row in mirror.latest([each.task_id for each in listed]).values():
        if row.project == project and not row.gone:
            known.setdefault(row.task_id, []).append(row)
    for each in listed:
        there = known.get(each.task_id, [])
        if not there and not each.annotations:
            continue
        ids = {row.annotation_id for row in there}
        if ids != set(each.annotations) or max(row.task_updated_at for row in there) != time(each.updated_at):
            yield each


def _forward(state: State, seen: Iterable[Listed]) -> State:
    times = [state.cursor, *(each.updated_at for each in seen)]
    return replace(state, cursor=max(filter(None, times), key=time, default=""))


def _told(new: Sequence[Answer], full: bool, listed: int, read: int, remarks: list[str]) -> Pulled:
    there = [row for row in new if not row.gone]
    first = [row for row in there if row.revision == 1]
    if strangers := sorted({row.task_id for row in there if not row.ext_id}):
        remarks.append(
            f"{len(strangers)} tasks are not this campaign's (task {strangers[0]} for one): what was said there is kept, as no label"
        )
    if others := [row for row in there if row.updated_by != row.author]:
        last = others[-1]
        remarks.append(
            f"{len(others)} answers were edited by somebody else (task {last.task_id}, {last.author}'s by {last.updated_by}, for one)"
        )
    return Pulled(
        full,
        listed,
        read,
        sum(not row.skipped for row in first),
        sum(row.skipped for row in first),
        len(there) - len(first),
        sum(row.gone == "annotation" for row in new),
        sum(row.gone == "task" for row in new),
        remarks,
    )


def watch(once: Callable[[], T], tell: Callable[[T | Away | Busy], object], every: float, wake: Event, stop: Event) -> None:
    """Pull until told to stop.

    Args:
        once: a pull. That the server is away, or that somebody else pulls, is told and does not end the loop.
        tell: called with what it gave.
        every: seconds between pulls. wake: pull now; a webhook sets it, and nothing is lost where it does not.
        stop: end after the pull under way; set `wake` too, to end at once.
    """
    while not stop.is_set():
        wake.clear()  # before the pull: what changes during it is pulled next
        try:
            tell(once())
        except (Away, Busy) as trouble:
            tell(trouble)
        if not stop.is_set():
            wake.wait(every)
