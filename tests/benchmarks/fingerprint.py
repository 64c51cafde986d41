"""How many short queries a fingerprint finds, by what was done to them: `python -m tests.benchmarks.fingerprint --pieces 500`.

Five hundred pieces are rendered, scanned and heard as any collection is; five hundred others are strangers. Of each, three
seconds from anywhere are asked for, after each treatment. A query is right if its piece is the first match; a stranger is
right if it matches nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.instruments import SAMPLE_RATE, open_synthesizer
from extractors import audio, encode
from extractors.fingerprint import Fingerprint
from pipelines.process import single_threaded
from pipelines.similar.landmarks import Heard, build
from pipelines.similar.lookup import Landmarks
from pipelines.similar.matching import Match, candidates, query
from pipelines.store import Store
from tests.collection import ROOT, earmark
from tests.pieces import piece

Sound = NDArray[np.float32]
Noise = Callable[[np.random.Generator, int], Sound]
Treatment = Callable[[np.random.Generator, Sound], tuple[Sound, int]]
SECONDS = 16.0
ASKED = 3.0
DECIBELS = (0, 5, 10, 15)
# Backgrounds are pieces, too, but neither in the collection nor among the strangers.
BACKGROUNDS = 40


def white(rng: np.random.Generator, samples: int) -> Sound:
    """Noise of equal power in every hertz."""
    return rng.normal(size=samples).astype(np.float32)


def pink(rng: np.random.Generator, samples: int) -> Sound:
    """Noise of equal power in every octave."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), samples).astype(np.float32)


def with_noise(sound: Sound, noise: Sound, decibels: float) -> Sound:
    """Sound with noise at a signal-to-noise ratio (dB, over the whole band)."""
    level = np.sqrt(float((sound**2).mean()) / max(1e-12, float((noise**2).mean()))) * 10 ** (-decibels / 20)
    return np.asarray(sound + np.float32(level) * noise, np.float32)


def equalised(rng: np.random.Generator, sound: Sound, decibels: float = 12.0) -> Sound:
    """Sound through an equaliser whose ten octave bands are set anywhere within ± decibels."""
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    gains = np.interp(np.log2(np.maximum(frequencies, 20)), np.log2(31.25 * 2.0 ** np.arange(10)), rng.uniform(-decibels, decibels, 10))
    return np.fft.irfft(np.fft.rfft(sound) * 10 ** (gains / 20), len(sound)).astype(np.float32)


def as_mp3(sound: Sound, kbps: int = 64) -> Sound:
    """Sound after an mp3 of a bit rate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "query.mp3"
        encode.write(path, sound / max(1.0, float(np.abs(sound).max())), SAMPLE_RATE, kbps=kbps)
        return audio.read(str(path), 0, len(sound))


def rendered(pieces: int, first: int = 0, seconds: float = SECONDS) -> list[Sound]:
    """So many pieces, from number `first` on, each (samples,) at 44.1 kHz."""
    synthesizer = open_synthesizer()
    return [piece(synthesizer, number, seconds) for number in range(first, first + pieces)]


def collection(folder: Path, sounds: list[Sound]) -> tuple[Store, dict[str, int]]:
    """A store that has heard these sounds, and which of them each recording is."""
    recordings = folder / "recordings"
    recordings.mkdir(parents=True)
    for number, sound in enumerate(sounds):
        encode.write(recordings / f"{number:04}.flac", sound, SAMPLE_RATE)
    earmark("scan", recordings, "--store", folder / "store", timeout=3600)
    earmark("run", ROOT / "pipelines/recipes/fingerprint.toml", "--store", folder / "store", "--engine", "local", timeout=3600)
    store = Store(folder / "store")
    build(store)
    tracks = store.read("tracks", ["track_id", "uri"])
    if tracks is None:
        raise ValueError(f"{folder}: nothing was scanned")
    numbers = [int(Path(uri).stem) for uri in tracks["uri"].to_pylist()]
    return store, dict(zip(tracks["track_id"].to_pylist(), numbers, strict=True))


def backgrounds() -> dict[str, Noise]:
    """White and pink noise, pieces of music, and speech where there is a corpus of it (EARMARK_CORPUS)."""
    music = rendered(BACKGROUNDS, 1_000_000)
    found: dict[str, Noise] = {"white": white, "pink": pink, "music": lambda rng, samples: _from(rng, music, samples)}
    if speakers := sorted(Path(os.environ.get("EARMARK_CORPUS", "/nowhere"), "speech").rglob("*.*")):
        voices = [audio.resample(*_read(path), SAMPLE_RATE) for path in speakers if path.suffix in (".flac", ".ogg", ".wav", ".mp3")]
        speech = np.concatenate(voices)
        found["speech"] = lambda rng, samples: _from(rng, [speech], samples)
    return found


def _from(rng: np.random.Generator, sounds: list[Sound], samples: int) -> Sound:
    sound = sounds[int(rng.integers(len(sounds)))]
    start = int(rng.integers(0, len(sound) - samples + 1))
    return sound[start : start + samples]


def _read(path: Path) -> tuple[Sound, int]:
    found = audio.probe(str(path))
    return audio.read(str(path), 0, round(found.seconds * found.sample_rate)), found.sample_rate


def treatments(noises: dict[str, Noise]) -> dict[str, Treatment]:
    """By name: what is done to an excerpt before it is asked for; gives the sound and its rate."""
    made: dict[str, Treatment] = {"untouched": lambda rng, x: (x, SAMPLE_RATE), "mp3 64k": lambda rng, x: (as_mp3(x), SAMPLE_RATE)}
    made["resampled to 16 kHz"] = lambda rng, x: (audio.resample(x, SAMPLE_RATE, 16_000), 16_000)
    made["equalised ±12 dB"] = lambda rng, x: (equalised(rng, x), SAMPLE_RATE)
    made["pink 10 dB, equalised, mp3 64k"] = lambda rng, x: (as_mp3(equalised(rng, with_noise(x, pink(rng, len(x)), 10))), SAMPLE_RATE)
    for name, noise in noises.items():
        for level in DECIBELS:
            made[f"{name} {level} dB"] = partial(_noisy, noise, level)
    return made


def _noisy(noise: Noise, level: float, rng: np.random.Generator, x: Sound) -> tuple[Sound, int]:
    return with_noise(x, noise(rng, len(x)), level), SAMPLE_RATE


def ask(index: Landmarks, sounds: list[Sound], treat: Treatment, seed: int, most: int = 5) -> Iterator[list[Match]]:
    """The recordings most like three seconds from anywhere in each sound, treated."""
    extractor: Fingerprint = index.source.extractor

    def heard(number: int) -> Heard:
        rng = np.random.default_rng([seed, number])
        start = int(rng.integers(0, len(sounds[number]) - round(ASKED * SAMPLE_RATE)))
        excerpt = sounds[number][start : start + round(ASKED * SAMPLE_RATE)]
        return query(extractor, *treat(rng, excerpt))

    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(sounds), 100):
            asked = list(pool.map(heard, range(first, min(first + 100, len(sounds)))))
            yield from candidates(index, asked, most=most)


def speed(extractor: Fingerprint, sounds: list[Sound]) -> float:
    """Seconds of sound that one core makes landmarks of in a second, from 44.1 kHz and with the transform."""
    begun = time.perf_counter()
    for sound in sounds:
        extractor.hear(sound, SAMPLE_RATE)
    return sum(map(len, sounds)) / SAMPLE_RATE / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="number of the first piece: other numbers are other music")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    single_threaded()
    sounds, strangers = rendered(options.pieces, options.first), rendered(options.pieces, options.first + options.pieces)
    figures: dict[str, Any] = {"pieces": options.pieces, "x real time": round(speed(Fingerprint(), sounds[:20]))}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store, numbers = collection(Path(folder), sounds)
        index = Landmarks(store)
        figures["landmarks a second"] = round(index.landmarks / (sum(map(len, sounds)) / SAMPLE_RATE))
        print(f"{'':32} {'right':>7} {'wrong':>6} {'strangers':>9}  scores of the right: 2 % below, half; best of the wrong")
        for name, treat in treatments(backgrounds()).items():
            row = measured(index, numbers, sounds, strangers, treat) | {"treatment": name}
            rows.append(row)
            scores = f"{row['low']:3.0f} {row['median']:3.0f} {row['best_wrong']:3}"
            print(f"{name:32} {row['right']:7.1%} {row['wrong']:6} {row['strangers']:9}  {scores}", flush=True)
    figures["right"] = float(np.mean([row["right"] for row in rows]))
    print(json.dumps(figures))
    if options.out:
        options.out.write_text(json.dumps(figures | {"rows": rows}, indent=1))


def measured(index: Landmarks, numbers: dict[str, int], sounds: list[Sound], strangers: list[Sound], treat: Treatment) -> dict[str, Any]:
    """right: share of the pieces that are their query's first match; wrong, strangers: queries with a match that they should not have.

    low, median: the score of a query's own piece, 2 % of the queries below, half below. best_wrong: the best score of any other piece.
    """
    right = wrong = false = 0
    scores = []
    others: list[tuple[int, float]] = []  # of the best match that is none, of each query
    for number, found in enumerate(ask(index, sounds, treat, 1)):
        own = [numbers[each.track_id] == number for each in found]
        scores.append(max((each.score for each, mine in zip(found, own, strict=True) if mine), default=0))
        others += [(each.score, each.chance) for each, mine in zip(found, own, strict=True) if not mine][:1]
        said = [mine for each, mine in zip(found, own, strict=True) if each.sure]
        right += bool(said) and said[0]
        wrong += not all(said)
    for found in ask(index, strangers, treat, 2):
        others += [(each.score, each.chance) for each in found[:1]]
        false += any(each.sure for each in found)
    low, median = np.percentile(scores, [2, 50])
    shown = {"low": low, "median": median, "best_wrong": max(others, default=(0, 1.0))[0]}
    return {"right": right / len(sounds), "wrong": wrong, "strangers": false, **shown, "scores": scores, "others": others}


if __name__ == "__main__":
    main()
