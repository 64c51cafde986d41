"""Masks over a log-mel spectrogram: stretches of time and bands of frequency that a network has to do without."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from augment.augmentation import Augmentation, Change, Draw, Scene, Sound, uniform
from extractors.clip import Mask


class SpecMask(Augmentation):
    """SpecAugment's masks of time and of frequency; its warping of time is left to `TimeStretch`.

    The sound stays as it is: a front end that takes masks hides them (`LogMel` with `masks = true`), every other hears all of it.
    Masks are in seconds and in shares of the bands of the view as it is heard. What follows in the chain does not move them, so put
    this last; where later steps leave the view shorter, what lies beyond its end hides nothing.
    Each width is uniform from 0 to its bound, each place uniform in what is left; masks may overlap. No width is beyond the clip.

    Labels: unchanged, all of them.
    Source: D. S. Park et al., SpecAugment, Interspeech 2019, arXiv:1904.08779, section 2; the defaults are its LD policy
        (2 masks of up to 100 frames of 10 ms, 2 of up to 27 of 80 bands).
    """

    use: Literal["SpecMask"] = "SpecMask"

    on_gpu: ClassVar[bool] = True

    time_masks: int = Field(2, ge=0, description="how many stretches of time are hidden")
    time_seconds: float = Field(1.0, ge=0, allow_inf_nan=False, description="the longest that one may be")
    mel_masks: int = Field(2, ge=0, description="how many groups of neighbouring bands are hidden")
    mel_share: float = Field(0.34, ge=0, le=1, description="the largest share of the bands that one may hide")

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """time and mel: [start, stop] of each mask, in seconds and in shares of the bands."""
        return {
            "time": [_place(rng, min(self.time_seconds, sound.seconds), sound.seconds) for _ in range(self.time_masks)],
            "mel": [_place(rng, self.mel_share, 1.0) for _ in range(self.mel_masks)],
        }

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The same samples, with masks beside them."""
        return replace(sound, masks=sound.masks + drawn(draw))

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Nothing."""
        return Change()

    def extremes(self) -> tuple[Change, ...]:
        """Nothing, ever."""
        return (Change(),)


def drawn(draw: Draw) -> tuple[Mask, ...]:
    """The masks of a draw.

    >>> drawn({"time": [[0.5, 1.0]], "mel": []})
    (Mask(axis='time', start=0.5, stop=1.0),)
    """
    return tuple(Mask("time", *span) for span in draw["time"]) + tuple(Mask("mel", *span) for span in draw["mel"])


def _place(rng: np.random.Generator, widest: float, whole: float) -> list[float]:
    """[start, stop] within 0 to whole."""
    width = uniform(rng, 0, widest)
    start = uniform(rng, 0, max(0.0, whole - width))
    return [start, round(start + width, 9)]
