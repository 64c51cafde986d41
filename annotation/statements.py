"""From the mirror into labels: what people said, what they corrected, and what they took back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from annotation.answer import Answer, counting
from annotation.campaign import Campaign
from annotation.labels import Label
from annotation.mirror import Mirror
from annotation.results import Problem, to_labels
from annotation.revisions import revised
from annotation.task import Task, digest

# Raised whenever the same answers would give other labels than before.
RULES = 1


def labels(mirror: Mirror, campaign: Campaign, tasks: Iterable[Task], clips: Collection[str] | None = None) -> list[Label]:
    """Everything that was said in a campaign, as rows of the table of labels: what was corrected or taken back, and what corrects it.

    A function of the mirror alone, to which every pull only appends: adding its rows to a store again adds what is new. What stands follows
    from the rows by `annotation.revisions.current`. A label's author is who annotated, also where somebody else edited it since (the
    mirror's `updated_by`); `at` is the server's time. What was said of a task that was deleted stands; what is deleted itself is withdrawn.
    What no label can say is left out, and `annotation.progress.status` tells of it.

    Args:
        clips: only what was said of these (ext_ids): of all rows these, in the same order.
    """
    known = {task.ext_id: task for task in tasks}
    if clips is not None:
        known = {name: known[name] for name in clips if name in known}
    rows: dict[tuple[str, str], list[Label]] = {}
    members: dict[tuple[str, str], dict[tuple[str, int], Answer]] = {}
    place: dict[tuple[str, int], str] = {}
    out: list[Label] = []

    def say(ext_id: str, row: Answer) -> None:
        """Add what follows from one row for what its author says of one clip."""
        before = rows.setdefault((ext_id, row.author), [])
        at = max([row.tombstone_at or row.updated_at, *(label.at + timedelta(microseconds=1) for label in before[-1:] if label.at)])
        there = counting(members[ext_id, row.author].values())
        after = [label for each in there for label in spoken(each, known[ext_id], campaign, at)[0]]
        new = revised(before, after, at)
        before += new
        out.extend(new)

    for row in mirror.answers(clips):
        key = row.project, row.annotation_id
        earlier = place.get(key, row.ext_id)
        place[key] = row.ext_id
        if earlier != row.ext_id and key in members[earlier, row.author]:
            del members[earlier, row.author][key]
            if earlier in known:
                say(earlier, row)
        mine = members.setdefault((row.ext_id, row.author), {})
        mine.pop(key, None)  # the latest seen stands last
        mine[key] = row
        if row.ext_id in known:
            say(row.ext_id, row)
    return out


def spoken(answer: Answer, task: Task, campaign: Campaign, at: datetime) -> tuple[list[Label], list[Problem]]:
    """What one answer says, and what of it no label can say."""
    result = json.loads(answer.result)
    return to_labels(result, task, campaign, answer.author, at, annotation_id=answer.annotation_id, skipped=answer.skipped)


def unsayable(mirror: Mirror, campaign: Campaign, tasks: Iterable[Task], clips: Collection[str] | None = None) -> list[tuple[str, Problem]]:
    """What answers say that stand and no label can say, with the clip's ext_id.

    Args:
        clips: only of these (ext_ids).
    """
    known = {task.ext_id: task for task in tasks if clips is None or task.ext_id in clips}
    last = {(row.project, row.annotation_id): row for row in mirror.answers(clips)}
    there = [row for row in last.values() if row.ext_id in known and not row.gone]
    return [(row.ext_id, problem) for row in there for problem in spoken(row, known[row.ext_id], campaign, row.updated_at)[1]]


def basis(campaign: Campaign, tasks: Iterable[Task]) -> str:
    """Digest of all that `labels` hangs on beside the mirror: what questions mean, and of which sound tasks are."""
    asked = [question.model_dump(mode="json") for question in campaign.questions]
    sounds = sorted([task.ext_id, task.track_id, task.clip_id, task.view_id or "", task.seconds] for task in tasks)
    return digest(json.dumps([RULES, campaign.name, asked, sounds]))
