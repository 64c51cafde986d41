"""Answers that a changed labelling screen would orphan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from annotation.interface import removed
from annotation.records import Project
from annotation.studio import Studio

ANSWERS = 100  # that a refusal lists


def orphans(studio: Studio, project: Project, screen: str) -> Iterator[str]:
    """A line for each answer and draft that a new screen could not show any more."""
    lost = removed(project.label_config, screen)
    if not lost:
        return
    people = studio.users()
    found = []
    for task in studio.export(project.id):
        name = (task["data"].get("ext_id") or "") if isinstance(task["data"], dict) else ""
        for kind, said in (("annotation", task["annotations"]), ("draft", task.get("drafts") or [])):
            for each in said:
                if not isinstance(each, dict):  # some versions name drafts by their ids alone
                    found.append(f"task {task['id']} ({name}), {kind} {each}, of which the server does not tell what it says")
                    continue
                who: Any = each.get("completed_by")  # some tell all of a person
                author = (who.get("email") if isinstance(who, dict) else people.get(who)) or each.get("user") or "somebody"
                for control, value in _orphaned(each.get("result"), lost):
                    found.append(f"task {task['id']} ({name}), {kind} {each.get('id')} by {author}: {control} {value}")
    if found:
        what = ", ".join(name if gone is None else f"{name}: {', '.join(gone)}" for name, gone in lost.items())
        yield f"the new screen lacks {what}, which {len(found)} answers have; keep it in the campaign's file, or make a new campaign:"
        yield from found[:ANSWERS]
        if len(found) > ANSWERS:
            yield f"... and {len(found) - ANSWERS} more"


def _orphaned(result: Any, lost: Mapping[str, tuple[str, ...] | None]) -> Iterator[tuple[str, str]]:
    for item in result if isinstance(result, list) else ():
        name = item.get("from_name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in lost:
            continue
        given = item.get("value")
        lists = given.values() if isinstance(given, dict) else ()
        said = {str(value) for each in lists if isinstance(each, list) for value in each}
        gone = lost[name]
        if gone is None or (said := said & set(gone)):
            yield name, ", ".join(sorted(said))
