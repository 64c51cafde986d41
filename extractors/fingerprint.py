"""Landmarks: pairs of spectral peaks that outlast noise, coding and equalisers, and so tell a recording from all others."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from extractors.batch import Batch
from extractors.clip import Clip
from extractors.extractor import Column, Extractor, Live
from extractors.spectrum import Spectrum

# A hash: the lower peak's place in frequency, how far the second peak lies from it in frequency and in time.
FREQUENCY_BITS, STEP_BITS, TIME_BITS = 9, 7, 6
HASH_BITS = FREQUENCY_BITS + STEP_BITS + TIME_BITS
# Odd: multiplying by it modulo a power of two loses nothing and spreads what is alike over all prefixes.
SCATTER = 0x9E3779B1 % (1 << HASH_BITS) | 1
GATHER = pow(SCATTER, -1, 1 << HASH_BITS)

# Peaks weaker than this share of a clip's strongest are rounding, not sound.
FLOOR = 1e-4
# Pairs are looked for among so many peaks that follow a peak.
REACH = 48


class Fingerprint(Extractor):
    """Landmarks of a recording: hashes of pairs of spectral peaks, and when they begin.

    A peak is louder than all around it within `radius_frames` and `radius_bins`; each is paired with the `fan` peaks that follow it first,
    at least `gap` frames later, at most 63 frames and 63 bins away. Noise, lossy coding, other sample rates and equalisers leave
    many peaks in their places, whatever becomes of their levels. Sound that is stretched or transposed by more than
    2 % has its peaks elsewhere: such copies are not found, nor meant to be.

    Source:
        Wang, An industrial-strength audio search algorithm (ISMIR 2003).
    """

    use: Literal["Fingerprint"] = "Fingerprint"

    sample_rate: int = Field(8000, gt=0, le=1_000_000, description="Hz")
    n_fft: int = Field(1024, ge=16, le=1024, description="samples of a frame")
    hop_length: int = Field(128, ge=1, le=1_000_000, description="samples from one frame to the next")
    lowest: float = Field(100.0, ge=0, description="Hz; peaks below it are hum")
    radius_frames: int = Field(7, ge=1, description="frames before and after a peak that are quieter")
    radius_bins: int = Field(8, ge=1, description="bins below and above a peak that are quieter")
    gap: int = Field(4, ge=1, description="frames from a peak to the first that it is paired with")
    fan: int = Field(8, ge=1, description="pairs that a peak begins")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.lowest >= self.sample_rate / 2:
            raise ValueError(f"lowest needs to be below half of sample_rate, {self.sample_rate / 2:g} Hz, got lowest={self.lowest:g}")
        return self

    @property
    def spectrum(self) -> Spectrum:
        """|STFT|."""
        return Spectrum(sample_rate=self.sample_rate, n_fft=self.n_fft, hop_length=self.hop_length, power=1.0)

    def spectra(self) -> tuple[Spectrum, ...]:
        """The magnitudes in which peaks are looked for."""
        return (self.spectrum,)

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """hashes (landmarks,), frames (landmarks,): of the first peak, from the clip's beginning; as many as there are."""
        return Column("hashes", (None,), "uint32", ("landmark",)), Column("frames", (None,), "int32", ("landmark",))

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        spectrum = self.spectrum

        def live(batch: Batch) -> dict[str, Any]:
            magnitudes = batch.spectrum(spectrum)
            if hasattr(magnitudes, "detach"):
                magnitudes = magnitudes.detach().cpu().numpy()
            found = [self.landmarks(each[:valid]) for each, valid in zip(magnitudes, batch.valid(spectrum), strict=True)]
            return {"hashes": [hashes for hashes, _ in found], "frames": [frames for _, frames in found]}

        return live

    def hear(self, samples: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
        """The landmarks of a sound.

        Args:
            samples: (samples,) float32, mono, of any length. sample_rate: Hz.
        Returns:
            hashes (landmarks,), frames (landmarks,).
        Raises:
            ValueError: a sample is not a finite number.
        """
        if not np.isfinite(samples).all():
            raise ValueError(
                f"sound with NaN or infinity at {np.flatnonzero(~np.isfinite(samples))[0] / sample_rate:.3f} s has no landmarks"
            )
        clip = Clip("", 0.0, sample_rate, np.ascontiguousarray(samples, np.float32))
        made = self.open()(Batch([clip], None, self.spectra()))
        return made["hashes"][0], made["frames"][0]

    def landmarks(self, magnitudes: NDArray[np.float32]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
        """Hashes and frames of the pairs in one spectrogram, (frames, bins), by frame."""
        first = max(1, int(np.ceil(self.lowest * self.n_fft / self.sample_rate)))
        frames, bins = peaks(magnitudes[:, first:], self.radius_frames, self.radius_bins)
        return pairs(frames, bins + first, self.gap, self.fan)


def peaks(magnitudes: NDArray[np.float32], radius_frames: int, radius_bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a spectrogram is louder than all around, by frame, then by bin; of equals in a row the first alone.

    Args:
        magnitudes: (frames, bins) ≥ 0.

    >>> sound = np.zeros((9, 9), np.float32); sound[4, 5] = 2; sound[5, 6] = 1
    >>> [places.tolist() for places in peaks(sound, 2, 2)]
    [[4], [5]]
    """
    if not magnitudes.size or not (loudest := float(magnitudes.max())) > 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    across = running_max(magnitudes, radius_bins, 1)
    around = running_max(across, radius_frames, 0)
    at = np.flatnonzero(((magnitudes >= around) & (magnitudes > FLOOR * loudest)).ravel())
    frames, bins = np.divmod(at, magnitudes.shape[1])
    # A steady tone would be a peak in every frame: whoever is no louder than a frame shortly before it is none.
    fresh = np.ones(len(at), bool)
    level = magnitudes.ravel()[at]
    for back in range(1, radius_frames + 1):
        fresh &= (frames < back) | (across[np.maximum(frames - back, 0), bins] < level)
    return frames[fresh], bins[fresh]


def running_max(values: NDArray[np.float32], radius: int, axis: int) -> NDArray[np.float32]:
    """The largest value within `radius` places on both sides along an axis, by doubling.

    >>> running_max(np.array([[1, 5, 2, 0, 0, 3]], np.float32), 1, 1).tolist()
    [[5.0, 5.0, 5.0, 2.0, 3.0, 3.0]]
    """
    rows = np.moveaxis(values, axis, 0)
    padded = np.concatenate([np.zeros((radius, *rows.shape[1:]), np.float32), rows, np.zeros((radius, *rows.shape[1:]), np.float32)])
    width = 1
    while 2 * width <= 2 * radius + 1:
        padded = np.maximum(padded[:-width], padded[width:])
        width *= 2
    if rest := 2 * radius + 1 - width:
        padded = np.maximum(padded[:-rest], padded[rest:])
    return np.moveaxis(padded, 0, axis)


def pairs(frames: NDArray[np.int64], bins: NDArray[np.int64], gap: int, fan: int) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Hashes of pairs of peaks, and the frames of their first peaks, by frame.

    Args:
        frames, bins: (peaks,) where they are, by frame. gap: frames from a peak to the first partner. fan: partners of a peak.
    """
    furthest, widest = (1 << TIME_BITS) - 1, (1 << STEP_BITS - 1) - 1
    taken = np.zeros(len(frames), np.int64)
    hashes, starts = [], []
    for step in range(1, min(REACH, len(frames) - 1) + 1):
        later, higher = frames[step:] - frames[:-step], bins[step:] - bins[:-step]
        near = np.flatnonzero((later >= gap) & (later <= furthest) & (np.abs(higher) <= widest) & (taken[:-step] < fan))
        taken[near] += 1
        hashes.append(code(bins[near], higher[near], later[near]))
        starts.append(frames[near])
    if not starts:
        return np.empty(0, np.uint32), np.empty(0, np.int32)
    found, begun = np.concatenate(hashes), np.concatenate(starts).astype(np.int32)
    order = np.lexsort((found, begun))
    return found[order], begun[order]


def code(bins: NDArray[np.int64], steps: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Pairs as numbers of `HASH_BITS` bits, scattered so that every prefix has as many.

    Args:
        bins: of the first peak, below 512. steps: bins from it to the second, −63 to 63. times: frames, 1 to 63.
    """
    packed = (bins << STEP_BITS | (steps + (1 << STEP_BITS - 1))) << TIME_BITS | times
    return (packed * SCATTER & (1 << HASH_BITS) - 1).astype(np.uint32)


def first_bins(hashes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The first peaks' bins, of hashes as `code` makes them.

    >>> first_bins(code(np.array([100, 511]), np.array([-63, 5]), np.array([20, 63]))).tolist()
    [100, 511]
    """
    return (hashes.astype(np.int64) * GATHER & (1 << HASH_BITS) - 1) >> STEP_BITS + TIME_BITS
