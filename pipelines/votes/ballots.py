"""The votes of a campaign: what the store holds, and what its mirror knows of how each answer came about."""

from __future__ import annotations

import pyarrow as pa

from annotation.labels import Label, schema
from annotation.votes import Votes, key, votes
from pipelines.campaigns.desk import Desk
from pipelines.gather import gather


def rows(desk: Desk) -> pa.Table:
    """All labels that the campaign's people, models and consensus have said, of the schema of labels; none is left out."""
    if not desk.store.names("labels"):
        return schema().empty_table()
    return desk.store.table("labels").to_table(filter=[("campaign", "=", desk.campaign.name)])


def ballots(desk: Desk, said: pa.Table | None = None) -> dict[str, Votes]:
    """The votes on each question of a campaign, by the question's name, in the file's order.

    Args:
        said: the campaign's labels, where they are at hand (`rows`).
    """
    said = rows(desk) if said is None else said
    names = {task.ext_id: key(task.clip_id, task.view_id) for task in desk.known()}
    accepted, seconds = set(), {}
    for answer in desk.mirror.latest().values():
        if answer.ext_id in names and not answer.gone:
            name = names[answer.ext_id], answer.author
            if answer.from_prediction and answer.changed is False:
                accepted.add(name)
            if answer.lead_time_s is not None:
                seconds[name] = answer.lead_time_s
    return {question.name: votes(said, question, accepted=accepted, seconds=seconds) for question in desk.campaign.questions}


def gold(desk: Desk) -> list[Label]:
    """The known answers of the campaign's file, none where it names no gold."""
    if desk.campaign.gold is None:
        return []
    return gather(desk.store, [str(desk.file.parent / desk.campaign.gold.file)])
