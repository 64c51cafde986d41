"""Masks put over log-mel spectrograms, with NumPy clip by clip, with torch as one operation for a whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractors.clip import Clip, Mask
from extractors.spectrum import Spectrum

# Means are of values rounded to 2^-16 dB: such sums are exact in float64, and so the same in any order of their terms.
_STEPS = 65536


def masked(mel: Any, clips: Sequence[Clip], valid: NDArray[np.int32], spectrum: Spectrum) -> Any:
    """Log-mel spectrograms with each clip's masks filled with the mean of that clip's sound.

    The mean, as that is what the paper's zero is: its spectrograms are normalised to mean zero.

    Args:
        mel: (clips, frames, bands) float32, NumPy's or torch's; NumPy's is written to.
        clips: whose masks are put on; those without are left as they are.
        valid: (clips,) frames that are sound; padding takes no part in the mean.
        spectrum: what mel was made as.
    Source: D. S. Park et al., SpecAugment, Interspeech 2019, arXiv:1904.08779, section 2.
    """
    if not any(clip.masks for clip in clips) or 0 in mel.shape:
        return mel
    _, frames, bands = mel.shape
    times, bins = np.zeros((len(clips), frames), bool), np.zeros((len(clips), bands), bool)
    for row, clip in enumerate(clips):
        for mask in clip.masks:
            (times if mask.axis == "time" else bins)[row, _hidden(mask, spectrum)] = True
    counts = np.maximum(valid, 1)
    if isinstance(mel, np.ndarray):
        for row in np.flatnonzero(times.any(1) | bins.any(1)):
            mean = np.rint(mel[row, : counts[row]].astype(np.float64) * _STEPS).sum() / (counts[row] * bands) / _STEPS
            mel[row, times[row]] = mean
            mel[row][:, bins[row]] = mean
        return mel
    import torch

    on_times, on_bins, on_counts = (torch.from_numpy(array).to(mel.device) for array in (times, bins, counts))
    sound = torch.arange(frames, device=mel.device) < on_counts[:, None]
    means = ((mel.double() * _STEPS).round() * sound[:, :, None]).sum((1, 2)) / (on_counts * bands) / _STEPS
    return torch.where(on_times[:, :, None] | on_bins[:, None, :], means.float()[:, None, None], mel)


def _hidden(mask: Mask, spectrum: Spectrum) -> slice:
    """The frames, or the bands, whose centres lie in [start, stop).

    >>> _hidden(Mask("time", 0.1, 0.2), Spectrum(sample_rate=22050, hop_length=441))
    slice(5, 10, None)
    """
    if mask.axis == "time":
        unit, centre, step = spectrum.sample_rate, 0 if spectrum.center else spectrum.n_fft / 2, spectrum.hop_length
    else:
        unit, centre, step = spectrum.bins, 0.5, 1
    # Rounded, as 0.1 · 3 is a little more than 0.3.
    start, stop = (max(0, math.ceil(round((end * unit - centre) / step, 6))) for end in (mask.start, mask.stop))
    return slice(start, stop)
