"""Loudness, noise and filters: what changes a sound's colour and neither its times nor its pitches."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augment.augmentation import Augmentation, Change, Draw, Samples, Scene, Sound, Unfit, ordered, uniform

Colour = Literal["white", "pink", "brown"]
Kind = Literal["lowpass", "highpass", "bandpass", "bandstop", "peaking", "lowshelf", "highshelf"]

# 190 s at 22.05 kHz, 16 MB a colour. A draw begins at any sample, so two clips of 30 s share a stretch in one pair out of three, but hear
# it at the same moment in one pair out of four million.
POOL = 1 << 22
SILENT = 1e-5  # RMS: 100 dB below full scale, a third of a step of 16 bits

_EXPONENTS = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # of 1/f in power
_FLAT_BELOW = 1e-3  # cycles per sample: pink and brown noise rise without end towards 0 Hz, and would be little but drift
_HIGHEST = 0.45  # of the sample rate: the highest cutoff or centre
_EDGE = 0.49  # of the sample rate: the highest edge of a band
_SHAPED = ("peaking", "lowshelf", "highshelf")
_SLOPED = ("lowpass", "highpass", "bandpass", "bandstop")

_making = Lock()


def ratio(db: float) -> float:
    """Decibels as a ratio of amplitudes.

    >>> ratio(20), ratio(-40)
    (10.0, 0.01)
    """
    return float(10 ** (db / 20))


def rms(samples: Samples) -> float:
    """Root of the mean square; summed in pairs and without BLAS, so that it is the same with any number of threads.

    >>> rms(np.array([3, -3, 3, -3], np.float32))
    3.0
    """
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.add.reduce(np.square(samples)) / max(1, len(samples))))


def noise(count: int, colour: Colour, offset: int) -> Samples:
    """A stretch of Gaussian noise, always the same: power 1 over the whole pool, its end joined to its beginning without a click.

    Args:
        count: samples. offset: where it begins, 0 to POOL.
    Returns:
        (count,) float32, possibly a view of the pool: not to be written to.
    """
    with _making:
        pool = _pool(colour)
    if offset + count <= len(pool):
        return pool[offset : offset + count]
    return np.concatenate([pool[offset:], np.resize(pool, count - (len(pool) - offset))])


@cache
def _pool(colour: Colour) -> Samples:
    generator = np.random.Generator(np.random.Philox(key=20_240_229))
    pool = generator.standard_normal(POOL, dtype=np.float32)
    if colour != "white":
        from scipy import fft

        frequencies = np.maximum(fft.rfftfreq(POOL), _FLAT_BELOW)
        spectrum = fft.rfft(pool) * (frequencies ** (-_EXPONENTS[colour] / 2)).astype(np.float32)
        spectrum[0] = 0
        pool = fft.irfft(spectrum, POOL)
        pool /= np.float32(rms(pool))
    pool.flags.writeable = False
    return pool


def sections(kind: Kind, hz: float, sample_rate: int, rolloff_db: int = 12, q: float = 0.7, gain_db: float = 0.0) -> NDArray[np.float64]:
    """A filter as second-order sections.

    Args:
        hz: cutoff (-3 dB) or centre; of a shelf the middle of its slope.
        rolloff_db: per octave, a multiple of 6; of the pass and stop filters.
        q: centre / bandwidth of a band or a peak; how steep a shelf is. gain_db: of peaks and shelves.
    Returns:
        (sections, 6) as scipy.signal.sosfilt takes them.
    Source:
        Butterworth for pass and stop; R. Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients, for the others.

    >>> sections("peaking", 1000, 44100).round(3).tolist()[0][:3] == sections("peaking", 1000, 44100).round(3).tolist()[0][3:]
    True
    """
    if kind in _SLOPED:
        from scipy.signal import butter

        cutoff: Any = hz
        if kind.startswith("band"):
            half = 1 / (2 * q)
            high = min(hz * (np.sqrt(1 + half**2) + half), _EDGE * sample_rate)
            cutoff = [hz * (np.sqrt(1 + half**2) - half), high]
        designed: NDArray[np.float64] = butter(rolloff_db // 6, cutoff, kind, fs=sample_rate, output="sos")
        return designed
    angle, gain = 2 * np.pi * hz / sample_rate, ratio(gain_db / 2)
    cosine, alpha = np.cos(angle), np.sin(angle) / (2 * q)
    if kind == "peaking":
        b = [1 + alpha * gain, -2 * cosine, 1 - alpha * gain]
        a = [1 + alpha / gain, -2 * cosine, 1 - alpha / gain]
    else:
        side = 1 if kind == "lowshelf" else -1
        more, less, slope = gain + 1, gain - 1, 2 * np.sqrt(gain) * alpha
        b = [gain * (more - side * less * cosine + slope), side * 2 * gain * (less - side * more * cosine)]
        b.append(gain * (more - side * less * cosine - slope))
        a = [more + side * less * cosine + slope, -side * 2 * (less + side * more * cosine), more + side * less * cosine - slope]
    biquad: NDArray[np.float64] = np.array([[*b, *a]]) / a[0]
    return biquad


class Timbre(Augmentation):
    """What changes the colour of a sound, and no label."""

    on_gpu: ClassVar[bool] = True

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """The same for every draw."""
        return Change(timbre=True)

    def extremes(self) -> tuple[Change, ...]:
        """One: all draws mean the same for labels."""
        return (Change(timbre=True),)


class Gain(Timbre):
    """Louder or softer. Peaks above 1 stay as they are: floats are not clipped.

    Labels: unchanged.
    """

    use: Literal["Gain"] = "Gain"

    low_db: float = Field(-12.0, ge=-120, le=120)
    high_db: float = Field(12.0, ge=-120, le=120)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ordered("Gain", self.low_db, self.high_db)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """gain_db."""
        return {"gain_db": uniform(rng, self.low_db, self.high_db)}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """Samples × 10^(gain_db / 20)."""
        with np.errstate(over="ignore"):
            return sound.with_samples(sound.samples * np.float32(ratio(draw["gain_db"])))


class AddNoise(Timbre):
    """Gaussian noise at a ratio to the clip's own power (RMS over the whole clip).

    The noise is a stretch of one fixed pool of 2^22 samples a colour, repeated where a clip is longer: much faster than fresh noise.
    Pink falls by 3 dB per octave, brown by 6; both are flat below a thousandth of the sample rate.
    Labels: unchanged.
    """

    use: Literal["AddNoise"] = "AddNoise"

    snr_low_db: float = Field(5.0, ge=-120, le=120, description="dB from the noise's RMS up to the clip's")
    snr_high_db: float = Field(40.0, ge=-120, le=120)
    colour: Colour = "white"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ordered("AddNoise", self.snr_low_db, self.snr_high_db)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """snr_db, the colour, and where in the pool the noise begins (samples)."""
        return {"snr_db": uniform(rng, self.snr_low_db, self.snr_high_db), "colour": self.colour, "offset": int(rng.integers(POOL))}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """Samples + noise.

        Raises:
            Unfit: silence, to which there is no ratio.
        """
        level = rms(sound.samples)
        if level < SILENT:
            raise Unfit(f"AddNoise {draw['snr_db']:g} dB: the clip is silent", "silent", "leave silence out: no noise has a ratio to it")
        added = noise(len(sound.samples), draw["colour"], draw["offset"])
        # Of this very stretch: a short one is louder or softer than the pool. A lone sample that is 0 stays 0.
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = added * np.float32(level / (ratio(draw["snr_db"]) * max(rms(added), 1e-9)))
            return sound.with_samples(np.add(sound.samples, scaled, out=scaled))


class Filter(Timbre):
    """One filter whose cutoff or centre is drawn log-uniformly.

    Cutoffs are drawn up to 0.45 × the sample rate where `high_hz` lies above, and a band's upper edge ends at 0.49. The filters are
    causal and start from rest; what they delay is in the order of q / (π × centre).
    Labels: unchanged.
    """

    use: Literal["Filter"] = "Filter"

    kind: Kind
    low_hz: float = Field(ge=0.001, description="lowest cutoff or centre, 0.001 or more")
    high_hz: float = Field(gt=0, description="highest cutoff or centre")
    rolloff_db: int = Field(12, ge=6, le=48, multiple_of=6, description="dB per octave; of lowpass, highpass, bandpass, bandstop")
    q_low: float = Field(0.7, ge=0.1, le=30, description="centre / bandwidth of a band or peak; how steep a shelf is")
    q_high: float = Field(0.7, ge=0.1, le=30)
    gain_low_db: float = Field(-12.0, ge=-60, le=60, description="of peaking, lowshelf, highshelf")
    gain_high_db: float = Field(12.0, ge=-60, le=60)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        ordered("Filter", self.low_hz, self.high_hz, 0)
        ordered("Filter q", self.q_low, self.q_high, 0)
        ordered("Filter gain", self.gain_low_db, self.gain_high_db)
        unused = {"gain_low_db", "gain_high_db"} if self.kind in _SLOPED else {"rolloff_db"}
        unused |= {"q_low", "q_high"} if self.kind in ("lowpass", "highpass") else set()
        if stray := sorted(name for name in unused if getattr(self, name) != type(self).model_fields[name].default):
            raise ValueError(f"Filter {self.kind!r} has no {', '.join(stray)}; leave it out")
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """The kind with its hz, and what else it has.

        Raises:
            Unfit: even the lowest cutoff is above what the sample rate can hold.
        """
        highest = _HIGHEST * sound.sample_rate
        if self.low_hz > highest:
            message = f"Filter low_hz={self.low_hz:g}: above {highest:g} Hz, the most at a sample rate of {sound.sample_rate} Hz"
            raise Unfit(message, "sample rate", "lower low_hz, or raise the views' sample_rate")
        hz = round(float(np.exp(rng.uniform(np.log(self.low_hz), np.log(min(self.high_hz, highest))))), 6)
        draw: Draw = {"kind": self.kind, "hz": hz}
        if self.kind in _SLOPED:
            draw["rolloff_db"] = self.rolloff_db
        if self.kind not in ("lowpass", "highpass"):
            draw["q"] = uniform(rng, self.q_low, self.q_high)
        if self.kind in _SHAPED:
            draw["gain_db"] = uniform(rng, self.gain_low_db, self.gain_high_db)
        return draw

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The samples, filtered in double precision."""
        from scipy.signal import sosfilt

        given = {name: draw[name] for name in ("rolloff_db", "q", "gain_db") if name in draw}
        with np.errstate(over="ignore", invalid="ignore"):
            filtered = sosfilt(sections(draw["kind"], draw["hz"], sound.sample_rate, **given), sound.samples.astype(np.float64))
            return sound.with_samples(filtered.astype(np.float32))
