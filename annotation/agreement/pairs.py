"""Two answers to the same clip: what agreement is made of.

Where answers that merely accepted a pre-annotation are looked at, the others still stand beside them: `apart` marks answers of which two
make no pair that counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from annotation.votes import Votes

Array = NDArray[Any]


def shared(votes: Votes) -> Votes:
    """The answers to clips that two people or more have answered; these clips alone are numbered, from 0."""
    several = np.bincount(votes.clip, minlength=len(votes.clips)) >= 2
    kept = votes.only(several[votes.clip])
    clips, number = np.unique(kept.clip, return_inverse=True)
    names, tracks = (tuple(each[clip] for clip in clips) for each in (votes.clips, votes.tracks))
    return replace(kept, clip=number, clips=names, tracks=tracks)


def pairs(votes: Votes, apart: Array) -> tuple[Array, Array]:
    """(pairs,) and (pairs,): both answers of each pair, in the order of clips.

    Args:
        apart: (answers,) bool, of which two make no pair.
    """
    order = np.argsort(votes.clip, kind="stable")
    clip = votes.clip[order]
    most = int(np.bincount(clip).max(initial=0))
    firsts: list[Array] = [np.zeros(0, np.int64)]
    seconds: list[Array] = [np.zeros(0, np.int64)]
    for step in range(1, most):  # people of one clip, who stand side by side
        (at,) = np.nonzero(clip[step:] == clip[:-step])
        firsts.append(order[at])
        seconds.append(order[at + step])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    counts = ~(apart[first] & apart[second])
    first, second = first[counts], second[counts]
    sequence = np.lexsort((second, first, votes.clip[first]))
    return first[sequence], second[sequence]


def by_clip(clip: Array, amounts: Array, clips: int) -> Array:
    """(clips,): the mean over each clip's pairs; nan where it has none.

    Args:
        clip: (pairs,). amounts: (pairs,), nan where two answers cannot be compared.
    """
    known = np.isfinite(amounts)
    count = np.bincount(clip[known], minlength=clips)
    total = np.bincount(clip[known], amounts[known], minlength=clips)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def said_of(votes: Votes, answers: Array | None = None) -> Any:
    """Sparse (clips, values): how many said each value of each clip, however often in one answer.

    Args:
        answers: (answers,) bool, those that are counted; all if None.
    """
    once = np.unique(votes.answer * max(1, len(votes.values)) + votes.value)
    answer, value = once // max(1, len(votes.values)), once % max(1, len(votes.values))
    if answers is not None:
        answer, value = answer[answers[answer]], value[answers[answer]]
    return table(votes.clip[answer], value, (len(votes.clips), len(votes.values)))


def table(row: Array, column: Array, shape: tuple[int, int]) -> Any:
    """Sparse counts of places that come up."""
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=shape)


def alone(votes: Votes) -> Array:
    """(answers,): the value of each answer that holds exactly one, else -1."""
    found = np.full(len(votes), -1)
    found[votes.answer] = votes.value
    found[np.bincount(votes.answer, minlength=len(votes)) != 1] = -1
    return found
