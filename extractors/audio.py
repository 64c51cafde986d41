"""Sound out of files: mono float32 at the file's own rate, sample for sample the same however it is read.

libsndfile (soundfile) decodes MP3, FLAC, WAV, AIFF and its other formats. FFmpeg (PyAV) decodes Ogg, where it is two to three times as
fast, and what libsndfile cannot open: M4A, AAC, ALAC, WebM, WMA, … What a file is shows in its bytes, never in its name. Files are handed
over as descriptors, so any name will do, and nothing that a file contains can make FFmpeg open another.

Encoder delay is cut off wherever the file tells it: LAME's tag in MP3, pre-skip in Opus, the edit list (or iTunSMPB) in M4A. What was at
sample n before encoding is at sample n after decoding. Two kinds of file do not tell: raw AAC (ADTS) comes 1024 samples late or more, MP3
without the tag (LAME leaves it out at the lowest bit rates, editors cut it off) 1105 behind LAME.

An MP3 that is damaged midway makes mpg123, inside libsndfile, write to the process's standard error; nothing here can stop it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
import soundfile
import soxr

from extractors.clip import Clip, Window
from extractors.comments import modest_comments
from extractors.containers import (
    AudioError,
    AudioInfo,
    display_name,
    is_frames,
    mp3_is_complete,
    ogg_is_complete,
    open_file,
    pcm_is_complete,
    suits_libsndfile,
    truncated,
)
from extractors.cutting import Fill, Samples, cut, skip, take
from extractors.mp4 import modest_tables

__all__ = ["AudioError", "AudioInfo", "clips", "probe", "read", "resample", "stream", "stretches", "truncated"]

_BLOCK = 1 << 18  # values decoded at a time: a megabyte, to stay in the cache
_NOTHING: Samples = np.empty(0, np.float32)
_HELD = 4096  # samples kept back at the end of an M4A, whose last frame is longer than the sound
_OPENING = 256 << 10  # kilobytes that FFmpeg may take to open a file whose headers claim much
_RATES = range(1000, 1_048_577)  # Hz; a file that says 1 would be four months of sound in ten megabytes
_DENSEST = 8192  # samples in a byte: silence in FLAC's longest blocks has 6,554
_HELD_BYTES = 1 << 28  # of an MP3 that is copied before it is decoded
_DEMUXERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpegts,ogg,tak,tta,w64,wav,wv"


class _Decoder(Protocol):
    def info(self) -> AudioInfo: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    def fill(self, out: Samples) -> int:
        """Put the next samples into out, (n,) mono or (n, channels); fewer than n only at the end."""
        ...

    def seek(self, start: int) -> bool:
        """Go to a sample, if what follows is then bit for bit what decoding from the beginning gives."""
        ...

    def close(self) -> None: ...


def _put(channels: list[Samples], out: Samples) -> None:
    """Channels into (n, channels), or their mean into (n,)."""
    if out.ndim == 2:
        np.stack(channels, axis=1, out=out)
        return
    # Column by column: a mean over the axis of interleaved samples takes 36 times as long.
    if len(channels) == 1:
        out[:] = channels[0]
        return
    with np.errstate(invalid="ignore", over="ignore"):
        np.add(channels[0], channels[1], out=out)
        for channel in channels[2:]:
            out += channel
    if len(channels) == 2:
        out *= 0.5
    else:
        out /= len(channels)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped here
    # soundfile seeks to where it already is after each read of a seekable file. In MP3 that throws the bit reservoir away, and the start
    # of every block is damaged (by as much as 0.3 of full scale in VBR).
    def seekable(self) -> bool:
        return False


class _Libsndfile:
    def __init__(self, descriptor: int) -> None:
        self._file = _Forward(descriptor, closefd=False)
        self._descriptor = descriptor
        self.channels = int(self._file.channels)
        self._buffer = np.empty((max(1, _BLOCK // self.channels), self.channels), np.float32)
        self._position = 0
        self._ended = False

    @property
    def sample_rate(self) -> int:
        return int(self._file.samplerate)

    def info(self) -> AudioInfo:
        container = self._file.format
        # FLAC written to a pipe does not know its length; libsndfile then says a very great one.
        seconds = _possible(self._file.frames / self.sample_rate, self._descriptor, self.sample_rate)
        name = "wav" if container == "WAVEX" else container.lower()
        return AudioInfo(name, seconds, self.sample_rate, self.channels, pcm_is_complete(self._file.extra_info))

    def fill(self, out: Samples) -> int:
        done = 0
        while done < len(out) and not self._ended:
            block = self._buffer[: len(out) - done]
            frames = self._read(block)
            _put(list(block[:frames].T), out[done : done + frames])
            done += frames
        return done

    def _read(self, block: Samples) -> int:
        try:
            frames = len(self._file.read(out=block))
        except soundfile.LibsndfileError:
            # What was decoded before the damage lies in the block already.
            frames = min(max(0, self._file.tell() - self._position), len(block))
            self._ended = True
        self._position += frames
        self._ended |= frames == 0
        return frames

    def seek(self, start: int) -> bool:
        if self._file.format != "FLAC" and not self._file.subtype.startswith(("PCM", "FLOAT", "DOUBLE")):
            return False  # in MP3 a seek loses the bit reservoir
        try:
            self._position = self._file.seek(start)
        except soundfile.LibsndfileError:
            self._ended = True  # beyond the end
        return True

    def close(self) -> None:
        self._file.close()


def _container(descriptor: int) -> Any:
    os.lseek(descriptor, 0, os.SEEK_SET)
    options = {"fd": str(descriptor), "protocol_whitelist": "fd", "format_whitelist": _DEMUXERS}
    return av.open("fd:", options=options, metadata_errors="replace")  # titles in Latin-1 are no reason to refuse


def _opens_within_bounds(descriptor: int) -> bool:
    """Whether FFmpeg opens a suspicious file with little memory and time, tried where nothing else is lost."""
    program = f"from extractors.audio import _open_bounded; _open_bounded({descriptor})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    tried = subprocess.run(
        [sys.executable, "-c", program],
        pass_fds=[descriptor],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return tried.returncode == 0


def _open_bounded(descriptor: int) -> None:
    # A limit of the system's would not do: where FFmpeg gets no memory for its index it goes on without one.
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def watch() -> None:
        while True:
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > _OPENING:
                os._exit(1)
            time.sleep(0.005)

    threading.Thread(target=watch, daemon=True).start()
    _container(descriptor).close()
    os._exit(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > _OPENING)


def _counted_seconds(descriptor: int) -> float:
    """Length by adding up the packets, without decoding them, for files that do not state it. 0 if there are none."""
    try:
        with _container(descriptor) as container:
            audio = container.streams.audio[0]
            return float(sum(packet.duration or 0 for packet in container.demux(audio)) * audio.time_base)
    except (av.FFmpegError, IndexError):
        return 0.0


def _possible(seconds: float, descriptor: int, sample_rate: int) -> float:
    """The length that a header declares, or the packets' where its bytes could not hold so much."""
    most = _DENSEST * os.fstat(descriptor).st_size / sample_rate
    return seconds if seconds <= most else min(_counted_seconds(descriptor), most)


class _FFmpeg:
    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._input = _container(descriptor)
        streams = [each for each in self._input.streams.audio if each.codec_context is not None and each.codec_context.sample_rate > 0]
        if not streams:
            self._input.close()
            raise AudioError("no stream that can be decoded")
        self._stream = streams[0]
        self._context = self._stream.codec_context
        self._context.thread_count = 1
        self._sample_rate = int(self._context.sample_rate)
        self._frames = self._input.decode(self._stream)
        self._fifo = av.AudioFifo()
        # Beyond eight channels PyAV takes for planes what lies behind them.
        self.channels = int(self._context.channels)
        self._format = "fltp" if self.channels <= 8 else "flt"
        self._convert = av.AudioResampler(format=self._format)
        self._held = _HELD if "mov" in self._input.format.name else 0
        self._decoded = 0
        self._ended = False

    @property
    def sample_rate(self) -> int:
        return self._sample_rate

    def _declared(self) -> Fraction | None:
        """Seconds."""
        stream = self._stream
        return stream.duration * stream.time_base if stream.duration else None

    def info(self) -> AudioInfo:
        name, seconds = self._context.codec.canonical_name, self._declared()
        extra = self._context.extradata or b""
        if seconds is None and self._input.duration:
            seconds = Fraction(self._input.duration, av.time_base)
        if seconds is not None and self._input.format.name == "ogg" and extra[:8] == b"OpusHead":
            seconds -= Fraction(int.from_bytes(extra[10:12], "little"), 48_000)  # pre-skip, RFC 7845
        if seconds is None or self._input.format.name in ("aac", "mp3"):  # estimated from the bit rate
            seconds = Fraction(_counted_seconds(self._descriptor))
        length = _possible(float(seconds), self._descriptor, self.sample_rate)
        check = {"ogg": ogg_is_complete, "mp3": mp3_is_complete}.get(self._input.format.name)
        complete = check is None or check(self._descriptor, self._size)
        return AudioInfo(name, length, self.sample_rate, self.channels, complete)

    def fill(self, out: Samples) -> int:
        done = 0
        while done < len(out):
            wanted = min(len(out) - done, _BLOCK // 16)
            if not self._ended:
                self._decode(wanted + self._held)
            frames = min(wanted, self._fifo.samples - (self._held if not self._ended else self._surplus()))
            if frames <= 0:
                break
            frame = self._fifo.read(frames)
            if self._format == "fltp":
                channels = [np.frombuffer(plane, np.float32, frames) for plane in frame.planes]
            else:
                channels = list(np.frombuffer(frame.planes[0], np.float32, frames * self.channels).reshape(frames, -1).T)
            _put(channels, out[done : done + frames])
            done += frames
        return done

    def _decode(self, wanted: int) -> None:
        try:
            while self._fifo.samples < wanted:
                frame = next(self._frames, None)
                if frame is None:
                    break
                if (frame.sample_rate, frame.layout.nb_channels) != (self._sample_rate, self.channels):
                    break  # joined from different files; the queue itself does not look, and writes past its end
                frame.pts = None
                self._decoded += frame.samples
                for part in [frame] if frame.format.name == self._format else self._convert.resample(frame):
                    self._fifo.write(part)
            else:
                return
        except (av.FFmpegError, ValueError):  # ValueError: the resampler's and the queue's
            pass
        self._ended = True

    def _surplus(self) -> int:
        """Samples at the end that fill the last frame of an M4A and belong to no sound."""
        declared = self._declared()
        surplus = 0 if declared is None else self._decoded - round(declared * self.sample_rate)
        return surplus if 0 < surplus <= self._held else 0

    def seek(self, start: int) -> bool:
        return False  # the state of Opus and AAC reaches back without bound

    def close(self) -> None:
        self._input.close()


@contextmanager
def _open(path: str | bytes) -> Iterator[_Decoder]:
    name = display_name(path)
    descriptor, size = open_file(path)
    try:
        try:
            if size <= _HELD_BYTES and is_frames(descriptor):
                descriptor = _copied(descriptor, size)
            decoder = _decoder(descriptor, size)
        except OSError as error:
            message = f"{name}: cannot be read: {error.strerror or error}"
            raise AudioError(message, "unreadable", "check the disk that it lies on") from error
        if decoder is None:
            message = f"{name}: not audio that libsndfile or FFmpeg can read ({size} bytes)"
            raise AudioError(message, "not audio", "leave it out, or convert it: ffmpeg -i FILE FILE.flac")
        try:
            if decoder.sample_rate not in _RATES:
                message = f"{name}: says {decoder.sample_rate} Hz, and sound has {_RATES.start} to {_RATES.stop - 1}"
                raise AudioError(message, "not audio", "leave it out, or correct its header")
            yield decoder
        finally:
            decoder.close()
    finally:
        os.close(descriptor)


def _copied(descriptor: int, size: int) -> int:
    """A copy in memory in a descriptor's place.

    After a read that fails, mpg123 goes on with what comes next: as many samples as there should be, and wrong ones.

    Raises:
        OSError: the file cannot be read.
    """
    copy, done = os.memfd_create("earmark"), 0
    try:
        while done < size and (sent := os.sendfile(copy, descriptor, done, size - done)):
            done += sent
        os.lseek(copy, 0, os.SEEK_SET)  # libsndfile takes a file to begin where it is
    except OSError:
        os.close(copy)
        raise
    os.close(descriptor)
    return copy


def _decoder(descriptor: int, size: int) -> _Decoder | None:
    if not modest_comments(descriptor):
        return None
    if suits_libsndfile(descriptor, size):
        try:
            return _Libsndfile(descriptor)
        except soundfile.LibsndfileError:
            pass
    if not modest_tables(descriptor, size) and not _opens_within_bounds(descriptor):
        return None
    try:
        return _FFmpeg(descriptor, size)
    except (av.FFmpegError, AudioError):
        return None


def _sound(decoder: _Decoder, name: str, drawn: int = 0) -> Fill:
    """The decoder's `fill` from sample `drawn` on, minding that there is sound and that every sample is a number."""

    def fill(out: Samples) -> int:
        nonlocal drawn
        filled = 0
        while filled < len(out):
            # In pieces, to look at them while they are still in the cache.
            piece = out[filled : filled + _BLOCK // 2]
            frames = decoder.fill(piece)
            finite = np.isfinite(piece[:frames])
            if not finite.all():
                at = (drawn + filled + int(np.argmin(finite)) * len(finite) // finite.size) / decoder.sample_rate
                message = f"{name}: not finite: NaN or infinity at {at:.3f} s"
                raise AudioError(message, "not finite", "export it again from its source, as integers")
            filled += frames
            if frames < len(piece):
                break
        drawn += filled
        if not drawn and len(out):
            raise _silent(name)
        return filled

    return fill


def _silent(name: str) -> AudioError:
    return AudioError(f"{name}: no samples: a header without sound", "no samples", "export it again from its source")


def probe(path: str | bytes) -> AudioInfo:
    """What the header says. No sound is decoded; packets are counted where no length is stated (MP3 without a tag, raw AAC).

    Raises:
        AudioError: vanished, unreadable, empty, not audio, no samples.
    """
    with _open(path) as decoder:
        info = decoder.info()
    if info.seconds <= 0 or info.channels < 1:
        raise _silent(display_name(path))
    return info


def stream(path: str | bytes, block_frames: int) -> Generator[Samples, None, int]:
    """Sound from the beginning, block by block, in memory for one.

    A file that is cut off or damaged midway ends there, without error.

    Args:
        block_frames: length of each block but the last.
    Yields:
        (block_frames,) float32, mono (the channels' mean), at the file's own rate; the caller's to keep.
    Returns:
        the number of samples decoded, as the generator's value: see `truncated`.
    Raises:
        AudioError: vanished, unreadable, empty, not audio, no samples, not finite.
    """
    with _open(path) as decoder:
        fill, drawn = _sound(decoder, display_name(path)), 0
        while len(block := take(fill, block_frames)):
            drawn += len(block)
            yield block
        return drawn


def read(path: str | bytes, start: int, frames: int) -> Samples:
    """A stretch of what `stream` gives, bit for bit the same.

    FLAC and uncompressed sound (WAV, AIFF) are read from where the stretch begins. All else is decoded from the beginning, at about a
    thousand times real time: after a seek the last bits of MP3, Opus, Vorbis and AAC differ, in VBR much more.

    Args:
        start, frames: in samples at the file's own rate.
    Returns:
        (frames,) float32, mono; fewer, or none, where the file ends before.
    Raises:
        AudioError: as in `stream`, as far as what is read shows it.
        ValueError: start or frames is negative.
    """
    if start < 0 or frames < 0:
        raise ValueError(f"read needs start >= 0 and frames >= 0, got start={start} frames={frames}")
    [samples] = stretches(path, [(start, frames)])
    return samples


def stretches(
    path: str | bytes, places: Iterable[tuple[int, int]], sample_rate: int | None = None, stereo: bool = False
) -> Iterator[Samples]:
    """Several stretches as `read` gives them, decoded in one pass; in memory are the one at hand and the one before.

    Args:
        places: (start, frames) of each, by start; they may overlap.
        sample_rate: what the catalog says of the file (Hz); None: not looked at.
        stereo: keep the channels of a file that has two.
    Yields:
        (frames,) float32, mono, or (frames, 2).
    Raises:
        AudioError: as in `read`, and as in `clips` if the rate is another.
    """
    name = display_name(path)
    with _open(path) as decoder:
        if sample_rate is not None:
            _same(decoder, name, sample_rate)
        width = 2 if stereo and decoder.channels == 2 else 1
        fill = _flat(_sound(decoder, name), width)
        held, begin, drawn = _NOTHING, 0, 0  # values, `width` of them to a sample
        for start, frames in places:
            if start * width < drawn:
                held = held[start * width - begin :]
            else:
                held = _NOTHING
                if decoder.seek(start):
                    fill, drawn = _flat(_sound(decoder, name, start), width), start * width
                else:
                    drawn += skip(fill, start * width - drawn)
            begin = start * width
            if len(held) < frames * width and drawn == begin + len(held):  # else the file ended before
                held = take(fill, frames * width, held)
                drawn = begin + len(held)
            found = held[: frames * width]
            yield found.reshape(-1, 2) if width == 2 else found


def _same(decoder: _Decoder, name: str, sample_rate: int) -> None:
    if decoder.sample_rate != sample_rate:
        message = f"{name}: has {decoder.sample_rate} Hz, not the {sample_rate} Hz that it was scanned with"
        raise AudioError(message, "changed", "scan again: this is another file under the old name")


def _flat(fill: Fill, width: int) -> Fill:
    """A `fill` of (n, width) as one of interleaved values."""
    return fill if width == 1 else lambda out: width * fill(out.reshape(-1, width))


def clips(path: str | bytes, track_id: str, sample_rate: int, window: Window) -> Generator[Clip, None, int]:
    """A track's clips by the rules of `window`, decoded in one pass; in memory are the one at hand and the one before.

    Args:
        sample_rate: what the catalog says of the file (Hz).
    Yields:
        clips; `start` is k · hop, the samples begin at round(k · hop · sample_rate).
    Returns:
        the number of samples decoded, as the generator's value: see `truncated`.
    Raises:
        AudioError: as in `stream`; changed, if the file's rate is another than sample_rate.
    """
    name = display_name(path)
    with _open(path) as decoder:
        _same(decoder, name, sample_rate)
        return (yield from cut(_sound(decoder, name), track_id, sample_rate, window))


def resample(samples: Samples, from_rate: float, to_rate: float) -> Samples:
    """Sound at another rate, by soxr's HQ (aliases below -130 dB, linear phase, no delay).

    Args:
        samples: (n,) float32.
        from_rate, to_rate: Hz.
    Returns:
        (about n · to_rate / from_rate,) float32; samples themselves if the rates are equal.
    """
    if from_rate == to_rate or not len(samples):
        return samples
    resampled: Samples = soxr.resample(samples, from_rate, to_rate, quality="HQ")
    return resampled
