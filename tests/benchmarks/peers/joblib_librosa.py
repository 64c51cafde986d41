"""Log-mel as most people make it: librosa for each file, joblib for the cores."""

from __future__ import annotations

from pathlib import Path

import task
from joblib import Parallel, delayed


def mel(file: Path):
    """(frames, 128) float16, dB."""
    import librosa
    import numpy as np

    samples, rate = librosa.load(file, sr=22050, mono=True)
    power = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=2048, hop_length=512, n_mels=128)
    return librosa.power_to_db(power).T.astype(np.float16)


def part(number: int, files: list[Path], out: Path) -> None:
    """One Parquet file."""
    import numpy as np

    task.store(out / f"{number}.parquet", files, {"mel": np.stack([mel(file) for file in files])})


if __name__ == "__main__":
    options = task.arguments(__doc__)
    Parallel(n_jobs=options.workers)(delayed(part)(number, files, options.out) for number, files in task.parts(options.files))
