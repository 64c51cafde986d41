"""What Label Studio keeps, as far as a campaign needs it, and how it writes that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Project:
    """A project as the server has it; `overlap` is how many people are to hear each task, `created_at` the server's own text."""

    id: int
    title: str
    description: str
    created_at: str
    label_config: str
    instructions: str
    overlap: int
    model_version: str
    show_predictions: bool
    tasks: int

    @property
    def key(self) -> str:
        """What no other project is called, on another server either: two servers may use one id."""
        return f"{self.id}@{self.created_at}"


@dataclass(frozen=True)
class Indexed:
    """A task without what people said; `answers` counts skips too."""

    id: int
    data: Mapping[str, Any]
    overlap: int
    answers: int

    @property
    def ext_id(self) -> str:
        """Its name in the campaign, "" if it has none."""
        return str(self.data.get("ext_id") or "")


class Listed(NamedTuple):
    """When a task was touched, as the server writes it, and the ids of its annotations, skips too."""

    task_id: int
    updated_at: str
    annotations: tuple[int, ...]


@dataclass(frozen=True)
class Guess:
    """A prediction on the server."""

    id: int
    task: int
    model_version: str
    score: float | None
    result: list[dict[str, Any]] = field(hash=False)


# What answers must hold, as `annotation.shape.unlike` takes it: all that is looked at here, in plans and in pulls, and no more. `result` is
# whatever the browser sent.
_TEXT, _COUNT, _TIME = (str, None), (int, None), datetime.fromisoformat

PROJECT = {
    "id": int,
    "title": _TEXT,
    "description": _TEXT,
    "created_at": _TIME,
    "label_config": _TEXT,
    "expert_instruction": _TEXT,
    "maximum_annotations": int,
    "model_version": _TEXT,
    "show_collab_predictions": object,
    "task_number": _COUNT,
    "sampling": _TEXT,
}
PROJECTS = {"results": [{"id": int, "description": _TEXT}], "count": int, "next": object}
VIEWS = [{"id": int, "data": (dict, None)}]
INDEXED = {"id": int, "data": dict, "overlap": int, "total_annotations": _COUNT, "cancelled_annotations": _COUNT}
ANNOTATION = {
    "id": int,
    "result": object,
    "was_cancelled": object,
    "lead_time": (float, None),
    "completed_by": _COUNT,
    "created_at": _TIME,
    "updated_at": _TIME,
    "parent_prediction": _COUNT,
}
TASK = {
    "id": int,
    "data": dict,
    "updated_at": _TIME,
    "annotations": [ANNOTATION],
    "predictions": ([{"id": int, "model_version": _TEXT, "result": object}], None),
    "draft_exists": object,
}
EXPORT = [{"id": int, "data": object, "annotations": [{"id": int, "result": object}]}]
IMPORTED = {"task_ids": [int], "prediction_count": int}
PREDICTIONS = [{"id": int, "task": int, "model_version": _TEXT, "score": (float, None), "result": object}]
USERS = [{"id": int, "email": _TEXT}]

_NAMES = {"instructions": "expert_instruction", "overlap": "maximum_annotations", "show_predictions": "show_collab_predictions"}


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {_NAMES.get(name, name): value for name, value in given.items()}
    return fields | ({"show_instruction": bool(given["instructions"])} if "instructions" in given else {})


def project(given: Mapping[str, Any]) -> Project:
    return Project(
        given["id"],
        given["title"] or "",
        given["description"] or "",
        given["created_at"],
        given["label_config"] or "",
        given["expert_instruction"] or "",
        given["maximum_annotations"],
        given["model_version"] or "",
        given["show_collab_predictions"],
        given["task_number"] or 0,
    )


def ids(text: str) -> tuple[int, ...]:
    """The ids in a text that the server cuts off after 500 characters; a last one that may be cut is left out.

    >>> ids("7,8, 12"), ids("")
    ((7, 8, 12), ())
    """
    if len(text) >= 500:
        text = text.rpartition(",")[0]
    return tuple(int(each) for each in text.split(",") if each.strip())


def moment(at: datetime) -> str:
    """A time as the server's filters take it: without microseconds they fail.

    >>> moment(datetime(2026, 11, 22, 21, 49, tzinfo=UTC))
    '2026-11-22T21:49:00.000000Z'
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; datetime.now(UTC) has one")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


LISTED = {"id": int, "updated_at": _TIME, "annotations_ids": ids}
