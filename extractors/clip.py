"""How a track is cut into clips, and what a clip is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field


class Window(BaseModel):
    """Where clips start and how long they are.

    Clips start every `hop` seconds. The last may be shorter than `seconds`: extractors see it padded with silence and count
    the frames that are sound (column `valid`); a rest shorter than `min_seconds` is left out unless it is all there is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Annotated[float, Field(gt=0)] | Literal["track"] = Field(
        30.0, description='seconds of a clip, or "track" for each track whole'
    )
    hop: float | None = Field(None, gt=0, description="seconds from one start to the next; a clip's length if absent")
    min_seconds: float = Field(1.0, ge=0, description="a rest shorter than this is left out")
    max_seconds: float = Field(1800.0, gt=0, description='with "track", longer tracks are rejected: they are held in memory whole')

    @property
    def length(self) -> float | None:
        """Seconds of a clip; None for whole tracks."""
        return None if self.seconds == "track" else self.seconds


@dataclass(frozen=True)
class Clip:
    """A stretch of one track.

    start: seconds from the track's beginning.
    samples: (samples,) float32, mono, at the track's own rate: as much sound as there is, never padded.
    """

    track_id: str
    start: float
    sample_rate: int
    samples: npt.NDArray[np.float32]


def track_id(sha256: str) -> str:
    """A track's name: the first 20 hex digits of the SHA-256 of its file's bytes, so that equal bytes are one track.

    >>> track_id("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    'e3b0c44298fc1c149afb'
    """
    return sha256[:20]
