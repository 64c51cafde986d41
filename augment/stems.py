"""Remix: the stems of a track, summed anew with other levels, some of them left out and some played by another track."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from augment.augmentation import Augmentation, Change, Draw, Guest, Samples, Scene, Sound, Unfit, ordered, uniform
from augment.choice import Chain, OneOf
from augment.files import reading
from augment.mix import read_stretch
from augment.timbre import SILENT, ratio, rms
from extractors.uri import is_local, is_uri, printable, to_path, to_uri

_TRIES = 16  # other tracks among which a stem of the same name is looked for
_SLACK = 0.05  # seconds by which a stem's length may differ from its track's: encoders fill up the last frame
_ALIKE = 0.7  # least correlation of a clip with the sum of its stems; strangers that lie in one folder are at 0


class Remix(Augmentation):
    """The sum of a track's stems in place of the track: each at a level of its own, some left out, some played by another track.

    Stems are files of the track's length that together sound like it. A track of this machine without them stays as it is, and so
    does any remote track. Remix has to come first, as it begins again from the stems: see `remix_leads`.

    Labels: those that name a stem which was left out or exchanged go, and those that name it where it comes from join; those that
    speak of all that sounds are refused if any was.
    """

    use: Literal["Remix"] = "Remix"

    stems: str = Field(
        min_length=1,
        description='where stems lie, seen from their track\'s folder: "*.wav", "{name}/*.flac" ({name}: the track\'s file, no suffix)',
    )
    low_db: float = Field(-6.0, ge=-60, le=60, description="level of a stem (dB), at the least")
    high_db: float = Field(6.0, ge=-60, le=60, description="at the most")
    p_drop: float = Field(0.0, ge=0, le=1, description="probability that a stem is left out; one always stays")
    p_swap: float = Field(0.0, ge=0, le=1, description="probability that another track plays it, from its stem of the same name")

    @field_validator("stems")
    @classmethod
    def _relative(cls, stems: str) -> str:
        if os.path.isabs(stems) or is_uri(stems):
            raise ValueError(f'Remix.stems begins at the folder of each track, as in "*.wav" or "{{name}}/*.wav", got {stems!r}')
        return stems

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        ordered("Remix", self.low_db, self.high_db)
        return self

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Choose levels, and which stems are left out or exchanged. Other tracks that cannot be read are passed over.

        Raises:
            FileNotFoundError: a stem went away meanwhile.
        """
        found = _stems(scene.uri, self.stems)
        if not found:
            return {"stems": []}
        _untouched(sound, scene)
        whole: list[Draw] = [{"name": name, "uri": uri, "start": scene.start, "gain_db": 0.0} for name, uri in found]
        if not _alike(sound.samples, _sum(whole, sound)):
            return {"stems": []}
        # Stems of one name go together: with one of them still heard, nobody could say whose labels are gone.
        names = list(dict.fromkeys(name for name, _ in found))
        dropped = rng.random(len(names)) < self.p_drop
        dropped[rng.integers(len(names))] &= not dropped.all()
        gone = [name for name, drop in zip(names, dropped, strict=True) if drop]
        swapped = rng.random(len(found)) < self.p_swap
        stems = []
        for stem, swap in zip(whole, swapped, strict=True):
            stem["gain_db"] = uniform(rng, self.low_db, self.high_db)
            if stem["name"] not in gone:
                stems.append(stem | (self._of_another(stem["name"], rng, sound, scene) if swap else {}))
        return {"stems": stems, "gone": gone}

    def _of_another(self, name: str, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Where another track's stem of this name is read; nothing if there is none."""
        total = len(scene.others)
        for index in rng.choice(total, min(total, _TRIES), replace=False) if total else ():
            other = scene.others[int(index)]
            spare = int((other.seconds - _SLACK - sound.seconds) * 1000)
            if other.track_id == scene.track_id or other.track_id in scene.without or spare < 0:
                continue
            try:
                for uri in (uri for found, uri in _stems(other.uri, self.stems) if found == name):
                    start = int(rng.integers(spare + 1)) / 1000
                    _read(uri, start, sound)
                    return {"uri": uri, "start": start, "track_id": other.track_id, "seconds": sound.seconds}
            except (FileNotFoundError, Unfit):
                continue
        return {}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The sum over the clip's stretch.

        Raises:
            FileNotFoundError: a stem is no longer there.
        """
        if not draw["stems"]:
            return sound
        _untouched(sound, scene)
        total = _sum(draw["stems"], sound)
        if rms(total) < SILENT <= rms(sound.samples):
            kept = ", ".join(stem["name"] for stem in draw["stems"])
            raise Unfit(f"Remix leaves silence: of the stems, {kept} would be heard here", "silent", "lower p_drop or p_swap")
        return sound.with_samples(total)

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """What is heard no longer, and what is another's."""
        gone = tuple(draw.get("gone", ()))
        lent = [stem for stem in draw["stems"] if "track_id" in stem]
        guests = tuple(Guest(stem["track_id"], stem["start"], stem["seconds"]) for stem in lent)
        return Change(timbre=bool(draw["stems"]), guests=guests, gone=gone, swapped=tuple(dict.fromkeys(stem["name"] for stem in lent)))

    def extremes(self) -> tuple[Change, ...]:
        """Levels alone, and with stems left out or exchanged, whatever their names are."""
        most = Change(timbre=True, gone=("any stem",) if self.p_drop else (), swapped=("any stem",) if self.p_swap else ())
        return tuple(dict.fromkeys((Change(timbre=True), most)))


def remix_leads(chain: Sequence[Augmentation], first: bool = True) -> None:
    """See that nothing comes before a Remix, in chains within the chain either.

    Args:
        first: whether nothing comes before the chain itself.
    Raises:
        ValueError: something does.
    """
    for each in chain:
        if isinstance(each, Remix) and not first:
            raise ValueError("Remix has to come first: it begins again from the stems, and what was done to the clip before would be lost")
        if isinstance(each, OneOf):
            for child in each.of:
                remix_leads([child], first)
        elif isinstance(each, Chain):
            remix_leads(each.of, first)
        first = False


def _stems(uri: str, pattern: str) -> list[tuple[str, str]]:
    """Name and uri of a track's stems, sorted by where they lie.

    Raises:
        FileNotFoundError: a file went away meanwhile.
        Unfit: a file that matches gives no sound, or its end is missing. Without it the others would be no stems of this track.
    """
    from extractors.audio import probe

    if not uri or not is_local(uri):
        return []
    track = to_path(uri)
    if not os.path.isfile(track):  # a later scan saw it elsewhere
        return []
    folder, file = os.path.split(track)
    places = sorted(glob.glob(pattern.replace("{name}", glob.escape(os.path.splitext(file)[0])), root_dir=folder))
    paths = [
        path for path in (os.path.join(folder, place) for place in places) if os.path.isfile(path) and not os.path.samefile(path, track)
    ]
    found = []
    with reading(uri):
        seconds = probe(track).seconds if paths else 0.0
    for path in paths:
        with reading(path):
            stem = probe(path)
        if not stem.complete:
            raise _cut_off(path)
        if abs(stem.seconds - seconds) <= _SLACK:
            found.append((printable(os.path.splitext(os.path.basename(path))[0].lower()), to_uri(path)))
    return found


def _sum(stems: Sequence[Draw], sound: Sound) -> Samples:
    total = np.zeros_like(sound.samples)
    for stem in stems:
        total += np.float32(ratio(stem["gain_db"])) * _read(stem["uri"], stem["start"], sound)
    return total


def _read(uri: str, start: float, sound: Sound) -> Samples:
    """As much of a stem as there is of the sound."""
    samples = np.zeros_like(sound.samples)
    with reading(uri):
        stretch = read_stretch(uri, start, sound.seconds, sound.sample_rate)[: len(samples)]
    if len(stretch) < len(samples) - 2 * _SLACK * sound.sample_rate:
        raise _cut_off(to_path(uri))
    samples[: len(stretch)] = stretch
    return samples


def _cut_off(path: str) -> Unfit:
    return Unfit(f"{printable(path)}: ends before its time", "truncated", "copy the stem again from its source")


def _untouched(sound: Sound, scene: Scene) -> None:
    if abs(sound.seconds - scene.seconds) > 0.001:
        message = f"Remix needs the clip as it is in its track, {scene.seconds:.3f} s, got {sound.seconds:.3f} s"
        raise Unfit(message, "length", "put Remix before all that changes the length")


def _alike(one: Samples, other: Samples) -> bool:
    """Whether two sounds of one length are correlated; nothing is like silence."""
    product = np.multiply(one, other, dtype=np.float64).mean()
    return min(rms(one), rms(other)) >= SILENT and bool(product >= _ALIKE * rms(one) * rms(other))
