"""How far the people of a campaign agree: measured from its votes, kept beside them, and said in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from annotation.agreement.agreement import MEANINGS, Agreement, agreement, worst_first
from annotation.agreement.confusion import confusion
from annotation.agreement.value_sets import Distance
from extractors.uri import printable
from pipelines.campaigns.desk import Desk
from pipelines.votes.ballots import ballots

CONFUSED = 5  # pairs of values that are shown for a question


@dataclass(frozen=True)
class Measured:
    """The agreement of a campaign.

    agreement: of all questions, worst first. confusion: by question, rows (one, other, times) of values that two people said of the same
    clip, the most frequent first; "" is nothing (else). See annotation.agreement.confusion.
    """

    campaign: str
    draws: int
    seed: int
    distance: str
    agreement: list[Agreement]
    confusion: dict[str, list[tuple[str, str, float]]]

    def facts(self) -> dict[str, Any]:
        """What is kept as agreement.json."""
        return {**asdict(self), "meanings": _meanings(self.agreement)}


def measure(
    desk: Desk,
    seed: int = 0,
    draws: int = 1000,
    distance: Distance = "masi",
    within: Sequence[float] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Measured:
    """Measure all questions of a campaign and write STORE/campaigns/<name>/agreement.json.

    Args: as of `annotation.agreement.agreement`.
    """
    votes, found, confused = ballots(desk), [], {}
    for done, question in enumerate(desk.campaign.questions):
        progress(done, len(votes))
        found += agreement(votes[question.name], question, seed, draws, distance, within)
        if question.values:  # of what people write themselves there is no table
            names, cells = confusion(votes[question.name])
            upper = np.triu(cells)
            rows = [(names[one], names[other], float(upper[one, other])) for one, other in np.argwhere(upper)]
            confused[question.name] = sorted(rows, key=lambda row: (-row[2], row[0], row[1]))
    progress(len(votes), len(votes))
    made = Measured(desk.campaign.name, draws, seed, distance, worst_first(found), confused)
    desk.keep("agreement.json", json.dumps(made.facts(), allow_nan=False, indent=1))
    return made


def text(measured: Measured) -> str:
    """For people: a table worst first, what cannot be computed, who is taken for whom, and what the measures mean."""
    sections = []
    for accepted in (False, True):
        rows = [each for each in measured.agreement if each.accepted == accepted]
        if not rows:
            continue
        title = "answers that merely accepted a pre-annotation (agreement is partly the model's own)" if accepted else "independent answers"
        sections.append("\n".join([f"{title}, worst first", *_table([each for each in rows if each.score is not None])]))
        if missing := _missing([each for each in rows if each.score is None]):
            sections.append("\n".join(["not computable", *missing]))
    for name, confused in measured.confusion.items():
        if lines := [f"  {_named(one)} / {_named(other)}: {count:.4g}" for one, other, count in confused if one != other][:CONFUSED]:
            sections.append("\n".join([f"{name}: what one says and another does not", *lines]))
    sections.append("\n".join(f"{name}: {what}" for name, what in _meanings(measured.agreement).items()))
    sections.append(f"intervals: 95 %, bootstrap over clips, {measured.draws} draws, seed {measured.seed}")
    return "\n\n".join(filter(None, sections))


def _table(rows: list[Agreement]) -> list[str]:
    if not rows:
        return ["  nothing can be computed"]
    cells = [("question", "about", "measure", "score", "95 %", "clips", "answers", "")]
    for each in rows:
        interval = "" if each.low is None or each.high is None else f"{each.low:.2f} … {each.high:.2f}"
        detail = ", ".join(f"{name} {count:g}" for name, count in each.detail.items() if count and name != "pairs")
        remark = "; ".join(filter(None, (each.why, detail)))
        score = f"{each.score:.3f}"
        cells.append((each.question, _named(each.value, "all"), each.measure, score, interval, str(each.clips), str(each.answers), remark))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _missing(rows: list[Agreement]) -> list[str]:
    """One line for each question, measure and reason."""
    values: dict[tuple[str, str, str], list[str]] = {}
    for each in rows:
        values.setdefault((each.question, each.measure, each.why), []).append(each.value)
    return [
        f"  {question}, {measure}: {why}" + (f" ({', '.join(_named(value, 'all') for value in named)})" if named != [""] else "")
        for (question, measure, why), named in values.items()
    ]


def _named(value: str, nothing: str = "(nothing)") -> str:
    return printable(value) or nothing


def _meanings(rows: list[Agreement]) -> dict[str, str]:
    """What stands behind the measures that occur."""
    return {name: what for name, what in MEANINGS.items() if any(each.measure.startswith(name) for each in rows)}
