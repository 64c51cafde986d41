"""How far a campaign is: what is done, skipped and disputed, by whom, how fast, and until when."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from annotation.answer import Answer, counting, seen
from annotation.campaign import Campaign
from annotation.mirror import Mirror
from annotation.statements import spoken
from annotation.task import Task

RECENT = timedelta(hours=24)
SHOWN = 10  # clips and problems in the text; --json has all

Stage = Literal["done", "in progress", "skipped", "open"]


@dataclass(frozen=True)
class Clip:
    """One clip. done: enough people answered; in progress: some did; skipped: nobody did, and somebody skipped; open: nothing was said yet.

    answers, skips: of different people. wanted: how many are to answer.
    disputed: the questions about which people differ: those with one choice that must be answered, and those with several choices (tags),
        where not everybody who answered the clip chose the same.
    gone: its task is no longer on the server.
    """

    ext_id: str
    title: str
    stage: Stage
    answers: int
    skips: int
    wanted: int
    disputed: tuple[str, ...]
    gone: bool


@dataclass(frozen=True)
class Annotator:
    """One person. answers, skips: clips. lead_time_s: median of answers, seconds; None where the browser measured none.

    began_as_prediction: answers that did. accepted: the share of these that say nothing else; None where there are none.
    edited_by_others: answers that somebody else wrote over. deleted: annotations that are no longer there.
    """

    author: str
    answers: int
    skips: int
    lead_time_s: float | None
    began_as_prediction: int
    accepted: float | None
    edited_by_others: int
    deleted: int


@dataclass(frozen=True)
class Status:
    """A campaign as of the last pull.

    done, in_progress, skipped, open: clips; together all that were asked about. disputed: clips of these.
    answers, skips: of all people. wanted: answers that are still missing.
    per_hour: answers in the 24 hours before the last one, nights included; None before there are two.
    newest, expected_end: by the server's clock; the end is when all is answered at this rate, None where nothing is known of it.
    strangers: annotations of tasks that the campaign does not know, made by hand or taken out; they are kept, and are no labels.
    problems: what was said and no label can say, one line each.
    """

    campaign: str
    done: int
    in_progress: int
    skipped: int
    open: int
    disputed: int
    answers: int
    skips: int
    wanted: int
    per_hour: float | None
    newest: datetime | None
    expected_end: datetime | None
    annotators: tuple[Annotator, ...]
    clips: tuple[Clip, ...]
    strangers: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.campaign}: {self.done} of {len(self.clips)} clips done, {self.in_progress} in progress,"
            f" {self.skipped} skipped, {self.open} open; {self.disputed} disputed"
        ]
        if self.per_hour is not None:
            end = f", the end near {self.expected_end:%Y-%m-%d %H:%M} UTC" if self.expected_end else ""
            lines.append(f"{self.answers} answers, {self.wanted} to come; {self.per_hour:.3g} an hour{end}")
        if self.annotators:
            lines.append(f"\n{'annotator':32} {'answers':>8} {'skips':>6} {'seconds':>8} {'accepted':>9}")
        for each in self.annotators:
            seconds = "" if each.lead_time_s is None else f"{each.lead_time_s:.0f}"
            accepted = "" if each.accepted is None else f"{each.accepted:.0%}"
            remarks = [f"{each.edited_by_others} edited by others"] if each.edited_by_others else []
            remarks += [f"{each.deleted} deleted"] if each.deleted else []
            lines.append(f"{each.author:32} {each.answers:8} {each.skips:6} {seconds:>8} {accepted:>9}  {', '.join(remarks)}".rstrip())
        disputed = [f"{clip.ext_id}  {clip.title}  ({', '.join(clip.disputed)})" for clip in self.clips if clip.disputed]
        gone = [f"{clip.ext_id}  {clip.title}" for clip in self.clips if clip.gone]
        for what, said in (("disputed", disputed), ("no longer on the server", gone), ("not understood", list(self.problems))):
            if said:
                more = f"\n  and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
                lines.append(f"\n{what}:\n  " + "\n  ".join(said[:SHOWN]) + more)
        if self.strangers:
            lines.append(f"\n{self.strangers} annotations are of tasks that the campaign does not know; they are kept, and are no labels")
        return "\n".join(lines)


def status(mirror: Mirror, tasks: Iterable[Task], campaign: Campaign, wanted: Mapping[str, int] | None = None) -> Status:
    """How far a campaign is, as of the last pull.

    Args:
        wanted: how many people are to answer a clip, by ext_id, where that is not `overlap.annotators`.
    """
    known = {task.ext_id: task for task in tasks}
    by_clip: dict[str, dict[str, list[Answer]]] = {ext_id: defaultdict(list) for ext_id in known}
    strangers = 0
    for row in mirror.latest().values():
        if row.ext_id in known:
            by_clip[row.ext_id][row.author].append(row)
        elif row.gone != "annotation":
            strangers += 1
    clips, problems = [], []
    there: list[Answer] = []
    for ext_id, task in known.items():
        count = (wanted or {}).get(ext_id, campaign.overlap.annotators)
        mine = [answer for rows in by_clip[ext_id].values() for answer in counting(sorted(rows, key=seen))]
        clips.append(_clip(task, mine, count, campaign))
        there += mine
        problems += [f"{ext_id}: {each}" for answer in mine for each in spoken(answer, task, campaign, answer.updated_at)[1]]
    stages = [clip.stage for clip in clips]
    missing = sum(max(0, clip.wanted - clip.answers) for clip in clips)
    per_hour, newest = _rate([answer.created_at for answer in there if not answer.skipped])
    return Status(
        campaign.name,
        done=stages.count("done"),
        in_progress=stages.count("in progress"),
        skipped=stages.count("skipped"),
        open=stages.count("open"),
        disputed=sum(bool(clip.disputed) for clip in clips),
        answers=sum(clip.answers for clip in clips),
        skips=sum(clip.skips for clip in clips),
        wanted=missing,
        per_hour=per_hour,
        newest=newest,
        expected_end=newest + timedelta(hours=missing / per_hour) if newest and per_hour else None,
        annotators=_annotators(there, mirror.latest().values()),
        clips=tuple(clips),
        strangers=strangers,
        problems=tuple(problems),
    )


def _clip(task: Task, answers: list[Answer], wanted: int, campaign: Campaign) -> Clip:
    people = {row.author for row in answers if not row.skipped}
    skips = {row.author for row in answers if row.skipped}
    stage: Stage = "done" if len(people) >= wanted else "in progress" if people else "skipped" if skips else "open"
    gone = bool(answers) and all(row.gone for row in answers)
    return Clip(task.ext_id, task.title, stage, len(people), len(skips), wanted, _disputed(answers, campaign), gone)


def _disputed(answers: Iterable[Answer], campaign: Campaign) -> tuple[str, ...]:
    chosen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    people = set()
    for row in answers:
        if not row.skipped:
            people.add(row.author)
            for name, choices in _choices(row):
                chosen[name][row.author].update(choices)
    asked = [each.name for each in campaign.questions if each.control == "Choices" and (each.required or each.multiple)]
    return tuple(name for name in asked if len({frozenset(chosen[name][each]) for each in people}) > 1)


def _choices(answer: Answer) -> Iterable[tuple[str, list[str]]]:
    result = json.loads(answer.result)
    for item in result if isinstance(result, list) else ():
        value = item.get("value") if isinstance(item, dict) else None
        if isinstance(value, dict) and isinstance(choices := value.get("choices"), list):
            yield str(item.get("from_name")), [each for each in choices if isinstance(each, str)]


def _rate(times: list[datetime]) -> tuple[float | None, datetime | None]:
    """Answers an hour in the day before the newest, and when that was."""
    newest = max(times, default=None)
    if newest is None:
        return None, None
    recent = [at for at in times if at > newest - RECENT]
    hours = (newest - min(times) if min(times) in recent else RECENT) / timedelta(hours=1)
    # The first of them ends no interval.
    count = len(recent) - (min(times) in recent)
    return (count / hours if count and hours else None), newest


def _annotators(counted: Iterable[Answer], latest: Iterable[Answer]) -> tuple[Annotator, ...]:
    by_author: dict[str, list[Answer]] = defaultdict(list)
    deleted: dict[str, int] = defaultdict(int)
    for row in counted:
        by_author[row.author].append(row)
    for row in latest:
        deleted[row.author] += row.gone == "annotation"
    return tuple(_annotator(author, by_author[author], deleted[author]) for author in sorted(by_author.keys() | deleted.keys()))


def _annotator(author: str, rows: list[Answer], deleted: int) -> Annotator:
    answers = [row for row in rows if not row.skipped]
    times = [row.lead_time_s for row in answers if row.lead_time_s is not None]
    began = [row for row in answers if row.from_prediction]
    return Annotator(
        author,
        len({row.ext_id for row in answers}),
        sum(row.skipped for row in rows),
        median(times) if times else None,
        len(began),
        sum(not row.changed for row in began) / len(began) if began else None,
        sum(row.updated_by != row.author for row in rows),
        deleted,
    )
