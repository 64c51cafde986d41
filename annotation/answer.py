"""One annotation as it was seen on the server, and what a page from the server adds to what was seen before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from annotation.results import origin

if TYPE_CHECKING:
    import pyarrow as pa

Page = Mapping[str, Any]  # JSON from the server


@dataclass(frozen=True)
class Answer:
    """A revision of one annotation, or (`gone`) the note that it is no longer on the server.

    ext_id: the task's name in the campaign; "" where somebody made the task by hand.
    revision: 1 for the first that was seen of this annotation, and so on.
    author: email of who annotated. updated_by: email of who wrote this revision.
    created_at, updated_at, task_updated_at: the server's times of annotation and task.
    lead_time_s: seconds that the annotator spent, as the browser measured them.
    from_prediction: model_version of the pre-annotation it began as; "" none, "?" one that is no longer there.
    changed: whether it says anything else than that pre-annotation; None where it began as none.
    result: Label Studio's result, JSON text; in a tombstone what was said last.
    gone: "annotation" where it was deleted while its task stayed, "task" where the whole task went; "" otherwise.
    tombstone_at: the server's time by which it was gone.
    """

    project: str
    task_id: int
    ext_id: str
    annotation_id: int
    revision: int
    author: str
    updated_by: str
    created_at: datetime
    updated_at: datetime
    task_updated_at: datetime
    lead_time_s: float | None
    skipped: bool
    from_prediction: str
    changed: bool | None
    result: str
    digest: str
    gone: str = ""
    tombstone_at: datetime | None = None


def schema() -> pa.Schema:
    """The Arrow schema of the table of answers: the fields of `Answer`."""
    import pyarrow as pa

    text, instant = pa.string(), pa.timestamp("us", tz="UTC")
    kinds = {"task_id": pa.int64(), "annotation_id": pa.int64(), "revision": pa.int32(), "lead_time_s": pa.float64()}
    kinds |= {"skipped": pa.bool_(), "changed": pa.bool_()}
    kinds |= dict.fromkeys(("created_at", "updated_at", "task_updated_at", "tombstone_at"), instant)
    return pa.schema([(name, kinds.get(name, text)) for name in (field.name for field in fields(Answer))])


def news(page: Page, latest: Mapping[tuple[str, int], Answer]) -> list[Answer]:
    """The rows that a page adds.

    Args:
        page: as `Mirror.keep` takes it. latest: the last row of each annotation, by project and annotation_id.
    """
    project = page["project"]
    if "ids" in page:
        there, at = set(page["ids"]), time(page["at"])
        gone = (row for row in latest.values() if row.project == project and not row.gone and row.task_id not in there)
        return [_tombstone(row, "task", at) for row in gone]
    by_task: dict[int, list[Answer]] = {task["id"]: [] for task in page["tasks"]}
    for row in latest.values():
        if row.project == project and row.task_id in by_task and not row.gone:
            by_task[row.task_id].append(row)
    new: list[Answer] = []
    seen = set()
    for task in page["tasks"]:
        for annotation in sorted(task["annotations"], key=lambda each: int(each["id"])):  # they come in any order
            seen.add(annotation["id"])
            before = latest.get((project, annotation["id"]))
            row = _answer(project, task, annotation, page["users"], before)
            if before is None or before.gone or before.digest != row.digest:
                new.append(row)
    for task in page["tasks"]:
        # An annotation that another task now has was moved, not deleted.
        new += [_tombstone(row, "annotation", time(task["updated_at"])) for row in by_task[task["id"]] if row.annotation_id not in seen]
    return new


def _answer(
    project: str, task: Mapping[str, Any], annotation: Mapping[str, Any], users: Mapping[str, str], before: Answer | None
) -> Answer:
    """The row of an annotation as the server tells it.

    What its earlier rows knew, and the server forgets (the email of a user who left, a prediction that was replaced), is kept.
    """
    result, skipped, seconds = annotation["result"] or [], bool(annotation["was_cancelled"]), annotation["lead_time"]
    ext_id = task["data"].get("ext_id")
    ext_id = ext_id if isinstance(ext_id, str) else ""
    updated_at = time(annotation["updated_at"])
    told = json.dumps([task["id"], ext_id, updated_at.isoformat(), skipped, result], sort_keys=True)
    author = before.author if before else _email(annotation["completed_by"], users)
    began, changed = _began(annotation, task.get("predictions") or [])
    if before and before.from_prediction and began in ("", "?"):
        began = before.from_prediction
        changed = before.changed or _manual(result)
    return Answer(
        project,
        task["id"],
        ext_id,
        annotation["id"],
        before.revision + 1 if before else 1,
        author,
        author if annotation.get("updated_by") in (None, annotation["completed_by"]) else _email(annotation["updated_by"], users),
        time(annotation["created_at"]),
        updated_at,
        time(task["updated_at"]),
        None if seconds is None else float(seconds),
        skipped,
        began,
        changed,
        json.dumps(result, sort_keys=True),
        hashlib.sha256(told.encode()).hexdigest()[:20],
    )


def _began(annotation: Page, predictions: Iterable[Page]) -> tuple[str, bool | None]:
    """The model_version of the pre-annotation that an annotation began as, and whether it was changed."""
    result, parent = annotation["result"] or [], annotation.get("parent_prediction")
    for prediction in predictions:
        if prediction["id"] == parent:
            compared = origin(_items(result), _items(prediction["result"]))
            return prediction["model_version"] or "?", compared.own + compared.dropped > 0
    if parent is None and not any(str(item.get("origin")).startswith("prediction") for item in _items(result)):
        return "", None
    return "?", _manual(result)


def _manual(result: Any) -> bool:
    """Whether anything in a result is not as a prediction said it."""
    return any(item.get("origin") != "prediction" for item in _items(result))


def _items(result: Any) -> list[Page]:
    """The items of a result. Whatever else stands in it (the server takes anything) is kept, and means nothing."""
    return (
        [item for item in result if isinstance(item, Mapping) and isinstance(item.get("value"), Mapping)]
        if isinstance(result, list)
        else []
    )


def _tombstone(row: Answer, gone: str, at: datetime) -> Answer:
    return replace(row, revision=row.revision + 1, gone=gone, tombstone_at=max(at, row.updated_at))


def counting(answers: Iterable[Answer]) -> list[Answer]:
    """Of one author's annotations of one clip, as last seen, those that count: the merged view.

    A deleted one does not. One that went with its task, or with an earlier project, does until the author answers the clip again: nobody
    took back what was said. A skip counts where there is no answer. Of several that say the same the first does.

    Args:
        answers: the last row of each, the latest seen last.
    """
    there = [row for row in answers if row.gone != "annotation"]
    there = [row for row in there if not row.gone and row.project == there[-1].project] or there
    there = [row for row in there if not row.skipped] or there
    first: dict[str, Answer] = {}
    for row in there:
        first.setdefault("" if row.skipped else row.result, row)
    return list(first.values())


def seen(row: Answer) -> tuple[str, datetime]:
    """The order in which annotations of one person count: those of an earlier project first."""
    return row.project.partition("@")[2], row.updated_at


def _email(user: int | None, users: Mapping[str, str]) -> str:
    return users.get(str(user)) or f"user {user}"


def time(text: str) -> datetime:
    """A time as the server writes it.

    >>> time("2026-11-22T21:45:23Z") < time("2026-11-22T21:45:23.000001Z")
    True
    """
    return datetime.fromisoformat(text).astimezone(UTC)
