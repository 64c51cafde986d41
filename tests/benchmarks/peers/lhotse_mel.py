"""Log-mel by lhotse: its recordings, its resampling, its own extractor, and the pool of processes that it uses itself.

Both channels are resampled and then averaged: half as dear as `to_mono(mono_downmix=True)`, which decodes, encodes and decodes again.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import task  # isort: skip

import numpy as np
import torch
from lhotse import Fbank, FbankConfig, Recording

RATE, HOP, N_FFT, N_MELS = 22050, 512, 2048, 128


@cache
def extractor() -> Fbank:
    """lhotse's default, made to do what the others do; its LibrosaFbank is slower."""
    torch.set_num_threads(1)
    config = FbankConfig(
        sampling_rate=RATE,
        frame_length=N_FFT / RATE,
        frame_shift=HOP / RATE,
        num_filters=N_MELS,
        low_freq=0.0,
        high_freq=0.0,
        window_type="hanning",
        preemph_coeff=0.0,
        remove_dc_offset=False,
    )
    return Fbank(config)


def mel(file: Path) -> np.ndarray:
    """(frames, 128) float16, natural logarithm."""
    samples = Recording.from_file(file).resample(RATE).load_audio().mean(axis=0)
    return extractor().extract(samples, RATE).astype(np.float16)


def part(number: int, files: list[Path], out: Path) -> None:
    """One Parquet file."""
    task.store(out / f"{number}.parquet", files, {"mel": np.stack([mel(file) for file in files])})


if __name__ == "__main__":
    options = task.arguments(__doc__)
    with ProcessPoolExecutor(options.workers) as pool:
        list(pool.map(part, *zip(*((number, files, options.out) for number, files in task.parts(options.files)), strict=True)))
