"""Resampling in torch against theory, and against soxr. Run on the CPU; the same code runs on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from extractors.audio import resample
from extractors.torch_resample import resample_torch, resampled_length
from tests.sounds import music, noise

RATES = [(22050, 16000), (44100, 22050), (44100, 16000), (48000, 16000), (32000, 22050), (16000, 22050)]


def resampled(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    return resample_torch(torch.from_numpy(samples)[None], from_rate, to_rate)[0].numpy()


def sine(share: float, from_rate: int, to_rate: int, rate: int) -> np.ndarray:
    """Two seconds at `rate` of a sine at a share of half the lower of two rates."""
    hertz = share * min(from_rate, to_rate) / 2
    return np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate).astype(np.float32)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_sound_is_soxrs(from_rate: int, to_rate: int) -> None:
    for sound in (music(from_rate, 3.0, channels=1)[:, 0], noise(from_rate, 1.0)[:, 0]):
        expected, found = resample(sound, from_rate, to_rate), resampled(sound, from_rate, to_rate)
        assert found.dtype == np.float32
        # Over the first samples soxr starts up.
        np.testing.assert_allclose(found[4:], expected[4:], atol=1e-5)
        np.testing.assert_allclose(found[:4], expected[:4], atol=2e-2)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.91])
def test_sines_pass_without_delay_up_to_091_of_half_the_rate(share: float, from_rate: int, to_rate: int) -> None:
    found = resampled(sine(share, from_rate, to_rate, from_rate), from_rate, to_rate)
    inner = slice(to_rate // 4, -to_rate // 4)
    # soxr lets 0.01 dB go towards the top.
    np.testing.assert_allclose(found[inner], sine(share, from_rate, to_rate, to_rate)[inner], atol=1.2e-3)


@pytest.mark.parametrize(("from_rate", "to_rate"), [rates for rates in RATES if rates[0] > rates[1]])
@pytest.mark.parametrize("share", [1.0, 1.1, 1.3])
def test_nothing_folds_back_from_beyond_half_the_rate(share: float, from_rate: int, to_rate: int) -> None:
    found = resampled(sine(share, from_rate, to_rate, from_rate), from_rate, to_rate)
    assert np.abs(found[to_rate // 4 : -to_rate // 4]).max() < 1e-5  # -100 dB


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_lengths_are_soxrs(from_rate: int, to_rate: int) -> None:
    for samples in (1, 2, 3, 5, 147, 1001, 44099, 44101):
        silence = np.zeros(samples, np.float32)
        assert len(resample(silence, from_rate, to_rate)) == resampled_length(samples, from_rate, to_rate)
        assert len(resampled(silence, from_rate, to_rate)) == resampled_length(samples, from_rate, to_rate)


def test_a_clip_does_not_depend_on_its_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.torch_resample.GPU_SAMPLES", 4 * 22050)
    waves = torch.from_numpy(noise(22050, 1.0, channels=7).T.copy())
    together = resample_torch(waves, 22050, 16000)
    for wave, expected in zip(waves, together, strict=True):
        assert torch.equal(resample_torch(wave[None], 22050, 16000)[0], expected)


def test_equal_rates_and_no_samples_are_left_as_they_are() -> None:
    waves, none = torch.ones(2, 5), torch.ones(2, 0)
    assert resample_torch(waves, 8000, 8000) is waves
    assert resample_torch(none, 8000, 4000).shape == (2, 0)
