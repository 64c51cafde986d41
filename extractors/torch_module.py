"""A user's torch module: found, filled with weights, and held to what was declared of it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


class TorchModelError(ValueError):
    """A user's module that cannot be found, loaded or believed: where, what, and what to do."""


def source(factory: str) -> Path:
    """The file with the code of "module:function". Nothing is imported: to name code is not yet to run it.

    Raises:
        TorchModelError: there is no such module.
    """
    name = factory.partition(":")[0]
    if os.getcwd() not in sys.path:  # an installed command does not look there by itself
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except ValueError:  # __main__ has none
        spec = None
    for part in rest:
        # find_spec("a.b") would import a; the finder of files needs only the last word of a name and where a's modules lie.
        places = None if spec is None else spec.submodule_search_locations
        spec = None if places is None or not part else PathFinder.find_spec(part, list(places))
    if spec is None or not spec.origin or not os.path.exists(spec.origin):
        raise TorchModelError(f"factory: there is no module {name!r} in {os.getcwd()} or on PYTHONPATH")
    return Path(spec.origin)


def find(factory: str) -> Callable[..., Any]:
    """What "module:function" names.

    Raises:
        TorchModelError: there is no such module, or no such thing in it.
    """
    source(factory)
    place, _, name = factory.partition(":")
    found: Callable[..., Any] | None = getattr(importlib.import_module(place), name, None)
    if found is None:
        raise TorchModelError(f"factory: module {place!r} has no {name!r}")
    return found


def load(module: nn.Module, weights: str, factory: str) -> None:
    """Fill a module with weights: all that it has, and no others.

    Raises:
        TorchModelError: the file is damaged, or made for another module.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise TorchModelError(f"weights: {weights}: not a whole safetensors file: {error}") from error
    own = module.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in state]
    wrong += [f"{name} is unknown to the module" for name in state if name not in own]
    for name in own:
        if name in state and own[name].shape != state[name].shape:
            wrong.append(f"{name} is {list(state[name].shape)}, the module's {list(own[name].shape)}")
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise TorchModelError(f"weights: {weights} does not fit {factory}: {', '.join(wrong[:3])}{more}")
    module.load_state_dict(state)


def declared(module: nn.Module, outputs: Mapping[str, tuple[int, ...]], factory: str) -> nn.Module:
    """The module, returning a tuple in the order of `outputs`, or raising TorchModelError where what it returns is not as they say."""
    import torch

    class Declared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, sound: Tensor) -> tuple[Tensor, ...]:
            heard = self.module(sound)
            if isinstance(heard, torch.Tensor) and len(outputs) == 1:
                heard = {next(iter(outputs)): heard}
            if not isinstance(heard, Mapping) or set(heard) != set(outputs):
                kind = f"a dict of {', '.join(map(str, heard))}" if isinstance(heard, Mapping) else f"a {type(heard).__name__}"
                raise TorchModelError(f"outputs: {factory} returned {kind}, declared are {', '.join(outputs)}")
            for name, shape in outputs.items():
                given, wanted = list(heard[name].shape), [len(sound), *shape]
                if len(given) != len(wanted) or any(want not in (-1, size) for want, size in zip(wanted, given, strict=True)):
                    clips = f"{given} for {len(sound)} clips"
                    raise TorchModelError(f"outputs: {factory} returned {name} with shape {clips}, declared is {list(shape)} for each")
            return tuple(heard[name] for name in outputs)

    return Declared()


@cache
def file_hash(path: str, size: int, modified: int) -> str:
    """SHA-256 of a file; its size and time of change (ns) tell the cache when to look again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
