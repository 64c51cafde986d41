"""Label Studio's results and the labels they mean, there and back; and what stands of rows that are never changed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.campaign import Campaign
from annotation.labels import AuthorKind, Label
from annotation.question import Question
from annotation.results import Origin, origin, to_labels, to_result
from annotation.revisions import NOTHING, SILENT, SKIPPED, WITHDRAWN, current, revised
from annotation.task import Task

CAMPAIGN = Campaign.model_validate(
    {
        "name": "all-kinds",
        "title": "All kinds",
        "questions": [
            {"name": "mood", "kind": "tag.mood", "text": "Mood?", "choices": ["calm", "sad & slow", "énergique 🎸"], "multiple": True},
            {
                "name": "instruments",
                "kind": "instrument",
                "text": "Which?",
                "choices": {"Strings": ["violin"], "Keys": ["piano"]},
                "multiple": True,
            },
            {"name": "key", "kind": "key", "text": "Key?"},
            {"name": "tempo", "kind": "tempo", "text": "Tempo?"},
            {"name": "remark", "kind": "text", "text": "Anything else?", "multiple": True},
            {"name": "voice", "kind": "singing_voice", "text": "Where?", "regions": True},
            {"name": "parts", "kind": "section", "text": "Parts?", "choices": ["verse", "chorus <1>"], "regions": True},
            {"name": "beats", "kind": "beat", "text": "Beats?", "regions": True},
            {"name": "onsets", "kind": "onset", "text": "Onsets?", "regions": True},
        ],
    }
)
TASK = Task("c0ffee-12345678", "f00d", "c0ffee", 60.0, 30.0, "http://127.0.0.1/clip.flac")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(*items: Any, **more: Any) -> tuple[list[Label], list[str]]:
    """What a person said of the task, without the questions that went unanswered."""
    labels, problems = to_labels(json.loads(json.dumps(items)), TASK, CAMPAIGN, "mira@example.org", NOON, annotation_id=7, **more)
    return [label for label in labels if label.kind != NOTHING], [str(problem) for problem in problems]


def item(name: str, value: dict[str, Any], kind: str = "", **more: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "audio", "type": kind or CAMPAIGN.question(name).control.lower(), "value": value, **more}


def region(name: str, start: Any, end: Any, *labels: Any) -> dict[str, Any]:
    return item(name, {"start": start, "end": end, "channel": 0, "labels": [*labels]}, id="r1", original_length=30.0)


def said(
    kind: str, value: str, start: float | None = None, duration: float | None = None, at: datetime | None = NOON, **more: Any
) -> Label:
    about = TASK.track_id, TASK.clip_id, start, duration, None, CAMPAIGN.name, at
    return Label(kind, value, "mira@example.org", "person", *about, **more)


_micro = st.integers(0, 30_000_000).map(lambda each: each / 1e6)
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)


@st.composite
def answers(draw: st.DrawFn) -> list[Label]:
    """One author's labels of one clip."""
    kind = draw(st.sampled_from(["person", "gold", "model"]))
    about: dict[str, Any] = {
        "author": "mira",
        "author_kind": kind,
        "track_id": "f00d",
        "clip_id": "c0ffee",
        "campaign": CAMPAIGN.name,
        "at": NOON,
    }
    labels: list[Label] = []
    for question in CAMPAIGN.questions:
        confidence = draw(st.none() | st.floats(0, 1)) if kind == "model" else None
        for value in draw(st.lists(_value(question), max_size=3 if question.multiple or question.regions else 1, unique=True)):
            start = duration = None
            if question.regions:
                start, end = sorted((draw(_micro), draw(_micro)))
                duration = 0.0 if question.moment else round(end - start, 6)
            labels.append(Label(question.kind, value, start=start, duration=duration, confidence=confidence, **about))
        if kind == "person" and all(label.kind != question.kind for label in labels):
            labels.append(Label(NOTHING, question.name, **about))
    return labels


def _value(question: Question) -> st.SearchStrategy[str]:
    if question.values:
        return st.sampled_from(question.values)
    return st.integers(1, 4000).map(lambda each: f"{each / 10:g}") if question.kind == "tempo" else _texts


@settings(max_examples=60, deadline=None)
@given(answers())
def test_labels_become_a_result_and_the_same_labels_again(labels: list[Label]) -> None:
    result = json.loads(json.dumps(to_result(labels, CAMPAIGN)))
    back, problems = to_labels(result, TASK, CAMPAIGN, "mira", NOON, author_kind=labels[0].author_kind if labels else "gold")
    assert problems == []
    assert len(back) == len(set(back))
    assert set(back) == set(labels)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.sampled_from(["start", "end", "labels", "choices"]), each, max_size=3),
    max_leaves=4,
)
_items = st.fixed_dictionaries(
    {},
    optional={
        "from_name": st.sampled_from([each.name for each in CAMPAIGN.questions]) | _json,
        "type": st.sampled_from(["choices", "labels", "number", "textarea", "taxonomy", "relation"]) | _json,
        "value": st.dictionaries(st.sampled_from(["start", "end", "labels", "choices", "number", "text", "taxonomy"]), _json) | _json,
        "score": _json,
    },
)


@settings(max_examples=150, deadline=None)
@given(_items | _json, st.sampled_from(["person", "model"]))
def test_whatever_comes_is_a_label_or_a_problem_and_never_lost_in_silence(thing: Any, author_kind: Any) -> None:
    labels, problems = to_labels([thing], TASK, CAMPAIGN, "mira", NOON, author_kind=author_kind)
    assert problems or any(label.kind != NOTHING for label in labels)
    assert all("\n" not in str(each) and len(str(each)) < 400 for each in problems)
    for label in labels:
        assert len(label.label_id) == 20


def test_what_the_editor_sends_becomes_labels_in_seconds_of_the_clip() -> None:
    labels, problems = read(
        item("mood", {"choices": ["calm", "énergique 🎸"]}, id="a", origin="manual"),
        item("key", {"choices": ["F# minor"]}),
        item("tempo", {"number": 120.50}),
        item("remark", {"text": ["fades out", "🎻"]}),
        region("voice", 1.25, 3, "yes"),
        region("beats", 2.5, 2.9, "4"),
        region("onsets", 2.5, 2.5, "onset"),
    )
    assert problems == []
    assert labels == [
        said("tag.mood", "calm"),
        said("tag.mood", "énergique 🎸"),
        said("key", "F# minor"),
        said("tempo", "120.5"),
        said("text", "fades out"),
        said("text", "🎻"),
        said("singing_voice", "yes", 1.25, 1.75),
        said("beat", "4", 2.5, 0.0),
        said("onset", "onset", 2.5, 0.0),
    ]


def test_an_answer_about_a_view_names_the_view() -> None:
    labels, _ = to_labels([item("key", {"choices": ["C major"]})], replace(TASK, view_id="v1"), CAMPAIGN, "mira", NOON)
    assert {(label.clip_id, label.view_id) for label in labels} == {("c0ffee", "v1")}


def test_a_question_without_an_answer_is_a_statement_of_people_and_of_nobody_else() -> None:
    labels, _ = to_labels([item("key", {"choices": ["C major"]})], TASK, CAMPAIGN, "mira", NOON)
    assert [label.value for label in labels if label.kind == NOTHING] == [each.name for each in CAMPAIGN.questions if each.name != "key"]
    kinds: tuple[AuthorKind, ...] = ("gold", "model")
    for kind in kinds:
        assert to_labels([], TASK, CAMPAIGN, "x", None, author_kind=kind) == ([], [])


def test_an_answer_that_cannot_be_read_is_not_taken_for_no_answer() -> None:
    labels, problems = to_labels([item("key", {"choices": ["H moll"]})], TASK, CAMPAIGN, "mira", NOON)
    assert len(problems) == 1
    assert "key" not in {label.value for label in labels}


def test_a_skip_is_a_row_and_what_was_answered_before_it_does_not_count() -> None:
    assert read(item("key", {"choices": ["C major"]}), skipped=True) == ([said(SKIPPED, "")], [])


def test_a_score_is_the_confidence_of_a_model_and_never_that_of_the_person_who_kept_the_guess() -> None:
    guess = item("key", {"choices": ["C major"]}, score=0.8, origin="prediction")
    assert [label.confidence for label in read(guess)[0]] == [None]
    assert [label.confidence for label in read(guess, author_kind="model")[0]] == [0.8]


@pytest.mark.parametrize(("start", "end"), [(29, 30.05), (28.5, 30.0), (30.04, 30.04), (-0.05, 0.5)])
def test_a_region_that_leaves_the_clip_by_rounding_is_cut_to_it(start: float, end: float) -> None:
    labels, problems = read(region("voice", start, end, "yes"))
    assert problems == []
    begins = min(max(start, 0.0), 30.0)
    assert labels == [said("singing_voice", "yes", begins, round(min(end, 30.0) - begins, 6))]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (region("voice", 1, 35, "yes"), "result[0].value.end: beyond the clip's end, at 30 s, got 35"),
        (region("voice", 31, 35, "yes"), "result[0].value.start: beyond the clip's end, at 30 s, got 31"),
        (region("voice", -0.06, 3, "yes"), "result[0].value.start: before the clip's beginning, got -0.06"),
        (region("voice", 3, 2.99, "yes"), "result[0].value: it ends before it starts, got [3, 2.99]"),
        (region("voice", math.nan, 3, "yes"), "result[0].value.start: not a time in seconds, got NaN"),
        (region("voice", 1, math.inf, "yes"), "result[0].value.end: not a time in seconds, got Infinity"),
        (region("voice", "1", 3, "yes"), 'result[0].value.start: not a time in seconds, got "1"'),
        (region("voice", True, 3, "yes"), "result[0].value.start: not a time in seconds, got true"),
        (region("voice", 1, 3), "result[0].value.labels: nothing was chosen, got []"),
        (region("voice", 1, 3, "Singing"), "result[0].value.labels[0]: not a choice of 'voice' (any longer?), got \"Singing\""),
        (item("voice", {"labels": ["yes"]}), "result[0].value.start: not a time in seconds, got null"),
        (item("key", {"choices": [3]}), "result[0].value.choices[0]: not a text, got 3"),
        (item("tempo", {"number": "120"}), 'result[0].value.number: not a number, got "120"'),
        (item("tempo", {"number": 0}), "result[0].value.number: tempo '0': not beats per minute above 0, as in '120.5', got 0"),
        (item("remark", {"text": [" "]}), 'result[0].value.text[0]: an empty text, got " "'),
        (item("remark", {"text": ["\ud83c"]}), "result[0].value.text[0]: a text with NUL or half a character"),
        (item("remark", {"text": []}), "result[0].value.text: nothing was written, got []"),
        (item("key", {}, "relation"), 'result[0].type: not one of choices, taxonomy, labels, number, textarea, got "relation"'),
        (
            {**item("key", {}), "from_name": "genre"},
            "result[0].from_name: no question of the campaign (was the screen changed?); there are",
        ),
        ({**item("key", {}), "value": "C major"}, 'result[0].value: not what choices say, got "C major"'),
        ("C major", 'result[0]: not an answer, got "C major"'),
    ],
)
def test_what_cannot_be_a_label_is_a_line_with_annotation_place_and_value(wrong: Any, line: str) -> None:
    good = region("voice", 1, 3, "yes")
    labels, problems = read(wrong, good)
    assert labels == [said("singing_voice", "yes", 1.0, 2.0)]  # its neighbour lives
    (problem,) = problems
    assert problem.startswith(f"annotation 7, {line}")


def test_a_choice_that_is_gone_from_the_campaign_leaves_those_beside_it() -> None:
    labels, problems = read(item("mood", {"choices": ["calm", "gloomy"]}))
    assert labels == [said("tag.mood", "calm")]
    assert problems == ["annotation 7, result[0].value.choices[1]: not a choice of 'mood' (any longer?), got \"gloomy\""]


def test_a_result_that_is_no_list_is_a_problem() -> None:
    for result, shown in ((None, "null"), ({"choices": ["calm"]}, '{"choices": ["calm"]}')):
        labels, (problem,) = to_labels(result, TASK, CAMPAIGN, "mira", NOON)
        assert labels == []
        assert str(problem) == f"result: not a list of answers, got {shown}"


def test_of_a_path_in_a_taxonomy_the_last_word_is_the_answer() -> None:
    labels, problems = read(item("instruments", {"taxonomy": [["Strings", "violin"], ["Keys"]]}, "taxonomy"))
    assert labels == [said("instrument", "violin")]
    assert 'got "Keys"' in problems[0]


def test_a_label_that_no_question_asks_for_has_no_result() -> None:
    for label in (said("tag.mood", "gloomy"), said("chord", "C"), said("key", "C major", 1.0, 2.0), said("beat", "1")):
        with pytest.raises(ValueError, match="no question of campaign 'all-kinds' has this answer"):
            to_result([label], CAMPAIGN)


def test_what_says_nothing_about_sound_is_left_out_of_a_result() -> None:
    assert to_result([said(kind, "") for kind in SILENT], CAMPAIGN) == []


def test_equal_labels_have_equal_results_and_regions_names_of_their_own() -> None:
    labels = [said("beat", value, second, 0.0) for second, value in enumerate("1234")]
    result = to_result(labels, CAMPAIGN)
    assert result == to_result(labels, CAMPAIGN)
    assert len({each["id"] for each in result}) == 4


def test_how_much_of_an_answer_was_guessed_is_counted_by_choice_and_region() -> None:
    guess = [item("mood", {"choices": ["calm", "sad & slow"]}, score=0.7), region("voice", 1, 3, "yes"), region("voice", 5, 6, "yes")]
    answer = [
        item("mood", {"choices": ["sad & slow", "énergique 🎸"]}, origin="prediction-changed"),
        {**region("voice", 1.0, 3.0, "yes"), "id": "x"},
    ]
    assert origin(answer, guess) == Origin(kept=2, own=1, dropped=2)
    assert origin(guess, guess) == Origin(4, 0, 0)
    assert origin(answer, []) == Origin(0, 3, 0)


# Revisions


def _plain(labels: list[Label]) -> set[Label]:
    return {replace(label, at=None, replaces=None) for label in labels}


@settings(max_examples=60, deadline=None)
@given(st.lists(answers(), min_size=1, max_size=5))
def test_after_any_edits_what_stands_is_what_was_said_last(states: list[list[Label]]) -> None:
    rows: list[Label] = []
    for hour, state in enumerate(states):
        at = NOON + timedelta(hours=hour)
        added = revised(rows, state, at)
        assert not set(added) & set(rows)
        assert all(label.at == at for label in added)
        rows += added
        assert _plain(current(rows)) == _plain(state)
        assert revised(current(rows), state, at + timedelta(minutes=1)) == []
    assert len({label.label_id for label in rows}) == len(rows)
    assert current(reversed(rows)) == list(reversed(current(rows)))


def test_a_moved_region_corrects_itself_and_not_its_neighbour() -> None:
    before = [said("section", "verse", 0.0, 8.0), said("section", "chorus <1>", 8.0, 8.0), said("key", "C major")]
    after = [said("section", "verse", 0.0, 8.0), said("section", "chorus <1>", 9.0, 7.0), said("key", "A minor")]
    later = NOON + timedelta(hours=1)
    assert revised(before, after, later) == [
        said("section", "chorus <1>", 9.0, 7.0, at=later, replaces=before[1].label_id),
        said("key", "A minor", at=later, replaces=before[2].label_id),
    ]


def test_a_deleted_answer_is_withdrawn_and_said_again_it_stands_again() -> None:
    first = said("key", "C major")
    (gone,) = revised([first], [], NOON + timedelta(hours=1))
    assert (gone.kind, gone.value, gone.replaces, gone.author) == (WITHDRAWN, "", first.label_id, first.author)
    assert current([first, gone]) == []
    again = revised([first, gone], [first], NOON + timedelta(hours=2))
    assert current([first, gone, *again]) == again == [said("key", "C major", at=NOON + timedelta(hours=2))]


def test_a_skip_that_is_taken_back_no_longer_stands() -> None:
    rows = [said(SKIPPED, "")]
    assert current(rows) == rows
    rows += revised(rows, [said("key", "C major")], NOON + timedelta(hours=1))
    assert [label.kind for label in current(rows)] == ["key"]
