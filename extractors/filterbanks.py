"""The linear maps from FFT bins to mel bands and to pitch classes, from their formulae."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hz_to_mel(hz: NDArray[np.float64], htk: bool = False) -> NDArray[np.float64]:
    """Mel of frequencies in Hz: Slaney's scale (linear below 1 kHz, logarithmic above), or HTK's.

    Source:
        Slaney, Auditory Toolbox (1998); Young et al., The HTK Book (2006).

    >>> hz_to_mel(np.array([0.0, 1000.0, 6400.0])).tolist()
    [0.0, 15.0, 42.0]
    """
    if htk:
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    linear = hz / (200.0 / 3)
    return np.where(hz >= 1000.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4), linear)


def mel_to_hz(mel: NDArray[np.float64], htk: bool = False) -> NDArray[np.float64]:
    """The inverse of `hz_to_mel`.

    >>> mel_to_hz(np.array([15.0, 42.0])).round(6).tolist()
    [1000.0, 6400.0]
    """
    if htk:
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    return np.where(mel >= 15.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (np.maximum(mel, 15.0) - 15.0)), mel * (200.0 / 3))


def mel_bank(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool, slaney_norm: bool) -> NDArray[np.float32]:
    """Triangular filters, evenly spaced in mel.

    Returns:
        (n_mels, 1 + n_fft // 2) float32; with `slaney_norm` each triangle has unit area, else unit height.
    """
    bins = np.linspace(0, sample_rate / 2, 1 + n_fft // 2) if n_fft % 2 == 0 else np.fft.rfftfreq(n_fft, 1 / sample_rate)
    low, high = hz_to_mel(np.array([fmin, fmax]), htk)
    edges = mel_to_hz(np.linspace(low, high, n_mels + 2), htk)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.maximum(0, np.minimum(rise, fall))
    if slaney_norm:
        weights *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(weights, np.float32)


def chroma_bank(
    sample_rate: int,
    n_fft: int,
    n_chroma: int,
    tuning: float,
    ctroct: float,
    octwidth: float | None,
    norm: float | None,
    base_c: bool,
) -> NDArray[np.float32]:
    """Gaussian bumps around each pitch class, weighted by a Gaussian over octaves.

    Args:
        tuning: deviation from A = 440 Hz in fractions of a chroma bin.
        ctroct, octwidth: centre and half-width, in octaves above A0 = 27.5 Hz, of the weighting; width None is flat.
        norm: order of the norm that each FFT bin's column is divided by; None for none.
        base_c: the first class is C rather than A.
    Returns:
        (n_chroma, 1 + n_fft // 2) float32.
    Source:
        Ellis, Chroma feature analysis and synthesis (2007).
    """
    hz = np.linspace(0, sample_rate, n_fft, endpoint=False)[1:]
    octaves = np.log2(hz / (440.0 * 2.0 ** (tuning / n_chroma) / 16))
    # Bin 0 has no pitch: it is put 1.5 octaves below bin 1, so that it is as broad as it is vague.
    octaves = np.concatenate(([octaves[0] - 1.5], octaves))
    pitch = n_chroma * octaves
    width = np.concatenate((np.maximum(np.diff(pitch), 1.0), [1.0]))
    half = np.round(n_chroma / 2)
    distance = np.remainder(pitch - np.arange(n_chroma)[:, None] + half + 10 * n_chroma, n_chroma) - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    if norm is not None:
        weights = weights / np.linalg.norm(weights, ord=norm, axis=0)
    if octwidth is not None:
        weights = weights * np.exp(-0.5 * ((octaves - ctroct) / octwidth) ** 2)
    if base_c:
        weights = np.roll(weights, -3 * (n_chroma // 12), axis=0)
    return np.ascontiguousarray(weights[:, : 1 + n_fft // 2], dtype=np.float32)
