"""What every augmentation is: a frozen spec that draws parameters, and what a draw does to sound and to labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from extractors.clip import Mask

Samples = npt.NDArray[np.float32]

# One draw: `use` and the parameters, JSON through and through, and enough to repeat it without the spec that drew it.
Draw = dict[str, Any]


class Unfit(ValueError):
    """A clip that an augmentation cannot be applied to: the view is left out and named in `rejects`.

    kind: a short cause ("silent", "too short"). remedy: what to change.
    """

    def __init__(self, message: str, kind: str = "unfit", remedy: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.kind, self.remedy)


@dataclass(frozen=True)
class Sound:
    """Mono sound on its way through a chain.

    samples: (n,) float32; never written to: an augmentation gives new ones.
    masks: what the log-mel front end is to hide (SpecAugment).
    """

    samples: Samples
    sample_rate: int
    masks: tuple[Mask, ...] = ()

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / self.sample_rate

    def with_samples(self, samples: Samples) -> Sound:
        """The same with other samples."""
        return replace(self, samples=samples)


@dataclass(frozen=True)
class Recording:
    """Another track that can be mixed in. uri: where it is read from; seconds: its length."""

    track_id: str
    uri: str
    seconds: float
    sample_rate: int


# (uri, start s, seconds, sample_rate) to (n,) float32 mono; fewer samples where the recording ends before.
# Raises extractors.audio.AudioError or OSError.
Read = Callable[[str, float, float, int], Samples]


def _unreadable(uri: str, start: float, seconds: float, sample_rate: int) -> Samples:
    raise ValueError(f"{uri!r}: nothing to read other recordings with; give Scene a read")


@dataclass(frozen=True)
class Scene:
    """What surrounds a clip: where it lies, and the recordings around it.

    uri: of the clip's own track. start, seconds: of the clip in its track.
    others: tracks that may be mixed in, in a fixed order, the clip's own among them or not.
    without: track_ids of those that are passed over, as they end whoever reads them; they stay in `others`, so that draws stay as they are.
    read: reads a stretch of any recording.
    """

    track_id: str = ""
    uri: str = ""
    start: float = 0.0
    seconds: float = 0.0
    others: Sequence[Recording] = ()
    read: Read = field(default=_unreadable, compare=False)
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Guest:
    """A stretch of another track that was mixed in: its labels join. at: seconds of the view where it begins."""

    track_id: str
    start: float
    seconds: float
    at: float = 0.0


@dataclass(frozen=True)
class Change:
    """What one draw means for labels. Times after = times before / rate, turned round if mirrored, + offset.

    rate: × speed (2: twice as fast). offset: seconds; negative where the beginning was cut off.
    semitones: how much higher everything sounds.
    timbre: the sound's colour, level, room or noise changed: times and pitches did not.
    guests: whose labels join. A change with guests is a mixture of labelled sounds.
    gone: names of stems that are no longer heard. swapped: names of stems that another recording plays now.
    """

    rate: float = 1.0
    offset: float = 0.0
    mirrored: bool = False
    semitones: float = 0.0
    timbre: bool = False
    guests: tuple[Guest, ...] = ()
    gone: tuple[str, ...] = ()
    swapped: tuple[str, ...] = ()


_UNITS = {"db": "dB", "snr db": "dB SNR", "hz": "Hz", "rt60": "s RT60", "rate": "× speed"}


class Augmentation(BaseModel):
    """A frozen, hashable, picklable description of a random change of sound, and of what it does to labels.

    `draw` chooses parameters; `audio` and `change` both follow them, and need nothing else of the spec, so that a draw that
    was stored can be repeated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Raised whenever the same draw would give other samples than before: it is part of the name of every part with views.
    version: ClassVar[int] = 1
    # Whether augment/batched.py can do it on a GPU; such an augmentation keeps the length, and draws without looking at samples.
    on_gpu: ClassVar[bool] = False
    # What `low` and `high` are, where their names do not say it.
    drawn_in: ClassVar[str] = ""

    p: float = Field(1.0, ge=0, le=1, description="probability of being applied to a view")

    def check(self) -> None:
        """Look at what the spec names outside itself (folders, files), before anything runs.

        Raises:
            ValueError: one line with value and way out.
        """

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """Choose the parameters for one view; `use` is added by the caller.

        Raises:
            Unfit: nothing can be chosen for this clip.
        """
        raise NotImplementedError

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """The sound, changed as drawn. The same arguments give the same samples, bit for bit.

        Raises:
            Unfit: this sound cannot be changed so.
        """
        raise NotImplementedError

    @classmethod
    def change(cls, draw: Draw) -> Change:
        """What the draw means for labels."""
        raise NotImplementedError

    def extremes(self) -> tuple[Change, ...]:
        """The changes at the ends of what may be drawn, for the contract."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Everything that determines what is drawn and what becomes of the sound."""
        return {"version": self.version, **self.model_dump(mode="json")}

    def label(self) -> str:
        """A few words for people, as in "PitchShift -2 … 2 semitones": what is drawn between, and what differs from the defaults."""
        said, changed = self.model_dump(exclude={"use", "p"}), self.model_dump(exclude={"use", "p"}, exclude_defaults=True)
        words = [type(self).__name__]
        for name, value in said.items():
            parts = name.split("_")
            top = name.replace("low", "high")
            if "low" in parts and top in said:
                what = " ".join(part for part in parts if part != "low") or self.drawn_in
                if name in changed or top in changed or (len(words) == 1 and value < said[top]):
                    words.append(f"{value:g} … {said[top]:g} {_UNITS.get(what, what)}".strip())
            elif "high" not in parts and name in changed:
                words.append(f"{name}={value}")
        return " ".join(words[:2]) + "".join(f", {word}" for word in words[2:])


def ordered(name: str, low: float, high: float, least: float | None = None) -> None:
    """Raises: ValueError unless low <= high and, where `least` is given, least < low.

    >>> ordered("Speed", 1.2, 0.8, 0)
    Traceback (most recent call last):
    ValueError: Speed needs 0 < low <= high, got low=1.2 high=0.8
    """
    if not low <= high or (least is not None and low <= least):
        bound = "" if least is None else f"{least:g} < "
        raise ValueError(f"{name} needs {bound}low <= high, got low={low:g} high={high:g}")


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A plain float between two bounds, rounded to nine digits so that its JSON is short and exact."""
    return round(float(rng.uniform(low, high)), 9)
