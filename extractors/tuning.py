"""How far a recording's A lies from 440 Hz."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def estimate_tuning(power: NDArray[np.float32], sample_rate: int, bins_per_octave: int = 12, resolution: float = 0.01) -> float:
    """The commonest deviation of spectral peaks from an equal-tempered scale on A = 440 Hz.

    Peaks between 150 Hz and 4 kHz that reach a tenth of their frame's strongest are placed by a parabola through their neighbours;
    the stronger half of them is counted. Steps are those of librosa.estimate_tuning, rounding included, as the answer is a histogram's.

    Args:
        power: (frames, FFT bins) float32.
        sample_rate: Hz.
        resolution: width of the histogram's cells, in fractions of a bin.
    Returns:
        fractions of a bin in [-0.5, 0.5); 0 where nothing is heard.
    Source:
        Smith, Spectral Audio Signal Processing (2011), quadratic interpolation of spectral peaks.
    """
    hz = np.linspace(0, sample_rate / 2, power.shape[1])
    loudest = power.max(axis=1, keepdims=True) * np.float32(0.1) if power.size else power
    strong = np.where(power > loudest, power, np.float32(0))
    after = np.concatenate([strong[:, 1:], strong[:, -1:]], axis=1)
    before = np.concatenate([strong[:, :1], strong[:, :-1]], axis=1)
    frames, bins = np.nonzero((strong > before) & (strong >= after) & (hz >= 150.0) & (hz < min(4000.0, sample_rate / 2)))
    if len(frames) == 0:
        return 0.0
    last = power.shape[1] - 1
    here, right, left = (power[frames, np.clip(bins + step, 0, last)] for step in (0, 1, -1))
    curve, slope = (right + left).astype(np.float64) - 2.0 * here.astype(np.float64), (right - left).astype(np.float64) / 2
    inside = (np.abs(slope) < np.abs(curve)) & (bins > 0) & (bins < last)
    shift = np.where(inside, -slope / np.where(inside, curve, 1.0), 0.0).astype(np.float32)
    height = here + np.float32(0.5) * slope.astype(np.float32) * shift
    pitch = ((bins + shift) * (sample_rate / (2 * last))).astype(np.float32)[height >= np.median(height)]
    deviation = np.mod(np.float32(bins_per_octave) * np.log2(pitch / np.float32(440.0 / 16)), np.float32(1.0))
    deviation[deviation >= 0.5] -= 1.0
    counts, cells = np.histogram(deviation, np.linspace(-0.5, 0.5, int(np.ceil(1 / resolution)) + 1))
    return float(cells[np.argmax(counts)])
