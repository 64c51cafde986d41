"""audiomentations by name: our randomness, its sound, sound that stays in its place, mistakes that are named."""

from __future__ import annotations

import json
import pickle
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import audiomentations
import numpy as np
import pytest
from audiomentations.core.transforms_interface import BaseWaveformTransform
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.signal import correlate

import augment
from augment import Audiomentations, Chain, Change, Lineage, Scene, Sound, Unfit, augmented, replay
from augment.named import REFUSED, TRANSFORMS

RATE = 22050


def still(samples: NDArray[Any], rate: int = RATE) -> Sound:
    """Samples as a sound that cannot be written to."""
    fixed = samples.astype(np.float32)
    fixed.flags.writeable = False
    return Sound(fixed, rate)


def music(seconds: float = 1.0, rate: int = RATE) -> Sound:
    """Strokes of noise and a tone."""
    times = np.arange(int(seconds * rate)) / rate
    strokes = 10 ** (-3 * (times % 0.25) / 0.2) * np.random.default_rng(0).standard_normal(len(times))
    return still(0.3 * strokes + 0.1 * np.sin(2 * np.pi * 330 * times), rate)


def drawn(spec: Audiomentations, sound: Sound, seed: int = 0) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """A draw, and the samples that it gives."""
    draw = spec.draw(np.random.default_rng(seed), sound, Scene())
    return draw, Audiomentations.audio(sound, draw, Scene()).samples


def states() -> str:
    """The global generators as they stand."""
    return repr((random.getstate(), [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()]))


@contextmanager
def others_drawing() -> Iterator[None]:
    """Other threads that seed and use the global generators all the while."""
    stop = threading.Event()

    def hammer(seed: int) -> None:
        while not stop.is_set():
            random.seed(seed)
            np.random.seed(seed)
            for _ in range(20):
                random.random()
                np.random.uniform(size=3)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_every_transform_is_either_taken_or_refused() -> None:
    there = {name for name, kind in vars(audiomentations).items() if isinstance(kind, type) and issubclass(kind, BaseWaveformTransform)}
    assert there == {*TRANSFORMS, *REFUSED}
    assert not set(TRANSFORMS) & set(REFUSED)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_other_users_of_the_global_generators_change_nothing(name: str) -> None:
    spec, sound = Audiomentations(transform=name), music()
    alone = [drawn(spec, sound, seed) for seed in range(3)]
    with others_drawing():
        beside = [drawn(spec, sound, seed) for seed in range(3)]
    for (draw, samples), (again, same) in zip(alone, beside, strict=True):
        assert draw == again
        assert samples.tobytes() == same.tobytes()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_global_generators_are_left_alone(name: str) -> None:
    random.seed(1)
    np.random.seed(1)
    before = states()
    drawn(Audiomentations(transform=name), music())
    assert states() == before


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_view_draws_its_own_parameters(name: str) -> None:
    draws = {json.dumps(drawn(Audiomentations(transform=name), music(), seed)[0]["parameters"]) for seed in range(8)}
    assert (len(draws) == 1) == (name in ("Clip", "Normalize", "PolarityInversion"))
    assert len(draws) == 1 or len(draws) >= 4


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_lineage_read_from_text_gives_the_same_samples(name: str) -> None:
    sound = music()
    view = augmented([Audiomentations(transform=name)], sound, Scene(), 1, "clip", 1)
    again = replay(Lineage.parse(str(view.lineage)), sound, Scene())
    assert again.samples.tobytes() == view.sound.samples.tobytes()
    assert view.sound.samples.dtype == np.float32
    assert len(view.sound.samples) == len(sound.samples)
    assert not np.may_share_memory(view.sound.samples, sound.samples)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_is_heard_is_what_audiomentations_makes_of_these_parameters(name: str) -> None:
    sound = music()
    draw, samples = drawn(Audiomentations(transform=name), sound)
    theirs = getattr(audiomentations, name)(p=1.0)
    parts = [theirs]
    if name == "SevenBandParametricEQ":
        parts = [theirs.low_shelf_filter, *theirs.peaking_filters, theirs.high_shelf_filter]
        theirs.parameters = {"should_apply": True}
    for part, parameters in zip(parts, draw["parameters"], strict=True):
        part.parameters = {"should_apply": True, **parameters}
    theirs.freeze_parameters()
    np.testing.assert_allclose(samples, theirs(sound.samples.copy(), RATE), atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_sound_stays_in_its_place(name: str, rate: int) -> None:
    sound = music(2.0, rate)
    for seed in range(4):
        _, samples = drawn(Audiomentations(transform=name), sound, seed)
        alike = np.abs(correlate(samples, sound.samples))
        assert abs(int(np.argmax(alike)) - (len(samples) - 1)) / rate < 0.010


@pytest.mark.parametrize("bitrate", [8, 32, 64, 320])
def test_mp3_comes_back_without_the_encoders_delay(bitrate: int) -> None:
    click = np.zeros(2 * RATE)
    click[RATE : RATE + 200] = np.random.default_rng(0).standard_normal(200) * np.hanning(200)
    _, samples = drawn(
        Audiomentations(transform="Mp3Compression", parameters={"min_bitrate": bitrate, "max_bitrate": bitrate}), still(click)
    )
    assert len(samples) == len(click)
    assert abs(int(np.argmax(correlate(samples, click))) - (len(click) - 1)) <= 1
    assert samples.tobytes() != click.astype(np.float32).tobytes()


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("samples", [1, 30, 8000])
@pytest.mark.parametrize("kind", ["silent", "constant", "noise", "full scale and more"])
def test_any_clip_gives_numbers_or_is_unfit(name: str, samples: int, kind: str) -> None:
    noise = np.random.default_rng(0).standard_normal(samples)
    clip = {"silent": 0 * noise, "constant": 0 * noise + 0.5, "noise": 1e-3 * noise, "full scale and more": 30 * noise}[kind]
    refused: Unfit | None = None
    after = np.zeros(samples, np.float32)
    try:
        _, after = drawn(Audiomentations(transform=name), still(clip, 16000))
    except Unfit as error:
        refused = error
    assert np.isfinite(after).all()
    assert len(after) == samples
    few = {"AirAbsorption": 0, "Aliasing": 2, "LoudnessNormalization": 8000, "Mp3Compression": 1600}.get(name, 0)
    assert refused is None or samples < few or (name, kind) == ("LoudnessNormalization", "silent")
    assert refused is None or (str(refused).startswith(f"{name}: ") and refused.kind and refused.remedy)


def test_values_are_those_given() -> None:
    sound = music()
    draw, samples = drawn(Audiomentations(transform="BitCrush", parameters={"min_bit_depth": 4, "max_bit_depth": 4}), sound)
    assert draw["parameters"] == [{"bit_depth": 4}]
    assert len(np.unique(samples)) <= 2 * 9 + 1 + 2 * 30  # steps of 1/9; a few strokes exceed 1
    np.testing.assert_allclose(samples * 9, np.round(samples * 9), atol=1e-4)
    _, clipped = drawn(Audiomentations(transform="Clip", parameters={"a_min": -0.2, "a_max": 0.1}), sound)
    assert (float(clipped.min()), float(clipped.max())) == (pytest.approx(-0.2), pytest.approx(0.1))


def test_peaks_above_one_are_kept() -> None:
    spec = Audiomentations(transform="Gain", parameters={"min_gain_db": 20, "max_gain_db": 20})
    np.testing.assert_allclose(drawn(spec, music())[1], music().samples * 10, rtol=1e-6)


def test_a_filter_above_what_the_rate_holds_is_unfit() -> None:
    spec = Audiomentations(transform="PeakingFilter", parameters={"min_center_freq": 6000, "max_center_freq": 7000})
    with pytest.raises(Unfit, match=r"PeakingFilter: its centre of 6\d\d\d Hz is above half the sample rate of 8000 Hz"):
        drawn(spec, music(0.1, 8000))


def test_arguments_for_a_high_sample_rate_are_taken() -> None:
    spec = Audiomentations(transform="PeakingFilter", parameters={"min_center_freq": 30000, "max_center_freq": 40000})
    assert len(drawn(spec, music(0.1, 96000))[1]) == 9600


def test_mp3_refuses_clips_and_rates_that_it_cannot_encode() -> None:
    spec = Audiomentations(transform="Mp3Compression")
    with pytest.raises(Unfit, match=r"Mp3Compression: .* too short"):
        drawn(spec, music(0.05))
    with pytest.raises(Unfit, match=r"Mp3Compression: Expected sample_rate"):
        drawn(spec, music(0.5, 96000))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_moves_time_or_cannot_be_repeated_is_refused_with_what_to_take(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Audiomentations(transform=name)
    line = caught.value.errors()[0]["msg"]
    assert f"{name} is not for here: {REFUSED[name]}" in line
    ours = {each.__name__ for each in augment.AUGMENTATIONS}
    for suggested in re.findall(r"(?:take|or) ([A-Z]\w+)", REFUSED[name]):
        assert suggested in ours | set(TRANSFORMS)


@pytest.mark.parametrize(
    ("transform", "parameters", "line"),
    [
        ("Bitcrush", {}, "'Bitcrush' is not one of AirAbsorption, Aliasing, "),
        ("BitCrush", {"min_bits": 4}, "BitCrush has no 'min_bits', only min_bit_depth, max_bit_depth"),
        ("BitCrush", {"p": 0.5}, "BitCrush has no 'p', only min_bit_depth, max_bit_depth"),
        ("PolarityInversion", {"x": 1}, "PolarityInversion has no 'x', only none"),
        ("BitCrush", {"min_bit_depth": 0}, "BitCrush(min_bit_depth=0): min_bit_depth must be at least 1"),
        ("BitCrush", {"min_bit_depth": 5.5}, "BitCrush(min_bit_depth=5.5): "),
        ("BitCrush", {"min_bit_depth": "five"}, "BitCrush(min_bit_depth='five'): "),
        ("Clip", {"a_max": float("inf")}, "Clip needs finite numbers, got a_max=inf"),
        ("TanhDistortion", {"min_distortion": 2.0}, "TanhDistortion(min_distortion=2.0): audiomentations does not take these"),
        ("Mp3Compression", {"preserve_delay": True}, "changes the length of the sound; labels could not follow"),
        ("Mp3Compression", {"quality": 11}, "Mp3Compression(quality=11): "),
    ],
)
@pytest.mark.filterwarnings("ignore:randrange:DeprecationWarning")
def test_a_mistake_is_named_in_one_line(transform: str, parameters: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Audiomentations(transform=transform, parameters=parameters)
    message = caught.value.errors()[0]["msg"]
    assert line in message
    assert "\n" not in message


def test_a_spec_is_a_value_also_within_a_chain() -> None:
    make = {"transform": "BitCrush", "parameters": {"min_bit_depth": 4, "max_bit_depth": 6}, "p": 0.5}
    one, same, other = Audiomentations(**make), Audiomentations(**make), Audiomentations(transform="BitCrush")
    assert one == same != other
    assert len({one, same, other}) == 2
    assert len({Chain(of=(one,)), Chain(of=(same,)), Chain(of=(other,))}) == 2
    assert pickle.loads(pickle.dumps(one)) == one == Audiomentations.model_validate_json(one.model_dump_json())
    assert one.identity()["audiomentations"] == audiomentations.__version__
    assert one.extremes() == (Change(timbre=True),)
