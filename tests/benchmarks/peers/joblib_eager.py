"""MusiCNN's embeddings as most people would make them: librosa, a plain torch module, joblib for the cores.

The network hears a clip's patches at once, or with `--singly` one by one: more than twice as fast, because the C library gives large
buffers back to the system each time, but nobody would think of it.
"""

from __future__ import annotations

from pathlib import Path

import task
from joblib import Parallel, delayed

FRAMES = 187


def embed(file: Path, singly: bool) -> tuple:
    """tags (10, 50), penultimate (10, 200), mean_pool and max_pool (10, 753), float32."""
    import librosa
    import musicnn_eager
    import numpy as np
    import torch

    torch.set_num_threads(1)
    samples, rate = librosa.load(file, sr=16000, mono=True)
    mel = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=512, hop_length=256, n_mels=96).T
    heard = np.log10(1 + 10_000 * mel[: len(mel) // FRAMES * FRAMES]).astype(np.float32)
    network = musicnn_eager.load("MTT_musicnn")
    with torch.inference_mode():
        outputs = [network(patches) for patches in torch.from_numpy(heard).reshape(-1, 1 if singly else 10, FRAMES, 96)]
        return tuple(torch.cat(output).numpy() for output in zip(*outputs, strict=True))


def part(number: int, files: list[Path], out: Path, singly: bool) -> None:
    """One Parquet file."""
    import numpy as np

    outputs = zip(*(embed(file, singly) for file in files), strict=True)
    columns = zip(("tags", "penultimate", "mean_pool", "max_pool"), outputs, strict=True)
    task.store(out / f"{number}.parquet", files, {name: np.stack(rows) for name, rows in columns})


if __name__ == "__main__":
    options = task.arguments(__doc__)
    work = Parallel(n_jobs=options.workers)
    work(delayed(part)(number, files, options.out, options.singly) for number, files in task.parts(options.files))
