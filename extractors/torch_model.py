"""A torch module of one's own as an extractor: code by its place, weights from safetensors, its front end named in the recipe."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from extractors.batch import Batch
from extractors.chroma import ChromaStft
from extractors.extractor import Column, Extractor, Live
from extractors.inference import Precision, with_torch
from extractors.spectral import LogMel, Mel, Mfcc, Stft
from extractors.spectrum import Spectrum
from extractors.torch_module import TorchModelError, declared, file_hash, find, load, source

if TYPE_CHECKING:
    from torch import nn

_FRONTS: dict[str, type[Extractor]] = {front.__name__: front for front in (LogMel, Mel, Mfcc, Stft, ChromaStft)}
_GPU_CLIPS = 32


def _front(value: Any) -> Any:
    if value == "wave" or isinstance(value, Extractor):
        return value
    parameters = dict(value) if isinstance(value, Mapping) else {"use": value}
    use = parameters.get("use")
    if not isinstance(use, str) or use not in _FRONTS:
        raise ValueError(f'{use!r} is not one of {", ".join(_FRONTS)}, as in {{use = "LogMel", sample_rate = 16000}}, nor "wave"')
    return _FRONTS[use].model_validate(parameters)


Front = Annotated[LogMel | Mel | Mfcc | Stft | ChromaStft | Literal["wave"], BeforeValidator(_front)]
Layout = Literal["time", "1 time", "time feature", "feature time", "1 time feature", "1 feature time"]


class TorchModel(Extractor):
    """Any torch module. It is given float32 (clips, *layout) and returns (clips, *shape), or a dict of such by name.

    The module comes from code that every worker can import (the folder that the command runs in counts), its weights from a
    safetensors file: a pickle could run anything. Changing code, options or weights makes another table's content; of the code, the
    file that holds the factory is looked at.
    Columns: those of `outputs`, and `valid`: how many frames, or samples of a wave, are sound.
    """

    use: Literal["TorchModel"] = "TorchModel"

    factory: str = Field(pattern=r"^[\w.]+:\w+$", description='"module:function" or "module:Class", called with `options`')
    weights: str | None = Field(None, description="a .safetensors file with the module's state; what the factory makes if absent")
    options: dict[str, str | int | float | bool] = Field(default_factory=dict, description="the factory's arguments")
    front: Front = Field(description='"wave", or a table such as {use = "LogMel", sample_rate = 16000}')
    sample_rate: int | None = Field(None, gt=0, le=1_000_000, description='Hz, with front = "wave"')
    layout: Layout = Field(description='a clip\'s dimensions as the module takes them: "1 feature time" is (1, bands, frames), one channel')
    outputs: dict[str, tuple[int, ...]] = Field(min_length=1, description="{embedding = [512]}: one clip's shape; a leading -1 varies")
    precision: Precision = "float32"

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @field_validator("weights")
    @classmethod
    def _safe(cls, weights: str | None) -> str | None:
        if weights is not None and not weights.endswith(".safetensors"):
            way = "safetensors.torch.save_file(module.state_dict(), 'weights.safetensors') makes one"
            raise ValueError(f"weights: {weights!r} is no .safetensors file; {way}")
        return weights

    @field_validator("outputs")
    @classmethod
    def _sized(cls, outputs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        for name, shape in outputs.items():
            fits = all(size >= 1 or (place == 0 and size == -1) for place, size in enumerate(shape))
            if not fits or not name.isidentifier() or name == "valid":
                raise ValueError(
                    f"outputs: {name} = {list(shape)} needs a name other than valid, and sizes from 1 up (the first may be -1)"
                )
        return outputs

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.front == "wave") != (self.sample_rate is not None):
            raise ValueError('sample_rate goes with front = "wave" and is needed there; other front ends have their own')
        if (self.front == "wave") == ("feature" in self.layout):
            front = self.front if isinstance(self.front, str) else type(self.front).__name__
            raise ValueError(f"layout: {self.layout!r} does not go with front {front}")
        return self

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """What `outputs` declares, and `valid`."""
        if seconds is not None and any(shape[:1] == (-1,) for shape in self.outputs.values()):
            raise TorchModelError("outputs: a size of -1 is for whole tracks; clips of one length have arrays of one shape")
        columns = [Column(name, tuple(None if size < 0 else size for size in shape)) for name, shape in self.outputs.items()]
        return (*columns, Column("valid", dtype="int32"))

    def spectra(self) -> tuple[Spectrum, ...]:
        """The front end's."""
        return () if isinstance(self.front, str) else self.front.spectra()

    def sample_rates(self) -> tuple[int, ...]:
        """The front end's."""
        if isinstance(self.front, str):
            return () if self.sample_rate is None else (self.sample_rate,)
        return self.front.sample_rates()

    def weights_hash(self) -> str:
        """SHA-256 of the safetensors file."""
        if self.weights is None:
            return ""
        try:
            facts = os.stat(self.weights)
        except OSError as error:
            raise TorchModelError(f"weights: {self.weights}: cannot be read: {error.strerror}") from error
        return file_hash(self.weights, facts.st_size, facts.st_mtime_ns)

    def identity(self) -> dict[str, Any]:
        """The spec, with the weights' and the code's hashes beside or instead of their places."""
        front = self.front if isinstance(self.front, str) else self.front.identity()
        code = hashlib.sha256(source(self.factory).read_bytes()).hexdigest()
        return {**super().identity(), "front": front, "weights": self.weights_hash(), "code": code}

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns.

        Raises:
            TorchModelError: code or weights are missing or do not fit each other; and, from the function, its output is not as declared.
        """
        module = self._module()
        clips = with_torch(lambda: module, tuple(self.outputs), device, self.precision, 1 if device == "cpu" else _GPU_CLIPS)
        track = with_torch(lambda: module, tuple(self.outputs), device, self.precision, 1)
        front = None if isinstance(self.front, str) else self.front.open(device)

        def hear(batch: Batch) -> dict[str, Any]:
            if front is None:
                rate = self.sample_rates()[0]
                sound, valid = batch.wave(rate), np.array(batch.samples(rate), np.int32)
            else:
                heard = front(batch)
                sound, valid = next(array for name, array in heard.items() if name != "valid"), heard["valid"]
            if self.layout.endswith("feature time"):
                sound = sound.swapaxes(1, 2)
            if self.layout.startswith("1 "):
                sound = sound[:, None]
            return {**(track if batch.seconds is None else clips)(sound), "valid": valid}

        return hear

    def _module(self) -> nn.Module:
        module: nn.Module = find(self.factory)(**self.options)
        if self.weights is not None:
            load(module, self.weights, self.factory)
        return declared(module, self.outputs, self.factory)
