"""Faster, slower, shorter, later, backwards: lengths and places exact, labels where the sound is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from augment import (
    Augmentation,
    Chain,
    Crop,
    Pad,
    PitchAndTempo,
    PitchShift,
    Reverse,
    Scene,
    Shift,
    Sound,
    Speed,
    TimeStretch,
    Unfit,
    augmented,
    replay,
)
from augment.augmentation import Draw
from tests.sounds import clicks, noise, tone

SCENE = Scene()
AT = np.arange(0.25, 4.0, 0.37)  # seconds


def click_track(sample_rate: int = 44_100) -> Sound:
    """Five seconds with a click at each of AT."""
    return Sound(clicks(sample_rate, 5.0, np.round(AT * sample_rate).astype(int).tolist())[:, 0], sample_rate)


def heard(sound: Sound, expected: np.ndarray, reach: float = 0.1) -> np.ndarray:
    """Seconds of the strongest sample within `reach` of each expected moment."""
    found = []
    for time in expected:
        first = max(0, round((time - reach) * sound.sample_rate))
        found.append((first + np.argmax(np.abs(sound.samples[first : round((time + reach) * sound.sample_rate)]))) / sound.sample_rate)
    return np.array(found)


def moved(times: np.ndarray, augmentation: type[Augmentation], draw: Draw, seconds: float) -> np.ndarray:
    """Moments, as the change says."""
    change = augmentation.change(draw)
    times = times / change.rate
    return (seconds / change.rate - times if change.mirrored else times) + change.offset


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("rate", [0.5, 0.8, 0.873, 0.97, 1.031, 1.25, 2.0])
@pytest.mark.parametrize("augmentation", [TimeStretch, Speed])
def test_clicks_are_where_the_change_of_rate_says(augmentation: type[Augmentation], rate: float, sample_rate: int) -> None:
    sound = click_track(sample_rate)
    after = augmentation.audio(sound, {"rate": rate}, SCENE)
    expected = moved(AT, augmentation, {"rate": rate}, sound.seconds)
    np.testing.assert_allclose(expected, AT / rate)
    assert np.abs(heard(after, expected) - expected).max() < 0.002


@pytest.mark.parametrize("augmentation", [TimeStretch, Speed])
def test_lengths_are_exact_for_odd_counts_and_rates(augmentation: type[Augmentation]) -> None:
    rng = np.random.default_rng(0)
    for sample_rate in (8000, 22_050, 44_100):
        for _ in range(20):
            count, rate = int(rng.integers(sample_rate // 2, sample_rate)), float(rng.uniform(0.5, 2))
            sound = Sound(noise(sample_rate, 1.0)[:count, 0], sample_rate)
            assert len(augmentation.audio(sound, {"rate": rate}, SCENE).samples) == round(count / rate), (count, rate)


def test_half_speed_doubles_audio_and_moves_every_label() -> None:
    sound = click_track()
    (slow,) = {TimeStretch(low=0.5, high=0.5).draw(np.random.default_rng(seed), sound, SCENE)["rate"] for seed in range(3)}
    after = TimeStretch.audio(sound, {"rate": slow}, SCENE)
    assert after.seconds == 10.0
    assert np.abs(heard(after, 2 * AT) - 2 * AT).max() < 0.002


def test_a_stretched_tone_keeps_its_pitch_and_a_faster_one_is_higher() -> None:
    sound = Sound(tone(22_050, 4.0, 440.0)[:, 0], 22_050)
    for rate in (0.8, 1.031, 1.25):
        assert abs(cents(TimeStretch.audio(sound, {"rate": rate}, SCENE), 440.0)) < 1
        assert abs(cents(Speed.audio(sound, {"rate": rate}, SCENE), 440.0 * rate)) < 1
        assert Speed.change({"rate": rate}).semitones == pytest.approx(12 * math.log2(rate))


def cents(sound: Sound, hertz: float) -> float:
    """How much higher the strongest partial is than `hertz`."""
    spectrum = np.log(np.abs(np.fft.rfft(sound.samples * np.hanning(len(sound.samples)), 1 << 20)) + 1e-12)
    top = int(np.argmax(spectrum))
    below, at, above = spectrum[top - 1 : top + 2]
    return float(1200 * np.log2((top + (below - above) / (2 * (below - 2 * at + above))) * sound.sample_rate / (1 << 20) / hertz))


def test_speed_beyond_the_old_rate_does_not_alias() -> None:
    sound = Sound(tone(22_050, 2.0, 9000.0)[:, 0], 22_050)
    after = Speed.audio(sound, {"rate": 1.5}, SCENE)  # 13.5 kHz is above half the sample rate
    assert np.abs(after.samples[1000:-1000]).max() < 1e-4


def test_a_crop_is_a_piece_of_the_clip_and_labels_follow_it() -> None:
    sound = click_track()
    for seed in range(20):
        draw = Crop(low=0.3, high=0.9).draw(np.random.default_rng(seed), sound, SCENE)
        after = Crop.audio(sound, draw, SCENE)
        assert 0.3 * 5 - 1e-4 <= after.seconds <= 0.9 * 5 + 1e-4
        first = round(draw["start"] * sound.sample_rate)
        np.testing.assert_array_equal(after.samples, sound.samples[first : first + len(after.samples)])
        expected = moved(AT, Crop, draw, sound.seconds)
        inside = expected[(expected > 0.001) & (expected < after.seconds - 0.001)]
        assert len(inside)
        assert np.abs(heard(after, inside, 0.01) - inside).max() < 1e-4


def test_a_crop_in_seconds_may_take_the_whole_clip_but_no_more() -> None:
    sound = click_track()
    whole = Crop(low=5, high=5, unit="seconds").draw(np.random.default_rng(0), sound, SCENE)
    np.testing.assert_array_equal(Crop.audio(sound, whole, SCENE).samples, sound.samples)
    with pytest.raises(Unfit, match=r"Crop to 5\.100 s, but there are only 5\.000 s") as caught:
        Crop(low=5.1, high=5.1, unit="seconds").draw(np.random.default_rng(0), sound, SCENE)
    assert caught.value.kind == "too short"


@pytest.mark.parametrize("seconds", [0.7, -0.7, 0.0])
def test_a_shift_keeps_the_length_and_fills_with_silence(seconds: float) -> None:
    sound = click_track()
    after = Shift.audio(sound, {"seconds": seconds}, SCENE)
    by = round(seconds * sound.sample_rate)
    assert len(after.samples) == len(sound.samples)
    np.testing.assert_array_equal(
        after.samples[max(0, by) : len(sound.samples) + min(0, by)], sound.samples[max(0, -by) : -by if by > 0 else None]
    )
    assert not after.samples[:by].any() if by >= 0 else not after.samples[by:].any()
    expected = moved(AT, Shift, {"seconds": seconds}, 5.0)
    inside = expected[(expected > 0) & (expected < 5)]
    assert np.abs(heard(after, inside, 0.01) - inside).max() < 1e-4


def test_a_shift_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(Unfit, match="leaves nothing"):
        Shift.audio(click_track(), {"seconds": -5.0}, SCENE)


def test_padding_is_silence_before_and_after() -> None:
    sound = click_track()
    draw = Pad(low=0.2, high=0.6).draw(np.random.default_rng(3), sound, SCENE)
    after = Pad.audio(sound, draw, SCENE)
    before, behind = (round(draw[end] * sound.sample_rate) for end in ("before", "after"))
    assert 0.2 <= min(draw.values()) < max(draw.values()) <= 0.6
    np.testing.assert_array_equal(after.samples, np.concatenate([np.zeros(before), sound.samples, np.zeros(behind)]))
    expected = moved(AT, Pad, draw, 5.0)
    assert np.abs(heard(after, expected, 0.01) - expected).max() < 1e-4


def test_backwards_twice_is_forwards_and_times_are_counted_from_the_end() -> None:
    sound = click_track()
    after = Reverse.audio(sound, {}, SCENE)
    np.testing.assert_array_equal(Reverse.audio(after, {}, SCENE).samples, sound.samples)
    expected = moved(AT, Reverse, {}, sound.seconds)
    np.testing.assert_allclose(expected, 5.0 - AT)
    assert np.abs(heard(after, expected, 0.01) - expected).max() < 1e-4


@pytest.mark.parametrize("augmentation", [TimeStretch, Speed])
def test_rates_are_drawn_by_octaves_within_the_range(augmentation: type[TimeStretch] | type[Speed]) -> None:
    spec = augmentation(low=0.5, high=2.0)
    rng, sound = np.random.default_rng(0), click_track()
    rates = np.array([spec.draw(rng, sound, SCENE)["rate"] for _ in range(2000)])
    assert 0.5 <= rates.min() < 0.55
    assert 1.9 < rates.max() <= 2.0
    assert 0.46 < (rates < 1).mean() < 0.54  # drawn evenly it would be a third


EVERY = [TimeStretch(), Speed(), Crop(), Shift(), Pad(), Reverse(), PitchShift(), PitchAndTempo()]


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: type(spec).__name__)
def test_every_draw_repeats_bit_for_bit_and_leaves_its_input_alone(spec: Augmentation) -> None:
    sound = Sound(noise(22_050, 2.0, 0.5)[:, 0], 22_050)
    sound.samples.setflags(write=False)
    kept = sound.samples.copy()
    view = augmented([spec], sound, SCENE, 1, "clip", 1)
    again = replay(type(view.lineage).parse(str(view.lineage)), sound, SCENE)
    assert again.samples.tobytes() == view.sound.samples.tobytes() != kept.tobytes()
    assert view.sound.samples.dtype == np.float32
    assert not np.shares_memory(view.sound.samples, sound.samples)
    np.testing.assert_array_equal(sound.samples, kept)


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: type(spec).__name__)
def test_what_may_be_drawn_lies_between_the_extremes(spec: Augmentation) -> None:
    sound = click_track()
    ends = spec.extremes()
    for seed in range(30):
        change = type(spec).change(spec.draw(np.random.default_rng(seed), sound, SCENE))
        assert min(end.rate for end in ends) <= change.rate <= max(end.rate for end in ends)
        assert min(end.semitones for end in ends) <= change.semitones <= max(end.semitones for end in ends)
        assert change.mirrored == ends[0].mirrored
        if not isinstance(spec, Crop):
            assert min(end.offset for end in ends) <= change.offset <= max(end.offset for end in ends)


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: type(spec).__name__)
def test_silence_stays_silence(spec: Augmentation) -> None:
    after = augmented([spec], Sound(np.zeros(44_100, np.float32), 22_050), SCENE, 1, "clip", 1).sound
    assert len(after.samples)
    assert not after.samples.any()


@pytest.mark.parametrize(("augmentation", "draw"), [(TimeStretch, {"rate": 1.0}), (Speed, {"rate": 1.0}), (PitchShift, {"semitones": 0.0})])
def test_a_draw_of_nothing_gives_the_sound_as_it_is(augmentation: type[Augmentation], draw: Draw) -> None:
    sound = click_track()
    assert augmentation.audio(sound, draw, SCENE) is sound


def test_a_chain_of_all_moves_labels_one_after_the_other() -> None:
    sound = click_track()
    chain = [
        Speed(low=0.9, high=0.95),
        Pad(low=0.2, high=0.4),
        TimeStretch(low=1.1, high=1.2),
        Shift(low=0.1, high=0.2),
        Chain(of=(Reverse(),)),
    ]
    view = augmented(chain, sound, SCENE, 7, "clip", 1)
    kinds = {each.__name__: each for each in (Speed, Pad, TimeStretch, Shift, Reverse)}
    times = AT
    for step, before, _ in view.lineage.seconds():
        times = moved(times, kinds[step["use"]], step, before)
    assert len(view.lineage.steps) == 5
    assert np.abs(heard(view.sound, times) - times).max() < 0.002


@pytest.mark.parametrize(
    ("augmentation", "parameters", "said"),
    [
        (TimeStretch, {"low": 0.0, "high": 1.0}, "TimeStretch needs 0 < low <= high, got low=0 high=1"),
        (TimeStretch, {"low": -1.0}, "TimeStretch needs 0 < low <= high"),
        (TimeStretch, {"low": 0.4}, "TimeStretch needs rates from 0.5 to 2, got low=0.4 high=1.25"),
        (TimeStretch, {"low": math.nan}, "finite number"),
        (Speed, {"low": 1.2, "high": 0.8}, "Speed needs 0 < low <= high, got low=1.2 high=0.8"),
        (Speed, {"high": math.inf}, "finite number"),
        (Speed, {"high": 5.0}, "Speed needs rates from 0.25 to 4"),
        (Crop, {"low": 0.0}, "Crop needs 0 < low <= high"),
        (Crop, {"high": 3.0}, 'lengths in seconds need unit = "seconds"'),
        (Shift, {"low": 2.0}, "Shift needs low <= high, got low=2 high=1"),
        (Pad, {"low": -0.1}, "greater than or equal to 0"),
        (Pad, {"low": 0.5, "high": 0.1}, "Pad needs low <= high, got low=0.5 high=0.1"),
    ],
)
def test_a_wrong_range_is_named(augmentation: type[Augmentation], parameters: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        augmentation(**parameters)
    assert said in str(caught.value)
    assert caught.value.error_count() == 1
