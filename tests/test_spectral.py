"""Features against librosa, over sounds that are hard in different ways."""

import os
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.fft
from pydantic import ValidationError

from extractors.batch import Batch
from extractors.chroma import ChromaStft
from extractors.clip import Clip
from extractors.extractor import Extractor
from extractors.filterbanks import chroma_bank, mel_bank
from extractors.similarity import SelfSimilarity, pooled
from extractors.spectral import LogMel, Mel, Mfcc, Stft
from extractors.stft import spectra_torch
from extractors.tuning import estimate_tuning

CORPUS = Path(os.environ.get("EARMARK_CORPUS", "/nowhere"))


def synthesized(rate: int, seconds: float = 2.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    time = np.arange(round(seconds * rate)) / rate
    clicks = np.zeros_like(time)
    clicks[:: rate // 4] = 1
    sweep = np.sin(2 * np.pi * 20 * seconds / np.log(rate / 50) * ((rate / 50) ** (time / seconds) - 1))
    sounds = {
        "clicks": clicks,
        "noise": 0.1 * rng.standard_normal(len(time)),
        "tone": np.sin(2 * np.pi * 440 * time),
        "faint tone": 1e-3 * np.sin(2 * np.pi * 1000 * time),
        "chord": sum(np.sin(2 * np.pi * f * time + f) for f in (220.5, 277.8, 330.4)) / 3,
        "sweep": sweep,
        "silence": np.zeros_like(time),
        "half silence": np.where(time < seconds / 2, rng.standard_normal(len(time)), 0),
        "constant": np.full_like(time, 0.5),
    }
    return {name: np.asarray(sound, np.float32) for name, sound in sounds.items()}


SOUNDS = synthesized(22050)
FRAMES: list[dict[str, Any]] = [
    {},
    {"sample_rate": 16000, "n_fft": 512, "hop_length": 256, "n_mels": 40},
    {"sample_rate": 44100, "n_fft": 4096, "hop_length": 1000, "win_length": 3000},
    {"sample_rate": 8000, "n_fft": 400, "hop_length": 160, "center": False, "n_mels": 40},
    {"n_fft": 1023, "hop_length": 300, "n_mels": 64, "window": "blackman"},
    {"n_fft": 1024, "hop_length": 2000, "n_mels": 64, "window": "hamming"},
    *({"pad_mode": mode} for mode in ("edge", "linear_ramp", "reflect", "symmetric")),
]


def features(extractor: Extractor, sound: np.ndarray, rate: int, device: str = "cpu") -> np.ndarray:
    """(frames, bins) of one sound, whole."""
    name = extractor.columns(None)[0].name
    made = extractor.open(device)(Batch([Clip("t", 0.0, rate, sound)], None, extractor.spectra(), device))
    return np.asarray(made[name])[0]


def librosa_mel(sound: np.ndarray, sample_rate: int = 22050, **options: Any) -> np.ndarray:
    return librosa.feature.melspectrogram(y=sound, sr=sample_rate, **options).T


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest error of any number relative to that number itself; what is a 1e12th of the loudest counts as nothing."""
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1e-12 * max(np.abs(expected).max(), 1e-10))).max())


@pytest.mark.parametrize("options", FRAMES, ids=str)
def test_log_mel_is_librosas_to_a_hundredth_of_a_decibel(options: dict[str, Any]) -> None:
    rate = options.get("sample_rate", 22050)
    for name, sound in synthesized(rate).items():
        expected = librosa_mel(sound, **options)
        for top_db in (80.0, None):
            found = features(LogMel(top_db=top_db, **options), sound, rate)
            assert found.shape == expected.shape
            assert np.abs(found - librosa.power_to_db(expected, top_db=top_db)).max() < 0.01, name
        loudest = features(LogMel(ref="max", **options), sound, rate)
        assert np.abs(loudest - librosa.power_to_db(expected, ref=np.max)).max() < 0.01, name


@pytest.mark.parametrize("options", FRAMES, ids=str)
def test_stft_mel_and_chroma_are_librosas_number_by_number(options: dict[str, Any]) -> None:
    rate = options.get("sample_rate", 22050)
    bare = {key: value for key, value in options.items() if key != "n_mels"}
    stft = {key: value for key, value in bare.items() if key != "sample_rate"}
    for name, sound in synthesized(rate).items():
        assert relative(features(Stft(**bare), sound, rate), np.abs(librosa.stft(sound, **stft)).T) < 1e-3, name
        assert relative(features(Mel(**options), sound, rate), librosa_mel(sound, **options)) < 1e-3, name
        expected = librosa.feature.chroma_stft(y=sound, sr=rate, tuning=0.0, **stft).T
        assert relative(features(ChromaStft(**bare), sound, rate), expected) < 1e-3, name


@pytest.mark.parametrize(
    "options", [{}, {"n_mfcc": 13, "lifter": 22.0}, {"dct_type": 3, "norm": None}, {"dct_type": 1}, {"htk": True, "mel_norm": None}]
)
def test_mfcc_is_librosas(options: dict[str, Any]) -> None:
    for name, sound in SOUNDS.items():
        found, expected = features(Mfcc(**options), sound, 22050), librosa.feature.mfcc(y=sound, sr=22050, **options).T
        # A coefficient is a sum of bands that cancel: its error is measured against its frame.
        assert (np.abs(found - expected) / np.linalg.norm(expected, axis=1, keepdims=True)).max() < 1e-5, name


@pytest.mark.parametrize(
    "options", [{"power": 1.0}, {"power": 1.5, "norm": None}, {"fmin": 50.0, "fmax": 7000.0, "n_mels": 40, "htk": True}]
)
def test_mel_bands_are_librosas_whatever_their_limits_scale_and_power(options: dict[str, Any]) -> None:
    for name, sound in SOUNDS.items():
        assert relative(features(Mel(**options), sound, 22050), librosa_mel(sound, **options)) < 1e-3, name


def test_chroma_is_librosas_when_tuning_is_estimated_and_for_every_norm() -> None:
    for name, sound in SOUNDS.items():
        with np.testing.suppress_warnings() as quiet:
            quiet.filter(UserWarning, "Trying to estimate tuning")
            for norm, theirs in (("inf", np.inf), (1.0, 1), (2.0, 2), (None, None)):
                expected = librosa.feature.chroma_stft(y=sound, sr=22050, norm=theirs, octwidth=None).T
                found = features(ChromaStft(tuning=None, norm=norm, octwidth=None, dtype="float32"), sound, 22050)
                assert relative(found, expected) < 1e-3, (name, norm)


def test_tuning_is_found_to_a_cent() -> None:
    time = np.arange(3 * 22050) / 22050
    for cents in (-30, 0, 17):
        sound = sum(np.sin(2 * np.pi * 440 * 2 ** ((key + cents / 100) / 12) * time) for key in (0, 4, 7, 12))
        power = np.abs(librosa.stft(sound.astype(np.float32))).T ** 2
        assert abs(estimate_tuning(power, 22050) - cents / 100) <= 0.04
        assert estimate_tuning(power, 22050) == pytest.approx(librosa.estimate_tuning(S=power.T, sr=22050), abs=1e-9)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_filter_banks_are_librosas(rate: int) -> None:
    for n_fft in (1024, 2048, 2047):
        for htk in (False, True):
            ours = mel_bank(rate, n_fft, 40, 30.0, rate / 2, htk, True)
            np.testing.assert_allclose(ours, librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=40, fmin=30, htk=htk), atol=1e-7)
        ours = chroma_bank(rate, n_fft, 24, 0.1, 5.0, 2.0, 2.0, False)
        np.testing.assert_allclose(ours, librosa.filters.chroma(sr=rate, n_fft=n_fft, n_chroma=24, tuning=0.1, base_c=False), atol=1e-6)


@pytest.mark.skipif(not (CORPUS / "music").is_dir(), reason="EARMARK_CORPUS names no corpus")
def test_real_music_is_as_librosa_hears_it() -> None:
    import soundfile

    for path in sorted(p for p in (CORPUS / "music").iterdir() if p.suffix in {".ogg", ".mp3"}):
        rate = soundfile.info(str(path)).samplerate
        sound = soundfile.read(str(path), frames=8 * rate, dtype="float32", always_2d=True)[0].mean(axis=1)
        mel = librosa_mel(sound, rate)
        assert np.abs(features(LogMel(sample_rate=rate), sound, rate) - librosa.power_to_db(mel)).max() < 0.01, path.name
        assert np.abs(features(LogMel(sample_rate=rate, top_db=None), sound, rate) - librosa.power_to_db(mel, top_db=None)).max() < 0.01
        assert relative(features(Mel(sample_rate=rate), sound, rate), mel) < 1e-3, path.name
        assert relative(features(Stft(sample_rate=rate), sound, rate), np.abs(librosa.stft(sound)).T) < 1e-3, path.name
        chroma = features(ChromaStft(sample_rate=rate, tuning=None), sound, rate)
        assert relative(chroma, librosa.feature.chroma_stft(y=sound, sr=rate).T) < 1e-3, path.name


@pytest.mark.parametrize(
    "extractor", [LogMel(), LogMel(ref="max", top_db=None), Mel(), Mfcc(), Stft(), ChromaStft(), SelfSimilarity(size=20)]
)
def test_torch_gives_the_numbers_that_numpy_gives(extractor: Extractor) -> None:
    clips = [Clip("t", 0.0, 22050, sound[: 22050 + 5000 * n]) for n, sound in enumerate(SOUNDS.values()) if n < 4]
    ours = extractor.open()(Batch(clips, 2.0))
    theirs = extractor.open("cpu:0")(Batch(clips, 2.0, device="cpu:0"))  # any name but "cpu" is torch's to understand
    for name, values in ours.items():
        assert type(theirs[name]).__module__ == ("torch" if name != "valid" else "numpy")
        np.testing.assert_allclose(
            np.asarray(theirs[name]), values, rtol=2e-3, atol=2e-3 * np.abs(values).max() if name != "magnitude" else 1e-6
        )


def test_torch_groups_of_clips_do_not_change_a_clip() -> None:
    spectrum = LogMel().spectrum
    waves = np.stack(list(SOUNDS.values()) * 25)
    together = spectra_torch(waves, [spectrum], "cpu")[0]
    alone = spectra_torch(waves[200:201], [spectrum], "cpu")[0]
    np.testing.assert_allclose(together[200].numpy(), alone[0].numpy(), rtol=1e-5, atol=1e-9)


def rows_transformed(monkeypatch: pytest.MonkeyPatch, extractors: list[Extractor]) -> int:
    counted = 0
    rfft = scipy.fft.rfft

    def counting(array: np.ndarray, **options: Any) -> np.ndarray:
        nonlocal counted
        counted += len(array)
        return rfft(array, **options)

    monkeypatch.setattr(scipy.fft, "rfft", counting)
    batch = Batch([Clip("t", 0.0, 22050, SOUNDS["noise"])], 2.0, [s for e in extractors for s in e.spectra()])
    for extractor in extractors:
        extractor.open()(batch)
    return counted


@pytest.mark.parametrize(
    "together",
    [[LogMel(), Mfcc()], [ChromaStft(), Stft(), Mel(), LogMel(top_db=None), SelfSimilarity()], [Mel(), Mel(n_mels=40, power=1.0)]],
)
def test_extractors_share_one_transform(monkeypatch: pytest.MonkeyPatch, together: list[Extractor]) -> None:
    assert rows_transformed(monkeypatch, together) == 1 + 44100 // 512


def test_columns_say_what_live_functions_give() -> None:
    clips = [Clip("t", 0.0, 22050, SOUNDS["noise"]), Clip("u", 0.0, 22050, SOUNDS["tone"][:9000])]
    for extractor in (LogMel(), Mel(), Mfcc(), Stft(), ChromaStft(), SelfSimilarity(size=16)):
        made = extractor.open()(Batch(clips, 2.0, extractor.spectra()))
        assert list(made) == [column.name for column in extractor.columns(2.0)]
        for column in extractor.columns(2.0):
            assert made[column.name].shape == (2, *column.shape)
        assert made["valid"].dtype == np.int32
        whole = extractor.open()(Batch(clips[1:], None))
        for column in extractor.columns(None):
            assert len(column.shape) == whole[column.name].ndim - 1
            assert all(size in (None, there) for size, there in zip(column.shape, whole[column.name].shape[1:], strict=True))


@pytest.mark.parametrize("samples", [0, 1, 2, 700, 2047, 2048, 5000])
@pytest.mark.parametrize("pad_mode", ["constant", "edge", "reflect"])
def test_sounds_shorter_than_a_frame_are_padded_as_librosa_pads_them(samples: int, pad_mode: Any) -> None:
    sound = SOUNDS["noise"][:samples]
    found = features(Stft(pad_mode=pad_mode), sound, 22050)
    if samples == 0:
        assert found.shape == (1, 1025)
        assert not found.any()
    else:
        with np.testing.suppress_warnings() as quiet:
            quiet.filter(UserWarning, "n_fft=")
            assert relative(found, np.abs(librosa.stft(sound, pad_mode=pad_mode)).T) < 1e-3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LogMel(fmax=20000), "fmax needs to be at most half of sample_rate, 11025 Hz, got fmax=20000"),
        (lambda: LogMel(fmin=5000, fmax=4000), "fmin needs to be below fmax"),
        (lambda: Mel(hop_length=0), "hop_length"),
        (lambda: Mfcc(n_mels=1000), "n_mels=1000 leaves .* fewer n_mels"),
        (lambda: Mfcc(n_mfcc=200), "n_mfcc needs to be at most n_mels, got n_mfcc=200 n_mels=128"),
        (lambda: Stft(pad_mode="around"), "'constant', 'edge', 'linear_ramp', 'reflect' or 'symmetric'"),
        (lambda: Stft(win_length=4096), "win_length needs to be at most n_fft, got win_length=4096 n_fft=2048"),
        (lambda: Stft(window="wiggly"), "wiggly"),
        (lambda: Stft(n_ftt=512), "n_ftt"),
        (lambda: ChromaStft(norm=None), 'dtype = "float32"'),
        (lambda: SelfSimilarity(of={"use": "Stft"}), "does not match any of the expected tags: 'ChromaStft', 'LogMel', 'Mel', 'Mfcc'"),
        (lambda: SelfSimilarity(of={"use": "Mfcc", "n_mfcc": 0}), "of.Mfcc.n_mfcc"),
        (lambda: Stft(center=False).columns(0.05), "clips of 0.05 s hold no frame of n_fft=2048"),
    ],
)
def test_a_mistake_is_named_with_its_way_out(make: Any, said: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=said):
        make()


def test_none_is_written_as_a_word_in_toml() -> None:
    assert LogMel(top_db="none").top_db is None
    assert ChromaStft(tuning="none", octwidth="none").tuning is None
    assert ChromaStft(norm=np.inf) == ChromaStft()


def test_self_similarity_shows_a_form_of_three_parts() -> None:
    time = np.arange(22050) / 22050
    a, b = (np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (261.63, 369.99))
    for measure in ("cosine", "gaussian"):
        extractor = SelfSimilarity(size=9, measure=measure)
        matrix = features(extractor, np.concatenate([a, b, a]), 22050)
        assert matrix.shape == (9, 9)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
        np.testing.assert_allclose(np.diagonal(matrix), 1, atol=1e-4)
        assert matrix[1, 7] > 0.99
        assert matrix[1, 4] < 0.4


def test_self_similarity_keeps_what_it_compares_in_its_identity() -> None:
    one, other = SelfSimilarity(of={"use": "Mfcc"}), SelfSimilarity(of={"use": "Mfcc", "n_mfcc": 13})
    assert one.digest() != other.digest()
    assert one.identity()["of"]["use"] == "Mfcc"
    assert SelfSimilarity.model_validate(one.model_dump()) == one


def test_pooling_keeps_the_mean_and_stretches_short_sounds() -> None:
    frames = np.random.default_rng(1).standard_normal((1000, 3)).astype(np.float32)
    np.testing.assert_allclose(pooled(frames, 7).mean(axis=0), frames.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(pooled(frames[:2], 4), frames[[0, 0, 1, 1]], atol=1e-6)
    assert not pooled(frames[:0], 4).any()
