"""The consensus of a campaign: what its people agree on, as labels, as a snapshot of all posteriors, and how well each of them hears.

Labels are for good: a consensus that changes is told by further rows. The snapshot and the quality of people are of the last run alone.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotation.consensus import Accepted, Method
from annotation.labels import Label, from_rows
from annotation.question import Question
from annotation.revisions import NOTHING, revised, standing
from annotation.together import form
from pipelines.campaigns.desk import Desk
from pipelines.gather import add
from pipelines.part import StoreError
from pipelines.votes.agreed import SNAPSHOT, Agreed, Statement, by_merging, by_votes, left_alone
from pipelines.votes.ballots import ballots, gold, rows
from pipelines.votes.truths import truths


@dataclass(frozen=True)
class Found:
    """The consensus of a campaign. added: rows that the labels of the store have more."""

    agreed: Sequence[Agreed]
    added: int

    def disputed(self) -> list[str]:
        """Keys of the clips of which anything is disputed, sorted."""
        return sorted({each.votes.clips[clip] for each in self.agreed for clip in np.flatnonzero(each.disputed)})


def agree(
    desk: Desk,
    method: Method = "dawid-skene",
    accepted: Accepted = "count",
    dispute: float = 0.3,
    also: Sequence[Desk] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Found:
    """Find the consensus and keep it: labels in the store, consensus.parquet and annotators.json in the campaign's folder.

    Run again it adds nothing; killed anywhere, the next run completes it.

    Args:
        accepted: see `annotation.consensus.heard`.
        dispute: what is wrong with more than this probability is disputed.
        also: campaigns that asked the same questions again of some of the clips; who answered a question there has not answered it here.
    Raises:
        StoreError: another consensus is at work, or the store is empty. ValueError: the method cannot take so many answers.
    """
    if not desk.store.names("tracks"):
        raise StoreError(f"{desk.store.root}: no tracks, so no campaign has asked anything; name the store that {desk.file} is about")
    with desk.store.lock("consensus"):
        said = rows(desk)
        asked = ballots(desk, said, also)
        known, tasks = gold(desk), desk.known()
        last = {task.clip_id if task.view_id is None else f"{task.clip_id}/{task.view_id}": task.seconds for task in tasks}
        agreed: list[Agreed] = []
        for question in desk.campaign.questions:
            progress(len(agreed), len(asked))
            votes = asked[question.name]
            seconds = np.array([last.get(name, np.nan) for name in votes.clips])
            told = truths(known, question, votes, tasks)
            if form(question) in ("tags", "choice"):
                agreed.append(by_votes(question, votes, method, accepted, dispute, told.matrix(votes), told.remarks, seconds))
            elif form(question) == "text":
                agreed.append(left_alone(question, votes))
            else:
                agreed.append(by_merging(question, votes, accepted, dispute, told, told.remarks))
        progress(len(asked), len(asked))
        added = add(desk.store, _labels(desk, said, agreed))
        _keep(desk, agreed)
    return Found(tuple(agreed), added)


def _labels(desk: Desk, said: pa.Table, agreed: Sequence[Agreed]) -> Iterator[Label]:
    """The rows to add, so that what stands of the consensus is what was found."""
    mine = standing(said.filter(pc.equal(said.column("author_kind"), "consensus")), silent=True)
    before: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for label in from_rows(mine):
        if name := _question(label, desk.campaign.questions):
            before[name, _key(label)].append(label)
    for each in agreed:
        newest = np.full(len(each.votes.clips), -np.inf)
        np.maximum.at(newest, each.votes.clip, np.nan_to_num(each.votes.at))
        for clip, name in enumerate(each.votes.clips):
            past = before.pop((each.question.name, name), [])
            at = datetime.fromtimestamp(max(0.0, float(newest[clip])), UTC)
            now = [_label(desk, each, clip, statement, at) for statement in each.statements[clip] or ()]
            yield from _revised(past, now, at)
    for past in before.values():  # of clips whose answers were all taken back
        yield from _revised(past, [], datetime.fromtimestamp(0, UTC))


def _revised(past: Sequence[Label], now: Sequence[Label], at: datetime) -> list[Label]:
    # A row that changes another is later than it: said, taken back and said again are three rows.
    earlier = [label.at for label in past if label.at is not None]
    return revised(past, now, max([at, *(each + timedelta(microseconds=1) for each in earlier)]))


def _label(desk: Desk, agreed: Agreed, clip: int, statement: Statement, at: datetime) -> Label:
    value, start, duration, confidence = statement
    clip_id, _, view_id = agreed.votes.clips[clip].partition("/")
    return Label(
        agreed.question.kind if value else NOTHING,
        value or agreed.question.name,
        f"consensus:{agreed.method}",
        "consensus",
        agreed.votes.tracks[clip],
        clip_id,
        start,
        duration,
        _rounded(confidence),
        desk.campaign.name,
        at,
        view_id=view_id or None,
    )


def _rounded(confidence: float) -> float:
    """A vote elsewhere moves all posteriors a little, and weights in their last digits: that is no other statement.

    >>> _rounded(0.125), _rounded(0.125 + 1e-16), _rounded(1 + 1e-16)
    (0.12, 0.12, 1.0)
    """
    return round(round(min(1.0, max(0.0, confidence)), 9), 2)


def _question(label: Label, questions: Sequence[Question]) -> str:
    """The name of the question that a label of the consensus answers; "" of none that is asked today."""
    if label.kind == NOTHING:
        return label.value if label.value in {each.name for each in questions} else ""
    for each in questions:
        if each.kind == label.kind and (not each.values or label.value in each.values) and each.regions == (label.start is not None):
            return each.name
    return ""


def _key(label: Label) -> str:
    return f"{label.clip_id}/{label.view_id}" if label.view_id else str(label.clip_id)


def _keep(desk: Desk, agreed: Sequence[Agreed]) -> None:
    snapshot = pa.concat_tables([SNAPSHOT.empty_table(), *(each.snapshot for each in agreed)])
    sink = io.BytesIO()
    pq.write_table(snapshot, sink, compression="zstd")
    people: Mapping[str, object] = {"campaign": desk.campaign.name, "questions": {each.question.name: described(each) for each in agreed}}
    desk.keep("consensus.parquet", sink.getvalue())
    desk.keep("annotators.json", json.dumps(people, indent=1, ensure_ascii=False))


def described(agreed: Agreed) -> dict[str, object]:
    """What is known of a question and of those who answered it, for machines."""
    return {
        "method": agreed.method,
        "clips": len(agreed.votes.clips),
        "answers": len(agreed.votes),
        "disputed": int(agreed.disputed.sum()),
        "counts": agreed.counts,
        "remarks": list(agreed.remarks),
        "annotators": [asdict(person) for person in agreed.quality],
        "confusion": agreed.confusion,
    }
