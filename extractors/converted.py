"""Torch modules converted for OpenVINO, and kept on disk so that the next start need not import torch."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

_lock = threading.Lock()


def cache_folder() -> Path:
    """Where converted networks are kept: EARMARK_CACHE, or the user's cache."""
    if "EARMARK_CACHE" in os.environ:
        return Path(os.environ["EARMARK_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "earmark"


def import_openvino() -> Any:
    """The module openvino, without its converter: importing that reports to Google Analytics and writes into the home folder.

    Raises:
        ImportError: it is not installed.
    """
    # openvino does without the converter where that cannot be imported, and nothing here needs it.
    converter = "openvino.tools.ovc"
    with _lock:
        hide = "openvino" not in sys.modules
        if hide:
            sys.modules[converter] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if hide:
                del sys.modules[converter]
        # Its first look at NumPy takes a lock of C++ and then Python's: two threads at once would wait for each other for ever.
        openvino.Tensor(np.zeros(1, np.float32)).data.sum()
    return openvino


def representation(openvino: Any, make: Callable[[], nn.Module], shape: Sequence[int], key: str) -> tuple[bytes, bytes]:
    """The network as OpenVINO writes it (structure, weights): from the cache, which saves importing torch, or made anew."""
    name = hashlib.sha256(f"{key} {tuple(shape)} {openvino.get_version()}".encode()).hexdigest()[:32]
    path = cache_folder() / f"{name}.network"
    with _lock:
        stored = _read(path)
        if stored is None:
            stored = _convert(openvino, make, shape)
            _write(path, *stored)
    return stored


def _convert(openvino: Any, make: Callable[[], nn.Module], shape: Sequence[int]) -> tuple[bytes, bytes]:
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    patch = torch.zeros(1, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls tracing deprecated; OpenVINO's other way needs a newer exporter for no gain
        decoder = TorchScriptPythonDecoder(make().eval(), example_input=patch)
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    model.reshape(list(patch.shape))
    folder = Path(tempfile.mkdtemp(prefix="earmark-"))
    try:
        openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
        return (folder / "network.xml").read_bytes(), (folder / "network.bin").read_bytes()
    finally:
        shutil.rmtree(folder)


def _read(path: Path) -> tuple[bytes, bytes] | None:
    """A cached network: its checksum (32 bytes), the length of its structure (8 bytes), structure, weights. None if damaged or absent."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        return None
    middle = 40 + int.from_bytes(raw[32:40], "little")
    return raw[40:middle], raw[middle:]


def _write(path: Path, xml: bytes, weights: bytes) -> None:
    raw = len(xml).to_bytes(8, "little") + xml + weights
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(hashlib.sha256(raw).digest() + raw)
            os.replace(draft, path)
        except OSError:
            os.unlink(draft)
