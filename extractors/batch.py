"""A batch of clips: sound in, and each resampling and each spectrum of it made once for all extractors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractors.clip import Clip
from extractors.spectrum import Spectrum
from extractors.stft import spectra, spectra_torch


class Batch:
    """Clips of one length, heard together.

    Args:
        clips: any number of clips, each at its own rate; exactly one if `seconds` is None.
        seconds: every clip is padded with silence to this length, or cut; None takes the clip as long as it is.
        spectra: what will be asked of `spectrum`; those which share an STFT are made in one pass.
        device: "cpu" gives NumPy arrays; "cuda", "cuda:1", … gives torch tensors there.
    Raises:
        ValueError: no length is given for several clips.
    """

    def __init__(self, clips: Sequence[Clip], seconds: float | None, spectra: Iterable[Spectrum] = (), device: str = "cpu") -> None:
        if seconds is None and len(clips) != 1:
            raise ValueError(f"Batch of whole tracks holds one clip, got {len(clips)}; give seconds or batch them singly")
        self.clips = tuple(clips)
        self.seconds = seconds
        # Seconds of each clip that are sound rather than padding.
        self.sound = [min(len(clip.samples) / clip.sample_rate, seconds or math.inf) for clip in clips]
        self.device = device
        self.announced = tuple(dict.fromkeys(spectra))
        self._waves: dict[int, Any] = {}
        self._sound: dict[int, list[int]] = {}
        self._spectra: dict[Spectrum, Any] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def wave(self, sample_rate: int) -> Any:
        """The sound at one rate.

        Returns:
            (clips, samples) float32; silence where a clip ends early. NumPy's, unless another was given.
        """
        if sample_rate not in self._waves:
            self._make(sample_rate)
        return self._waves[sample_rate]

    def samples(self, sample_rate: int) -> list[int]:
        """How many samples of each clip's wave are sound rather than padding."""
        self.wave(sample_rate)
        return self._sound[sample_rate]

    def spectrum(self, spectrum: Spectrum) -> Any:
        """(clips, frames, bins) float32, frames in time; NumPy's on the CPU, torch's elsewhere."""
        if spectrum not in self._spectra:
            transform = spectrum.transform
            wanted = [spectrum, *(s for s in self.announced if s != spectrum and s not in self._spectra and s.transform == transform)]
            wave = self.wave(spectrum.sample_rate)
            arrays = spectra(wave, wanted) if self.device == "cpu" else spectra_torch(wave, wanted, self.device)
            self._spectra.update(zip(wanted, arrays, strict=True))
        return self._spectra[spectrum]

    def valid(self, spectrum: Spectrum) -> NDArray[np.int32]:
        """(clips,) int32: frames of `spectrum` that the sound alone would have."""
        frames = spectrum.frames(self.wave(spectrum.sample_rate).shape[1])
        return np.array([min(frames, spectrum.frames(n)) for n in self.samples(spectrum.sample_rate)], np.int32)

    def give(self, sample_rate: int, wave: Any, samples: list[int]) -> None:
        """Take the sound at one rate as it was made elsewhere.

        Args:
            wave: (clips, samples) float32, NumPy's or torch's on this batch's device; silence where a clip ends early.
            samples: how many of each clip's are sound.
        """
        self._waves[sample_rate], self._sound[sample_rate] = wave, samples

    def distinct(self) -> tuple[Batch, list[int]]:
        """The batch without clips that are one another's sound again, and for each clip where in it its own is."""
        places: dict[tuple[int, int, Any], int] = {}
        chosen: list[int] = []
        where = []
        for row, clip in enumerate(self.clips):
            key = (id(clip.samples), clip.sample_rate, clip.masks)
            if key not in places:
                places[key] = len(chosen)
                chosen.append(row)
            where.append(places[key])
        if len(chosen) == len(self.clips):
            return self, where
        return Batch([self.clips[row] for row in chosen], self.seconds, self.announced, self.device), where

    def pack(self, sample_rates: Iterable[int]) -> Batch:
        """The same batch with the waves at these rates made and the clips' own samples left behind, to be sent elsewhere."""
        packed = Batch([replace(clip, samples=np.empty(0, np.float32)) for clip in self.clips], self.seconds, self.announced, self.device)
        packed.sound = self.sound
        for rate in sample_rates:
            packed.give(rate, self.wave(rate), self.samples(rate))
        return packed

    def on(self, device: str) -> Batch:
        """The same sound, with spectra to be made on another device."""
        moved = Batch(self.clips, self.seconds, self.announced, device)
        moved.sound = self.sound
        moved._waves, moved._sound = self._waves, self._sound
        return moved

    def _make(self, sample_rate: int) -> None:
        sounds = [_at_rate(clip, sample_rate) for clip in self.clips]
        length = len(sounds[0]) if self.seconds is None else round(self.seconds * sample_rate)
        wave = np.zeros((len(sounds), length), np.float32)
        for row, sound in zip(wave, sounds, strict=True):
            row[: len(sound)] = sound[:length]
        self.give(sample_rate, wave, [min(len(sound), length) for sound in sounds])


def _at_rate(clip: Clip, sample_rate: int) -> NDArray[np.float32]:
    """(samples,) float32: a clip's sound at another rate."""
    if clip.sample_rate == sample_rate:
        return clip.samples
    from extractors.audio import resample

    return resample(clip.samples, clip.sample_rate, sample_rate)
