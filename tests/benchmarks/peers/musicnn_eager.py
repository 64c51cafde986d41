"""MusiCNN in plain torch, layer by layer as its paper draws it: what somebody would write who has no reason to do otherwise."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from extractors.checkpoint import read_checkpoint
from extractors.musicnn import package_folder


class Block(nn.Module):
    """Convolution, ReLU, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], padding: tuple[int, int] | str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=padding)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.relu(self.conv(x)))


class Musicnn(nn.Module):
    """(patches, 187, 96) → tags, penultimate, mean_pool, max_pool."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=1e-3)
        timbral = [Block(1, 204, (7, width), (3, 0)) for width in (38, 67)]
        temporal = [Block(1, 51, (length, 1), "same") for length in (128, 64, 32)]
        self.front = nn.ModuleList(timbral + temporal)
        self.middle = nn.ModuleList(Block(inputs, 64, (7, 1), (3, 0)) for inputs in (561, 64, 64))
        self.pooled = nn.BatchNorm1d(1506, eps=1e-3)
        self.dense = nn.Linear(1506, 200)
        self.norm_dense = nn.BatchNorm1d(200, eps=1e-3)
        self.tags = nn.Linear(200, 50)

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.norm(patches[:, None])
        front = torch.cat([block(x).amax(3, keepdim=True) for block in self.front], 1)
        first = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        heard = torch.cat([front, first, second, third], 1)[..., 0]
        loudest, mean = heard.amax(2), heard.mean(2)
        both = self.pooled(torch.stack([loudest, mean], 2).flatten(1))
        penultimate = self.norm_dense(torch.relu(self.dense(both)))
        return torch.sigmoid(self.tags(penultimate)), penultimate, mean, loudest


@cache
def load(model: str) -> Musicnn:
    """With package musicnn's weights; once per process."""
    tensors = read_checkpoint(package_folder() / model / ".index", wanted=lambda name: "/Adam" not in name)
    network = Musicnn()

    def take(layer: nn.Module, name: str, number: int) -> None:
        name = f"{name}_{number}" if number else name
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            layer.load_state_dict({ours: torch.tensor(tensors[f"{name}/{theirs}"]) for ours, theirs in parts.items()}, strict=False)
            return
        kernel = tensors[f"{name}/kernel"]
        kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        if kernel.shape != layer.weight.shape:  # over time, where TensorFlow has channels stand for a picture's width
            kernel = kernel.swapaxes(1, 3)
        layer.load_state_dict({"weight": torch.tensor(kernel.copy()), "bias": torch.tensor(tensors[f"{name}/bias"])})

    take(network.norm, "batch_normalization", 0)
    for number, block in enumerate([*network.front, *network.middle]):
        take(block.conv, "conv2d", number)
        take(block.norm, "batch_normalization", number + 1)
    take(network.pooled, "batch_normalization", 9)
    take(network.dense, "dense", 0)
    take(network.norm_dense, "batch_normalization", 10)
    take(network.tags, "dense", 1)
    return network.eval()
