"""Render a score and augment the sound, or augment the score and render it: the same notes at the same times, and the same labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import librosa
import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from annotation.labels import Label
from augment import AUGMENTATIONS, Lineage, Scene, Sound
from augment.augmentation import Change, Draw
from augment.contract import Policy
from augment.instruments import SAMPLE_RATE, STRUCK, Strike, open_synthesizer, render
from augment.moving import view_labels
from augment.scores import Bar, Written, beat_length, play, read
from augment.truth import beats, labels
from augment.works import WORKS, Work
from extractors.audio import resample

RATE = 22_050
SECONDS = 8.0
EDGE = 0.05  # seconds: mir_eval's window
TUNES = [work for work in WORKS["folk"] if work.title in ("Shaw's Reel", "Liverpool Hornpipe", "Irish Wash-Woman", "The Red Haired Girl")]
KINDS = {each.__name__: each for each in AUGMENTATIONS}
PLACES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}

# How much each degree of the scale is heard in a key: Krumhansl, Kessler: Tracing the dynamic changes in perceived tonal
# organization, Psychological Review 89 (1982).
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@dataclass(frozen=True)
class Score:
    """A melody as it is played: notes, beats as (seconds, number in the bar), and what holds throughout. key: (tonic's class, mode)."""

    notes: tuple[Strike, ...]
    beats: tuple[tuple[float, int], ...]
    tempo: float
    key: tuple[int, str]
    seconds: float

    def changed(self, change: Change, seconds: float) -> Score:
        """The score to play so that it sounds like this one after the change; `seconds` of it."""

        def moved(time: float) -> float:
            return min(max(time / change.rate + change.offset, 0.0), seconds)

        notes = (
            replace(
                note,
                start=moved(note.start),
                duration=moved(note.start + note.duration) - moved(note.start),
                pitch=note.pitch + round(change.semitones),
            )
            for note in self.notes
        )
        return Score(
            notes=tuple(note for note in notes if note.duration > 1e-6),
            beats=tuple((time / change.rate + change.offset, number) for time, number in self.beats),
            tempo=self.tempo * change.rate,
            key=((self.key[0] + round(change.semitones)) % 12, self.key[1]),
            seconds=seconds,
        )


@dataclass(frozen=True)
class Performance:
    """A tune, its sound, and what truth.labels says of it. program: General MIDI's."""

    program: int
    score: Score
    sound: Sound
    labels: tuple[Label, ...]


@pytest.fixture(scope="module")
def synthesizer() -> Any:
    return open_synthesizer()


@cache
def written(work: Work) -> tuple[Written, ...]:
    return read(work)


def tonic(key: str) -> tuple[int, str]:
    """The class of a key's tonic, and its mode."""
    name, mode = key.split()
    return (PLACES[name[0]] + name.count("#") - name.count("b")) % 12, mode


def sounding(synthesizer: Any, score: Score, program: int) -> Sound:
    played = render(synthesizer, {0: (program, score.notes)}, score.seconds).mean(axis=1)
    return Sound(resample(played, SAMPLE_RATE, RATE), RATE)


def performed(synthesizer: Any, work: Work, instrument: str, pace: float) -> Performance:
    """A tune from its beginning. pace: × the usual tempo."""
    (program,) = STRUCK[instrument]
    tempo = work.tempo * pace
    quarter = 60 / (tempo * beat_length(written(work)[0].meter))
    notes, bars = play(written(work), SECONDS / quarter)
    strikes = [
        Strike(note.onset * quarter, note.duration * quarter, note.pitch, 84) for note in notes if note.onset * quarter < SECONDS - EDGE
    ]
    said = tuple(labels("track", work, work.key, {0: (program, strikes)}, bars, quarter, SECONDS))
    score = Score(tuple(strikes), tuple(_beats(bars, quarter)), tempo, tonic(work.key), SECONDS)
    return Performance(program, score, sounding(synthesizer, score, program), said)


def _beats(bars: list[Bar], quarter: float) -> Iterator[tuple[float, int]]:
    for time, number in beats(bars):
        yield time * quarter, number


def onsets(sound: Sound) -> NDArray[np.float64]:
    """Seconds at which something is struck: peaks of the growth of the log spectrum; not at the very edges."""
    hop, before = 64, 2048
    padded = np.concatenate([np.zeros(before, np.float32), sound.samples])
    spectrum = np.abs(librosa.stft(padded, n_fft=1024, hop_length=hop))
    log = np.log1p(1000 * spectrum / spectrum.max())
    growth = np.concatenate([np.zeros(6), np.maximum(0, log[:, 6:] - log[:, :-6]).mean(axis=0)])
    peaks = librosa.util.peak_pick(growth / growth.max(), pre_max=16, post_max=16, pre_avg=80, post_avg=80, delta=0.16, wait=16)
    return inner((peaks * hop - before) / RATE, sound.seconds)


def inner(times: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    return times[(times > EDGE) & (times < seconds - EDGE)]


def starts(notes: list[tuple[float, float, float]], seconds: float) -> NDArray[np.float64]:
    return inner(np.unique([start for start, _, _ in notes]), seconds)


def pitches(sound: Sound, notes: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    """The strongest partial while each note of (start, end, …) sounds, as a fractional MIDI number."""
    found = []
    for start, end, _ in notes:
        stretch = sound.samples[round((start + 0.02) * RATE) : round(min(end, start + 0.3) * RATE)]
        spectrum = np.abs(np.fft.rfft(stretch * np.hanning(len(stretch)), 1 << 16))
        spectrum[: round(80 * (1 << 16) / RATE)] = 0
        found.append(69 + 12 * np.log2(np.argmax(spectrum) * RATE / (1 << 16) / 440))
    return np.array(found)


def key_of(heard: NDArray[np.float64], notes: list[tuple[float, float, float]]) -> tuple[int, str]:
    """The key whose profile fits best how long each class of pitches is heard."""
    lengths = np.bincount(np.round(heard).astype(int) % 12, [end - start for start, end, _ in notes], 12)
    fits = {(place, mode): np.corrcoef(np.roll(profile, place), lengths)[0, 1] for mode, profile in PROFILES.items() for place in range(12)}
    return max(fits, key=lambda key: float(fits[key]))


def f_measure(reference: NDArray[np.float64], found: NDArray[np.float64], window: float = EDGE) -> float:
    return float(mir_eval.onset.f_measure(reference, found, window=window)[0])


def told(said: list[Label], kind: str) -> list[Label]:
    return [label for label in said if label.kind == kind]


def commutes(synthesizer: Any, plain: Performance, draw: Draw) -> None:
    """Both ways round the square, for labels and for sound."""
    kind = KINDS[draw["use"]]
    after = kind.audio(plain.sound, draw, Scene())
    lineage = Lineage(RATE, len(plain.sound.samples), ({**draw, "samples": len(after.samples)},))
    said = [label for _, label in view_labels(plain.labels, "track", "clip", "view", 0.0, None, lineage, Policy())]
    score = plain.score.changed(kind.change(draw), after.seconds)
    semitones = kind.change(draw).semitones

    # Labels moved are those of the score that was changed.
    notes = sorted((label.start, label.start + label.duration, float(label.value.split()[0])) for label in told(said, "note"))
    expected = sorted((note.start, note.start + note.duration, note.pitch - round(semitones) + semitones) for note in score.notes)
    np.testing.assert_allclose(notes, [(start, min(end, after.seconds), pitch) for start, end, pitch in expected], atol=1e-4)
    moved_beats = [(label.start, float(label.value)) for label in told(said, "beat")]
    np.testing.assert_allclose(moved_beats, [beat for beat in score.beats if 0 <= beat[0] < after.seconds - 1e-4], atol=1e-4)
    assert [tonic(label.value) for label in told(said, "key")] == [score.key]
    assert {round(float(label.value), 2) for label in told(said, "tempo")} == {round(score.tempo, 2)}

    # The sound has what the labels say...
    heard = onsets(after)
    assert f_measure(starts(notes, after.seconds), heard) >= 0.98
    # Measured against itself, so that the detector's own delay is no part of it, the sound has moved as exactly as the labels.
    change = kind.change(draw)
    assert f_measure(inner(onsets(plain.sound) / change.rate + change.offset, after.seconds), heard, 0.010) >= 0.98
    struck = [note for note in notes if note[0] > EDGE and note[1] - note[0] > 0.08]
    found = pitches(after, struck)
    pitched = np.array([pitch for _, _, pitch in struck])
    off = (found - pitched + 6) % 12 - 6  # some instruments sound an octave above what is written
    assert np.mean(np.abs(off) < 0.5) >= 0.95
    # The profiles mistake a piece of some tunes for another key, but the same one whichever way it was made.
    assert key_of(found - (semitones - round(semitones)), struck) == key_of(pitched - (semitones - round(semitones)), struck)

    # ...as has the sound of the score that was changed.
    if semitones == round(semitones):
        again = sounding(synthesizer, score, plain.program)
        assert f_measure(onsets(again), heard) >= 0.98
        assert np.mean(np.abs(found - pitches(again, struck)) < 0.5) >= 0.95


few = settings(max_examples=12, deadline=None, derandomize=True, database=None)
tunes = st.sampled_from(TUNES)
instruments = st.sampled_from(["marimba", "pizzicato"])
paces = st.floats(0.6, 0.9)
rates = st.floats(0.8, 1.25)
# Not half a semitone, which is no nearer to one note than to the next.
shifts = st.one_of(st.integers(-7, 7).map(float), st.floats(-7, 7).filter(lambda semitones: abs(semitones % 1 - 0.5) > 0.01))


@few
@given(tunes, instruments, paces, rates)
def test_stretching_commutes_with_rendering(synthesizer: Any, work: Work, instrument: str, pace: float, rate: float) -> None:
    commutes(synthesizer, performed(synthesizer, work, instrument, pace), {"use": "TimeStretch", "rate": rate})


@few
@given(tunes, paces, shifts)
def test_shifting_pitch_commutes_with_rendering(synthesizer: Any, work: Work, pace: float, semitones: float) -> None:
    commutes(synthesizer, performed(synthesizer, work, "pizzicato", pace), {"use": "PitchShift", "semitones": semitones})


@few
@given(tunes, paces, rates, st.integers(-7, 7))
def test_pitch_and_tempo_together_commute_with_rendering(synthesizer: Any, work: Work, pace: float, rate: float, semitones: int) -> None:
    draw = {"use": "PitchAndTempo", "rate": rate, "semitones": float(semitones)}
    commutes(synthesizer, performed(synthesizer, work, "pizzicato", pace), draw)


@few
@given(tunes, instruments, paces, st.integers(1, 6), st.integers(1, 6))
def test_cropping_commutes_with_rendering(synthesizer: Any, work: Work, instrument: str, pace: float, first: int, last: int) -> None:
    plain = performed(synthesizer, work, instrument, pace)
    # Between two notes, so that no onset lies on an edge, where nobody could say on which side it is.
    struck = np.unique([note.start for note in plain.score.notes])
    start, end = (struck[first] + struck[first + 1]) / 2, (struck[-last] + struck[-last - 1]) / 2
    commutes(synthesizer, plain, {"use": "Crop", "start": float(start), "seconds": float(end - start)})
