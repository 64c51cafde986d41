"""What a head did on recordings that it had not learnt from, tag by tag and on average, beside guessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.heads.calibration import expected_calibration_error
from pipelines.heads.head import Head
from pipelines.heads.scores import areas, draws, hits, interval


def figures(
    calibrated: NDArray[np.float32],
    raw: NDArray[np.float32],
    said: NDArray[np.bool_],
    values: NDArray[np.float32],
    names: Sequence[str],
    groups: NDArray[np.int64],
    exclusive: bool,
    seed: int = 0,
    draw: int = 200,
) -> dict[str, Any]:
    """Figures as JSON: `tags`, `macro` (means over tags), and `classes` if exclusive.

    Args:
        calibrated, raw: (clips, tags) probabilities, with calibration and without. said: (clips, tags) what reached its threshold.
        values: (clips, tags) 1, 0 or nan. groups: (clips,), which are drawn again `draw` times for 95 % intervals.
    """
    weights = draws(groups, draw, seed)
    each: dict[str, dict[str, Any]] = {}
    drawn, values_of = np.full((2, len(names), draw), np.nan), np.full((2, len(names)), np.nan)
    for column, tag in enumerate(names):
        known = ~np.isnan(values[:, column])
        truth, found = values[known, column], calibrated[known, column]
        drawn[:, column] = areas(found, truth, weights if known.all() else weights[known])
        (roc,), (pr,) = areas(found, truth)
        correct, recall, f1 = hits(said[known, column], truth)
        share = float((truth == 1).mean()) if len(truth) else 0.0
        values_of[:, column] = roc, pr
        each[tag] = {
            "clips": int(known.sum()),
            "positives": int((truth == 1).sum()),
            "groups": len(np.unique(groups[known][truth == 1])),
            "roc_auc": interval(roc, drawn[0, column]).json(),
            "pr_auc": interval(pr, drawn[1, column]).json(),
            "f1": round(f1, 6),
            "precision": round(correct, 6),
            "recall": round(recall, 6),
            "calibration_error": expected_calibration_error(found, truth),
            "calibration_error_before": expected_calibration_error(raw[known, column], truth),
            # Who says the tag's share of every clip has a ROC-AUC of 0.5, a PR-AUC of that share, and at best the F1 of always saying it.
            "guessing": {"roc_auc": 0.5, "pr_auc": round(share, 6), "f1": round(2 * share / (1 + share), 6)},
        }
    macro: dict[str, Any] = {}
    for place, name in enumerate(("roc_auc", "pr_auc")):
        real = ~np.isnan(values_of[place])
        # A draw without some rare tag is a mean over fewer tags, of another level; it is left out.
        macro[name] = interval(values_of[place, real].mean(), drawn[place, real].mean(0)).json() if real.any() else [None] * 3
    for name in ("f1", "precision", "recall", "calibration_error", "calibration_error_before"):
        macro[name] = round(float(np.mean([of[name] for of in each.values()])), 6)
    chance = ("roc_auc", "pr_auc", "f1")
    macro["guessing"] = {name: round(float(np.mean([of["guessing"][name] for of in each.values()])), 6) for name in chance}
    found = {"macro": macro, "tags": each}
    return found | {"classes": _classes(calibrated, values, weights)} if exclusive else found


def judged(
    head: Head, vectors: NDArray[np.float32], values: NDArray[np.float32], groups: NDArray[np.int64], seed: int = 0, draw: int = 200
) -> dict[str, Any]:
    """Figures of a head on clips that it has not learnt from, of the same tags; those it cannot be asked about are left out.

    Raises:
        ValueError: there are none.
    """
    usable = np.isfinite(vectors).all(1) & ~np.isnan(values).all(1)
    if head.exclusive:
        usable &= np.nansum(values, axis=1) == 1
    if not usable.any():
        raise ValueError("no clip to judge the head on has a label and an embedding")
    found = head.probabilities(vectors[usable])
    raw = replace(head, slope=np.ones_like(head.slope), offset=np.zeros_like(head.offset)).probabilities(vectors[usable])
    inputs = found, raw, found >= head.thresholds, values[usable], head.tags, groups[usable], head.exclusive, seed, draw
    return {"clips": int(usable.sum()), "groups": len(np.unique(groups[usable])), **figures(*inputs)}


def _classes(probabilities: NDArray[np.float32], values: NDArray[np.float32], weights: NDArray[np.float32]) -> dict[str, Any]:
    """How often the likeliest class is right, and the mean of the classes' F1, beside always saying the commonest."""
    truth, guess = values.argmax(1), probabilities.argmax(1)
    right = (truth == guess).astype(np.float64)
    drawn = right @ weights / weights.sum(0)
    many = values.shape[1]
    commonest = np.full(len(truth), np.bincount(truth, minlength=many).argmax())

    def macro_f1(said: NDArray[Any]) -> float:
        return float(np.mean([hits(said == each, truth == each)[2] for each in range(many)]))

    def confidence(said: NDArray[Any]) -> float:
        return expected_calibration_error(probabilities.max(1), said)

    guessing = {"accuracy": round(float((truth == commonest).mean()), 6), "macro_f1": round(macro_f1(commonest), 6)}
    found = interval(float(right.mean()), drawn)
    return {
        "accuracy": found.json(),
        "macro_f1": round(macro_f1(guess), 6),
        "calibration_error": confidence(right),
        "guessing": guessing,
    }
