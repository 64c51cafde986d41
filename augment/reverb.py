"""Impulse responses: users' files, or rooms that are made up."""

from __future__ import annotations

import glob
import hashlib
import os
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from augment.augmentation import Draw, Samples, Scene, Sound, Unfit, ordered, uniform
from augment.files import Listing, listing, reading
from augment.rooms import SMALLEST, place, room
from augment.timbre import POOL, Timbre, rms
from extractors.uri import printable, to_path

_ONSET = 0.1  # of the strongest sample: 20 dB below it
_ROOM_FIELDS = ("rt60_low", "rt60_high", "side_low_metres", "side_high_metres")


class Recorded(NamedTuple):
    """A user's impulse response. sha256: of the file's bytes. samples: at the rate asked for, from its direct sound on."""

    sha256: str
    samples: Samples


class ImpulseResponse(Timbre):
    """The clip as it sounds in a room: one that a user recorded (`files`), or one that is made up (without `files`).

    Direct sound comes at time 0, so that what is heard in the clip is heard at the same time in the view: a recorded response begins
    where it first rises to 20 dB below its peak. The clip keeps its length and its power (RMS); what rings on after its end is cut off.
    A response longer than the clip makes it unfit.
    Labels: unchanged.
    """

    use: Literal["ImpulseResponse"] = "ImpulseResponse"

    files: str = Field("", description="folder, file or pattern (/rooms/*.wav) of recorded impulse responses; if absent, rooms are made up")
    mix_low: float = Field(1.0, ge=0, le=1, description="share of the room's sound; the rest is the clip as it was")
    mix_high: float = Field(1.0, ge=0, le=1)
    rt60_low: float = Field(0.2, gt=0, le=20, description="seconds in which a made-up room's sound falls by 60 dB")
    rt60_high: float = Field(0.8, gt=0, le=20)
    side_low_metres: float = Field(2.5, ge=SMALLEST, le=200, description="of a made-up room's three sides")
    side_high_metres: float = Field(12.0, ge=SMALLEST, le=200)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        ordered("ImpulseResponse mix", self.mix_low, self.mix_high)
        ordered("ImpulseResponse rt60", self.rt60_low, self.rt60_high, 0)
        ordered("ImpulseResponse side", self.side_low_metres, self.side_high_metres, 0)
        if self.files and (stray := [name for name in _ROOM_FIELDS if getattr(self, name) != type(self).model_fields[name].default]):
            raise ValueError(
                f"ImpulseResponse takes its rooms from files={self.files!r}, where {', '.join(stray)} means nothing; leave it out"
            )
        return self

    @cached_property
    def found(self) -> Listing:
        """The files as this spec first saw them. They are pickled along, so that all workers draw from the same list."""
        return listed(self.files)

    def check(self) -> None:
        """Look for the files."""
        if self.files:
            try:
                listed(self.files)
            except (OSError, ValueError) as error:
                raise ValueError(f"ImpulseResponse.files: {error}") from error

    def identity(self) -> dict[str, Any]:
        """With names and sizes of the files."""
        return {**super().identity(), **({"found": self.found.digest()} if self.files else {})}

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """mix, and a file with its hash, or all that makes up a room.

        Raises:
            FileNotFoundError: the chosen file is no longer there.
            Unfit: it gives no sound.
        """
        mix = uniform(rng, self.mix_low, self.mix_high)
        if self.files:
            uri = self.found.uri(int(rng.integers(len(self.found.files))))
            return {"mix": mix, "uri": uri, "sha256": recorded(uri, sound.sample_rate).sha256}
        rt60 = uniform(rng, self.rt60_low, self.rt60_high)
        sides, source, microphone = place(rng, self.side_low_metres, self.side_high_metres)
        treble = uniform(rng, 0.4, 1.0)
        walls = {"sides": sides, "source": source, "microphone": microphone}
        return {"mix": mix, "rt60": rt60, **walls, "treble": treble, "offset": int(rng.integers(POOL))}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The sound in the room.

        Raises:
            FileNotFoundError: the file is no longer there.
            ValueError: it is another than when it was drawn.
            Unfit: it gives no sound, or lasts longer than the clip.
        """
        return sound.with_samples(reverberated(sound.samples, response(draw, sound.sample_rate, len(sound.samples))))


def response(draw: Draw, sample_rate: int, count: int) -> Samples:
    """The impulse response of a draw, with what is left dry: convolve, cut to the clip's length, scale to the clip's RMS.

    Args:
        count: samples of the clip.
    Raises:
        as ImpulseResponse.audio.
    """
    if "uri" in draw:
        wet = _as_drawn(draw["uri"], draw["sha256"], sample_rate)
        name = printable(to_path(draw["uri"]))
    else:
        walls = (draw["sides"], draw["source"], draw["microphone"])
        wet, name = room(draw["rt60"], *walls, draw["treble"], draw["offset"], sample_rate), f"ImpulseResponse rt60={draw['rt60']:g}"
    if len(wet) > count:
        message = f"{name}: {len(wet) / sample_rate:.3g} s are longer than the clip of {count / sample_rate:.3g} s"
        raise Unfit(message, "too short", "leave clips that short out (window.min_seconds), or take shorter responses")
    energy = float(np.sqrt(np.sum(np.square(wet, dtype=np.float64))))
    mixed = wet * np.float32(draw["mix"] / energy)
    mixed[0] += np.float32(1 - draw["mix"])
    return mixed


def reverberated(samples: Samples, response: Samples) -> Samples:
    """Samples convolved with a response, as long and as loud (RMS) as before.

    >>> reverberated(np.array([1, -1, 1], np.float32), np.array([-2], np.float32)).round(3).tolist()
    [-1.0, 1.0, -1.0]
    """
    heard = convolved(samples, response)
    before, after = rms(samples), rms(heard)
    heard *= np.float32(before / after if after else 0)
    return heard


def convolved(samples: Samples, response: Samples) -> Samples:
    """The first len(samples) samples of the convolution, by overlap-save in blocks that stay in the cache.

    >>> convolved(np.array([1, 2, 3], np.float32), np.array([1, 1], np.float32)).round(3).tolist()
    [1.0, 3.0, 5.0]
    """
    from scipy import fft

    before = len(response) - 1
    block = min(max(1 << 15, 1 << (5 * len(response) // 2).bit_length()), fft.next_fast_len(len(samples) + before, real=True))
    step = block - before
    blocks = -(-len(samples) // step)
    padded = np.zeros(before + blocks * step, np.float32)
    padded[before : before + len(samples)] = samples
    transfer = fft.rfft(response, block)
    out = np.empty(blocks * step, np.float32)
    for start in range(0, blocks * step, step):
        spectrum = fft.rfft(padded[start : start + block])
        spectrum *= transfer
        out[start : start + step] = fft.irfft(spectrum, block, overwrite_x=True)[before:]
    return out[: len(samples)]


def listed(files: str) -> Listing:
    """What a folder, a file or a pattern names.

    Raises:
        FileNotFoundError: nothing.
        OSError: a folder cannot be read.
    """
    path = os.path.abspath(to_path(files))
    if os.path.isdir(path):
        return listing(files)
    matches = [path] if os.path.isfile(path) else sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
    if not matches:
        raise FileNotFoundError(f"{printable(files)}: no such folder, file or pattern; name one that holds impulse responses")
    folder = os.path.dirname(matches[0]) if len(matches) == 1 else os.path.commonpath([os.path.dirname(each) for each in matches])
    return Listing(folder, tuple((os.path.relpath(each, folder), os.path.getsize(each)) for each in matches))


@lru_cache(maxsize=64)  # three seconds at 44.1 kHz are half a megabyte
def recorded(uri: str, sample_rate: int) -> Recorded:
    """A user's impulse response, read, resampled and cut to begin with its direct sound. Kept as it was when first read.

    Raises:
        OSError: the file is no longer there, or cannot be read.
        Unfit: it gives no sound.
    """
    from extractors import audio

    path = to_path(uri)
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with reading(uri):
        info = audio.probe(path)
        samples = audio.read(path, 0, round((info.seconds + 1) * info.sample_rate))
    samples = audio.resample(samples, info.sample_rate, sample_rate)
    strength = np.abs(samples)
    if not len(strength) or not strength.max() > 0:
        raise Unfit(f"{printable(path)}: an impulse response without sound", "silent", "take it out of its folder")
    samples = samples[int(np.argmax(strength >= _ONSET * strength.max())) :].copy()
    samples.flags.writeable = False
    return Recorded(sha256, samples)


def _as_drawn(uri: str, sha256: str, sample_rate: int) -> Samples:
    found = recorded(uri, sample_rate)
    if found.sha256 != sha256:
        recorded.cache_clear()  # the right file may have come back since
        found = recorded(uri, sample_rate)
    if found.sha256 != sha256:
        message = f"{printable(to_path(uri))}: another file than was drawn (SHA-256 {found.sha256[:12]}, not {sha256[:12]})"
        raise ValueError(f"{message}; put the old one back")
    return found.samples
