"""Remix: what counts as a stem, what is heard of it, and what is said of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from augment import Chain, Change, Guest, Lineage, Mix, OneOf, Recording, Remix, Scene, Sound, Unfit, augmented, replay
from augment.mix import read_stretch
from augment.stems import remix_leads
from extractors.uri import to_uri
from tests import sounds

RATE = 16_000
NAMES = ("bass", "drums", "vocals")
START, SECONDS = 1.0, 2.0
Array = NDArray[np.float64]


def song(folder: Path, seed: int = 0, suffix: str = ".wav", stems: str = "", mixture: str = "mixture.wav") -> Path:
    """A mixture of three stems of four seconds in a folder of their own, the stems in one below if it is named."""
    (folder / stems).mkdir(parents=True, exist_ok=True)
    parts = {name: sounds.noise(RATE, 4.0, 0.2, 10 * seed + index) for index, name in enumerate(NAMES)}
    for name, part in parts.items():
        sounds.write(folder / stems / f"{name.title()}{suffix}", part, RATE, **({"subtype": "FLOAT"} if suffix == ".wav" else {}))
    return sounds.write(folder / mixture, np.sum(list(parts.values()), axis=0, dtype=np.float32), RATE, subtype="FLOAT")


def scene(track: Path | str, *others: Path) -> Scene:
    """The clip in the middle of a track, among others."""
    recordings = tuple(Recording(f"track{index}", to_uri(str(path)), 4.0, RATE) for index, path in enumerate((track, *others)))
    return Scene("track0", to_uri(str(track)), START, SECONDS, recordings, read_stretch)


def clip(track: Path | str) -> Sound:
    """The clip's sound."""
    return Sound(read_stretch(to_uri(str(track)), START, SECONDS, RATE), RATE)


def remixed(spec: Remix, track: Path | str, *others: Path, view: int = 1) -> tuple[Sound, Lineage, dict[str, Any]]:
    """A view of the clip, and the draw that made it."""
    made = augmented([spec], clip(track), scene(track, *others), 0, "clip", view)
    return made.sound, made.lineage, made.lineage.steps[0]


def part(name: str, seed: int = 0, start: float = START) -> Array:
    """What a stem has to give."""
    first = round(start * RATE)
    whole = sounds.noise(RATE, 4.0, 0.2, 10 * seed + NAMES.index(name))[:, 0].astype(float)
    return whole[first : first + round(SECONDS * RATE)]


def level(db: float) -> float:
    """Decibels as a factor."""
    return float(10 ** (db / 20))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_a_remix_is_the_sum_of_the_stems_at_the_levels_drawn(tmp_path: Path, suffix: str) -> None:
    track = song(tmp_path, suffix=suffix, stems="stems")
    sound, lineage, draw = remixed(Remix(stems="stems/*"), track)
    assert [stem["name"] for stem in draw["stems"]] == list(NAMES)
    assert len({stem["gain_db"] for stem in draw["stems"]}) == 3
    assert all(-6 <= stem["gain_db"] <= 6 for stem in draw["stems"])
    expected = sum((level(stem["gain_db"]) * part(stem["name"]) for stem in draw["stems"]), np.zeros(len(sound.samples)))
    assert sound.samples.dtype == np.float32
    # mp3 and Vorbis lose a little; misplaced by one sample, noise would differ by more than itself.
    assert np.std(sound.samples - expected) < {".wav": 1e-6, ".flac": 1e-4}.get(suffix, 0.6) * np.std(expected)
    assert Remix.change(draw) == Change(timbre=True)
    assert (replay(Lineage.parse(str(lineage)), clip(track), scene(track)).samples == sound.samples).all()


def test_stems_at_level_0_db_are_the_clip(tmp_path: Path) -> None:
    track = song(tmp_path)
    sound, _, draw = remixed(Remix(stems="*.wav", low_db=0, high_db=0), track)
    assert len(draw["stems"]) == 3
    np.testing.assert_allclose(sound.samples, clip(track).samples, atol=1e-6)


def test_a_stem_that_is_left_out_is_not_heard_and_gone_and_one_always_stays(tmp_path: Path) -> None:
    track = song(tmp_path)
    kept = Counter[int]()
    for view in range(30):
        sound, _, draw = remixed(Remix(stems="*.wav", low_db=0, high_db=0, p_drop=0.5), track, view=view)
        names = [stem["name"] for stem in draw["stems"]]
        assert set(names) | set(draw["gone"]) == set(NAMES)
        assert Remix.change(draw) == Change(timbre=True, gone=tuple(draw["gone"]))
        np.testing.assert_allclose(sound.samples, sum((part(name) for name in names), np.zeros(len(sound.samples))), atol=1e-6)
        kept[len(names)] += 1
    assert set(kept) == {1, 2, 3}
    alone = [remixed(Remix(stems="*.wav", p_drop=1.0), track, view=view)[2]["stems"] for view in range(20)]
    assert {len(stems) for stems in alone} == {1}
    assert {stems[0]["name"] for stems in alone} == set(NAMES)


def test_a_stem_that_is_exchanged_is_the_one_of_that_name_of_another_track(tmp_path: Path) -> None:
    track, other = song(tmp_path / "one"), song(tmp_path / "two", seed=1)
    (tmp_path / "two" / "Drums.wav").unlink()
    bare = sounds.write(tmp_path / "bare.wav", sounds.noise(RATE, 4.0), RATE)
    starts = set()
    for view in range(5):
        sound, lineage, draw = remixed(Remix(stems="*.wav", p_swap=1.0), track, other, bare, view=view)
        assert [stem.get("track_id") for stem in draw["stems"]] == ["track1", None, "track1"]
        guests = tuple(Guest("track1", stem["start"], 2.0) for stem in draw["stems"] if "track_id" in stem)
        assert Remix.change(draw) == Change(timbre=True, guests=guests, swapped=("bass", "vocals"))
        expected = np.zeros(len(sound.samples))
        for stem in draw["stems"]:
            expected += level(stem["gain_db"]) * part(stem["name"], int("track_id" in stem), stem["start"])
            starts.add(stem["start"])
        np.testing.assert_allclose(sound.samples, expected, atol=1e-5)
        assert (replay(lineage, clip(track), scene(track)).samples == sound.samples).all()
    assert len(starts) == 11
    assert max(starts) <= 2


def test_a_track_that_could_lend_a_stem_and_is_broken_is_passed_over(tmp_path: Path) -> None:
    track, other, broken = song(tmp_path / "one"), song(tmp_path / "two", seed=1), song(tmp_path / "three", seed=2)
    gone, spoilt = song(tmp_path / "four", seed=3), song(tmp_path / "five", seed=4)
    gone.unlink()
    spoilt.write_bytes(b"RIFFnope")
    for name in NAMES:
        (broken.parent / f"{name.title()}.wav").write_bytes(b"RIFFnope")
    for view in range(5):
        draw = remixed(Remix(stems="*.wav", p_swap=1.0), track, broken, gone, other, spoilt, view=view)[2]
        assert [stem["track_id"] for stem in draw["stems"]] == ["track3"] * 3


def test_a_track_without_stems_stays_as_it_is_and_the_lineage_says_so(tmp_path: Path) -> None:
    track = song(tmp_path / "songs")
    lonely = sounds.write(tmp_path / "lonely.wav", sounds.noise(RATE, 4.0, 0.2), RATE)
    (tmp_path / "songs" / "notes.wav.txt").touch()
    for spec, path in ((Remix(stems="*.wav"), lonely), (Remix(stems="nowhere/*.wav"), track)):
        sound, lineage, draw = remixed(spec, path)
        assert (sound.samples == clip(path).samples).all()
        assert draw == {"use": "Remix", "stems": [], "samples": 32_000}
        assert Remix.change(draw) == Change()
        assert (replay(lineage, clip(path), scene(path)).samples == sound.samples).all()
    for uri in ("s3://bucket/mixture.wav", ""):
        there = Scene("track0", uri, START, SECONDS)
        assert augmented([Remix(stems="*.wav")], clip(track), there, 0, "clip", 1).lineage.steps[0]["stems"] == []


def test_a_track_that_a_later_scan_saw_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    track = song(tmp_path)
    sound = clip(track)
    track.rename(tmp_path / "elsewhere.wav")
    assert augmented([Remix(stems="*.wav")], sound, scene(track), 0, "clip", 1).lineage.steps[0]["stems"] == []


def test_neither_the_track_itself_nor_a_file_of_another_length_is_a_stem(tmp_path: Path) -> None:
    track = song(tmp_path)
    (tmp_path / "link.wav").symlink_to(track)
    sounds.write(tmp_path / "click.wav", sounds.noise(RATE, 3.9, 0.2), RATE)
    (tmp_path / "folder.wav").mkdir()
    assert [stem["name"] for stem in remixed(Remix(stems="*.wav"), track)[2]["stems"]] == list(NAMES)


def test_strangers_of_one_length_in_one_folder_are_no_stems(tmp_path: Path) -> None:
    tracks = [sounds.write(tmp_path / f"{seed}.wav", sounds.noise(RATE, 4.0, 0.2, seed), RATE) for seed in range(3)]
    assert remixed(Remix(stems="*.wav"), tracks[0])[2]["stems"] == []


def test_the_tracks_name_may_be_part_of_where_stems_lie_whatever_it_is(tmp_path: Path) -> None:
    plain = song(tmp_path / "album", stems="stems")
    (tmp_path / "album" / "a_STEMS").mkdir()  # what "[a]" would match as a pattern
    stems = tmp_path / "album" / "stems"
    for name in ("plain", "-rf", "[a]", "*?", "two\nlines", os.fsdecode(b"caf\xe9"), "{name}"):
        track, stems = plain.rename(tmp_path / "album" / f"{name}.wav"), stems.rename(tmp_path / "album" / f"{name}_STEMS")
        plain = track
        sound, lineage, draw = remixed(Remix(stems="{name}_STEMS/*.wav", p_drop=0.3), track, view=3)
        assert len(draw["stems"]) + len(draw["gone"]) == 3
        assert Lineage.parse(str(lineage)) == lineage
        assert json.dumps(draw, ensure_ascii=False).encode()
        assert (replay(lineage, clip(track), scene(track)).samples == sound.samples).all()


def test_stems_of_one_name_are_left_out_together(tmp_path: Path) -> None:
    track = song(tmp_path, stems="a")
    (tmp_path / "b").mkdir()
    os.rename(tmp_path / "a" / "Drums.wav", tmp_path / "b" / "Bass.wav")
    heard = set()
    for view in range(20):
        _, _, draw = remixed(Remix(stems="*/*.wav", p_drop=0.5), track, view=view)
        heard.add(tuple(sorted(stem["name"] for stem in draw["stems"])))
        assert {"bass", "vocals"} - {stem["name"] for stem in draw["stems"]} == set(Remix.change(draw).gone)
    assert heard == {("bass", "bass"), ("vocals",), ("bass", "bass", "vocals")}


@pytest.mark.parametrize("damage", ["bytes", "cut"])
def test_a_stem_that_is_broken_is_named_instead_of_missing_from_the_sum(tmp_path: Path, damage: str) -> None:
    track = song(tmp_path)
    drums = tmp_path / "Drums.wav"
    drums.write_bytes(b"RIFFnope" if damage == "bytes" else drums.read_bytes()[:150_000])
    with pytest.raises(Unfit, match=r"Drums\.wav: (not audio|ends before its time)") as caught:
        remixed(Remix(stems="*.wav"), track)
    assert caught.value.kind == {"bytes": "not audio", "cut": "truncated"}[damage]
    assert caught.value.remedy


def test_a_compressed_stem_that_is_cut_off_is_named_too(tmp_path: Path) -> None:
    track = song(tmp_path, suffix=".flac")
    sounds.cut_off(tmp_path / "Drums.flac", 0.5, "Drums.flac")
    with pytest.raises(Unfit, match=r"Drums\.flac: ends before its time"):
        remixed(Remix(stems="*.flac"), track)


def test_a_stem_that_vanishes_names_itself_and_blames_no_clip(tmp_path: Path) -> None:
    track = song(tmp_path)
    lineage = remixed(Remix(stems="*.wav"), track)[1]
    (tmp_path / "Bass.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"Bass\.wav: no longer there"):
        replay(lineage, clip(track), scene(track))


def test_a_remix_that_would_be_silent_is_unfit(tmp_path: Path) -> None:
    track = song(tmp_path)
    vocals = sounds.noise(RATE, 4.0, 0.2, 5)
    sounds.write(track, vocals, RATE, subtype="FLOAT")
    for name in NAMES:
        sounds.write(tmp_path / f"{name.title()}.wav", vocals if name == "vocals" else 0 * vocals, RATE, subtype="FLOAT")
    draw = remixed(Remix(stems="*.wav"), track)[2]
    bass, drums, voice = draw["stems"]
    assert len(Remix.audio(clip(track), {"stems": [drums, voice]}, scene(track)).samples) == 32_000
    with pytest.raises(Unfit, match="Remix leaves silence: of the stems, bass, drums would be heard here") as caught:
        Remix.audio(clip(track), {"stems": [bass, drums]}, scene(track))
    assert (caught.value.kind, caught.value.remedy) == ("silent", "lower p_drop or p_swap")


def test_a_sound_that_is_no_longer_the_clip_is_refused(tmp_path: Path) -> None:
    track = song(tmp_path)
    shorter = Sound(clip(track).samples[:-100], RATE)
    draw = remixed(Remix(stems="*.wav"), track)[2]
    for again in (
        lambda: augmented([Remix(stems="*.wav")], shorter, scene(track), 0, "clip", 1),
        lambda: Remix.audio(shorter, draw, scene(track)),
    ):
        with pytest.raises(Unfit, match=r"Remix needs the clip as it is in its track, 2\.000 s, got 1\.994 s"):
            again()


def test_a_remix_behind_anything_is_refused_in_chains_within_chains_too() -> None:
    remix, mix = Remix(stems="*.wav"), Mix(snr_low_db=0, snr_high_db=1)
    for good in ([], [remix], [remix, mix], [Chain(of=(remix, mix)), mix], [OneOf(of=(mix, remix, Chain(of=(remix,)))), mix]):
        remix_leads(good)
    for bad in (
        [mix, remix],
        [remix, remix],
        [mix, Chain(of=(remix,))],
        [Chain(of=(mix, remix))],
        [OneOf(of=(mix, Chain(of=(mix, remix))))],
    ):
        with pytest.raises(ValueError, match="Remix has to come first"):
            remix_leads(bad)


def test_extremes_say_whether_stems_go() -> None:
    assert Remix(stems="*").extremes() == (Change(timbre=True),)
    assert [(bool(each.gone), bool(each.swapped)) for each in Remix(stems="*", p_drop=0.1).extremes()] == [(False, False), (True, False)]
    assert [(bool(each.gone), bool(each.swapped)) for each in Remix(stems="*", p_swap=0.1).extremes()] == [(False, False), (False, True)]


def test_mistakes_are_refused_in_one_line() -> None:
    with pytest.raises(ValidationError, match="Remix needs low <= high, got low=3 high=1"):
        Remix(stems="*.wav", low_db=3, high_db=1)
    for stems in ("/music/*.wav", "s3://bucket/*.wav"):
        with pytest.raises(ValidationError, match=r"Remix\.stems begins at the folder of each track, .* got '"):
            Remix(stems=stems)
    for wrong in ({"p_drop": 1.5}, {"p_swap": -0.1}, {"low_db": float("nan")}, {"stems": ""}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Remix(**{"stems": "*.wav", **wrong})
