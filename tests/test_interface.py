"""The screen that people see: made from the questions, taken by the real server, and a lead's own checked."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from annotation.campaign import Campaign
from annotation.colours import colour, luminance
from annotation.interface import Shown, check_interface, controls, interface, removed

if TYPE_CHECKING:
    from tests.studio import RunningStudio

HOSTILE = ("<b>&\"'", "A$AP Rocky", "$ign", "{{idx}}", "🎹🎸", "x" * 60, "a, b; c", "日本語", "]]>", 'name="audio" toName="no"')
QUESTIONS: list[dict[str, Any]] = [
    {
        "name": "mood",
        "kind": "tag.mood",
        "text": "Moods? 🎧",
        "choices": {"Calm": ["mellow"], "Tense": ["angry"]},
        "multiple": True,
        "required": True,
    },
    {"name": "genre", "kind": "tag.genre", "text": "Which of 300?", "choices": [f"genre {number}" for number in range(300)]},
    {"name": "hostile", "kind": "tag", "text": "$audio costs $5, <b>&\"'</b>", "choices": list(HOSTILE)},
    {"name": "instruments", "kind": "instrument", "text": "Where?", "choices": list(HOSTILE), "regions": True, "multiple": True},
    {
        "name": "singing",
        "kind": "singing_voice",
        "text": "Sung?",
        "regions": True,
        "shown": {"yes": "Somebody sings"},
        "hotkeys": {"yes": "5"},
    },
    {"name": "part", "kind": "section", "text": "Parts?", "choices": ["verse", "chorus"], "regions": True},
    {"name": "beats", "kind": "beat", "text": "Beats?", "regions": True},
    {"name": "onsets", "kind": "onset", "text": "Onsets?", "regions": True},
    {"name": "key", "kind": "key", "text": "Key?"},
    {"name": "tempo", "kind": "tempo", "text": "How fast?", "required": True},
    {"name": "chord", "kind": "chord", "text": "Chord?"},
    {"name": "remark", "kind": "text", "text": "Anything else?", "multiple": True},
    {"name": "mine", "kind": "vocal_range", "text": "Range?", "choices": ["high", "low"]},
]


def campaign(*questions: dict[str, Any], **given: Any) -> Campaign:
    return Campaign.model_validate({"name": "moods", "title": "Moods", "questions": questions or QUESTIONS, **given})


MOOD = {"name": "mood", "kind": "tag.mood", "text": "Mood?", "choices": ["calm", "sad"]}
OWN = (
    '<View><Audio name="audio" value="$audio"/><Header value="$title"/><Choices name="mood" toName="audio">'
    '<Choice value="ruhig" alias="calm"/><Choice value="sad"/></Choices></View>'
)


def test_every_question_has_a_control_with_its_values_as_they_are_stored() -> None:
    asked = campaign()
    found = controls(interface(asked))
    assert found == {
        each.name: Shown(each.control, each.values, each.multiple and bool(each.values), each.kind) for each in asked.questions
    }
    assert check_interface(interface(asked), asked) == []


def test_words_are_read_instead_of_a_value_and_no_word_is_taken_for_a_column() -> None:
    screen = ET.fromstring(interface(campaign()))
    (sung,) = screen.findall(".//Labels[@name='singing']/Label")
    assert (sung.get("value"), sung.get("alias"), sung.get("hotkey")) == ("Somebody sings", "yes", "5")
    columns = [
        tag.get("value") for tag in screen.iter() if "$" in (tag.get("value") or "") and "\u2060$\u2060" not in (tag.get("value") or "")
    ]
    assert columns == ["$title", "$audio"]


def test_keys_are_given_once_and_not_to_long_lists() -> None:
    screen = ET.fromstring(interface(campaign()))
    keys = [tag.get("hotkey") for tag in screen.iter() if tag.tag in ("Choice", "Label") and tag.get("hotkey")]
    assert len(set(keys)) == len(keys) > 20
    assert not screen.findall(".//Choices[@name='genre']//Choice[@hotkey]")
    assert screen.find(".//Filter[@toName='genre']") is not None


def test_colours_differ_and_are_read_on_white_and_on_black() -> None:
    def parts(text: str) -> tuple[float, float, float]:
        return int(text[1:3], 16) / 255, int(text[3:5], 16) / 255, int(text[5:7], 16) / 255

    colours = [parts(colour(index)) for index in range(24)]
    dark = luminance(*parts("#1f1f1f")) + 0.05
    for each in colours:
        assert 1.05 / (luminance(*each) + 0.05) >= 2.9
        assert (luminance(*each) + 0.05) / dark >= 2.9
    assert min(sum((one - other) ** 2 for one, other in zip(*pair, strict=True)) ** 0.5 for pair in combinations(colours, 2)) > 0.12
    labels = ET.fromstring(interface(campaign())).findall(".//Label")
    assert len({label.get("background") for label in labels}) == len(labels)


def test_a_leads_own_screen_is_taken_as_it_is(tmp_path: Path) -> None:
    from pipelines.places import load_toml

    (tmp_path / "own.xml").write_text(OWN)
    (tmp_path / "moods.toml").write_text(
        'name = "moods"\ntitle = "Moods"\ninterface = "own.xml"\n'
        '[[questions]]\nname = "mood"\nkind = "tag"\ntext = "?"\nchoices = ["calm", "sad"]\n'
    )
    assert interface(load_toml(tmp_path / "moods.toml", Campaign)) == OWN


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</View>", "", "not XML: "),
        ("<View>", '<!DOCTYPE x [<!ENTITY a "b">]><View>', "a DOCTYPE or ENTITY is not allowed"),
        ('name="mood"', 'name="moods"', 'question \'mood\' has no control; add <Choices name="mood" toName="audio">'),
        ('name="mood"', 'name="moods"', "<Choices> 'moods' belongs to no question; there are mood"),
        ('toName="audio"', 'toName="sound"', "<Choices> 'mood': toName is 'sound', not 'audio'"),
        ("Choices", "Labels", "question 'mood' needs a <Choices>, not a <Labels>"),
        ('<Choice value="sad"/>', "", "question 'mood': no 'sad' to choose"),
        ('value="sad"', 'value="bad"', "question 'mood': 'bad' is not among its choices"),
        ('value="sad"', 'value="calm"', "question 'mood': 'calm' stands 2 times"),
        ('toName="audio">', 'toName="audio" choice="multiple">', "question 'mood' takes one answer; its control does not"),
        ('toName="audio">', 'toName="audio" perRegion="true">', "perRegion and perItem are not read back"),
        ("$title", "$titel", "<Header>: tasks have no column 'titel'; there are audio, title, "),
        ("$audio", "$wav", "<Audio> 'audio': tasks have no column 'wav'"),
        ("$audio", "$wav", 'there is to be one: <Audio name="audio" value="$audio"/>'),
        ("</View>", "<Knob/></View>", "<Knob>: Label Studio knows no such tag"),
        ("</View>", '<Rating name="stars" toName="audio"/></View>', "<Rating> 'stars' belongs to no question"),
        ("</View>", '<Filter name="mood" toName="mood"/></View>', "the name 'mood' is given 2 times"),
        ("</View>", '<Filter name="f" toName="moods"/></View>', "<Filter> 'f': toName 'moods' is the name of no tag"),
    ],
)
def test_a_leads_own_screen_that_does_not_fit_is_refused(old: str, new: str, message: str) -> None:
    asked = campaign(MOOD, interface=OWN.replace(old, new))
    with pytest.raises(ValueError, match=r"^interface: ") as error:
        interface(asked)
    assert message in str(error.value)


def test_what_answers_would_lose_is_told() -> None:
    first = interface(campaign())
    assert removed(first, first) == {}
    fewer = [dict(each) for each in QUESTIONS if each["name"] != "remark"]
    fewer[0]["choices"] = {"Calm": ["mellow", "angry"]}
    fewer[1]["choices"] = fewer[1]["choices"][:298]
    fewer[5]["regions"] = False
    fewer[-1]["kind"] = "tag.range"
    lost = removed(first, interface(campaign(*fewer)))
    assert lost == {"genre": ("genre 298", "genre 299"), "part": None, "mine": None, "remark": None}
    reworded = [each | {"text": "?", "shown": {}} for each in QUESTIONS]
    assert removed(first, interface(campaign(*reworded))) == {}


@pytest.mark.slow
def test_the_real_server_takes_every_question_and_reads_the_same_choices(studio: RunningStudio) -> None:
    from label_studio_sdk import LabelStudio

    client = LabelStudio(base_url=studio.url, api_key=studio.token, max_retries=0)
    asked = campaign()
    project = client.projects.create(title="A screen", label_config=interface(asked))
    try:
        read = client.projects.get(id=project.id).parsed_label_config or {}
        assert {name: (each["type"], tuple(each["labels"])) for name, each in read.items()} == {
            each.name: (each.control, each.values) for each in asked.questions
        }
        assert all(each["to_name"] == ["audio"] and each["inputs"][0]["value"] == "audio" for each in read.values())
        client.projects.validate_label_config(id=project.id, label_config=interface(campaign(*reversed(QUESTIONS))))
    finally:
        client.projects.delete(id=project.id)


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["name"])
def test_the_real_server_stores_guesses_said_with_any_value(studio: RunningStudio, question: dict[str, Any]) -> None:
    from label_studio_sdk import LabelStudio

    client = LabelStudio(base_url=studio.url, api_key=studio.token, max_retries=0)
    asked = campaign(question).questions[0]
    project = client.projects.create(title="A guess", label_config=interface(campaign(question)))
    try:
        task = client.projects.import_tasks(id=project.id, request=[{"data": {"audio": "x"}}], return_task_ids=True).task_ids[0]
        of = {"from_name": asked.name, "to_name": "audio", "type": asked.control.lower()}
        values: list[dict[str, Any]] = {
            "Choices": [{"choices": [value]} for value in asked.values],
            "Labels": [{"start": 1.0, "end": 1.0 if asked.moment else 2.0, "channel": 0, "labels": [value]} for value in asked.values],
            "Number": [{"number": 120.5}],
            "TextArea": [{"text": ["schön 🎹"]}],
        }[asked.control]
        results = [[of | {"id": "r1", "value": value}] for value in values]
        sent = [{"task": task, "model_version": "m@1", "score": 0.5, "result": result} for result in results]
        # The server drops what does not fit its screen and says nothing of it, except by this number.
        assert client.projects.import_predictions(id=project.id, request=sent).created == len(values)
    finally:
        client.projects.delete(id=project.id)
