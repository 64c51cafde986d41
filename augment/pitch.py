"""Sound at another pitch."""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from augment.augmentation import Augmentation, Change, Draw, Scene, Sound, ordered, uniform
from augment.stretching import HIGH, LOW, MOST_SEMITONES, stretch
from augment.timing import by_octaves, rates

LEAST_STEP = 0.001  # semitones: nobody hears less


class PitchShift(Augmentation):
    """Higher, or lower where negative, at the same speed, by up to 12 semitones.

    Labels: keys, chords, notes and pitch contours transposed, keys and chords by the nearest whole semitone; times and tempo unchanged.
    """

    drawn_in = "semitones"
    use: Literal["PitchShift"] = "PitchShift"

    low: float = Field(-2.0, allow_inf_nan=False, description="semitones higher at the least; negative is lower; -12 or more")
    high: float = Field(2.0, allow_inf_nan=False, description="semitones higher at the most, 12 or less")
    step: float = Field(1.0, ge=0, allow_inf_nan=False, description="semitones between shifts that may be drawn; 0 is any fraction")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        _shifts("PitchShift", self.low, self.high, self.step)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Semitones, 0 among them if it lies in the range."""
        return {"semitones": _semitones(rng, self.low, self.high, self.step)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """As many samples as before. Raises: Unfit: shorter than the stretcher's window."""
        if draw["semitones"] == 0:
            return sound
        return sound.with_samples(stretch(sound.samples, sound.sample_rate, 1.0, draw["semitones"]))

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Pitches higher."""
        return Change(semitones=draw["semitones"])

    def extremes(self) -> tuple[Change, ...]:
        """The lowest and the highest."""
        return tuple(Change(semitones=semitones) for semitones in _bounds(self.low, self.high, self.step))


class PitchAndTempo(Augmentation):
    """Another pitch and another speed, drawn each for itself and made in one pass of the stretcher.

    rate / 2^(semitones/12), by which the stretcher works, must stay between 0.5 and 2.

    Labels: as for PitchShift and TimeStretch together.
    """

    use: Literal["PitchAndTempo"] = "PitchAndTempo"

    low_rate: float = Field(0.9, allow_inf_nan=False, description="× speed at the slowest, 0.5 or more")
    high_rate: float = Field(1.1, allow_inf_nan=False, description="× speed at the fastest, 2 or less")
    low_semitones: float = Field(-2.0, allow_inf_nan=False, description="semitones higher at the least, -12 or more")
    high_semitones: float = Field(2.0, allow_inf_nan=False, description="semitones higher at the most, 12 or less")
    step: float = Field(1.0, ge=0, allow_inf_nan=False, description="semitones between shifts that may be drawn; 0 is any fraction")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        rates("PitchAndTempo", self.low_rate, self.high_rate, LOW, HIGH)
        _shifts("PitchAndTempo", self.low_semitones, self.high_semitones, self.step)
        lowest, highest = _bounds(self.low_semitones, self.high_semitones, self.step)
        least, most = self.low_rate / 2 ** (highest / 12), self.high_rate / 2 ** (lowest / 12)
        if least < LOW or most > HIGH:
            raise ValueError(
                f"PitchAndTempo needs {LOW:g} <= rate / 2^(semitones/12) <= {HIGH:g}, got {least:.3g} to {most:.3g}; "
                "take PitchShift and TimeStretch, or narrower ranges"
            )
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """A rate, then semitones."""
        rate = by_octaves(rng, self.low_rate, self.high_rate)
        return {"rate": rate, "semitones": _semitones(rng, self.low_semitones, self.high_semitones, self.step)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """Stretched to exactly round(samples / rate). Raises: Unfit: shorter than the stretcher's window."""
        if draw["rate"] == 1 and draw["semitones"] == 0:
            return sound
        return sound.with_samples(stretch(sound.samples, sound.sample_rate, draw["rate"], draw["semitones"]))

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Times ÷ rate, pitches higher."""
        return Change(rate=draw["rate"], semitones=draw["semitones"])

    def extremes(self) -> tuple[Change, ...]:
        """Slow and low, fast and high."""
        shifts = _bounds(self.low_semitones, self.high_semitones, self.step)
        ends = zip((self.low_rate, self.high_rate), shifts, strict=True)
        return tuple(Change(rate=rate, semitones=semitones) for rate, semitones in ends)


def _shifts(name: str, low: float, high: float, step: float) -> None:
    """Raises: ValueError: out of range, or nothing to draw."""
    ordered(name, low, high)
    if low < -MOST_SEMITONES or high > MOST_SEMITONES:
        raise ValueError(f"{name} needs semitones from {-MOST_SEMITONES:g} to {MOST_SEMITONES:g}, got low={low:g} high={high:g}")
    if 0 < step < LEAST_STEP:
        raise ValueError(f"{name} needs step >= {LEAST_STEP:g}, or 0 for any fraction, got {step:g}")
    lowest, highest = _bounds(low, high, step)
    if lowest > highest:
        raise ValueError(f"{name}: no multiple of step={step:g} lies between low={low:g} and high={high:g}; step=0 takes any fraction")


def _bounds(low: float, high: float, step: float) -> tuple[float, float]:
    """The lowest and the highest shift that may be drawn.

    >>> _bounds(-2.5, 2.5, 1.0), _bounds(-0.3, 0.3, 0.1), _bounds(-2.5, 2.5, 0.0)
    ((-2.0, 2.0), (-0.3, 0.3), (-2.5, 2.5))
    """
    if step == 0:
        return low, high
    first, last = _multiples(low, high, step)
    return round(first * step, 9), round(last * step, 9)


def _multiples(low: float, high: float, step: float) -> tuple[int, int]:
    # A billionth, so that 0.3 / 0.1 is 3.
    return math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)


def _semitones(rng: np.random.Generator, low: float, high: float, step: float) -> float:
    if step == 0:
        return uniform(rng, low, high)
    first, last = _multiples(low, high, step)
    return round(float(rng.integers(first, last, endpoint=True) * step), 9)
