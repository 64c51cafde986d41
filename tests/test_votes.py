"""Votes: labels of a campaign as arrays."""

from datetime import UTC, datetime

import numpy as np

from annotation.labels import Label, table
from annotation.question import Question
from annotation.votes import votes

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


def test_no_votes_are_no_answers() -> None:
    found = votes(table([]), MOOD)
    assert len(found) == 0
    assert found.clips == ()
    assert found.values == ("calm", "wild")
