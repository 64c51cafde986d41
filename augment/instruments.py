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
VOICES = 256  # notes that sound and ring at once

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
        ModuleNotFoundError: tinysoundfont is not installed.
    """
    try:
        from tinysoundfont import Synth
    except ModuleNotFoundError as error:
        # It asks for PyAudio, which wants a compiler and is not needed: so nothing can depend on it in the usual way.
        raise ModuleNotFoundError("tinysoundfont is not installed; pip install --no-deps tinysoundfont") from error

    # The package itself is not needed, and slow to import.
    package = importlib.util.find_spec("pretty_midi")
    soundfont = Path(str(package and package.origin)).parent / "TimGM6mb.sf2"
    if not soundfont.exists():
        raise FileNotFoundError(f"{soundfont}: the soundfont is missing; pip install --force-reinstall pretty_midi")
    synthesizer = Synth(samplerate=SAMPLE_RATE)
    synthesizer.sfload(str(soundfont), max_voices=VOICES)
    return synthesizer


def render(synthesizer: Any, parts: Mapping[int, tuple[int, Sequence[Strike]]], seconds: float) -> NDArray[np.float32]:
    """Notes to sound.

    Args:
        synthesizer: from `open_synthesizer`.
        parts: for each part its program and its notes.
    Returns:
        (frames, 2) float32, exactly round(seconds * SAMPLE_RATE) frames; what still rings is cut.
    """
    frames = round(seconds * SAMPLE_RATE)
    # Ends come before beginnings of the same moment: a repeated note is struck anew.
    events: list[tuple[int, bool, int, Strike]] = []
    for part, (program, strikes) in sorted(parts.items()):
        synthesizer.program_select(part, 0, 0, program)
        for strike in strikes:
            begin = round(strike.start * SAMPLE_RATE)
            events.append((begin, True, part, strike))
            events.append((max(begin + 1, round((strike.start + strike.duration) * SAMPLE_RATE)), False, part, strike))
    events.sort(key=lambda event: event[:3])
    heard = []
    now = 0
    for at, begins, part, strike in events:
        if at >= frames:
            break
        if at > now:
            heard.append(_generate(synthesizer, at - now))
            now = at
        if begins:
            synthesizer.noteon(part, strike.pitch, strike.velocity)
        else:
            synthesizer.noteoff(part, strike.pitch)
    heard.append(_generate(synthesizer, frames - now))
    # What still rings belongs to this piece, and fades within hundredths of a second once it is cut off.
    for part in parts:
        synthesizer.sounds_off(part)
    _generate(synthesizer, SAMPLE_RATE // 4)
    return np.concatenate(heard)


def _generate(synthesizer: Any, frames: int) -> NDArray[np.float32]:
    return np.frombuffer(synthesizer.generate_simple(frames), np.float32).reshape(-1, 2)
