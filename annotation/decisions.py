"""What each answer decides, how often each person decides what of which truth, and how likely each truth is by the others' answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from annotation.consensus import Consensus, choice
from annotation.votes import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # (answers,) label; (clips, labels) posterior; (clips,) gold label or -1; how many values.
    Decision = tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]


def decisions(votes: Votes, found: Consensus, known: NDArray[Any]) -> Iterator[Decision]:
    """What each answer decides: (answers,) label; (clips, labels) posterior; (clips,) gold label or -1; how many values."""
    import numpy as np

    width = len(votes.values)
    p = found.probability
    p = np.where(np.isnan(p), np.nan_to_num(np.nanmean(p, axis=0) if (~np.isnan(p)).any() else 0.0), p)  # where no answer counted
    if found.exclusive:
        chosen, _ = choice(votes)
        told = ~np.isnan(known).all(axis=1)
        truth = np.where(told, np.where((known == 1).any(axis=1), np.nan_to_num(known).argmax(axis=1), width), -1)
        if width == 1:  # "yes" or nothing
            chosen, truth = 1 - chosen, np.where(truth >= 0, 1 - truth, -1)
            yield chosen, np.column_stack([1 - p[:, 0], p[:, 0]]), truth, 1
        else:
            yield chosen, np.column_stack([p, np.maximum(0.0, 1 - p.sum(axis=1))]), truth, width
        return
    for value in range(width):
        truth = np.where(np.isnan(known[:, value]), -1, np.nan_to_num(known[:, value])).astype(np.int64)
        yield votes.chosen(value).astype(np.int64), np.column_stack([1 - p[:, value], p[:, value]]), truth, 1


def confusions(
    clip: NDArray[Any], annotator: NDArray[Any], label: NDArray[Any], p: NDArray[Any], people: int, prior: float = 0.0
) -> NDArray[Any]:
    """How often each person says what of which truth.

    Args:
        clip, annotator, label: (votes,). p: (clips, labels), how likely each truth is.
        prior: right answers that everybody begins with, for each truth, beside a quarter of as many wrong ones.
    Returns:
        (people, truth, said) float64; rows sum to 1, nan where a person met no such truth.
    """
    import numpy as np

    labels = p.shape[1]
    counts = np.empty((people, labels, labels))
    for truth in range(labels):
        flat = np.bincount(annotator * labels + label, weights=p[clip, truth], minlength=people * labels)
        counts[:, truth] = flat.reshape(people, labels)
    if prior:
        counts += prior * np.where(np.eye(labels, dtype=bool), 1.0, 0.25 / max(1, labels - 1))
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / counts.sum(axis=2, keepdims=True))


def others(votes: Votes, label: NDArray[Any], p: NDArray[Any], also: NDArray[Any] | None = None) -> NDArray[Any]:
    """(answers, labels): how likely each truth is by everybody's answers but this one; (pairs, labels), without two, if `also` names them.

    Args:
        also: (2, pairs) answers to leave out.
    """
    import numpy as np

    logs = np.log(_logs(votes, label, p))
    total = np.stack([np.bincount(votes.clip, weights=logs[:, truth], minlength=len(p)) for truth in range(p.shape[1])], axis=1)
    total = total + np.log(np.maximum(p.mean(axis=0), 1e-9))
    rest = total[votes.clip] - logs if also is None else total[votes.clip[also[0]]] - logs[also[0]] - logs[also[1]]
    rest = np.exp(rest - rest.max(axis=1, keepdims=True))
    return np.asarray(rest / rest.sum(axis=1, keepdims=True))


def _logs(votes: Votes, label: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
    """(answers, labels): how likely this person's answer is under each truth."""
    import numpy as np

    known = confusions(votes.clip, votes.annotator, label, p, len(votes.annotators), prior=4.0)
    return np.asarray(np.maximum(known[votes.annotator, :, label], 1e-9))
