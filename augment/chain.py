"""Views: chains of augmentations drawn for a clip, applied, written down, and repeated.

Every draw has a generator of its own, seeded by the recipe's seed, the clip, the view, and the place of the augmentation in the
recipe (its name and which of that name it is). So draws depend neither on workers nor on order, and changing the parameters of
one augmentation leaves every view alone in which it takes no part.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from augment.augmentation import Augmentation, Draw, Scene, Sound, Unfit


@dataclass(frozen=True)
class Lineage:
    """How a view was made of its clip.

    sample_rate: at which it was made (Hz). samples: how many the clip had at that rate.
    steps: the draws in their order; in each, `samples` is how many there were after it.
    """

    sample_rate: int
    samples: int
    steps: tuple[Draw, ...] = ()

    def __str__(self) -> str:
        return json.dumps({"sample_rate": self.sample_rate, "samples": self.samples, "steps": self.steps}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Lineage:
        """From what `str` gave.

        Raises:
            ValueError: not a lineage.
        """
        try:
            said = json.loads(text)
            return cls(int(said["sample_rate"]), int(said["samples"]), tuple(said["steps"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"lineage {text[:60]!r}: not one that earmark wrote ({type(error).__name__}: {error})") from error

    def seconds(self) -> Iterator[tuple[Draw, float, float]]:
        """Each step with the seconds of sound before and after it."""
        before = self.samples
        for step in self.steps:
            yield step, before / self.sample_rate, step["samples"] / self.sample_rate
            before = step["samples"]

    @property
    def sound(self) -> float:
        """Seconds of the view's sound."""
        return (self.steps[-1]["samples"] if self.steps else self.samples) / self.sample_rate


def view_id(clip_id: str, lineage: str) -> str:
    """A view's identity: 20 hex digits of its clip and of what was done to it; equal for equal sounds.

    >>> view_id("ab", '{"steps":[]}') == view_id("ab", '{"steps":[]}') != view_id("cd", '{"steps":[]}')
    True
    """
    return hashlib.sha256(f"{clip_id} {lineage}".encode()).hexdigest()[:20]


def generator(seed: int, clip_id: str, view: int, place: str) -> np.random.Generator:
    """The generator of one draw.

    >>> bool(generator(1, "ab", 2, "Gain#0").integers(100) == generator(1, "ab", 2, "Gain#0").integers(100))
    True
    """
    digest = hashlib.sha256(f"{seed} {clip_id} {view} {place}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16])))


@dataclass(frozen=True)
class View:
    """A view of a clip. pending: the last draws, which are still to be done to `sound` on a GPU; the lineage has them already."""

    sound: Sound
    lineage: Lineage
    pending: tuple[Draw, ...] = ()


def augmented(chain: Sequence[Augmentation], sound: Sound, scene: Scene, seed: int, clip_id: str, view: int, defer: bool = False) -> View:
    """One view of a clip.

    Args:
        defer: leave the last draws pending, as far as a GPU can do them.
    Raises:
        Unfit: an augmentation that was drawn cannot be applied to this clip, or left samples that are no numbers.
    """
    steps: list[Draw] = []
    pending: list[Draw] = []
    rate, samples = sound.sample_rate, len(sound.samples)
    for augmentation, place in _drawn(chain, (seed, clip_id, view)):
        rng = generator(seed, clip_id, view, place)
        rng.random()  # the coin
        later = defer and augmentation.on_gpu
        while pending and not later:  # before the draw, which may measure the samples
            sound = _done(pending.pop(0), sound, scene)
        draw = {"use": type(augmentation).__name__, **augmentation.draw(rng, sound, scene)}
        if later:
            pending.append(draw)
        else:
            sound = _done(draw, sound, scene)
        steps.append({**draw, "samples": len(sound.samples)})
    return View(sound, Lineage(rate, samples, tuple(steps)), tuple(pending))


def replay(lineage: Lineage, sound: Sound, scene: Scene) -> Sound:
    """The same view once more, from its clip at the lineage's rate.

    Raises:
        ValueError: the sound is not the one that the lineage began with.
        Unfit: as in `augmented`.
    """
    if (sound.sample_rate, len(sound.samples)) != (lineage.sample_rate, lineage.samples):
        raise ValueError(
            f"replay needs {lineage.samples} samples at {lineage.sample_rate} Hz, got {len(sound.samples)} at {sound.sample_rate} Hz"
        )
    for step in lineage.steps:
        sound = _done(step, sound, scene)
    return sound


def places(chain: Sequence[Augmentation], within: str = "") -> Iterator[tuple[Augmentation, str]]:
    """Each augmentation with the name of its place, which others of another kind do not shift."""
    counts: Counter[str] = Counter()
    for augmentation in chain:
        name = type(augmentation).__name__
        yield augmentation, f"{within}{name}#{counts[name]}"
        counts[name] += 1


def _drawn(chain: Sequence[Augmentation], key: tuple[int, str, int], within: str = "") -> Iterator[tuple[Augmentation, str]]:
    """The augmentations whose coins fell for this view, and their places."""
    from augment.choice import Chain

    for augmentation, place in places(chain, within):
        rng = generator(*key, place)
        # The coin is thrown first, so that other parameters leave it as it fell.
        if rng.random() < augmentation.p:
            if isinstance(augmentation, Chain):
                yield from _drawn(augmentation.chosen(rng), key, f"{place}/")
            else:
                yield augmentation, place


def _done(draw: Draw, sound: Sound, scene: Scene) -> Sound:
    from augment import AUGMENTATIONS

    kinds = {each.__name__: each for each in AUGMENTATIONS}
    if draw.get("use") not in kinds:
        raise ValueError(f"lineage: no augmentation {draw.get('use')!r}; there are {', '.join(sorted(kinds))}")
    after = kinds[draw["use"]].audio(sound, draw, scene)
    if not len(after.samples):
        raise Unfit(f"{draw['use']} leaves no sound", "no samples", "narrow its range")
    # One pass: a sum is finite only if all that is summed is, short of overflow, which is looked at again.
    with np.errstate(over="ignore", invalid="ignore"):
        total = after.samples.sum()
    if not np.isfinite(total) and not np.isfinite(after.samples).all():
        raise Unfit(f"{draw['use']} gave samples that are no numbers", "not finite", "narrow its range")
    return after


def identity(seed: int, views: int, sample_rate: int, chain: Sequence[Augmentation]) -> dict[str, Any]:
    """All that determines the views of a clip."""
    return {"seed": seed, "views": views, "sample_rate": sample_rate, "augment": [each.identity() for each in chain]}
