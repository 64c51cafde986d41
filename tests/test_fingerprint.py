"""Landmarks: where peaks are by theory, what they outlast, and sounds that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.ndimage

from extractors.audio import resample
from extractors.batch import Batch
from extractors.clip import Clip
from extractors.extractor import Column
from extractors.fingerprint import HASH_BITS, Fingerprint, code, pairs, peaks, running_max
from pipelines.rows import to_arrow
from tests.collection import earmark, tones
from tests.sounds import noise

RATE = 8000
EXTRACTOR = Fingerprint()


def bursts(*played: tuple[float, float], seconds: float = 3.0) -> np.ndarray:
    """Gaussian bursts of a tone at (seconds, hertz): their spectrum peaks at that moment and in that bin."""
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(np.exp(-(((time - at) / 0.04) ** 2)) * np.sin(2 * np.pi * hertz * time) for at, hertz in played).astype(np.float32)


def test_two_bursts_are_one_landmark_in_the_place_that_theory_says() -> None:
    first, second = (0.96, 100 * RATE / 1024), (1.28, 130 * RATE / 1024)  # frames 60 and 80, bins 100 and 130
    hashes, frames = EXTRACTOR.hear(bursts(first, second), RATE)
    expected = code(np.array([100]), np.array([30]), np.array([20]))
    assert frames[hashes == expected].tolist() == [60]
    assert len(hashes) < 40  # what else there is are the feet of the bursts


def test_level_and_polarity_change_nothing() -> None:
    sound = np.random.default_rng(0).normal(size=RATE * 2).astype(np.float32)
    for factor in (-1.0, 2.0**-12, 2.0**6):
        for one, other in zip(EXTRACTOR.hear(sound, RATE), EXTRACTOR.hear(sound * np.float32(factor), RATE), strict=True):
            np.testing.assert_array_equal(one, other)


def test_sound_that_begins_frames_later_has_its_landmarks_frames_later() -> None:
    sound = noise(RATE, 4.0)[:, 0]
    late = EXTRACTOR.hear(np.concatenate([np.zeros(10 * 128, np.float32), sound]), RATE)
    early = set(zip(*(each.tolist() for each in EXTRACTOR.hear(sound, RATE)), strict=True))
    moved = {(value, frame - 10) for value, frame in zip(*(each.tolist() for each in late), strict=True)}
    # Only the first frames, half of which lie before the sound, may differ: a twelfth of all.
    assert len(early & moved) > 0.9 * len(early) > 500


def test_half_of_the_landmarks_outlast_another_sample_rate() -> None:
    sound = resample(noise(16_000, 4.0)[:, 0], 16_000, RATE)
    own, frames = EXTRACTOR.hear(sound, RATE)
    again, later = EXTRACTOR.hear(resample(sound, RATE, 44_100), 44_100)
    both = set(zip(own.tolist(), frames.tolist(), strict=True)) & set(zip(again.tolist(), later.tolist(), strict=True))
    assert len(both) > len(own) / 2


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.zeros(1), np.zeros(RATE * 3), np.full(RATE * 3, 0.5), np.ones(7) * 1e-30, np.full(100, 1e-38)],
    ids=["empty", "one sample", "silence", "DC", "shorter than a frame", "denormal"],
)
def test_sound_without_events_has_few_landmarks_or_none(samples: np.ndarray) -> None:
    hashes, frames = EXTRACTOR.hear(samples.astype(np.float32), RATE)
    assert hashes.dtype == np.uint32
    assert frames.dtype == np.int32
    assert hashes.shape == frames.shape
    assert len(hashes) < 100  # DC has two edges, which are clicks


def test_a_steady_tone_gives_landmarks_at_its_ends_only() -> None:
    # 1000 Hz repeats every 8 samples and every hop: all its frames are equal.
    seconds = 20
    _, frames = EXTRACTOR.hear(np.sin(2 * np.pi * 1000 * np.arange(seconds * RATE) / RATE).astype(np.float32), RATE)
    within = (frames > 20) & (frames < seconds * RATE / 128 - 90)
    assert within.sum() < 10


def test_nan_is_named_with_its_place() -> None:
    sound = np.zeros(RATE, np.float32)
    sound[4000] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinity at 0\.500 s"):
        EXTRACTOR.hear(sound, RATE)


@pytest.mark.parametrize("radius", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_running_max_is_that_of_scipy(radius: int, axis: int) -> None:
    values = np.random.default_rng(radius).random((30, 20), np.float32)
    size = (2 * radius + 1, 1) if axis == 0 else (1, 2 * radius + 1)
    np.testing.assert_array_equal(running_max(values, radius, axis), scipy.ndimage.maximum_filter(values, size, mode="constant"))


def test_peaks_are_those_that_a_look_at_every_place_finds() -> None:
    values = np.random.default_rng(5).random((60, 50), np.float32)
    found = set(zip(*(each.tolist() for each in peaks(values, 3, 4)), strict=True))
    expected = {
        (frame, bin_)
        for frame in range(60)
        for bin_ in range(50)
        if values[frame, bin_] == values[max(0, frame - 3) : frame + 4, max(0, bin_ - 4) : bin_ + 5].max()
    }
    assert found == expected
    assert len(found) > 10


def test_pairs_are_those_of_a_loop_over_all_peaks() -> None:
    rng = np.random.default_rng(3)
    frames = np.sort(rng.integers(0, 300, 120))
    bins = rng.integers(10, 500, 120)
    hashes, starts = pairs(frames, bins, gap=4, fan=3)
    expected = []
    for one in range(120):
        partners = [
            other
            for other in range(one + 1, min(one + 49, 120))
            if 4 <= frames[other] - frames[one] <= 63 and abs(bins[other] - bins[one]) <= 63
        ][:3]
        for other in partners:
            value = code(*(np.array([each]) for each in (bins[one], bins[other] - bins[one], frames[other] - frames[one])))
            expected.append((int(frames[one]), int(value[0])))
    assert sorted(expected) == list(zip(starts.tolist(), hashes.tolist(), strict=True))


def test_codes_are_one_to_one_and_prefixes_hold_alike() -> None:
    bins, steps, times = (each.ravel() for each in np.meshgrid(np.arange(512), np.arange(-63, 64), np.arange(1, 64)))
    codes = code(bins, steps, times)
    assert codes.max() < 1 << HASH_BITS
    assert len(np.unique(codes)) == len(codes)
    held = np.bincount(codes >> HASH_BITS - 4, minlength=16)
    assert held.min() > 0.9 * held.mean()
    # What music has most of, low peaks and short steps, is spread as well.
    low = code(*(each.ravel() for each in np.meshgrid(np.arange(13, 60), np.arange(-20, 21), np.arange(4, 30))))
    held = np.bincount(low >> HASH_BITS - 4, minlength=16)
    assert held.min() > 0.8 * held.mean()


def test_clips_of_a_batch_have_the_landmarks_that_each_has_alone() -> None:
    clips = [Clip("a", 0.0, RATE, noise(RATE, 2.0, seed=1)[:, 0]), Clip("b", 0.0, RATE, noise(RATE, 0.7, seed=2)[:, 0])]
    made = EXTRACTOR.open()(Batch(clips, 2.0, EXTRACTOR.spectra()))
    alone = [EXTRACTOR.hear(clip.samples, RATE) for clip in clips]
    for row, (hashes, frames) in enumerate(alone):
        np.testing.assert_array_equal(made["hashes"][row], hashes)
        np.testing.assert_array_equal(made["frames"][row], frames)
    assert len(alone[0][0]) > 2 * len(alone[1][0]) > 0


def test_a_column_of_varying_length_keeps_each_clips_own() -> None:
    column = Column("hashes", (None,), "uint32")
    array = to_arrow([np.array([3, 4], np.uint32), np.array([], np.uint32), np.array([5], np.uint32)], column)
    assert array.to_pylist() == [[3, 4], [], [5]]
    assert array.type == pa.list_(pa.uint32())
    with pytest.raises(ValueError, match="a list of arrays where the extractor announced"):
        to_arrow([np.zeros(3)], Column("mel", (3,)))


def test_a_limit_above_what_the_rate_holds_is_named() -> None:
    with pytest.raises(ValueError, match="lowest needs to be below half of sample_rate, 4000 Hz, got lowest=5000"):
        Fingerprint(lowest=5000)


@pytest.mark.slow
def test_a_run_stores_what_each_clip_alone_gives_and_ray_equals_local(tmp_path: Path) -> None:
    from extractors.audio import read
    from pipelines.store import Store

    files = tones(tmp_path / "audio", 3, seconds=2.5)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[window]\nseconds = 1.0\nmin_seconds = 0.2\n[[extract]]\nuse = "Fingerprint"\n')
    stored = []
    for engine in ("local", "ray"):
        earmark("scan", tmp_path / "audio", "--store", tmp_path / engine)
        earmark("run", recipe, "--store", tmp_path / engine, "--engine", engine)
        rows = Store(tmp_path / engine).table("fingerprint").to_table(["track_id", "start", "hashes", "frames"])
        stored.append(rows.sort_by([("track_id", "ascending"), ("start", "ascending")]))
    assert stored[0].equals(stored[1])
    uris = {row["track_id"]: row["uri"] for row in Store(tmp_path / "local").read("tracks").to_pylist()}  # type: ignore[union-attr]
    assert len(stored[0]) == 9
    assert len(files) == 3
    for row in stored[0].to_pylist():
        sound = read(uris[row["track_id"]].removeprefix("file://"), round(row["start"] * 16_000), 16_000)
        hashes, frames = EXTRACTOR.hear(sound, 16_000)
        assert row["frames"] == frames.tolist()
        assert row["hashes"] == hashes.tolist()
