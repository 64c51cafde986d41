"""A head on disk: `head.json`, which people read, beside one file of numbers; nothing in either can run.

head.json names the numbers' file and its hash and appears last, so that a head is whole or absent, also where it replaces another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow.fs as pafs
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.heads.head import Head, Kind
from pipelines.part import publish

NAME = "head.json"
_WEIGHTS = r"^[0-9a-f]{16}\.safetensors$"


class Written(BaseModel):
    """What head.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["earmark head 1"]
    kind: Kind
    exclusive: bool
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        min_length=1, description="from which probability on each tag is said"
    )
    weights: str = Field(pattern=_WEIGHTS, description="the file of numbers beside this one")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of that file")
    hash: str = Field(pattern="^[0-9a-f]{64}$", description="of everything that determines answers: numbers, tags, thresholds")
    origin: dict[str, Any] = Field(description="whose embeddings it takes, and what it learnt from")
    figures: dict[str, Any] = Field(description="how good it was on recordings that it had not heard")


def save(head: Head, folder: str | Path) -> str:
    """Write a head; one that is there is replaced.

    Returns:
        its hash.
    Raises:
        StoreError: the folder cannot be written.
    """
    from safetensors.numpy import save as packed

    place, files = Path(folder).absolute(), pafs.LocalFileSystem()
    numbers = packed({name: np.ascontiguousarray(array, np.float32) for name, array in _tensors(head).items()})
    sha = hashlib.sha256(numbers).hexdigest()
    thresholds = {tag: float(value) for tag, value in zip(head.tags, head.thresholds, strict=True)}
    name = f"{sha[:16]}.safetensors"
    whole = _hash(sha, head.kind, head.exclusive, thresholds)
    said = {"format": "earmark head 1", "kind": head.kind, "exclusive": head.exclusive, "thresholds": thresholds}
    said |= {"weights": name, "sha256": sha, "hash": whole, "origin": dict(head.origin), "figures": dict(head.figures)}
    publish(files, str(place / name), numbers)
    publish(files, str(place / NAME), json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False).encode())
    for old in place.glob("*.safetensors"):
        if old.name != name and re.match(_WEIGHTS, old.name):
            with contextlib.suppress(OSError):  # it does no harm
                old.unlink()
    return whole


def load(folder: str | Path) -> Head:
    """Read a head, checked.

    Raises:
        ValueError: there is none, it is damaged or was changed; one line.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpacked

    place = Path(folder)
    said = _read(place)
    try:
        numbers = (place / said.weights).read_bytes()
    except OSError as error:
        raise ValueError(f"{place / said.weights}: {error.strerror}; the head is not whole, train it again") from error
    if hashlib.sha256(numbers).hexdigest() != said.sha256:
        raise ValueError(f"{place / said.weights}: not the numbers that {NAME} speaks of; train the head again")
    try:
        tensors = unpacked(numbers)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{place / said.weights}: not a whole safetensors file: {_line(error)}") from error
    return _head(place, said, tensors)


def head_hash(folder: str | Path) -> str:
    """64 hex digits of everything that determines a head's answers.

    Raises:
        ValueError: there is no head, or it was changed.
    """
    return _read(Path(folder)).hash


def _read(place: Path) -> Written:
    try:
        said = Written.model_validate_json((place / NAME).read_bytes())
    except OSError as error:
        raise ValueError(f"{place / NAME}: {error.strerror}; no head is there, 'earmark train-head --out {place}' makes one") from error
    except (ValidationError, RecursionError) as error:
        why = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deeply"}
        at = ".".join(map(str, why["loc"]))
        raise ValueError(f"{place / NAME}: not a head: {at + ': ' if at else ''}{_line(why['msg'])}; train it again") from error
    if said.hash != _hash(said.sha256, said.kind, said.exclusive, said.thresholds):
        raise ValueError(f"{place / NAME}: was changed after it was written; thresholds of your own belong in the campaign's file")
    return said


def _hash(sha: str, kind: str, exclusive: bool, thresholds: Mapping[str, float]) -> str:
    return hashlib.sha256(json.dumps([1, sha, kind, exclusive, list(thresholds.items())]).encode()).hexdigest()


def _tensors(head: Head) -> dict[str, NDArray[Any]]:
    found = {name: getattr(head, name) for name in ("mean", "scale", "slope", "offset")}
    for depth, (weights, bias) in enumerate(head.layers):
        found |= {f"weights.{depth}": weights, f"bias.{depth}": bias}
    return found


def _head(place: Path, said: Written, tensors: Mapping[str, NDArray[Any]]) -> Head:
    """The head of these numbers.

    Raises:
        ValueError: they do not fit each other.
    """
    depths = 2 if said.kind == "mlp" else 1
    names = ["mean", "scale", "slope", "offset", *(f"{part}.{depth}" for depth in range(depths) for part in ("weights", "bias"))]
    where = place / said.weights
    if set(tensors) != set(names):
        raise ValueError(f"{where}: holds {', '.join(sorted(tensors))[:200]}, and a head of kind {said.kind} has {', '.join(names)}")
    for name, array in tensors.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} is not float32 that is finite throughout")
    tags = tuple(said.thresholds)
    width = len(tensors["mean"]) if tensors["mean"].ndim == 1 else 0
    shapes: dict[str, tuple[int, ...]] = {"mean": (width,), "scale": (width,), "slope": (len(tags),), "offset": (len(tags),)}
    for depth in range(depths):
        out = len(tags) if depth == depths - 1 else tensors[f"bias.{depth}"].size
        shapes |= {f"weights.{depth}": (width, out), f"bias.{depth}": (out,)}
        width = out
    for name, shape in shapes.items():
        if tensors[name].shape != shape or 0 in shape:
            raise ValueError(f"{where}: {name} has shape {tensors[name].shape}, where {shape} is needed for {len(tags)} tags")
    if (tensors["scale"] <= 0).any():
        raise ValueError(f"{where}: scale is not above 0 throughout")
    layers = tuple((tensors[f"weights.{depth}"], tensors[f"bias.{depth}"]) for depth in range(depths))
    thresholds = np.array(list(said.thresholds.values()), np.float32)
    numbers = tensors["mean"], tensors["scale"], layers, tensors["slope"], tensors["offset"], thresholds
    return Head(said.kind, said.exclusive, tags, *numbers, said.origin, said.figures)


def _line(said: object) -> str:
    return " ".join(str(said).split())[:300]
