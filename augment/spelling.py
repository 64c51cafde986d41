"""Names of keys and chords, transposed and spelled as musicians would.

Names are places on the line of fifths (… Bb F C G D A E B F# …): C is 0, each step to the right is a fifth higher and, every seven
steps, one sharp more. A semitone up is seven steps to the right, or five to the left: the same key of the piano under another name.
"""

from __future__ import annotations

import math

from annotation.kinds import format_chord, format_key, parse_chord, parse_key

_LETTERS = "FCGDAEB"

# How many fifths a mode's tonic lies above that of the major key with the same signature.
_ABOVE = {"lydian": -1, "major": 0, "ionian": 0, "mixolydian": 1, "dorian": 2, "minor": 3, "aeolian": 3, "phrygian": 4, "locrian": 5}


def whole(semitones: float) -> int:
    """The nearest whole number of semitones, by which names move; the rest is tuning. Exactly half goes towards zero.

    >>> whole(1.6), whole(0.5), whole(-0.5), whole(-1.5)
    (2, 0, 0, -1)
    """
    return int(math.copysign(math.ceil(abs(semitones) - 0.5), semitones))


def transposed_key(key: str, semitones: float) -> str:
    """A key's name, moved and spelled with the signature in use: five flats to six sharps, and Eb minor with its six flats.

    Args:
        key: tonic and mode, as in "F# minor", or "N" for none.
        semitones: the nearest whole number counts; at multiples of the octave a name stays as it is written.
    Raises:
        ValueError: not a key.

    >>> transposed_key("C major", 2), transposed_key("F# minor", -2), transposed_key("Bb major", 3), transposed_key("D minor", 1.4)
    ('D major', 'E minor', 'Db major', 'Eb minor')
    """
    tonic, mode = parse_key(key)
    steps = whole(semitones) % 12
    if not steps or tonic == "N":
        return key
    lowest = _ABOVE[mode] - (6 if mode in ("minor", "aeolian") else 5)
    return format_key(_name(_moved(_place(tonic), steps, lowest)), mode)


def transposed_chord(chord: str, semitones: float, key: str | None = None) -> str:
    """A chord's name in Harte's syntax, its root moved. Shorthand, degrees and bass are relative to the root and stay.

    Args:
        chord: as in "F#:min7/b3"; "N" (no chord) and "X" (unknown) stay.
        semitones: the nearest whole number counts; at multiples of the octave a name stays as it is written.
        key: the key that sounded with it before it was moved; the root keeps its place in it. Without one (or with "N") the root
            gets the name that is nearest to C, Db to F#.
    Raises:
        ValueError: not a chord, or not a key.
    Source:
        Harte, Sandler, Abdallah, Gómez: Symbolic representation of musical chords, ISMIR 2005.

    >>> transposed_chord("F#:min7/b3", 1), transposed_chord("G#", 1), transposed_chord("N", 1)
    ('G:min7/b3', 'A', 'N')
    >>> transposed_chord("E:7", 2), transposed_chord("E:7", 2, key="A minor"), transposed_chord("Ab", 2, key="C minor")
    ('F#:7', 'F#:7', 'Bb')
    >>> transposed_chord("B", 6), transposed_chord("B", 6, key="C major")
    ('F', 'E#')
    """
    root, rest = parse_chord(chord)
    steps = whole(semitones) % 12
    if not steps or root in ("N", "X"):
        return chord
    if key is None or key == "N":
        return format_chord(_name(_moved(_place(root), steps, -5)), rest)
    before, after = parse_key(key)[0], parse_key(transposed_key(key, steps))[0]
    return format_chord(_name(_place(root) + _place(after) - _place(before)), rest)


def _moved(place: int, steps: int, lowest: int) -> int:
    """The one of twelve neighbouring places that is so many semitones higher, give or take octaves."""
    return (place + 7 * steps - lowest) % 12 + lowest


def _place(name: str) -> int:
    """Where on the line of fifths a name is: C 0, G 1, F -1, F# 6, Bb -2."""
    return _LETTERS.index(name[0]) - 1 + 7 * (name.count("#") - name.count("b"))


def _name(place: int) -> str:
    """The name at a place on the line of fifths."""
    sharps, letter = divmod(place + 1, 7)
    return _LETTERS[letter] + "#" * sharps + "b" * -sharps
