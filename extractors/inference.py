"""A torch module made into a fast function from patches to arrays: by OpenVINO on a CPU, by torch itself on a GPU.

A patch's numbers do not depend on the patches around it, on how many come at once, or on how many threads work: on a CPU the network
hears one patch at a time (batches are no faster there on one core), on a GPU a fixed number of them, the last filled up with silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from extractors.converted import import_openvino, representation

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["float32", "bf16"]
# (patches, *shape) float32 → output's name → (patches, …) float32; NumPy's on a CPU, torch's on a GPU.
Network = Callable[[Any], dict[str, Any]]

_GPU_PATCHES = 64


def compile_network(
    make: Callable[[], nn.Module], shape: Sequence[int], outputs: Sequence[str], device: str, precision: Precision, key: str
) -> Network:
    """The network as a function. Each thread needs its own.

    Args:
        make: gives the module, which takes (patches, *shape) and returns a tuple of (patches, …); called only where no copy is cached.
        shape: one patch's shape.
        outputs: names for what the module returns, in its order.
        device: "cpu", "cuda", "cuda:1", …
        precision: float32 without shortcuts, or bf16 where the network is heaviest.
        key: what identifies the module's code and weights.
    """
    if device != "cpu":
        return with_torch(make, outputs, device, precision, _GPU_PATCHES)
    try:
        openvino = import_openvino()
    except ImportError:
        return with_torch(make, outputs, device, precision, 1)
    return with_openvino(openvino, make, shape, outputs, precision, key)


def with_openvino(
    openvino: Any, make: Callable[[], nn.Module], shape: Sequence[int], outputs: Sequence[str], precision: Precision, key: str
) -> Network:
    """The network on one core of this CPU. The interpreter is free while it runs."""
    core = openvino.Core()
    xml, weights = representation(openvino, make, shape, key)
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # else every worker's thread is bound to the same core
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    compiled = core.compile_model(core.read_model(xml, weights), "CPU", settings)
    request = compiled.create_infer_request()
    shapes = [tuple(output.shape)[1:] for output in compiled.outputs]

    def run(patches: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        arrays = [np.empty((len(patches), *shape), np.float32) for shape in shapes]
        for row, patch in enumerate(patches):
            request.get_input_tensor().data[0] = patch
            request.infer()
            for number, array in enumerate(arrays):
                array[row] = request.get_output_tensor(number).data[0]
        return dict(zip(outputs, arrays, strict=True))

    return run


def with_torch(make: Callable[[], nn.Module], outputs: Sequence[str], device: str, precision: Precision, patches_at_once: int) -> Network:
    """The network in torch: `patches_at_once` of them, always."""
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    module = make().to(device).eval()

    def run(patches: Any) -> dict[str, Any]:
        given = torch.from_numpy(np.array(patches, np.float32)).to(device) if isinstance(patches, np.ndarray) else patches
        pieces = []
        # Gradients are switched off per thread, and only the caller knows which thread this is.
        with torch.inference_mode(), exact(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
            for start in range(0, max(1, len(given)), patches_at_once):
                piece = given[start : start + patches_at_once]
                missing = patches_at_once - len(piece)
                filled = torch.cat([piece, piece.new_zeros(missing, *piece.shape[1:])]) if missing else piece
                pieces.append([output[: len(piece)].float() for output in module(filled)])
        arrays = [torch.cat(output) for output in zip(*pieces, strict=True)]
        return dict(zip(outputs, (array.numpy() for array in arrays) if device == "cpu" else arrays, strict=True))

    return run


@contextmanager
def exact() -> Iterator[None]:
    """Float32 as it is, without TF32, and the same algorithm for the same shape each time."""
    import torch

    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        matmul.allow_tf32 = before
