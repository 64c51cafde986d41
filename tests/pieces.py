"""Pieces of music that nobody wrote: as many as wanted, each of its own tempo, chords, melody, instruments and drums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.instruments import SAMPLE_RATE, STRUCK, SUSTAINED, Strike, programs, render

MODES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 1, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 10))


def piece(synthesizer: Any, seed: int, seconds: float, dressed: int = 0) -> NDArray[np.float32]:
    """(samples,) float32 at 44.1 kHz, peak 0.5: melody, chords, bass, and drums in two of three pieces.

    Args:
        synthesizer: from `augment.instruments.open_synthesizer`.
        seed: of the score. dressed: of the instruments, so that one score can be had in several dresses.
    """
    rng = np.random.default_rng([seed, 0])
    beat = 60 / rng.uniform(66, 176)
    tonic, mode = int(rng.integers(12)), MODES[int(rng.integers(len(MODES)))]
    beats = int(seconds / beat) + 1
    meter = int(rng.choice([3, 4, 4, 4, 5]))
    chords = [int(rng.integers(7)) for _ in range(-(-beats // meter))]
    parts: dict[int, list[Strike]] = {0: [], 1: [], 2: []}
    degree, at = int(rng.integers(7)), 0.0
    while at < beats:
        length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.5]))
        degree = int(np.clip(degree + rng.integers(-3, 4), -4, 12))
        if rng.random() > 0.12:
            sounding = float(length * beat * rng.uniform(0.6, 1.0))
            parts[0].append(Strike(at * beat, sounding, 60 + _pitch(tonic, mode, degree), int(rng.integers(70, 120))))
        at += length
    figure = np.sort(rng.choice(2 * meter, size=int(rng.integers(1, meter + 2)), replace=False)) / 2
    for bar, root in enumerate(chords):
        for start in figure:
            for step in (0, 2, 4):
                pitch = 48 + _pitch(tonic, mode, root + step)
                parts[1].append(Strike((bar * meter + float(start)) * beat, beat * 0.8, pitch, int(rng.integers(45, 90))))
        for start in range(0, meter, int(rng.integers(1, 3))):
            parts[2].append(Strike((bar * meter + start) * beat, beat * 0.9, 36 + _pitch(tonic, mode, root), int(rng.integers(70, 110))))
    dress = np.random.default_rng([seed, 1, dressed])
    chosen = [programs(str(dress.choice([*STRUCK, *SUSTAINED])), 1)[0] for _ in parts]
    sound = render(synthesizer, {part: (chosen[part], strikes) for part, strikes in parts.items()}, seconds).mean(1)
    if rng.random() < 2 / 3:
        # Another dress has another drummer: the same strokes would be the same sound.
        loudness, drummer = float(rng.uniform(0.2, 0.8)), dress if dressed else rng
        sound = sound + loudness * np.abs(sound).max() * _drums(drummer, beat, meter, len(sound))
    return np.asarray(0.5 * sound / max(1e-9, float(np.abs(sound).max())), np.float32)


def _pitch(tonic: int, mode: tuple[int, ...], degree: int) -> int:
    octave, step = divmod(degree, len(mode))
    return tonic + 12 * octave + mode[step]


def _drums(rng: np.random.Generator, beat: float, meter: int, samples: int) -> NDArray[np.float32]:
    """(samples,) within ±1: three drums of the piece's own, in a pattern of two bars."""
    sound = np.zeros(samples + SAMPLE_RATE, np.float32)
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    low = np.sin(2 * np.pi * rng.uniform(45, 80) * time * (1 + np.exp(-time * 40))) * np.exp(-time * rng.uniform(8, 20))
    snare = rng.normal(size=len(time)) * 0.3 * np.exp(-time * rng.uniform(15, 40))
    hat = np.diff(rng.normal(size=len(time) + 1)) * 0.1 * np.exp(-time * rng.uniform(40, 90))
    for drum, share in ((low, 0.35), (snare, 0.25), (hat, 0.6)):
        pattern = np.flatnonzero(rng.random(8 * meter) < share)
        for start in np.arange(0, samples / SAMPLE_RATE / beat, 2 * meter):
            for slot in pattern:
                at = round((start + slot / 4) * beat * SAMPLE_RATE)
                if at < samples:
                    sound[at : at + len(drum)] += drum.astype(np.float32) * np.float32(rng.uniform(0.7, 1))
    return np.clip(sound[:samples], -1, 1)
