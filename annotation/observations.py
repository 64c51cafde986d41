"""One label as an observation of a JAMS file and back, and what a sandbox keeps of labels because observations cannot say it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeGuard, cast

from annotation.labels import AUTHOR_KINDS, AuthorKind, Label
from annotation.namespaces import OTHER, said, value_in

Observation = dict[str, Any]

# What an observation has.
COLUMNS = ("time", "duration", "value", "confidence")
# The fields of a label that it speaks of, and all that a label has beside its track.
OBSERVED = ("value", "start", "duration", "confidence")
_FIELDS = ("kind", *OBSERVED, "author", "author_kind", "clip_id", "campaign", "at", "replaces", "view_id")


def observed(namespace: str, observation: Observation, kind: str | None = None) -> dict[str, Any]:
    """The fields of a label that an observation gives by itself.

    Args:
        kind: of the label, where that is known otherwise: a kind without a namespace has its text as it is.
    """
    value, confidence = observation.get("value"), observation.get("confidence")
    means, text = said(namespace, value)
    if namespace == OTHER and kind and not kind.startswith("jams.") and isinstance(value, str):
        text = value
    return {
        "kind": means,
        "value": text,
        "start": observation["time"],
        "duration": observation["duration"],
        "confidence": confidence if is_number(confidence) and 0 <= confidence <= 1 else None,
    }


def observation_of(namespace: str, label: Label, seconds: float) -> Observation | None:
    """The observation that says most of a label; None where the namespace cannot say its value.

    Args:
        seconds: of the annotation: a label about the whole lasts as long.
    """
    try:
        value = value_in(namespace, label.kind, label.value)
    except ValueError:
        if namespace != OTHER:
            return None
        value = label.value
    return {
        "time": 0 if label.start is None else label.start,
        "duration": (seconds if label.start is None else 0) if label.duration is None else label.duration,
        "value": value,
        # JAMS wants a number as the confidence of a tempo.
        "confidence": 1.0 if label.confidence is None and namespace == "tempo" else label.confidence,
    }


def placed(observation: Any, place: str) -> bool:
    """Whether an observation lies where a label can be: neither before 0 nor at no finite time.

    Raises:
        ValueError: not an observation.
    """
    if not isinstance(observation, dict):
        raise ValueError(f"{place}: not an observation, which has {', '.join(COLUMNS)}")
    for name in ("time", "duration"):
        if not is_number(observation.get(name)):
            raise ValueError(f"{place}.{name}: {str(observation.get(name))[:60]!r} is not seconds")
    return all(0 <= observation[name] <= sys.float_info.max for name in ("time", "duration"))


def author(metadata: Mapping[str, Any]) -> tuple[str, AuthorKind]:
    """Who an annotation is by, as far as its metadata tell.

    >>> author({"annotator": {"name": "mira"}, "data_source": "gold"}), author({"corpus": "RWC", "data_source": "program"})
    (('mira', 'gold'), ('RWC', 'model'))
    """
    source = metadata.get("data_source")
    kind = source if source in AUTHOR_KINDS else "model" if isinstance(source, str) and "program" in source.lower() else "person"
    return next(_names(metadata), "unknown"), cast(AuthorKind, kind)


def _names(metadata: Mapping[str, Any]) -> Iterator[str]:
    described = (metadata.get(who) for who in ("annotator", "curator"))
    names = [who.get(name) for who in described if isinstance(who, dict) for name in ("name", "email")]
    yield from (name for name in (*names, metadata.get("corpus")) if name and isinstance(name, str))


def keep(namespace: str, labels: Sequence[Label], data: Sequence[Observation], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What reading observations would not give back of their labels: field by field one value for all, or a list with one for each."""
    by, by_kind = author(metadata)
    pairs = zip(labels, data, strict=True)
    plain = [{"author": by, "author_kind": by_kind, **observed(namespace, each, label.kind)} for label, each in pairs]
    kept: dict[str, Any] = {}
    for name in _FIELDS:
        wanted = [getattr(label, name) for label in labels]
        if wanted != [fields.get(name) for fields in plain]:
            wanted = [each.isoformat() if isinstance(each, datetime) else each for each in wanted]
            kept[name] = wanted[0] if all(each == wanted[0] for each in wanted) else wanted
    return kept


def kept_rows(kept: Mapping[str, Any], place: str, rows: int) -> list[dict[str, Any]]:
    """What `keep` kept, for each label.

    Raises:
        ValueError: not what it wrote, or for another number of labels.
    """
    for name, each in kept.items():
        if name not in _FIELDS:
            raise ValueError(f"{place}.{name}: no field of a label; there are {', '.join(_FIELDS)}")
        if isinstance(each, list) and len(each) != rows:
            raise ValueError(f"{place}.{name}: {len(each)} entries for {rows} observations; take {name} out of the sandbox")
    each_row = [name for name in kept if isinstance(kept[name], list)]
    all_rows = {name: _field(name, each, f"{place}.{name}") for name, each in kept.items() if name not in each_row}
    columns = [[_field(name, each, f"{place}.{name}") for each in kept[name]] for name in each_row]
    if not columns:
        return [all_rows] * rows
    return [{**all_rows, **dict(zip(each_row, row, strict=True))} for row in zip(*columns, strict=True)]


def _field(name: str, value: Any, place: str) -> Any:
    """A label's field from JSON."""
    numeric = name in ("start", "duration", "confidence")
    if value is None and name not in ("kind", "value", "author", "author_kind"):
        return None
    if not (is_number(value) if numeric else isinstance(value, str)):
        raise ValueError(f"{place}: {str(value)[:60]!r} is not {'a number' if numeric else 'text'}")
    if name == "at":
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{place}: {value[:60]!r} is not a time in ISO 8601") from error
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether JSON gave a number; true and false are none."""
    return type(value) in (int, float)
