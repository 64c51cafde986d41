"""Rooms made of a few numbers: the first reflections of a box, and a tail of noise that decays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from augment.augmentation import Samples
from augment.timbre import noise

SOUND = 343.0  # m/s
SMALLEST = 2.0  # m, of a side
_ORDER = 2  # walls that a reflection has touched, at most, before it counts as tail
_TREBLE = 4000.0  # Hz above which the tail decays faster


def place(rng: np.random.Generator, low_metres: float, high_metres: float) -> tuple[list[float], list[float], list[float]]:
    """Draw a room.

    Returns:
        its sides, and where the source and the microphone are (metres): half a metre from all walls. The smallest side is the height.
    """
    sides = np.sort(rng.uniform(low_metres, high_metres, 3))[::-1]
    source, microphone = (rng.uniform(0.5, sides - 0.5) for _ in range(2))
    return np.round(sides, 3).tolist(), np.round(source, 3).tolist(), np.round(microphone, 3).tolist()


def room(
    rt60: float,
    sides: Sequence[float],
    source: Sequence[float],
    microphone: Sequence[float],
    treble: float,
    offset: int,
    sample_rate: int,
) -> Samples:
    """The impulse response of a box-shaped room with equal walls. Its direct sound is 1 at time 0.

    Reflections off one and two walls come from image sources, at the nearest sample. From then on it is Gaussian noise whose level
    follows from volume and distance, as in a diffuse field, and which fades in until sound has mixed (√volume in milliseconds).

    Args:
        rt60: seconds in which the tail falls by 60 dB; also how long the response is.
        sides, source, microphone: metres (x, y, z).
        treble: what share of rt60 the tail takes above 4 kHz.
        offset: where in the pool of noise the tail begins: another offset is another room of the same kind.
        sample_rate: Hz.
    Returns:
        (round(rt60 · sample_rate),) float32, at least one sample.
    Source:
        J. Allen, D. Berkley, Image method for efficiently simulating small-room acoustics (1979); C. Eyring's absorption (1930);
        H. Kuttruff, Room Acoustics: critical distance and energy of the diffuse field.

    >>> room(0.5, [5, 4, 3], [1, 1, 1], [3, 3, 1.5], 0.5, 0, 8000).shape
    (4000,)
    """
    count = max(1, round(rt60 * sample_rate))
    length, width, height = sides
    volume, surface = length * width * height, 2 * (length * width + length * height + width * height)
    # By Eyring, what a wall leaves of the energy is 10^(-0.161 · 6 / ...): in nepers 0.161 · volume / (surface · rt60).
    reflected = float(np.exp(-0.161 / 2 * volume / (surface * rt60)))
    distances, touched = _images(np.asarray(sides), np.asarray(source), np.asarray(microphone))
    nearest = max(float(np.linalg.norm(np.subtract(source, microphone))), 0.1)
    at = np.rint((distances - nearest) / SOUND * sample_rate).astype(np.int64)
    heard = (at > 0) & (at < count)
    response = np.zeros(count)
    np.add.at(response, at[heard], (reflected**touched * nearest / distances)[heard])

    times = np.arange(count) / sample_rate
    decay = 10 ** (-3 * times / rt60)
    mixed = np.sqrt(volume) / 1000
    # Energy of the whole diffuse field against that of the direct sound: (distance / critical distance)².
    energy = nearest**2 * rt60 / (0.057**2 * volume)
    fade = np.minimum(1, times / mixed)
    level = np.sqrt(energy / np.sum(decay**2))
    response += level * fade * _tail(count, decay, 10 ** (-3 * times / (rt60 * treble)), offset, sample_rate)
    response[0] = 1
    return response.astype(np.float32)


def _images(sides: NDArray[np.float64], source: NDArray[np.float64], microphone: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    # An image lies at 2 n · side ± source along each axis, and its sound touched |2 n| or |2 n - 1| walls.
    distances, touched = [], []
    for cell in product(range(-1, 2), repeat=3):
        for flipped in product((0, 1), repeat=3):
            walls = sum(abs(2 * n - f) for n, f in zip(cell, flipped, strict=True))
            if 0 < walls <= _ORDER:
                image = 2 * np.array(cell) * sides + np.where(flipped, -source, source)
                distances.append(float(np.linalg.norm(image - microphone)))
                touched.append(walls)
    return np.array(distances), np.array(touched)


def _tail(count: int, decay: NDArray[np.float64], faster: NDArray[np.float64], offset: int, sample_rate: int) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfilt

    all_of_it = noise(count, "white", offset).astype(np.float64)
    if sample_rate <= 2 * _TREBLE:
        return all_of_it * decay
    low: NDArray[np.float64] = sosfilt(butter(1, _TREBLE, fs=sample_rate, output="sos"), all_of_it)
    return low * decay + (all_of_it - low) * faster
