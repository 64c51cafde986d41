"""Sound out of files: mono float32 at the file's own rate, sample for sample the same however it is read.

libsndfile (soundfile) decodes MP3, FLAC, WAV, AIFF and its other formats. FFmpeg (PyAV) decodes Ogg, where it is two to three times as
fast, and what libsndfile cannot open: M4A, AAC, ALAC, WebM, WMA, … What a file is shows in its bytes, never in its name.

Encoder delay is cut off wherever the file tells it: LAME's tag in MP3, pre-skip in Opus, the edit list (or iTunSMPB) in M4A. What was at
sample n before encoding is at sample n after decoding. Two kinds of file do not tell: raw AAC (ADTS) comes 1024 samples late or more, MP3
without the tag (LAME leaves it out at the lowest bit rates, editors cut it off) 1105 behind LAME.

A read that fails is an error and never the end of a file (`prefetch.py`), but for files of more than 256 MB that are neither FLAC nor
uncompressed.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import soxr

from extractors.clip import Clip, Window
from extractors.comments import modest_comments
from extractors.containers import AudioError, AudioInfo, display_name, open_file, suits_libsndfile, tells_of_reads, truncated
from extractors.cutting import Fill, Samples, cut, skip, take
from extractors.decoder import BLOCK, Decoder
from extractors.ffmpeg import FFmpeg, opens_within_bounds
from extractors.libsndfile import Libsndfile
from extractors.mp4 import modest_tables
from extractors.prefetch import hold

__all__ = ["AudioError", "AudioInfo", "clips", "probe", "read", "resample", "stream", "stretches", "truncated"]

_NOTHING: Samples = np.empty(0, np.float32)
_RATES = range(1000, 1_048_577)  # Hz; a file that says 1 would be four months of sound in ten megabytes


@contextmanager
def _open(path: str | bytes) -> Iterator[Decoder]:
    name = display_name(path)
    descriptor, size = open_file(path)
    try:
        decoder = _decoder(descriptor, size)
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
    except OSError as error:
        message = f"{name}: cannot be read: {error.strerror or error}"
        raise AudioError(message, "unreadable", "check the disk that it lies on") from error
    finally:
        os.close(descriptor)


def _decoder(descriptor: int, size: int) -> Decoder | None:
    """
    Raises:
        OSError: the file cannot be read.
    """
    tells = tells_of_reads(descriptor)
    is_held = not tells and hold(descriptor, size)
    if not modest_comments(descriptor):
        return None
    if suits_libsndfile(descriptor, size):
        try:
            return Libsndfile(descriptor, size, is_held)
        except AudioError:
            pass
    if tells:
        hold(descriptor, size)
    if not modest_tables(descriptor, size) and not opens_within_bounds(descriptor):
        return None
    try:
        return FFmpeg(descriptor, size)
    except AudioError:
        return None


def _sound(decoder: Decoder, name: str, drawn: int = 0) -> Fill:
    """The decoder's `fill` from sample `drawn` on, minding that there is sound and that every sample is a number."""

    def fill(out: Samples) -> int:
        nonlocal drawn
        filled = 0
        while filled < len(out):
            # In pieces, to look at them while they are still in the cache.
            piece = out[filled : filled + BLOCK // 2]
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


def _same(decoder: Decoder, name: str, sample_rate: int) -> None:
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
