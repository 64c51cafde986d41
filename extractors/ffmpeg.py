"""Ogg, M4A and whatever libsndfile does not open, decoded by FFmpeg.

Files are handed over as descriptors, so any name will do, and nothing that a file contains can make FFmpeg open another.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from fractions import Fraction
from typing import Any

import av
import numpy as np

from extractors.containers import AudioError, AudioInfo, mp3_is_complete, ogg_is_complete
from extractors.cutting import Samples
from extractors.decoder import BLOCK, put

_HELD = 4096  # samples kept back at the end of an M4A, whose last frame is longer than the sound
_OPENING = 256 << 10  # kilobytes that FFmpeg may take to open a file whose headers claim much
_DENSEST = 8192  # samples in a byte: silence in FLAC's longest blocks has 6,554
_DEMUXERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpegts,ogg,tak,tta,w64,wav,wv"


def _container(descriptor: int) -> Any:
    os.lseek(descriptor, 0, os.SEEK_SET)
    options = {"fd": str(descriptor), "protocol_whitelist": "fd", "format_whitelist": _DEMUXERS}
    return av.open("fd:", options=options, metadata_errors="replace")  # titles in Latin-1 are no reason to refuse


def opens_within_bounds(descriptor: int) -> bool:
    """Whether FFmpeg opens a suspicious file with little memory and time, tried where nothing else is lost."""
    program = f"from extractors.ffmpeg import _open_bounded; _open_bounded({descriptor})"
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


def possible(seconds: float, descriptor: int, sample_rate: int) -> float:
    """The length that a header declares, or the packets' where its bytes could not hold so much."""
    most = _DENSEST * os.fstat(descriptor).st_size / sample_rate
    return seconds if seconds <= most else min(_counted_seconds(descriptor), most)


class FFmpeg:
    """
    Raises:
        AudioError: FFmpeg cannot open it, or finds no sound in it.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        try:
            self._input = _container(descriptor)
        except av.FFmpegError as error:
            raise AudioError(str(error)) from error
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
        length = possible(float(seconds), self._descriptor, self.sample_rate)
        check = {"ogg": ogg_is_complete, "mp3": mp3_is_complete}.get(self._input.format.name)
        complete = check is None or check(self._descriptor, self._size)
        return AudioInfo(name, length, self.sample_rate, self.channels, complete)

    def fill(self, out: Samples) -> int:
        done = 0
        while done < len(out):
            wanted = min(len(out) - done, BLOCK // 16)
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
            put(channels, out[done : done + frames])
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
