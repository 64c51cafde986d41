"""Real scores rendered to sound, with labels that are true by construction."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.labels import Label, write
from augment.instruments import SAMPLE_RATE, STRUCK, SUSTAINED, Strike, open_synthesizer, programs, render
from augment.scores import Note, beat_length, play, read
from augment.spelling import transposed_key
from augment.truth import SHORTEST, beats, labels
from augment.works import WORKS, Work
from extractors import encode
from extractors.clip import track_id

PEAK = 10 ** (-2 / 20)  # -2 dB: lossy coding adds up to 1.2 dB to a plucked string
FADE_SECONDS = 0.05
ALBUM = "Synthesized by earmark"
FORMATS = ("mp3", "flac", "ogg")


@dataclass(frozen=True)
class Draw:
    """What chance decided for one piece. tempo: beats per minute at its beginning; transposition: semitones."""

    index: int
    work: Work
    instrument: str
    format: str
    tempo: float
    transposition: int


@dataclass(frozen=True)
class Piece:
    """A piece that lies on disk. path: of its audio; key: as it sounds; group: the same for every rendition of one score."""

    path: Path
    track_id: str
    title: str
    composer: str
    license: str
    group: str
    instrument: str
    key: str
    tempo: float
    seconds: float


def synthesize(out: str | Path, pieces: int, seconds: float, seed: int, progress: Callable[[Piece], object] | None = None) -> list[Piece]:
    """Render pieces into a folder: audio files, labels.parquet, and manifest.csv for `earmark scan`.

    Piece i depends on seed and i alone, so fewer pieces are the beginning of more. The same arguments give the same bytes.

    Args:
        out: folder, made if absent; files of the same names are replaced.
        pieces: how many, at least 1.
        seconds: of each, at least 1; a score that is shorter begins again.
        seed: any whole number, 0 or more.
        progress: called with each piece that is finished.
    Raises:
        ValueError: an argument out of range.
        FileNotFoundError: the corpus or the soundfont is not installed.
    """
    for name, value, least in (("pieces", pieces, 1), ("seconds", seconds, 1), ("seed", seed, 0)):
        if not least <= value < math.inf:
            raise ValueError(f"synthesize needs {name} >= {least}, got {value}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    synthesizer = open_synthesizer()
    done: list[Piece] = []
    truth: list[Label] = []
    for index in range(pieces):
        piece, said = make(draw(seed, index), out, seconds, synthesizer)
        done.append(piece)
        truth.extend(said)
        if progress:
            progress(piece)
    write(truth, out / "labels.parquet")
    _write_manifest(done, out / "manifest.csv")
    return done


def draw(seed: int, index: int) -> Draw:
    """What piece `index` of `seed` is: kinds, instruments and formats take turns in shuffled order, the rest is free.

    >>> draw(7, 3) == draw(7, 3)
    True
    """
    shuffle = np.random.default_rng([seed, 0])
    kinds = [shuffle.permutation(len(works)) for works in WORKS.values()]
    instruments = shuffle.permutation([*STRUCK, *SUSTAINED])
    turn, kind = divmod(index, len(WORKS))
    works = list(WORKS.values())[kind]
    work = works[kinds[kind][turn % len(works)]]
    rng = np.random.default_rng([seed, 1, index])
    return Draw(
        index=index,
        work=work,
        instrument=str(instruments[index % len(instruments)]),
        format=FORMATS[index % len(FORMATS)],
        tempo=round(work.tempo * float(2 ** rng.uniform(-0.3, 0.3)), 1),
        transposition=int(rng.integers(-5, 7)),
    )


def make(draw: Draw, out: Path, seconds: float, synthesizer: Any) -> tuple[Piece, list[Label]]:
    """Render one piece into the folder `out` and say what is true of it."""
    seconds = round(seconds * SAMPLE_RATE) / SAMPLE_RATE
    written = read(draw.work)
    quarter = 60 / (draw.tempo * beat_length(written[0].meter))
    notes, bars = play(written, seconds / quarter)
    notes = [note for note in notes if note.onset * quarter < seconds - SHORTEST]
    played = programs(draw.instrument, 1 + max(note.part for bar in written for note in bar.notes))
    piece_key = transposed_key(draw.work.key, draw.transposition)
    path = out / f"{draw.index:03d}-{draw.work.name}-{draw.instrument}.{draw.format}"
    title = f"{draw.work.title} ({draw.instrument}, {piece_key})"

    accents = {round(time, 6): number for time, number in beats(bars)}
    parts: dict[int, tuple[int, list[Strike]]] = {}
    for note in notes:
        strike = Strike(note.onset * quarter, note.duration * quarter, note.pitch + draw.transposition, _velocity(accents, note))
        parts.setdefault(note.part, (played[note.part], []))[1].append(strike)
    sound = _finish(render(synthesizer, parts, seconds))
    tags = {"title": title, "artist": draw.work.composer, "album": ALBUM, "license": draw.work.license}
    encode.write(path, sound, SAMPLE_RATE, tags)

    track = track_id(hashlib.sha256(path.read_bytes()).hexdigest())
    piece = Piece(
        path=path,
        track_id=track,
        title=title,
        composer=draw.work.composer,
        license=draw.work.license,
        group=draw.work.name,
        instrument=draw.instrument,
        key=piece_key,
        tempo=draw.tempo,
        seconds=seconds,
    )
    return piece, list(labels(track, draw.work, piece_key, parts, bars, quarter, seconds))


def _velocity(accents: dict[float, int], note: Note) -> int:
    """Downbeats are a little louder than beats, and beats than what lies between."""
    number = accents.get(round(note.onset, 6))
    return 76 if number is None else 92 if number == 1 else 84


def _finish(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The loudest sample at PEAK, and no click at the end. (frames, 2) float32 in and out."""
    fade = min(len(sound), round(FADE_SECONDS * SAMPLE_RATE))
    sound[len(sound) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return np.asarray(sound * (PEAK / max(float(np.abs(sound).max()), 1e-9)), np.float32)


def _write_manifest(pieces: list[Piece], path: Path) -> None:
    """What `earmark scan` takes: uri (beside the manifest), title, artist, album, license, group."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with open(unfinished, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["uri", "title", "artist", "album", "license", "group"])
        for piece in pieces:
            rows.writerow([piece.path.name, piece.title, piece.composer, ALBUM, piece.license, piece.group])
    os.replace(unfinished, path)
