"""Features that librosa's users know, by librosa's parameters and to librosa's numbers; rows are frames (`.T` is librosa's way round)."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from extractors.arrays import decibels, times
from extractors.batch import Batch
from extractors.extractor import Column, Live
from extractors.framed import Framed, Stored
from extractors.masking import masked
from extractors.spectrum import MelBank, Spectrum


class Stft(Framed):
    """Magnitude of the short-time Fourier transform: |librosa.stft|. Transformed in float64, as librosa does.

    float16 holds 3 digits between 0.0001 and 65504: enough for a picture, too little for quiet bins.
    """

    use: Literal["Stft"] = "Stft"

    dtype: Stored = Field("float32", description="what is stored")

    @property
    def spectrum(self) -> Spectrum:
        """|STFT|."""
        return self.framed_spectrum(None, 1.0, "float64")

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """magnitude (frames, 1 + n_fft // 2), valid."""
        return self.frame_columns(seconds, "magnitude", self.spectrum.bins, self.dtype)

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        spectrum = self.spectrum
        return lambda batch: {"magnitude": batch.spectrum(spectrum), "valid": batch.valid(spectrum)}


class _MelBands(Framed):
    """Parameters of mel bands."""

    n_mels: int = Field(128, ge=1, le=1024)
    fmin: float = Field(0.0, ge=0, description="Hz")
    fmax: float | None = Field(None, gt=0, description="Hz; half the sample rate if absent")
    htk: bool = Field(False, description="HTK's mel scale rather than Slaney's")
    power: float = Field(2.0, gt=0, description="exponent of the magnitude: 1 energy, 2 power")

    def _mel(self, norm: Literal["slaney"] | None, precision: Literal["float32", "float64"]) -> Spectrum:
        bank = MelBank(n_mels=self.n_mels, fmin=self.fmin, fmax=self.fmax, htk=self.htk, norm=norm)
        return self.framed_spectrum(bank, self.power, precision)


class Mel(_MelBands):
    """Mel spectrogram: librosa.feature.melspectrogram. Power spans more than float16 holds, so it is stored as float32."""

    use: Literal["Mel"] = "Mel"

    norm: Literal["slaney"] | None = Field("slaney", description="unit area per band, or none: unit height")
    dtype: Stored = Field("float32", description="what is stored")

    @property
    def spectrum(self) -> Spectrum:
        """Mel power, transformed in float64 as librosa does."""
        return self._mel(self.norm, "float64")

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """mel (frames, n_mels), valid."""
        return self.frame_columns(seconds, "mel", self.n_mels, self.dtype)

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        spectrum = self.spectrum
        return lambda batch: {"mel": batch.spectrum(spectrum), "valid": batch.valid(spectrum)}


class LogMel(_MelBands):
    """Mel spectrogram in decibels: librosa.power_to_db of librosa.feature.melspectrogram.

    Stored as float16, which is exact to 0.03 dB at -80 dB; float32 keeps every digit.
    """

    use: Literal["LogMel"] = "LogMel"

    norm: Literal["slaney"] | None = Field("slaney", description="unit area per band, or none: unit height")
    ref: float | Literal["max"] = Field(1.0, description='power that is 0 dB; "max" is each clip\'s own loudest')
    amin: float = Field(1e-10, gt=0, description="power below this is taken for this")
    top_db: float | None = Field(80.0, ge=0, description="nothing is further than this below a clip's loudest; none for no floor")
    masks: bool = Field(False, description="whether SpecMask hides parts of it, filled with the clip's mean (SpecAugment)")
    dtype: Stored = Field("float16", description="what is stored")

    @property
    def spectrum(self) -> Spectrum:
        """Mel power; in float64 only where no floor hides what float32 rounds away."""
        return self._mel(self.norm, "float32" if self.top_db is not None and self.top_db <= 80 else "float64")

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """mel (frames, n_mels) in dB, valid."""
        return self.frame_columns(seconds, "mel", self.n_mels, self.dtype)

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        spectrum = self.spectrum

        def live(batch: Batch) -> dict[str, Any]:
            mel, valid = decibels(batch.spectrum(spectrum), self.ref, self.amin, self.top_db), batch.valid(spectrum)
            return {"mel": masked(mel, batch.clips, valid, spectrum) if self.masks else mel, "valid": valid}

        return live

    def identity(self) -> dict[str, Any]:
        """As always; without masks it is what it was before there were any, so that tables made then stay as they are named."""
        return {key: value for key, value in super().identity().items() if key != "masks" or value}


class Mfcc(_MelBands):
    """Mel-frequency cepstral coefficients: librosa.feature.mfcc, the cosine transform of LogMel's decibels."""

    use: Literal["Mfcc"] = "Mfcc"

    n_mfcc: int = Field(20, ge=1)
    dct_type: Literal[1, 2, 3] = 2
    norm: Literal["ortho"] | None = Field("ortho", description="the cosine transform's")
    lifter: float = Field(0.0, ge=0, description="weight of higher coefficients; 0 for none")
    mel_norm: Literal["slaney"] | None = Field("slaney", description="unit area per band, or none: unit height")
    dtype: Stored = Field("float32", description="what is stored")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc needs to be at most n_mels, got n_mfcc={self.n_mfcc} n_mels={self.n_mels}")
        return self

    @property
    def spectrum(self) -> Spectrum:
        """Mel power, the same as LogMel's."""
        return self._mel(self.mel_norm, "float32")

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """mfcc (frames, n_mfcc), valid."""
        return self.frame_columns(seconds, "mfcc", self.n_mfcc, self.dtype)

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        import scipy.fft

        spectrum = self.spectrum
        basis = scipy.fft.dct(np.eye(self.n_mels), type=self.dct_type, norm=self.norm, axis=1)[:, : self.n_mfcc]
        if self.lifter:
            basis = basis * (1 + self.lifter / 2 * np.sin(np.pi * np.arange(1, 1 + self.n_mfcc) / self.lifter))

        matrix = np.ascontiguousarray(basis, np.float32)

        def live(batch: Batch) -> dict[str, Any]:
            return {"mfcc": times(decibels(batch.spectrum(spectrum)), matrix), "valid": batch.valid(spectrum)}

        return live
