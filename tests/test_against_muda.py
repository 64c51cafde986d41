"""What muda documents for the kinds of label that both know, and where we differ on purpose.

Source: McFee, Humphrey, Bello: A software framework for musical data augmentation, ISMIR 2015; https://muda.readthedocs.io
(TimeStretch and PitchShift, with an estimated tuning of 0).
"""

from __future__ import annotations

import numpy as np
import pytest

from annotation.labels import Label
from augment import AddNoise, Augmentation, Lineage, PitchShift, Scene, Sound, TimeStretch
from augment.contract import Policy
from augment.moving import view_labels

RATE, SECONDS = 8000, 30.0
LABELS = [
    Label("beat", "1", "a", "gold", "t", start=3.0, duration=0.0),
    Label("chord", "E:min7/b3", "a", "gold", "t", start=2.0, duration=1.5),
    Label("chord", "N", "a", "gold", "t", start=0.0, duration=2.0),
    Label("key", "A minor", "a", "gold", "t", start=0.0, duration=30.0),
    Label("note", "60.0", "a", "gold", "t", start=4.0, duration=0.5),
    Label("onset", "", "a", "gold", "t", start=4.0, duration=0.0),
    Label("pitch_contour", "440.0", "a", "gold", "t", start=5.0, duration=0.0),
    Label("pitch_contour", "-220.0", "a", "gold", "t", start=5.1, duration=0.0),
    Label("section", "verse", "a", "gold", "t", start=0.0, duration=30.0),
    Label("tag", "jazz", "a", "gold", "t"),
    Label("tempo", "100.0", "a", "gold", "t", start=0.0, duration=30.0),
]


def after(spec: Augmentation, labels: list[Label] = LABELS, seconds: float = SECONDS) -> list[Label]:
    """The labels after what a spec draws, over sound that is then so long."""
    sound = Sound(np.zeros(round(SECONDS * RATE), np.float32), RATE)
    draw = {"use": type(spec).__name__, **spec.draw(np.random.default_rng(0), sound, Scene()), "samples": round(seconds * RATE)}
    lineage = Lineage(RATE, round(SECONDS * RATE), (draw,))
    return [label for _, label in view_labels(labels, "t", "c", "v", 0.0, None, lineage, Policy())]


def shifted(semitones: float, *labels: Label) -> list[str]:
    """Values after a shift."""
    return [label.value for label in after(PitchShift(low=semitones, high=semitones, step=0), list(labels))]


def said(kind: str, value: str) -> Label:
    return Label(kind, value, "a", "gold", "t", start=1.0, duration=1.0)


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.5, 2.0])
def test_a_stretch_divides_every_time_and_duration_by_the_rate(rate: float) -> None:
    stretched = after(TimeStretch(low=rate, high=rate), seconds=SECONDS / rate)
    assert [label.kind for label in stretched] == [label.kind for label in LABELS]
    for before, now in zip(LABELS, stretched, strict=True):
        if before.start is not None and before.duration is not None:
            assert now.start == pytest.approx(before.start / rate)
            assert now.duration == pytest.approx(before.duration / rate)


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.5, 2.0])
def test_a_stretch_multiplies_tempo_by_the_rate_and_no_other_value(rate: float) -> None:
    stretched = after(TimeStretch(low=rate, high=rate), seconds=SECONDS / rate)
    assert [float(label.value) for label in stretched if label.kind == "tempo"] == [pytest.approx(100 * rate)]
    assert [label.value for label in stretched if label.kind != "tempo"] == [label.value for label in LABELS if label.kind != "tempo"]


@pytest.mark.parametrize("semitones", [-2.0, -0.25, 0.25, 1.0, 1.4])
def test_a_shift_moves_no_time_and_no_tempo(semitones: float) -> None:
    moved = after(PitchShift(low=semitones, high=semitones, step=0))
    pitched = ("chord", "key", "note", "pitch_contour")
    assert [(label.kind, label.start, label.duration) for label in moved] == [(label.kind, label.start, label.duration) for label in LABELS]
    assert [label.value for label in moved if label.kind not in pitched] == [label.value for label in LABELS if label.kind not in pitched]


@pytest.mark.parametrize("semitones", [-2.0, -0.5, -0.25, 0.25, 1.0, 1.5, 7.3])
def test_midi_pitches_move_by_the_shift_and_frequencies_by_its_ratio_fractions_and_all(semitones: float) -> None:
    note, voiced, unvoiced = shifted(semitones, said("note", "60.0"), said("pitch_contour", "440.0"), said("pitch_contour", "-220.0"))
    assert float(note) == pytest.approx(60 + semitones)
    assert float(voiced) == pytest.approx(440 * 2 ** (semitones / 12))
    assert float(unvoiced) == pytest.approx(-220 * 2 ** (semitones / 12))


@pytest.mark.parametrize(
    ("semitones", "root", "tonic"),
    [(1.0, "F", "F"), (-2.0, "D", "D"), (3.0, "G", "G"), (0.6, "F", "F"), (-11.0, "F", "F"), (12.0, "E", "E")],
)
def test_chords_and_keys_move_by_the_nearest_semitone_within_the_octave_and_keep_their_quality(
    semitones: float, root: str, tonic: str
) -> None:
    chord, key = said("chord", "E:min7/b3"), said("key", "E minor")
    assert shifted(semitones, chord, key) == [f"{root}:min7/b3", f"{tonic} minor"]


@pytest.mark.parametrize("semitones", [1.0, -5.0])
def test_no_chord_stays_no_chord(semitones: float) -> None:
    assert shifted(semitones, said("chord", "N"), said("chord", "X")) == ["N", "X"]


@pytest.mark.parametrize("semitones", [-0.49, -0.25, 0.0, 0.25, 0.5])
def test_a_shift_of_up_to_half_a_semitone_is_tuning_and_leaves_names(semitones: float) -> None:
    assert shifted(semitones, said("chord", "E:min7/b3"), said("key", "A minor")) == ["E:min7/b3", "A minor"]


def test_a_change_of_timbre_leaves_every_label() -> None:
    noisy = after(AddNoise(snr_low_db=10, snr_high_db=10))
    assert [(label.kind, label.value, label.start, label.duration) for label in noisy] == [
        (label.kind, label.value, label.start, label.duration) for label in LABELS
    ]


def test_unlike_muda_names_are_spelled_by_key_and_not_with_sharps_only() -> None:
    # muda: A#:maj, D# minor.
    assert shifted(1.0, said("chord", "A:maj"), said("key", "D minor")) == ["Bb:maj", "Eb minor"]


def test_unlike_muda_half_a_semitone_downwards_leaves_names_as_upwards() -> None:
    # muda: outside of what it calls tuning, so that the name depends on the note: the half is rounded to the even MIDI number.
    assert shifted(-0.5, said("chord", "C"), said("chord", "C#")) == ["C", "C#"]


def test_unlike_muda_one_and_a_half_semitones_move_all_names_alike() -> None:
    # muda: to the even MIDI number: C and C# both become D.
    assert shifted(1.5, said("chord", "C"), said("chord", "C#")) == ["Db", "D"]


def test_unlike_muda_tags_of_tempo_do_not_outlive_a_stretch() -> None:
    labels = [Label("tag", "slow", "a", "gold", "t")]
    assert after(TimeStretch(low=1.0, high=1.0), labels)
    with pytest.raises(ValueError, match="tag 'slow' refused beyond"):
        after(TimeStretch(low=2.0, high=2.0), labels)
