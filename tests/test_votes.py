"""Votes: labels of a campaign as arrays, with what its mirror knows of them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from annotation.labels import Label, table
from annotation.question import Question
from annotation.statements import labels
from annotation.task import Task
from annotation.votes import Votes, votes
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.store import Store
from pipelines.votes.ballots import ballots
from tests.campaigning import MOODS, choose, draw

MOOD = Question(name="mood", kind="tag.mood", text="Which moods?", choices=("calm", "wild"), multiple=True)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def said(author: str, clip: str, value: str, **more: object) -> Label:
    return Label("tag.mood", value, author, "person", "track", clip, campaign="c", at=AT, **more)  # type: ignore[arg-type]


def test_an_answer_holds_what_one_person_said_of_one_clip_and_nothing_is_an_answer_too() -> None:
    rows = [
        said("ada", "a", "calm"),
        said("ada", "a", "wild"),
        said("bo", "a", "calm"),
        Label("nothing", "mood", "bo", "person", "track", "b", campaign="c", at=AT),
        Label("nothing", "key", "cy", "person", "track", "b", campaign="c", at=AT),
        Label("skipped", "", "di", "person", "track", "b", campaign="c", at=AT),
        Label("tag.mood", "calm", "m@0", "model", "track", "b", campaign="c"),
    ]
    found = votes(table(rows), MOOD)
    assert found.clips == ("a", "b")
    assert found.annotators == ("ada", "bo")
    assert list(zip(found.clip, found.annotator, strict=True)) == [(0, 0), (0, 1), (1, 1)]
    assert found.chosen(0).tolist() == [True, True, False]
    assert found.chosen(1).tolist() == [True, False, False]
    assert found.at.tolist() == [AT.timestamp()] * 3


def test_a_correction_is_the_vote_and_what_it_corrects_is_none() -> None:
    first = said("ada", "a", "calm")
    found = votes(table([first, said("ada", "a", "wild", replaces=first.label_id)]), MOOD)
    assert found.chosen(0).tolist() == [False]
    assert found.chosen(1).tolist() == [True]


def test_a_view_is_a_clip_of_its_own() -> None:
    found = votes(table([said("ada", "a", "calm"), said("ada", "a", "wild", view_id="v")]), MOOD)
    assert found.clips == ("a", "a/v")
    assert len(found) == 2


def test_what_is_known_of_an_answer_goes_with_it() -> None:
    rows = table([said("ada", "a", "calm"), said("bo", "a", "calm")])
    found = votes(rows, MOOD, accepted={("a", "bo")}, seconds={("a", "ada"): 7.5})
    assert found.accepted.tolist() == [False, True]
    np.testing.assert_equal(found.seconds, [7.5, np.nan])
    assert found.only(~found.accepted).annotator.tolist() == [0]


def test_an_answer_is_as_old_as_its_latest_word_and_nobody_may_know_when_it_was_given() -> None:
    undated = Label("tag.mood", "calm", "ada", "person", "track", "a", campaign="c")
    found = votes(table([undated, said("ada", "a", "wild"), Label("tag.mood", "calm", "bo", "person", "track", "a")]), MOOD)
    np.testing.assert_equal(found.at, [AT.timestamp(), np.nan])


def test_of_one_kind_the_whole_clip_and_stretches_of_it_are_two_questions() -> None:
    where = Question(name="where", kind="tag.mood", text="Where?", choices=("calm", "wild"), regions=True)
    silent = Label("nothing", "mood", "ada", "person", "track", "a", campaign="c", at=AT)
    rows = table([silent, said("ada", "a", "wild", start=1.0, duration=1.0), said("bo", "a", "calm")])
    whole, drawn = votes(rows, MOOD), votes(rows, where)
    assert whole.chosen(0).tolist() == [False, True]
    assert whole.chosen(1).tolist() == [False, False]
    assert (drawn.annotators, drawn.chosen(1).tolist()) == (("ada",), [True])


def test_no_votes_are_no_answers() -> None:
    found = votes(table([]), MOOD)
    assert len(found) == 0
    assert found.clips == ()
    assert found.values == ("calm", "wild")


CAMPAIGN = (
    MOODS.replace('"moods"', '"{name}"')
    + """multiple = true
[[questions]]
name = "key"
kind = "key"
text = "Which key?"
[[questions]]
name = "voice"
kind = "singing_voice"
text = "Where is singing?"
regions = true
"""
)
GUESS = {
    "id": 100,
    "model_version": "m@0123456789abcdef",
    "result": [choose("mood", "calm"), choose("key", "C major"), draw("voice", 0, 2)],
}


def marked(origin: str, *items: dict[str, Any]) -> list[dict[str, Any]]:
    """As the editor marks what a pre-annotation said."""
    return [{**item, "origin": origin} for item in items]


def pulled(folder: Path, name: str, said: dict[str, Sequence[dict[str, Any]] | None], began: bool = True) -> Desk:
    """A campaign on one clip in which people said this (None: they skipped it), with labels in the store and the mirror's pages."""
    (folder / f"{name}.toml").write_text(CAMPAIGN.format(name=name))
    desk = open_desk(folder / f"{name}.toml", Store(folder / "store"))
    desk.remember([Task("a-0000000a", "track", "a", 0.0, 3.0, "")])
    annotations = [
        {
            "id": number,
            "completed_by": number,
            "updated_by": None,
            "parent_prediction": GUESS["id"] if began else None,
            "result": list(result or ()),
            "was_cancelled": result is None,
            "lead_time": float(number),
            "created_at": f"2026-03-01T00:00:0{number}Z",
            "updated_at": f"2026-03-01T00:00:0{number}Z",
        }
        for number, result in enumerate(said.values(), 1)
    ]
    task = {"id": 7, "data": {"ext_id": "a-0000000a"}, "updated_at": "2026-03-01T00:01:00Z", "predictions": [GUESS] if began else []}
    with desk.mirror.lock():
        users = {str(number): who for number, who in enumerate(said, 1)}
        desk.mirror.keep({"project": f"1@{name}", "users": users, "tasks": [{**task, "annotations": annotations}]})
    desk.store.publish("labels", name, table(labels(desk.mirror, desk.campaign, desk.known())))
    return desk


def kept(found: Votes) -> set[str]:
    return {found.annotators[person] for person in found.annotator[found.accepted]}


def test_whether_an_answer_merely_accepted_is_told_question_by_question(tmp_path: Path) -> None:
    mood, key, voice = GUESS["result"]  # type: ignore[misc]
    said = {
        "all": marked("prediction", mood, key, voice),
        "own": [choose("mood", "calm"), *marked("prediction", key, voice)],
        "rekeyed": [*marked("prediction", mood, voice), *marked("prediction-changed", choose("key", "G major"))],
        "nothing-drawn": marked("prediction", mood, key),
        "redrawn": [*marked("prediction", mood, key, voice), draw("voice", 2.5, 3)],
    }
    found = ballots(pulled(tmp_path, "moods", said))
    assert kept(found["mood"]) == {"all", "own", "rekeyed", "nothing-drawn", "redrawn"}
    assert kept(found["key"]) == {"all", "own", "nothing-drawn", "redrawn"}
    assert kept(found["voice"]) == {"all", "own"}


def test_what_was_accepted_before_its_task_was_deleted_still_merely_accepted(tmp_path: Path) -> None:
    desk = pulled(tmp_path, "moods", {"ada": marked("prediction", *GUESS["result"])})  # type: ignore[misc]
    with desk.mirror.lock():
        desk.mirror.keep({"project": "1@moods", "ids": [], "at": "2026-03-02T00:00:00Z"})
    found = ballots(desk)["mood"]
    assert found.accepted.tolist() == [True]
    assert found.seconds.tolist() == [1.0]


def test_what_is_said_again_takes_the_place_of_what_was_accepted_and_a_skip_of_nothing(tmp_path: Path) -> None:
    took = marked("prediction", *GUESS["result"])  # type: ignore[misc]
    desk = pulled(tmp_path, "moods", {"ada": took, "bo": took, "cy": took})
    again = pulled(tmp_path, "moods-again", {"ada": [choose("mood", "wild"), choose("key", "C major")], "bo": None}, began=False)
    found = ballots(desk, also=[again])["mood"]
    assert found.annotators == ("ada", "bo", "cy")
    assert found.chosen(1).tolist() == [True, False, False]
    assert found.chosen(0).tolist() == [False, True, True]
    assert found.accepted.tolist() == [False, True, True]
