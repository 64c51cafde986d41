"""Label Studio's results, and the labels that they mean: there and back.

Times are kept to the microsecond, which is finer than a sample; all else comes back as it went.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from annotation.campaign import Campaign
from annotation.interface import SOUND
from annotation.kinds import check, format_number, number
from annotation.labels import AuthorKind, Label
from annotation.question import Question
from annotation.revisions import NOTHING, SILENT, SKIPPED
from annotation.task import Task

SLACK = 0.05  # seconds: browsers round, and decoders pad
# Where a result has what was answered, and by which tag's results.
_KEYS = {"choices": "choices", "taxonomy": "taxonomy", "labels": "labels", "number": "number", "textarea": "text"}
_UNKEPT = re.compile("[\0\ud800-\udfff]")  # JSON holds what UTF-8 and databases do not


@dataclass(frozen=True)
class Problem:
    """What somebody said and no label can say: it stays in the pages that were pulled.

    place: in the result, as in "result[3].value.end". value: what is there, as JSON, shortened.
    """

    annotation_id: int | None
    place: str
    value: str
    message: str

    def __str__(self) -> str:
        whose = "" if self.annotation_id is None else f"annotation {self.annotation_id}, "
        return f"{whose}{self.place}: {self.message}, got {self.value}"


class _Unsayable(ValueError):
    """Place within an item, value and message of a problem."""


def to_labels(
    result: object,
    task: Task,
    campaign: Campaign,
    author: str,
    at: datetime | None,
    *,
    author_kind: AuthorKind = "person",
    annotation_id: int | None = None,
    skipped: bool = False,
) -> tuple[list[Label], list[Problem]]:
    """What an annotation or a prediction says.

    Args:
        result: Label Studio's list of items, whatever is in it.
        author: a person's email, or a model's version. at: when it was said.
        skipped: whether the clip was skipped; what had been answered before that does not count.
    Returns:
        labels in seconds of the clip, and what could not be read. Of a person, a question without an answer is a label, too
        (annotation.revisions.NOTHING), and so is a skip. A region that leaves the clip by up to `SLACK` is cut to it; of a question about
        moments its start counts. A model's labels have the items' scores as confidence; that of a guess which a person kept is not theirs.
    """
    asked = {question.name: question for question in campaign.questions}
    labels: dict[Label, None] = {}
    problems: list[Problem] = []
    touched = set()

    def say(kind: str, value: str, start: float | None = None, duration: float | None = None, confidence: float | None = None) -> None:
        about = task.track_id, task.clip_id, start, duration, confidence, campaign.name, at, None, task.view_id
        labels[Label(kind, value, author, author_kind, *about)] = None

    if skipped:
        say(SKIPPED, "")
        return list(labels), []
    if not isinstance(result, list):
        return [], [Problem(annotation_id, "result", _short(result), "not a list of answers")]
    for index, item in enumerate(result):
        place = f"result[{index}]"
        try:
            question, values = _answered(item, asked)
            touched.add(question.name)
            start, duration = _span(item["value"], task.seconds, question)
            confidence = _score(item) if author_kind == "model" else None
        except _Unsayable as error:
            problems.append(_problem(annotation_id, place, error))
            if isinstance(item, Mapping) and isinstance(name := item.get("from_name"), str):
                touched.add(name)
            continue
        for where, value in values:
            try:
                say(question.kind, _value(value, where, question), start, duration, confidence)
            except _Unsayable as error:
                problems.append(_problem(annotation_id, place, error))
    if author_kind == "person":
        for name in asked:
            if name not in touched:
                say(NOTHING, name)
    return list(labels), problems


def to_result(labels: Iterable[Label], campaign: Campaign) -> list[dict[str, Any]]:
    """The result that says what labels say: of a gold answer, or of a prediction, whose items carry the labels' confidence as score.

    `to_labels` makes the same labels of it, as long as times are in whole microseconds and numbers in their shortest form.
    Several choices for a whole clip are one item, and its score the lowest of theirs. Kinds that say nothing about sound are left out.

    Raises:
        ValueError: a label that no question of the campaign asks for.
    """
    grouped: dict[tuple[Any, ...], list[Label]] = defaultdict(list)
    for label in labels:
        if label.kind not in SILENT:
            question = _asking(label, campaign)
            together = question.control in ("Choices", "TextArea")
            grouped[question.name, *(() if together else (label.start, label.duration, label.value))].append(label)
    return [_item(campaign.question(name), said) for (name, *_), said in grouped.items()]


@dataclass(frozen=True)
class Origin:
    """How much of an answer began as a pre-annotation; each choice, region, number and text counts as one.

    kept: of the guesses, as they were. own: of the answer, new or changed. dropped: of the guesses, deleted or changed.
    """

    kept: int
    own: int
    dropped: int


def origin(result: Iterable[Mapping[str, Any]], predicted: Iterable[Mapping[str, Any]]) -> Origin:
    """Compare an answer with the pre-annotation that it began as (the prediction whose id is `parent_prediction`).

    The editor's own marks ("origin" of an item) are not asked: they are about whole items, and a change that was undone is one to them.
    """
    answer, guess = _statements(result), _statements(predicted)
    return Origin(len(answer & guess), len(answer - guess), len(guess - answer))


def _statements(result: Iterable[Mapping[str, Any]]) -> set[str]:
    said = set()
    for item in result:
        value = item.get("value")
        key = _KEYS.get(str(item.get("type")), "")
        answers = value.get(key) if isinstance(value, Mapping) else value
        span = [value.get(each) for each in ("start", "end")] if isinstance(value, Mapping) else []
        for answer in answers if isinstance(answers, list) else [answers]:
            said.add(json.dumps([item.get("from_name"), *map(_plain, (*span, answer))]))
    return said


def _plain(value: object) -> object:
    """A number as it is whoever writes it: browsers make 1 of 1.0."""
    with contextlib.suppress(_Unsayable):
        return round(_finite(value, "", ""), 6)
    return value


def _answered(item: object, asked: Mapping[str, Question]) -> tuple[Question, list[tuple[str, object]]]:
    """The question that an item answers, and the answers with their places."""
    if not isinstance(item, Mapping):
        raise _Unsayable("", item, "not an answer")
    name, kind, value = item.get("from_name"), item.get("type"), item.get("value")
    if not isinstance(name, str) or name not in asked:
        raise _Unsayable("from_name", name, f"no question of the campaign (was the screen changed?); there are {', '.join(asked)}")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise _Unsayable("type", kind, f"not one of {', '.join(_KEYS)}")
    if not isinstance(value, Mapping):
        raise _Unsayable("value", value, f"not what {kind} say")
    key = _KEYS[kind]
    answers = value.get(key)
    if kind == "number":
        return asked[name], [(f"value.{key}", answers)]
    if isinstance(answers, str):
        answers = [answers]
    if not isinstance(answers, list) or not answers:
        raise _Unsayable(f"value.{key}", answers, "nothing was chosen" if kind != "textarea" else "nothing was written")
    return asked[name], [(f"value.{key}[{index}]", answer) for index, answer in enumerate(answers)]


def _value(answer: object, where: str, question: Question) -> str:
    """What a label says."""
    given = answer
    if where.endswith(".number"):
        answer = format_number(_finite(answer, where, "a number"))
    elif ".taxonomy[" in where and isinstance(answer, list) and answer:
        answer = answer[-1]  # what stands before it are headings
    if not isinstance(answer, str):
        raise _Unsayable(where, answer, "not a text")
    if not answer.strip():
        raise _Unsayable(where, answer, "an empty text")
    if _UNKEPT.search(answer):
        raise _Unsayable(where, answer, "a text with NUL or half a character")
    if question.values and answer not in question.values:
        raise _Unsayable(where, answer, f"not a choice of {question.name!r} (any longer?)")
    try:
        check(question.kind, answer)
    except ValueError as error:
        raise _Unsayable(where, given, str(error)) from None
    return answer


def _span(value: Mapping[str, Any], seconds: float, question: Question) -> tuple[float | None, float | None]:
    """Start and duration of a region; None, None for an answer about the whole clip."""
    if not question.regions and "start" not in value:
        return None, None
    times = []
    for name in ("start", "end"):
        time = _finite(value.get(name), f"value.{name}", "a time in seconds")
        if time < -SLACK:
            raise _Unsayable(f"value.{name}", time, "before the clip's beginning")
        if time > seconds + SLACK:
            raise _Unsayable(f"value.{name}", time, f"beyond the clip's end, at {seconds:g} s")
        times.append(min(max(time, 0.0), seconds))
    start, end = times
    if value["start"] > value["end"]:
        raise _Unsayable("value", [value["start"], value["end"]], "it ends before it starts")
    return round(start, 6), 0.0 if question.moment else round(end - start, 6)


def _score(item: Mapping[str, Any]) -> float | None:
    if item.get("score") is None:
        return None
    score = _finite(item["score"], "score", "a number")
    if not 0 <= score <= 1:
        raise _Unsayable("score", score, "not between 0 and 1")
    return score


def _finite(value: object, where: str, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        with contextlib.suppress(OverflowError):  # JSON knows whole numbers of any length
            return float(value)
    raise _Unsayable(where, value, f"not {what}")


def _asking(label: Label, campaign: Campaign) -> Question:
    """The question that a label answers."""
    for question in campaign.questions:
        fits = not question.values or label.value in question.values
        if question.kind == label.kind and fits and question.regions == (label.start is not None):
            return question
    where = "the whole clip" if label.start is None else f"{label.start:g} s"
    raise ValueError(f"{label.kind} {label.value[:60]!r} of {where}: no question of campaign {campaign.name!r} has this answer")


def _item(question: Question, said: list[Label]) -> dict[str, Any]:
    kind = question.control.lower()
    first, values = said[0], list(dict.fromkeys(label.value for label in said))
    value: dict[str, Any] = {_KEYS[kind]: number(values[0]) if kind == "number" else values}
    if first.start is not None:
        value |= {"start": first.start, "end": round(first.start + (first.duration or 0.0), 6), "channel": 0}
    item = {"from_name": question.name, "to_name": SOUND, "type": kind, "value": value}
    # Equal answers have equal ids: what was sent can be compared with what is there.
    item = {"id": sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:10], **item}
    scores = [label.confidence for label in said if label.confidence is not None and label.author_kind == "model"]
    return item | ({"score": min(scores)} if scores else {})


def _problem(annotation_id: int | None, place: str, error: _Unsayable) -> Problem:
    where, value, message = error.args
    return Problem(annotation_id, f"{place}.{where}" if where else place, _short(value), message)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
