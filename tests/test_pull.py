"""What people say on a real Label Studio, and what is pulled of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.labels import Label
from annotation.mirror import Mirror, MirrorError
from annotation.pull import pull
from annotation.statements import labels
from annotation.task import campaign_line
from tests.campaigning import Running, choose, draw, people, running
from tests.pulled import said
from tests.studio import RunningStudio

pytestmark = pytest.mark.slow


@pytest.fixture
def campaign(studio: RunningStudio) -> Iterator[Running]:
    with running(studio, 6) as made:
        yield made


def test_what_several_people_said_is_pulled_exactly(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, c = people(studio, 3)
    campaign.answer(a, 0, choose("mood", "calm", "traurig 🎻"), choose("key", "C major"), draw("voice", 1.25, 2.5), draw("voice", 10, 30))
    campaign.answer(b, 0, choose("key", "A minor"))
    campaign.answer(c, 0, choose("mood", "wild"), was_cancelled=True)
    campaign.answer(a, 5, choose("key", "C major"))
    mirror = Mirror(tmp_path / "m")
    pulled = pull(campaign.studio, mirror, campaign.campaign)
    assert (pulled.answers, pulled.skips, pulled.edits, pulled.deleted, pulled.remarks) == (3, 1, 0, 0, [])
    assert said(mirror, campaign) == sorted(
        [
            (0, a.email, "tag.mood", "calm", None, None),
            (0, a.email, "tag.mood", "traurig 🎻", None, None),
            (0, a.email, "key", "C major", None, None),
            (0, a.email, "singing_voice", "yes", 1.25, 1.25),
            (0, a.email, "singing_voice", "yes", 10.0, 20.0),
            (0, b.email, "key", "A minor", None, None),
            (0, c.email, "skipped", "", None, None),
            (5, a.email, "key", "C major", None, None),
        ],
        key=str,
    )
    assert {row.lead_time_s for row in mirror.answers()} == {7.5}


def test_a_second_pull_finds_nothing_and_writes_no_page(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    campaign.answer(a, 0, choose("key", "C major"))
    mirror = Mirror(tmp_path / "m")
    pull(campaign.studio, mirror, campaign.campaign)
    before = sorted(path.name for path in tmp_path.glob("m/*/*"))
    assert pull(campaign.studio, mirror, campaign.campaign).new == 0
    assert pull(campaign.studio, Mirror(tmp_path / "m"), campaign.campaign, full=True).new == 0
    assert sorted(path.name for path in tmp_path.glob("m/*/*")) == before
    page = json.loads(next(tmp_path.glob("m/raw/*.json")).read_text())
    assert page["tasks"][0]["annotations"][0]["result"][0]["value"] == {"choices": ["C major"]}


def test_edits_are_further_rows_and_those_of_others_are_flagged(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, _ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    own, foreign = (campaign.answer(a, task, choose("key", "C major"), choose("mood", "calm")) for task in (0, 1))
    pull(campaign.studio, mirror, campaign.campaign)
    first = labels(mirror, campaign.campaign, campaign.tasks)
    campaign.edit(a, own, result=[choose("key", "A minor"), choose("mood", "calm")])
    campaign.edit(b, foreign, result=[choose("key", "A minor"), choose("mood", "calm")])
    pulled = pull(campaign.studio, mirror, campaign.campaign)
    assert pulled.edits == 2
    assert len(pulled.remarks) == 1
    assert f"{a.email}'s by {b.email}" in pulled.remarks[0]
    assert [(row.revision, row.updated_by) for row in mirror.answers()] == [(1, a.email), (1, a.email), (2, a.email), (2, b.email)]
    every = labels(mirror, campaign.campaign, campaign.tasks)
    assert every[: len(first)] == first  # what a store has already stays as it is
    keys = every[len(first) :]
    assert [(label.kind, label.value) for label in keys] == [("key", "A minor")] * 2
    assert {label.replaces for label in keys} == {label.label_id for label in first if label.kind == "key"}
    assert {label.at for label in keys} == {row.updated_at for row in mirror.answers() if row.revision == 2}


def test_a_skip_that_is_taken_back_gives_way_to_the_answer(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    annotation = campaign.answer(a, 0, was_cancelled=True)
    pull(campaign.studio, mirror, campaign.campaign)
    assert said(mirror, campaign) == [(0, a.email, "skipped", "", None, None)]
    campaign.edit(a, annotation, was_cancelled=False, result=[choose("key", "C major")])
    pull(campaign.studio, mirror, campaign.campaign)
    assert said(mirror, campaign) == [(0, a.email, "key", "C major", None, None)]


def test_a_deleted_annotation_is_withdrawn_and_its_rows_stay(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, _ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    annotation = campaign.answer(a, 0, choose("key", "C major"))
    campaign.answer(b, 0, choose("key", "A minor"))
    pull(campaign.studio, mirror, campaign.campaign)
    before = mirror.answers()
    campaign.delete(a, annotation)
    assert pull(campaign.studio, mirror, campaign.campaign).deleted == 1
    assert said(mirror, campaign) == [(0, b.email, "key", "A minor", None, None)]
    assert mirror.answers()[:-1] == before
    assert (mirror.answers()[-1].gone, mirror.answers()[-1].annotation_id) == ("annotation", annotation)
    assert pull(campaign.studio, mirror, campaign.campaign, full=True).new == 0


def test_what_was_said_of_a_task_that_somebody_deleted_stands(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    campaign.answer(a, 0, choose("key", "C major"))
    pull(campaign.studio, mirror, campaign.campaign)
    before = labels(mirror, campaign.campaign, campaign.tasks)
    campaign.delete_task(0)
    assert pull(campaign.studio, mirror, campaign.campaign).new == 0  # the server says nothing of it
    pulled = pull(campaign.studio, mirror, campaign.campaign, full=True)
    assert (pulled.gone_with_tasks, pulled.new) == (1, 1)
    assert labels(mirror, campaign.campaign, campaign.tasks) == before
    assert mirror.answers()[-1].gone == "task"


def test_a_task_made_by_hand_is_kept_and_reported_and_is_no_label(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    campaign.ids += campaign.studio.import_tasks(campaign.project, [{"data": {"audio": "http://127.0.0.1/x.wav"}}])
    campaign.answer(a, 6, choose("key", "C major"))
    pulled = pull(campaign.studio, mirror, campaign.campaign)
    assert f"1 tasks are not this campaign's (task {campaign.ids[6]} for one)" in str(pulled)
    assert [row.ext_id for row in mirror.answers()] == [""]
    assert labels(mirror, campaign.campaign, campaign.tasks) == []


def test_equal_answers_of_one_person_are_two_rows_and_one_statement(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    answer = choose("key", "C major")
    first, second = campaign.answer(a, 0, answer), campaign.answer(a, 0, answer)
    pull(campaign.studio, mirror, campaign.campaign)
    assert [row.annotation_id for row in mirror.answers()] == [first, second]
    assert said(mirror, campaign) == [(0, a.email, "key", "C major", None, None)]
    campaign.delete(a, first)
    pull(campaign.studio, mirror, campaign.campaign)
    assert said(mirror, campaign) == [(0, a.email, "key", "C major", None, None)]
    campaign.delete(a, second)
    pull(campaign.studio, mirror, campaign.campaign)
    assert said(mirror, campaign) == []


def test_answers_that_began_as_predictions_are_known_as_such(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, c = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    guess = {"task": campaign.ids[0], "model_version": "m@0123456789abcdef", "score": 0.5, "result": [choose("key", "C major")]}
    assert campaign.studio.import_predictions(campaign.project, [guess]) == 1
    (prediction,) = campaign.studio.predictions(campaign.project)
    kept = campaign.answer(a, 0, choose("key", "C major"), parent_prediction=prediction.id)
    campaign.answer(b, 0, choose("key", "A minor"), parent_prediction=prediction.id)
    campaign.answer(c, 0, choose("key", "C major"))
    pull(campaign.studio, mirror, campaign.campaign)
    assert [(row.from_prediction, row.changed) for row in mirror.answers()] == [
        ("m@0123456789abcdef", False),
        ("m@0123456789abcdef", True),
        ("", None),
    ]
    # The prediction goes; where the answer came from is not forgotten.
    campaign.studio.delete_prediction(prediction.id)
    campaign.edit(a, kept, result=[choose("key", "A minor")])
    pull(campaign.studio, mirror, campaign.campaign)
    assert (mirror.answers()[-1].from_prediction, mirror.answers()[-1].changed) == ("m@0123456789abcdef", True)


def test_a_project_that_was_renamed_or_lost_its_line_is_found(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    pull(campaign.studio, mirror, campaign.campaign)
    campaign.answer(a, 0, choose("key", "C major"))
    campaign.studio.update_project(campaign.project, title="E somebody's own title")
    pulled = pull(campaign.studio, mirror, campaign.campaign)
    assert (pulled.answers, pulled.remarks) == (1, [])
    campaign.answer(a, 1, choose("key", "C major"))
    campaign.studio.update_project(campaign.project, description="what is this line for?")
    pulled = pull(campaign.studio, mirror, campaign.campaign)
    campaign.studio.update_project(campaign.project, description=campaign_line(campaign.campaign.name))
    assert pulled.answers == 1
    assert "has lost the line" in pulled.remarks[0]


def test_a_project_that_was_deleted_and_made_anew_takes_no_label_away(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, _ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    for who in (a, b):
        campaign.answer(who, 0, choose("key", "C major"), choose("mood", "calm"))
    pull(campaign.studio, mirror, campaign.campaign)
    before = said(mirror, campaign)
    campaign.studio.delete_project(campaign.project)
    with pytest.raises(MirrorError, match="what was pulled of 2 annotations stays in"):
        pull(campaign.studio, mirror, campaign.campaign, full=True)
    campaign.make()
    assert "was replaced by" in pull(campaign.studio, mirror, campaign.campaign).remarks[0]
    assert said(mirror, campaign) == before
    # Who answers the clip again means that answer.
    campaign.answer(a, 0, choose("key", "A minor"))
    pull(campaign.studio, mirror, campaign.campaign)
    expected = [(0, a.email, "key", "A minor", None, None), *(row for row in before if row[1] == b.email)]
    assert said(mirror, campaign) == sorted(expected, key=str)


def test_labels_of_every_beginning_are_the_beginning_of_all(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, _ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    seen: list[Label] = []
    mine = [campaign.answer(a, task, choose("key", "C major"), draw("voice", 1, 2)) for task in range(3)]
    doings = [
        lambda: campaign.answer(a, 0, choose("key", "C major"), draw("voice", 1, 2)),
        lambda: campaign.edit(a, mine[0], result=[choose("key", "A minor"), draw("voice", 1, 3), draw("voice", 4, 5)]),
        lambda: campaign.answer(b, 0, was_cancelled=True),
        lambda: campaign.delete(a, mine[0]),
        lambda: campaign.edit(b, mine[1], result=[]),
        lambda: campaign.delete_task(2),
    ]
    for doing in doings:
        doing()
        pull(campaign.studio, mirror, campaign.campaign, full=True)
        now = labels(Mirror(tmp_path / "m"), campaign.campaign, campaign.tasks)
        assert now[: len(seen)] == seen
        assert len({label.label_id for label in now}) == len(now)
        seen = now


def test_a_result_that_means_nothing_is_kept_and_stops_no_pull(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, _ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    campaign.answer(a, 0, choose("invented", "?"), draw("voice", 29, 35), {"value": 3}, choose("key", "C major"))
    campaign.answer(b, 0, choose("key", "A minor"))
    assert pull(campaign.studio, mirror, campaign.campaign).answers == 2
    assert said(mirror, campaign) == sorted(
        [(0, a.email, "key", "C major", None, None), (0, b.email, "key", "A minor", None, None)], key=str
    )
    assert len(json.loads(mirror.answers()[0].result)) == 4


def test_a_bucket_is_no_place_for_a_mirror() -> None:
    with pytest.raises(MirrorError, match="kept on a local disk"):
        Mirror("s3://bucket/campaigns/x")
