"""In which order clips are best asked about: expected value per minute of a person's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.queue.spread import spread
from pipelines.queue.value import Judged, Known

AGAIN = 0.25  # of a first answer's worth: measured; a label that may be wrong is noise among many, a new clip is news
STANDING = 0.9  # a clip's answers are in dispute below this probability of what they say


@dataclass(frozen=True, eq=False)
class Ranked:
    """rows: clips, the first to be asked about first. gains: what each is worth per minute. again: (rows,) bool, was answered before."""

    rows: NDArray[np.int64]
    gains: NDArray[np.float64]
    again: NDArray[np.bool_]


def ranked(
    vectors: NDArray[Any],
    known: Known,
    found: Judged,
    minutes: NDArray[Any],
    may: NDArray[Any],
    count: int,
    groups: NDArray[Any] | None = None,
    most: int = 0,
    seed: int = 0,
) -> Ranked:
    """The best clips to ask about next, new ones and such as were answered, on one scale.

    A new clip is worth what its answer, if right, tells about all clips (`spread`). A clip that was answered is worth what its right answer
    would tell if there were none, times the probability that what was said is wrong, and AGAIN.

    Args:
        vectors: (clips, axes), `compressed`. minutes: (clips,), of a person's time. may: (clips,) bool, those that may be asked about.
        count: how many. groups, most: at most so many of one group (see `spread`).
    """
    answered = known.answered
    sure = 1 - found.wrong
    # Answers count as far as they are believed.
    heard = np.where(answered, np.maximum(sure, 0.05), 0.0)
    chance = np.where(answered, np.where(sure < STANDING, AGAIN * found.wrong, 0.0), 1 - known.error)
    worth = np.where(may, chance / np.maximum(minutes, 1e-3), 0.0)
    if found.learner is None:
        # To a line through the middle a clip and its opposite are the same; a further axis, equal for all, tells them apart.
        vectors = np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])
    rows, gains = spread(vectors, np.maximum(found.doubt, 0.02), worth, heard, count, groups, most, seed)
    return Ranked(rows, gains, answered[rows])
