"""Bring a campaign to the server: plan, do, and plan again, until there is nothing to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotation.outcome import Gone, Refused, StudioError, Unknown
from annotation.plan import Plan, plan, worked_on
from annotation.records import Project
from annotation.studio import IMPORT, Studio
from annotation.task import Task, campaign_line
from annotation.wanted import Wanted, columns

__all__ = ["Applied", "Conflict", "Plan", "Wanted", "apply", "plan"]

SEND = 5000  # predictions in a call: the server counts all of a project's again after each
LOST = 30  # writes of which nobody knows what became, before it is given up
ROUNDS = 8  # plans that are carried out without a loss; three are enough, unless somebody else works against them


class Conflict(StudioError):
    """What a person has to decide before anything is done, a line each."""


class _Moved(Exception):
    """Somebody else changes the project at the same time."""


@dataclass(frozen=True)
class Applied:
    """What was done. lost: writes of which nobody knew what became until it was read back; what they did is not in `done`."""

    project: Project
    done: Mapping[str, int]
    lost: int = 0
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        did = ", ".join(f"{count} {what}" for what, count in self.done.items()) or ("nothing to do" if not self.lost else "done")
        lost = f"; {self.lost} calls were lost on the way and read back" if self.lost else ""
        return "\n".join([f"project {self.project.id} {self.project.title!r}: {did}{lost}", *self.left])


def apply(studio: Studio, wanted: Wanted, tell: Callable[[str], object] = lambda _: None) -> Applied:
    """Do what `plan` says, until it says nothing more.

    Nothing is sent twice blindly: when the answer to a write is lost, or somebody else turns out to write, all is read again and planned
    anew. No answer is changed or deleted. There is to be one writer; two that meet make copies, which the one that ends last removes.

    Args:
        tell: called with a line before each step.
    Raises:
        Conflict: a person has to decide something first; nothing was done about it.
        Refused: the server does not take something. Unknown, Away: it gives no answers; give the same command again.
    """
    done: Counter[str] = Counter()
    lost = rounds = 0
    while True:
        made = plan(studio, wanted)
        if made.refused:
            raise Conflict("\n".join(made.refused))
        if made.project is not None and not made.changes:
            return Applied(made.project, dict(done), lost, made.left)
        rounds += 1
        if rounds > ROUNDS:
            raise StudioError(f"{studio.url}: still to do after {ROUNDS} rounds; is somebody else changing the project?\n{made}")
        try:
            _carry_out(studio, wanted, made, done, tell)
        except (Unknown, Gone, _Moved) as error:
            lost, rounds = lost + 1, 0
            if lost > LOST:
                raise StudioError(
                    f"{error}; {lost} calls were lost. Give the same command again: it goes on where this one stopped"
                ) from None
            tell(f"{error}: reading back")
            time.sleep(studio.pause * 10)  # what was cut off may still be at work there


def _carry_out(studio: Studio, wanted: Wanted, made: Plan, done: Counter[str], tell: Callable[[str], object]) -> None:
    if made.project is None:
        tell(f"making project {wanted.campaign.title!r}")
        _create(studio, wanted)
        done["project made"] += 1
        return  # to be found again, as everybody else will find it
    project = made.project.id
    for each in made.projects:
        tell(f"project {each} is an empty copy, and is left to itself; delete it when nobody works on this server")
        _disown(studio, each, campaign_line(wanted.campaign.name))
        done["empty copies of the project let go"] += 1
    # The version may only be named when its predictions are there, and is therefore set last.
    settings = {name: becomes for name, (_, becomes) in made.settings.items() if name != "model_version"}
    if settings:
        tell(f"changing {', '.join(settings)}")
        studio.update_project(project, **settings)
        done["settings changed"] += len(settings)
    if "overlap" in settings:
        return  # the server has overwritten that of tasks
    if made.copies:
        begun = worked_on(studio, made.project, made.copies)  # somebody may have, since
        studio.delete_tasks(project, [each for each in made.copies if each not in begun])
        done["copies of tasks removed"] += len(made.copies) - len(begun)
        return
    _import(studio, project, wanted, made, made.indexed, done, tell)
    for count, (task, _, fields) in enumerate(made.update):
        if count % 100 == 0:
            tell(f"changing tasks: {count} of {len(made.update)}")
        studio.update_task(task, **fields)
        done["tasks changed"] += 1
    _send(studio, project, made, done, tell)
    if "model_version" in made.settings:
        studio.update_project(project, model_version=made.settings["model_version"][1])
        done["settings changed"] += 1
    for version in made.versions:
        tell(f"removing the predictions of {version}")
        done["predictions removed"] += studio.delete_model_version(project, version)
    for each in made.stale:
        studio.delete_prediction(each)
        done["predictions removed"] += 1


def _create(studio: Studio, wanted: Wanted) -> None:
    campaign = wanted.campaign
    found_by = "The next line is how earmark finds this project again, whatever it is called."
    studio.create_project(
        campaign.title,
        f"{found_by}\n{campaign_line(campaign.name)}",
        wanted.screen,
        instructions=campaign.instructions,
        overlap=campaign.overlap.annotators,
        show_predictions=not wanted.blind,
    )


def _disown(studio: Studio, project: int, line: str) -> None:
    """Take the campaign's line out of an empty project, if it still is one.

    It is not deleted: while the server deletes a project it does nothing of what should follow a save, for anybody, and after two deletions
    at once it does not again until it is restarted: answers no longer count, new accounts have no tokens.
    """
    there = studio.read_project(project)
    if there.tasks == 0:
        kept = [each for each in there.description.splitlines() if each.strip() != line]
        studio.update_project(project, description="\n".join(kept), title=f"{there.title[:40]} (copy)")


def _import(
    studio: Studio, project: int, wanted: Wanted, made: Plan, indexed: int, done: Counter[str], tell: Callable[[str], object]
) -> None:
    """Import what is missing. indexed: how many tasks there are before."""
    for start in range(0, len(made.create), IMPORT):
        batch = made.create[start : start + IMPORT]
        tell(f"importing tasks: {start} of {len(made.create)}")
        if studio.count(project) != indexed:
            raise _Moved(f"{studio.url}: somebody else adds tasks to project {project}, or deletes them")
        given = [_given(wanted, task) for task in batch]
        indexed += len(studio.import_tasks(project, given))
        done["tasks imported"] += len(batch)
        done["predictions sent"] += sum(len(each["predictions"]) for each in given)


def _given(wanted: Wanted, task: Task) -> dict[str, Any]:
    guess = wanted.guesses.get(task.ext_id)
    return {"data": columns(task), "predictions": [guess] if guess else []}


def _send(studio: Studio, project: int, made: Plan, done: Counter[str], tell: Callable[[str], object]) -> None:
    """Send predictions of tasks that are there."""
    for start in range(0, len(made.send), SEND):
        batch = [{"task": task, **guess} for task, _, guess in made.send[start : start + SEND]]
        tell(f"sending predictions: {start} of {len(made.send)}")
        try:
            took = studio.import_predictions(project, batch)
        except Refused:
            there = {each.id for each in studio.index(project)}
            if {each["task"] for each in batch} <= there:
                raise
            raise _Moved(f"{studio.url}: somebody else deletes tasks of project {project}") from None
        if took != len(batch):
            raise StudioError(
                f"{studio.url}: the server took {took} of {len(batch)} predictions of {batch[0]['model_version']}; the others do not fit "
                "its labelling screen. Nothing was removed"
            )
        done["predictions sent"] += took
