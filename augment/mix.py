"""Other recordings added to a clip: as a background, or as a second sound whose labels join."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from augment.augmentation import Augmentation, Change, Draw, Guest, Read, Samples, Scene, Sound, Unfit, ordered, uniform
from augment.files import Listing, listing, reading
from augment.timbre import SILENT, ratio, rms
from extractors.containers import AudioError
from extractors.uri import open_local, printable, to_path

_TRIES = 3  # other tracks that are tried, so that one broken file does not cost a clip its view

# What `draw` has read, for the `audio` that follows it, so that nothing is decoded twice: one stretch for each thread, taken away by use.
_kept = threading.local()


def read_stretch(uri: str, start: float, seconds: float, sample_rate: int) -> Samples:
    """A stretch of any recording, at any rate: what `Scene.read` is.

    Args:
        uri: a path or URI; a remote file is fetched whole. start, seconds: sample-exact at the file's own rate.
        sample_rate: Hz of what is returned.
    Returns:
        (about seconds * sample_rate,) float32, mono; fewer where the recording ends before.
    Raises:
        AudioError: the file gives no sound. OSError: it cannot be fetched.
    """
    from extractors import audio

    with open_local(uri) as path:
        own = audio.probe(path).sample_rate
        samples = audio.read(path, round(start * own), round(seconds * own))
    return audio.resample(samples, own, sample_rate)


class _Added(Augmentation):
    """What both have: a level."""

    snr_low_db: float = Field(ge=-60, le=100, description="dB by which the clip is louder than what is added, by RMS, at the least")
    snr_high_db: float = Field(ge=-60, le=100, description="at the most")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        ordered(type(self).__name__, self.snr_low_db, self.snr_high_db)
        return self


class AddBackground(_Added):
    """Another recording behind the clip: of a user's folder, or another track of the store.

    A recording that is shorter than the clip is repeated from its start.

    Labels: unchanged: they speak of the clip, and what is in the background has none.
    """

    use: Literal["AddBackground"] = "AddBackground"

    folder: str = Field("", description="where recordings are, in folders below it too; if absent, other tracks are taken")

    @cached_property
    def files(self) -> Listing:
        """The folder as this spec first saw it. It is pickled along, so that all workers draw from the same list."""
        return listing(self.folder)

    def check(self) -> None:
        """Look into the folder."""
        if self.folder:
            try:
                listing(self.folder)
            except (OSError, ValueError) as error:
                raise ValueError(f"AddBackground.folder: {error}") from error

    def identity(self) -> dict[str, Any]:
        """With names and sizes of the folder's files."""
        return {**super().identity(), **({"files": self.files.digest()} if self.folder else {})}

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Choose a recording, where in it to begin, and the level.

        Raises:
            FileNotFoundError: the chosen file of the folder is no longer there.
        """
        snr_db = uniform(rng, self.snr_low_db, self.snr_high_db)
        if not self.folder:
            return {**_other(self, rng, sound, scene), "snr_db": snr_db}
        from extractors.audio import probe

        uri = self.files.uri(int(rng.integers(len(self.files.files))))
        with reading(uri):
            return {**_stretch(rng, uri, probe(to_path(uri)).seconds, sound, read_stretch), "snr_db": snr_db}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The sum.

        Raises:
            FileNotFoundError: the folder's file is no longer there.
            AudioError, OSError: the other track cannot be read.
        """
        if "track_id" in draw:
            background = _taken(draw, sound, scene.read)
        else:
            with reading(draw["uri"]):
                background = _taken(draw, sound, read_stretch)
        return _sum(cls.__name__, sound, np.resize(background, len(sound.samples)), draw["snr_db"])

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """Colour only."""
        return Change(timbre=True)

    def extremes(self) -> tuple[Change, ...]:
        """One kind of change."""
        return (Change(timbre=True),)


class Mix(_Added):
    """A stretch of another track and the clip at once.

    A track that is shorter than the clip sounds once, from the view's beginning; its level is measured where it sounds.

    Labels: united, each with its own source; what speaks of the whole sound is refused unless both agree.
    """

    use: Literal["Mix"] = "Mix"

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Choose a track, where in it to begin, and the level."""
        snr_db = uniform(rng, self.snr_low_db, self.snr_high_db)
        return {**_other(self, rng, sound, scene), "snr_db": snr_db}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The sum.

        Raises:
            AudioError, OSError: the other track cannot be read.
        """
        return _sum(cls.__name__, sound, _taken(draw, sound, scene.read), draw["snr_db"])

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """A guest."""
        return Change(guests=(Guest(draw["track_id"], draw["start"], draw["seconds"]),))

    def extremes(self) -> tuple[Change, ...]:
        """One kind of change; whose labels join is not known before."""
        return (Change(guests=(Guest("", 0.0, 0.0),)),)


def _other(spec: Augmentation, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
    """A stretch of another track: of the first in a random order that can be read and is not silent there."""
    name, total = type(spec).__name__, len(scene.others)
    # One more than are tried, as the clip's own track may be among them.
    order = rng.choice(total, min(total, _TRIES + 1), replace=False) if total else ()
    shunned = {scene.track_id, *scene.without}
    candidates = [each for each in (scene.others[int(index)] for index in order) if each.track_id not in shunned][:_TRIES]
    if not candidates:
        raise Unfit(f"{name} needs another track, and there is none", "no other track", f"scan more recordings, or take {name} out")
    for each in candidates:
        try:
            return {"track_id": each.track_id, **_stretch(rng, each.uri, each.seconds, sound, scene.read)}
        except (AudioError, FileNotFoundError, Unfit) as error:
            failed = error
    message = f"{name}: of other tracks, {len(candidates)} were tried, and none has sound to add; the last: {failed}"
    raise Unfit(message, "no other track", "repair these files and scan again") from failed


def _stretch(rng: np.random.Generator, uri: str, seconds: float, sound: Sound, read: Read) -> Draw:
    """Where to begin in a recording of so many seconds: in whole milliseconds, so that a stretch as long as the sound fits."""
    wanted = min(sound.seconds, seconds)
    start = int(rng.integers(int((seconds - wanted) * 1000) + 1)) / 1000
    samples = read(uri, start, wanted, sound.sample_rate)
    if len(samples) + 1 < int(wanted * sound.sample_rate):  # the file ends before the time that its header states
        wanted = len(samples) / sound.sample_rate
        samples = read(uri, start, wanted, sound.sample_rate)
    if rms(samples) < SILENT:
        message = f"{printable(uri)}: silent from {start:g} to {start + wanted:g} s, so that nothing can be added at an SNR"
        raise Unfit(message, "silent", "take recordings out that are silent for long")
    _kept.stretch = read, sound.sample_rate, uri, start, wanted, samples
    return {"uri": uri, "start": start, "seconds": wanted}


def _taken(draw: Draw, sound: Sound, read: Read) -> Samples:
    """The stretch that a draw names: as `draw` has just read it, or read now."""
    uri, start, seconds = draw["uri"], draw["start"], draw["seconds"]
    kept = _kept.__dict__.pop("stretch", None)
    if kept is not None and kept[:-1] == (read, sound.sample_rate, uri, start, seconds):
        return cast(Samples, kept[-1])
    return read(uri, start, seconds, sound.sample_rate)


def _sum(name: str, sound: Sound, other: Samples, snr_db: float) -> Sound:
    other = other[: len(sound.samples)]
    level, others = rms(sound.samples), rms(other)
    if min(level, others) < SILENT:
        what = "the clip" if level < SILENT else "what would be added"
        raise Unfit(f"{name}: {what} is silent, so that there is no SNR", "silent", f"leave the clip out, or take {name} out")
    mixed = sound.samples.copy()
    mixed[: len(other)] += np.float32(level / (others * ratio(snr_db))) * other
    return sound.with_samples(mixed)
