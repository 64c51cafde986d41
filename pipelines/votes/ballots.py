"""The votes of a campaign: what the store holds, and what its mirror knows of how each answer came about."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from annotation.answer import Answer, counting, seen
from annotation.campaign import Campaign
from annotation.labels import Label, schema
from annotation.votes import Votes, key, votes
from pipelines.campaigns.desk import Desk
from pipelines.gather import gather


def rows(desk: Desk) -> pa.Table:
    """All labels that the campaign's people, models and consensus have said, of the schema of labels; none is left out."""
    if not desk.store.names("labels"):
        return schema().empty_table()
    return desk.store.table("labels").to_table(filter=[("campaign", "=", desk.campaign.name)])


def ballots(desk: Desk, said: pa.Table | None = None, also: Sequence[Desk] = ()) -> dict[str, Votes]:
    """The votes on each question of a campaign, by the question's name, in the file's order.

    Args:
        said: the campaign's labels, where they are at hand (`rows`).
        also: campaigns that asked the same questions again of some of the clips; who answered a question there has not answered it here.
    """
    said = rows(desk) if said is None else said
    known = _known(desk)
    others = [(each.filter(pc.equal(each.column("author_kind"), "person")), _known(other)) for other in also for each in [rows(other)]]
    found = {}
    for question in desk.campaign.questions:
        told, facts = said, known
        for again, of in others:
            pairs = _answered(votes(again, question))
            told = pa.concat_tables([_without(told, pairs), again])
            facts = facts | {pair: of.get(pair, _Fact()) for pair in pairs}
        accepted = {pair for pair, fact in facts.items() if question.name in fact.accepted}
        seconds = {pair: fact.seconds for pair, fact in facts.items() if fact.seconds is not None}
        found[question.name] = votes(told, question, accepted=accepted, seconds=seconds)
    return found


@dataclass(frozen=True)
class _Fact:
    """Of one person's answers to one clip: the questions where they merely accept a pre-annotation, and how long they took."""

    accepted: Collection[str] = ()
    seconds: float | None = None


def _answered(found: Votes) -> list[tuple[str, str]]:
    return [(found.clips[clip], found.annotators[person]) for clip, person in zip(found.clip, found.annotator, strict=True)]


def _without(said: pa.Table, pairs: Collection[tuple[str, str]]) -> pa.Table:
    """The rows without what these people said of these clips."""
    columns = (pc.fill_null(said.column(name), "") for name in ("clip_id", "view_id", "author"))
    names = pa.array(["\n".join([*clip.partition("/")[::2], author]) for clip, author in pairs], pa.string())
    gone = pc.is_in(pc.binary_join_element_wise(*columns, "\n"), names)
    return said.filter(pc.invert(pc.and_(gone, pc.equal(said.column("author_kind"), "person"))))


def _known(desk: Desk) -> dict[tuple[str, str], _Fact]:
    """What the mirror knows of answers that count, by clip and author."""
    names = {task.ext_id: key(task.clip_id, task.view_id) for task in desk.known()}
    told: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in sorted(desk.mirror.latest().values(), key=seen):
        if answer.ext_id in names:
            told[names[answer.ext_id], answer.author].append(answer)
    found = {}
    for pair, each in told.items():
        if count := counting(each):
            took = [answer.lead_time_s for answer in count if answer.lead_time_s is not None]
            found[pair] = _Fact(set.intersection(*(_accepted(answer, desk.campaign) for answer in count)), took[-1] if took else None)
    return found


def _accepted(answer: Answer, campaign: Campaign) -> set[str]:
    """The questions to which an answer says what its pre-annotation said.

    Where something was changed, the editor's marks tell what: of choices and numbers, not of regions, as one that was deleted has none.
    """
    if not answer.from_prediction or answer.changed is None:
        return set()
    if not answer.changed:
        return {question.name for question in campaign.questions}
    result = json.loads(answer.result)
    marks: dict[object, set[object]] = defaultdict(set)
    for item in result if isinstance(result, list) else []:
        if isinstance(item, dict):
            marks[str(item.get("from_name"))].add(item.get("origin"))
    single = [question.name for question in campaign.questions if question.control in ("Choices", "Number")]
    return {name for name in single if marks[name] == {"prediction"}}


def gold(desk: Desk) -> list[Label]:
    """The known answers of the campaign's file, none where it names no gold."""
    if desk.campaign.gold is None:
        return []
    return gather(desk.store, [str(desk.file.parent / desk.campaign.gold.file)])
