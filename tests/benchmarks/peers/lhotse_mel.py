"""Log-mel by lhotse: its own extractor, pool of processes and default storage (a NumPy file for each recording)."""

from __future__ import annotations

import task  # isort: skip

import torch
from lhotse import CutSet, Fbank, FbankConfig, MonoCut, Recording

RATE, HOP, N_FFT, N_MELS = 22050, 512, 2048, 128

# lhotse's default extractor, made to do what the others do; LibrosaFbank is slower.
FBANK = FbankConfig(
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


def cut(file: str, number: int) -> MonoCut:
    """One recording's first channel: lhotse would decode a downmix at once, in this process, before any worker starts."""
    whole = Recording.from_file(file, recording_id=f"{number:05d}").to_cut()
    mono = whole if isinstance(whole, MonoCut) else whole.to_mono()[0]
    return mono.resample(RATE)


if __name__ == "__main__":
    options = task.arguments(__doc__)
    torch.set_num_threads(1)
    cuts = CutSet.from_cuts(cut(file, number) for number, file in enumerate(options.files))
    cuts.to_eager().compute_and_store_features(Fbank(FBANK), options.out / "features", num_jobs=options.workers)
