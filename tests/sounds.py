"""Sounds whose every number is known, written in every format, and files that are broken in every way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.float32]

# The formats that `write` knows, by suffix; the codec for those that FFmpeg writes.
SUFFIXES = (".wav", ".flac", ".aiff", ".mp3", ".ogg", ".opus", ".m4a", ".webm", ".aac")
_CODECS = {".m4a": "aac", ".webm": "libopus", ".aac": "aac"}


def clicks(sample_rate: int, seconds: float, at: Sequence[int], channels: int = 1) -> Samples:
    """(samples, channels): single samples of 0.8 at the places `at`, over noise that is 60 dB below."""
    sound = 0.0008 * noise(sample_rate, seconds, channels=channels)
    sound[np.asarray(at, int)] = 0.8
    return sound


def tone(sample_rate: int, seconds: float, hertz: float = 440.0, level: float = 0.5, channels: int = 1) -> Samples:
    """(samples, channels): a sine that begins at 0."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.repeat((level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)[:, None], channels, axis=1)


def noise(sample_rate: int, seconds: float, level: float = 1.0, seed: int = 0, channels: int = 1) -> Samples:
    """(samples, channels): white, uniform in ±level, other in each channel."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-level, level, (round(seconds * sample_rate), channels)).astype(np.float32)


def music(sample_rate: int, seconds: float, seed: int = 0, channels: int = 2) -> Samples:
    """(samples, channels): gliding tones that come and go and bursts of noise: enough to keep a variable bit rate varying."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    rng = np.random.default_rng(seed)
    sound = np.zeros((len(time), channels))
    for k, hertz in enumerate((110, 333, 1234, 3000)):
        swell = np.abs(np.sin(1.7 * (k + 1) * time + rng.uniform(0, 6))) ** 8
        sound += (0.15 * swell * np.sin(2 * np.pi * hertz * time * (1 + 0.01 * np.sin(k * time))))[:, None]
    sound += 0.1 * rng.uniform(-1, 1, sound.shape) * (np.abs(np.sin(3 * time)) ** 10)[:, None]
    return sound.astype(np.float32)


def write(path: Path, samples: Samples, sample_rate: int, **options: str | float) -> Path:
    """Write (samples, channels) in the format of path's suffix.

    options: for soundfile: subtype, bitrate_mode (CONSTANT, VARIABLE, AVERAGE), compression_level (0 best to 1 smallest).
    """
    if path.suffix in _CODECS:
        _write_by_ffmpeg(path, samples, sample_rate)
    elif path.suffix == ".opus":
        soundfile.write(path, samples, sample_rate, format="OGG", subtype="OPUS", **options)
    else:
        soundfile.write(path, samples, sample_rate, **options)
    return path


def _write_by_ffmpeg(path: Path, samples: Samples, sample_rate: int) -> None:
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    # The index of an M4A goes to the front, so that a file which is cut off can still be read.
    options = {"movflags": "faststart"} if path.suffix == ".m4a" else {}
    with av.open(str(path), "w", format="adts" if path.suffix == ".aac" else None, options=options) as output:
        stream = output.add_stream(_CODECS[path.suffix], rate=sample_rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
        convert = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=sample_rate)
        for part in [*convert.resample(frame), *convert.resample(None), None]:
            output.mux(stream.encode(part))


def cut_off(path: Path, share: float, name: str) -> Path:
    """A copy of path in its folder under `name` that holds only the first share of its bytes."""
    shorter = path.with_name(name)
    shorter.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return shorter


def without_tag(mp3: Path, name: str) -> Path:
    """A copy of an MPEG-1 layer III file without its first frame, where the Xing or LAME tag is."""
    data = mp3.read_bytes()
    kbps = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[(data[2] >> 4) - 1]
    sample_rate = (44_100, 48_000, 32_000)[data[2] >> 2 & 3]
    bare = mp3.with_name(name)
    bare.write_bytes(data[144_000 * kbps // sample_rate + (data[2] >> 1 & 1) :])
    return bare


def long_mp3(path: Path, minutes: int) -> Path:
    """A stereo mp3 of any length, quickly: one minute's frames again and again under a tag that counts them all."""
    minute = write(path.with_name("minute.mp3"), music(44_100, 60.0), 44_100, bitrate_mode="CONSTANT", compression_level=0.7)
    frames = without_tag(minute, "bare.mp3").read_bytes()
    tag = bytearray(minute.read_bytes()[: -len(frames)])
    at = tag.index(b"Info")
    tag[at + 8 : at + 12] = (minutes * int.from_bytes(tag[at + 8 : at + 12])).to_bytes(4)
    tag[at + 12 : at + 16] = (len(tag) + minutes * len(frames)).to_bytes(4)
    with open(path, "wb") as long:
        for part in (tag, *[frames] * minutes):
            long.write(part)
    for part in (minute, path.with_name("bare.mp3")):
        part.unlink()
    return path


def useless_files(folder: Path) -> dict[str, tuple[str, str]]:
    """Write files that give no sound.

    Returns:
        by file name: the kind of AudioError that `stream` raises, and words in its message.
    """
    rng = np.random.default_rng(0)
    (folder / "empty.mp3").touch()
    (folder / "text.mp3").write_text("This is no music.\n" * 200)
    (folder / "eight.wav").write_bytes(b"RIFFnope")
    (folder / "random.ogg").write_bytes(rng.bytes(100_000))
    (folder / "oggs.ogg").write_bytes(b"OggS" + rng.bytes(50_000))
    (folder / "page.m4a").write_bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    (folder / "list.mp3").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")
    (folder / "concat.mp3").write_text("ffconcat version 1.0\nfile sound.wav\n")
    (folder / "folder.mp3").mkdir()
    os.mkfifo(folder / "pipe.mp3")
    (folder / "dangling.mp3").symlink_to(folder / "nowhere.mp3")
    soundfile.write(folder / "silent.wav", np.zeros((0, 2), np.float32), 44_100)
    soundfile.write(folder / "silent.flac", noise(44_100, 0.1), 44_100)
    stream_info = bytearray((folder / "silent.flac").read_bytes()[:42])
    stream_info[4] |= 0x80  # the last block of metadata
    stream_info[21:26] = bytes([stream_info[21] & 0xF0, 0, 0, 0, 0])  # no samples
    (folder / "silent.flac").write_bytes(stream_info)
    header = (folder / "silent.wav").read_bytes()
    (folder / "channels.wav").write_bytes(header[:22] + b"\0\0" + header[24:] + bytes(4000))
    for name, value in (("nan", np.nan), ("infinite", -np.inf)):
        sound = noise(44_100, 1.0)
        sound[30_000] = value
        soundfile.write(folder / f"{name}.wav", sound, 44_100, subtype="FLOAT")
    not_audio = ("not audio", "not audio that libsndfile or FFmpeg can read (")
    return {
        "empty.mp3": ("empty", "empty file (0 bytes)"),
        "eight.wav": ("not audio", "not audio that libsndfile or FFmpeg can read (8 bytes)"),
        **dict.fromkeys(("text.mp3", "random.ogg", "oggs.ogg", "page.m4a", "list.mp3", "concat.mp3"), not_audio),
        "folder.mp3": ("unreadable", "a folder"),
        "pipe.mp3": ("unreadable", "no regular file"),
        "dangling.mp3": ("vanished", "no longer there"),
        "gone.mp3": ("vanished", "no longer there"),
        "silent.wav": ("no samples", "no samples"),
        "silent.flac": ("no samples", "no samples"),
        "channels.wav": ("no samples", "no samples"),
        "nan.wav": ("not finite", "NaN or infinity at 0.680 s"),
        "infinite.wav": ("not finite", "NaN or infinity at 0.680 s"),
    }
