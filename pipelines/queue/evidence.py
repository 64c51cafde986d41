"""What a queue goes by: the campaign's clips, their embeddings, what was answered, and how long an answer takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.question import Question
from annotation.task import ext_id
from annotation.votes import Votes, key
from pipelines.campaigns.asked import excerpts
from pipelines.campaigns.desk import Desk
from pipelines.embeddings import Embeddings
from pipelines.part import StoreError
from pipelines.queue.value import ERROR, Known, posterior
from pipelines.targets import targets
from pipelines.votes.ballots import ballots

MEASURED = 5  # answers whose length is known, before these tell how long others take


@dataclass(frozen=True, eq=False)
class Evidence:
    """The clips of a campaign, row by row.

    keys, ext_ids, clip_ids, tracks: names. seconds: (clips,) length. rows: of the embeddings, -1 where there is none.
    known: answers. gold: (clips,) bool, known beforehand. columns: of the catalogue, by name, as text, "" where nothing stands there.
    minutes: (clips,) that an answer is expected to take. remarks: what a lead should know.
    """

    question: Question
    tags: tuple[str, ...]
    keys: tuple[str, ...]
    ext_ids: tuple[str, ...]
    clip_ids: tuple[str, ...]
    tracks: tuple[str, ...]
    seconds: NDArray[Any]
    rows: NDArray[np.int64]
    known: Known
    gold: NDArray[np.bool_]
    columns: Mapping[str, tuple[str, ...]]
    minutes: NDArray[Any]
    remarks: list[str] = field(default_factory=list)


def evidence(desk: Desk, clips: Embeddings, question: str = "", columns: tuple[str, ...] = ()) -> Evidence:
    """Gather it from the store; nothing is written.

    Args:
        question: whose answers count, by name; the first with tags if absent. columns: of the catalogue that quotas go by.
    Raises:
        StoreError: no such question or column, or no clip of the campaign has an embedding.
    """
    asked = _question(desk, question)
    found = excerpts(desk)
    names = tuple(key(each.clip_id, each.view_id) for each in found)
    place = {name: row for row, name in enumerate(clips.clips)}
    whole = np.asarray(np.isfinite(clips.vectors).all(axis=1), bool)
    rows = np.array([place.get(each.clip_id, -1) if not each.view_id else -1 for each in found], np.int64)
    absent = int((rows < 0).sum())
    if absent == len(found):
        raise StoreError(
            f"{desk.file.name}: none of the campaign's {len(found)} clips has an embedding; run a recipe with a window of "
            f"{desk.campaign.clips.seconds:g} s first"
        )
    broken = int((~whole[rows[rows >= 0]]).sum())
    rows[rows >= 0] = np.where(whole[rows[rows >= 0]], rows[rows >= 0], -1)
    remarks = [f"{absent} of {len(found)} clips have no embedding; they come last"] if absent else []
    remarks += [f"{broken} clips have an embedding that is not finite; they come last"] if broken else []
    votes = ballots(desk)[asked.name]
    tags = asked.values or votes.values
    error = _error(desk, asked.name, remarks)
    known = _known(desk, asked, votes, tags, names, error, remarks)
    gold = _gold(desk, clips, asked, tags, rows, known)
    seconds = np.array([each.seconds for each in found])
    return Evidence(
        asked,
        tags,
        names,
        tuple(ext_id(each.clip_id, each.track["sha256"], each.view_id) for each in found),
        tuple(each.clip_id for each in found),
        tuple(each.track["track_id"] for each in found),
        seconds,
        rows,
        known,
        gold,
        {name: _column(name, [each.track for each in found]) for name in columns},
        _minutes(votes, names, seconds, remarks),
        remarks,
    )


def _question(desk: Desk, name: str) -> Question:
    tags = [each for each in desk.campaign.questions if not each.regions and (each.values or each.kind.startswith("tag"))]
    for each in desk.campaign.questions:
        if each.name == name:
            return each
    if name:
        there = ", ".join(each.name for each in desk.campaign.questions)
        raise StoreError(f"{desk.file.name}: no question {name!r}; there are {there}")
    return (tags or list(desk.campaign.questions))[0]


def _known(
    desk: Desk, asked: Question, votes: Votes, tags: tuple[str, ...], names: tuple[str, ...], error: float, remarks: list[str]
) -> Known:
    """What answers make likely: the consensus, and where it does not know the newest answers, the answers themselves."""
    place = {name: row for row, name in enumerate(names)}
    at = np.array([place.get(name, -1) for name in votes.clips], np.int64)
    column = {tag: number for number, tag in enumerate(tags)}
    counts, answers = np.zeros((len(names), len(tags)), np.float32), np.zeros(len(names), np.int64)
    mine = at[votes.clip]
    np.add.at(answers, mine[mine >= 0], 1)
    pairs = {
        (int(at[votes.clip[answer]]), column[votes.values[value]], int(answer))
        for answer, value in zip(votes.answer, votes.value, strict=True)
        if votes.values[value] in column and at[votes.clip[answer]] >= 0
    }  # a tag that is said of several stretches is said once
    for row, tag, _ in pairs:
        counts[row, tag] += 1
    exclusive = not (asked.multiple or asked.regions)
    values = posterior(counts, answers, error, exclusive)
    merged = 0
    for name, value, probability, heard in _consensus(desk, asked.name):
        row = place.get(name, -1)
        if row >= 0 and value in column and heard == answers[row] and probability is not None and np.isfinite(probability):
            values[row, column[value]] = probability
            merged += 1
    if answers.any() and not merged:
        remarks.append("no consensus of the newest answers; answers are counted as they are ('earmark consensus' weighs them)")
    return Known(values, answers, exclusive, error)


def _consensus(desk: Desk, question: str) -> list[tuple[str, str, float | None, int]]:
    file = desk.folder / "consensus.parquet"
    if not file.exists():
        return []
    table = pq.read_table(file, columns=["key", "value", "probability", "votes"], filters=[("question", "==", question)])
    return list(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))


def _gold(
    desk: Desk, clips: Embeddings, asked: Question, tags: tuple[str, ...], rows: NDArray[np.int64], known: Known
) -> NDArray[np.bool_]:
    """The clips whose answer was known before; it becomes what is known of them."""
    found = targets(desk.store, clips, asked.kind, asked.name, ("gold",), desk.campaign.name, tags)
    gold: NDArray[np.bool_] = (rows >= 0) & found.known[rows]
    known.values[gold] = found.values[rows[gold]]
    return gold


def _error(desk: Desk, question: str, remarks: list[str]) -> float:
    """How often an answer is wrong about a tag, from what `earmark consensus` measured of people."""
    try:
        people = json.loads((desk.folder / "annotators.json").read_text())["questions"][question]["annotators"]
    except (FileNotFoundError, KeyError):
        people = []
    measured = [(each["answers"], each["sensitivity"]["share"]) for each in people if each.get("sensitivity")]
    if not measured:
        remarks.append(f"nobody's answers were measured yet; {ERROR:.0%} of them are taken to be wrong")
        return ERROR
    total = sum(count for count, _ in measured)
    return float(min(0.49, max(0.01, 1 - sum(count * share for count, share in measured) / total)))


def _minutes(votes: Votes, names: tuple[str, ...], seconds: NDArray[Any], remarks: list[str]) -> NDArray[Any]:
    """(clips,) as long as it took before, for that clip or for clips of its length; else the clip's length."""
    known = np.isfinite(votes.seconds) & (votes.seconds > 0)
    if known.sum() < MEASURED:
        remarks.append("too few answers whose length was measured; a clip is taken to need its own length")
        return np.asarray(seconds / 60)
    place = {name: row for row, name in enumerate(names)}
    at = np.array([place.get(votes.clips[clip], -1) for clip in votes.clip])
    lasted = votes.seconds[known & (at >= 0)]
    usual = np.median(lasted / np.maximum(seconds[at[known & (at >= 0)]], 0.1)) if len(lasted) else 1.0
    expected = seconds * usual
    for row in np.unique(at[known & (at >= 0)]):
        expected[row] = np.median(votes.seconds[known & (at == row)])
    return np.asarray(expected / 60)


def _column(name: str, tracks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Raises: StoreError, there is no such column, or nothing stands in it."""
    if name not in tracks[0]:
        raise StoreError(f"--quota: no column {name!r} in the catalogue; there are {', '.join(tracks[0])}, and tag")
    values = tuple(str(each[name] or "") for each in tracks)
    if not any(values):
        raise StoreError(f"--quota {name}: no recording of the campaign has anything in column {name!r}; leave the quota out")
    return values
