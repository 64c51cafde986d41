"""A head that is judged on recordings it has not heard: cross-validation by group, calibration, thresholds, figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.heads.calibration import calibrate, threshold
from pipelines.heads.figures import figures
from pipelines.heads.groups import folds
from pipelines.heads.head import Head, Kind, as_probabilities, fit, learnable

# What squared weights may cost; the best is chosen. An mlp is costly to fit, and minds less.
STRENGTHS: dict[Kind, tuple[float, ...]] = {"linear": (1, 10, 100, 1000, 10_000), "svm": (10, 100, 1000, 10_000), "mlp": (0.1, 10)}
CHOOSING = 6_000  # clips on which it is chosen; more change the choice no more
INNER = 3  # folds in which it is chosen


@dataclass(frozen=True)
class Trained:
    """A head, and a line for each thing that was left out of it or that its figures cannot say."""

    head: Head
    remarks: tuple[str, ...]


def train(
    vectors: NDArray[np.float32],
    values: NDArray[np.float32],
    tags: Sequence[str],
    groups: NDArray[np.int64],
    kind: Kind = "linear",
    exclusive: bool = False,
    count: int = 5,
    precision: float = 0.0,
    seed: int = 0,
    draw: int = 200,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Trained:
    """Fit a head to all clips, calibrated and judged by heads that were fitted to all groups but those they are asked about.

    Each fold chooses its own strength of regularisation, among groups of its own, so that the figures hold for the whole procedure.
    Reported probabilities and thresholds of a fold come from the other folds as well.

    Args:
        vectors: (clips, dimensions). values: (clips, tags) 1, 0, nan. groups: (clips,) of recordings that belong together.
        count: of folds. precision: what a tag's threshold is to reach; 0 is the threshold of the highest F1.
        draw: how often groups are drawn again for the intervals.
    Raises:
        ValueError: nothing can be learnt; why, in one line for each tag.
    """
    remarks: list[str] = []
    rows, columns, left = _usable(vectors, values, tags, groups, exclusive, count, remarks)
    vectors, values, groups = vectors[rows], values[np.ix_(rows, columns)], groups[rows]
    names = [tags[column] for column in columns.tolist()]
    fold = folds(values, groups, count)
    scores = np.full(values.shape, np.nan, np.float32)
    chosen = []
    for each in range(count):
        inside, outside = fold != each, fold == each
        progress(each, count + 1)
        chosen.append(_strength(vectors[inside], values[inside], names, groups[inside], kind, exclusive, seed))
        scores[outside] = fit(vectors[inside], values[inside], names, kind, exclusive, chosen[-1], seed).scores(vectors[outside])
    progress(count, count + 1)
    strength = _strength(vectors, values, names, groups, kind, exclusive, seed)
    head = fit(vectors, values, names, kind, exclusive, strength, seed)
    raw = as_probabilities(scores, head.slope if kind == "svm" else 1, head.offset if kind == "svm" else 0, exclusive)
    slope, offset = calibrate(scores, values, exclusive)
    limits, promised = _thresholds(as_probabilities(scores, slope, offset, exclusive), values, precision)
    calibrated, said = np.empty_like(scores), np.zeros(values.shape, bool)
    for each in range(count):
        inside, outside = fold != each, fold == each
        straight = calibrate(scores[inside], values[inside], exclusive)
        calibrated[outside] = as_probabilities(scores[outside], *straight, exclusive)
        from_others, _ = _thresholds(as_probabilities(scores[inside], *straight, exclusive), values[inside], precision)
        said[outside] = calibrated[outside] >= from_others
    remarks += [
        f"{tag!r}: a precision of {precision:g} was not reached; it is never said"
        for tag, kept in zip(names, promised, strict=True)
        if not kept
    ]
    found = figures(calibrated, raw, said, values, names, groups, exclusive, seed, draw)
    for tag, of in found["tags"].items():
        if of["roc_auc"][0] is not None and of["roc_auc"][0] <= 0.5:
            remarks.append(f"{tag!r}: no better than guessing (ROC-AUC {of['roc_auc'][0]:.2f})")
    sizes = {"clips": len(values), "groups": len(np.unique(groups)), "folds": count}
    choice = {"strength": strength, "strengths": chosen, "precision": precision, "left_out": left}
    progress(count + 1, count + 1)
    head = replace(head, slope=slope, offset=offset, thresholds=limits, figures=sizes | choice | found)
    return Trained(head, tuple(remarks))


def _usable(
    vectors: NDArray[np.float32],
    values: NDArray[np.float32],
    tags: Sequence[str],
    groups: NDArray[np.int64],
    exclusive: bool,
    count: int,
    remarks: list[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, str]]:
    """Which clips and tags can be learnt from, and the tags that cannot with the reason; what is left out is remarked.

    Raises:
        ValueError: nothing is left.
    """
    known = ~np.isnan(values).all(1)
    strange = known & ~np.isfinite(vectors).all(1)
    if strange.any():
        remarks.append(f"{int(strange.sum())} clips are left out: their embeddings are not finite")
    usable = known & ~strange
    if exclusive:
        sums = np.nansum(values, axis=1)
        for wrong, what in ((usable & (sums > 1), "several classes"), (usable & (sums == 0), "none of the classes")):
            if wrong.any():
                remarks.append(f"{int(wrong.sum())} clips are left out: they have {what}, and exclusive heads say one")
        usable &= sums == 1
    left: dict[str, str] = {}
    columns = list(range(len(tags)))
    while True:  # without a class its clips go too, and with them perhaps another class's groups
        rows = np.flatnonzero(usable)
        names = [tags[column] for column in columns]
        fresh = _unlearnable(values[rows][:, columns], names, groups[rows], count)
        left |= fresh
        columns = [column for column in columns if tags[column] not in fresh]
        if exclusive:
            usable &= (values[:, columns] == 1).any(1)
        if not fresh:
            break
    usable &= ~np.isnan(values[:, columns]).all(1)
    remarks += [f"{tag!r} is left out: {why}" for tag, why in left.items()]
    if len(columns) < (2 if exclusive else 1):
        why = "; ".join(remarks[:20]) or "no labels"
        raise ValueError(f"nothing can be learnt: {why}")
    return np.flatnonzero(usable), np.array(columns), left


def _unlearnable(values: NDArray[np.float32], names: Sequence[str], groups: NDArray[np.int64], count: int) -> dict[str, str]:
    found = learnable(values, names)
    for column, tag in enumerate(names):
        for value, does in ((1, ("has", "have")), (0, ("lacks", "lack"))):
            there = len(np.unique(groups[values[:, column] == value]))
            if tag not in found and there < count:
                remedy = f"label more, or take --folds {there}" if there > 1 else "label more"
                lot = f"group of recordings {does[0]} it" if there == 1 else f"groups of recordings {does[1]} it"
                found[tag] = f"only {there} {lot}, for {count} folds; {remedy}"
    if len(names) - len(found) <= 0 or found:
        return found
    # Shares that cannot be equal may leave a fold's complement with one class alone.
    fold = folds(values, groups, count)
    for each in range(count):
        for tag in learnable(values[fold != each], names):
            found[tag] = f"its clips lie in too few groups of recordings to be split {count} times"
    return found


def _strength(
    vectors: NDArray[np.float32],
    values: NDArray[np.float32],
    names: Sequence[str],
    groups: NDArray[np.int64],
    kind: Kind,
    exclusive: bool,
    seed: int,
) -> float:
    """The strength with the least log-loss on groups that were not learnt from; the strongest of equals."""
    taken = _some(groups, seed)
    vectors, values, groups = vectors[taken], values[taken], groups[taken]
    if len(np.unique(groups)) < INNER:
        return STRENGTHS[kind][-1]
    fold = folds(values, groups, INNER)
    losses = dict.fromkeys(sorted(STRENGTHS[kind], reverse=True), 0.0)
    for each in range(INNER):
        inside, outside = fold != each, fold == each
        unknown = learnable(values[inside], names)
        columns = [column for column, tag in enumerate(names) if tag not in unknown]
        if exclusive:
            inside, outside = inside & (values[:, columns] == 1).any(1), outside & (values[:, columns] == 1).any(1)
        if len(columns) < 1 + exclusive:
            continue
        part = [names[column] for column in columns]
        truth = values[np.ix_(outside, columns)]
        for strength in losses:
            head = fit(vectors[inside], values[np.ix_(inside, columns)], part, kind, exclusive, strength, seed)
            losses[strength] += _log_loss(head.probabilities(vectors[outside]), truth, exclusive)
    return min(losses, key=lambda strength: losses[strength])


def _some(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Clips of groups drawn until there are enough."""
    if len(groups) <= CHOOSING:
        return np.arange(len(groups))
    _, group = np.unique(groups, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(int(group.max()) + 1)[group]
    order = np.argsort(rank, kind="stable")
    last = rank[order[CHOOSING]]
    return np.asarray(np.flatnonzero(rank <= last), np.int64)


def _log_loss(probabilities: NDArray[np.float32], truth: NDArray[np.float32], exclusive: bool) -> float:
    right = np.where(truth == 1, probabilities, 1 if exclusive else 1 - probabilities)
    known = ~np.isnan(truth)
    return float(-np.log(right[known]).sum(dtype=np.float64) / max(1, len(truth)))


def _thresholds(
    probabilities: NDArray[np.float32], values: NDArray[np.float32], precision: float
) -> tuple[NDArray[np.float32], list[bool]]:
    found = []
    for column, truth in zip(probabilities.T, values.T, strict=True):
        known = ~np.isnan(truth)
        found.append(threshold(column[known], truth[known], precision))
    return np.array([limit for limit, _ in found], np.float32), [kept for _, kept in found]
