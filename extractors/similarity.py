"""How alike any two moments of a recording are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from extractors.arrays import namespace, stack, times
from extractors.batch import Batch
from extractors.chroma import ChromaStft
from extractors.extractor import Column, Extractor, Live
from extractors.spectral import LogMel, Mel, Mfcc
from extractors.spectrum import Spectrum

FrameFeature = Annotated[ChromaStft | LogMel | Mel | Mfcc, Field(discriminator="use")]


class SelfSimilarity(Extractor):
    """The similarity of every moment to every other: repeated sections show as stripes, homogeneous ones as blocks.

    Frames of the feature are averaged over `size` steps of equal length, so that clips and tracks of any length give matrices of one
    size: a step is the clip's or the track's length over `size`. `valid` counts the steps that are sound throughout.

    Source:
        Foote, Visualizing music and audio using self-similarity (1999), doi:10.1145/319463.319472.
    """

    use: Literal["SelfSimilarity"] = "SelfSimilarity"

    of: FrameFeature = Field(ChromaStft(), description='the feature that is compared, as in of = { use = "Mfcc", n_mfcc = 13 }')
    size: int = Field(256, ge=2, description="steps along each side")
    measure: Literal["cosine", "gaussian"] = Field("cosine", description="cosine, or exp(-d² / 2 mean d²) of the Euclidean distance d")

    def identity(self) -> dict[str, Any]:
        """With the feature's own identity, its version included."""
        return {**super().identity(), "of": self.of.identity()}

    def spectra(self) -> tuple[Spectrum, ...]:
        """The feature's."""
        return self.of.spectra()

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """similarity (size, size), valid."""
        self.of.columns(seconds)  # refuses clips too short for a frame
        return Column("similarity", (self.size, self.size), "float16", ("time", "time")), Column("valid", dtype="int32")

    def open(self, device: str = "cpu") -> Live:
        """A function from a batch to its columns."""
        feature, name = self.of.open(device), self.of.columns(None)[0].name

        def live(batch: Batch) -> dict[str, Any]:
            made = feature(batch)
            frames = made[name].shape[1]
            similar = stack([self.compare(pooled(clip, self.size)) for clip in made[name]])
            return {"similarity": similar, "valid": (made["valid"] * self.size // max(1, frames)).astype(np.int32)}

        return live

    def compare(self, steps: Any) -> Any:
        """(steps, features) to (steps, steps) float32; a silent step (a 1e10th of the loudest) has no direction: its cosine is 0."""
        xp = namespace(steps)
        squared = (steps * steps).sum(-1)
        if self.measure == "cosine":
            length = squared**0.5
            heard = length > 1e-10 * length.max()
            steps = xp.where(heard, 1 / xp.where(heard, length, xp.ones_like(length)), xp.zeros_like(length))[:, None] * steps
        products = times(steps[None], steps.T)[0] if xp is np else steps @ steps.T
        if self.measure == "cosine":
            return products
        distance = xp.clip(squared[:, None] + squared[None] - 2 * products, 0, None)
        return xp.exp(-distance / xp.clip(2 * distance.mean(), np.finfo(np.float32).tiny, None))


def pooled(frames: Any, size: int) -> Any:
    """Means over `size` steps of equal length; a frame that lies across a border counts to both in proportion.

    Args:
        frames: (frames, features).
    Returns:
        (size, features) float32; zeros where there are no frames.

    >>> pooled(np.array([[1.0], [3.0], [8.0], [2.0], [1.0], [0.0]], np.float32), 2).tolist()
    [[4.0], [1.0]]
    """
    xp = namespace(frames)
    count, features = frames.shape
    if count == 0:
        return stack([frames.sum(0)] * size)
    borders = np.arange(size + 1) * (count / size)
    whole = np.minimum(borders.astype(np.int64), count - 1)
    part = xp.asarray((borders - whole)[:, None])
    # Sums up to each border, in float64: differences of long sums are taken.
    total = xp.empty((count + 1, features), dtype=xp.float64)
    if xp is not np:
        total, part = total.to(frames.device), part.to(frames.device)
    total[0] = 0
    total[1:] = frames
    total = xp.cumsum(total, 0)
    reached = total[whole] + (total[whole + 1] - total[whole]) * part
    means = (reached[1:] - reached[:-1]) * (size / count)
    return means.astype(np.float32) if xp is np else means.float()
