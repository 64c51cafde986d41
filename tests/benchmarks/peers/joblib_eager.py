"""MusiCNN's embeddings as most people would make them: librosa, a plain torch module clip by clip, joblib for the cores."""

from __future__ import annotations

from pathlib import Path

import task
from joblib import Parallel, delayed

FRAMES = 187


def embed(file: Path) -> tuple:
    """tags (10, 50), penultimate (10, 200), mean_pool and max_pool (10, 753), float32."""
    import librosa
    import musicnn_eager
    import numpy as np
    import torch

    torch.set_num_threads(1)
    samples, rate = librosa.load(file, sr=16000, mono=True)
    mel = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=512, hop_length=256, n_mels=96).T
    heard = np.log10(1 + 10_000 * mel[: len(mel) // FRAMES * FRAMES]).astype(np.float32)
    with torch.inference_mode():
        return tuple(output.numpy() for output in musicnn_eager.load("MTT_musicnn")(torch.from_numpy(heard.reshape(-1, FRAMES, 96))))


def part(number: int, files: list[Path], out: Path) -> None:
    """One Parquet file."""
    import numpy as np

    columns = zip(("tags", "penultimate", "mean_pool", "max_pool"), zip(*map(embed, files), strict=True), strict=True)
    task.store(out / f"{number}.parquet", files, {name: np.stack(rows) for name, rows in columns})


if __name__ == "__main__":
    options = task.arguments(__doc__)
    Parallel(n_jobs=options.workers)(delayed(part)(number, files, options.out) for number, files in task.parts(options.files))
