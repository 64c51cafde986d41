"""The layers of a head: what scikit-learn fits, and what is fitted for many tags at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Layers = list[tuple[NDArray[Any], NDArray[Any]]]

HIDDEN = 64  # units of an mlp


def fitted(given: NDArray[Any], truth: NDArray[Any], kind: str, exclusive: bool, strength: float, seed: int) -> Layers:
    """(inputs, outputs) weights and (outputs,) what is added, for each layer.

    Args:
        given: (clips, dimensions), standardised. truth: (clips, tags) 1, 0 or nan. kind, …: as in `pipelines.heads.head.fit`.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):  # sums that are split over threads end in other digits
        if kind == "linear":
            from pipelines.heads.logistic import logistic

            return [logistic(given, truth, strength, exclusive)]
        return _svm(given, truth, strength) if kind == "svm" else _mlp(given, truth, exclusive, strength, seed)


def _svm(given: NDArray[Any], truth: NDArray[Any], strength: float) -> Layers:
    from sklearn.svm import LinearSVC

    parts = []
    for column in truth.T:
        known = ~np.isnan(column)
        # With more clips than dimensions the primal is the smaller problem, and draws nothing.
        found = LinearSVC(C=1 / strength, dual=False, max_iter=10_000).fit(given[known], column[known])
        parts.append((found.coef_[0], found.intercept_))
    return [(np.stack([weights for weights, _ in parts], 1), np.concatenate([bias for _, bias in parts]))]


def _mlp(given: NDArray[Any], truth: NDArray[Any], exclusive: bool, strength: float, seed: int) -> Layers:
    """Tags of which the same clips are known share a hidden layer; the layers of several such sets lie side by side."""
    import warnings

    from scipy.linalg import block_diag
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    known = ~np.isnan(truth)
    sets: dict[bytes, list[int]] = {}
    for tag in range(truth.shape[1]):
        sets.setdefault(known[:, tag].tobytes(), []).append(tag)
    hidden, out, order = [], [], []
    for members in sets.values():
        rows = known[:, members[0]]
        target: Any = truth[np.ix_(rows, members)].astype(int)
        # scikit-learn takes one column of zeros and ones as two classes, and classes by their number.
        target = target.argmax(1) if exclusive else target[:, 0] if len(members) == 1 else target
        network = MLPClassifier((HIDDEN,), alpha=strength, random_state=seed, max_iter=100, batch_size=min(200, int(rows.sum())))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred rounds are the stop that is meant
            network.fit(given[rows], target)
        weights, bias = network.coefs_, network.intercepts_
        if exclusive and len(members) == 2:  # one score for two classes
            weights[1], bias[1] = np.hstack([-weights[1], weights[1]]) / 2, np.concatenate([-bias[1], bias[1]]) / 2
        hidden.append((weights[0], bias[0]))
        out.append((weights[1], bias[1]))
        order += members
    back = np.argsort(order)
    first = np.hstack([weights for weights, _ in hidden]), np.concatenate([bias for _, bias in hidden])
    last = block_diag(*[weights for weights, _ in out])[:, back], np.concatenate([bias for _, bias in out])[back]
    return [first, last]
