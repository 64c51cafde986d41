"""How far a campaign is, told from what real people said on a real Label Studio."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from annotation.answer import Answer
from annotation.mirror import Mirror
from annotation.progress import Status, status
from annotation.pull import pull
from tests.campaigning import QUESTIONS, Running, choose, draw, people, running
from tests.studio import RunningStudio

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def campaign(studio: RunningStudio) -> Iterator[Running]:
    with running(studio, 5) as made:
        overlap = made.campaign.overlap.model_copy(update={"annotators": 2})
        made.campaign = made.campaign.model_copy(update={"overlap": overlap})
        yield made


@pytest.mark.slow
def test_clips_and_people_are_told_as_they_answered(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, c = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    # 0: done and agreed upon, though regions differ and one says the same tags in another order.
    campaign.answer(a, 0, choose("mood", "calm", "wild"), choose("key", "C major"), draw("voice", 1, 2), lead_time=10)
    campaign.answer(b, 0, choose("mood", "wild", "calm"), choose("key", "C major"), lead_time=20)
    # 1: done and disputed, about tags only, as one of them chose none.
    campaign.answer(a, 1, choose("mood", "calm"), choose("key", "A minor"), lead_time=30)
    campaign.answer(b, 1, choose("key", "A minor"), lead_time=40)
    # 2: in progress: an answer, of which one word means nothing, and a skip. 3: skipped. 4: open; by the one who took it back.
    campaign.answer(a, 2, choose("key", "H moll"), lead_time=50)
    campaign.answer(c, 2, was_cancelled=True)
    campaign.answer(c, 3, was_cancelled=True)
    taken_back = campaign.answer(c, 4, choose("key", "C major"))
    pull(campaign.studio, mirror, campaign.campaign)
    campaign.delete(c, taken_back)
    pull(campaign.studio, mirror, campaign.campaign)
    found = status(mirror, campaign.tasks, campaign.campaign)
    assert [(clip.stage, clip.answers, clip.skips, clip.disputed) for clip in found.clips] == [
        ("done", 2, 0, ()),
        ("done", 2, 0, ("mood",)),
        ("in progress", 1, 1, ()),
        ("skipped", 0, 1, ()),
        ("open", 0, 0, ()),
    ]
    assert (found.done, found.in_progress, found.skipped, found.open, found.disputed) == (2, 1, 1, 1, 1)
    assert (found.answers, found.skips, found.wanted) == (5, 2, 5)
    assert [(each.author, each.answers, each.skips, each.lead_time_s, each.deleted) for each in found.annotators] == [
        (a.email, 3, 0, 30.0, 0),
        (b.email, 2, 0, 30.0, 0),
        (c.email, 0, 2, None, 1),
    ]
    assert len(found.problems) == 1
    assert "'H moll'" in found.problems[0] or '"H moll"' in found.problems[0]
    assert json.loads(json.dumps(asdict(found), default=str))["clips"][1]["disputed"] == ["mood"]
    text = str(found)
    assert "2 of 5 clips done, 1 in progress, 1 skipped, 1 open; 1 disputed" in text
    assert f"{campaign.tasks[1].ext_id}  song 1  (mood)" in text


def answers(*said: tuple[int, str, float], **fields: object) -> list[Answer]:
    """Answers in a mirror: clip, author, hours after START."""
    return [
        Answer(
            project="1@2026-01-01T00:00:00.000000Z",
            task_id=clip,
            ext_id=str(clip),
            annotation_id=number,
            revision=1,
            author=author,
            updated_by=author,
            created_at=START + timedelta(hours=hours),
            updated_at=START + timedelta(hours=hours),
            task_updated_at=START + timedelta(hours=hours),
            lead_time_s=60.0,
            skipped=False,
            from_prediction="",
            changed=None,
            result=json.dumps([choose("key", "C major")]),
            digest="",
        )
        for number, (clip, author, hours) in enumerate(said)
    ]


class Held(Mirror):
    """A mirror of answers that are given."""

    def __init__(self, rows: list[Answer]) -> None:
        super().__init__("nowhere")
        self._held = {(row.project, row.annotation_id): row for row in rows}

    def latest(self, tasks: Collection[int] | None = None, annotations: Collection[int] = ()) -> Mapping[tuple[str, int], Answer]:
        return self._held


def told(rows: list[Answer], clips: int, wanted: dict[str, int] | None = None) -> Status:
    from annotation.campaign import Campaign
    from annotation.task import Task

    tasks = [Task(str(clip), "t", "c", 0.0, 30.0, "") for clip in range(clips)]
    return status(Held(rows), tasks, Campaign(name="some", title="Some", questions=QUESTIONS), wanted)


def test_the_end_is_when_all_is_answered_at_the_rate_of_the_last_day() -> None:
    # An old answer counts as an answer, and no longer for the rate: 4 in the 24 hours to the newest.
    found = told(answers((0, "a", 0), (1, "a", 100), (2, "a", 101), (3, "a", 102), (4, "a", 103)), 10)
    assert found.per_hour == pytest.approx(4 / 24)
    assert found.newest == START + timedelta(hours=103)
    assert found.expected_end == START + timedelta(hours=103 + 5 * 6)


def test_a_campaign_of_an_hour_has_the_rate_of_that_hour() -> None:
    found = told(answers((0, "a", 0), (1, "a", 0.5), (2, "a", 1)), 4)
    assert (found.per_hour, found.expected_end) == (2.0, START + timedelta(hours=1.5))
    alone = told(answers((0, "a", 0)), 2)
    assert (alone.per_hour, alone.expected_end, alone.newest) == (None, None, START)
    assert told([], 2).newest is None


def test_accepted_is_the_share_of_predictions_that_were_left_as_they_were() -> None:
    rows = answers((0, "a", 0), (1, "a", 1), (2, "a", 2), (3, "a", 3))
    rows = [replace(row, from_prediction="m@1" if index else "", changed=index == 3 if index else None) for index, row in enumerate(rows)]
    (annotator,) = told(rows, 4).annotators
    assert (annotator.began_as_prediction, annotator.accepted) == (3, 2 / 3)


def test_clips_that_all_are_to_hear_are_done_when_all_did() -> None:
    found = told(answers((0, "a", 0), (1, "a", 1)), 2, {"1": 3})
    assert [(clip.stage, clip.wanted) for clip in found.clips] == [("done", 1), ("in progress", 3)]
    assert found.wanted == 2


def test_what_was_said_of_unknown_tasks_is_counted_apart() -> None:
    found = told(answers((0, "a", 0), (9, "b", 1)), 1)
    assert (found.answers, found.strangers) == (1, 1)
    assert "1 annotations are of tasks that the campaign does not know" in str(found)
