"""The sound that is measured on: 30 s of rendered music to a file, as mp3 at 128, 192 and 320 kbit/s, stereo, 44.1 kHz."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from augment.synthesis import synthesize

SECONDS = 30.0
PIECES = 12  # rendered; every file is one of them, turned round in time and weakened by another amount
ENCODED = 200  # different sounds; further files differ from these in their tag only
KBPS = (128, 192, 320)
ROOMS = 8  # impulse responses
ROOM_SECONDS = 0.8
ROOM_RATE = 22_050  # that of the views, so that nobody need resample them


def folder() -> Path:
    """Where everything lies that need not be made twice: EARMARK_BENCH, or a folder for temporary files."""
    return Path(os.environ.get("EARMARK_BENCH", Path(tempfile.gettempdir()) / "earmark-bench"))


def corpus(files: int) -> list[Path]:
    """The first files of the corpus, made if absent."""
    place = folder() / "mp3"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:04d}.mp3" for number in range(files)]
    lacking = [number for number, path in enumerate(paths) if not path.exists()]
    if lacking:
        sounds = _sounds(folder() / "pieces")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: _encode(sounds, number, paths[number]), (n for n in lacking if n < ENCODED)))
        for number in lacking:
            if number >= ENCODED:
                _retag(paths[number % ENCODED], number, paths[number])
    return paths


def impulse_responses() -> Path:
    """A folder of rooms, made if absent: noise that has died away by 60 dB after 0.3 to 0.8 s, mono wav, 22,050 Hz."""
    place = folder() / "rooms"
    place.mkdir(parents=True, exist_ok=True)
    seconds = np.arange(round(ROOM_SECONDS * ROOM_RATE)) / ROOM_RATE
    for number, decay in enumerate(np.linspace(0.3, ROOM_SECONDS, ROOMS)):
        path = place / f"{number}.wav"
        if not path.exists():
            noise = np.random.default_rng(number).standard_normal(len(seconds)) * 10 ** (-3 * seconds / decay)
            trial = path.with_suffix(".part")
            soundfile.write(trial, (0.9 * noise / np.abs(noise).max()).astype(np.float32), ROOM_RATE, format="WAV", subtype="FLOAT")
            os.replace(trial, path)
    return place


def _sounds(place: Path) -> list[np.ndarray]:
    """(samples, 2) float32 of each piece."""
    if not (place / "labels.parquet").exists():
        synthesize(place, PIECES, SECONDS, seed=0)
    found = sorted(path for path in place.iterdir() if path.suffix in (".mp3", ".flac", ".ogg"))
    length = round(SECONDS * 44_100)
    return [np.resize(soundfile.read(path, dtype="float32", always_2d=True)[0], (length, 2)) for path in found]


def _encode(sounds: list[np.ndarray], number: int, path: Path) -> None:
    rng = np.random.default_rng(number)
    sound = sounds[number % len(sounds)]
    sound = np.roll(sound, int(rng.integers(len(sound))), axis=0) * np.float32(rng.uniform(0.4, 0.9))
    # libsndfile draws its bit rate on a line from 320 kbit/s at level 0 to 32 at level 1.
    level = (320 - KBPS[number % len(KBPS)]) / 288
    trial = path.with_name(f".{path.name}")
    with soundfile.SoundFile(
        trial, "w", 44_100, 2, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=level
    ) as file:
        file.write(sound)
    os.replace(trial, path)


def _retag(of: Path, number: int, path: Path) -> None:
    """Other bytes, the same sound: an ID3v1 tag stands behind the last frame."""
    title = f"{number:04d}".encode().ljust(30, b"\0")
    trial = path.with_name(f".{path.name}")
    trial.write_bytes(of.read_bytes() + b"TAG" + title + bytes(94) + b"\xff")
    os.replace(trial, path)
