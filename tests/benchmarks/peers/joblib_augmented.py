"""Four views of each file, three of them augmented, three features of each: librosa, audiomentations, plain torch, joblib for the cores.

Each file is decoded once, and what can be made once is: the transforms and the network in each process, the log-mel for MFCC too.
The network hears a view's patches at once, or with `--singly` one by one, as in joblib_eager.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import task  # isort: skip

import numpy as np
from joblib import Parallel, delayed

VIEWS, RATE = 4, 22050
FRAMES = 187


@cache
def chain(rooms: Path):
    """What an augmented view goes through; it keeps the impulse responses that it has read."""
    import audiomentations

    return audiomentations.Compose(
        [
            audiomentations.PitchShift(-2, 2, p=0.5),
            audiomentations.AddGaussianSNR(p=0.5),
            audiomentations.ApplyImpulseResponse(rooms, p=0.5),
            audiomentations.Gain(p=0.5),
        ]
    )


def embed(samples: np.ndarray, singly: bool) -> dict[str, np.ndarray]:
    """tags (10, 50), penultimate (10, 200), mean_pool and max_pool (10, 753), float32."""
    import librosa
    import musicnn_eager
    import torch

    torch.set_num_threads(1)
    heard = librosa.resample(samples, orig_sr=RATE, target_sr=16000)
    mel = librosa.feature.melspectrogram(y=heard, sr=16000, n_fft=512, hop_length=256, n_mels=96).T
    patches = np.log10(1 + 10_000 * mel[: len(mel) // FRAMES * FRAMES]).astype(np.float32)
    network = musicnn_eager.load("MTT_musicnn")
    with torch.inference_mode():
        outputs = [network(some) for some in torch.from_numpy(patches).reshape(-1, 1 if singly else 10, FRAMES, 96)]
    names = ("tags", "penultimate", "mean_pool", "max_pool")
    return {name: torch.cat(output).numpy() for name, output in zip(names, zip(*outputs, strict=True), strict=True)}


def features(samples: np.ndarray, singly: bool) -> dict[str, np.ndarray]:
    """mel (frames, 128) float16 in dB, mfcc (frames, 20) float32, and what `embed` gives."""
    import librosa

    power = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=2048, hop_length=512, n_mels=128)
    decibels = librosa.power_to_db(power)
    mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=20)
    return {"mel": decibels.T.astype(np.float16), "mfcc": mfcc.T, **embed(samples, singly)}


def part(number: int, files: list[Path], out: Path, rooms: Path, singly: bool) -> None:
    """One Parquet file, a row for each view."""
    import librosa

    augment = chain(rooms)
    rows = []
    for file in files:
        samples, _ = librosa.load(file, sr=RATE, mono=True)
        for view in range(VIEWS):
            rows.append(features(augment(samples, sample_rate=RATE) if view else samples, singly))
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    task.store(out / f"{number}.parquet", [file for file in files for _ in range(VIEWS)], columns)


if __name__ == "__main__":
    # Workers import this module by its name: of the functions of a script they get a copy for each task, and no cache lasts.
    import joblib_augmented

    options = task.arguments(__doc__)
    work = Parallel(n_jobs=options.workers)
    rest = options.out, options.rooms, options.singly
    work(delayed(joblib_augmented.part)(number, files, *rest) for number, files in task.parts(options.files))
