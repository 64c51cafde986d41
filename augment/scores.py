"""Real scores, read with music21 into plain notes and bars, and played from beginning to end."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from augment.works import Work


@dataclass(frozen=True)
class Note:
    """A note; times in quarter notes. tied: it goes on from the note before it, unless that one is absent."""

    part: int
    onset: float
    duration: float
    pitch: int
    tied: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar as it is played; times in quarter notes.

    phase: where in the meter it begins: 0, but more for an upbeat and for the rest of a bar that a repeat cuts in two.
    """

    start: float
    length: float
    meter: str
    phase: float = 0.0


@dataclass(frozen=True)
class Written:
    """A bar as it is written: its own notes, counted from its beginning."""

    length: float
    meter: str
    notes: tuple[Note, ...]


def full_length(meter: str) -> float:
    """Quarter notes in a bar.

    >>> full_length("6/8"), full_length("2/2")
    (3.0, 4.0)
    """
    return float(4 * Fraction(meter))


def beat_length(meter: str) -> float:
    """Quarter notes in a beat: three of the lower figure in compound meters (6/8, 9/8, 12/8 …), else one (3/8 has three).

    >>> beat_length("4/4"), beat_length("6/8"), beat_length("3/8")
    (1.0, 1.5, 0.5)
    """
    upper, lower = map(int, meter.split("/"))
    return 4 / lower * (3 if upper > 3 and upper % 3 == 0 else 1)


def order(starts: set[int], ends: Mapping[int, int], endings: Mapping[int, set[int]], bars: int) -> list[int]:
    """The order in which bars are played.

    Args:
        starts: bars that open a repeat.
        ends: bars that close one, and how often the stretch is played.
        endings: bars under a bracket, and the passes in which they are played.
        bars: how many there are.

    >>> order({1}, {3: 2}, {3: {1}, 4: {2}}, 6)
    [0, 1, 2, 3, 1, 2, 4, 5]
    """
    played: list[int] = []
    at, start, turn = 0, 0, 1
    while at < bars:
        left_endings = at not in endings and at - 1 in endings and at > start
        if (at in starts and at != start) or left_endings:
            start, turn = at, 1
        if turn in endings.get(at, {turn}):
            played.append(at)
            if turn < ends.get(at, 1):
                at, turn = start, turn + 1
                continue
            if at in ends:
                start, turn = at + 1, 1
        at += 1
    return played


def read(work: Work) -> tuple[Written, ...]:
    """The bars of a work, repeats written out, up to its first change of key signature (so that one key holds).

    Grace notes, chord symbols and percussion are left out; ornaments and tempo marks are not followed; da capo is not taken.
    Nothing is written and nothing downloaded.

    Raises:
        FileNotFoundError: music21 is installed without its corpus.
    """
    from music21 import converter

    package = importlib.util.find_spec("music21")
    path = Path(str(package and package.origin)).parent / "corpus" / work.path
    if not path.exists():
        raise FileNotFoundError(f"{path}: music21 lacks its corpus; pip install --force-reinstall music21")
    # The plain way to parse keeps pickles in the folder for temporary files, and trusts those that lie there.
    parser = converter.Converter()
    parser.parseFileNoPickle(path, number=work.number)
    return _unfold(parser.stream)


def _unfold(score: Any) -> tuple[Written, ...]:
    from music21 import bar, key, spanner

    parts = [list(part.getElementsByClass("Measure")) for part in score.parts]
    first = parts[0]
    count = min(len(part) for part in parts)
    starts: set[int] = set()
    ends: dict[int, int] = {}
    meter, signature = "4/4", None
    written: list[Written] = []
    for index in range(count):
        column = [part[index] for part in parts]
        signatures = [found.sharps for found in first[index].getElementsByClass(key.KeySignature)]
        if signature is not None and any(sharps != signature for sharps in signatures):
            break
        signature = signatures[-1] if signatures else signature
        meter = first[index].timeSignature.ratioString if first[index].timeSignature else meter
        notes = [note for number, measure in enumerate(column) for note in _notes(measure, number)]
        length = min(full_length(meter), max(float(measure.duration.quarterLength) for measure in column))
        # Here and there a file's bar is too long by a cadenza in small notes: what passes its end is cut.
        kept = [replace(note, duration=min(note.duration, length - note.onset)) for note in notes if note.onset < length - 1e-6]
        written.append(Written(length, meter, tuple(kept)))
        for line in (first[index].leftBarline, first[index].rightBarline):
            if isinstance(line, bar.Repeat) and line.direction == "start":
                starts.add(index)
            elif isinstance(line, bar.Repeat):
                ends[index] = line.times or 2
    endings: dict[int, set[int]] = {}
    for bracket in score.parts[0].recurse().getElementsByClass(spanner.RepeatBracket):
        for measure in bracket.getSpannedElements():
            endings[first.index(measure)] = set(bracket.numberRange)
    return tuple(written[index] for index in order(starts, ends, endings, len(written)))


def _notes(measure: Any, part: int) -> Iterator[Note]:
    """The sounding notes of one part's bar; of equal pitches at one moment the longest."""
    from music21 import chord, harmony, note

    found: dict[tuple[float, int], Note] = {}
    for element in measure.flatten().notes:
        if element.duration.isGrace or isinstance(element, harmony.ChordSymbol) or not isinstance(element, note.Note | chord.Chord):
            continue
        for single in element.notes if isinstance(element, chord.Chord) else (element,):
            tie = single.tie or element.tie
            tied = tie is not None and tie.type in ("stop", "continue")
            new = Note(part, float(element.offset), float(element.duration.quarterLength), single.pitch.midi, tied)
            place = (new.onset, new.pitch)
            if new.duration > 0 and (place not in found or found[place].duration < new.duration):
                found[place] = new
    yield from found.values()


def play(written: tuple[Written, ...], quarters: float) -> tuple[list[Note], list[Bar]]:
    """A score from its beginning, again and again until it lasts: notes in order of onset with ties joined, and bars.

    A short first bar is an upbeat. Any other short bar waits for the next to fill it, as at a repeat in the middle of a bar.
    Where two voices of a part hold one pitch, the first stops when the second begins.
    """
    bars: list[Bar] = []
    notes: list[Note] = []
    sounding: dict[tuple[int, int], int] = {}
    now, missing = 0.0, 0.0
    index = 0
    while now < quarters and written:
        this, is_first = written[index % len(written)], index % len(written) == 0
        full = full_length(this.meter)
        short = full - this.length
        fills = missing > 1e-6 and this.length <= missing + 1e-6
        phase = full - missing if fills else (short if is_first else 0.0)
        missing = (missing - this.length) if fills else (0.0 if is_first else short)
        bars.append(Bar(now, this.length, this.meter, phase))
        for note in sorted(this.notes, key=lambda note: (note.onset, note.part, note.pitch)):
            voice = (note.part, note.pitch)
            onset = now + note.onset
            before = notes[sounding[voice]] if voice in sounding else None
            if before and note.tied and abs(before.onset + before.duration - onset) < 1e-6:
                notes[sounding[voice]] = replace(before, duration=before.duration + note.duration)
                continue
            if before and before.onset + before.duration > onset:
                notes[sounding[voice]] = replace(before, duration=onset - before.onset)
            sounding[voice] = len(notes)
            notes.append(replace(note, onset=onset, tied=False))
        now += this.length
        index += 1
    return notes, bars
