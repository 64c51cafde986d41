"""What all features of short frames share: the parameters of their frames, by librosa's names.

What TOML has no word for is written "none": `tuning = "none"`.
"""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from extractors.extractor import Column, Extractor
from extractors.spectrum import ChromaBank, MelBank, PadMode, Spectrum
from extractors.stft import window

Stored = Literal["float16", "float32"]


class Framed(Extractor):
    """What all features of short frames share. Every table has `valid`: frames of sound, before frames of padding."""

    sample_rate: int = Field(22050, gt=0, le=1_000_000, description="Hz")
    n_fft: int = Field(2048, ge=2, le=65_536, description="samples of a frame")
    hop_length: int = Field(512, ge=1, le=1_000_000, description="samples from one frame to the next")
    win_length: int | None = Field(None, ge=1, description="n_fft if absent")
    window: str = Field("hann", description="a name that scipy.signal.get_window knows")
    center: bool = Field(True, description="frame t is centred on sample t * hop_length, rather than beginning there")
    pad_mode: PadMode = Field("constant", description="what lies beyond both ends where frames are centred")

    @model_validator(mode="before")
    @classmethod
    def _none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        optional = {key for key, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {key: None if key in optional and value == "none" else value for key, value in values.items()}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        window(self.window, 4)
        spectrum = self.spectrum
        if isinstance(spectrum.bank, MelBank):
            empty = np.flatnonzero(~spectrum.bank.matrix(self.sample_rate, self.n_fft).any(axis=1))
            if len(empty):
                raise ValueError(
                    f"n_mels={spectrum.bank.n_mels} leaves {len(empty)} bands without an FFT bin, the first of them band {empty[0]}: "
                    f"fewer n_mels, or an n_fft larger than {self.n_fft}"
                )
        return self

    @property
    def spectrum(self) -> Spectrum:
        """What a batch is asked for."""
        raise NotImplementedError

    def spectra(self) -> tuple[Spectrum, ...]:
        """The one spectrum that this feature is made from."""
        return (self.spectrum,)

    def frames(self, seconds: float | None) -> int | None:
        """Frames of a clip; None for whole tracks.

        Raises:
            ValueError: the clip is too short for a frame.
        """
        if seconds is None:
            return None
        count = self.spectrum.frames(round(seconds * self.sample_rate))
        if count == 0:
            raise ValueError(
                f"{type(self).__name__}: clips of {seconds:g} s hold no frame of n_fft={self.n_fft}: longer clips, or center = true"
            )
        return count

    def frame_columns(self, seconds: float | None, name: str, bins: int, dtype: str) -> tuple[Column, ...]:
        """A column of so many numbers a frame, and `valid`."""
        return Column(name, (self.frames(seconds), bins), dtype, ("time", name)), Column("valid", dtype="int32")

    def framed_spectrum(self, bank: MelBank | ChromaBank | None, power: float, precision: Literal["float32", "float64"]) -> Spectrum:
        """The spectrum with this feature's frames."""
        frames = {key: getattr(self, key) for key in Framed.model_fields if key != "name"}
        return Spectrum(bank=bank, power=power, precision=precision, **frames)
