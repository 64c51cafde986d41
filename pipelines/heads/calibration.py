"""Scores as probabilities that hold, and from which probability on a tag is said."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10  # of a reliability diagram


def calibrate(scores: NDArray[Any], values: NDArray[Any], exclusive: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Slope and offset of each tag that make its scores probabilities, or one slope for all if exclusive.

    Two numbers a tag (Platt) hold with a handful of positives, where isotonic regression follows their noise, and leave the order of clips
    and so the AUC alone; exclusive classes have one number (temperature), which leaves each clip's likeliest class alone. As in Platt's
    paper, targets stop short of 0 and 1, so that perfect separation gives no certainty.

    Args:
        scores: (clips, tags), of clips that the scorer has not learnt from; rows of nan are left out.
        values: (clips, tags) 1, 0 or nan for unknown.
    Source:
        J. Platt, Probabilistic outputs for support vector machines, 1999; H.-T. Lin et al., doi:10.1007/s10994-007-5018-6;
        C. Guo et al., On calibration of modern neural networks, arXiv:1706.04599; small samples: A. Niculescu-Mizil and R. Caruana,
        doi:10.1145/1102351.1102430.
    """
    tags = scores.shape[1]
    if exclusive:
        rows = ~(np.isnan(scores).any(1) | np.isnan(values).any(1))
        slope = _temperature(scores[rows].astype(np.float64), values[rows].argmax(1))
        return np.full(tags, slope, np.float32), np.zeros(tags, np.float32)
    found = [_platt(column.astype(np.float64), truth) for column, truth in zip(scores.T, values.T, strict=True)]
    return np.array([slope for slope, _ in found], np.float32), np.array([offset for _, offset in found], np.float32)


def _platt(scores: NDArray[np.float64], truth: NDArray[Any]) -> tuple[float, float]:
    from scipy.optimize import minimize
    from scipy.special import expit

    rows = ~(np.isnan(scores) | np.isnan(truth))
    scores, truth = scores[rows], truth[rows]
    have, lack = int((truth == 1).sum()), int((truth == 0).sum())
    target = np.where(truth == 1, (have + 1) / (have + 2), 1 / (lack + 2))
    centre, width = float(scores.mean()), float(scores.std()) or 1.0
    plain = (scores - centre) / width

    def loss(point: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        straight = point[0] * plain + point[1]
        wrong = expit(straight) - target
        said = np.maximum(straight, 0) - straight * target + np.log1p(np.exp(-np.abs(straight)))
        return float(said.sum()), np.array([(wrong * plain).sum(), wrong.sum()])

    # A score that goes the wrong way is no better than none: a slope below 0 would turn the tag round.
    slope, offset = minimize(
        loss, [1.0, np.log((have + 1) / (lack + 1))], jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]
    ).x
    return slope / width, offset - slope * centre / width


def _temperature(scores: NDArray[np.float64], truth: NDArray[Any]) -> float:
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    width = float(scores.std()) or 1.0
    right = scores[np.arange(len(truth)), truth]

    def loss(log_slope: float) -> float:
        slope = np.exp(log_slope)
        return float((logsumexp(slope * scores, axis=1) - slope * right).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(1e-3 / width), np.log(1e3 / width)), method="bounded").x))


def expected_calibration_error(probabilities: NDArray[Any], truth: NDArray[Any], bins: int = BINS) -> float:
    """How far shares of positives are from what was promised, on average over clips, in bins of equally many clips.

    Bins of equal width leave most of a rare tag's clips in one; bins of equal counts compare where clips are.

    Args:
        probabilities, truth: (clips,), truth 1 or 0.
    Source:
        K. Nguyen and B. O'Connor, Posterior calibration and exploratory analysis for NLP models, arXiv:1508.05154.

    >>> expected_calibration_error(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]), bins=2)
    0.0
    >>> expected_calibration_error(np.full(4, 0.9), np.array([1, 0, 0, 1]), bins=1)
    0.4
    """
    order = np.argsort(probabilities, kind="stable")
    said, was = probabilities[order].astype(np.float64), truth[order].astype(np.float64)
    parts = [part for part in np.array_split(np.arange(len(said)), bins) if len(part)]
    gaps = [len(part) * abs(said[part].mean() - was[part].mean()) for part in parts]
    return round(float(sum(gaps)) / len(said), 6) if parts else 0.0


def threshold(probabilities: NDArray[Any], truth: NDArray[Any], precision: float = 0.0) -> tuple[float, bool]:
    """From which probability on a tag is to be said.

    Args:
        probabilities, truth: (clips,), truth 1 or 0.
        precision: 0: where F1 is highest. Otherwise the lowest threshold at which so large a share of what is said is right.
    Returns:
        the threshold, half-way to the next clip below; and whether the precision was reached: if not the threshold is 1, which no
        probability reaches.

    >>> threshold(np.array([0.9, 0.8, 0.6, 0.1]), np.array([1, 1, 0, 0]))
    (0.7, True)
    >>> threshold(np.array([0.9, 0.8]), np.array([0, 1]), precision=0.9)
    (1.0, False)
    """
    order = np.argsort(-probabilities, kind="stable")
    said, right = probabilities[order].astype(np.float64), np.cumsum(truth[order] == 1)
    counts = np.arange(1, len(said) + 1)
    # A threshold takes all clips of equal probability or none of them.
    ends = np.flatnonzero(np.append(said[1:] != said[:-1], True)) if len(said) else np.array([], int)
    if not len(ends) or not right[-1]:
        return 1.0, False
    if precision:
        ends = ends[right[ends] >= precision * counts[ends]]
        if not len(ends) or not right[ends[-1]]:
            return 1.0, False
        best = int(ends[-1])
    else:
        best = int(ends[np.argmax(2 * right[ends] / (counts[ends] + right[-1]))])
    below = said[best + 1] if best + 1 < len(said) else 0.0
    return round(float(said[best] + below) / 2, 6), True
