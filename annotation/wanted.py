"""What a campaign wants on the server, checked before anything is sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import eq
from typing import Any

from annotation.campaign import Campaign
from annotation.interface import FIELDS
from annotation.preannotation import check_prediction
from annotation.task import Task, digest

SHOWN = 10  # mistakes that a message lists


@dataclass(frozen=True)
class Wanted:
    """All that is to be on the server.

    screen: the labelling screen's XML. tasks: of the campaign, in the order in which people get them.
    predictions: by ext_id, {"model_version", "score", "result"}, all of one version. Those without a result are not sent, and none of a
        blind campaign, as every account may look at them there.
    everybody: ext_ids that the whole team hears, beside the campaign's share.
    project: Project.key of an earlier apply, "" if there was none. recreate: make it anew if somebody deleted it.
    title: what an apply last called the project; one that is called otherwise was renamed by somebody. "" if that is not known.
    remarks: what a person may want to know of how this came about: clips that were left out, for one.
    quiet: minutes without an answer after which predictions may go that are replaced. Whoever has a task open sends its prediction's id
        with the answer, and the server refuses answers that began as something that is gone.
    same_audio: whether a task's link (first) is as good as the new one; links that expire change with time.
    more: by ext_id, people who are to hear a clip beyond the campaign's overlap, as its answers are in dispute.
    """

    campaign: Campaign
    screen: str
    tasks: Sequence[Task]
    predictions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    everybody: Collection[str] = ()
    project: str = ""
    recreate: bool = False
    quiet: float = 30.0
    same_audio: Callable[[str, str], bool] = eq
    title: str = ""
    remarks: Sequence[str] = ()
    more: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises: ValueError, a line for each task or prediction that cannot be sent."""
        by_id = {task.ext_id: task for task in self.tasks}
        wrong = [f"{each}: {count} tasks of this name" for each, count in Counter(task.ext_id for task in self.tasks).items() if count > 1]
        wrong += [f"{task.ext_id}: {why}" for task in self.tasks if (why := _unsendable(task))]
        wrong += [f"{each}: a prediction for no task" for each in self.predictions if each not in by_id]
        versions = sorted({str(each["model_version"]) for each in self.predictions.values()})
        if len(versions) > 1:
            wrong.append(f"predictions of {' and '.join(versions[:3])}; a campaign starts from one model")
        for each, said in self.predictions.items():
            if each in by_id:
                wrong += [f"{each}: {why}" for why in check_prediction(said["result"], self.campaign, by_id[each].seconds, said["score"])]
        if wrong:
            more = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
            raise ValueError("\n".join([*wrong[:SHOWN], *more]))

    @property
    def blind(self) -> bool:
        """Whether people are to see no predictions."""
        return bool(self.campaign.predictions and self.campaign.predictions.blind)

    @cached_property
    def guesses(self) -> dict[str, dict[str, Any]]:
        """The predictions that are sent, by ext_id."""
        if self.blind:
            return {}
        return {each: json.loads(json.dumps(dict(said))) for each, said in self.predictions.items() if said["result"]}

    @property
    def version(self) -> str:
        """The model of the predictions that are sent, "" if none are."""
        return next((str(each["model_version"]) for each in self.guesses.values()), "")

    @cached_property
    def shared(self) -> frozenset[str]:
        """What the whole team hears: chosen by name, so that further clips change nothing for those that are there."""
        overlap = self.campaign.overlap
        if not overlap.team:
            return frozenset()
        by_lot = sorted((digest(f"{self.campaign.name} {task.ext_id}"), task.ext_id) for task in self.tasks)
        under = sum(int(lot, 16) < overlap.shared * 16**16 for lot, _ in by_lot)
        chosen = by_lot[: max(under, 1 if overlap.shared else 0)]
        return frozenset(ext_id for _, ext_id in chosen) | frozenset(self.everybody)

    def overlap(self, ext_id: str) -> int:
        """How many people are to hear a clip."""
        overlap = self.campaign.overlap
        usual = max(overlap.team, overlap.annotators) if ext_id in self.shared else overlap.annotators
        return max(usual, self.more.get(ext_id, 0))


def columns(task: Task) -> dict[str, Any]:
    """A task's data on the server: FIELDS, and what the campaign adds."""
    fields = {name: getattr(task, name) for name in FIELDS}
    return dict(task.data) | fields | {"view_id": task.view_id or ""}


def _unsendable(task: Task) -> str:
    """Why the server would not take a task, or mangle it; "" if it will."""
    if not task.ext_id.strip() or not task.audio.strip():
        return "a task needs ext_id and audio"
    if taken := [name for name in task.data if name in FIELDS]:
        return f"data has a column {taken[0]!r}, which every task has; call it otherwise"
    want = columns(task)
    try:
        json.dumps(want, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        return f"{error}; this cannot be sent"
    return "has a NUL character, which the database refuses" if any("\0" in str(each) for each in want.values()) else ""
