"""The consensus on one question of a campaign: what is said of each clip, with all posteriors and how well people hear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from annotation.annotators import Quality, quality
from annotation.consensus import Accepted, Consensus, Method, choice, consensus, heard
from annotation.decisions import confusions
from annotation.question import Question
from annotation.together import form, together
from annotation.votes import Votes
from pipelines.votes.truths import Truths

SNAPSHOT = pa.schema(
    [
        ("key", pa.string()),
        ("clip_id", pa.string()),
        ("view_id", pa.string()),
        ("track_id", pa.string()),
        ("question", pa.string()),
        ("kind", pa.string()),
        ("value", pa.string()),
        ("probability", pa.float64()),  # that the value holds; of regions, moments, keys and tempi the weighted share that says it
        ("votes", pa.int64()),  # answers of the clip
        ("said", pa.int64()),  # of these, how many said the value
        ("method", pa.string()),
        ("disputed", pa.bool_()),
    ]
)
# What a clip is said to have: value, start and duration in seconds (None: the whole), confidence.
Statement = tuple[str, float | None, float | None, float]


@dataclass(frozen=True, eq=False)
class Agreed:
    """The consensus on one question.

    method: "" where answers are not merged. statements: of each clip; None where nothing can be said. confusion: {truth: {said: share}}.
    snapshot: rows of `SNAPSHOT`. disputed: (clips,) bool. quality: of people, the least informed first.
    """

    question: Question
    votes: Votes
    method: str
    statements: Sequence[Sequence[Statement] | None]
    snapshot: pa.Table
    disputed: NDArray[np.bool_]
    quality: Sequence[Quality]
    remarks: Sequence[str]
    confusion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Of how many clips each value is said."""
        count: dict[str, int] = dict.fromkeys(self.question.values, 0)
        for clip in self.statements:
            for value in sorted({value for value, *_ in clip or () if value}):
                count[value] = count.get(value, 0) + 1
        return count


def by_votes(
    question: Question,
    votes: Votes,
    method: Method,
    accepted: Accepted,
    dispute: float,
    known: NDArray[np.float64],
    remarks: Sequence[str],
    seconds: NDArray[np.float64],
) -> Agreed:
    """Tags and choices."""
    kept, more = int(votes.accepted.sum()), list(remarks)
    if kept and accepted == "once" and method != "majority":
        method = "majority"
        more.append("a pre-annotation that is heard only where it was confirmed would seem infallible: majority instead")
    if kept and accepted == "drop":
        more.append(f"{kept} answers that confirmed a pre-annotation are left out, so that those who changed it have the word")
    found = consensus(heard(votes, accepted), form(question) == "choice", method, known)
    p, holds, answered = found.probability, found.holds, ~np.isnan(found.probability).all(axis=1)
    statements: list[Sequence[Statement] | None] = []
    for clip, silent in enumerate(~answered | found.undecided):
        if silent:
            statements.append(None)
            continue
        said = [(votes.values[value], None, None, float(p[clip, value])) for value in np.flatnonzero(holds[clip])]
        statements.append(said or [("", None, None, float(1 - (p[clip].sum() if found.exclusive else p[clip].max(initial=0.0))))])
    doubt = np.nan_to_num(found.doubt) > dispute
    snapshot = _snapshot(question, votes, p, found.answers, found.said, found.method, doubt)
    unheard = int((~answered).sum())
    more += found.remarks
    if unheard and len(votes):
        more.append(f"{unheard} clips have no answer that counts")
    if found.undecided.any():
        more.append(f"{int(found.undecided.sum())} clips are torn between choices that are as likely: nothing is said of them")
    worth = quality(votes, found, known, seconds) if len(votes) else []
    return Agreed(question, votes, found.method, statements, snapshot, doubt.any(axis=1) | found.undecided, worth, more, _confusion(found))


def _confusion(found: Consensus) -> dict[str, dict[str, float]]:
    """Of single choices: how often everybody together says what of which truth."""
    votes = found.votes
    chosen, single = choice(votes)
    single &= chosen < len(votes.values)
    if not found.exclusive or not single.any():
        return {}
    p = np.nan_to_num(found.probability)
    shares = confusions(votes.clip[single], np.zeros(int(single.sum()), np.int64), chosen[single], p, 1)[0]
    return {
        truth: {said: round(float(share), 4) for said, share in zip(votes.values, row, strict=True)}
        for truth, row in zip(votes.values, shares, strict=True)
        if not np.isnan(row).any()
    }


def by_merging(question: Question, votes: Votes, accepted: Accepted, dispute: float, gold: Truths, remarks: Sequence[str]) -> Agreed:
    """Regions, moments, keys and tempi."""
    use = heard(votes, accepted)
    found = together(use, question, gold.merged())
    timed, shape = question.regions, found.shares.shape
    alone = form(question) in ("key", "tempo")  # whoever says one says no other
    answers = np.bincount(use.clip, minlength=shape[0])
    # A value that one person said several times of a clip was said once.
    pairs = np.unique(use.answer * max(1, shape[1]) + use.value)
    said = np.bincount(use.clip[pairs // max(1, shape[1])] * shape[1] + pairs % max(1, shape[1]), minlength=shape[0] * shape[1]).reshape(
        shape
    )
    statements: list[Sequence[Statement] | None] = []
    held, sure = np.zeros(shape, bool), np.ones(shape)
    place = {value: index for index, value in enumerate(votes.values)}
    for clip, merged in enumerate(found.statements):
        if not answers[clip]:
            statements.append(None)
            continue
        statements.append(
            [
                (each.value, round(each.start, 6) if timed else None, round(each.duration, 6) if timed else None, each.confidence)
                for each in merged
            ]
            or [("", None, None, float(1 - (found.shares[clip].sum() if alone else found.shares[clip].max(initial=0.0))))]
        )
        for each in merged:
            if (value := place.get(each.value)) is not None:
                held[clip, value] = True
                sure[clip, value] = min(sure[clip, value], each.confidence)
    doubt = np.where(held, 1 - sure, np.nan_to_num(found.shares))
    if form(question) == "tempo":  # what is said together may be between the votes
        doubt = np.zeros(shape)
    unsure = np.array([bool(each) and any(word and 1 - share > dispute for word, *_, share in each or ()) for each in statements], bool)
    more = [*remarks, *found.remarks]
    snapshot = _snapshot(question, votes, found.shares, answers, said, "weighted", doubt > dispute)
    if form(question) == "tempo":
        snapshot = _snapshot_of_tempi(question, use, statements, answers, dispute)
    return Agreed(question, votes, "weighted", statements, snapshot, (doubt > dispute).any(axis=1) | unsure, found.quality, more)


def left_alone(question: Question, votes: Votes) -> Agreed:
    """Free text."""
    remark = f"free text is not merged: {len(votes)} answers stay as they are"
    return Agreed(question, votes, "", [None] * len(votes.clips), SNAPSHOT.empty_table(), np.zeros(len(votes.clips), bool), (), (remark,))


def _snapshot(
    question: Question,
    votes: Votes,
    probability: NDArray[np.float64],
    answers: NDArray[np.int64],
    said: NDArray[np.int64],
    method: str,
    disputed: NDArray[np.bool_],
) -> pa.Table:
    clip, value = np.nonzero(~np.isnan(probability))
    keys = pa.array(votes.clips, pa.string()).take(pa.array(clip))
    ids = [name.partition("/") for name in votes.clips]
    columns = {
        "key": keys,
        "clip_id": pa.array([each[0] for each in ids], pa.string()).take(pa.array(clip)),
        "view_id": pa.array([each[2] or None for each in ids], pa.string()).take(pa.array(clip)),
        "track_id": pa.array(votes.tracks, pa.string()).take(pa.array(clip)),
        "question": pa.repeat(question.name, len(clip)),
        "kind": pa.repeat(question.kind, len(clip)),
        "value": pa.array(votes.values, pa.string()).take(pa.array(value)),
        "probability": probability[clip, value],
        "votes": answers[clip],
        "said": said[clip, value],
        "method": pa.repeat(method, len(clip)),
        "disputed": disputed[clip, value],
    }
    return pa.table(columns, schema=SNAPSHOT)


def _snapshot_of_tempi(
    question: Question, votes: Votes, statements: Sequence[Sequence[Statement] | None], answers: NDArray[np.int64], dispute: float
) -> pa.Table:
    found = []
    for clip, said in enumerate(statements):
        for value, *_, share in said or ():
            if value:
                clip_id, _, view_id = votes.clips[clip].partition("/")
                about = votes.clips[clip], clip_id, view_id or None, votes.tracks[clip], question.name, question.kind, value
                found.append((*about, share, int(answers[clip]), round(share * int(answers[clip])), "weighted", 1 - share > dispute))
    columns = list(zip(*found, strict=True)) or [()] * len(SNAPSHOT)
    return pa.Table.from_arrays([pa.array(each, field.type) for each, field in zip(columns, SNAPSHOT, strict=True)], schema=SNAPSHOT)
