"""Votes that are said in a few words, and scores by their names: for the tests of agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from annotation.agreement.agreement import Agreement
from annotation.labels import Label, table
from annotation.question import Question
from annotation.votes import Votes, votes

AT = datetime(2026, 1, 1, tzinfo=UTC)
MOODS = Question(name="mood", kind="tag.mood", text="?", choices=("calm", "sad", "wild"), multiple=True)
VOICE = Question(name="voice", kind="singing_voice", text="?", regions=True)
Said = str | tuple[str, float, float]


def ballot(question: Question, said: Mapping[str, Sequence[Sequence[Said] | None]], accepted: Sequence[tuple[str, str]] = ()) -> Votes:
    """The votes where for each clip each person, p0 and so on, said these values; None where one did not answer."""
    rows = []
    for clip, answers in said.items():
        for person, values in enumerate(answers):
            rows += spoken(question, clip, f"p{person}", values)
    return votes(table(rows), question, accepted=accepted)


def spoken(question: Question, clip: str, person: str, values: Sequence[Said] | None) -> list[Label]:
    """One answer as labels."""
    if values is None:
        return []
    if not values:
        return [Label("nothing", question.name, person, "person", "track", clip, campaign="moods", at=AT)]
    spans = [(each, None, None) if isinstance(each, str) else each for each in values]
    return [
        Label(question.kind, value, person, "person", "track", clip, start, None if start is None else end - start, campaign="moods", at=AT)
        for value, start, end in spans
    ]


def scored(found: Sequence[Agreement], measure: str, value: str = "", accepted: bool = False) -> Agreement:
    (one,) = [each for each in found if (each.measure, each.value, each.accepted) == (measure, value, accepted)]
    return one


def score(found: Sequence[Agreement], measure: str, value: str = "", accepted: bool = False) -> float:
    number = scored(found, measure, value, accepted).score
    assert number is not None
    return number


def random_sets(seed: int, clips: int = 60, people: int = 4, missing: float = 0.3) -> dict[str, list[Sequence[str] | None]]:
    """People who hear roughly the same moods."""
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, 1, 3)) < (0.5, 0.3, 0.2)
    said = truth ^ (rng.random((clips, people, 3)) < 0.2)
    there = rng.random((clips, people)) >= missing
    return {
        f"c{clip:03}": [
            [mood for mood, is_said in zip(MOODS.values, said[clip, person], strict=True) if is_said] if there[clip, person] else None
            for person in range(people)
        ]
        for clip in range(clips)
    }
