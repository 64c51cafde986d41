"""Draws done for a whole batch in torch give what the CPU gives. Run with torch on the CPU; the same code runs on a GPU."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from augment import (
    AUGMENTATIONS,
    AddNoise,
    Augmentation,
    Filter,
    Gain,
    ImpulseResponse,
    Lineage,
    Scene,
    Sound,
    SpecMask,
    Unfit,
    augmented,
    replay,
)
from augment.augmentation import Draw
from augment.batched import apply
from augment.deferred import finish, hold
from extractors.batch import Batch
from extractors.clip import Clip
from extractors.musicnn import MusiCNN
from extractors.spectral import LogMel, Mfcc
from extractors.spectrum import PadMode, Spectrum
from extractors.torch_model import TorchModel
from tests.sounds import music

RATE = 22050
DEVICE = "cpu:0"  # whatever is not "cpu" is treated as a GPU
FILTERS = (
    *(Filter(kind=kind, low_hz=30, high_hz=9000, rolloff_db=48, q_low=0.5, q_high=8) for kind in ("bandpass", "bandstop")),
    *(Filter(kind=kind, low_hz=30, high_hz=9000, rolloff_db=24) for kind in ("lowpass", "highpass")),
    *(Filter(kind=kind, low_hz=30, high_hz=9000, q_low=0.3, q_high=20) for kind in ("peaking", "lowshelf", "highshelf")),
)
ALL: tuple[Augmentation, ...] = (
    Gain(),
    *(AddNoise(snr_low_db=0, snr_high_db=20, colour=colour) for colour in ("white", "pink", "brown")),
    *FILTERS,
    ImpulseResponse(),
    ImpulseResponse(mix_low=0.2, mix_high=0.8, rt60_high=1.5),
)


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU takes its time over what a GPU does at once; and a batch is to have more clips than a group."""
    monkeypatch.setattr("augment.batched.GPU_CLIPS", 2)
    monkeypatch.setattr("extractors.torch_resample.GPU_CLIPS", 2)


def drawn(chain: Sequence[Augmentation], sound: Sound, seed: int) -> list[Draw]:
    rng = np.random.default_rng(seed)
    return [{"use": type(each).__name__, **each.draw(rng, sound, Scene())} for each in chain]


def sounds(count: int, longest: float = 2.0) -> list[Sound]:
    """Music of several lengths, none shorter than the longest room rings."""
    lengths = np.random.default_rng(9).integers(round(1.5 * RATE), round(longest * RATE), count)
    return [Sound(music(RATE, longest, seed, channels=1)[:length, 0], RATE) for seed, length in enumerate(lengths)]


def padded(some: Sequence[Sound], longest: float = 2.0) -> torch.Tensor:
    waves = np.zeros((len(some), round(longest * RATE)), np.float32)
    for wave, sound in zip(waves, some, strict=True):
        wave[: len(sound.samples)] = sound.samples
    return torch.from_numpy(waves)


def on_cpu(sound: Sound, steps: Sequence[Draw]) -> NDArray[np.float32]:
    return replay(Lineage(sound.sample_rate, len(sound.samples), tuple(steps)), sound, Scene()).samples


def expect(some: Sequence[Sound], steps: Sequence[Sequence[Draw]]) -> None:
    """What torch makes of them is what the CPU makes, sample by sample."""
    waves = padded(some)
    before = waves.clone()
    made, errors = apply(waves, [len(sound.samples) for sound in some], steps, RATE)
    assert errors == [None] * len(some)
    assert torch.equal(waves, before)
    for wave, sound, draws in zip(made.numpy(), some, steps, strict=True):
        np.testing.assert_allclose(wave[: len(sound.samples)], on_cpu(sound, draws), atol=1e-5)
        assert not wave[len(sound.samples) :].any()


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_each_augmentation_gives_the_cpus_samples(spec: Augmentation) -> None:
    assert spec.on_gpu
    some = sounds(3)
    steps = [drawn([spec], sound, seed) for seed, sound in enumerate(some)]
    expect(some, steps)
    assert all(np.abs(on_cpu(sound, draws) - sound.samples).max() > 1e-3 for sound, draws in zip(some, steps, strict=True))


def test_whatever_may_be_left_to_a_gpu_can_be_done_there() -> None:
    assert {each.__name__ for each in AUGMENTATIONS if each.on_gpu} == {type(spec).__name__ for spec in ALL} | {"SpecMask"}


def test_clips_of_a_batch_take_different_steps_in_different_orders() -> None:
    some = sounds(6)
    gain, noise, low, room = ALL[0], ALL[1], FILTERS[2], ImpulseResponse()
    chains = [[noise, room, gain], [], [room, gain], [gain, noise, low, noise], [low], [low, room, noise]]
    expect(some, [drawn(chain, sound, seed) for seed, (chain, sound) in enumerate(zip(chains, some, strict=True))])


def test_a_clip_does_not_depend_on_its_company() -> None:
    some = sounds(5)
    steps = [drawn([Gain(), AddNoise(), FILTERS[0], ImpulseResponse()][n % 2 :], sound, n) for n, sound in enumerate(some)]
    lengths = [len(sound.samples) for sound in some]
    together, _ = apply(padded(some), lengths, steps, RATE)
    for row, sound in enumerate(some):
        alone, _ = apply(padded([sound]), lengths[row : row + 1], steps[row : row + 1], RATE)
        assert torch.equal(alone[0], together[row])


def test_recorded_rooms_are_heard_as_on_the_cpu(tmp_path: Path) -> None:
    response = np.random.default_rng(0).standard_normal(8000) * np.exp(-np.arange(8000) / 1500)
    soundfile.write(tmp_path / "hall.wav", response / 10, 16000, subtype="FLOAT")
    some = sounds(2)
    spec = ImpulseResponse(files=str(tmp_path))
    expect(some, [drawn([spec], sound, seed) for seed, sound in enumerate(some)])


def test_a_filter_that_rings_on_for_longer_than_the_clip_is_done_as_on_the_cpu() -> None:
    some = sounds(1)
    ringing = [{"use": "Filter", "kind": "peaking", "hz": 2.0, "q": 30.0, "gain_db": 30.0}]
    expect(some, [ringing])


def test_what_cannot_be_changed_is_named_as_on_the_cpu_and_its_neighbours_live() -> None:
    good = sounds(1)[0]
    silent, short = Sound(np.zeros(RATE, np.float32), RATE), Sound(good.samples[:2000], RATE)
    loud = Sound(np.full(RATE, 1e38, np.float32), RATE)
    noise, room = {"use": "AddNoise", "snr_db": 10.0, "colour": "white", "offset": 3}, drawn([ImpulseResponse()], good, 0)[0]
    gain = {"use": "Gain", "gain_db": 60.0}
    some, steps = [silent, good, short, loud], [[gain, noise], [gain, noise, room], [room, gain], [gain, noise]]
    made, errors = apply(padded(some), [len(sound.samples) for sound in some], steps, RATE)
    assert errors[1] is None
    np.testing.assert_allclose(made[1, : len(good.samples)], on_cpu(good, steps[1]), atol=1e-2)  # 60 dB louder
    for row, kind in ((0, "silent"), (2, "too short"), (3, "not finite")):
        error = errors[row]
        assert isinstance(error, Unfit)
        with pytest.raises(Unfit) as expected:
            on_cpu(some[row], steps[row])
        assert (str(error), error.kind, error.remedy) == (str(expected.value), kind, expected.value.remedy)


CHAIN = (Gain(p=0.7), AddNoise(p=0.5), ImpulseResponse(p=0.5, rt60_high=0.5), SpecMask(time_seconds=0.5))
EXTRACTORS = (LogMel(masks=True, dtype="float32"), Mfcc(), LogMel(name="at16k", sample_rate=16000, n_mels=64, masks=True, dtype="float32"))
RATES = (16000, RATE)


def views(defer: bool, native: int = 44100, seconds: float = 2.0, count: int = 3) -> list[Clip]:
    """For each of `count` clips of a track the clip itself and three views."""
    from extractors.audio import resample

    clips: list[Clip] = []
    for number in range(count):
        samples = music(native, seconds - 0.3 * number, seed=number, channels=1)[:, 0]
        clips.append(Clip("t", 2.0 * number, native, samples))
        sound = Sound(resample(samples, native, RATE), RATE)
        for view in (1, 2, 3):
            made = augmented(CHAIN, sound, Scene(), 3, f"clip {number}", view, defer=defer)
            heard, lineage = made.sound, str(made.lineage)
            clips.append(Clip("t", 2.0 * number, RATE, heard.samples, view, lineage, heard.masks, peak(heard.samples), made.pending))
    return clips


def peak(samples: NDArray[np.float32]) -> float:
    return float(np.abs(samples).max())


def heard(batch: Batch, device: str) -> dict[str, NDArray[np.float32]]:
    return {f"{spec.table} {name}": np.asarray(rows) for spec in EXTRACTORS for name, rows in spec.open(device)(batch).items()}


def spectra() -> list[Any]:
    return [spectrum for spec in EXTRACTORS for spectrum in spec.spectra()]


def test_views_that_are_finished_elsewhere_are_those_that_the_cpu_makes() -> None:
    whole, clips = views(defer=False), views(defer=True)
    assert any(clip.pending for clip in clips)
    expected = Batch(whole, 2.0, spectra())
    held = pickle.loads(pickle.dumps(hold(Batch(clips, 2.0, spectra()), RATES)))
    batch, unfit = finish(held, RATES, DEVICE)
    assert batch is not None
    assert not unfit
    assert [(clip.view, clip.start, clip.lineage, clip.masks) for clip in batch.clips] == [
        (clip.view, clip.start, clip.lineage, clip.masks) for clip in whole
    ]
    assert batch.sound == expected.sound
    for rate in RATES:
        assert batch.samples(rate) == expected.samples(rate)
        # soxr starts up over the first four samples (test_torch_resample).
        np.testing.assert_allclose(batch.wave(rate)[:, 4:], expected.wave(rate)[:, 4:], atol=1e-5)
        for row, clip in enumerate(clips):
            if not clip.pending:
                assert batch.wave(rate)[row].numpy().tobytes() == expected.wave(rate)[row].tobytes()
    np.testing.assert_allclose([clip.peak for clip in batch.clips], [clip.peak for clip in whole], atol=1e-5)
    ours, theirs = heard(batch, DEVICE), heard(expected, "cpu")
    for name, values in theirs.items():
        assert np.abs(ours[name] - values).max() < 0.05  # dB


def test_a_batch_that_is_sent_carries_no_sound_twice() -> None:
    clips = views(defer=True)
    held = hold(Batch(clips, 2.0, spectra()), RATES)
    steps = [any(draw["use"] != "SpecMask" for draw in draws) for draws in (clip.pending for clip in clips)]
    assert 0 < sum(steps) < 9
    sound = 4 * 2 * (sum(steps) * RATE + (12 - sum(steps)) * sum(RATES))
    assert sound < len(pickle.dumps(held)) < sound + 20000


def test_views_of_tracks_of_several_rates_are_finished_each_at_its_own() -> None:
    gain: Draw = {"use": "Gain", "gain_db": -6.0}
    clips = [Clip("t", 0.0, rate, music(rate, 2.0, channels=1)[:, 0], 1, pending=(gain,)) for rate in (44100, 22050, 48000)]
    batch, _ = finish(hold(Batch(clips, 2.0), [16000]), [16000], DEVICE)
    assert batch is not None
    expected = Batch(clips, 2.0).wave(16000) * 10 ** (-6 / 20)
    np.testing.assert_allclose(batch.wave(16000)[:, 4:], expected[:, 4:], atol=1e-5)


def test_views_that_turn_out_unfit_are_left_out_and_named() -> None:
    gain: Draw = {"use": "Gain", "gain_db": 6.0}
    noise: Draw = {"use": "AddNoise", "snr_db": 10.0, "colour": "white", "offset": 3}
    silent = Clip("t", 4.0, RATE, np.zeros(RATE, np.float32), 2, pending=(gain, noise))
    clip = Clip("t", 0.0, RATE, sounds(1)[0].samples)
    batch, unfit = finish(hold(Batch([clip, silent, replace(clip, pending=(noise,))], 2.0), RATES), RATES, DEVICE)
    assert batch is not None
    assert [each.start for each in batch.clips] == [0.0, 0.0]
    assert batch.wave(RATE).shape == (2, 2 * RATE)
    assert batch.sound == [len(clip.samples) / RATE] * 2
    assert [(each.start, each.view, error.kind) for each, error in unfit] == [(4.0, 2, "silent")]
    assert finish(hold(Batch([silent], None), RATES), RATES, DEVICE)[0] is None


@pytest.mark.parametrize("seconds", [1.0, 1.00003])
def test_what_lies_beyond_the_window_counts_as_on_the_cpu_until_all_is_done(seconds: float) -> None:
    noise: Draw = {"use": "AddNoise", "snr_db": 0.0, "colour": "white", "offset": 3}
    soft, loud = sounds(2)
    long = np.concatenate([soft.samples[:RATE] / 10, loud.samples[:RATE]])  # loud where no extractor hears it
    window = round(seconds * RATE)
    clips = [Clip("t", 0.0, RATE, long[:length], 1, pending=(noise,)) for length in (len(long), window, window + 1, window - 9)]
    batch, _ = finish(hold(Batch(clips, seconds), [RATE]), [RATE], DEVICE)
    assert batch is not None
    made = [replace(clip, samples=on_cpu(Sound(clip.samples, RATE), [noise]), pending=()) for clip in clips]
    expected = Batch(made, seconds)
    assert batch.sound == expected.sound
    assert batch.samples(RATE) == expected.samples(RATE)
    np.testing.assert_allclose(batch.wave(RATE), expected.wave(RATE), atol=1e-4)
    assert batch.clips[0].peak == pytest.approx(peak(made[0].samples), abs=1e-5)
    # Only the long one takes more room.
    assert [(rows, part.seconds) for rows, part in hold(Batch(clips, seconds), [RATE]).parts] == [((0,), 2 * seconds), ((1, 2, 3), seconds)]


def test_a_whole_track_is_finished_at_its_own_length() -> None:
    gain: Draw = {"use": "Gain", "gain_db": 6.0}
    track = Clip("t", 0.0, 44100, music(44100, 3.3, channels=1)[:-7, 0], 1, pending=(gain,))
    batch, _ = finish(hold(Batch([track], None), RATES), RATES, DEVICE)
    assert batch is not None
    for rate in RATES:
        expected = Batch([track], None)
        assert batch.wave(rate).shape == expected.wave(rate).shape
        assert batch.samples(rate) == expected.samples(rate)
        np.testing.assert_allclose(batch.wave(rate)[:, 4:], expected.wave(rate)[:, 4:] * 10 ** (6 / 20), atol=1e-5)


@pytest.mark.parametrize("mode", ["constant", "edge", "linear_ramp", "reflect", "symmetric"])
@pytest.mark.parametrize("samples", [300, 8000])
def test_sound_on_the_device_is_continued_beyond_its_ends_as_on_the_cpu(mode: PadMode, samples: int) -> None:
    spectrum = Spectrum(sample_rate=RATE, n_fft=1023, pad_mode=mode)
    wave = sounds(2)[1].samples[None, 9000 : 9000 + samples]
    batch = Batch([Clip("t", 0.0, RATE, wave[0])], None, device=DEVICE)
    expected = Batch(batch.clips, None).spectrum(spectrum)
    batch.give(RATE, torch.from_numpy(wave.copy()), [samples])
    np.testing.assert_allclose(batch.spectrum(spectrum), expected, rtol=1e-3, atol=1e-5 * expected.max())


class Loudness(torch.nn.Module):
    def forward(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"power": wave.square().mean(1, keepdim=True)}


@pytest.mark.slow
def test_networks_hear_sound_that_was_made_on_the_device() -> None:
    clips = views(defer=True, seconds=7.0, count=1)
    networks = [
        MusiCNN(),
        TorchModel(factory="tests.test_batched:Loudness", front="wave", sample_rate=16000, layout="time", outputs={"power": (1,)}),
    ]
    batch, _ = finish(hold(Batch(clips, 7.0), [16000]), [16000], DEVICE)
    assert batch is not None
    expected = Batch(views(defer=False, seconds=7.0, count=1), 7.0)
    for network, name in zip(networks, ("tags", "power"), strict=True):
        ours, theirs = network.open(DEVICE)(batch)[name], network.open("cpu")(expected)[name]
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=5e-3)
