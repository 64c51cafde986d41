"""What to ask next in a campaign: every clip that is worth asking about, in order, with a reason in words."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.campaigns.desk import Desk
from pipelines.embeddings import Embeddings
from pipelines.part import StoreError
from pipelines.queue.evidence import Evidence, evidence
from pipelines.queue.learner import compressed
from pipelines.queue.order import STANDING, Ranked, ranked
from pipelines.queue.value import Judged, judged

FRONT = 500  # clips that are weighed against each other; those after them are sorted by doubt alone
RARE = 10  # clips that are known to have a tag, below which it is rare
FURTHER = 3  # answers beyond the campaign's overlap that a disputed clip is asked for, at most

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("ext_id", pa.string()),
        ("clip_id", pa.string()),
        ("track_id", pa.string()),
        ("priority", pa.int64()),  # 1 is asked first
        ("value", pa.float64()),  # per minute of a person's time; only comparable within one queue, 0 where it was not weighed
        ("minutes", pa.float64()),  # that an answer is expected to take
        ("votes", pa.int64()),  # answers so far
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, eq=False)
class Queue:
    """rows: of SCHEMA, the first to be asked first. more: by ext_id, people who are to hear a disputed clip. remarks: for the lead."""

    rows: pa.Table
    more: Mapping[str, int]
    remarks: list[str] = field(default_factory=list)

    def front(self, count: int) -> list[str]:
        """ext_ids of the first so many."""
        found: list[str] = self.rows.column("ext_id").slice(0, count).to_pylist()
        return found


def queue(desk: Desk, clips: Embeddings, question: str = "", quotas: Mapping[str, int] | None = None, seed: int = 0) -> Queue:
    """Order the campaign's clips; nothing is written.

    Args:
        quotas: at most so many clips of one artist, or of another column of the catalogue, in front; "tag": at least so many clips
            that are thought to have each rare tag.
    Raises:
        StoreError: a quota cannot be kept, or no clip has an embedding.
    """
    given = dict(quotas or {})
    each_tag = given.pop("tag", 0)
    if len(given) > 1:
        raise StoreError(f"--quota: {' and '.join(given)}; one column beside tag")
    found = evidence(desk, clips, question, tuple(given))
    column, most = next(iter(given.items()), ("", 0))
    usable = np.flatnonzero(found.rows >= 0)
    vectors = np.zeros((len(found.keys), 0), np.float32)
    reduced = compressed(clips.vectors[found.rows[usable]])
    vectors = np.zeros((len(found.keys), reduced.shape[1]), np.float32)
    vectors[usable] = reduced
    opinion = judged(vectors, found.known, seed)
    _say(found, opinion)
    overlap = desk.campaign.overlap.annotators
    may = ~found.gold & (found.known.votes < overlap + FURTHER)
    groups = _groups(found.columns[column]) if column else None
    first = ranked(vectors, found.known, opinion, found.minutes, may & (found.rows >= 0), FRONT, groups, most, seed)
    first, rare = _with_rare(found, opinion, first, may & (found.rows >= 0), each_tag)
    order, gains, reasons = _whole(found, opinion, first, rare, overlap)
    table = pa.table(
        [
            [found.keys[row] for row in order],
            [found.ext_ids[row] for row in order],
            [found.clip_ids[row] for row in order],
            [found.tracks[row] for row in order],
            range(1, len(order) + 1),
            gains,
            found.minutes[order] if len(order) else [],
            found.known.votes[order] if len(order) else [],
            reasons,
        ],
        schema=SCHEMA,
    )
    votes = found.known.votes
    more = {found.ext_ids[row]: int(votes[row]) + 1 for row in first.rows if votes[row] >= overlap}
    return Queue(table, more, found.remarks)


def keep(desk: Desk, found: Queue) -> None:
    """Write STORE/campaigns/<name>/queue.parquet, whole."""
    sink = io.BytesIO()
    pq.write_table(found.rows, sink)
    desk.keep("queue.parquet", sink.getvalue())


def _say(found: Evidence, opinion: Judged) -> None:
    if opinion.learner is None:
        answers = int(found.known.votes.sum())
        why = "nobody has answered yet" if not answers else "all answers say the same"
        found.remarks.append(f"{why}, so there is nothing to learn from: clips are ordered by how well they stand for the others")
        return
    has = (np.nan_to_num(found.known.values) > 0.5).sum(axis=0)
    if single := [tag for tag, count in zip(found.tags, has, strict=True) if count == 1]:
        found.remarks.append(f"one clip alone is known to have {', '.join(single)}; what is said of these tags is little more than a guess")
    if none := [tag for tag, count in zip(found.tags, has, strict=True) if count == 0]:
        found.remarks.append(f"no clip is known to have {', '.join(none)}; nothing is foreseen of these tags")


def _groups(values: tuple[str, ...]) -> NDArray[np.int64]:
    """(clips,) a number for each value, -1 where there is none: what nobody knows is no group."""
    names = {value: number for number, value in enumerate(sorted(set(values) - {""}))}
    return np.array([names.get(value, -1) for value in values], np.int64)


def _with_rare(found: Evidence, opinion: Judged, first: Ranked, may: NDArray[np.bool_], each: int) -> tuple[Ranked, dict[int, str]]:
    """Rare tags' likeliest clips, taking turns at the head of the queue; and which clips these are."""
    if not each or opinion.learner is None:
        return first, {}
    has = (np.nan_to_num(found.known.values) > 0.5).sum(axis=0)
    tags = [tag for tag in np.argsort(has, kind="stable") if 0 < has[tag] < RARE]
    chosen: dict[int, str] = {}
    for turn in range(each * len(tags)):
        tag = tags[turn % len(tags)]
        chance = np.where(may & ~found.known.answered, opinion.guesses[:, tag], -1.0)
        chance[list(chosen)] = -1.0
        row = int(chance.argmax())
        if chance[row] > 0:
            chosen[row] = f"rare: {has[tag]} known to have {found.tags[tag]}, this one with {chance[row]:.0%}"
    rest = ~np.isin(first.rows, list(chosen))
    rows = np.array(list(chosen), np.int64)
    return (
        Ranked(
            np.concatenate([rows, first.rows[rest]]),
            np.concatenate([np.zeros(len(rows)), first.gains[rest]]),
            np.concatenate([np.zeros(len(rows), bool), first.again[rest]]),
        ),
        chosen,
    )


def _whole(
    found: Evidence, opinion: Judged, first: Ranked, rare: Mapping[int, str], overlap: int
) -> tuple[NDArray[np.int64], list[float], list[str]]:
    """Those that were weighed, then all others that are still to be heard, by doubt; those without an embedding last."""
    open_still = ~found.gold & (found.known.votes < overlap)
    open_still[first.rows] = False
    rest = np.flatnonzero(open_still)
    last = np.lexsort((rest, -opinion.doubt[rest], found.known.votes[rest] > 0, found.rows[rest] < 0))
    order = np.concatenate([first.rows, rest[last]]).astype(np.int64)
    gains = [float(each) for each in first.gains] + [0.0] * len(rest)
    weighed = set(first.rows.tolist())
    return order, gains, [rare.get(int(row)) or _reason(found, opinion, int(row), int(row) in weighed) for row in order]


def _reason(found: Evidence, opinion: Judged, row: int, weighed: bool) -> str:
    if found.rows[row] < 0:
        return "no embedding: nothing is known of it"
    votes, unsure = int(found.known.votes[row]), _unsure(found, opinion, row)
    if votes:
        said = ", ".join(tag for tag, value in zip(found.tags, found.known.values[row], strict=True) if value > 0.5) or "nothing"
        heard = f"{votes} answer{'s' if votes > 1 else ''} so far: {said}"
        wrong = float(opinion.wrong[row])
        return f"disputed: {heard}, wrong with {wrong:.0%}" if wrong > 1 - STANDING else f"{heard}; asked of more people"
    if opinion.learner is None:
        return "new: stands for many clips, and is unlike those before it" if weighed else "new: much like others before it"
    return f"new: {unsure}{'; stands for many clips like it' if weighed else ''}"


def _unsure(found: Evidence, opinion: Judged, row: int) -> str:
    guesses: Any = opinion.guesses[row]
    if found.known.exclusive and len(guesses) > 1:
        one, two = np.argsort(-guesses, kind="stable")[:2]
        return f"{found.tags[one]} ({guesses[one]:.0%}) or {found.tags[two]} ({guesses[two]:.0%})"
    tag = int(np.abs(guesses - 0.5).argmin())
    return f"{found.tags[tag]} with {guesses[tag]:.0%}"
