"""General MIDI instruments, and the soundfont that plays them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 44_100
# The synthesizer sounds a note 46 samples after it is asked to, whatever the instrument and the time (measured).
LATENCY = 46

# General MIDI programs (from 0), from the highest part down.
STRUCK = {
    "piano": (0,),
    "harpsichord": (6,),
    "clavinet": (7,),
    "celesta": (8,),
    "vibraphone": (11,),
    "marimba": (12,),
    "xylophone": (13,),
    "dulcimer": (15,),
    "guitar": (24,),
    "steel-guitar": (25,),
    "pizzicato": (45,),
    "banjo": (105,),
}
SUSTAINED = {
    "electric-piano": (4,),
    "organ": (19,),
    "accordion": (21,),
    "string-quartet": (40, 40, 41, 42),
    "string-orchestra": (48,),
    "choir": (52,),
    "brass": (56, 56, 57),
    "woodwinds": (73, 68, 71, 70),
}
NAMES = {
    0: "acoustic grand piano",
    4: "electric piano 1",
    6: "harpsichord",
    7: "clavi",
    8: "celesta",
    11: "vibraphone",
    12: "marimba",
    13: "xylophone",
    15: "dulcimer",
    19: "church organ",
    21: "accordion",
    24: "acoustic guitar (nylon)",
    25: "acoustic guitar (steel)",
    40: "violin",
    41: "viola",
    42: "cello",
    45: "pizzicato strings",
    48: "string ensemble 1",
    52: "choir aahs",
    56: "trumpet",
    57: "trombone",
    68: "oboe",
    70: "bassoon",
    71: "clarinet",
    73: "flute",
    105: "banjo",
}


@dataclass(frozen=True)
class Strike:
    """A note for the synthesizer. start, duration: seconds; velocity: 1 to 127."""

    start: float
    duration: float
    pitch: int
    velocity: int


def programs(instrument: str, parts: int) -> list[int]:
    """The General MIDI program of each part of a score, from the highest down.

    >>> programs("string-quartet", 4), programs("string-quartet", 2), programs("piano", 2)
    ([40, 40, 41, 42], [40, 42], [0, 0])
    """
    given = (STRUCK | SUSTAINED)[instrument]
    return [given[round(part * (len(given) - 1) / max(1, parts - 1))] for part in range(parts)]


def open_synthesizer() -> Any:
    """The synthesizer with TimGM6mb (GPL-2.0), which pretty_midi carries; nothing is downloaded.

    Raises:
        FileNotFoundError: pretty_midi is installed without its soundfont, or not at all.
    """
    import symusic

    # The package itself is not needed, and slow to import.
    package = importlib.util.find_spec("pretty_midi")
    soundfont = Path(str(package and package.origin)).parent / "TimGM6mb.sf2"
    if not soundfont.exists():
        raise FileNotFoundError(f"{soundfont}: the soundfont is missing; pip install --force-reinstall pretty_midi")
    return symusic.Synthesizer(sf_path=str(soundfont), sample_rate=SAMPLE_RATE, quality=4)


def render(synthesizer: Any, parts: Mapping[int, tuple[int, Sequence[Strike]]], seconds: float) -> NDArray[np.float32]:
    """Notes to sound.

    Args:
        synthesizer: from `open_synthesizer`.
        parts: for each part its program and its notes.
    Returns:
        (frames, 2) float32, exactly round(seconds * SAMPLE_RATE) frames; what still rings is cut.
    """
    import symusic

    score = symusic.Score(ttype="second")
    for part, (program, strikes) in sorted(parts.items()):
        track = symusic.Track(name=str(part), program=program, is_drum=False, ttype="second")
        for strike in strikes:
            track.notes.append(symusic.Note(strike.start, strike.duration, strike.pitch, strike.velocity, ttype="second"))
        score.tracks.append(track)
    heard = np.asarray(synthesizer.render(score, stereo=True)).T[LATENCY:]
    sound = np.zeros((round(seconds * SAMPLE_RATE), 2), np.float32)
    sound[: len(heard)] = heard[: len(sound)]
    return sound
