"""Sound in another time: faster, slower, shorter, later, backwards."""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from augment.augmentation import Augmentation, Change, Draw, Scene, Sound, Unfit, ordered, uniform
from augment.stretching import HIGH, LOW, fitted, stretch

SLOWEST, FASTEST = 0.25, 4.0  # two octaves


class TimeStretch(Augmentation):
    """Faster or slower at the same pitch, by a rate between 0.5 and 2; slow and fast are equally likely.

    Labels: every time and length ÷ rate; tempo × rate; pitches unchanged; tags of tempo refused beyond the recipe's range.
    """

    drawn_in = "× speed"
    use: Literal["TimeStretch"] = "TimeStretch"

    low: float = Field(0.8, allow_inf_nan=False, description="× speed at the slowest, 0.5 or more")
    high: float = Field(1.25, allow_inf_nan=False, description="× speed at the fastest, 2 or less")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        rates("TimeStretch", self.low, self.high, LOW, HIGH)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """A rate, by octaves."""
        return {"rate": by_octaves(rng, self.low, self.high)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """Stretched to exactly round(samples / rate). Raises: Unfit: shorter than the stretcher's window."""
        if draw["rate"] == 1:
            return sound
        return sound.with_samples(stretch(sound.samples, sound.sample_rate, draw["rate"]))

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Times ÷ rate."""
        return Change(rate=draw["rate"])

    def extremes(self) -> tuple[Change, ...]:
        """The slowest and the fastest."""
        return Change(rate=self.low), Change(rate=self.high)


class Speed(Augmentation):
    """Faster and higher or slower and lower, as a tape, by a rate between 0.25 and 4; slow and fast are equally likely.

    Labels: every time and length ÷ rate; tempo × rate; pitches 12 log2(rate) semitones higher; tags of tempo as for TimeStretch.
    """

    drawn_in = "× speed"
    use: Literal["Speed"] = "Speed"

    low: float = Field(0.9, allow_inf_nan=False, description="× speed at the slowest, 0.25 or more")
    high: float = Field(1.1, allow_inf_nan=False, description="× speed at the fastest, 4 or less")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        rates("Speed", self.low, self.high, SLOWEST, FASTEST)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """A rate, by octaves."""
        return {"rate": by_octaves(rng, self.low, self.high)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """Resampled to exactly round(samples / rate)."""
        from extractors.audio import resample

        if draw["rate"] == 1:
            return sound
        faster = resample(sound.samples, sound.sample_rate * draw["rate"], sound.sample_rate)
        return sound.with_samples(fitted(faster, round(len(sound.samples) / draw["rate"])))

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Times ÷ rate, pitches as many octaves higher as the speed is doubled."""
        return Change(rate=draw["rate"], semitones=12 * math.log2(draw["rate"]))

    def extremes(self) -> tuple[Change, ...]:
        """The slowest and the fastest."""
        return self.change({"rate": self.low}), self.change({"rate": self.high})


class Crop(Augmentation):
    """A stretch of the clip, begun anywhere in it, of a length between low and high.

    Labels: every time earlier by where the stretch begins; what lies outside is cut off; pitches and tempo unchanged.
    """

    use: Literal["Crop"] = "Crop"

    low: float = Field(0.5, allow_inf_nan=False, description="shortest length, more than 0")
    high: float = Field(1.0, allow_inf_nan=False, description="greatest length")
    unit: Literal["share", "seconds"] = Field("share", description="of the lengths: shares of the clip, or seconds")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        ordered("Crop", self.low, self.high, 0)
        if self.unit == "share" and self.high > 1:
            raise ValueError(f'Crop needs high <= 1, got {self.high:g}; lengths in seconds need unit = "seconds"')
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """A length, then a beginning. Raises: Unfit: longer than the clip."""
        seconds = round(uniform(rng, self.low, self.high) * (sound.seconds if self.unit == "share" else 1), 9)
        _cut(sound, 0, seconds)
        return {"start": uniform(rng, 0, max(0.0, sound.seconds - seconds)), "seconds": seconds}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The stretch. Raises: Unfit: longer than the clip."""
        return sound.with_samples(sound.samples[_cut(sound, draw["start"], draw["seconds"])].copy())

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Times earlier."""
        return Change(offset=-draw["start"])

    def extremes(self) -> tuple[Change, ...]:
        """From the beginning, and from later: how much depends on the clip, and a second stands for it."""
        return Change(), Change(offset=-1.0)


class Shift(Augmentation):
    """Later, or earlier where negative, in a clip of the same length: silence fills the gap, and the other end is cut off.

    Labels: every time later by as much; what lies outside is cut off; pitches and tempo unchanged.
    """

    drawn_in = "seconds"
    use: Literal["Shift"] = "Shift"

    low: float = Field(-1.0, allow_inf_nan=False, description="seconds later at the least; negative is earlier")
    high: float = Field(1.0, allow_inf_nan=False, description="seconds later at the most")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        ordered("Shift", self.low, self.high)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Seconds."""
        return {"seconds": uniform(rng, self.low, self.high)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """As many samples as before. Raises: Unfit: nothing of the clip would be left."""
        by = round(draw["seconds"] * sound.sample_rate)
        if abs(by) >= len(sound.samples):
            message = f"a shift by {draw['seconds']:.3f} s leaves nothing of {sound.seconds:.3f} s"
            raise Unfit(message, "too short", "narrow the range of Shift, or raise window.min_seconds")
        shifted = np.zeros_like(sound.samples)
        shifted[max(0, by) : len(shifted) + min(0, by)] = sound.samples[max(0, -by) : len(shifted) - max(0, by)]
        return sound.with_samples(shifted)

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Times later."""
        return Change(offset=draw["seconds"])

    def extremes(self) -> tuple[Change, ...]:
        """The earliest and the latest."""
        return Change(offset=self.low), Change(offset=self.high)


class Pad(Augmentation):
    """Silence before and after, of a length between low and high for each.

    Labels: every time later by the silence before; pitches and tempo unchanged.
    """

    use: Literal["Pad"] = "Pad"

    low: float = Field(0.0, ge=0, le=600, allow_inf_nan=False, description="shortest silence, seconds")
    high: float = Field(1.0, ge=0, le=600, allow_inf_nan=False, description="longest silence, seconds")

    @model_validator(mode="after")
    def _within_range(self) -> Self:
        ordered("Pad", self.low, self.high)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Seconds before, then seconds after."""
        return {"before": uniform(rng, self.low, self.high), "after": uniform(rng, self.low, self.high)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """Longer by both."""
        silence = [round(draw[end] * sound.sample_rate) for end in ("before", "after")]
        return sound.with_samples(np.pad(sound.samples, silence))

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Times later."""
        return Change(offset=draw["before"])

    def extremes(self) -> tuple[Change, ...]:
        """The least and the most."""
        return Change(offset=self.low), Change(offset=self.high)


class Reverse(Augmentation):
    """Backwards.

    Labels: stretches turned round; moments that are onsets or beats, notes and meters refused; keys, tempo and pitches unchanged.
    """

    use: Literal["Reverse"] = "Reverse"

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Nothing to choose."""
        return {}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The last sample first."""
        return sound.with_samples(sound.samples[::-1].copy())

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Turned round."""
        return Change(mirrored=True)

    def extremes(self) -> tuple[Change, ...]:
        """Always the same."""
        return (Change(mirrored=True),)


def rates(name: str, low: float, high: float, slowest: float, fastest: float) -> None:
    """Raises: ValueError unless slowest <= low <= high <= fastest.

    >>> rates("TimeStretch", 0.5, 3, 0.5, 2)
    Traceback (most recent call last):
    ValueError: TimeStretch needs rates from 0.5 to 2, got low=0.5 high=3
    """
    ordered(name, low, high, 0)
    if low < slowest or high > fastest:
        raise ValueError(f"{name} needs rates from {slowest:g} to {fastest:g}, got low={low:g} high={high:g}")


def by_octaves(rng: np.random.Generator, low: float, high: float) -> float:
    """A rate between two, drawn so that half the speed is as likely as twice the speed.

    >>> by_octaves(np.random.default_rng(0), 1.1, 1.1)
    1.1
    """
    # The bounds again, as a logarithm there and back may leave them by a rounding.
    return min(max(round(math.exp(rng.uniform(math.log(low), math.log(high))), 9), low), high)


def _cut(sound: Sound, start: float, seconds: float) -> slice:
    """The samples of a stretch. Raises: Unfit: longer than the clip."""
    count, there = round(seconds * sound.sample_rate), len(sound.samples)
    if count > there:
        message = f"Crop to {seconds:.3f} s, but there are only {sound.seconds:.3f} s"
        raise Unfit(message, "too short", "lower Crop's low and high, or raise window.min_seconds")
    begin = min(round(start * sound.sample_rate), there - count)
    return slice(begin, begin + count)
