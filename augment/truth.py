"""What is true of a sound because it was made from a score: its labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from annotation.kinds import format_note
from annotation.labels import Label
from augment.instruments import NAMES, Strike
from augment.scores import Bar, beat_length
from augment.works import Work

SHORTEST = 0.001  # seconds: what begins later than this before the end is not there


def beats(bars: Iterable[Bar]) -> Iterator[tuple[float, int]]:
    """Where beats fall in bars as played: (quarter notes from the beginning, number in the bar from 1).

    >>> list(beats([Bar(0, 1, "3/4", 2), Bar(1, 3, "3/4")]))
    [(0.0, 3), (1.0, 1), (2.0, 2), (3.0, 3)]
    """
    for bar in bars:
        beat = beat_length(bar.meter)
        number = int(np.ceil(bar.phase / beat - 1e-6))
        while (time := bar.start - bar.phase + number * beat) < bar.start + bar.length - 1e-6:
            yield float(time), number + 1
            number += 1


def labels(
    track_id: str,
    work: Work,
    key: str,
    parts: Mapping[int, tuple[int, Sequence[Strike]]],
    bars: Sequence[Bar],
    quarter: float,
    seconds: float,
) -> Iterator[Label]:
    """Everything that the score says of the sound; what runs over the end stops there.

    Args:
        key: as it sounds.
        parts: what the synthesizer played: for each part its program and its notes.
        bars: as played. quarter: seconds of a quarter note.
        seconds: of the sound.
    """

    def label(kind: str, value: str, start: float | None = None, end: float | None = None) -> Label:
        if start is None or end is None:
            return Label(kind, value, "score", "gold", track_id, confidence=1.0)
        start, end = round(start, 6), round(min(end, seconds), 6)
        return Label(kind, value, "score", "gold", track_id, start=start, duration=round(end - start, 6), confidence=1.0)

    yield label("composer", work.composer)
    yield label("license", work.license)
    yield label("key", key, 0, seconds)
    for program in dict.fromkeys(program for program, _ in parts.values()):
        yield label("instrument", NAMES[program])
    changes = [bar for before, bar in zip([None, *bars], bars, strict=False) if before is None or bar.meter != before.meter]
    for bar, after in zip(changes, [*changes[1:], None], strict=True):
        start, end = bar.start * quarter, after.start * quarter if after else seconds
        yield label("meter", bar.meter, start, end)
        yield label("tempo", f"{60 / (quarter * beat_length(bar.meter)):.4f}", start, end)
    for time, number in beats(bars):
        if (at := time * quarter) < seconds - SHORTEST:
            yield label("beat", str(number), at, at)
            if number == 1:
                yield label("downbeat", "1", at, at)
    for strike in sorted((strike for _, strikes in parts.values() for strike in strikes), key=lambda it: (it.start, it.pitch)):
        yield label("note", format_note(strike.pitch, strike.velocity), strike.start, strike.start + strike.duration)
