"""The views of a clip: the stretch untouched, and what a recipe's augmentations make of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from augment.augmentation import Recording, Scene, Sound, Unfit
from augment.chain import Lineage, augmented, replay
from augment.mix import read_stretch
from extractors.clip import Clip, clip_id
from extractors.uri import open_local
from pipelines.recipe import Recipe


class ResourceError(RuntimeError):
    """A file that augmentations need is gone."""


@contextmanager
def needed_files() -> Iterator[None]:
    """For work that reads files which augmentations name: if they fail, it is no clip's fault, and the shard is made another time.

    Raises:
        ResourceError: a file is gone or cannot be read.
    """
    try:
        yield
    except OSError as error:
        what = f"{error.filename!r}: {error.strerror}" if error.filename else str(error)
        raise ResourceError(f"augment: {what}; restore it and give the same command again") from error


@dataclass
class Unmade:
    """Views of one track that could not be made, by cause: how many, the first one's message and remedy."""

    causes: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, error: Unfit, view: int, start: float) -> None:
        """Note one."""
        self.causes.setdefault(error.kind, [0, f"view {view} of the clip at {start:g} s: {error}", error.remedy])[0] += 1

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """One (cause, message, remedy), or none."""
        if self.causes:
            messages = [first + (f" (and {count - 1} more)" if count > 1 else "") for count, first, _ in self.causes.values()]
            yield next(iter(self.causes)), "; ".join(messages), "; ".join(dict.fromkeys(each[2] for each in self.causes.values()))


def views(clip: Clip, track: Mapping[str, Any], recipe: Recipe, around: Scene, unmade: Unmade, defer: bool = False) -> Iterator[Clip]:
    """View 0, then the others that the recipe asks for; one that cannot be made is noted in `unmade` and left out.

    Args:
        around: the shard's tracks.
        defer: leave the last draws pending, as far as a GPU can do them.
    """
    untouched = str(Lineage(clip.sample_rate, len(clip.samples)))
    yield replace(clip, lineage=untouched, peak=peak(clip.samples))
    if recipe.views.count == 1:
        return
    from extractors.audio import resample

    rate = recipe.views.sample_rate or clip.sample_rate
    sound = Sound(resample(clip.samples, clip.sample_rate, rate), rate)
    seconds = len(clip.samples) / clip.sample_rate
    scene = replace(around, track_id=clip.track_id, uri=track["uri"], start=clip.start, seconds=seconds)
    name = clip_id(clip.track_id, clip.start, recipe.window.length)
    for view in range(1, recipe.views.count):
        try:
            with needed_files():
                made = augmented(recipe.augment, sound, scene, recipe.seed, name, view, defer)
        except Unfit as error:
            unmade.add(error, view, clip.start)
            continue
        if not made.lineage.steps:  # every coin fell the other way: this is view 0 again, at the track's own rate
            yield replace(clip, view=view, lineage=untouched, peak=peak(clip.samples))
            continue
        heard, lineage = made.sound, str(made.lineage)
        yield Clip(clip.track_id, clip.start, rate, heard.samples, view, lineage, heard.masks, peak(heard.samples), made.pending)


def neighbours(rows: Sequence[Mapping[str, Any]], without: Iterable[str]) -> Scene:
    """A shard's tracks as what may be mixed in, but for those that are known to end their worker."""
    others = tuple(Recording(row["track_id"], row["uri"], row["seconds"], row["sample_rate"]) for row in rows)
    return Scene(others=others, read=read_stretch, without=frozenset(without))


def peak(samples: npt.NDArray[np.float32]) -> float:
    """The largest absolute sample."""
    return max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0


def heard_again(track: Mapping[str, Any], start: float, lineage: Lineage, window: float | None) -> Sound:
    """The sound of a view that was made before, from its recording.

    Args:
        track: its row in the catalogue. start, window: seconds of the clip.
    Raises:
        AudioError, OSError: a recording cannot be read any more.
        ValueError: it is not the recording that the view was made of.
    """
    from extractors.audio import read, resample

    rate = track["sample_rate"]
    with open_local(track["uri"]) as path:
        if (size := os.stat(path).st_size) != track["bytes"]:
            raise ValueError(f"{track['uri']!r}: {size} bytes where the scan saw {track['bytes']}: another recording now; scan again")
        samples = read(path, round(start * rate), round((track["seconds"] + 1 if window is None else window) * rate))
    sound = Sound(resample(samples, rate, lineage.sample_rate), lineage.sample_rate)
    return replay(lineage, sound, Scene(track["track_id"], track["uri"], start, len(samples) / rate, (), read_stretch))
