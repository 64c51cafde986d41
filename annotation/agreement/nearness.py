"""How near two keys, tempi or chords are, and by which mistake they differ.

Nobody is the reference: what depends on the order of two answers is taken both ways.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

from annotation.kinds import number, parse_chord, parse_key, pitch_class

# What MIREX gives for each relation of two keys, as in mir_eval: Raffel et al., ISMIR 2014.
KEY_WEIGHTS = {"same": 1.0, "fifth": 0.5, "relative": 0.3, "parallel": 0.2, "other": 0.0}
TEMPO_TOLERANCE = 0.04
# Accuracy 1 and 2 of Gouyon et al., An experimental comparison of audio tempo induction algorithms, IEEE TASLP 14(5), 2006.
TEMPO_RATIOS = {"same": 1, "double": 2, "triple": 3}
# Qualities that mir_eval does not know, as the nearest one that is the same for major and minor.
_NEAREST_QUALITY = {":aug7": ":aug", ":maj11": ":maj9"}
_SHARED_NAMES = {"ionian": "major", "aeolian": "minor"}


def key_relation(one: str, other: str) -> str:
    """One of KEY_WEIGHTS; a fifth up or down, the relative or the parallel key in either order. "N" is the same as "N" alone.

    >>> key_relation("Db major", "C# major"), key_relation("C major", "F major"), key_relation("A minor", "C major")
    ('same', 'fifth', 'relative')

    Raises:
        ValueError: not a key.
    """
    (tonic, mode), (other_tonic, other_mode) = parse_key(one), parse_key(other)
    mode, other_mode = _SHARED_NAMES.get(mode, mode), _SHARED_NAMES.get(other_mode, other_mode)
    if "N" in (tonic, other_tonic):
        return "same" if tonic == other_tonic else "other"
    up = (pitch_class(other_tonic) - pitch_class(tonic)) % 12
    if mode == other_mode:
        return "same" if up == 0 else "fifth" if up in (5, 7) else "other"
    if (mode, other_mode, up) in (("major", "minor", 9), ("minor", "major", 3)):
        return "relative"
    return "parallel" if up == 0 else "other"


def tempo_relation(one: float, other: float, tolerance: float = TEMPO_TOLERANCE) -> str:
    """One of TEMPO_RATIOS, or "other".

    Args:
        one, other: beats per minute, above 0.
        tolerance: how much faster than the slower one, at the same level, the faster one may be.

    >>> tempo_relation(120, 124), tempo_relation(62, 121), tempo_relation(60, 182), tempo_relation(90, 120)
    ('same', 'double', 'triple', 'other')
    """
    ratio = max(one, other) / min(one, other)
    for relation, factor in TEMPO_RATIOS.items():
        if abs(math.log(ratio / factor)) <= math.log1p(tolerance) + 1e-9:
            return relation
    return "other"


def tempo(value: str) -> float:
    """Beats per minute.

    Raises:
        ValueError: not a number above 0.
    """
    if (found := float(number(value))) > 0:
        return found
    raise ValueError(f"tempo {value[:60]!r}: not above 0")


@lru_cache(16384)  # the same two chords come again and again
def chord_match(one: str, other: str) -> float:
    """1 where two chords are the same as major, minor or none, else 0; nan where neither can be brought to that.

    By mir_eval.chord.majmin, in the order that can be compared, the first if both can.

    >>> chord_match("C:maj7", "C"), chord_match("C", "C:min"), chord_match("C:dim", "C:sus4")
    (1.0, 0.0, nan)

    Raises:
        ValueError: not a chord.
    """
    import mir_eval

    if "X" in (parse_chord(one)[0], parse_chord(other)[0]):
        return math.nan  # some chord: nothing to compare
    for name, known in _NEAREST_QUALITY.items():
        one, other = one.replace(name, known), other.replace(name, known)
    for reference, estimate in ((one, other), (other, one)):
        if (found := float(mir_eval.chord.majmin([reference], [estimate])[0])) >= 0:
            return found
    return math.nan


def chords_match(one: Sequence[tuple[float, float, str]], other: Sequence[tuple[float, float, str]]) -> float:
    """The share of the time at which two people's chords match, of that at which they can be compared; nan where that is none.

    Args:
        one, other: (start, end, chord) in seconds; between them no chord ("N") plays, and of two at once the one that began first counts.
            Time for which neither names a chord is left out.
    """
    edges = sorted({edge for start, end, _ in (*one, *other) for edge in (start, end)})
    compared = matched = 0.0
    for start, end in itertools.pairwise(edges):
        here = [next((chord for begin, stop, chord in sorted(spans) if begin <= start and end <= stop), "N") for spans in (one, other)]
        if here != ["N", "N"] and not math.isnan(score := chord_match(*here)):
            compared += end - start
            matched += (end - start) * score
    return matched / compared if compared else math.nan
