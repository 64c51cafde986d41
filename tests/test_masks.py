"""Masks are drawn within their bounds, and hide exactly the frames and bands whose centres they cover."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from augment import Change, Lineage, Scene, Sound, SpecMask, augmented, replay
from extractors.batch import Batch
from extractors.clip import Clip, Mask
from extractors.spectral import LogMel

RATE = 16000
FRONT: dict[str, Any] = {"sample_rate": RATE, "n_fft": 512, "hop_length": 160, "n_mels": 40, "dtype": "float32"}
DEVICES = ("cpu", "cpu:0")  # NumPy's arrays, and torch's as on a GPU


def sound(seconds: float = 3.0) -> Sound:
    return Sound(np.random.default_rng(1).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32), RATE)


def clip(masks: tuple[Mask, ...] = (), seconds: float = 3.0) -> Clip:
    return Clip("t", 0.0, RATE, sound(seconds).samples, masks=masks)


def heard(clips: list[Clip], device: str, seconds: float = 3.0, **options: Any) -> NDArray[np.float32]:
    front = LogMel(**{**FRONT, "masks": True, **options})
    mel = front.open(device)(Batch(clips, seconds, front.spectra(), device))["mel"]
    return np.asarray(mel)


def test_masks_are_drawn_within_their_bounds_and_within_the_clip() -> None:
    spec = SpecMask(time_masks=3, time_seconds=0.7, mel_masks=4, mel_share=0.25)
    rng = np.random.default_rng(0)
    drawn = [spec.draw(rng, sound(), Scene()) for _ in range(300)]
    assert {(len(draw["time"]), len(draw["mel"])) for draw in drawn} == {(3, 4)}
    for axis, widest, whole in (("time", 0.7, 3.0), ("mel", 0.25, 1.0)):
        spans = np.array([span for draw in drawn for span in draw[axis]])
        widths = spans[:, 1] - spans[:, 0]
        assert spans.min() >= 0
        assert spans.max() <= whole + 1e-9
        assert widths.max() <= widest
        # Uniform: half of the widths in the lower half, and places all over the clip.
        assert abs((widths < widest / 2).mean() - 0.5) < 0.06
        assert spans[:, 0].min() < 0.02 * whole
        assert spans[:, 1].max() > 0.98 * whole


def test_a_clip_shorter_than_the_widest_mask_is_masked_within_itself() -> None:
    draw = SpecMask(time_seconds=60).draw(np.random.default_rng(0), sound(0.5), Scene())
    assert 0 <= min(start for start, _ in draw["time"]) < max(stop for _, stop in draw["time"]) <= 0.5 + 1e-9


def test_the_sound_and_its_labels_stay_and_the_lineage_repeats_the_masks() -> None:
    before = sound()
    view = augmented([SpecMask(), SpecMask(mel_masks=0)], before, Scene(), 7, "clip", 1)
    assert view.sound.samples.tobytes() == before.samples.tobytes()
    assert [mask.axis for mask in view.sound.masks] == ["time", "time", "mel", "mel", "time", "time"]
    lineage = Lineage.parse(str(view.lineage))
    assert replay(lineage, before, Scene()).masks == view.sound.masks
    spans = json.loads(str(view.lineage))["steps"][0]
    assert [[mask.start, mask.stop] for mask in view.sound.masks[:2]] == spans["time"]
    assert SpecMask.change(lineage.steps[0]) == Change()
    assert SpecMask().extremes() == (Change(),)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"time_seconds": -1}, "time_seconds"), ({"mel_share": 1.5}, "mel_share"), ({"mel_masks": -1}, "mel_masks")]
)
def test_masks_of_no_meaning_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SpecMask(**wrong)


@pytest.mark.parametrize("device", DEVICES)
def test_masks_fill_the_frames_and_bands_whose_centres_they_cover_with_the_mean(device: str) -> None:
    # Frames are centred on every 10 ms: 0.5 s is the centre of frame 50. Of 40 bands the centre of band 4 is 4.5 / 40.
    masks = (Mask("time", 0.5, 0.6), Mask("time", 2.995, 9.0), Mask("mel", 4.5 / 40, 8.5 / 40))
    plain = heard([clip()], device)[0]
    hidden = np.zeros(plain.shape, bool)
    hidden[50:60] = hidden[300:] = True
    hidden[:, 4:8] = True
    np.testing.assert_allclose(heard([clip(masks)], device)[0], np.where(hidden, plain.mean(dtype=np.float64), plain), atol=1e-4)
    assert np.array_equal(heard([clip(masks)], device)[0][~hidden], plain[~hidden])


@pytest.mark.parametrize("device", DEVICES)
def test_frames_that_are_not_centred_are_hidden_by_where_their_middle_lies(device: str) -> None:
    # Frame t begins at t · 10 ms and its middle is 16 ms later: 0.116 s is the middle of frame 10.
    plain, masked = (heard([clip(masks)], device, center=False)[0] for masks in ((), (Mask("time", 0.116, 0.146),)))
    assert np.flatnonzero((plain != masked).any(1)).tolist() == [10, 11, 12]


def test_numpy_and_torch_hide_the_same_of_a_whole_batch() -> None:
    rng = np.random.default_rng(5)
    clips = [clip(SpecMask().audio(sound(), SpecMask().draw(rng, sound(), Scene()), Scene()).masks, 1 + 0.3 * n) for n in range(6)]
    clips.insert(2, clip())
    one, other = (heard(clips, device) for device in DEVICES)
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert np.abs(one - heard([replace(each, masks=()) for each in clips], "cpu")).max() > 1


@pytest.mark.parametrize("device", DEVICES)
def test_masks_of_one_clip_leave_its_neighbours_alone(device: str) -> None:
    masked = clip((Mask("mel", 0.0, 0.5),))
    together = heard([clip(), masked, clip()], device)
    assert np.array_equal(together[0], heard([clip()], device)[0])
    assert np.array_equal(together[0], together[2])
    assert np.array_equal(together[1], heard([masked], device)[0])


@pytest.mark.parametrize("device", DEVICES)
def test_padding_takes_no_part_in_the_mean(device: str) -> None:
    short = heard([clip((Mask("time", 0.2, 0.3),), seconds=1.0)], device)[0]
    alone = LogMel(**FRONT).open()(Batch([clip(seconds=1.0)], 3.0))["mel"][0]
    np.testing.assert_allclose(short[20:30], alone[:101].mean(dtype=np.float64), atol=1e-4)


def test_a_log_mel_without_masks_hears_everything_and_keeps_its_name() -> None:
    masked = clip((Mask("mel", 0.0, 0.5),))
    assert np.array_equal(heard([masked], "cpu", masks=False), heard([clip()], "cpu", masks=False))
    # The name of every table that was made before there were masks.
    assert LogMel().digest() == "95d6f3963fd74f39"
    assert LogMel(masks=True).digest() != LogMel().digest()
