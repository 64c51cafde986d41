"""What a model would answer, before people do: tags from probabilities, regions from probabilities over time.

A guess is a `Label` like any other statement, its author the model (`model_version`), its confidence the score; `prediction` writes guesses
down as Label Studio wants them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from annotation.campaign import Campaign
from annotation.interface import SOUND
from annotation.labels import Label
from annotation.results import to_labels, to_result
from annotation.task import Task, digest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# A region lasts as long as its probability is at least so much of the threshold that it must reach once.
LASTING = 0.6


def model_version(name: str, weights: str, settings: str = "") -> str:
    """The name under which a model's guesses are kept: of other weights, or with other settings, it is another model.

    Args:
        weights: hex digits of their hash, 16 at least.
        settings: what else guesses hang on (thresholds, map), as text; "" for a model's own.
    Raises:
        ValueError: it is no such hash.

    >>> model_version("MusiCNN", "0123456789abcdef" * 4)
    'MusiCNN@0123456789abcdef'
    >>> model_version("MusiCNN", "0123456789abcdef" * 4, "threshold 0.2")
    'MusiCNN@0123456789abcdef.7e424727'
    """
    if len(weights) < 16 or set(weights.lower()) - set("0123456789abcdef"):
        raise ValueError(f"model {name}: {weights[:60]!r} is not the hash of its weights, 16 hex digits or more")
    return f"{name}@{weights[:16].lower()}" + (f".{digest(settings)[:8]}" if settings else "")


@dataclass(frozen=True)
class Tagged:
    """What a model of tags says of one clip.

    names: its tags. tags: (tags,) probabilities of the clip. taggram: (patches, tags) over time, patch by patch.
    hop: seconds from one patch to the next. length: seconds that a patch hears.
    """

    names: Sequence[str]
    tags: ArrayLike
    taggram: ArrayLike
    hop: float
    length: float


def guesses(tagged: Tagged, task: Task, campaign: Campaign, author: str) -> list[Label]:
    """What a model would answer to the questions that the campaign's predictions map to.

    A choice is guessed from its threshold on; where one choice is to be made, only the likeliest is. A region begins and ends where
    its choice falls below `LASTING` times the threshold.

    Raises:
        ValueError: the model lacks a tag of the map, or a score is no probability; or a question that patches cannot answer.
    """
    labels: list[Label] = []
    if (plan := campaign.predictions) is None:
        return labels

    def guess(kind: str, choice: str, score: float, start: float | None = None, duration: float | None = None) -> Label:
        about = task.track_id, task.clip_id, start, duration, score, campaign.name, None, None, task.view_id
        return Label(kind, choice, author, "model", *about)

    for name, mapping in plan.map.items():
        question, thresholds = campaign.question(name), plan.thresholds.get(name, {})
        if question.moment or question.control not in ("Choices", "Labels"):
            raise ValueError(f"predictions.map.{name}: a tagger cannot answer this question; leave it out")
        found, scores = choices(tagged.names, tagged.taggram if question.regions else tagged.tags, mapping)
        highs = [thresholds.get(choice, plan.threshold) for choice in found]
        if question.regions:
            for choice, high, column in zip(found, highs, scores.T, strict=True):
                times = tagged.hop, tagged.length, task.seconds
                for start, end, score in spans(column, *times, high, LASTING * high, plan.min_seconds, plan.join_seconds):
                    labels.append(guess(question.kind, choice, score, start, round(end - start, 6)))
        else:
            likely = [
                guess(question.kind, choice, score)
                for choice, high, score in zip(found, highs, scores.tolist(), strict=True)
                if score >= high
            ]
            labels += likely if question.multiple else sorted(likely, key=lambda label: -(label.confidence or 0.0))[:1]
    return labels


def prediction(labels: Sequence[Label], campaign: Campaign, author: str) -> dict[str, Any]:
    """Guesses about one clip as Label Studio keeps them; its score, by which uncertain clips come first, is the mean of theirs."""
    scores = [label.confidence for label in labels if label.confidence is not None]
    score = sum(scores) / len(scores) if scores else 0.0
    return {"model_version": author, "score": score, "result": to_result(labels, campaign)}


def check_prediction(result: object, campaign: Campaign, seconds: float, score: object = None) -> list[str]:
    """What is wrong with a prediction that the server would drop without a word, or keep although it is wrong; a line each.

    Args:
        result: its items. seconds: of the clip. score: of the whole.
    """
    wrong = []
    if score is not None and not (isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1):
        wrong.append(f"score: not between 0 and 1, got {score!r}")
    _, problems = to_labels(result, Task("", "", "", 0.0, seconds, ""), campaign, "", None, author_kind="model")
    wrong += map(str, problems)
    asked = {question.name: question for question in campaign.questions}
    ids: set[str] = set()
    for index, item in enumerate(result if isinstance(result, list) else []):
        if not isinstance(item, dict) or str(item.get("from_name")) not in asked:
            continue  # said already
        question, place, value = asked[str(item["from_name"])], f"result[{index}]", item.get("value")
        if item.get("to_name") != SOUND:
            wrong.append(f"{place}.to_name: not {SOUND!r}, got {item.get('to_name')!r}")
        if item.get("type") != question.control.lower():
            wrong.append(f"{place}.type: not {question.control.lower()!r}, got {item.get('type')!r}")
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            wrong.append(f"{place}.value.text: not a list of texts, got {value['text'][:60]!r}")
        if "id" in item and str(item["id"]) in ids:
            wrong.append(f"{place}.id: taken by another item, got {item['id']!r}")
        ids.add(str(item.get("id")))
    return wrong


def choices(names: Sequence[str], scores: ArrayLike, mapping: Mapping[str, str]) -> tuple[list[str], NDArray[Any]]:
    """A model's scores as scores of a campaign's choices; of several of its tags that mean one choice the highest counts.

    Args:
        names: the model's tags. scores: (..., tags), 0 to 1.
        mapping: model's tag → choice; tags that it does not name are left out.
    Returns:
        the choices in the mapping's order, and (..., choices) scores.
    Raises:
        ValueError: the mapping names a tag that the model has not, or a score is no probability.

    >>> mapping = {"male vocal": "voice", "female vocal": "voice"}
    >>> chosen, values = choices(["female vocal", "guitar", "male vocal"], [0.2, 0.5, 0.7], mapping)
    >>> chosen, values.tolist()
    (['voice'], [0.7])
    """
    import numpy as np

    values = np.asarray(scores, np.float64)
    if values.shape[-1:] != (len(names),):
        raise ValueError(f"scores: shape {values.shape} for {len(names)} tags; the last dimension is the tags")
    if wrong := values[~((values >= 0) & (values <= 1))].tolist():
        raise ValueError(f"scores: {wrong[0]} is not between 0 and 1")
    if unknown := [tag for tag in mapping if tag not in names]:
        raise ValueError(f"mapping: {unknown[0]!r} is no tag of the model; there are {', '.join(names)}")
    columns: dict[str, list[int]] = {}
    for tag, choice in mapping.items():
        columns.setdefault(choice, []).append(names.index(tag))
    return list(columns), np.stack([values[..., of].max(-1) for of in columns.values()], -1) if columns else values[..., :0]


def spans(
    scores: ArrayLike, hop: float, length: float, seconds: float, high: float, low: float, shortest: float = 0.0, gap: float = 0.0
) -> list[tuple[float, float, float]]:
    """Where something sounds: stretches that stay at `low` or above and reach `high` somewhere.

    A patch speaks for the `hop` seconds around its middle; the first also for what is before it, so that no clip begins with silence.

    Args:
        scores: (patches,), 0 to 1. hop: seconds from one patch to the next. length: seconds that a patch hears.
        seconds: of the clip; nothing lies beyond.
        shortest: seconds; a shorter stretch is left out. gap: seconds; stretches that are not further apart are one.
    Returns:
        (start, end, mean score), seconds.
    Raises:
        ValueError: thresholds that are not 0 <= low <= high <= 1, or times that are none.

    >>> spans([0.1, 0.6, 0.9, 0.6, 0.1], hop=1, length=1, seconds=5, high=0.8, low=0.5)
    [(1.0, 4.0, 0.7)]
    """
    import numpy as np

    if not 0 <= low <= high <= 1:
        raise ValueError(f"spans need 0 <= low <= high <= 1, got low={low} high={high}")
    if not (0 < hop < math.inf and 0 < length < math.inf and shortest >= 0 and gap >= 0):
        raise ValueError(f"spans need hop > 0, length > 0, shortest >= 0 and gap >= 0, got {hop=} {length=} {shortest=} {gap=}")
    values = np.asarray(scores, np.float64)
    alive = np.flatnonzero(np.diff(values >= low, prepend=False, append=False))
    runs = [(first, last) for first, last in alive.reshape(-1, 2).tolist() if values[first:last].max() >= high]
    edges = (length - hop) / 2 + hop * np.arange(len(values) + 1)
    edges[:1], edges[-1:] = 0.0, edges[-1:] + (length - hop) / 2
    edges = edges.clip(0, seconds).round(6).tolist()
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        if merged and edges[first] - edges[merged[-1][1]] <= gap:
            first = merged.pop()[0]
        merged.append((first, last))
    found = [(edges[first], edges[last], round(float(values[first:last].mean()), 6)) for first, last in merged]
    return [(start, end, score) for start, end, score in found if end > start and end - start >= shortest]
