"""What models guess before people answer, and that a real server keeps results as they were made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.campaign import Campaign
from annotation.interface import interface
from annotation.labels import Label
from annotation.preannotation import Tagged, check_prediction, choices, guesses, model_version, prediction, spans
from annotation.results import to_labels, to_result
from annotation.studio import Studio
from annotation.task import campaign_line
from tests.studio import RunningStudio
from tests.test_results import CAMPAIGN as ALL_KINDS
from tests.test_results import NOON, TASK, item, region

TAGS = ["guitar", "female vocals", "male vocals", "sad", "happy"]
MODEL = model_version("tagger", "0123456789abcdef" * 4)
CAMPAIGN = Campaign.model_validate(
    {
        "name": "guessed",
        "title": "Guessed",
        "questions": [
            {"name": "mood", "kind": "tag.mood", "text": "Mood?", "choices": ["happy", "sad"]},
            {"name": "heard", "kind": "instrument", "text": "Heard?", "choices": ["guitar", "voice"], "multiple": True},
            {"name": "voice", "kind": "singing_voice", "text": "Where?", "regions": True},
        ],
        "predictions": {
            "table": "tagger",
            "threshold": 0.5,
            "thresholds": {"heard": {"guitar": 0.3}},
            "map": {
                "mood": {"sad": "sad", "happy": "happy"},
                "heard": {"guitar": "guitar", "female vocals": "voice", "male vocals": "voice"},
                "voice": {"female vocals": "yes", "male vocals": "yes"},
            },
            "min_seconds": 2.0,
            "join_seconds": 1.0,
        },
    }
)


def tagged(tags: list[float], women: list[float] | None = None) -> Tagged:
    """A clip with these probabilities, and one of them in patches of 1 s."""
    taggram = np.zeros((len(women or [0.0]), len(TAGS)), np.float32)
    taggram[:, 1] = women or [0.0]
    return Tagged(TAGS, np.array(tags, np.float32), taggram, hop=1.0, length=1.0)


def guessed(*args: Any) -> list[tuple[Any, ...]]:
    labels = guesses(tagged(*args), TASK, CAMPAIGN, MODEL)
    assert {(label.author, label.author_kind, label.clip_id, label.campaign) for label in labels} <= {(MODEL, "model", "c0ffee", "guessed")}
    return [(label.kind, label.value, label.start, label.duration, round(label.confidence or 0, 3)) for label in labels]


def test_a_choice_is_guessed_from_its_own_threshold_on_and_the_likeliest_of_several_tags_counts() -> None:
    assert guessed([0.3, 0.55, 0.6, 0.49, 0.1]) == [("instrument", "guitar", None, None, 0.3), ("instrument", "voice", None, None, 0.6)]
    assert guessed([0.29, 0.45, 0.4, 0.5, 0.1]) == [("tag.mood", "sad", None, None, 0.5)]


def test_where_one_choice_is_to_be_made_only_the_likeliest_is_guessed() -> None:
    assert guessed([0, 0, 0, 0.8, 0.9]) == [("tag.mood", "happy", None, None, 0.9)]


def test_regions_begin_where_they_last_and_have_the_mean_of_their_scores() -> None:
    #         reaches 0.5 once; 0.3 is enough to last; a gap of 1 s is none; 1 s alone is too short
    women = [0.0, 0.3, 0.5, 0.0, 0.7, 0.7, 0.29, 0.0, 0.0, 0.9, 0.0, 0.0, 0.4, 0.4, 0.4]
    assert guessed([0.0] * 5, women) == [("singing_voice", "yes", 1.0, 5.0, 0.44)]


def test_a_tagger_is_not_asked_for_moments_and_must_have_the_tags_of_the_map() -> None:
    wrong = CAMPAIGN.model_copy(update={"predictions": CAMPAIGN.predictions.model_copy(update={"map": {"mood": {"gloomy": "sad"}}})})  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="mapping: 'gloomy' is no tag of the model; there are guitar, female vocals"):
        guesses(tagged([0.0] * 5), TASK, wrong, MODEL)
    beats = ALL_KINDS.model_copy(update={"predictions": CAMPAIGN.predictions.model_copy(update={"map": {"beats": {"guitar": "1"}}})})  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"predictions\.map\.beats: a tagger cannot answer this question"):
        guesses(tagged([0.0] * 5), TASK, beats, MODEL)


def test_a_campaign_without_predictions_has_no_guesses() -> None:
    assert guesses(tagged([1.0] * 5), TASK, ALL_KINDS, MODEL) == []


@pytest.mark.parametrize(("scores", "shown"), [([0.1, math.nan], "nan"), ([0.1, 1.5], "1.5"), ([-0.1, 0], "-0.1")])
def test_a_score_that_is_no_probability_is_named(scores: list[float], shown: str) -> None:
    with pytest.raises(ValueError, match=f"scores: {shown} is not between 0 and 1"):
        choices(["a", "b"], scores, {"a": "x"})


def test_a_score_for_each_tag_is_needed() -> None:
    with pytest.raises(ValueError, match=r"scores: shape \(3,\) for 2 tags"):
        choices(["a", "b"], [0, 0, 0], {"a": "x"})


def test_a_patch_speaks_for_the_hop_around_its_middle_and_the_ends_for_what_lies_beyond() -> None:
    # Patches of 3 s, one each second: 0-3, 1-4, 2-5, 3-6.
    assert spans([1, 0, 1, 0], 1, 3, 6, 0.5, 0.5) == [(0.0, 2.0, 1.0), (3.0, 4.0, 1.0)]
    assert spans([0, 0, 0, 1], 1, 3, 6, 0.5, 0.5) == [(4.0, 6.0, 1.0)]
    assert spans([1], 1, 3, 2.5, 0.5, 0.5) == [(0.0, 2.5, 1.0)]  # a clip shorter than a patch


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"high": 0.4}, "low=0.5 high=0.4"),
        ({"high": math.nan}, "high=nan"),
        ({"hop": 0.0}, "hop=0.0"),
        ({"gap": -1.0}, "gap=-1.0"),
    ],
)
def test_thresholds_and_times_that_mean_nothing_are_named(given: dict[str, float], message: str) -> None:
    usual = {"hop": 1.0, "length": 1.0, "seconds": 5.0, "high": 0.8, "low": 0.5}
    with pytest.raises(ValueError, match=message):
        spans([0.9], **(usual | given))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 10).map(lambda each: each / 10), max_size=30),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.floats(0, 3),
    st.floats(0, 3),
)
def test_regions_lie_in_the_clip_apart_and_long_enough_and_reach_the_threshold(
    scores: list[float], hop: float, shortest: float, gap: float
) -> None:
    found = spans(scores, hop, 3.0, 10.0, 0.8, 0.4, shortest, gap)
    assert all(0 <= start < end <= 10 and end - start >= shortest and 0 <= score <= 1 for start, end, score in found)
    assert all(second - first > gap for (_, first, _), (second, _, _) in pairwise(found))
    if shortest == 0 and any(score >= 0.8 and hop * index < 10 - 3 for index, score in enumerate(scores)):
        assert found
    if not any(score >= 0.8 for score in scores):
        assert not found


def test_other_weights_are_another_model() -> None:
    assert MODEL == "tagger@0123456789abcdef"
    for weights in ("0123456789abcde", "weights" * 4):
        with pytest.raises(ValueError, match="is not the hash of its weights"):
            model_version("tagger", weights)


def test_the_score_of_a_prediction_is_the_mean_of_its_guesses() -> None:
    labels = guesses(tagged([0.3, 0.5, 0.0, 0.7, 0.0]), TASK, CAMPAIGN, MODEL)
    made = prediction(labels, CAMPAIGN, MODEL)
    assert made["model_version"] == MODEL
    assert made["score"] == pytest.approx(0.5)
    assert [(each["from_name"], each["score"]) for each in made["result"]] == [("mood", pytest.approx(0.7)), ("heard", pytest.approx(0.3))]
    assert check_prediction(made["result"], CAMPAIGN, TASK.seconds, made["score"]) == []
    assert prediction([], CAMPAIGN, MODEL) == {"model_version": MODEL, "score": 0.0, "result": []}


NAUGHTY: list[tuple[Any, str]] = [
    (item("mood", {"choices": ["gloomy"]}), "result[0].value.choices[0]: not a choice of 'mood'"),
    (item("mood", {"choices": []}), "result[0].value.choices: nothing was chosen"),
    ({**item("mood", {"choices": ["calm"]}), "from_name": "genre"}, "result[0].from_name: no question"),
    ({**item("mood", {"choices": ["calm"]}), "from_name": ["mood"]}, "result[0].from_name: no question"),
    (item("mood", {"choices": ["calm"]}, to_name="sound"), "result[0].to_name: not 'audio'"),
    (item("mood", {"choices": ["calm"]}, "labels"), "result[0].value.labels: nothing was chosen"),
    (item("instruments", {"taxonomy": [["violin"]]}, "taxonomy"), "result[0].type: not 'choices'"),
    (item("mood", {"choices": ["calm"]}, score=7.5), "result[0].score: not between 0 and 1"),
    (item("mood", {"choices": ["calm"]}, score="high"), "result[0].score: not a number"),
    (item("tempo", {"number": "120"}), "result[0].value.number: not a number"),
    (item("remark", {"text": "good"}), "result[0].value.text: not a list of texts"),
    (item("remark", {"text": ["go\0od"]}), "result[0].value.text[0]: a text with NUL"),
    (region("voice", 1, 31, "yes"), "result[0].value.end: beyond the clip's end"),
    (region("voice", 3, 1, "yes"), "result[0].value: it ends before it starts"),
    (region("voice", math.nan, 1, "yes"), "result[0].value.start: not a time in seconds"),
    (region("voice", "a", "b", "yes"), "result[0].value.start: not a time in seconds"),
]


@pytest.mark.parametrize(("wrong", "line"), NAUGHTY)
def test_what_the_server_drops_or_takes_though_it_is_wrong_is_named_before_it_is_sent(wrong: Any, line: str) -> None:
    found = check_prediction([wrong], ALL_KINDS, TASK.seconds)
    assert found
    assert found[0].startswith(line)


@pytest.mark.parametrize("score", [-0.1, 7.5, math.nan, "0.5", True])
def test_the_score_of_the_whole_is_looked_at_too(score: object) -> None:
    (line,) = check_prediction([], ALL_KINDS, TASK.seconds, score)
    assert line.startswith("score: not between 0 and 1, got ")


def test_two_items_of_one_name_and_a_result_that_is_no_list_are_named() -> None:
    twice = [region("voice", 1, 2, "yes"), region("voice", 4, 5, "yes")]
    assert check_prediction(twice, ALL_KINDS, TASK.seconds) == ["result[1].id: taken by another item, got 'r1'"]
    assert check_prediction({"mood": "calm"}, ALL_KINDS, TASK.seconds) == ['result: not a list of answers, got {"mood": "calm"}']


# Against the real server

SHOWN = ALL_KINDS.model_copy(
    update={
        "questions": tuple(
            each.model_copy(update={"shown": {"sad & slow": "Sad and slow", "calm": "Ruhig 🌙"}}) if each.name == "mood" else each
            for each in ALL_KINDS.questions
        )
    }
)


def _everything(author_kind: Any, confidence: float | None) -> list[Label]:
    """A label of each kind and choice that the campaign asks for."""
    said: list[Label] = []
    for question in SHOWN.questions:
        values = question.values or (("120.5",) if question.kind == "tempo" else ('fades out 🎻\n"zweite Zeile" <b>&amp;</b>',))
        for index, value in enumerate(values if question.multiple or question.regions else values[-1:]):
            start = index + 0.123456 if question.regions else None
            duration = None if start is None else 0.0 if question.moment or index else 30 - start
            about = TASK.track_id, TASK.clip_id, start, duration and round(duration, 6), confidence, SHOWN.name, NOON
            said.append(Label(question.kind, value, "mira", author_kind, *about))
    return said


@pytest.fixture
def server(studio: RunningStudio) -> Iterator[tuple[Studio, int, int]]:
    """A server, a project with the screen of all kinds, and a task in it."""
    door = Studio(studio.url, studio.token)
    project = door.create_project("B results", campaign_line("b-results"), interface(SHOWN)).id
    try:
        yield door, project, door.import_tasks(project, [{"data": {"audio": TASK.audio, "title": "t", "ext_id": TASK.ext_id}}])[0]
    finally:
        door.delete_project(project)


@pytest.mark.slow
def test_a_server_keeps_annotations_and_predictions_of_all_kinds_as_they_were_made(server: tuple[Studio, int, int]) -> None:
    door, project, task = server
    answer, guess = _everything("gold", None), _everything("model", 0.75)
    door.annotate(task, to_result(answer, SHOWN))
    made = prediction(guess, SHOWN, MODEL)
    assert check_prediction(made["result"], SHOWN, TASK.seconds, made["score"]) == []
    assert door.import_predictions(project, [{"task": task, **made}]) == 1
    (kept,) = door.tasks(project, [task])
    (annotation,), (predicted,) = kept["annotations"], kept["predictions"]
    assert annotation["result"] == to_result(answer, SHOWN)
    assert predicted["result"] == made["result"]
    for result, labels in ((annotation["result"], answer), (predicted["result"], guess)):
        back, problems = to_labels(result, TASK, SHOWN, "mira", NOON, author_kind=labels[0].author_kind)
        assert problems == []
        assert set(back) == set(labels)


@pytest.mark.slow
def test_a_server_drops_some_wrong_predictions_and_takes_others_so_that_all_are_looked_at_here(server: tuple[Studio, int, int]) -> None:
    door, project, task = server
    made = []
    for wrong, _ in NAUGHTY:
        assert check_prediction([wrong], SHOWN, TASK.seconds)
        if not any(each in str(wrong) for each in ("nan", "\\x00")):  # no JSON, and an error of the database
            made.append(door.import_predictions(project, [{"task": task, "model_version": MODEL, "score": 0.5, "result": [wrong]}]))
    assert set(made) == {0, 1}


@pytest.mark.slow
def test_a_server_keeps_that_nothing_was_guessed(server: tuple[Studio, int, int]) -> None:
    door, project, task = server
    assert door.import_predictions(project, [{"task": task, **prediction([], SHOWN, MODEL)}]) == 1
    assert [each.result for each in door.predictions(project)] == [[]]
