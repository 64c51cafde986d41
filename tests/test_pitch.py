"""Higher and lower: in tune, in time, and as long as before."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from augment import Augmentation, PitchAndTempo, PitchShift, Scene, Sound, Unfit
from augment.stretching import HIGH, LOW, WINDOW_SECONDS, stretch
from tests.sounds import noise, tone
from tests.test_timing import AT, cents, click_track, heard

SCENE = Scene()


@pytest.mark.parametrize("hertz", [110.0, 440.0, 1760.0])
@pytest.mark.parametrize("semitones", [-12.0, -7.0, -3.3, 0.01, 0.5, 4.0, 7.0, 12.0])
def test_a_tone_is_transposed_exactly(hertz: float, semitones: float) -> None:
    sound = Sound(tone(22_050, 3.0, hertz)[:, 0], 22_050)
    after = PitchShift.audio(sound, {"semitones": semitones}, SCENE)
    assert len(after.samples) == len(sound.samples)
    assert abs(cents(after, hertz * 2 ** (semitones / 12))) < 1
    level = np.sqrt(np.mean(after.samples[5000:-5000] ** 2) / np.mean(sound.samples[5000:-5000] ** 2))
    assert level == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("rate", "semitones"), [(0.9, 3.0), (0.8, -7.0), (1.25, 7.0), (1.1, -2.4), (1.0, 1.0), (1.1, 0.0)])
def test_pitch_and_tempo_change_both(rate: float, semitones: float) -> None:
    draw = {"rate": rate, "semitones": semitones}
    sound = Sound(tone(22_050, 3.0, 330.0)[:, 0], 22_050)
    after = PitchAndTempo.audio(sound, draw, SCENE)
    assert len(after.samples) == round(len(sound.samples) / rate)
    assert abs(cents(after, 330 * 2 ** (semitones / 12))) < 1
    change = PitchAndTempo.change(draw)
    assert (change.rate, change.semitones) == (rate, semitones)
    clicked = PitchAndTempo.audio(click_track(), draw, SCENE)
    assert np.abs(heard(clicked, AT / rate) - AT / rate).max() < 0.002


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("semitones", [-12.0, -7.0, -0.37, 2.0, 5.5, 7.0, 12.0])
def test_clicks_stay_where_they_are(semitones: float, sample_rate: int) -> None:
    after = PitchShift.audio(click_track(sample_rate), {"semitones": semitones}, SCENE)
    assert np.abs(heard(after, AT) - AT).max() < 0.002


def test_bursts_stay_within_ten_milliseconds_over_the_whole_range() -> None:
    rng = np.random.default_rng(0)
    for sample_rate in (8000, 44_100):
        samples = np.zeros(5 * sample_rate, np.float32)
        for time in AT:
            count = round(0.02 * sample_rate)
            first = round(time * sample_rate)
            samples[first : first + count] = rng.uniform(-0.5, 0.5, count) * np.exp(-np.arange(count) / (0.004 * sample_rate))
        for rate, semitones in ((LOW, 0.0), (HIGH, 0.0), (1.0, 12.0), (1.0, -12.0), (1.0, 3.3), (0.8, 7.0), (1.25, -7.0)):
            after = Sound(stretch(samples, sample_rate, rate, semitones), sample_rate)
            assert np.abs(heard(after, AT / rate) - AT / rate).max() < 0.010, (sample_rate, rate, semitones)


def test_lengths_are_exact_for_odd_counts_rates_and_shifts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        count, rate, semitones = int(rng.integers(6000, 22_050)), float(rng.uniform(0.7, 1.3)), float(rng.uniform(-5, 5))
        sound = Sound(noise(22_050, 1.0)[:count, 0], 22_050)
        assert len(PitchShift.audio(sound, {"semitones": semitones}, SCENE).samples) == count
        after = PitchAndTempo.audio(sound, {"rate": rate, "semitones": semitones}, SCENE)
        assert len(after.samples) == round(count / rate)


def test_whole_semitones_unless_asked_otherwise() -> None:
    def drawn(spec: PitchShift) -> set[float]:
        return {spec.draw(np.random.default_rng(seed), click_track(), SCENE)["semitones"] for seed in range(60)}

    assert drawn(PitchShift()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert drawn(PitchShift(low=-0.7, high=0.5, step=0.5)) == {-0.5, 0.0, 0.5}
    assert drawn(PitchShift(low=0.1, high=0.3, step=0.1)) == {0.1, 0.2, 0.3}
    fractions = drawn(PitchShift(low=-1.5, high=1.5, step=0))
    assert len(fractions) == 60
    assert -1.5 <= min(fractions) < -1.2
    assert 1.2 < max(fractions) <= 1.5


def test_extremes_are_what_can_be_drawn() -> None:
    assert [change.semitones for change in PitchShift(low=-2.5, high=3.9).extremes()] == [-2, 3]
    assert [change.semitones for change in PitchShift(low=-2.5, high=3.9, step=0).extremes()] == [-2.5, 3.9]
    assert [(change.rate, change.semitones) for change in PitchAndTempo().extremes()] == [(0.9, -2), (1.1, 2)]


@pytest.mark.parametrize("spec", [PitchShift(low=1), PitchAndTempo(high_rate=0.95)], ids=lambda spec: type(spec).__name__)
def test_a_clip_shorter_than_the_window_is_refused(spec: Augmentation) -> None:
    short = Sound(noise(22_050, 0.1)[:, 0], 22_050)
    with pytest.raises(Unfit, match=r"shorter than the stretcher's window of 0\.12 s") as caught:
        type(spec).audio(short, spec.draw(np.random.default_rng(0), short, SCENE), SCENE)
    assert caught.value.kind == "too short"
    assert "window.min_seconds" in caught.value.remedy


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_the_window_is_the_stretchers(sample_rate: int) -> None:
    import python_stretch

    stretcher = python_stretch.Signalsmith.Stretch()
    stretcher.preset(1, sample_rate)
    assert stretcher.blockSamples() == round(WINDOW_SECONDS * sample_rate)


@pytest.mark.parametrize(
    ("augmentation", "parameters", "said"),
    [
        (PitchShift, {"low": 3.0}, "PitchShift needs low <= high, got low=3 high=2"),
        (PitchShift, {"low": -13.0}, "PitchShift needs semitones from -12 to 12, got low=-13 high=2"),
        (PitchShift, {"low": math.nan}, "finite number"),
        (PitchShift, {"low": 0.2, "high": 0.8}, "no multiple of step=1 lies between low=0.2 and high=0.8; step=0 takes any fraction"),
        (PitchShift, {"step": -1.0}, "greater than or equal to 0"),
        (PitchShift, {"step": 1e-300}, "PitchShift needs step >= 0.001, or 0 for any fraction, got 1e-300"),
        (PitchAndTempo, {"low_rate": 0.0}, "PitchAndTempo needs 0 < low <= high, got low=0 high=1.1"),
        (
            PitchAndTempo,
            {"high_rate": 2.0, "low_semitones": -5.0},
            "PitchAndTempo needs 0.5 <= rate / 2^(semitones/12) <= 2, got 0.802 to 2.67",
        ),
    ],
)
def test_a_wrong_range_is_named(augmentation: type[Augmentation], parameters: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        augmentation(**parameters)
    assert said in str(caught.value)
    assert caught.value.error_count() == 1


def test_the_stretcher_says_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"got rate=3 semitones=0"):
        stretch(click_track().samples, 44_100, 3.0)
    with pytest.raises(ValueError, match=r"got rate=nan"):
        stretch(click_track().samples, 44_100, math.nan)
