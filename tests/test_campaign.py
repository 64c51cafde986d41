"""A campaign's file says what people are asked; a mistake in it is named with its line, before anybody is invited."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotation.campaign import Campaign
from annotation.kinds import check
from annotation.question import Question
from pipelines.places import FileError, load_toml

HEAD = 'name = "moods"\ntitle = "Moods 🎧"\n'
MOOD = '[[questions]]\nname = "mood"\nkind = "tag.mood"\ntext = "Which mood?"\nchoices = ["calm", "sad"]\n'
VOICE = '[[questions]]\nname = "voice"\nkind = "singing_voice"\ntext = "Who sings?"\nregions = true\n'
FULL = (
    HEAD
    + 'instructions = """\nname = "not a setting"\n[clips]\n"""\n'
    + MOOD
    + 'multiple = true\nshown = { calm = "ruhig 🧘" }\nhotkeys = { calm = "c" }\n'
    + VOICE
    + """
[clips]
seconds = 15
where = [["seconds", ">", 10], ["license", "in", ["CC0", "CC-BY"]]]
limit = 1000
order = "random"
[overlap]
annotators = 3
shared = 0.1
team = 5
[predictions]
table = "musicnn"
[predictions.map.mood]
"mellow vocal" = "calm"
[predictions.map.voice]
"female vocal" = "yes"
[predictions.thresholds.mood]
calm = 0.3
[audio]
format = "ogg"
base_url = "https://host/clips/"
"""
)


def campaign(folder: Path, text: str) -> Campaign:
    path = folder / "moods.toml"
    path.write_text(text, encoding="utf-8")
    return load_toml(path, Campaign, hint="name a campaign")


def asked(folder: Path, question: str) -> Question:
    return campaign(folder, HEAD + "[[questions]]\n" + question).questions[0]


def test_two_questions_of_one_kind_with_other_choices_or_other_forms_are_told_apart(tmp_path: Path) -> None:
    again = MOOD.replace('"mood"', '"again"')
    for second in (again.replace('["calm", "sad"]', '["wild"]'), again + "regions = true\n"):
        assert len(campaign(tmp_path, HEAD + MOOD + second).questions) == 2


def test_a_campaign_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = campaign(tmp_path, FULL)
    assert (read.title, read.clips.seconds, read.overlap.team, read.audio.base_url) == ("Moods 🎧", 15.0, 5, "https://host/clips")
    assert [(each.column, each.op, each.value) for each in read.clips.where] == [
        ("seconds", ">", 10),
        ("license", "in", ["CC0", "CC-BY"]),
    ]
    assert read.question("mood").shown == {"calm": "ruhig 🧘"}
    assert read.predictions is not None
    assert read.predictions.map["mood"] == {"mellow vocal": "calm"}


def test_conditions_are_such_as_pyarrow_filters_by(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tracks = pa.table({"seconds": [5.0, 20.0, 30.0], "license": ["CC0", "CC-BY", "all rights reserved"]})
    where = [(each.column, each.op, each.value) for each in campaign(tmp_path, FULL).clips.where]
    assert tracks.filter(pq.filters_to_expression(where)).column("seconds").to_pylist() == [20.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.split("title")[0] + MOOD, "moods.toml: title: Field required"),
        (HEAD + "questions = []\n", "moods.toml, line 3: questions: "),
        ('name = "no"\ntitle = "Moods"\n' + MOOD, "moods.toml, line 1: name: String should match pattern"),
        ('name = "Mood_1"\ntitle = "Moods"\n' + MOOD, "line 1: name: "),
        ('name = "moods"\ntitle = "Mo"\n' + MOOD, "line 2: title: String should have at least 3 characters"),
        ('name = "moods"\ntitle = "' + "🎧" * 51 + '"\n' + MOOD, "line 2: title: String should have at most 50 characters"),
        ('name = "moods"\ntitle = "Mo\\u0000ods"\n' + MOOD, "line 2: title: 'Mo\\x00ods' has the character '\\x00'"),
        (HEAD + "blind = true\n" + MOOD, "line 3: blind: no such setting; there are audio, clips, gold, "),
        (HEAD + MOOD + 'colour = "red"\n', "line 8: questions[0].colour: no such setting; there are choices, hotkeys, "),
        (
            HEAD + MOOD.replace('"sad"', '"Calm"'),
            "line 7: questions[0].choices: 'Calm' reads like 'calm'; people could not tell them apart",
        ),
        (HEAD + MOOD.replace('"sad"', '"calm"'), "questions[0].choices: 'calm' reads like 'calm'"),
        (HEAD + MOOD.replace('"sad"', '" sad"'), "line 7: questions[0].choices: ' sad' is blank, or begins or ends with a space"),
        (HEAD + MOOD + 'shown = { calm = "sad" }\n', "questions[0].choices: 'sad' reads like 'calm'"),
        (HEAD + MOOD + 'shown = { cam = "x" }\n', "line 8: questions[0].shown: 'cam' is not one of the choices: calm, sad"),
        (HEAD + MOOD + 'hotkeys = { calm = "u" }\n', "line 8: questions[0].hotkeys: 'u' (for 'calm') is not a key to use"),
        (HEAD + MOOD + 'hotkeys = { calm = "x", sad = "x" }\n', "line 8: questions[0].hotkeys: 'x' is taken (by mood)"),
        (HEAD + MOOD + MOOD, "questions[0].name: 'mood' is taken; each question has a name of its own"),
        (HEAD + MOOD + MOOD.replace('"mood"', '"again"'), "questions[1].kind: 'tag.mood' is asked by 'mood' too"),
        (HEAD + MOOD.replace('"mood"', '"audio"'), "line 4: questions[0].name: 'audio' is the sound's own name"),
        (
            HEAD + MOOD.replace('choices = ["calm", "sad"]\n', ""),
            "line 3: questions[0].choices: missing; say what may be chosen for 'tag.mood'",
        ),
        (HEAD + MOOD.replace("tag.mood", "key"), "line 7: questions[0].choices: key 'calm': not a tonic and a mode"),
        (HEAD + MOOD.replace("tag.mood", "tempo"), "line 7: questions[0].choices: 'tempo' is answered by one number"),
        (HEAD + VOICE.replace("singing_voice", "text"), "line 7: questions[0].regions: 'text' is asked of the whole clip"),
        (HEAD + VOICE.replace("singing_voice", "beat").replace("true", "false"), "line 7: questions[0].regions: 'beat' is said of moments"),
        (HEAD + MOOD + "[clips]\nseconds = 3600\n", "line 9: clips.seconds: Input should be less than or equal to 1800, got 3600"),
        (HEAD + MOOD + '[clips]\nwhere = [["seconds", "=>", 3]]\n', "line 9: clips.where[0].op: Input should be '==', '!=', "),
        (HEAD + MOOD + '[clips]\nwhere = [["seconds", ">"]]\n', "line 9: clips.where[0]: a condition is [column, operator, value]"),
        (HEAD + MOOD + '[clips]\nwhere = [["license", "in", "CC0"]]\n', "line 9: clips.where[0].value: in takes a list, got 'CC0'"),
        (
            HEAD + MOOD + "[overlap]\nannotators = 3\nshared = 0.5\n",
            "line 8: overlap.team: 0, but 3 hear each clip; say how many there are",
        ),
        (HEAD + MOOD + '[gold]\nfile = "gold.parquet"\n', "line 9: gold.file: 'gold.parquet' is not there"),
        (
            HEAD + MOOD + '[predictions]\ntable = "musicnn"\n[predictions.map.mood]\nmellow = "clam"\n',
            "line 10: predictions.map.mood: 'clam' is not a choice of 'mood'; there are calm, sad",
        ),
        (
            HEAD + MOOD + '[predictions]\ntable = "m"\nmap.moods.mellow = "calm"\n',
            "predictions.map.moods: no such question; there are mood",
        ),
        (
            HEAD + MOOD + '[predictions]\ntable = "m"\nmap.mood.mellow = "calm"\nthresholds.mood.happy = 0.5\n',
            "predictions.thresholds.mood: 'happy' is not a choice of 'mood'",
        ),
        (HEAD + MOOD + '[audio]\nbase_url = "host:8090"\n', "line 9: audio.base_url: not an address as http://host:8090"),
        (HEAD + 'interface = "mine.xml"\n' + MOOD, "line 3: interface: 'mine.xml' cannot be read (No such file or directory)"),
        (HEAD + MOOD.replace('choices = ["calm", "sad"]', 'taxonomy = "moods.txt"'), "line 7: questions[0].taxonomy: "),
        (HEAD + MOOD + 'taxonomy = "moods.txt"\n', "line 8: questions[0].taxonomy: there are choices as well; keep one of the two"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileError) as error:
        campaign(tmp_path, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_lines_of_a_text_within_the_file_are_no_settings(tmp_path: Path) -> None:
    text = FULL.replace("limit = 1000", "limit = -1").replace('[clips]\n"""', '[clips]\nlimit = 3\n"""')
    line = text.splitlines().index("limit = -1") + 1
    with pytest.raises(FileError, match=rf"^moods.toml, line {line}: clips.limit: .*, got -1$"):
        campaign(tmp_path, text)


def test_a_campaign_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no.toml: No such file or directory; name a campaign$"):
        load_toml(tmp_path / "no.toml", Campaign, hint="name a campaign")


@pytest.mark.parametrize(
    ("question", "control"),
    [
        ('name = "a"\nkind = "key"\ntext = "Key?"\n', "Choices"),
        ('name = "a"\nkind = "key"\ntext = "Keys?"\nregions = true\n', "Labels"),
        ('name = "a"\nkind = "tempo"\ntext = "How fast?"\n', "Number"),
        ('name = "a"\nkind = "text"\ntext = "What else?"\n', "TextArea"),
        ('name = "a"\nkind = "chord"\ntext = "Chord?"\n', "TextArea"),
        ('name = "a"\nkind = "singing_voice"\ntext = "Sung?"\n', "Choices"),
        ('name = "a"\nkind = "beat"\ntext = "Beats?"\nregions = true\n', "Labels"),
        ('name = "a"\nkind = "onset"\ntext = "Onsets?"\nregions = true\n', "Labels"),
        ('name = "a"\nkind = "vocal_range"\ntext = "Range?"\nchoices = ["high", "low"]\n', "Choices"),
    ],
)
def test_a_kind_brings_its_control_and_choices_that_mean_something(tmp_path: Path, question: str, control: str) -> None:
    read = asked(tmp_path, question)
    assert read.control == control
    assert bool(read.values) == (control in ("Choices", "Labels"))
    for value in read.values:
        check(read.kind, value)
    assert read.moment == (read.kind in ("beat", "onset"))


def test_a_key_is_asked_with_all_24(tmp_path: Path) -> None:
    read = asked(tmp_path, 'name = "key"\nkind = "key"\ntext = "Key?"\n')
    assert {heading: len(keys) for heading, keys in read.choices.items()} == {"major": 12, "minor": 12}
    assert len(set(read.values)) == 24


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tags.txt", "# moods\n[Calm 🧘]\nmellow\n\n dreamy \n[Tense]\nangry\n"),
        ("tags.csv", 'group,tag\nCalm 🧘,mellow\nCalm 🧘,"dreamy"\nTense,angry\n'),
        ("tags.toml", '"Calm 🧘" = ["mellow", "dreamy"]\nTense = ["angry"]\n'),
    ],
)
def test_a_taxonomy_is_read_from_a_file_beside_the_campaigns(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    read = asked(tmp_path, f'name = "a"\nkind = "tag"\ntext = "Tags?"\ntaxonomy = "{file}"\n')
    assert read.choices == {"Calm 🧘": ("mellow", "dreamy"), "Tense": ("angry",)}


@pytest.mark.parametrize(
    ("file", "text"), [("a.csv", "label\ncalm\n"), ("a.toml", "x = 1\n"), ("a.toml", "x"), ("a.txt", "# none\n"), ("a.xls", "calm")]
)
def test_a_taxonomy_that_is_none_is_named(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=rf"line 7: questions\[0\]\.taxonomy: {file}: "):
        asked(tmp_path, f'name = "a"\nkind = "tag"\ntext = "Tags?"\ntaxonomy = "{file}"\n')


def test_words_change_the_screen_and_not_the_questions(tmp_path: Path) -> None:
    first = campaign(tmp_path, FULL)
    reworded = campaign(tmp_path, FULL.replace("Which mood?", "Welche Stimmung?").replace("ruhig", "leise"))
    assert reworded.screen_digest() != first.screen_digest()
    assert reworded.questions_digest() == first.questions_digest()
    for other in (FULL.replace("tag.mood", "tag"), FULL.replace('"sad"', '"dark"'), FULL.replace("multiple = true\n", "")):
        assert campaign(tmp_path, other).questions_digest() != first.questions_digest()
    unseen = campaign(tmp_path, FULL.replace("limit = 1000", "limit = 9").replace('format = "ogg"', 'format = "mp3"'))
    assert (unseen.screen_digest(), unseen.questions_digest()) == (first.screen_digest(), first.questions_digest())
