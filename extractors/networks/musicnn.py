"""The musically motivated CNN of Pons et al. and the VGG they compared it with, in PyTorch, arranged for inference.

Both hear patches of a log-mel spectrogram, (patches, 187, 96): 3 s, time first. Weights come from the TensorFlow checkpoints of
package musicnn, under the names that they have there.

Source: J. Pons and X. Serra, musicnn: pre-trained convolutional neural networks for music audio tagging, arXiv:1909.06654;
J. Pons et al., End-to-end learning for music audio tagging at scale, ISMIR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

FRAMES, BANDS = 187, 96

Tensors = Mapping[str, NDArray[Any]]
Pool = Callable[[Tensor], Tensor]


class Affine(nn.Module):
    """A batch normalisation that has been trained: x · scale + shift, for every channel of (patches, channels, …)."""

    scale: Tensor
    shift: Tensor

    def __init__(self, tensors: Tensors, number: int, dims: int) -> None:
        super().__init__()
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        gamma, beta, mean, variance = (
            tensors[f"{name}/{part}"].astype(np.float64) for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + 1e-3)  # Keras's epsilon
        shape = (-1,) + (1,) * dims
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)).reshape(shape))
        self.register_buffer("shift", torch.from_numpy((beta - mean * scale).astype(np.float32)).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Peaks(nn.Module):
    """Convolution, ReLU, batch normalisation and max-pooling, with the pooling done first, on what the convolution gives.

    ReLU and a positive scale change nothing about which value is the largest. Where a channel's scale is negative, the pooled maximum is
    that of the smallest value, so the convolution's weights change sign and the pooled values change it back. All of it is exact.
    Frames are padded so that as many come out as went in, and bands too where `wide`. A `turned` one hears (patches, 1, bands, frames).
    """

    sign: Tensor

    def __init__(
        self,
        tensors: Tensors,
        conv: str,
        norm: int,
        pool: Pool,
        *,
        stride: tuple[int, int] = (1, 1),
        wide: bool = False,
        turned: bool = False,
    ) -> None:
        super().__init__()
        self.norm = Affine(tensors, norm, dims=2)
        self.pool, self.stride = pool, stride
        length, width = tensors[f"{conv}/kernel"].shape[:2]
        sides = (width // 2, width // 2) if wide else (0, 0)
        ends = ((length - 1) // 2, length // 2)
        self.margins = [*ends, *sides] if turned else [*sides, *ends]  # torch's order: the last dimension first
        self.register_buffer("sign", torch.where(self.norm.scale < 0, -1.0, 1.0)[..., None])
        kernel = torch.from_numpy(tensors[f"{conv}/kernel"].transpose(3, 2, 0, 1).copy())  # (out, in, time, frequency)
        self.kernel = nn.Parameter((kernel.transpose(2, 3) if turned else kernel) * self.sign)
        self.bias = nn.Parameter(torch.from_numpy(tensors[f"{conv}/bias"].copy()) * self.sign.flatten())

    def forward(self, x: Tensor) -> Tensor:
        peaks = self.pool(functional.conv2d(functional.pad(x, self.margins), self.kernel, self.bias, self.stride))
        # As a convolution: OpenVINO keeps float32 from the last convolution on, so that in bf16 everything before is bf16.
        signed = functional.conv2d(peaks, self.sign, groups=peaks.shape[1])
        return self.norm(functional.relu(signed))  # type: ignore[no-any-return]


class Motion(nn.Module):
    """A convolution over time, 7 frames wide, ReLU and batch normalisation: (patches, channels, frames) → (patches, 64, frames)."""

    def __init__(self, tensors: Tensors, conv: str, norm: int) -> None:
        super().__init__()
        self.norm = Affine(tensors, norm, dims=1)
        self.kernel = nn.Parameter(torch.from_numpy(tensors[f"{conv}/kernel"][:, :, 0].transpose(2, 1, 0).copy()))
        self.bias = nn.Parameter(torch.from_numpy(tensors[f"{conv}/bias"].copy()))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(functional.relu(functional.conv1d(x, self.kernel, self.bias, padding=3)))  # type: ignore[no-any-return]


class Dense(nn.Module):
    """(patches, inputs) → (patches, outputs). `order` says where each input stands in the checkpoint."""

    def __init__(self, tensors: Tensors, name: str, order: NDArray[np.intp] | None = None) -> None:
        super().__init__()
        kernel = tensors[f"{name}/kernel"] if order is None else tensors[f"{name}/kernel"][order]
        self.kernel = nn.Parameter(torch.from_numpy(kernel.T.copy()))
        self.bias = nn.Parameter(torch.from_numpy(tensors[f"{name}/bias"].copy()))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.kernel, self.bias)


class Musicnn(nn.Module):
    """Filters shaped after timbre and after rhythm, three layers over time, and both pooled.

    (patches, 187, 96) → tags (patches, 50) in [0, 1], penultimate (patches, 200), mean_pool and max_pool (patches, 753).
    """

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.norm = Affine(tensors, 0, dims=2)
        # Timbre: 7 frames by 38 or 67 bands. Rhythm: 128, 64 or 32 frames of one band. Each keeps its peak over frequency.
        # The latter run faster with time as the last dimension.
        widths = {"conv2d": 38, "conv2d_1": 67}
        timbral = [Peaks(tensors, conv, norm, nn.MaxPool2d((1, BANDS - widths[conv] + 1))) for norm, conv in enumerate(widths, 1)]
        temporal = [Peaks(tensors, f"conv2d_{norm - 1}", norm, nn.MaxPool2d((BANDS, 1)), turned=True) for norm in (3, 4, 5)]
        self.timbral, self.temporal = nn.ModuleList(timbral), nn.ModuleList(temporal)
        self.motions = nn.ModuleList(Motion(tensors, f"conv2d_{number}", number + 1) for number in (5, 6, 7))
        # The checkpoint has maximum and mean of each channel side by side; here all maxima come first.
        order = np.arange(2 * 753).reshape(753, 2).T.ravel()
        pooled = {name: value[order] if name.startswith("batch_normalization_9/") else value for name, value in tensors.items()}
        self.pooled = Affine(pooled, 9, dims=0)
        self.dense = Dense(tensors, "dense", order)
        self.penultimate = Affine(tensors, 10, dims=0)
        self.tags = Dense(tensors, "dense_1")

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.norm(patches[:, None])
        turned = x.transpose(2, 3)
        shapes = [shape(x) for shape in self.timbral] + [shape(turned) for shape in self.temporal]
        heard = [torch.cat([shape.flatten(2) for shape in shapes], 1)]
        first, second, third = self.motions
        heard.append(first(heard[0]))
        heard.append(second(heard[1]) + heard[1])
        heard.append(third(heard[2]) + heard[2])
        everything = torch.cat(heard, 1)
        loudest, mean = everything.amax(2), everything.mean(2)
        penultimate = self.penultimate(functional.relu(self.dense(self.pooled(torch.cat([loudest, mean], 1)))))
        return torch.sigmoid(self.tags(penultimate)), penultimate, mean, loudest


class Vgg(nn.Module):
    """Five layers of 3 by 3 filters.

    (patches, 187, 96) → tags (patches, 50) in [0, 1], pool5 (patches, 2, 128): two halves of the patch.
    """

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.norm = Affine(tensors, 0, dims=2)
        # The first pooling takes every second band and looks at no other, so no other is computed.
        pools: list[Pool] = [nn.MaxPool2d((4, 1), (2, 1)), *(nn.MaxPool2d(2) for _ in range(3)), nn.MaxPool2d(4)]
        self.layers = nn.ModuleList(
            Peaks(tensors, f"{number}CNN", number, pool, stride=(1, 2 if number == 1 else 1), wide=True)
            for number, pool in enumerate(pools, 1)
        )
        self.tags = Dense(tensors, "dense")

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(patches[:, None])
        for layer in self.layers:
            x = layer(x)
        pool5 = x[..., 0].transpose(1, 2)
        return torch.sigmoid(self.tags(pool5.flatten(1))), pool5
