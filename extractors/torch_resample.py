"""Resampling where the sound already is, on a GPU: soxr's own filter, as one product for many clips."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

# Samples of the lower rate after which soxr's answer to an impulse has died away, to -140 dB.
REACH = 100
# Input samples that one row of a product moves on by; the rows overlap by the filter's length, which is of the same order.
STRIDE = 512
# What is held at once.
GPU_SAMPLES, GPU_CLIPS = 1 << 24, 64


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """How many samples soxr makes of so many.

    >>> resampled_length(5, 44100, 22050), resampled_length(10, 22050, 16000)
    (3, 7)
    """
    return (2 * samples * to_rate + from_rate) // (2 * from_rate)


def resample_torch(waves: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """Sound at another rate, as extractors.audio.resample makes it: to 1e-5, but for the first four samples, where soxr starts up.

    Clips are taken in groups of one size, the last filled up with silence, because kernels are chosen by shape.

    Args:
        waves: (clips, samples) float32, on any device.
        from_rate, to_rate: Hz.
    Returns:
        (clips, resampled_length(samples)) float32 on the same device; waves themselves if the rates are equal.
    """
    import torch

    if from_rate == to_rate or 0 in waves.shape:
        return waves
    clips, samples = waves.shape
    wanted = resampled_length(samples, from_rate, to_rate)
    taps, stride, reach = _answers(from_rate, to_rate)
    bank = torch.from_numpy(taps).to(waves.device)
    rows = max(1, -(-wanted // taps.shape[1]))
    after = (rows - 1) * stride + len(taps) - reach - samples
    group = min(GPU_CLIPS, max(1, GPU_SAMPLES // samples))
    made = waves.new_empty((clips, wanted))
    for first in range(0, clips, group):
        part = waves[first : first + group]
        padded = torch.nn.functional.pad(part, (reach, after, 0, group - len(part)))
        # Each row holds all the input that the next `outputs` samples need; a batched product treats every clip alike.
        blocks = padded.unfold(1, len(taps), stride)
        made[first : first + group] = torch.bmm(blocks, bank.expand(group, -1, -1)).flatten(1)[: len(part), :wanted]
    return made


@lru_cache(maxsize=16)
def _answers(from_rate: int, to_rate: int) -> tuple[NDArray[np.float32], int, int]:
    """What soxr answers to an impulse at each of a stride's input samples, far enough apart that the answers do not meet.

    Returns:
        (inputs, outputs) float32: the share of each input sample in each of a row's output samples; how many input samples one row
        begins after the other; and how many of a row's lie before its first output sample.
    """
    from extractors.audio import resample

    common = math.gcd(from_rate, to_rate)
    repeats = max(1, round(STRIDE * common / from_rate))
    stride, outputs = repeats * from_rate // common, repeats * to_rate // common
    reach = math.ceil(REACH * max(1, from_rate / to_rate))
    rows = -(-reach // stride)  # that an answer reaches to either side
    apart = 2 * rows + 1
    impulses = np.zeros((stride, apart, stride), np.float32)
    impulses[range(stride), rows, range(stride)] = 1
    answers = resample(impulses.reshape(-1), from_rate, to_rate).reshape(stride, apart, outputs)
    # The row that lies d before an impulse's own has it d strides further on.
    taps = answers[:, ::-1].swapaxes(0, 1).reshape(apart * stride, outputs)
    return taps[rows * stride - reach : (rows + 1) * stride + reach], stride, reach
