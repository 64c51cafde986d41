"""JAMS files: read as labels without losing what labels cannot say, and written so that labels come back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotation import foreign
from annotation.labels import Label, unfinished
from annotation.namespaces import DENSE, home
from annotation.observations import COLUMNS, OBSERVED, Observation, author, is_number, keep, kept_rows, observation_of, observed, placed

# The version whose schemata are followed.
VERSION = "0.3.5"
# Where a sandbox keeps what observations cannot say of labels.
_SANDBOX = "earmark"


@dataclass(frozen=True)
class Annotation:
    """One author's observations in one namespace.

    labels: what the observations say, in their order.
    about: everything else that the file says of the annotation: annotation_metadata, time, duration, sandbox.
    exact: observations as the file had them, by place, where a label says less: its label, or None if no label can say it.
        It is written as it was while its label is unchanged.
    columns: None where data are rows; where they are columns, what else stands beside the four.
    """

    namespace: str
    labels: tuple[Label, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    exact: Mapping[int, tuple[Label | None, Observation]] = field(default_factory=dict)
    columns: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Jams:
    """A JAMS file. about: all that it holds beside its annotations: file_metadata, sandbox."""

    annotations: tuple[Annotation, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[Label]:
        """All labels, annotation by annotation."""
        return [label for annotation in self.annotations for label in annotation.labels]

    @classmethod
    def of(cls, labels: Iterable[Label], seconds: float) -> Jams:
        """Labels of one sound as annotations: one for each author, campaign and kind, in order of time.

        Kinds that JAMS has no namespace for are tags (instruments) or lie in the namespace "blob". What an observation cannot say
        (velocity, campaign, replaces, ...) is in the annotation's sandbox.

        Args:
            seconds: length of the track, clip or view that they speak of.
        Raises:
            ValueError: labels of several sounds, or a length that is none.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"Jams.of needs 0 <= seconds, got {seconds}")
        groups: dict[tuple[Any, ...], list[Label]] = {}
        sounds: dict[tuple[Any, ...], None] = {}
        for label in labels:
            namespace = home(label.kind, label.value)
            # Contours and levels are numbered within one annotation.
            kind = "" if namespace in ("pitch_contour", "multi_segment") else label.kind
            groups.setdefault((namespace, kind, label.author, label.author_kind, label.campaign), []).append(label)
            sounds[label.track_id, label.clip_id, label.view_id] = None
        if len(sounds) > 1:
            raise ValueError(f"Jams.of: labels of {len(sounds)} tracks, clips or views; a JAMS file is about one sound: make one for each")
        annotations = []
        for (namespace, _, by, by_kind, _), group in groups.items():
            about = {
                "annotation_metadata": {"annotator": {"name": by}, "data_source": by_kind},
                "sandbox": {},
                "time": 0,
                "duration": seconds,
            }
            group.sort(key=lambda label: label.start or 0)
            annotations.append(Annotation(namespace, tuple(group), about, columns={} if namespace in DENSE else None))
        track_ids = [track_id for track_id, _, _ in sounds]
        metadata = {"duration": seconds, "identifiers": dict(zip([_SANDBOX], track_ids, strict=False)), "jams_version": VERSION}
        return cls(tuple(annotations), {"file_metadata": metadata, "sandbox": {}})


def read_jams(path: str | Path, track_id: str) -> Jams:
    """A JAMS file; `write_jams` gives the same observations, namespaces and metadata again.

    A value that means nothing in its namespace, or whose namespace is not known, is a label of kind "jams.NAMESPACE" with JSON text;
    a beat of unknown number has the value "". A confidence that is no number from 0 to 1 (or NaN) is None in the label. An observation
    before 0, or with a time or duration that is no number (NaN, infinite), gives no label. In all these cases `Annotation.exact` holds
    what the file said. The author is the annotator, or else the curator or the corpus; a "data_source" that names a program is a model,
    any other a person, unless it is one of model, person, gold, consensus.

    Args:
        track_id: of the track that the file is about.
    Raises:
        ValueError: no such file, or not a JAMS file: one line with the place.
    """
    try:
        document = foreign.document(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON, and so not a JAMS file ({error})") from error
    try:
        if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
            raise ValueError("no list of annotations; a JAMS file is an object that has one")
        about = {name: each for name, each in document.items() if name != "annotations"}
        for name in ("file_metadata", "sandbox"):
            _object(about, name, "")
        raw = enumerate(document["annotations"])
        return Jams(tuple(_annotation(each, f"annotations[{place}]", track_id) for place, each in raw), about)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_jams(jams: Jams, path: str | Path) -> None:
    """A JAMS file, whole or absent.

    Raises:
        ValueError: a label is in an annotation whose namespace cannot hold it; `Jams.of` chooses those that can.
        OSError: the place cannot be written.
    """
    annotations = [_document(annotation, f"annotations[{place}]") for place, annotation in enumerate(jams.annotations)]
    # ASCII: other readers open the file in the encoding of their locale.
    text = json.dumps({"annotations": annotations, **jams.about})
    with unfinished(path) as beside:
        beside.write_text(text, encoding="ascii")


def _annotation(raw: Any, place: str, track_id: str) -> Annotation:
    if not isinstance(raw, dict) or not isinstance(raw.get("namespace"), str):
        raise ValueError(f"{place}: no namespace; an annotation has namespace, data and annotation_metadata")
    namespace = raw["namespace"]
    about = {name: each for name, each in raw.items() if name not in ("namespace", "data")}
    by, by_kind = author(_object(about, "annotation_metadata", place))
    sandbox = _object(about, "sandbox", place)
    kept = _object(sandbox, _SANDBOX, f"{place}.sandbox")
    if kept:
        about["sandbox"] = {name: each for name, each in sandbox.items() if name != _SANDBOX}
    data, columns = _rows(raw.get("data"), f"{place}.data")
    sayable = [placed(each, f"{place}.data[{row}]") for row, each in enumerate(data)]
    more = kept_rows(kept, f"{place}.sandbox.{_SANDBOX}", sum(sayable))
    seconds = _seconds(about)

    def label(each: Observation, fields: Mapping[str, Any]) -> Label:
        said = {"author": by, "author_kind": by_kind, **observed(namespace, each, fields.get("kind")), **fields}
        return Label(track_id=track_id, **said)

    labels: list[Label] = []
    exact: dict[int, tuple[Label | None, Observation]] = {}
    for row, each in enumerate(data):
        if not sayable[row]:
            exact[row] = None, each
            continue
        fields = more[len(labels)]
        try:
            read = label(each, fields)
            written = observation_of(namespace, read, seconds)
            if fields and written != each:
                # Somebody edited the observation since: it counts, not what was kept of it.
                read = label(each, {name: value for name, value in fields.items() if name not in OBSERVED})
                written = observation_of(namespace, read, seconds)
        except ValueError as error:
            raise ValueError(f"{place}.data[{row}]: {error}") from error
        labels.append(read)
        # As text: to Python 1, 1.0 and true are equal.
        if repr(written) != repr(each):
            exact[row] = read, each
    return Annotation(namespace, tuple(labels), about, exact, columns)


def _document(annotation: Annotation, place: str) -> dict[str, Any]:
    exact, about = annotation.exact, dict(annotation.about)
    seconds = _seconds(about)
    data: list[Observation] = []
    labelled: list[Observation] = []
    for label in annotation.labels:
        while len(data) in exact and exact[len(data)][0] is None:
            data.append(exact[len(data)][1])
        of, was = exact.get(len(data), (None, None))
        observation = was if of == label else observation_of(annotation.namespace, label, seconds)
        if observation is None:
            raise ValueError(f"{place}: {annotation.namespace} cannot hold {label.kind} {label.value[:60]!r}; Jams.of finds what can")
        data.append(observation)
        labelled.append(observation)
    data += [each for row, (label_of, each) in exact.items() if row >= len(data) and label_of is None]
    if kept := keep(annotation.namespace, annotation.labels, labelled, about.get("annotation_metadata") or {}):
        about["sandbox"] = {**(about.get("sandbox") or {}), _SANDBOX: kept}
    if annotation.columns is None:
        return {"namespace": annotation.namespace, "data": data, **about}
    columns = {name: [each.get(name) for each in data] for name in COLUMNS}
    return {"namespace": annotation.namespace, "data": {**columns, **annotation.columns}, **about}


def _rows(data: Any, place: str) -> tuple[list[Observation], dict[str, Any] | None]:
    """Data as rows; if they were columns, also what stood beside these."""
    if isinstance(data, list):
        return data, None
    if not isinstance(data, dict) or not all(isinstance(data.get(name), list) for name in COLUMNS):
        raise ValueError(f"{place}: neither a list of observations nor an object with the lists {', '.join(COLUMNS)}")
    if len({len(data[name]) for name in COLUMNS}) > 1:
        raise ValueError(f"{place}: {', '.join(f'{len(data[name])} of {name}' for name in COLUMNS)}; there must be as many of each")
    rows = zip(*(data[name] for name in COLUMNS), strict=True)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows], {name: each for name, each in data.items() if name not in COLUMNS}


def _seconds(about: Mapping[str, Any]) -> float:
    """Seconds that an annotation is about; 0 where it does not say."""
    seconds = about.get("duration")
    return float(seconds) if is_number(seconds) and 0 <= seconds < math.inf else 0.0


def _object(within: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    """A member that is an object; absent or null it is empty."""
    found = within.get(name)
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{f'{place}.' if place else ''}{name}: {str(found)[:60]!r} is not an object")
    return found or {}
