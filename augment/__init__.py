"""Sound and its labels, made and changed together."""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field

from augment.augmentation import Augmentation, Change, Guest, Recording, Scene, Sound, Unfit
from augment.chain import Lineage, View, augmented, replay
from augment.choice import Chain, OneOf
from augment.masks import SpecMask
from augment.mix import AddBackground, Mix
from augment.named import Audiomentations
from augment.pitch import PitchAndTempo, PitchShift
from augment.reverb import ImpulseResponse
from augment.stems import Remix
from augment.timbre import AddNoise, Filter, Gain
from augment.timing import Crop, Pad, Reverse, Shift, Speed, TimeStretch

# What a recipe's `use` may name.
AUGMENTATIONS: tuple[type[Augmentation], ...] = (
    AddBackground,
    AddNoise,
    Audiomentations,
    Chain,
    Crop,
    Filter,
    Gain,
    ImpulseResponse,
    Mix,
    OneOf,
    Pad,
    PitchAndTempo,
    PitchShift,
    Remix,
    Reverse,
    Shift,
    SpecMask,
    Speed,
    TimeStretch,
)

_any: Any = Annotated[reduce(or_, AUGMENTATIONS), Field(discriminator="use")]
for _each in (Chain, OneOf):
    _each.model_rebuild(_types_namespace={"AnyAugmentation": _any})

__all__ = [
    "AUGMENTATIONS",
    "AddBackground",
    "AddNoise",
    "Audiomentations",
    "Augmentation",
    "Chain",
    "Change",
    "Crop",
    "Filter",
    "Gain",
    "Guest",
    "ImpulseResponse",
    "Lineage",
    "Mix",
    "OneOf",
    "Pad",
    "PitchAndTempo",
    "PitchShift",
    "Recording",
    "Remix",
    "Reverse",
    "Scene",
    "Shift",
    "Sound",
    "SpecMask",
    "Speed",
    "TimeStretch",
    "Unfit",
    "View",
    "augmented",
    "replay",
]
