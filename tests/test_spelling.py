"""Names of keys and chords, transposed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.spelling import transposed_chord, transposed_key, whole

MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
KEYS = [f"{tonic} major" for tonic in MAJOR] + [f"{tonic} minor" for tonic in MINOR]
RESTS = ("", ":min7/b3", ":7", ":(1,b3,5)", "/5", ":maj(9)")
_keys = st.sampled_from(KEYS)
_chords = st.builds("{}{}".format, st.sampled_from(MAJOR), st.sampled_from(RESTS))
_steps = st.integers(-30, 30)


def pitch_class(name: str) -> int:
    """Of a root or tonic, counted by hand."""
    return ("C D EF G A B".index(name[0]) + name.count("#") - name.count("b")) % 12


@pytest.mark.parametrize(("names", "mode"), [(MAJOR, "major"), (MINOR, "minor")])
def test_every_key_is_spelled_as_convention_has_it(names: tuple[str, ...], mode: str) -> None:
    assert [transposed_key(f"C {mode}", steps) for steps in range(12)] == [f"{name} {mode}" for name in names]


def test_church_modes_are_spelled_with_the_signature_of_their_major_key() -> None:
    assert transposed_key("D dorian", 1) == "Eb dorian"  # five flats, as Db major
    assert transposed_key("G mixolydian", 6) == "C# mixolydian"  # six sharps, as F# major


def test_no_key_and_no_chord_stay() -> None:
    assert [transposed_key("N", 1), transposed_chord("N", 1), transposed_chord("X", 1)] == ["N", "N", "X"]
    assert transposed_chord("E", 2, "N") == "F#"


@pytest.mark.parametrize(
    ("semitones", "steps"), [(0.5, 0), (-0.5, 0), (0.51, 1), (-0.51, -1), (1.5, 1), (-1.5, -1), (2.4, 2), (-2.6, -3), (0.0, 0)]
)
def test_the_nearest_semitone_counts_and_exactly_half_goes_towards_zero(semitones: float, steps: int) -> None:
    assert whole(semitones) == steps
    assert transposed_key("C major", semitones) == f"{MAJOR[steps % 12]} major"


@pytest.mark.parametrize(
    ("chord", "key", "steps", "moved"),
    [
        ("E", "C major", 1, "F"),
        ("G#", "C major", 1, "A"),
        ("Ab", "C major", 1, "Bbb"),
        ("D#:dim7", "E minor", -2, "C#:dim7"),
        ("Bb:7/3", "F major", 1, "B:7/3"),
    ],
)
def test_in_a_key_a_chord_keeps_its_place(chord: str, key: str, steps: int, moved: str) -> None:
    assert transposed_chord(chord, steps, key) == moved


@given(_chords, _steps, st.none() | _keys)
def test_a_chord_moves_by_so_many_semitones_and_all_but_its_root_stays(chord: str, steps: int, key: str | None) -> None:
    moved = transposed_chord(chord, steps, key)
    root = chord[:2].rstrip(":/")
    rest = chord[len(root) :]
    assert moved.endswith(rest)
    assert pitch_class(moved.removesuffix(rest)) == (pitch_class(root) + steps) % 12


@given(_keys, _steps, _steps)
def test_keys_moved_twice_are_keys_moved_by_the_sum(key: str, first: int, second: int) -> None:
    assert transposed_key(transposed_key(key, first), second) == transposed_key(key, first + second)


@given(_chords, _steps, _steps, st.none() | _keys)
def test_chords_moved_twice_are_chords_moved_by_the_sum(chord: str, first: int, second: int, key: str | None) -> None:
    once = transposed_chord(chord, first, key)
    assert transposed_chord(once, second, key and transposed_key(key, first)) == transposed_chord(chord, first + second, key)


@given(st.sampled_from(["Gb major", "C# minor", "Cb major", "A# minor", "D lydian"]), st.sampled_from([-24, -12, 0, 12, 36]))
def test_an_octave_leaves_names_as_they_are_written(key: str, steps: int) -> None:
    assert transposed_key(key, steps) == key
    assert transposed_chord("A#:min", steps, key) == "A#:min"


@pytest.mark.parametrize("key", ["H minor", "c minor", "F# moll", "", "F#m"])
def test_what_is_no_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"^key '{key}': not a tonic and a mode"):
        transposed_key(key, 0)


@pytest.mark.parametrize("chord", ["H", "C:major7", "Am", "C:maj/", ""])
def test_what_is_no_chord_is_named(chord: str) -> None:
    with pytest.raises(ValueError, match=rf"^chord '{chord}': not a chord in Harte's syntax"):
        transposed_chord(chord, 0)
