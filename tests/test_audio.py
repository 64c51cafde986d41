"""Decoding: the right samples at the right place from every format, and one clear line for what is no sound."""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from extractors.audio import AudioError, clips, probe, read, resample, stream, truncated
from extractors.clip import Window
from tests.sounds import SUFFIXES, Samples, clicks, cut_off, long_mp3, music, noise, tone, useless_files, without_tag, write

SECONDS = 6.0

# What is written for each kind of file: suffix, sample rate, soundfile's options.
KINDS: dict[str, tuple[str, int, dict[str, str | float]]] = {
    **{suffix[1:]: (suffix, 48_000 if suffix in (".opus", ".webm") else 44_100, {}) for suffix in SUFFIXES},
    "mp3 variable": (".mp3", 44_100, {"bitrate_mode": "VARIABLE", "compression_level": 0.9}),
    "mp3 constant": (".mp3", 44_100, {"bitrate_mode": "CONSTANT", "compression_level": 0.6}),
    "mp3 of 22 kHz": (".mp3", 22_050, {"bitrate_mode": "VARIABLE", "compression_level": 0.3}),
    "wav of floats": (".wav", 44_100, {"subtype": "FLOAT"}),
    "flac of 24 bits": (".flac", 96_000, {"subtype": "PCM_24"}),
    "adpcm": (".wav", 44_100, {"subtype": "IMA_ADPCM"}),
}


@functools.cache
def encoded(kind: str) -> bytes:
    suffix, sample_rate, options = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / f"sound{suffix}", music(sample_rate, SECONDS), sample_rate, **options).read_bytes()


def written(folder: Path, kind: str) -> Path:
    path = folder / f"sound{KINDS[kind][0]}"
    path.write_bytes(encoded(kind))
    return path


def whole(path: Path, block_frames: int = 100_000) -> Samples:
    return np.concatenate(list(stream(str(path), block_frames)))


def drain(generator):  # type: ignore[no-untyped-def]
    """What a generator yields, and its value."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as end:
            return yielded, end.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_click_is_found_where_it_was_before_encoding(tmp_path: Path, kind: str) -> None:
    suffix, sample_rate, options = KINDS[kind]
    places = [1000, 20_000, 44_101, 3 * sample_rate + 17, 5 * sample_rate + 4321]
    sound = whole(write(tmp_path / f"clicks{suffix}", clicks(sample_rate, 6.003, places, channels=2), sample_rate, **options))
    late = 1024 if kind == "aac" else 0  # raw AAC does not say how late it is
    for place in places:
        around = slice(max(0, place + late - 600), place + late + 600)
        assert abs(around.start + int(np.argmax(np.abs(sound[around]))) - place - late) <= 1
    if kind not in ("aac", "adpcm"):  # both end with a filled block
        assert abs(len(sound) - round(6.003 * sample_rate)) <= 16


def test_mp3_without_tag_is_late_by_the_encoders_delay(tmp_path: Path) -> None:
    tagged = write(tmp_path / "tagged.mp3", clicks(44_100, 3.0, [50_000], channels=2), 44_100, bitrate_mode="CONSTANT")
    sound = whole(without_tag(tagged, "bare.mp3"))
    assert np.argmax(np.abs(sound)) - 50_000 == pytest.approx(1105, abs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_any_length_join_to_the_same_sound(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    expected = whole(path)
    for block_frames in (777, 65_537, 10_000_000):
        blocks, frames = drain(stream(str(path), block_frames))
        assert all(len(block) == block_frames for block in blocks[:-1])
        assert frames == len(expected)
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stretch_read_alone_equals_the_same_stretch_of_the_whole(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    expected = whole(path)
    starts = [0, 1, 1105, 30_001, *np.random.default_rng(0).integers(0, len(expected) - 9000, 12).tolist()]
    for start in starts:
        np.testing.assert_array_equal(read(str(path), start, 9000), expected[start : start + 9000])
    np.testing.assert_array_equal(read(str(path), len(expected) - 100, 9000), expected[-100:])
    assert len(read(str(path), len(expected) + 5, 10)) == 0
    assert len(read(str(path), len(expected), 10)) == 0
    assert len(read(str(path), 5, 0)) == 0


@pytest.mark.parametrize("kind", ["wav", "wav of floats", "flac", "flac of 24 bits", "aiff", "mp3 variable", "mp3 constant", "adpcm"])
def test_the_sound_is_libsndfiles_with_the_channels_averaged(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    sound, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(whole(path), 0.5 * (sound[:, 0] + sound[:, 1]))


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_ffmpegs_ogg_is_libsndfiles(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    sound, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(whole(path), sound.mean(1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_tells_format_rate_channels_and_length(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    info = probe(str(path))
    assert info.format == {"ogg": "vorbis", "m4a": "aac", "webm": "opus", "adpcm": "wav"}.get(kind, kind.split()[0])
    assert (info.sample_rate, info.channels, info.complete) == (KINDS[kind][1], 2, True)
    frames = len(whole(path))
    assert info.seconds == pytest.approx(frames / info.sample_rate, abs=0.03)
    assert not truncated(info, frames)


def test_mp3_without_tag_is_counted_and_heard_to_the_end(tmp_path: Path) -> None:
    bare = without_tag(written(tmp_path, "mp3 variable"), "bare.mp3")
    # libsndfile takes the first frame's bit rate for the rest's, and reads no further.
    assert soundfile.info(bare).duration < SECONDS / 2
    assert probe(str(bare)).seconds == pytest.approx(SECONDS, abs=0.1)
    assert len(whole(bare)) == round(44_100 * probe(str(bare)).seconds)
    np.testing.assert_array_equal(read(str(bare), 99_000, 5000), whole(bare)[99_000:104_000])


def test_mp3s_joined_end_to_end_are_heard_to_the_end(tmp_path: Path) -> None:
    path = written(tmp_path, "mp3 variable")
    path.write_bytes(3 * path.read_bytes())
    assert soundfile.info(path).duration == SECONDS  # the first one's tag
    assert len(whole(path)) == pytest.approx(3 * SECONDS * 44_100, rel=0.02)
    assert not truncated(probe(str(path)), len(whole(path)))


def test_stereo_joined_to_mono_ends_where_the_channels_change(tmp_path: Path) -> None:
    path = written(tmp_path, "mp3")
    length = len(whole(path))
    mono = write(tmp_path / "mono.mp3", music(44_100, 5.0, channels=1), 44_100)
    path.write_bytes(path.read_bytes() + mono.read_bytes())
    frames = len(whole(path))
    assert frames == pytest.approx(length, rel=0.01)
    assert truncated(probe(str(path)), frames)


def test_mp3_behind_a_tag_of_any_size_and_flac_behind_one_open(tmp_path: Path) -> None:
    for kind in ("mp3", "flac"):
        path = written(tmp_path, kind)
        sound = whole(path)
        path.write_bytes(b"ID3\4\0\0" + bytes([0, 9, 3, 7]) + bytes(9 << 14 | 3 << 7 | 7) + path.read_bytes())
        assert probe(str(path)).format == kind
        np.testing.assert_array_equal(whole(path), sound)


def test_length_of_flac_from_a_pipe_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's number of samples: 36 bits, 0 for unknown
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert probe(str(path)).seconds == pytest.approx(SECONDS)
    assert len(whole(path)) == SECONDS * 44_100
    np.testing.assert_array_equal(read(str(path), 50_000, 1000), whole(path)[50_000:51_000])


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    for kind, other in itertools.product(("wav", "flac", "ogg", "m4a", "mp3"), ("sound.raw", "liar.mp3", "liar.wav", "liar.ogg", "none")):
        original = written(tmp_path, kind)
        sound = whole(original)
        np.testing.assert_array_equal(whole(original.rename(tmp_path / other)), sound)


@pytest.mark.parametrize(
    "name", [b"two\nlines.x", b"quote'\"s.x", b"\xff\xfe not utf-8.x", b"-dash.x", b"http:colon%03d.x", "übergrößé.x".encode()]
)
@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "m4a"])
def test_any_name_opens(tmp_path: Path, kind: str, name: bytes) -> None:
    original = written(tmp_path, kind)
    sound = whole(original)
    odd = os.fsencode(tmp_path) + b"/" + name
    os.rename(original, odd)
    np.testing.assert_array_equal(np.concatenate(list(stream(odd, 50_000))), sound)
    np.testing.assert_array_equal(read(os.fsdecode(odd), 0, len(sound)), sound)


def test_titles_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, "m4a")
    sound = whole(path)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"\xe9\xfcvf"))
    np.testing.assert_array_equal(whole(path), sound)


def test_mp3_whose_tag_cannot_be_true_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "mp3")
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at + 8 : at + 10] = b"\x7f\xff"  # frames
    path.write_bytes(data)
    assert probe(str(path)).seconds == pytest.approx(SECONDS, abs=0.1)


def test_useless_files_raise_one_line_with_cause_and_remedy(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, (kind, words) in useless_files(tmp_path).items():
        with pytest.raises(AudioError) as raised:
            drain(stream(str(tmp_path / name), 20_000))
        error = pickle.loads(pickle.dumps(raised.value))
        assert (error.kind, type(error)) == (kind, AudioError), name
        assert str(error).startswith(f"{name}: ")
        assert words in str(error)
        assert error.remedy
        assert "\n" not in str(error) + error.remedy
        with pytest.raises(AudioError, match=name):
            drain(clips(str(tmp_path / name), "t", 44_100, Window(seconds=0.5)))
        if kind != "not finite":  # that no header shows
            with pytest.raises(AudioError) as raised:
                probe(str(tmp_path / name))
            assert raised.value.kind == kind
    assert capfd.readouterr() == ("", "")


def test_an_error_names_the_file_on_one_line_that_prints() -> None:
    with pytest.raises(AudioError) as raised:
        probe(b"/nowhere/two\nlines\xff.mp3")
    assert str(raised.value) == "two\\nlines\\udcff.mp3: no longer there"
    str(raised.value).encode()
    with pytest.raises(AudioError, match="null byte") as raised:
        probe("nul\0.mp3")
    assert raised.value.kind == "unreadable"


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "mp3", "mp3 variable", "ogg", "opus", "m4a"])
def test_a_file_cut_off_gives_what_it_holds_and_is_known_as_cut(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, kind)
    sound = whole(path)
    short = cut_off(path, 0.5, "cut" + path.suffix)
    blocks, frames = drain(stream(str(short), 100_000))
    part = np.concatenate(blocks)
    assert 0.3 * len(sound) < len(part) == frames < 0.7 * len(sound)
    sure = int(0.9 * len(part))  # the last frame may be half there
    # MP3 changes from libsndfile to FFmpeg when its length is no longer true.
    np.testing.assert_allclose(part[:sure], sound[:sure], rtol=0, atol=2e-6 if path.suffix == ".mp3" else 0)
    assert truncated(probe(str(short)), frames)
    assert drain(clips(str(short), "t", KINDS[kind][1], Window(seconds=1.0)))[1] == frames
    np.testing.assert_array_equal(read(str(short), 20_000, 1000), part[20_000:21_000])
    assert capfd.readouterr() == ("", "")


def test_damage_in_the_middle_ends_flac_there(tmp_path: Path) -> None:
    path = written(tmp_path, "flac")
    sound = whole(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(data)
    part, frames = drain(stream(str(path), 100_000))
    assert 0.3 * len(sound) < frames < 0.7 * len(sound)
    np.testing.assert_array_equal(np.concatenate(part), sound[:frames])


def test_wav_written_to_a_pipe_is_not_taken_for_cut(tmp_path: Path) -> None:
    path = written(tmp_path, "wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert not truncated(probe(str(path)), len(whole(path)))


def test_eight_channels_at_384_khz_are_averaged(tmp_path: Path) -> None:
    channels = noise(384_000, 0.5, channels=8)
    path = write(tmp_path / "wide.wav", channels, 384_000, subtype="FLOAT")
    assert (probe(str(path)).sample_rate, probe(str(path)).channels) == (384_000, 8)
    np.testing.assert_allclose(whole(path), channels.mean(1), atol=1e-7)


def test_twelve_channels_are_averaged_by_ffmpeg_too(tmp_path: Path) -> None:
    channels = noise(44_100, 0.5, channels=12)
    path = write(tmp_path / "wide.wav", channels, 44_100, subtype="PCM_24")
    # libsndfile refuses a list of peaks that is too short.
    path.write_bytes(path.read_bytes().replace(b"data", b"PEAK\4\0\0\0abcddata", 1))
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(path)
    assert probe(str(path)).channels == 12
    np.testing.assert_allclose(whole(path), channels.mean(1), atol=2e-7)


def test_loud_sound_that_a_float_can_hold_is_finite(tmp_path: Path) -> None:
    path = write(tmp_path / "loud.wav", 1e30 * tone(8000, 1.0), 8000, subtype="FLOAT")
    assert np.abs(whole(path)).max() == pytest.approx(5e29, rel=1e-3)


@pytest.mark.parametrize(
    ("window", "starts", "lengths"),
    [
        (Window(seconds=3), [0, 3, 6, 9], [3, 3, 3, 1.25]),
        (Window(seconds=3, min_seconds=1.5), [0, 3, 6], [3, 3, 3]),
        (Window(seconds=4, hop=2.5), [0, 2.5, 5, 7.5], [4, 4, 4, 2.75]),
        (Window(seconds=4, hop=2.5, min_seconds=0), [0, 2.5, 5, 7.5, 10], [4, 4, 4, 2.75, 0.25]),
        (Window(seconds=1, hop=4), [0, 4, 8], [1, 1, 1]),
        (Window(seconds=3, hop=7), [0, 7], [3, 3]),
        (Window(seconds=30), [0], [10.25]),
        (Window(seconds=30, min_seconds=20), [0], [10.25]),
        (Window(seconds="track"), [0], [10.25]),
        (Window(seconds=0.1, hop=1 / 3), [k / 3 for k in range(31)], [0.1] * 31),
        (Window(seconds=10.25, hop=10.25), [0], [10.25]),
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".ogg"])
def test_clips_are_the_windows_stretches(tmp_path: Path, suffix: str, window: Window, starts: list[float], lengths: list[float]) -> None:
    path = write(tmp_path / f"ten{suffix}", music(11_025, 10.25), 11_025)
    sound = whole(path)
    made, frames = drain(clips(str(path), "track", 11_025, window))
    assert frames == len(sound) == round(10.25 * 11_025)
    assert [clip.start for clip in made] == pytest.approx(starts)
    for clip, start, seconds in zip(made, starts, lengths, strict=True):
        first = round(start * 11_025)
        np.testing.assert_array_equal(clip.samples, sound[first : first + round(seconds * 11_025)])
        assert (clip.track_id, clip.sample_rate, clip.samples.dtype) == ("track", 11_025, np.float32)
        assert clip.samples.flags.owndata
        assert clip.samples.flags.c_contiguous
        assert clip.samples.flags.writeable


def test_clips_refuse_a_file_that_has_changed_its_rate(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="44100 Hz, not the 22050 Hz") as raised:
        drain(clips(str(written(tmp_path, "wav")), "t", 22_050, Window()))
    assert raised.value.kind == "changed"


def test_threads_decode_without_disturbing_each_other(tmp_path: Path) -> None:
    paths = [written(tmp_path, kind).rename(tmp_path / kind) for kind in KINDS] * 3
    alone = [whole(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for together, expected in zip(pool.map(whole, paths), alone, strict=True):
            np.testing.assert_array_equal(together, expected)


def test_files_are_closed(tmp_path: Path) -> None:
    good = [written(tmp_path, kind).rename(tmp_path / kind) for kind in KINDS]
    bad = [tmp_path / name for name in useless_files(tmp_path)]
    before = len(os.listdir("/proc/self/fd"))
    for path in good:
        next(stream(str(path), 100))  # left before its end
        probe(str(path))
    for path in bad:
        with pytest.raises(AudioError):
            whole(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_resampling_keeps_a_tone_and_its_place() -> None:
    for from_rate, to_rate in ((44_100, 22_050), (44_100, 16_000), (22_050, 44_100)):
        got = resample(tone(from_rate, 2.0, 1000)[:, 0], from_rate, to_rate)
        assert got.dtype == np.float32
        assert len(got) == 2 * to_rate
        middle = slice(to_rate // 4, -to_rate // 4)
        np.testing.assert_allclose(got[middle], tone(to_rate, 2.0, 1000)[middle, 0], atol=2e-6)


def test_resampling_lets_nothing_alias() -> None:
    above = resample(tone(44_100, 2.0, 9000)[:, 0], 44_100, 16_000)
    assert np.abs(above[2000:-2000]).max() < 1e-5
    sound = tone(44_100, 0.1)[:, 0]
    assert resample(sound, 44_100, 44_100) is sound
    assert len(resample(sound[:0], 44_100, 16_000)) == 0


@pytest.mark.slow
def test_an_hour_of_mp3_takes_little_memory(tmp_path: Path) -> None:
    long_mp3(tmp_path / "long.mp3", minutes=60)  # 635 MB of samples
    program = (
        "import sys\n"
        "from extractors.audio import clips\n"
        "from extractors.clip import Window\n"
        "print(sum(len(clip.samples) for clip in clips(sys.argv[1], 't', 44100, Window())) / 44100 / 3600)\n"
        # Not ru_maxrss: that begins with what the parent had.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path / "long.mp3")], capture_output=True, text=True, check=True)
    hours, kilobytes = ran.stdout.split()
    assert float(hours) == pytest.approx(1.0, abs=0.0025)
    assert int(kilobytes) < 300_000
