"""audiomentations' transforms by name: its code, our generator.

Its transforms draw from the global generators of `random` and `numpy.random`. Here the same code draws from a view's own: a transform's
`randomize_parameters` is run with other modules under those two names, so that the global generators are neither read nor moved, in
any number of threads. What was drawn is put down as plain numbers, and sound is only ever changed by what was put down.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from types import FunctionType, SimpleNamespace
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from augment.augmentation import Draw, Samples, Scene, Sound, Unfit
from augment.timbre import Timbre

# Those that draw nothing while they work, and leave length, times and pitches alone (measured for each, in the tests).
TRANSFORMS = (
    *("AirAbsorption", "Aliasing", "BandPassFilter", "BandStopFilter", "BitCrush", "Clip", "ClippingDistortion", "Gain", "GainTransition"),
    *("HighPassFilter", "HighShelfFilter", "Limiter", "LoudnessNormalization", "LowPassFilter", "LowShelfFilter", "Mp3Compression"),
    *("Normalize", "PeakingFilter", "PolarityInversion", "SevenBandParametricEQ", "TanhDistortion"),
)

# Why the others are not for here, and what to take.
REFUSED: Mapping[str, str] = {
    "AddBackgroundNoise": "take AddBackground, whose draws can be repeated",
    "AddColorNoise": "take AddNoise, whose draws can be repeated",
    "AddGaussianNoise": "take AddNoise, whose draws can be repeated",
    "AddGaussianSNR": "take AddNoise, whose draws can be repeated",
    "AddShortNoises": "take AddBackground, whose draws can be repeated",
    "AdjustDuration": "it changes the length; take Crop or Pad, which move labels",
    "ApplyImpulseResponse": "it delays the sound; take ImpulseResponse, which keeps it in time",
    "Lambda": "a function cannot be written down; write an Augmentation",
    "Padding": "it overwrites what labels speak of; take Pad, which moves them",
    "PitchShift": "take PitchShift of earmark, which transposes labels",
    "RepeatPart": "it moves what comes after; nothing here repeats parts",
    "Resample": "it changes the length; take Speed, which moves labels, or Aliasing",
    "Reverse": "take Reverse of earmark, which turns labels round",
    "RoomSimulator": "it delays the sound; take ImpulseResponse, which keeps it in time",
    "Shift": "take Shift of earmark, which moves labels",
    "TimeMask": "it silences what labels speak of; take SpecMask",
    "TimeStretch": "take TimeStretch of earmark, which moves labels",
    "Trim": "it moves the beginning; take Crop, which moves labels",
}

_TRIAL = 48_000  # Hz: the highest rate that all of them take


class Audiomentations(Timbre):
    """Any of audiomentations' transforms that change timbre alone, by its name and its own arguments.

    What is drawn is drawn as it would: uniformly, on the mel scale, and so on. Its Limiter is its compressor.
    Labels: unchanged.
    """

    use: Literal["Audiomentations"] = "Audiomentations"
    on_gpu = False

    transform: str = Field(description="as audiomentations calls it: BitCrush, Mp3Compression, ...")
    parameters: dict[str, bool | int | float | str] = Field({}, description="its arguments, without p")

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _works(self) -> Self:
        name = self.transform
        if name in REFUSED:
            raise ValueError(f"Audiomentations.transform: {name} is not for here: {REFUSED[name]}")
        if name not in TRANSFORMS:
            raise ValueError(f"Audiomentations.transform: {name!r} is not one of {', '.join(TRANSFORMS)}")
        known = [each for each in inspect.signature(_class(name).__init__).parameters if each not in ("self", "p")]
        if strange := [each for each in self.parameters if each not in known]:
            raise ValueError(f"Audiomentations.parameters: {name} has no {strange[0]!r}, only {', '.join(known) or 'none'}")
        if endless := [f"{key}={value}" for key, value in self.parameters.items() if isinstance(value, float) and not math.isfinite(value)]:
            raise ValueError(f"Audiomentations.parameters: {name} needs finite numbers, got {endless[0]}")
        # Tried once on a second of sound, as some arguments are not looked at before they are used.
        said = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        trial = np.sin(np.arange(_TRIAL, dtype=np.float32))
        try:
            drawn = drawn_parameters(_made(name, self.parameters), trial, _TRIAL, np.random.default_rng(0))
            after = applied(_made(name, self.parameters), drawn, trial, _TRIAL)
        except Unfit:
            return self  # arguments for another sample rate, perhaps
        except ImportError as error:
            raise ValueError(f"Audiomentations: {name} needs the package {error.name}, which is not installed") from error
        except _errors(name) as error:
            reason = " ".join(str(error).split()) or "audiomentations does not take these"
            raise ValueError(f"Audiomentations: {name}({said}): {reason}") from error
        if len(after) != len(trial):
            raise ValueError(f"Audiomentations: {name}({said}) changes the length of the sound; labels could not follow")
        return self

    def identity(self) -> dict[str, Any]:
        """With the version of the library, whose code it is."""
        return {**super().identity(), "audiomentations": version("audiomentations")}

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> Draw:
        """The transform, its arguments and what its own code drew.

        Raises:
            Unfit: nothing can be drawn for this clip.
        """
        with _unfit(self.transform):
            drawn = drawn_parameters(_made(self.transform, self.parameters), sound.samples, sound.sample_rate, rng)
        return {"transform": self.transform, "arguments": dict(self.parameters), "parameters": drawn}

    @classmethod
    def audio(cls, sound: Sound, draw: Draw, scene: Scene) -> Sound:
        """What the transform makes of the samples.

        Raises:
            Unfit: it cannot take this sound, or gave another length.
        """
        with _unfit(draw["transform"]):
            after = applied(_made(draw["transform"], draw["arguments"]), draw["parameters"], sound.samples, sound.sample_rate)
        if len(after) != len(sound.samples):
            raise Unfit(f"{draw['transform']}: {len(after)} samples of {len(sound.samples)}", "length", "leave it out for such clips")
        return sound.with_samples(after)


def drawn_parameters(transform: Any, samples: Samples, sample_rate: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Run a transform's own drawing with a generator of ours.

    Returns:
        for the transform, or for each of those it is made of, what it drew, as plain numbers.
    Raises:
        Unfit: it measured the clip for this, and found no finite number; or the sample rate does not hold what it drew.
    """
    state = np.random.RandomState(rng.bit_generator)
    ours = {"random": random.Random(int(rng.integers(1 << 63))), "np": SimpleNamespace(**{**vars(np), "random": state})}
    drawn = []
    for part in _parts(transform):
        # What is inherited would throw the coin p, of the global generator; ours is thrown in the chain.
        above = SimpleNamespace(randomize_parameters=lambda *_, of=part.parameters: of.update(should_apply=True))
        own = type(part).randomize_parameters
        there = {**own.__globals__, **ours, "super": lambda *_, it=above: it}
        if not own.__qualname__.startswith("BaseTransform."):
            FunctionType(own.__code__, there, own.__name__, own.__defaults__, own.__closure__)(part, samples, sample_rate)
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in part.parameters.items()}
        del plain["should_apply"]
        # Beyond that its peaks and shelves are unstable: they would grow without end.
        if plain.get("center_freq", 0) >= sample_rate / 2:
            centre = f"{type(part).__name__}: its centre of {plain['center_freq']:.0f} Hz"
            message = f"{centre} is above half the sample rate of {sample_rate} Hz"
            raise Unfit(message, "sample rate", "lower max_center_freq, or raise the views' sample_rate")
        if not all(math.isfinite(value) for value in plain.values()):
            raise Unfit(f"{type(part).__name__}: the clip measures {plain}", "silent", "leave silent and very short clips out")
        drawn.append(plain)
    return drawn


def applied(transform: Any, parameters: list[dict[str, Any]], samples: Samples, sample_rate: int) -> Samples:
    """Samples as the transform leaves them with these parameters; new ones, float32."""
    for part, own in zip(_parts(transform), parameters, strict=True):
        part.parameters = {"should_apply": True, **own}
        part.freeze_parameters()
    with np.errstate(over="ignore", invalid="ignore"):
        after = np.asarray(transform.apply(samples, sample_rate), np.float32)
    return after.copy() if np.may_share_memory(after, samples) else after


def _class(name: str) -> Any:
    import audiomentations

    return getattr(audiomentations, name)


def _made(name: str, arguments: Mapping[str, Any]) -> Any:
    return _class(name)(**arguments, p=1.0)


def _parts(transform: Any) -> list[Any]:
    # An equaliser holds other transforms, which draw for themselves.
    kept = [each for value in vars(transform).values() for each in (value if isinstance(value, list) else [value])]
    return [each for each in kept if hasattr(each, "randomize_parameters")] or [transform]


def _errors(name: str) -> tuple[type[Exception], ...]:
    # What the library raises over arguments and sounds that do not suit it.
    plain = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
    if name != "Mp3Compression":
        return plain
    import fast_mp3_augment as mp3

    return (*plain, mp3.TooShortAudio, mp3.UnsupportedBitrate, mp3.UnsupportedQuality, mp3.UnsupportedSampleRate)


@contextmanager
def _unfit(name: str) -> Iterator[None]:
    try:
        yield
    except Unfit:
        raise
    except _errors(name) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unfit(f"{name}: {reason}", "unfit", f"leave {name} out, or keep to sounds that it takes") from error
