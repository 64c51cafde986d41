"""Backgrounds and mixtures: levels, where a stretch begins, whose labels join, and what happens when the other recording fails."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augment import AddBackground, Augmentation, Change, Guest, Lineage, Mix, Recording, Scene, Sound, Unfit, augmented, replay
from augment.augmentation import Read, Samples
from augment.mix import read_stretch
from extractors.containers import AudioError
from extractors.uri import to_uri
from tests import sounds

RATE = 16_000
CLIP = Sound(sounds.tone(RATE, 2.0, 440.0, 0.25)[:, 0], RATE)
SILENCE = Sound(np.zeros(RATE, np.float32), RATE)
BACKGROUND = AddBackground(snr_low_db=6.0, snr_high_db=12.0)
MIX = Mix(snr_low_db=0.0, snr_high_db=10.0)


def heard(spec: Augmentation, scene: Scene, sound: Sound = CLIP, view: int = 1) -> tuple[Samples, dict[str, Any]]:
    """The samples of a view made by one augmentation, and its draw."""
    made = augmented([spec], sound, scene, 0, "clip", view)
    return made.sound.samples, made.lineage.steps[0]


def snr_db(mixed: Samples, clip: Samples) -> float:
    """By how much the clip is louder than what was added to it."""
    added = mixed.astype(np.float64) - clip
    return float(10 * np.log10(np.mean(clip.astype(np.float64) ** 2) / np.mean(added**2)))


def around(*paths: Path | str, read: Read = read_stretch, seconds: float = 6.0) -> Scene:
    """A clip of the first track among tracks of these files."""
    others = tuple(Recording(f"track{index}", to_uri(str(path)), seconds, RATE) for index, path in enumerate(paths))
    return Scene("track0", "", 0.0, CLIP.seconds, others, read)


@pytest.fixture
def tracks(tmp_path: Path) -> list[Path]:
    """Three recordings of six seconds; only the first is the clip's own."""
    return [sounds.write(tmp_path / f"{index}.wav", sounds.noise(RATE, 6.0, 0.3, index), RATE, subtype="FLOAT") for index in range(3)]


@pytest.mark.parametrize("suffix", [suffix for suffix in sounds.SUFFIXES if suffix != ".webm"])
def test_a_background_of_any_format_lies_as_far_below_the_clip_as_drawn(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix == ".opus" else 44_100
    sounds.write(tmp_path / f"sea{suffix}", sounds.music(rate, 5.0), rate)
    spec = AddBackground(folder=str(tmp_path), snr_low_db=6.0, snr_high_db=12.0)
    mixed, draw = heard(spec, Scene())
    assert mixed.dtype == np.float32
    assert mixed.shape == CLIP.samples.shape
    assert 6 <= draw["snr_db"] <= 12
    assert snr_db(mixed, CLIP.samples) == pytest.approx(draw["snr_db"], abs=0.1)
    assert 0 <= draw["start"] <= 3.1


def test_what_is_added_is_the_recording_from_where_the_draw_says(tmp_path: Path) -> None:
    sea = sounds.noise(RATE, 6.0, 0.3)
    sounds.write(tmp_path / "sea.wav", sea, RATE, subtype="FLOAT")
    spec = AddBackground(folder=str(tmp_path), snr_low_db=0.0, snr_high_db=0.0)
    starts = set()
    for view in range(8):
        mixed, draw = heard(spec, Scene(), view=view)
        first = round(draw["start"] * RATE)
        stretch = sea[first : first + len(CLIP.samples), 0]
        expected = CLIP.samples + stretch * np.sqrt(np.mean(CLIP.samples**2) / np.mean(stretch**2))
        np.testing.assert_allclose(mixed, expected, atol=1e-5)
        starts.add(draw["start"])
    assert len(starts) == 8
    assert max(starts) - min(starts) > 1


def test_a_background_shorter_than_the_clip_is_repeated_from_its_start(tmp_path: Path) -> None:
    sounds.write(tmp_path / "drip.wav", sounds.noise(RATE, 0.75, 0.3), RATE, subtype="FLOAT")
    mixed, draw = heard(AddBackground(folder=str(tmp_path), snr_low_db=3.0, snr_high_db=3.0), Scene())
    added = mixed - CLIP.samples
    assert draw["start"] == 0
    np.testing.assert_allclose(added[12_000:24_000], added[:12_000], atol=1e-6)
    np.testing.assert_allclose(added[24_000:], added[:8_000], atol=1e-6)
    assert snr_db(mixed, CLIP.samples) == pytest.approx(3.0, abs=0.1)


def test_a_truncated_background_is_repeated_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = sounds.write(tmp_path / "whole.flac", sounds.noise(RATE, 2.5, 0.3), RATE)
    sounds.cut_off(whole, 0.5, "cut.flac")
    whole.unlink()
    spec = AddBackground(folder=str(tmp_path), snr_low_db=3.0, snr_high_db=3.0)
    view = augmented([spec], CLIP, Scene(), 0, "clip", 1)
    assert view.lineage.steps[0]["seconds"] < 1.3
    assert snr_db(view.sound.samples, CLIP.samples) == pytest.approx(3.0, abs=0.1)
    assert (replay(view.lineage, CLIP, Scene()).samples == view.sound.samples).all()


def test_files_with_any_name_are_found_in_folders_below_and_hidden_ones_and_texts_are_not(tmp_path: Path) -> None:
    wav = sounds.write(tmp_path / "a.wav", sounds.noise(RATE, 3.0, 0.3), RATE).read_bytes()
    names = [b"-rf.wav", b"two\nlines.wav", b"caf\xe9.wav", b"sub/deep/er.WAV"]
    left_out = [b".hidden.wav", b".cache/a.wav", b"LICENSE", b"cover.jpg"]
    for name in names + left_out:
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(wav)
    spec = AddBackground(folder=str(tmp_path), snr_low_db=3.0, snr_high_db=3.0)
    assert [os.fsencode(name) for name, _ in spec.files.files] == [
        b"-rf.wav",
        b"a.wav",
        b"caf\xe9.wav",
        b"sub/deep/er.WAV",
        b"two\nlines.wav",
    ]
    drawn = set()
    for view in range(40):
        mixed, draw = heard(spec, Scene(), view=view)
        assert snr_db(mixed, CLIP.samples) == pytest.approx(3.0, abs=0.1)
        drawn.add(json.loads(json.dumps(draw))["uri"])
    assert len(drawn) == 5


def test_a_folder_that_is_missing_or_empty_is_one_clear_line_at_check(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound")
    for folder, words in (
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path, "no recording in this folder"),
        ("s3://b/c", "not a file of"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            AddBackground(folder=str(folder), snr_low_db=0, snr_high_db=1).check()
        assert str(caught.value).startswith("AddBackground.folder: ")
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_or_file_that_vanishes_names_itself_and_blames_no_clip(tmp_path: Path) -> None:
    (tmp_path / "sea").mkdir()
    sea = sounds.write(tmp_path / "sea" / "a.wav", sounds.noise(RATE, 3.0), RATE)
    spec = AddBackground(folder=str(sea.parent), snr_low_db=0, snr_high_db=1)
    lineage = augmented([spec], CLIP, Scene(), 0, "clip", 1).lineage
    shutil.rmtree(sea.parent)
    with pytest.raises(FileNotFoundError, match=r"a\.wav: no longer there"):
        heard(spec, Scene())
    with pytest.raises(FileNotFoundError, match=r"a\.wav: no longer there"):
        replay(lineage, CLIP, Scene())


@pytest.mark.parametrize(
    ("content", "kind"), [(b"RIFFnope", "not audio"), (b"", "empty"), (sounds.noise(8_000, 0.1).tobytes(), "not audio")]
)
def test_a_background_that_cannot_be_decoded_is_named_with_a_remedy(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "two\nlines.wav").write_bytes(content)
    with pytest.raises(Unfit, match=r"two\\nlines\.wav: ") as caught:
        heard(AddBackground(folder=str(tmp_path), snr_low_db=0, snr_high_db=1), Scene())
    assert (caught.value.kind, caught.value.remedy) == (kind, "repair the file, or take it out of its folder")
    assert "\n" not in str(caught.value)


def test_silence_before_or_behind_is_unfit(tmp_path: Path, tracks: list[Path]) -> None:
    (tmp_path / "night").mkdir()
    sounds.write(tmp_path / "night" / "a.wav", np.zeros((RATE, 1), np.float32), RATE)
    for spec, scene, sound in (
        (AddBackground(folder=str(tmp_path / "night"), snr_low_db=0, snr_high_db=1), Scene(), CLIP),
        (BACKGROUND, around(*tracks), SILENCE),
        (MIX, around(*tracks), SILENCE),
    ):
        with pytest.raises(Unfit, match="silent") as caught:
            heard(spec, scene, sound)
        assert caught.value.kind == "silent"


def test_the_folders_files_are_part_of_the_identity_and_its_place_on_disk_is_not_in_their_digest(tmp_path: Path) -> None:
    wav = sounds.write(tmp_path / "a.wav", sounds.noise(RATE, 1.0), RATE)
    digest = AddBackground(folder=str(tmp_path), snr_low_db=0, snr_high_db=1).identity()["files"]
    (tmp_path / "other").mkdir()
    shutil.copy(wav, tmp_path / "other" / "a.wav")
    assert AddBackground(folder=str(tmp_path / "other"), snr_low_db=0, snr_high_db=1).identity()["files"] == digest
    assert AddBackground(folder=str(tmp_path), snr_low_db=0, snr_high_db=1).identity()["files"] != digest
    assert "files" not in BACKGROUND.identity()


def test_a_worker_draws_from_the_list_that_the_identity_was_made_of(tmp_path: Path) -> None:
    sounds.write(tmp_path / "a.wav", sounds.noise(RATE, 3.0), RATE)
    spec = AddBackground(folder=str(tmp_path), snr_low_db=0, snr_high_db=1)
    identity = spec.identity()
    sounds.write(tmp_path / "b.wav", sounds.noise(RATE, 3.0), RATE)
    sent = pickle.loads(pickle.dumps(spec))
    assert sent.identity() == identity
    assert {heard(sent, Scene(), view=view)[1]["uri"] for view in range(8)} == {str(tmp_path / "a.wav")}
    assert sent == spec
    assert hash(sent) == hash(spec)


@pytest.mark.parametrize("spec", [BACKGROUND, MIX])
def test_the_clips_own_track_is_never_added_to_it_and_all_others_are(tracks: list[Path], spec: Augmentation) -> None:
    chosen = Counter(heard(spec, around(*tracks), view=view)[1]["track_id"] for view in range(40))
    assert set(chosen) == {"track1", "track2"}
    assert min(chosen.values()) > 8  # below 9 of 40 with p < 0.001


def test_the_guest_is_the_stretch_that_is_heard(tracks: list[Path]) -> None:
    mixed, draw = heard(MIX, around(*tracks))
    assert set(draw) == {"use", "track_id", "uri", "start", "seconds", "snr_db", "samples"}
    assert Mix.change(draw) == Change(guests=(Guest(draw["track_id"], draw["start"], 2.0, 0.0),))
    assert draw["start"] == round(draw["start"], 3)
    assert 0 <= draw["start"] <= 4
    guest = sounds.noise(RATE, 6.0, 0.3, int(draw["track_id"][-1]))[:, 0]
    first = round(draw["start"] * RATE)
    added = mixed - CLIP.samples
    assert np.corrcoef(added, guest[first : first + len(added)])[0, 1] > 0.9999
    assert snr_db(mixed, CLIP.samples) == pytest.approx(draw["snr_db"], abs=0.1)


def test_labels_do_not_hear_a_background(tracks: list[Path]) -> None:
    assert AddBackground.change(heard(BACKGROUND, around(*tracks))[1]) == Change(timbre=True) == BACKGROUND.extremes()[0]
    assert [len(change.guests) for change in MIX.extremes()] == [1]


def test_a_guest_shorter_than_the_clip_sounds_once_and_its_labels_end_with_it(tmp_path: Path) -> None:
    short = sounds.write(tmp_path / "short.wav", sounds.noise(RATE, 0.5, 0.3), RATE, subtype="FLOAT")
    mixed, draw = heard(MIX, around("/nowhere", short, seconds=0.5))
    assert Mix.change(draw).guests[0] == Guest("track1", 0.0, 0.5)
    assert (mixed[8_000:] == CLIP.samples[8_000:]).all()
    added = mixed[:8_000] - CLIP.samples[:8_000]
    assert 10 * np.log10(np.mean(CLIP.samples**2) / np.mean(added**2)) == pytest.approx(draw["snr_db"], abs=0.1)


def test_a_guest_that_ends_before_its_header_says_is_as_long_as_it_is(tmp_path: Path) -> None:
    whole = sounds.write(tmp_path / "whole.flac", sounds.noise(RATE, 2.0, 0.3), RATE)
    scene = around("/nowhere", sounds.cut_off(whole, 0.5, "cut.flac"), seconds=2.0)
    view = augmented([MIX], CLIP, scene, 0, "clip", 1)
    guest = Mix.change(view.lineage.steps[0]).guests[0]
    assert 0.5 < guest.seconds < 1.1
    added = np.flatnonzero(view.sound.samples != CLIP.samples)
    assert added[-1] / RATE == pytest.approx(guest.seconds, abs=0.001)
    assert (replay(view.lineage, CLIP, scene).samples == view.sound.samples).all()


def test_a_partner_that_is_broken_gone_or_silent_costs_the_clip_nothing(tmp_path: Path, tracks: list[Path]) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFFnope")
    silent = sounds.write(tmp_path / "silent.wav", np.zeros((6 * RATE, 1), np.float32), RATE)
    for bad in (tmp_path / "broken.wav", tmp_path / "gone.wav", silent, "http://127.0.0.1:9/refused.wav"):
        for spec in (MIX, BACKGROUND):
            scene = around(tracks[0], bad, tracks[2])
            for view in range(6):
                mixed, draw = heard(spec, scene, view=view)
                assert draw["track_id"] == "track2"
                assert snr_db(mixed, CLIP.samples) == pytest.approx(draw["snr_db"], abs=0.1)


def test_where_no_partner_can_be_read_the_last_is_named(tmp_path: Path) -> None:
    scene = around(*(tmp_path / f"{index}.wav" for index in range(9)))
    with pytest.raises(Unfit, match=r"^Mix: of other tracks, 3 were tried, .*; the last: \d\.wav: no longer there$"):
        heard(MIX, scene)


@pytest.mark.parametrize("others", [0, 1])
def test_a_lonely_track_has_nothing_to_be_mixed_with(others: int) -> None:
    with pytest.raises(Unfit, match="Mix needs another track, and there is none") as caught:
        heard(MIX, around(*["/own.wav"] * others))
    assert caught.value.remedy == "scan more recordings, or take Mix out"


def test_a_full_disk_is_no_reason_to_draw_otherwise(tracks: list[Path]) -> None:
    def full(uri: str, start: float, seconds: float, sample_rate: int) -> Samples:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        heard(MIX, around(*tracks, read=full))


@pytest.mark.parametrize("spec", [BACKGROUND, MIX])
def test_each_stretch_is_decoded_once_and_a_replay_decodes_the_same(tracks: list[Path], spec: Augmentation) -> None:
    asked: list[tuple[str, float, float, int]] = []

    def read(uri: str, start: float, seconds: float, sample_rate: int) -> Samples:
        asked.append((uri, start, seconds, sample_rate))
        return read_stretch(uri, start, seconds, sample_rate)

    before = CLIP.samples.copy()
    view = augmented([spec], CLIP, around(*tracks, read=read), 0, "clip", 1)
    assert len(asked) == 1
    again = replay(Lineage.parse(str(view.lineage)), CLIP, around(read=read))
    assert asked == [asked[0]] * 2
    assert (again.samples == view.sound.samples).all()
    assert (CLIP.samples == before).all()


def test_a_replay_after_another_view_does_not_take_what_that_one_read(tracks: list[Path]) -> None:
    first, second = (augmented([MIX], CLIP, around(*tracks), 0, "clip", view) for view in (1, 2))
    MIX.draw(np.random.default_rng(0), CLIP, around(*tracks))  # read, and never heard
    assert (replay(first.lineage, CLIP, around(*tracks)).samples == first.sound.samples).all()
    assert (replay(second.lineage, CLIP, around(*tracks)).samples == second.sound.samples).all()


def test_a_draw_looks_at_a_few_of_many_tracks(tracks: list[Path]) -> None:
    class Many(tuple[Recording, ...]):
        looked = 0

        def __getitem__(self, index: Any) -> Any:
            self.looked += 1
            return super().__getitem__(index)

    scene = around(tracks[0], *[tracks[1]] * 1_000)
    others = Many(scene.others)
    heard(MIX, replace(scene, others=others))
    assert 1 <= others.looked <= 4


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".opus"])
def test_a_stretch_at_another_rate_begins_where_it_should(tmp_path: Path, suffix: str) -> None:
    clicks = sounds.clicks(48_000, 3.0, [72_000])
    path = sounds.write(tmp_path / f"click{suffix}", clicks, 48_000)
    stretch = read_stretch(to_uri(str(path)), 1.0, 1.0, RATE)
    assert len(stretch) == RATE
    assert np.argmax(np.abs(stretch)) == pytest.approx(8_000, abs=1)
    assert len(read_stretch(str(path), 2.5, 1.0, RATE)) == pytest.approx(8_000, abs=RATE * 0.03)
    assert not len(read_stretch(str(path), 9.0, 1.0, RATE))
    with pytest.raises(AudioError, match="no longer there"):
        read_stretch(str(tmp_path / "gone.wav"), 0.0, 1.0, RATE)


@pytest.mark.parametrize("kind", [AddBackground, Mix])
def test_levels_out_of_order_or_out_of_reach_are_refused(kind: type[Augmentation]) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} needs low <= high, got low=5 high=2"):
        kind(snr_low_db=5, snr_high_db=2)  # type: ignore[call-arg]
    for wrong in (float("nan"), float("-inf"), -1e9):
        with pytest.raises(ValueError, match="snr_low_db"):
            kind(snr_low_db=wrong, snr_high_db=2)  # type: ignore[call-arg]
