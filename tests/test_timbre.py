"""Gain, noise and filters do what their draws say, and nothing else."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.signal import freqz_sos

from augment import AddNoise, Augmentation, Change, Filter, Gain, Lineage, Scene, Sound, Unfit, augmented, replay
from augment.timbre import POOL, Timbre, noise, rms, sections

RATE = 22050
ALL: tuple[Timbre, ...] = (
    Gain(),
    AddNoise(),
    AddNoise(colour="brown"),
    Filter(kind="lowpass", low_hz=500, high_hz=5000),
    Filter(kind="bandstop", low_hz=500, high_hz=5000, q_low=0.5, q_high=3),
    Filter(kind="highshelf", low_hz=500, high_hz=5000),
)


def music(seconds: float = 1.0, rate: int = RATE, seed: int = 0) -> Sound:
    """Noise under a decaying tone: sound of all frequencies, which nothing may write to."""
    times = np.arange(int(seconds * rate)) / rate
    samples = 0.5 * np.exp(-times) * np.sin(2 * np.pi * 220 * times) + 0.05 * np.random.default_rng(seed).standard_normal(len(times))
    return still(samples, rate)


def still(samples: NDArray[Any], rate: int = RATE) -> Sound:
    """Samples as a sound that cannot be written to."""
    fixed = samples.astype(np.float32)
    fixed.flags.writeable = False
    return Sound(fixed, rate)


def drawn(spec: Augmentation, sound: Sound, seed: int = 0) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """A draw, and the samples that it gives."""
    draw = spec.draw(np.random.default_rng(seed), sound, Scene())
    return draw, type(spec).audio(sound, draw, Scene()).samples


def db(ratio: float) -> float:
    """A ratio of amplitudes in decibels."""
    return float(20 * np.log10(ratio))


@pytest.mark.parametrize("spec", ALL, ids=Augmentation.label)
def test_a_lineage_read_from_text_gives_the_same_samples(spec: Augmentation) -> None:
    sound = music()
    view = augmented([spec], sound, Scene(), 1, "clip", 1)
    again = replay(Lineage.parse(str(view.lineage)), sound, Scene())
    assert again.samples.tobytes() == view.sound.samples.tobytes()
    assert view.sound.samples.dtype == np.float32
    assert len(view.sound.samples) == len(sound.samples)
    assert view.sound.samples.tobytes() != sound.samples.tobytes()


@pytest.mark.parametrize("spec", ALL, ids=Augmentation.label)
def test_specs_travel_and_touch_only_timbre(spec: Timbre) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(type(spec).model_validate_json(spec.model_dump_json())) == hash(spec)
    assert spec.extremes() == (Change(timbre=True),) == (spec.change(drawn(spec, music())[0]),)


def test_gain_is_exact_and_clips_nothing() -> None:
    sound = still(np.array([0.0, 0.5, -0.9]))
    draw, louder = drawn(Gain(low_db=20, high_db=20), sound)
    assert draw == {"gain_db": 20.0}
    np.testing.assert_allclose(louder, [0, 5, -9], rtol=1e-6)


def test_gains_are_drawn_from_the_whole_range() -> None:
    gains = [Gain(low_db=-6, high_db=3).draw(np.random.default_rng(seed), music(0.01), Scene())["gain_db"] for seed in range(200)]
    assert -6 <= min(gains) < -5.5
    assert 2.5 < max(gains) <= 3


@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
@pytest.mark.parametrize("samples", [20, 1000, 3 * RATE])
@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 30.0])
def test_the_ratio_of_clip_to_noise_is_the_one_drawn(colour: Any, samples: int, snr_db: float) -> None:
    sound = music(samples / RATE)
    _, noisy = drawn(AddNoise(snr_low_db=snr_db, snr_high_db=snr_db, colour=colour), sound)
    clean = sound.samples.astype(np.float64)
    assert db(np.sqrt(np.mean(clean**2) / np.mean((noisy - clean) ** 2))) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize(("colour", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_falls_per_octave_as_its_colour_says(colour: Any, slope_db: float) -> None:
    blocks = noise(1 << 19, colour, 12345).reshape(-1, 4096)
    power = np.mean(np.abs(np.fft.rfft(blocks * np.hanning(4096))) ** 2, axis=0)
    octaves = [10 * np.log10(power[low : 2 * low].mean()) for low in (32, 64, 128, 256, 512, 1024)]
    assert np.polyfit(range(6), octaves, 1)[0] == pytest.approx(slope_db, abs=0.2)


def test_white_noise_is_gaussian_and_the_same_everywhere() -> None:
    pool = noise(POOL, "white", 0)
    assert rms(pool) == pytest.approx(1, abs=2e-3)
    assert np.mean(np.abs(pool) < 1) == pytest.approx(0.6827, abs=2e-3)
    # Written down once: another NumPy that draws otherwise changes every view with noise, and AddNoise.version must rise.
    assert hashlib.sha256(pool.tobytes()).hexdigest()[:16] == "2a557d471cff0c56"


@pytest.mark.parametrize("colour", ["white", "brown"])
def test_noise_goes_round_without_a_click(colour: Any) -> None:
    around = noise(2000, colour, POOL - 1000)
    np.testing.assert_array_equal(around, np.concatenate([noise(1000, colour, POOL - 1000), noise(1000, colour, 0)]))
    steps = np.abs(np.diff(around))
    assert steps[999] <= 5 * np.sqrt(np.mean(steps**2))
    assert len(noise(POOL + 10, colour, 5)) == POOL + 10


def test_other_clips_hear_other_noise_and_threads_hear_the_same() -> None:
    sound = music()
    first, second = (drawn(AddNoise(snr_low_db=0, snr_high_db=0), sound, seed)[1] - sound.samples for seed in (1, 2))
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.03
    heard: list[bytes] = []
    threads = [threading.Thread(target=lambda: heard.append(drawn(AddNoise(colour="pink"), sound, 7)[1].tobytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 4
    assert len(set(heard)) == 1


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_no_noise_has_a_ratio_to_silence(level: float) -> None:
    with pytest.raises(Unfit, match=r"AddNoise .* dB: the clip is silent") as caught:
        drawn(AddNoise(), still(np.full(1000, level)))
    assert caught.value.kind == "silent"


@pytest.mark.parametrize(
    ("spec", "hz", "expected_db", "within"),
    [
        ({"kind": "lowpass", "rolloff_db": 24}, 1000, -3.01, 0.05),
        ({"kind": "lowpass", "rolloff_db": 24}, 4000, -52.1, 0.1),
        ({"kind": "lowpass", "rolloff_db": 24}, 100, 0.0, 0.05),
        ({"kind": "highpass"}, 1000, -3.01, 0.05),
        ({"kind": "highpass"}, 125, -36.1, 0.3),
        ({"kind": "bandpass", "q_low": 2, "q_high": 2}, 1000, 0.0, 0.05),
        ({"kind": "bandpass", "q_low": 2, "q_high": 2}, 780.78, -3.01, 0.1),
        ({"kind": "bandpass", "q_low": 2, "q_high": 2}, 1280.78, -3.01, 0.1),
        ({"kind": "bandstop", "q_low": 2, "q_high": 2}, 1000, -60.0, None),
        ({"kind": "bandstop", "q_low": 2, "q_high": 2}, 100, 0.0, 0.1),
        ({"kind": "peaking", "gain_low_db": 9, "gain_high_db": 9}, 1000, 9.0, 0.01),
        ({"kind": "peaking", "gain_low_db": 9, "gain_high_db": 9}, 20, 0.0, 0.05),
        ({"kind": "lowshelf", "gain_low_db": -8, "gain_high_db": -8}, 20, -8.0, 0.05),
        ({"kind": "lowshelf", "gain_low_db": -8, "gain_high_db": -8}, 1000, -4.0, 0.05),
        ({"kind": "lowshelf", "gain_low_db": -8, "gain_high_db": -8}, 10000, 0.0, 0.05),
        ({"kind": "highshelf", "gain_low_db": 12, "gain_high_db": 12}, 20, 0.0, 0.05),
        ({"kind": "highshelf", "gain_low_db": 12, "gain_high_db": 12}, 1000, 6.0, 0.05),
        ({"kind": "highshelf", "gain_low_db": 12, "gain_high_db": 12}, 10500, 12.0, 0.05),
    ],
)
def test_filters_pass_and_cut_what_theory_says(spec: dict[str, Any], hz: float, expected_db: float, within: float | None) -> None:
    _, response = drawn(Filter(low_hz=1000, high_hz=1000, **spec), still(np.eye(1, 2 * RATE)[0]))
    at = np.exp(-2j * np.pi * hz / RATE * np.arange(len(response)))
    heard_db = db(abs(np.sum(response * at)))
    assert heard_db < expected_db if within is None else heard_db == pytest.approx(expected_db, abs=within)


def test_cutoffs_are_log_uniform_and_end_below_half_the_rate() -> None:
    spec = Filter(kind="lowpass", low_hz=100, high_hz=20000)
    rng = np.random.default_rng(0)
    hz = [spec.draw(rng, music(0.01, 8000), Scene())["hz"] for _ in range(1000)]
    assert 100 <= min(hz) < 120
    assert 3200 < max(hz) <= 3600
    assert np.exp(np.mean(np.log(hz))) == pytest.approx(600, rel=0.1)  # the geometric mean of 100 and 3600
    with pytest.raises(Unfit, match="Filter low_hz=5000: above 3600 Hz, the most at a sample rate of 8000 Hz"):
        drawn(Filter(kind="lowpass", low_hz=5000, high_hz=6000), music(0.01, 8000))


@pytest.mark.parametrize("kind", ["lowpass", "highpass", "bandpass", "bandstop", "peaking", "lowshelf", "highshelf"])
@pytest.mark.parametrize("hz", [1.0, 300.0, 0.45 * RATE])
def test_every_filter_is_stable(kind: Any, hz: float) -> None:
    for q in (0.1, 0.7, 30):
        designed = sections(kind, hz, RATE, 48, q, 60.0)
        poles = np.concatenate([np.roots(section[3:]) for section in designed])
        assert np.abs(poles).max() < 1
        assert np.isfinite(freqz_sos(designed)[1]).all()


@pytest.mark.parametrize("spec", ALL, ids=Augmentation.label)
@pytest.mark.parametrize("rate", [7_000, 22_050, 192_000])
def test_one_sample_is_enough(spec: Augmentation, rate: int) -> None:
    _, samples = drawn(
        Filter(kind="lowpass", low_hz=500, high_hz=3000) if isinstance(spec, Filter) else spec, still(np.array([0.25]), rate)
    )
    assert samples.shape == (1,)
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Gain(low_db=3, high_db=-3), "Gain needs low <= high, got low=3 high=-3"),
        (lambda: Gain(low_db=float("nan")), "low_db"),
        (lambda: AddNoise(snr_low_db=30, snr_high_db=10), "AddNoise needs low <= high, got low=30 high=10"),
        (lambda: AddNoise(colour="blue"), "'white', 'pink' or 'brown'"),  # type: ignore[arg-type]
        (lambda: Filter(kind="lowpass", low_hz=900, high_hz=300), "Filter needs 0 < low <= high, got low=900 high=300"),
        (lambda: Filter(kind="lowpass", low_hz=1e-8, high_hz=300), "greater than or equal to 0.001"),
        (lambda: Filter(kind="lowpass", low_hz=1, high_hz=2, gain_low_db=1), "Filter 'lowpass' has no gain_low_db; leave it out"),
        (lambda: Filter(kind="peaking", low_hz=1, high_hz=2, rolloff_db=24), "Filter 'peaking' has no rolloff_db; leave it out"),
        (lambda: Filter(kind="lowpass", low_hz=1, high_hz=2, rolloff_db=10), "multiple of 6"),
    ],
)
def test_a_mistake_is_named_in_one_line(make: Any, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make()
    assert line in caught.value.errors()[0]["msg"] or line in str(caught.value.errors()[0]["loc"])


def test_draws_are_json_and_repeat_without_the_spec() -> None:
    for spec in ALL:
        draw, samples = drawn(spec, music())
        again = type(spec).audio(music(), json.loads(json.dumps(draw)), Scene()).samples
        assert again.tobytes() == samples.tobytes()
