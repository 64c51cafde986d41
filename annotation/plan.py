"""What would have to be done on the server for a campaign: nothing is written here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

from annotation.interface import screen
from annotation.orphans import orphans
from annotation.records import Guess, Indexed, Project
from annotation.studio import Studio
from annotation.task import Task, campaign_line
from annotation.wanted import Wanted, columns

_SETTINGS = {
    "title": "title",
    "instructions": "instructions",
    "overlap": "people who hear each clip",
    "show_predictions": "predictions are shown",
    "model_version": "model whose predictions are shown",
    "label_config": "labelling screen",
}


@dataclass
class Plan:
    """What would be done; a list that is empty has nothing of its kind.

    indexed: tasks of the project, of whatever kind. there: those of the campaign.
    settings: of the project: {name: (is, becomes)}. create: tasks, `embedded` of them with a prediction.
    update: (task's id, ext_id, fields). send: (task's id, ext_id, prediction) for tasks that are there.
    copies: ids of tasks that are there twice, without answers. stale: ids of predictions that are there twice or said something else.
    versions: models whose predictions are replaced, and how many they are. projects: ids of empty projects of the same campaign.
    refused: why nothing is done. left: what a person may want to know, and stays as it is.
    """

    campaign: str
    url: str
    title: str
    project: Project | None = None
    indexed: int = 0
    there: int = 0
    settings: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    create: list[Task] = field(default_factory=list)
    update: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    send: list[tuple[int, str, Mapping[str, Any]]] = field(default_factory=list)
    embedded: int = 0
    copies: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    projects: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        """Whether an apply would change anything."""
        todo = (self.settings, self.create, self.update, self.send, self.copies, self.stale, self.versions, self.projects)
        return self.project is None or any(todo)

    def __str__(self) -> str:
        where = f"project {self.project.id} {self.project.title!r}" if self.project else "no project yet"
        lines = [f"{self.campaign} on {self.url}, {where}"]
        if self.project is None:
            lines.append(f"  + project {self.title!r}")
        lines += [f"  ~ {_SETTINGS[name]}: {_change(was, becomes)}" for name, (was, becomes) in self.settings.items()]
        if self.create:
            with_guess = f", {self.embedded} with a prediction" if self.embedded else ""
            lines.append(f"  + {len(self.create)} tasks{with_guess}: {_few(task.title or task.ext_id for task in self.create)}")
        for names, of in self._updates().items():
            lines.append(f"  ~ {len(of)} tasks, {names}: {_few(of)}")
        if self.send:
            lines.append(
                f"  + {len(self.send)} predictions of {self.send[0][2]['model_version']}: {_few(each for _, each, _ in self.send)}"
            )
        lines += [f"  - {count} predictions of {version}, replaced" for version, count in self.versions.items()]
        for count, what in (
            (len(self.stale), "predictions that are there twice or have changed"),
            (len(self.copies), "empty copies of tasks"),
        ):
            lines += [f"  - {count} {what}"] if count else []
        lines += [f"  ~ project {each}, an empty copy, is let go" for each in self.projects]
        lines += [f"  = {each}" for each in self.left]
        lines += [f"  ! {each}" for each in self.refused]
        if self.refused:
            lines.append("refused: nothing will be done until this is decided")
        elif not self.changes:
            lines.append(f"nothing to do: {self.there} tasks are as they should be")
        return "\n".join(lines)

    def _updates(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for _, ext_id, fields in self.update:
            said = [f"heard by {fields['overlap']}"] if "overlap" in fields else []
            found[", ".join([*said, *(["data"] if "data" in fields else [])])].append(ext_id)
        return dict(found)


def plan(studio: Studio, wanted: Wanted) -> Plan:
    """What an apply would do now.

    Raises:
        Away: the server gave no answer. Refused: the token is none.
    """
    campaign = wanted.campaign
    made = Plan(campaign.name, studio.url, campaign.title, left=list(wanted.remarks))
    if wanted.everybody and not campaign.overlap.team:
        made.left.append(
            f"clips with known answers are heard by {campaign.overlap.annotators}, as all others are: overlap.team does not say how many "
            "everybody is"
        )
    project = _find(studio, wanted, made)
    if made.refused or project is None:
        made.create, made.embedded = list(wanted.tasks), len(wanted.guesses)
        return made
    made.project = project
    index = studio.index(project.id)
    made.indexed = len(index)
    kept = _tasks(studio, wanted, index, made)
    _predictions(studio, wanted, project, kept, made)
    _settings(studio, wanted, project, made)
    return made


def _find(studio: Studio, wanted: Wanted, made: Plan) -> Project | None:
    """The campaign's project, and what is to be said of it."""
    line, name = campaign_line(wanted.campaign.name), wanted.campaign.name
    found = studio.projects(line)
    number = wanted.project.partition("@")[0]
    if not found:
        if wanted.project and not wanted.recreate:
            made.refused.append(
                f"project {number} of {name} is gone: somebody deleted it, or took the line {line!r} out of its description. What was "
                "pulled is safe. Put the line back, or make the project anew with --recreate"
            )
        return None
    busy = [each for each in found if each.tasks]
    if len(busy) > 1:
        titles = " and ".join(f"{each.id} {each.title!r}" for each in busy)
        made.refused.append(f"projects {titles} all have the line {line!r} in their description, and tasks; take it out of the wrong ones")
        return None
    project = (busy or found)[0]
    made.projects = [each.id for each in found if each != project]
    if wanted.project and wanted.project != project.key:
        made.left.append(f"project {number} of an earlier apply was replaced by {project.id}")
    if project.title not in (wanted.campaign.title, wanted.title):
        by = "somebody has renamed the project: it" if wanted.title else "the project"
        made.left.append(f"{by} is called {project.title!r} on the server, and stays so")
    return project


def _tasks(studio: Studio, wanted: Wanted, index: Sequence[Indexed], made: Plan) -> dict[str, Indexed]:
    """What is to become of tasks; those that stay, by ext_id."""
    by_name: dict[str, list[Indexed]] = defaultdict(list)
    for each in index:
        by_name[each.ext_id].append(each)
    strangers = by_name.pop("", [])
    if strangers:
        made.left.append(f"{len(strangers)} tasks have no ext_id and are not of this campaign (task {strangers[0].id} for one)")
    worked = worked_on(studio, made.project, [each.id for copies in by_name.values() if len(copies) > 1 for each in copies])
    kept = {name: copies[0] if len(copies) == 1 else _best(copies, worked, made) for name, copies in by_name.items()}
    for task in wanted.tasks:
        there = kept.get(task.ext_id)
        if there is None:
            made.create.append(task)
            made.embedded += task.ext_id in wanted.guesses
        elif fields := _differences(wanted, task, there):
            made.update.append((there.id, task.ext_id, fields))
    names = {task.ext_id for task in wanted.tasks}
    if gone := [each for name, each in kept.items() if name not in names]:
        answered = sum(each.answers > 0 for each in gone)
        made.left.append(f"{len(gone)} tasks whose clips have left the campaign stay, {answered} of them with answers")
    made.there = len(kept.keys() & names)
    return {name: each for name, each in kept.items() if name in names}


def _best(copies: Sequence[Indexed], worked: Collection[int], made: Plan) -> Indexed:
    """Of several copies of a task the one that stays: the first that somebody worked on, else the first."""
    stay = [each for each in copies if each.id in worked] or [copies[0]]
    made.copies += [each.id for each in copies if each not in stay]
    if len(stay) > 1:
        ids = " and ".join(str(each.id) for each in stay)
        made.left.append(
            f"{stay[0].ext_id} is there {len(stay)} times with answers or drafts (tasks {ids}): pull reads all; delete what should go"
        )
    return stay[0]


def worked_on(studio: Studio, project: Project | None, tasks: Sequence[int]) -> set[int]:
    """The tasks that somebody answered, skipped, or began; by what is there, not by counters."""
    there = studio.tasks(project.id, tasks) if project else []
    return {each["id"] for each in there if each["annotations"] or each["draft_exists"]}


def _differences(wanted: Wanted, task: Task, there: Indexed) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    want = columns(task)
    if isinstance(link := there.data.get("audio"), str) and wanted.same_audio(link, task.audio):
        want["audio"] = link
    if {name: there.data.get(name) for name in want} != want:
        fields["data"] = {**there.data, **want}
    if there.overlap != (overlap := wanted.overlap(task.ext_id)):
        fields["overlap"] = overlap
    return fields


def _predictions(studio: Studio, wanted: Wanted, project: Project, kept: Mapping[str, Indexed], made: Plan) -> None:
    by_task: dict[int, list[Guess]] = defaultdict(list)
    others: Counter[str] = Counter()
    for guess in studio.predictions(project.id) if kept or made.copies else ():
        if guess.model_version == wanted.version:
            by_task[guess.task].append(guess)
        else:
            others[guess.model_version] += 1
    several = [kept[each].id for each in wanted.guesses if each in kept and len(by_task[kept[each].id]) > 1]
    parents = {said["parent_prediction"] for task in studio.tasks(project.id, several) for said in task["annotations"]}
    for ext_id, said in wanted.guesses.items():
        if not (task := kept.get(ext_id)):
            continue
        there = by_task[task.id]
        same = [each for each in there if (each.score, each.result) == (said["score"], said["result"])]
        if not same:
            made.send.append((task.id, ext_id, said))
        elif len(there) > 1:
            same = [next((each for each in same if each.id in parents), same[0])]  # what somebody's answer began as
        made.stale += [each.id for each in there if each not in same]
    if wanted.version or wanted.blind:
        made.versions = dict(others)
    elif others:
        made.left.append(f"{sum(others.values())} predictions of {_few(others)} stay, as the campaign says nothing of predictions")
    if (made.versions or made.stale) and wanted.quiet and (minutes := _last_answer(studio, project, wanted.quiet)) is not None:
        count = sum(made.versions.values()) + len(made.stale)
        made.left.append(
            f"{count} predictions that are replaced stay while people are at work (the last answer is {minutes:.0f} minutes old); "
            f"an apply after {wanted.quiet:g} quiet minutes removes them"
        )
        made.versions, made.stale = {}, []


def _last_answer(studio: Studio, project: Project, quiet: float) -> float | None:
    """Minutes since the last answer, by the server's clock; None if that is longer ago."""
    now = studio.now()
    touched = [each.task_id for each in studio.listed(project.id, now - timedelta(minutes=quiet)) if each.annotations]
    # An apply touches tasks too.
    answers = [each["updated_at"] for task in studio.tasks(project.id, touched[-100:]) for each in task["annotations"]]
    ages = [(now - datetime.fromisoformat(each)).total_seconds() / 60 for each in answers]
    return max(0.0, min(ages)) if ages and min(ages) < quiet else None


def _settings(studio: Studio, wanted: Wanted, project: Project, made: Plan) -> None:
    campaign = wanted.campaign
    want: dict[str, Any] = {
        "instructions": campaign.instructions,
        "overlap": campaign.overlap.annotators,
        "show_predictions": not wanted.blind,
    }
    if project.title == wanted.title:  # nobody has renamed it since
        want["title"] = campaign.title
    if wanted.version:
        want["model_version"] = wanted.version
    elif wanted.blind:
        want["model_version"] = ""
    made.settings = {name: (getattr(project, name), value) for name, value in want.items() if getattr(project, name) != value}
    if _bare(project.label_config) != _bare(wanted.screen):
        made.settings["label_config"] = (project.label_config, wanted.screen)
        made.refused += orphans(studio, project, wanted.screen)


def _bare(xml: str) -> str:
    """XML in which layout does not count."""
    try:
        screen(xml)
        return ET.canonicalize(xml, strip_text=True)
    except ValueError:  # the server's may be anything
        return xml.strip()


def _change(was: Any, becomes: Any) -> str:
    if isinstance(was, str) and isinstance(becomes, str) and max(len(was), len(becomes)) > 60:
        before, after = was.splitlines(), becomes.splitlines()
        return f"{len(set(after) - set(before))} lines new, {len(set(before) - set(after))} gone"
    return f"{was!r} becomes {becomes!r}"


def _few(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:3]) + (", ..." if len(every) > 3 else "")
