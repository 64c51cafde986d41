"""Tags and embeddings by the CNNs of package musicnn, from its own weights, without TensorFlow."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from extractors.batch import Batch
from extractors.checkpoint import read_checkpoint
from extractors.extractor import Column, Extractor, Live
from extractors.inference import Network, Precision, compile_network
from extractors.spectrum import MelBank, Spectrum

if TYPE_CHECKING:
    from torch import nn

Model = Literal["MTT_musicnn", "MSD_musicnn", "MTT_vgg", "MSD_vgg"]

FRAMES, BANDS = 187, 96  # of a patch: 3 s
SAMPLE_RATE, HOP = 16_000, 256
SPECTRUM = Spectrum(sample_rate=SAMPLE_RATE, n_fft=512, hop_length=HOP, bank=MelBank(n_mels=BANDS))

# What the networks return, in their order: (name, one patch's shape, its dimensions).
_MUSICNN = (
    ("tags", (50,), ("tag",)),
    ("penultimate", (200,), ("unit",)),
    ("mean_pool", (753,), ("unit",)),
    ("max_pool", (753,), ("unit",)),
)
_VGG = (("tags", (50,), ("tag",)), ("pool5", (2, 128), ("half", "unit")))


class MissingWeights(RuntimeError):
    """Package musicnn, whose weights these are, is not there."""


class MusiCNN(Extractor):
    """Pons's musically motivated CNN, or the VGG beside it, over patches of 187 frames (2.992 s) that do not overlap.

    A clip has as many patches as fit whole; one shorter than a patch is padded with silence to one. Columns, for each patch:
    `tags` in [0, 1], named in the schema, and `penultimate`, `mean_pool`, `max_pool`, or for a VGG `pool5` (its two halves in time);
    and for the clip, `<name>_mean` over the patches that hold nothing but sound (the first, if none does). `valid` says how many
    patches those are, at least 1: tags[:valid] is what package musicnn gives for the sound alone. `valid_frames` says how many mel
    frames (16 ms) are sound.

    float32 is package musicnn to 1e-5 in `tags`; bf16 moves tags by up to 0.01 and is 1.7 times as fast on a CPU that has it.

    Weights: package musicnn 0.1.0, ISC licence, © Music Technology Group, Universitat Pompeu Fabra. MTT: trained on MagnaTagATune;
    MSD: on the Million Song Dataset.
    Source: J. Pons and X. Serra, arXiv:1909.06654.
    """

    use: Literal["MusiCNN"] = "MusiCNN"

    model: Model = "MTT_musicnn"
    precision: Precision = Field("float32", description="of the network on a CPU or GPU that has bf16")
    outputs: tuple[str, ...] = Field((), description="tags, penultimate, mean_pool, max_pool, or for a VGG tags, pool5; all if empty")

    @model_validator(mode="after")
    def _outputs_exist(self) -> Self:
        names = [name for name, _, _ in self._layers]
        for name in self.outputs:
            if name not in names:
                raise ValueError(f"outputs: {name!r} is not one of {', '.join(names)}, which {self.model} has")
        return self

    @property
    def _layers(self) -> tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...]:
        return _VGG if self.model.endswith("vgg") else _MUSICNN

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """Each output per patch and averaged over the clip, then `valid` patches and `valid_frames`."""
        patches = None if seconds is None else patches_in(SPECTRUM.frames(round(seconds * SAMPLE_RATE)))
        columns = []
        for name, shape, dims in self._layers:
            if not self.outputs or name in self.outputs:
                labels = tag_names(self.model) if name == "tags" else ()
                columns.append(Column(name, (patches, *shape), "float32", ("patch", *dims), labels))
                columns.append(Column(f"{name}_mean", shape, "float32", dims, labels))
        return (*columns, Column("valid", dtype="int32"), Column("valid_frames", dtype="int32"))

    def spectra(self) -> tuple[Spectrum, ...]:
        """Mel power at 16 kHz."""
        return (SPECTRUM,)

    def weights_hash(self) -> str:
        """SHA-256 of the checkpoint's index and data."""
        return _weights_hash(package_folder() / self.model)

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns.

        Raises:
            MissingWeights: package musicnn is not installed.
            CheckpointError: its files are damaged.
        """
        names = tuple(name for name, _, _ in self._layers)
        key = f"{self.model} {self.weights_hash()} {_network_hash()}"
        network = compile_network(self._network, (FRAMES, BANDS), names, device, self.precision, key)
        silence = network(np.zeros((1, FRAMES, BANDS), np.float32))
        kept = self.outputs or names

        def hear(batch: Batch) -> dict[str, Any]:
            frames = batch.valid(SPECTRUM)
            patches = to_patches(batch.spectrum(SPECTRUM), frames)
            heard = _hear(network, silence, patches, frames)
            valid = np.clip(frames // FRAMES, 1, patches.shape[1]).astype(np.int32)
            columns: dict[str, Any] = {"valid": valid, "valid_frames": frames}
            for name in kept:
                columns[name] = heard[name]
                columns[f"{name}_mean"] = _stack([rows[:count].mean(0) for rows, count in zip(heard[name], valid, strict=True)])
            return columns

        return hear

    def _network(self) -> nn.Module:
        from extractors.networks.musicnn import Musicnn, Vgg

        tensors = read_checkpoint(
            package_folder() / self.model / ".index", wanted=lambda name: "/Adam" not in name
        )  # the optimiser's lie beside
        return Vgg(tensors) if self.model.endswith("vgg") else Musicnn(tensors)


def patches_in(frames: int) -> int:
    """How many patches so many mel frames have.

    >>> patches_in(100), patches_in(373), patches_in(1876)
    (1, 1, 10)
    """
    return max(1, frames // FRAMES)


def to_patches(mel: Any, valid: NDArray[np.int32]) -> Any:
    """Mel power, compressed and cut as the networks learnt it.

    Args:
        mel: (clips, frames, 96), NumPy's or torch's.
        valid: (clips,) frames that are sound; what follows is made silence, so that a patch does not depend on the window's length.
    Returns:
        (clips, patches, 187, 96) float32, log10(1 + 10⁴ · mel) of mel in float16: the networks were trained on spectra stored so.
    """
    clips, frames, _ = mel.shape
    patches = patches_in(frames)
    if isinstance(mel, np.ndarray):
        half = rounded_to_half(mel[:, : patches * FRAMES])
        heard = np.zeros((clips, patches * FRAMES, BANDS), np.float32)
        np.log10(half * 10_000 + 1, out=heard[:, : half.shape[1]])
    else:
        half = mel[:, : patches * FRAMES].clamp(max=65504).half()
        heard = mel.new_zeros((clips, patches * FRAMES, BANDS))
        heard[:, : half.shape[1]] = (half.float() * 10_000 + 1).log10()
    for clip, count in zip(heard, valid.tolist(), strict=True):
        clip[count:] = 0
    return heard.reshape(clips, patches, FRAMES, BANDS)


def rounded_to_half(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values ≥ 0 as float16 would hold them, at most 65504, still in float32: ten times as fast as there and back.

    >>> float(rounded_to_half(np.array([0.1], np.float32))[0]) == float(np.float16(0.1))
    True
    """
    capped = np.minimum(values, np.float32(65504))
    bits = capped.view(np.uint32)
    # Thirteen bits of the fraction go, to the nearest, ties to even: processors take a slow path where the result is subnormal.
    normal = ((bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)).view(np.float32)
    # Below the least normal number float16 has steps of 2^-24, as float32 has between 0.5 and 1.
    return np.where(capped < np.float32(2**-14), (capped + np.float32(0.5)) - np.float32(0.5), normal)


def _hear(network: Network, silence: dict[str, Any], patches: Any, frames: NDArray[np.int32]) -> dict[str, Any]:
    """name → (clips, patches, …). Patches that are all silence because the sound is over are not computed again and again."""
    sounding = np.arange(patches.shape[1]) * FRAMES < frames[:, None]
    where: Any = sounding
    if isinstance(patches, np.ndarray):
        columns = {name: np.repeat(rows[None], len(frames), 0).repeat(patches.shape[1], 1) for name, rows in silence.items()}
    else:
        import torch

        where = torch.as_tensor(sounding, device=patches.device)
        columns = {name: rows[None].repeat(len(frames), patches.shape[1], *[1] * (rows.ndim - 1)) for name, rows in silence.items()}
    heard = network(patches[where])
    for name, column in columns.items():
        column[where] = heard[name]
    return columns


def _stack(rows: list[Any]) -> Any:
    if isinstance(rows[0], np.ndarray):
        return np.stack(rows)
    import torch

    return torch.stack(rows)


@cache
def package_folder() -> Path:
    """Where package musicnn lies. It is not imported: that would need TensorFlow.

    Raises:
        MissingWeights: it is not installed.
    """
    spec = importlib.util.find_spec("musicnn")
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeights("MusiCNN's weights come with package musicnn, which is missing: pip install --no-deps musicnn==0.1.0")
    return Path(spec.submodule_search_locations[0])


@cache
def tag_names(model: Model) -> tuple[str, ...]:
    """The 50 tags of a model, in order, as its package lists them."""
    wanted = f"{model.split('_')[0]}_LABELS"
    source = package_folder() / "configuration.py"
    for statement in ast.parse(source.read_text()).body:
        if isinstance(statement, ast.Assign) and any(isinstance(target, ast.Name) and target.id == wanted for target in statement.targets):
            return tuple(ast.literal_eval(statement.value))
    raise MissingWeights(f"{source} has no {wanted}: pip install --no-deps musicnn==0.1.0")


@cache
def _weights_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (".index", ".data-00000-of-00001"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@cache
def _network_hash() -> str:
    return hashlib.sha256((Path(__file__).parent / "networks" / "musicnn.py").read_bytes()).hexdigest()
