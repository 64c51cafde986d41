"""What the values of labels mean: for each known kind how its text is read, written and checked.

A kind may carry a taxonomy or a source after a dot, as in "tag.gtzan"; it then means what the word before the dot means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

_ACCIDENTAL = r"(?:b*|#*)"
_MODES = ("major", "minor", "ionian", "dorian", "phrygian", "lydian", "mixolydian", "aeolian", "locrian")
_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_NUMBER_ALONE = re.compile(_NUMBER)
_NOTE = re.compile(rf"({_NUMBER})(?: ([0-9]{{1,3}}))?")
_KEY = re.compile(rf"([A-G]{_ACCIDENTAL}) ({'|'.join(_MODES)})")
_METER = re.compile(r"([1-9][0-9]{0,2})/(1|2|4|8|16|32|64|128|256)")
_POSITION = re.compile(rf"({_NUMBER}) ([0-9]{{1,9}}) {_METER.pattern}")
_DEGREE = rf"{_ACCIDENTAL}(?:[1-9]|1[0-3])"
_DEGREES = rf"\(\*?{_DEGREE}(?:,\*?{_DEGREE})*\)"
# Harte et al., Symbolic representation of musical chords, ISMIR 2005; JAMS and mir_eval know some qualities more.
_HARTE = "maj|min|dim|aug|maj7|min7|7|dim7|hdim7|minmaj7|maj6|min6|9|maj9|min9|sus4"
_QUALITIES = f"{_HARTE}|1|5|sus2|aug7|11|maj11|min11|13|maj13|min13"


def _chord(qualities: str) -> re.Pattern[str]:
    return re.compile(rf"([A-G]{_ACCIDENTAL})((?::(?:{qualities})(?:{_DEGREES})?|:{_DEGREES})?(?:/{_DEGREE})?)")


_ANY_CHORD, _HARTE_CHORD = _chord(_QUALITIES), _chord(_HARTE)


def base(kind: str) -> str:
    """The known kind that a kind with a taxonomy belongs to; a kind that nobody knows is itself.

    >>> base("tag.gtzan"), base("tag"), base("mine.tag")
    ('tag', 'tag', 'mine.tag')
    """
    word = kind.partition(".")[0]
    return word if word in _KINDS else kind


@lru_cache(4096)  # most values are said again and again
def check(kind: str, value: str) -> None:
    """Whether a value means something; any value of an unknown kind does.

    Raises:
        ValueError: it does not: kind, value, and what would.

    >>> check("key", "H moll")
    Traceback (most recent call last):
    ValueError: key 'H moll': not a tonic and a mode, as in 'F# minor' or 'D dorian', or 'N'
    """
    if not (known := _KINDS.get(kind) or _KINDS.get(base(kind))):
        return
    fits, right = known
    try:
        fitting = fits(value)
    except ValueError:
        fitting = False
    if not fitting:
        raise ValueError(f"{kind} {value[:60]!r}: not {right}")


def number(text: str) -> float:
    """A finite number; a whole one without a point is an int.

    Raises:
        ValueError: not a number.

    >>> number("4"), number("120.0")
    (4, 120.0)
    """
    if _NUMBER_ALONE.fullmatch(text) and math.isfinite(value := float(text)):
        return int(text) if text.lstrip("-").isdigit() else value
    raise ValueError(f"{text[:60]!r} is not a number")


def pitch_class(tonic: str) -> int:
    """Semitones above C, 0 to 11, of a letter with its accidentals.

    >>> pitch_class("C"), pitch_class("F#"), pitch_class("Cb"), pitch_class("Bbb")
    (0, 6, 11, 9)
    """
    return (_NATURAL[tonic[0]] + tonic.count("#") - tonic[1:].count("b")) % 12


def format_number(value: float) -> str:
    """The shortest text that is exactly this number.

    >>> format_number(60.0), format_number(60.5)
    ('60', '60.5')
    """
    return str(int(value)) if value == int(value) else repr(float(value))


def parse_note(value: str) -> tuple[float, int | None]:
    """MIDI pitch (60 is middle C; fractions are cents / 100), and velocity or None.

    Raises:
        ValueError: not a note.

    >>> parse_note("60 92"), parse_note("60.5")
    ((60, 92), (60.5, None))
    """
    if found := _NOTE.fullmatch(value):
        pitch, velocity = number(found[1]), None if found[2] is None else int(found[2])
        if 0 <= pitch <= 127 and (velocity is None or velocity <= 127):
            return pitch, velocity
    raise ValueError(f"note {value[:60]!r}: not {_KINDS['note'][1]}")


def format_note(pitch: float, velocity: int | None = None) -> str:
    """A note's text.

    >>> format_note(61.0, 92), format_note(60.5)
    ('61 92', '60.5')
    """
    return format_number(pitch) if velocity is None else f"{format_number(pitch)} {velocity}"


def parse_pitch_contour(value: str) -> tuple[float, bool]:
    """Frequency in Hz, 0 or more, and whether it is voiced; the text of an unvoiced one is negative, as in mir_eval.

    Raises:
        ValueError: not a frequency.

    >>> parse_pitch_contour("440.0"), parse_pitch_contour("-440.0")
    ((440.0, True), (440.0, False))
    """
    try:
        frequency = float(number(value))
    except ValueError:
        raise ValueError(f"pitch_contour {value[:60]!r}: not {_KINDS['pitch_contour'][1]}") from None
    return abs(frequency), math.copysign(1, frequency) > 0


def format_pitch_contour(frequency: float, voiced: bool = True) -> str:
    """A frequency's text; Hz, 0 or more.

    >>> format_pitch_contour(440.0), format_pitch_contour(440, voiced=False)
    ('440.0', '-440.0')
    """
    return repr(float(frequency if voiced else -frequency))


def parse_key(value: str) -> tuple[str, str]:
    """Tonic and mode; "N" (no key) is a tonic that has no mode.

    Raises:
        ValueError: not a key.

    >>> parse_key("F# minor"), parse_key("N")
    (('F#', 'minor'), ('N', ''))
    """
    if value == "N":
        return "N", ""
    if found := _KEY.fullmatch(value):
        return found[1], found[2]
    raise ValueError(f"key {value[:60]!r}: not {_KINDS['key'][1]}")


def format_key(tonic: str, mode: str) -> str:
    """A key's text.

    >>> format_key("F#", "minor")
    'F# minor'
    """
    return f"{tonic} {mode}".rstrip()


def parse_chord(value: str) -> tuple[str, str]:
    """Root, and all that is said relative to it; "N" (no chord) and "X" (some chord) are roots that have no rest.

    Raises:
        ValueError: not Harte's syntax.

    >>> parse_chord("F#:min7/b3"), parse_chord("C"), parse_chord("N")
    (('F#', ':min7/b3'), ('C', ''), ('N', ''))
    """
    if value in ("N", "X"):
        return value, ""
    if found := _ANY_CHORD.fullmatch(value):
        return found[1], found[2]
    raise ValueError(f"chord {value[:60]!r}: not {_KINDS['chord'][1]}")


def format_chord(root: str, rest: str) -> str:
    """A chord's text.

    >>> format_chord("G", ":min7/b3")
    'G:min7/b3'
    """
    return root + rest


def parse_position(value: str) -> tuple[float, int, int, int]:
    """A beat with all that JAMS says of it: number in the bar, bar, beats in a bar, and the unit of a beat.

    Raises:
        ValueError: not such a beat.

    >>> parse_position("3 12 6/8")
    (3, 12, 6, 8)
    """
    if (found := _POSITION.fullmatch(value)) and (beat := number(found[1])) >= 1:
        return beat, int(found[2]), int(found[3]), int(found[4])
    raise ValueError(f"beat.position {value[:60]!r}: not {_KINDS['beat.position'][1]}")


def _one_of(*values: str) -> tuple[Callable[[str], bool], str]:
    return values.__contains__, f"one of {', '.join(values)}"


_WORDS = (str.strip, "a word or more")
_ANYTHING = (lambda value: True, "")

# For each kind a test of values, which may raise ValueError, and what would be right.
_KINDS: dict[str, tuple[Callable[[str], object], str]] = {
    "tag": _WORDS,
    "instrument": _WORDS,
    "singing_voice": _one_of("yes", "no"),
    "music_speech": _one_of("music", "speech", "both", "neither"),
    "key": (parse_key, "a tonic and a mode, as in 'F# minor' or 'D dorian', or 'N'"),
    "tempo": (lambda value: number(value) > 0, "beats per minute above 0, as in '120.5'"),
    "meter": (_METER.fullmatch, "beats and their unit, as in '6/8'"),
    "beat": (lambda value: value == "" or number(value) >= 1, "a number in the bar, 1 or more, or '' where that is not known"),
    "beat.position": (parse_position, "number in the bar, bar and meter, as in '3 12 4/4'"),
    "downbeat": _one_of("1"),
    "onset": _ANYTHING,
    "chord": (parse_chord, "a chord in Harte's syntax, as in 'F#:min7/b3', 'N' or 'X'"),
    "chord.harte": (
        lambda value: value == "N" or _HARTE_CHORD.fullmatch(value),
        "a chord in Harte's syntax of 2005, as in 'F#:min7/b3' or 'N'",
    ),
    "note": (parse_note, "a MIDI pitch from 0 to 127, as in '60' or '60.5', with a velocity, as in '60 92', or without"),
    "section": _ANYTHING,
    "pitch_contour": (parse_pitch_contour, "a frequency in Hz, as in '440.0', negative where it is unvoiced"),
    "text": _ANYTHING,
    "composer": _WORDS,
    "license": _WORDS,
}
