"""What a spectrogram is: its parameters, by librosa's names and with librosa's defaults."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from extractors.filterbanks import chroma_bank, mel_bank

PadMode = Literal["constant", "edge", "linear_ramp", "reflect", "symmetric"]


class MelBank(BaseModel):
    """Mel bands; parameters as in librosa.filters.mel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_mels: int = Field(128, ge=1)
    fmin: float = Field(0.0, ge=0)
    fmax: float | None = Field(None, gt=0, description="Hz; half the sample rate if absent")
    htk: bool = False
    norm: Literal["slaney"] | None = "slaney"

    @property
    def bins(self) -> int:
        """Number of bands."""
        return self.n_mels

    def matrix(self, sample_rate: int, n_fft: int) -> NDArray[np.float32]:
        """(n_mels, 1 + n_fft // 2) float32."""
        fmax = sample_rate / 2 if self.fmax is None else self.fmax
        return mel_bank(sample_rate, n_fft, self.n_mels, self.fmin, fmax, self.htk, self.norm == "slaney")

    def check(self, sample_rate: int) -> None:
        """Raise ValueError where the band's limits do not lie within 0 Hz and half the sample rate."""
        fmax = sample_rate / 2 if self.fmax is None else self.fmax
        if fmax > sample_rate / 2:
            raise ValueError(f"fmax needs to be at most half of sample_rate, {sample_rate / 2:g} Hz, got fmax={fmax:g}")
        if self.fmin >= fmax:
            raise ValueError(f"fmin needs to be below fmax, got fmin={self.fmin:g} fmax={fmax:g}")


class ChromaBank(BaseModel):
    """Pitch classes; parameters as in librosa.filters.chroma."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_chroma: int = Field(12, ge=1)
    tuning: float = 0.0
    ctroct: float = 5.0
    octwidth: float | None = Field(2.0, gt=0)
    norm: float | None = Field(2.0, gt=0)
    base_c: bool = True

    @property
    def bins(self) -> int:
        """Number of pitch classes."""
        return self.n_chroma

    def matrix(self, sample_rate: int, n_fft: int) -> NDArray[np.float32]:
        """(n_chroma, 1 + n_fft // 2) float32."""
        return chroma_bank(sample_rate, n_fft, self.n_chroma, self.tuning, self.ctroct, self.octwidth, self.norm, self.base_c)

    def check(self, sample_rate: int) -> None:
        """Every rate has pitch classes."""


class Spectrum(BaseModel):
    """|STFT| ** power, mapped by a bank if there is one. Frames are rows.

    The transform is made in `precision`, as its noise floor is: float32 rounds at about -140 dB of a frame's energy, which is far below
    what LogMel keeps (80 dB) and above the far side lobes of a pure tone; librosa transforms in float64. Results are float32 in both.

    Raises:
        ValueError: parameters that contradict each other, at construction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int = Field(gt=0, description="Hz")
    n_fft: int = Field(2048, ge=2)
    hop_length: int = Field(512, ge=1)
    win_length: int | None = Field(None, ge=1, description="n_fft if absent")
    window: str = Field("hann", description="a name that scipy.signal.get_window knows")
    center: bool = Field(True, description="frame t is centred on sample t * hop_length, rather than beginning there")
    pad_mode: PadMode = Field("constant", description="what lies beyond both ends where frames are centred")
    power: float = Field(2.0, gt=0)
    bank: MelBank | ChromaBank | None = None
    precision: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.win_length is not None and self.win_length > self.n_fft:
            raise ValueError(f"win_length needs to be at most n_fft, got win_length={self.win_length} n_fft={self.n_fft}")
        if self.bank is not None:
            self.bank.check(self.sample_rate)
        return self

    @property
    def bins(self) -> int:
        """Number of columns."""
        return 1 + self.n_fft // 2 if self.bank is None else self.bank.bins

    @property
    def transform(self) -> Spectrum:
        """The bare STFT behind this spectrum; spectra with equal ones share its work."""
        return self.model_copy(update={"bank": None, "power": 2.0, "win_length": self.win_length or self.n_fft})

    def frames(self, samples: int) -> int:
        """Number of frames that so many samples have.

        >>> Spectrum(sample_rate=22050).frames(22050), Spectrum(sample_rate=22050, center=False).frames(100)
        (44, 0)
        """
        padded = samples + 2 * (self.n_fft // 2) if self.center else samples
        return max(0, 1 + (padded - self.n_fft) // self.hop_length)
