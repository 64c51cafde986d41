"""What gold says of the clips of a campaign: known answers, in the form that a question's consensus takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotation.labels import Label, overlaps
from annotation.merging import Merged
from annotation.question import Question
from annotation.revisions import NOTHING, current
from annotation.task import Task
from annotation.together import form
from annotation.votes import Votes, key

Statement = tuple[str, float, float]  # value, and where in the clip: start and duration in seconds


@dataclass(frozen=True)
class Truths:
    """Gold of one question.

    said: of each clip that gold speaks of, by its place among the votes, what holds: nothing, where it is known to have none.
    remarks: where gold cannot be used, and why.
    """

    said: Mapping[int, tuple[Statement, ...]]
    remarks: tuple[str, ...] = ()

    def matrix(self, votes: Votes) -> NDArray[np.float64]:
        """(clips, values) 1, 0 or, of clips without gold, nan."""
        known = np.full((len(votes.clips), len(votes.values)), np.nan)
        places = {value: place for place, value in enumerate(votes.values)}
        for clip, statements in self.said.items():
            known[clip] = 0.0
            known[clip, [places[value] for value, *_ in statements if value in places]] = 1.0
        return known

    def merged(self) -> dict[int, list[Merged]]:
        """As statements that stand."""
        return {clip: [Merged(*each, 1.0, 0) for each in statements] for clip, statements in self.said.items()}


def answers(label: Label, question: Question) -> bool:
    """Whether a label says something to a question, or that there is nothing to say."""
    if label.kind == NOTHING:
        return label.value == question.name
    return label.kind == question.kind and (not question.values or label.value in question.values)


def truths(gold: Iterable[Label], question: Question, votes: Votes, tasks: Iterable[Task]) -> Truths:
    """What gold says of the clips that were answered; of a clip of which it says two things, nothing.

    Gold of a whole recording holds for all of its clips, that of a stretch for the clips that it overlaps, in the clip's seconds.
    """
    place = {name: clip for clip, name in enumerate(votes.clips)}
    spans = {place[name]: (task.start, task.seconds) for task in tasks if (name := key(task.clip_id, task.view_id)) in place}
    of_track: dict[str, list[int]] = defaultdict(list)
    for clip, (name, track) in enumerate(zip(votes.clips, votes.tracks, strict=True)):
        if "/" not in name:  # a view sounds different from what gold of the recording speaks of
            of_track[track].append(clip)
    told: dict[int, dict[str, set[Statement]]] = defaultdict(lambda: defaultdict(set))
    for label in current(gold):
        if not answers(label, question):
            continue
        if label.clip_id:
            where = [(place[name], 0.0)] if (name := key(label.clip_id, label.view_id)) in place else []
        elif label.start is None:
            where = [(clip, 0.0) for clip in of_track[label.track_id]]
        else:
            over = ((clip, *spans[clip]) for clip in of_track[label.track_id] if clip in spans)
            where = [(clip, start) for clip, start, seconds in over if overlaps(label.start, label.duration, start, seconds)]
        for clip, offset in where:
            said = told[clip][label.author]
            if label.kind != NOTHING:
                said.add(_placed(label, question, offset, spans.get(clip, (0.0, 0.0))[1]))
    return _agreed(told, question, votes)


def _placed(label: Label, question: Question, offset: float, seconds: float) -> Statement:
    if not question.regions:
        return label.value, 0.0, 0.0
    start = 0.0 if label.start is None else label.start - offset
    end = seconds if label.start is None else start + (label.duration or 0.0)
    start, end = max(0.0, start), min(end, seconds) if seconds else end
    return label.value, round(start, 6), round(max(0.0, end - start), 6)


def _agreed(told: Mapping[int, Mapping[str, set[Statement]]], question: Question, votes: Votes) -> Truths:
    said: dict[int, tuple[Statement, ...]] = {}
    torn = []
    for clip, by in sorted(told.items()):
        first, *rest = by.values()
        one = form(question) in ("choice", "key", "tempo")
        if any(each != first for each in rest) or (one and len(first) > 1):
            torn.append((clip, sorted({value for each in by.values() for value, *_ in each}) or ["nothing"]))
        else:
            said[clip] = tuple(sorted(first, key=lambda each: each[1:]))
    if not torn:
        return Truths(said)
    clip, values = torn[0]
    where = f"{len(torn)} of {len(told)} clips, where it is not used; {votes.clips[clip]}: {_few(values)}"
    return Truths(said, (f"gold contradicts itself in {where}",))


def _few(values: Sequence[str]) -> str:
    return " or ".join(repr(value[:40]) for value in values[:4])
