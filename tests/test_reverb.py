"""Rooms and users' impulse responses: reverberation as drawn, the sound in its place, files that are named when they fail."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.signal import butter, fftconvolve, sosfilt

from augment import ImpulseResponse, Lineage, Scene, Sound, Unfit, augmented, replay
from augment.reverb import convolved, recorded, response
from augment.rooms import place, room
from augment.timbre import rms

RATE = 22050


def still(samples: NDArray[Any], rate: int = RATE) -> Sound:
    """Samples as a sound that cannot be written to."""
    fixed = samples.astype(np.float32)
    fixed.flags.writeable = False
    return Sound(fixed, rate)


def clicks(seconds: float = 3.0, rate: int = RATE) -> tuple[Sound, list[int]]:
    """Short clicks, and the samples at which they begin."""
    samples, at = np.zeros(int(seconds * rate)), [int(rate * time) for time in np.arange(0.25, seconds, 0.75)]
    for each in at:
        samples[each : each + 20] = np.hanning(22)[1:-1]
    return still(samples, rate), at


def drawn(spec: ImpulseResponse, sound: Sound, seed: int = 0) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """A draw, and the samples that it gives."""
    draw = spec.draw(np.random.default_rng(seed), sound, Scene())
    return draw, ImpulseResponse.audio(sound, draw, Scene()).samples


def rt60(response: NDArray[np.float32], rate: int) -> float:
    """Seconds to fall by 60 dB, from Schroeder's integral between 5 and 35 dB below the energy after 50 ms."""
    energy = np.cumsum(np.square(response[int(0.05 * rate) :], dtype=np.float64)[::-1])[::-1]
    level = 10 * np.log10(energy / energy[0])
    fit = slice(int(np.argmax(level < -5)), int(np.argmax(level < -35)))
    return float(-60 / np.polyfit(np.arange(len(level))[fit] / rate, level[fit], 1)[0])


def hall(seconds: float = 0.3, delay: float = 0.0, rate: int = RATE) -> NDArray[np.float32]:
    """A recorded response: faint noise while the sound is on its way, the direct sound, a tail."""
    rng = np.random.default_rng(3)
    tail = rng.standard_normal(int(seconds * rate)) * 0.05 * 10 ** (-3 * np.arange(int(seconds * rate)) / rate / seconds)
    tail[0] = 1
    return np.concatenate([rng.standard_normal(round(delay * rate)) * 0.003, tail]).astype(np.float32)


@pytest.fixture
def halls(tmp_path: Path) -> Path:
    """A folder of three responses, and a text."""
    folder = tmp_path / "halls"
    (folder / "below").mkdir(parents=True)
    soundfile.write(folder / "dry.wav", hall(0.1), RATE, subtype="FLOAT")
    soundfile.write(folder / "late.wav", hall(0.2, 0.05), RATE, subtype="FLOAT")
    soundfile.write(folder / "below" / "other rate.flac", np.stack([hall(0.3, 0.02, 44100)] * 2, 1), 44100)
    (folder / "README.txt").write_text("three rooms")
    recorded.cache_clear()
    return folder


@pytest.mark.parametrize("seconds", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_a_room_reverberates_as_long_as_drawn(seconds: float, rate: int) -> None:
    rng = np.random.default_rng(int(seconds * 100))
    for _ in range(5):
        walls = place(rng, 2.5, 12)
        bright = room(seconds, *walls, treble=1.0, offset=int(rng.integers(1 << 22)), sample_rate=rate)
        assert rt60(bright, rate) == pytest.approx(seconds, rel=0.1)
        dull = room(seconds, *walls, treble=0.4, offset=int(rng.integers(1 << 22)), sample_rate=rate)
        below = sosfilt(butter(2, 2000, fs=rate, output="sos"), dull)
        assert rt60(below, rate) == pytest.approx(seconds, rel=0.15)


def test_treble_fades_sooner_where_it_is_damped() -> None:
    walls = ([6.0, 5.0, 3.0], [1.0, 1.0, 1.0], [4.0, 3.0, 1.5])
    above = butter(8, 8000, "highpass", fs=RATE, output="sos")
    bright, dull = (rt60(sosfilt(above, room(1.0, *walls, treble, 0, RATE)), RATE) for treble in (1.0, 0.5))
    assert bright == pytest.approx(1.0, rel=0.1)
    assert 0.5 <= dull < 0.8  # the two parts of the tail overlap by a slope of 6 dB per octave


def test_the_first_reflection_comes_from_the_nearest_wall() -> None:
    # Source and microphone 2 m apart and 1 m above the floor: the floor's image is √(2² + 2²) m away, at 2 / 2.83 of the level.
    response = room(0.3, [30.0, 30.0, 20.0], [14.0, 15.0, 1.0], [16.0, 15.0, 1.0], 1.0, 0, 48000)
    at = round((np.sqrt(8) - 2) / 343 * 48000)
    early = np.abs(response[1 : at + 200])
    assert np.argmax(early) + 1 == at
    reflected = np.exp(-0.161 / 2 * 18000 / (4200 * 0.3))
    assert early.max() == pytest.approx(2 / np.sqrt(8) * reflected, rel=0.05)
    assert response[0] == 1


def test_reverberation_is_stronger_farther_away() -> None:
    near, far = (room(0.6, [9.0, 7.0, 3.0], [1.0, 1.0, 1.5], [x, 1.0, 1.5], 1.0, 5, RATE) for x in (1.5, 7.5))
    assert np.sum(far[1:] ** 2) > 20 * np.sum(near[1:] ** 2)


def test_another_offset_is_another_room_and_the_same_one_the_same() -> None:
    walls = ([5.0, 4.0, 3.0], [1.0, 1.0, 1.0], [3.0, 3.0, 1.5])
    one, again, other = (room(0.4, *walls, 0.7, offset, RATE) for offset in (0, 0, 1_000_000))
    assert one.tobytes() == again.tobytes()
    assert abs(float(np.corrcoef(one[1000:], other[1000:])[0, 1])) < 0.1


@pytest.mark.parametrize("count", [1, 10, 20_000, 200_000])
@pytest.mark.parametrize("length", [1, 2, 500, 40_000])
def test_fast_convolution_is_convolution(count: int, length: int) -> None:
    rng = np.random.default_rng(count + length)
    samples, taps = rng.standard_normal(count, dtype=np.float32), rng.standard_normal(length, dtype=np.float32)
    expected = fftconvolve(samples.astype(np.float64), taps.astype(np.float64))[:count]
    np.testing.assert_allclose(convolved(samples, taps), expected, atol=1e-5 * np.sqrt(length) + 1e-6)


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_length_and_power_stay_and_clicks_do_not_move(mix: float) -> None:
    sound, at = clicks()
    for seed in range(5):
        _, heard = drawn(ImpulseResponse(rt60_low=0.2, rt60_high=0.5, side_high_metres=6, mix_low=mix, mix_high=mix), sound, seed)
        assert len(heard) == len(sound.samples)
        assert rms(heard) == pytest.approx(rms(sound.samples), rel=1e-4)
        for each in at:
            before = heard[max(0, each - 400) : each + 5]
            # Before a click there is the last one's tail; the click itself rises out of it at its own sample.
            assert np.abs(heard[each + 5 : each + 20]).max() > 2 * np.abs(before[:-5]).max()
    if mix == 0:
        np.testing.assert_allclose(heard, sound.samples, atol=1e-5)


@pytest.mark.parametrize("name", ["late.wav", "below/other rate.flac"])
def test_what_a_recorded_response_delays_is_put_back(halls: Path, name: str) -> None:
    sound, at = clicks()
    _, heard = drawn(ImpulseResponse(files=str(halls / name)), sound)
    lag = np.argmax(fftconvolve(heard, sound.samples[::-1])) - (len(sound.samples) - 1)
    assert abs(lag) / RATE < 1e-3
    assert np.argmax(np.abs(heard) > 0.3 * np.abs(heard).max()) / RATE == pytest.approx((at[0] + 5) / RATE, abs=1e-3)


def test_folder_file_and_pattern_name_the_same_rooms(halls: Path) -> None:
    sound, _ = clicks()
    everywhere = {os.path.basename(drawn(ImpulseResponse(files=str(halls)), sound, seed)[0]["uri"]) for seed in range(30)}
    assert everywhere == {"dry.wav", "late.wav", "other rate.flac"}
    pattern = ImpulseResponse(files=str(halls / "*.wav"))
    assert {os.path.basename(drawn(pattern, sound, seed)[0]["uri"]) for seed in range(30)} == {"dry.wav", "late.wav"}
    one = drawn(ImpulseResponse(files=str(halls / "dry.wav")), sound)[0]
    assert one["uri"] == str(halls / "dry.wav")


def test_other_files_give_other_parts_and_another_place_does_not(halls: Path, tmp_path: Path) -> None:
    before = ImpulseResponse(files=str(halls)).identity()
    moved = Path(shutil.copytree(halls, tmp_path / "moved"))
    assert ImpulseResponse(files=str(moved)).identity()["found"] == before["found"]
    soundfile.write(halls / "new.wav", hall(), RATE)
    assert ImpulseResponse(files=str(halls)).identity()["found"] != before["found"]


def test_workers_draw_from_the_list_that_was_made_first(halls: Path) -> None:
    spec = ImpulseResponse(files=str(halls))
    spec.identity()
    sent = pickle.dumps(spec)
    soundfile.write(halls / "a new one.wav", hall(), RATE)
    assert len(pickle.loads(sent).found.files) == 3
    assert pickle.loads(sent) == spec


@pytest.mark.parametrize("files", ["", "halls"])
def test_a_lineage_read_from_text_gives_the_same_samples(halls: Path, files: str) -> None:
    sound, _ = clicks()
    view = augmented([ImpulseResponse(files=str(halls) if files else "", mix_low=0.5)], sound, Scene(), 1, "clip", 1)
    recorded.cache_clear()
    again = replay(Lineage.parse(str(view.lineage)), sound, Scene())
    assert again.samples.tobytes() == view.sound.samples.tobytes()


def test_a_file_that_changed_since_is_told_from_the_one_drawn(halls: Path) -> None:
    sound, _ = clicks()
    draw, before = drawn(ImpulseResponse(files=str(halls / "dry.wav")), sound)
    original = (halls / "dry.wav").read_bytes()
    soundfile.write(halls / "dry.wav", hall(0.15), RATE)
    recorded.cache_clear()
    with pytest.raises(
        ValueError, match=r"dry\.wav: another file than was drawn \(SHA-256 \w{12}, not \w{12}\); put the old one back"
    ) as caught:
        ImpulseResponse.audio(sound, draw, Scene())
    assert not isinstance(caught.value, Unfit)
    (halls / "dry.wav").write_bytes(original)
    assert ImpulseResponse.audio(sound, draw, Scene()).samples.tobytes() == before.tobytes()


def test_a_file_that_vanishes_is_not_the_clips_fault(halls: Path) -> None:
    sound, _ = clicks()
    spec = ImpulseResponse(files=str(halls / "*.wav"))
    spec.check()
    draw, _ = drawn(spec, sound)
    for file in halls.glob("*.wav"):
        file.unlink()
    recorded.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"\.wav"):
        drawn(spec, sound)
    with pytest.raises(FileNotFoundError, match=r"\.wav"):
        ImpulseResponse.audio(sound, draw, Scene())


def test_files_without_sound_are_named_in_the_reject(halls: Path) -> None:
    sound, _ = clicks()
    (halls / "broken.wav").write_bytes(b"RIFF but no sound" * 10)
    with pytest.raises(Unfit, match=r"broken\.wav: .*not audio"):
        drawn(ImpulseResponse(files=str(halls / "broken.wav")), sound)
    soundfile.write(halls / "silent.wav", np.zeros(100), RATE)
    with pytest.raises(Unfit, match=r"silent\.wav: an impulse response without sound"):
        drawn(ImpulseResponse(files=str(halls / "silent.wav")), sound)


@pytest.mark.parametrize("files", ["nowhere", "empty", "empty/*.wav", "text"])
def test_check_names_what_is_not_there(tmp_path: Path, files: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "README.txt").write_text("no rooms")
    with pytest.raises(ValueError, match=rf"ImpulseResponse\.files: .*{files.partition('*')[0]}") as caught:
        ImpulseResponse(files=str(tmp_path / files)).check()
    assert "\n" not in str(caught.value)


def test_a_response_longer_than_the_clip_is_refused(halls: Path) -> None:
    short = still(np.ones(2000))
    with pytest.raises(Unfit, match=r"dry\.wav: 0\.1 s are longer than the clip of 0\.0907 s") as caught:
        drawn(ImpulseResponse(files=str(halls / "dry.wav")), short)
    assert caught.value.kind == "too short"
    with pytest.raises(Unfit, match=r"ImpulseResponse rt60=0\.5: 0\.5 s are longer than the clip"):
        drawn(ImpulseResponse(rt60_low=0.5, rt60_high=0.5), short)


def test_silence_stays_silent() -> None:
    _, heard = drawn(ImpulseResponse(), still(np.zeros(RATE)))
    assert not heard.any()


def test_a_draw_is_all_that_a_response_needs() -> None:
    sound, _ = clicks()
    draw, heard = drawn(ImpulseResponse(mix_low=0.4, mix_high=0.9), sound)
    taps = response(json.loads(json.dumps(draw)), RATE, len(sound.samples))
    wet = fftconvolve(sound.samples, taps)[: len(sound.samples)]
    np.testing.assert_allclose(heard, wet * rms(sound.samples) / rms(wet.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"rt60_low": 1, "rt60_high": 0.5}, "ImpulseResponse rt60 needs 0 < low <= high, got low=1 high=0.5"),
        ({"mix_low": 1, "mix_high": 0.5}, "ImpulseResponse mix needs low <= high, got low=1 high=0.5"),
        ({"side_low_metres": 1}, "greater than or equal to 2"),
        ({"files": "halls", "rt60_low": 0.3}, "takes its rooms from files='halls', where rt60_low means nothing; leave it out"),
    ],
)
def test_a_mistake_is_named_in_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ImpulseResponse(**given)
    assert line in caught.value.errors()[0]["msg"]
