"""What values of labels mean: what is right passes, what is wrong is named, and what is written can be read."""

from __future__ import annotations

import math

import mir_eval
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation import kinds


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tag", "calm"),
        ("tag.gtzan", "hip-hop"),
        ("instrument", "Acoustic Grand Piano"),
        ("singing_voice", "yes"),
        ("music_speech", "neither"),
        ("key", "F# minor"),
        ("key", "Db mixolydian"),
        ("key", "N"),
        ("tempo", "120.0000"),
        ("meter", "12/8"),
        ("beat", "4"),
        ("beat", "2.5"),
        ("beat", ""),
        ("beat.position", "3 0 6/8"),
        ("downbeat", "1"),
        ("onset", ""),
        ("chord", "N"),
        ("chord", "Bb:maj7(*3,b13)/5"),
        ("chord", "F##:(1,5)"),
        ("chord.harte", "F#:min7/b3"),
        ("note", "0"),
        ("note", "127 127"),
        ("note", "60.25 1"),
        ("section", "verse 1"),
        ("pitch_contour", "-440.0"),
        ("pitch_contour.3", "0.0"),
        ("text", ""),
        ("composer", "Bach"),
        ("vocal_range", "C3-G5"),
        ("mine.tempo", "fast"),
    ],
)
def test_values_that_mean_something_pass(kind: str, value: str) -> None:
    kinds.check(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tag", " "),
        ("tag.gtzan", ""),
        ("singing_voice", "Yes"),
        ("music_speech", "noise"),
        ("key", "C"),
        ("key", "H minor"),
        ("key", "C major "),
        ("tempo", "0"),
        ("tempo", "-120"),
        ("tempo", "nan"),
        ("tempo", "1e999"),
        ("tempo", "fast"),
        ("meter", "6/7"),
        ("meter", "0/4"),
        ("beat", "0"),
        ("beat", "one"),
        ("beat.position", "3"),
        ("downbeat", "2"),
        ("chord", "Hmin"),
        ("chord", "C:minor"),
        ("chord", "C/"),
        ("chord", ""),
        ("chord.harte", "C:sus2"),
        ("chord.harte", "X"),
        ("note", "128"),
        ("note", "-1"),
        ("note", "C4"),
        ("note", "60 128"),
        ("note", "60  92"),
        ("pitch_contour", "inf"),
        ("license", ""),
    ],
)
def test_a_value_that_means_nothing_is_named_with_its_kind_and_what_would_be_right(kind: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"^\S+ '.*': not \S.*$") as error:
        kinds.check(kind, value)
    assert str(error.value).startswith(f"{kind} {value!r}: not ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("quality", [name for name in mir_eval.chord.QUALITIES if name])
def test_every_quality_that_mir_eval_knows_is_a_chord(quality: str) -> None:
    chord = f"Eb:{quality}(11)/b7"
    mir_eval.chord.validate_chord_label(chord)
    assert kinds.parse_chord(chord) == ("Eb", f":{quality}(11)/b7")


@given(st.text("ABCDFGNX#b:/(),*majinsud123567913", max_size=12))
def test_a_chord_is_what_mir_eval_takes_for_one(text: str) -> None:
    try:
        mir_eval.chord.validate_chord_label(text)
        right = True
    except mir_eval.chord.InvalidChordException:
        right = False
    try:
        kinds.check("chord", text)
        passed = True
    except ValueError:
        passed = False
    assert passed == right


@given(st.floats(0, 127), st.none() | st.integers(0, 127))
def test_a_note_that_is_written_is_read_exactly(pitch: float, velocity: int | None) -> None:
    text = kinds.format_note(pitch, velocity)
    kinds.check("note", text)
    assert kinds.parse_note(text) == (pitch, velocity)


@given(st.floats(0, 20000), st.booleans())
def test_a_frequency_that_is_written_is_read_exactly_with_its_voicing(frequency: float, voiced: bool) -> None:
    frequency = abs(frequency)
    text = kinds.format_pitch_contour(frequency, voiced)
    kinds.check("pitch_contour", text)
    assert kinds.parse_pitch_contour(text) == (frequency, voiced)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_written_is_read_exactly(value: float) -> None:
    assert kinds.number(kinds.format_number(value)) == value


@pytest.mark.parametrize("value", ["F# minor", "Bb major", "N", "E locrian"])
def test_a_key_that_is_read_is_written_as_it_was(value: str) -> None:
    assert kinds.format_key(*kinds.parse_key(value)) == value


@pytest.mark.parametrize("value", ["N", "X", "C", "Ab:min", "F#:min7/b3", "G:(1,*5)", "D/5"])
def test_a_chord_that_is_read_is_written_as_it_was(value: str) -> None:
    root, rest = kinds.parse_chord(value)
    assert root in ("N", "X", "C", "Ab", "F#", "G", "D")
    assert kinds.format_chord(root, rest) == value


def test_a_taxonomy_belongs_to_its_kind_and_what_nobody_knows_to_itself() -> None:
    given_to = {
        "tag": "tag",
        "tag.gtzan": "tag",
        "section.multi.2": "section",
        "jams.vector": "jams.vector",
        "mine": "mine",
        "my.tag": "my.tag",
    }
    assert {kind: kinds.base(kind) for kind in given_to} == given_to


def test_a_whole_number_is_written_without_a_point_and_infinity_is_refused() -> None:
    assert [kinds.format_number(value) for value in (60, 60.0, 60.5, -0.5)] == ["60", "60", "60.5", "-0.5"]
    with pytest.raises(OverflowError):
        kinds.format_number(math.inf)
