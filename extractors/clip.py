"""How a track is cut into clips, and what a clip is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

SHORTEST = 0.001  # seconds of a clip and between two starts: a recipe must not ask for clips without end


class Window(BaseModel):
    """Where clips start and how long they are.

    Clips start every `hop` seconds. The last may be shorter than `seconds`: extractors see it padded with silence and count
    the frames that are sound (column `valid`); a rest shorter than `min_seconds` is left out unless it is all there is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Annotated[float, Field(ge=SHORTEST)] | Literal["track"] = Field(
        30.0, description='seconds of a clip, or "track" for each track whole'
    )
    hop: float | None = Field(None, ge=SHORTEST, description="seconds from one start to the next; a clip's length if absent")
    min_seconds: float = Field(1.0, ge=0, description="a rest shorter than this is left out")
    max_seconds: float = Field(1800.0, gt=0, description='with "track", longer tracks are rejected: they are held in memory whole')

    @property
    def length(self) -> float | None:
        """Seconds of a clip; None for whole tracks."""
        return None if self.seconds == "track" else self.seconds


@dataclass(frozen=True)
class Mask:
    """A stretch of a log-mel spectrogram to hide.

    axis: "time", start and stop in seconds of the clip; or "mel", start and stop as shares of the bands from the lowest, 0 to 1.
    """

    axis: Literal["time", "mel"]
    start: float
    stop: float


@dataclass(frozen=True)
class Clip:
    """A stretch of one track, or a view of it.

    start: seconds from the track's beginning.
    samples: (samples,) float32, mono, at the track's own rate or a view's: as much sound as there is, never padded.
    view: 0 is the stretch untouched; others were changed as `lineage` says (JSON: see augment.chain).
    masks: what a log-mel front end may hide.
    peak: the largest absolute sample; above 1 where it was made louder than a file of integers holds.
    pending: draws of the lineage that are still to be done to the samples (see augment.deferred).
    """

    track_id: str
    start: float
    sample_rate: int
    samples: npt.NDArray[np.float32]
    view: int = 0
    lineage: str = ""
    masks: tuple[Mask, ...] = ()
    peak: float = 0.0
    pending: tuple[dict[str, Any], ...] = ()


def track_id(sha256: str) -> str:
    """A track's name: the first 20 hex digits of the SHA-256 of its file's bytes, so that equal bytes are one track.

    >>> track_id("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    'e3b0c44298fc1c149afb'
    """
    return sha256[:20]


def clip_id(track_id: str, start: float, seconds: float | None) -> str:
    """The identity of a stretch of a track: 20 hex digits.

    Args:
        seconds: the window's length; None for the whole track.

    >>> clip_id("ab12", 0.0, 30.0) == clip_id("ab12", 0.0, 30.0) != clip_id("ab12", 15.0, 30.0)
    True
    """
    length = "track" if seconds is None else f"{seconds:.6f}"
    return hashlib.sha256(f"{track_id} {start:.6f} {length}".encode()).hexdigest()[:20]
