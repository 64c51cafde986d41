"""Pitch classes over time, as librosa finds them in a short-time Fourier transform."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from extractors.arrays import normalized, stack, times
from extractors.batch import Batch
from extractors.extractor import Column, Live
from extractors.framed import Framed, Stored
from extractors.spectrum import ChromaBank, Spectrum
from extractors.tuning import estimate_tuning


class ChromaStft(Framed):
    """Strength of the pitch classes: librosa.feature.chroma_stft. Tuning is 0 here unless it is to be estimated, 0.1 of a clip's cost."""

    use: Literal["ChromaStft"] = "ChromaStft"

    n_chroma: int = Field(12, ge=1)
    tuning: float | None = Field(0.0, description="fractions of a pitch class above A = 440 Hz; none estimates it for each clip")
    norm: Literal["inf"] | float | None = Field("inf", description='order of the norm that a frame is divided by: "inf", 1, 2, …, none')
    ctroct: float = Field(5.0, description="octave above A0 = 27.5 Hz that counts most")
    octwidth: float | None = Field(2.0, gt=0, description="octaves around it that count; none for all alike")
    base_c: bool = Field(True, description="begin at C rather than A")
    dtype: Stored = Field("float16", description="what is stored")

    @model_validator(mode="before")
    @classmethod
    def _infinity(cls, values: Any) -> Any:
        return {**values, "norm": "inf"} if isinstance(values, dict) and values.get("norm") == math.inf else values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.norm, float) and not self.norm > 0:
            raise ValueError(f"norm needs to be above 0, 'inf' or none, got norm={self.norm:g}")
        if self.norm is None and self.dtype == "float16":
            raise ValueError('norm=none gives powers beyond what float16 holds: dtype = "float32"')
        return self

    @property
    def spectrum(self) -> Spectrum:
        """Chroma power, or all of the STFT's where tuning is yet to be found."""
        bank = self._bank(self.tuning) if self.tuning is not None else None
        return self.framed_spectrum(bank, 2.0, "float64")

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """chroma (frames, n_chroma), valid."""
        return self.frame_columns(seconds, "chroma", self.n_chroma, self.dtype)

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        spectrum = self.spectrum

        def live(batch: Batch) -> dict[str, Any]:
            power = batch.spectrum(spectrum)
            if self.tuning is None:
                power = stack([self._tuned(clip) for clip in power])
            return {"chroma": normalized(power, self.norm), "valid": batch.valid(spectrum)}

        return live

    def _bank(self, tuning: float) -> ChromaBank:
        return ChromaBank(n_chroma=self.n_chroma, tuning=tuning, ctroct=self.ctroct, octwidth=self.octwidth, base_c=self.base_c)

    def _tuned(self, power: Any) -> Any:
        """Chroma (frames, n_chroma) of one clip's power (frames, FFT bins)."""
        tuning = estimate_tuning(power if isinstance(power, np.ndarray) else power.cpu().numpy(), self.sample_rate, self.n_chroma)
        return times(power[None], self._bank(tuning).matrix(self.sample_rate, self.n_fft).T)[0]
