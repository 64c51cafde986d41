"""Spectra of waves: one transform for all that share it, on the CPU with NumPy, on a GPU with torch.

What a clip's spectrum is depends, to the last bit, on that clip alone: each is cut into the same tiles however clips are batched and
whatever else is computed from them, and no product is large enough for BLAS to divide it among threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from extractors.spectrum import Spectrum

if TYPE_CHECKING:
    import torch

# A tile of windowed frames and its transform stay within a core's second-level cache.
TILE_BYTES = 1 << 20
# OpenBLAS divides products of more than 65536 * 4 multiplications among threads, and then bytes may differ with their number.
BLAS_LIMIT = 1 << 18
PRODUCT_ROWS = 128
# Neighbouring bands are multiplied together: dense enough for BLAS, narrow enough that few zeros are multiplied.
BANDS = 8
# Frames that a GPU transforms at once.
GPU_FRAMES = 1 << 14


class Projection:
    """A matrix that is zero but for a band along its diagonal, as small dense blocks.

    Args:
        matrix: (inputs, outputs) float32.
    """

    def __init__(self, matrix: NDArray[np.float32]) -> None:
        self.shape = matrix.shape
        groups = [slice(first, min(first + BANDS, self.shape[1])) for first in range(0, self.shape[1], BANDS)]
        spans = [np.flatnonzero(matrix[:, group].any(axis=1)) for group in groups]
        reach = [(int(span[0]), int(span[-1]) + 1) if len(span) else (0, 1) for span in spans]
        if sum(stop - start for start, stop in reach) > 2 * self.shape[0]:  # not banded: read the input once
            groups, reach = [slice(0, self.shape[1])], [(0, self.shape[0])]
        self._blocks: list[tuple[slice, slice, NDArray[np.float32], bool]] = []
        for group, (start, stop) in zip(groups, reach, strict=True):
            inputs = max(1, BLAS_LIMIT // (PRODUCT_ROWS * (group.stop - group.start)))
            for first in range(start, stop, inputs):
                part = slice(first, min(first + inputs, stop))
                self._blocks.append((part, group, np.ascontiguousarray(matrix[part, group]), first == start))

    def __call__(self, inputs: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write inputs (rows, inputs) @ matrix to out (rows, outputs)."""
        for first in range(0, len(inputs), PRODUCT_ROWS):
            rows = slice(first, first + PRODUCT_ROWS)
            for part, group, block, opens in self._blocks:
                if opens:
                    np.matmul(inputs[rows, part], block, out=out[rows, group])
                else:
                    out[rows, group] += inputs[rows, part] @ block


def spectra(waves: NDArray[np.float32], wanted: Sequence[Spectrum]) -> list[NDArray[np.float32]]:
    """Spectra that share one transform.

    Args:
        waves: (clips, samples) float32.
        wanted: spectra whose `transform` is the same.
    Returns:
        for each spectrum (clips, frames, bins) float32.
    """
    import scipy.fft

    transform = wanted[0].transform
    frames = transform.frames(waves.shape[1])
    results: list[NDArray[np.float32]] = [np.empty((len(waves), frames, spectrum.bins), np.float32) for spectrum in wanted]
    if frames == 0:
        return results
    window = _window(transform)
    rows = max(1, min(frames, TILE_BYTES // window.nbytes))
    windowed = np.empty((rows, transform.n_fft), window.dtype)
    magnitude = np.empty((rows, transform.bins), np.float32)
    for clip, wave in enumerate(waves):
        stretches = _stretches(wave, transform)
        for first in range(0, frames, rows):
            tile = slice(first, min(first + rows, frames))
            count = tile.stop - first
            for begin, framed in stretches:
                low, high = max(first, begin), min(tile.stop, begin + len(framed))
                if low < high:
                    np.multiply(framed[low - begin : high - begin], window, out=windowed[low - first : high - first])
            np.abs(scipy.fft.rfft(windowed[:count], axis=1).astype(np.complex64, copy=False), out=magnitude[:count])
            _finish(magnitude[:count], wanted, [result[clip, tile] for result in results])
    return results


def spectra_torch(waves: NDArray[np.float32] | torch.Tensor, wanted: Sequence[Spectrum], device: str) -> list[torch.Tensor]:
    """As `spectra`, with torch on `device`, many clips at once; waves that are there already stay there.

    Clips are taken in groups of one size, the last filled up with silence, because kernels are chosen by shape.
    """
    import torch

    transform = wanted[0].transform
    frames = transform.frames(waves.shape[1])
    results = [torch.empty((len(waves), frames, spectrum.bins), device=device) for spectrum in wanted]
    if frames == 0:
        return results
    window = torch.from_numpy(_window(transform)).to(device)
    banks = [None if s.bank is None else torch.from_numpy(_matrix(s)).to(device) for s in wanted]
    group = max(1, GPU_FRAMES // frames)
    for first in range(0, len(waves), group):
        part = waves[first : first + group]
        if isinstance(part, np.ndarray):
            part = torch.from_numpy(part.copy()).to(device)  # Ray's arrays cannot be written to, which torch warns of
        filled = torch.nn.functional.pad(part, (0, 0, 0, group - len(part)))
        framed = _padded_torch(filled, transform).unfold(1, transform.n_fft, transform.hop_length)
        magnitude = torch.fft.rfft(framed * window).to(torch.complex64).abs()
        for spectrum, bank, result in zip(wanted, banks, results, strict=True):
            bins = magnitude**spectrum.power
            # A batched product treats every clip alike, wherever it stands in its group.
            made = bins if bank is None else torch.bmm(bins, bank.expand(group, -1, -1))
            result[first : first + group] = made[: len(part)]
    return results


def _finish(magnitude: NDArray[np.float32], wanted: Sequence[Spectrum], out: Sequence[NDArray[np.float32]]) -> None:
    """What each spectrum asks for, from |FFT| (frames, bins)."""
    powers: dict[float, NDArray[np.float32]] = {1.0: magnitude}
    for spectrum, target in zip(wanted, out, strict=True):
        if spectrum.power not in powers:
            powers[spectrum.power] = magnitude * magnitude if spectrum.power == 2 else magnitude ** np.float32(spectrum.power)
        if spectrum.bank is None:
            target[...] = powers[spectrum.power]
        else:
            _projection(spectrum)(powers[spectrum.power], target)


def _padded(waves: NDArray[np.float32], transform: Spectrum) -> NDArray[np.float32]:
    """(clips, samples) with what lies beyond both ends."""
    if not transform.center:
        return waves
    half = transform.n_fft // 2
    # No mode but zeros can continue a sound of no samples.
    return np.pad(waves, ((0, 0), (half, half)), mode=transform.pad_mode if waves.shape[1] else "constant")


def _padded_torch(waves: torch.Tensor, transform: Spectrum) -> torch.Tensor:
    """As `_padded`. Each mode repeats samples of the wave, or scales the outermost."""
    import torch

    samples, half = waves.shape[1], transform.n_fft // 2
    if not transform.center:
        return waves
    if transform.pad_mode == "constant" or not samples:
        return torch.nn.functional.pad(waves, (half, half))
    scaled = transform.pad_mode == "linear_ramp"
    source = np.pad(np.arange(samples), half, mode="edge" if scaled else transform.pad_mode)
    head, tail = (waves[:, torch.from_numpy(places).to(waves.device)] for places in (source[:half], source[samples + half :]))
    if scaled:
        ramp = torch.arange(half, device=waves.device) / half
        head, tail = head * ramp, tail * ramp.flip(0)
    return torch.cat([head, waves, tail], 1)


def _stretches(wave: NDArray[np.float32], transform: Spectrum) -> list[tuple[int, NDArray[np.float32]]]:
    """The frames of one padded wave, as (number of the first, view of (frames, n_fft)); only the two ends are copied."""
    n_fft, hop, half = transform.n_fft, transform.hop_length, transform.n_fft // 2
    if not transform.center or len(wave) < 2 * (n_fft + hop):
        return [(0, _frames(_padded(wave[None], transform)[0], n_fft, hop))]
    within = (
        -(-half // hop),
        (len(wave) - n_fft + half) // hop + 1,
    )  # the first frame that begins in the wave, and the first to end beyond it
    head = _frames(np.pad(wave[: within[0] * hop + n_fft], (half, 0), mode=transform.pad_mode), n_fft, hop)[: within[0]]
    body = _frames(wave[within[0] * hop - half :], n_fft, hop)
    rest = min(within[1] * hop - half, len(wave) - half - 1)  # a reflection needs half a frame and one sample
    tail = _frames(np.pad(wave[rest:], (0, half), mode=transform.pad_mode)[within[1] * hop - half - rest :], n_fft, hop)
    return [(0, head), (within[0], body), (within[1], tail)]


def _frames(wave: NDArray[np.float32], n_fft: int, hop_length: int) -> NDArray[np.float32]:
    """(frames, n_fft) view of one wave; no frames where it is too short."""
    if len(wave) < n_fft:
        return np.empty((0, n_fft), np.float32)
    return np.lib.stride_tricks.sliding_window_view(wave, n_fft)[::hop_length]


@lru_cache(maxsize=64)
def _window(transform: Spectrum) -> NDArray[np.floating]:
    """(n_fft,) window in the transform's precision, zeros around where win_length is shorter."""
    length = transform.win_length or transform.n_fft
    left = (transform.n_fft - length) // 2
    return np.pad(window(transform.window, length), (left, transform.n_fft - length - left)).astype(transform.precision)


def window(name: str, length: int) -> NDArray[np.float64]:
    """(length,) float64: one period of a window.

    Raises:
        ValueError: SciPy knows no window of that name.

    >>> window("hann", 4).round(3).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if name == "hann":  # SciPy's signal package takes longer to import than a clip to transform
        return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))
    from scipy.signal import get_window

    return np.asarray(get_window(name, length, fftbins=True))


@lru_cache(maxsize=64)
def _matrix(spectrum: Spectrum) -> NDArray[np.float32]:
    """(FFT bins, bins) float32."""
    if spectrum.bank is None:
        raise ValueError(f"a spectrum without a bank has no matrix: {spectrum}")
    return np.ascontiguousarray(spectrum.bank.matrix(spectrum.sample_rate, spectrum.n_fft).T)


@lru_cache(maxsize=64)
def _projection(spectrum: Spectrum) -> Projection:
    return Projection(_matrix(spectrum))
