"""How many answers a queue saves, measured: people who err answer about a labelled collection, in several orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.queue.learner import compressed, learn
from pipelines.queue.order import ranked
from pipelines.queue.value import ERROR, Judged, Known, judged, posterior, varied

TEST = 0.3  # of the groups
FIRST, BATCH = 20, 10  # clips that are chosen at once, at the beginning and later
NEAR = 5  # times a batch's size: the least certain clips of which k-means takes a batch
SHARE = 0.95  # of the score with all labels, at which orders are compared
FURTHER = 2  # answers beyond the usual number that a disputed clip may get

# name: what is done; answers that each clip gets at once, 0 for as many as there are annotators.
ORDERS: dict[str, tuple[str, int]] = {
    "random": ("clips by lot, each answered by all annotators", 0),
    "margin + k-means": ("the least certain clips, spread by k-means, each answered by all annotators", 0),
    "random, one answer": ("clips by lot, each answered once", 1),
    "margin + k-means, one answer": ("the least certain clips, spread by k-means, each answered once", 1),
    "queue": ("the queue's order, one answer at a time, a further one where answers are in doubt", 1),
}
HEADS = ("discriminant", "logistic")


@dataclass(frozen=True, eq=False)
class Problem:
    """A labelled collection. vectors: (clips, axes), compressed. truth: (clips,) the tag of each. tags: names. groups: (clips,)."""

    vectors: NDArray[np.float32]
    truth: NDArray[np.int64]
    tags: tuple[str, ...]
    groups: NDArray[Any]


@dataclass(frozen=True)
class Curve:
    """One order with one seed. asked: answers; clips: heard at least once; scores: macro-F1 on groups never asked about, by head."""

    order: str
    seed: int
    asked: list[int]
    clips: list[int]
    scores: dict[str, list[float]]


def problem(vectors: NDArray[Any], values: NDArray[Any], tags: Sequence[str], groups: Sequence[str]) -> tuple[Problem, list[str]]:
    """The clips that have one tag, an embedding and a group.

    Args:
        values: (clips, tags) 1, 0 or nan. groups: (clips,) names, "" where there is none.
    Returns:
        it, and what was left out.
    Raises:
        ValueError: fewer than two tags or groups are left.
    """
    one = np.nan_to_num(values).sum(axis=1) == 1
    finite = np.isfinite(vectors).all(axis=1)
    remarks = [
        f"{int(count)} clips {what} are left out"
        for count, what in (((~one).sum(), "without one tag"), ((one & ~finite).sum(), "without a finite embedding"))
        if count
    ]
    kept = np.flatnonzero(one & finite)
    names = np.array([groups[row] for row in kept])
    if len(kept) and not (names != "").any():
        raise ValueError("--group: no clip has a group; name a column that tells which clips must not be on both sides of the split")
    if (lost := int((names == "").sum())) and len(kept):
        remarks.append(f"{lost} clips have no group; together they are one")
    truth = np.nan_to_num(values[kept]).argmax(axis=1) if len(kept) else np.zeros(0, np.int64)
    if len(set(truth.tolist())) < 2 or len(set(names.tolist())) < 2:
        raise ValueError(
            f"{len(set(truth.tolist()))} tags in {len(set(names.tolist()))} groups; two of each are needed to learn and to test"
        )
    single = [tags[tag] for tag, count in enumerate(np.bincount(truth, minlength=len(tags))) if count == 1]
    remarks += [f"one clip alone has {', '.join(single)}"] if single else []
    return Problem(compressed(vectors[kept]), truth, tuple(tags), names), remarks


def simulate(
    given: Problem,
    seeds: int,
    error: float,
    annotators: int,
    budget: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[Curve]:
    """The curves of all orders, and of all labels (order "all"), which every clip then has from all annotators.

    Within a seed each order is given the same answers to the same clips, and the same groups are kept for the test.

    Args:
        error: probability that an answer is another tag. budget: answers at which an order ends; all, for the random one, if 0.
    """
    done = 0
    for seed in range(seeds):
        test = _held_out(given.groups, seed)
        answers = _answers(given.truth[~test], len(given.tags), error, annotators + FURTHER, seed)
        for order in (*ORDERS, "all"):
            yield _run(given, test, answers, order, annotators, seed, budget)
            done += 1
            progress(done, seeds * (len(ORDERS) + 1))


def _held_out(groups: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    names = np.unique(groups)
    chosen = np.random.default_rng([seed, 1]).permutation(names)[: max(1, round(TEST * len(names)))]
    return np.isin(groups, chosen)


def _answers(truth: NDArray[Any], tags: int, error: float, count: int, seed: int) -> NDArray[np.int64]:
    """(clips, count) what people would say; who errs says any other tag."""
    rng = np.random.default_rng([seed, 2])
    wrong = rng.random((len(truth), count)) < error
    other = (truth[:, None] + rng.integers(1, tags, wrong.shape)) % tags
    return np.where(wrong, other, truth[:, None])


def _run(given: Problem, test: NDArray[np.bool_], answers: NDArray[Any], order: str, annotators: int, seed: int, budget: int) -> Curve:
    near, far = given.vectors[~test], given.vectors[test]
    count, tags = len(near), len(given.tags)
    counts, votes = np.zeros((count, tags), np.float32), np.zeros(count, np.int64)
    rng = np.random.default_rng([seed, 3])
    lot = rng.permutation(count)
    curve = Curve(order, seed, [], [], {head: [] for head in HEADS})
    once = ORDERS[order][1] or annotators if order in ORDERS else annotators
    # Nobody knows the error beforehand: people are presumed to be as good as a queue presumes.
    known, opinion = _state(near, counts, votes, seed)
    while votes.sum() < (budget or count * annotators):
        size = count if order == "all" else BATCH if votes.any() else FIRST
        chosen = (
            lot[:size] if order in ("all", "random", "random, one answer") else _choose(order, near, known, opinion, size, annotators, seed)
        )
        if not len(chosen):
            break
        lot = lot[size:]
        for row in chosen:
            for _ in range(once):
                counts[row, answers[row, votes[row]]] += 1
                votes[row] += 1
        known, opinion = _state(near, counts, votes, seed)
        curve.asked.append(int(votes.sum()))
        curve.clips.append(int((votes > 0).sum()))
        for head, guessed in _heads(near, far, known, opinion).items():
            curve.scores[head].append(macro_f1(given.truth[test], guessed))
    return curve


def _state(near: NDArray[Any], counts: NDArray[Any], votes: NDArray[Any], seed: int) -> tuple[Known, Judged]:
    known = Known(posterior(counts, votes, ERROR, True), votes, True)
    return known, judged(near, known, seed)


def _choose(order: str, near: NDArray[Any], known: Known, opinion: Judged, size: int, annotators: int, seed: int) -> NDArray[np.int64]:
    if order == "queue":
        may = known.votes < annotators + FURTHER
        return ranked(near, known, opinion, np.ones(len(near)), may, size, seed=seed).rows
    from pipelines.neighbours import centres

    rest = np.flatnonzero(known.votes == 0)
    pool = rest if opinion.learner is None else rest[np.argsort(-opinion.doubt[rest], kind="stable")[: NEAR * size]]
    return np.asarray(pool[centres(near[pool], min(size, len(pool)), seed)], np.int64)


def _heads(near: NDArray[Any], far: NDArray[Any], known: Known, opinion: Judged) -> dict[str, NDArray[np.int64]]:
    """What each head says of the test clips, having learnt from the same answers; both trust doubtful answers less."""
    rows = np.flatnonzero(known.answered)
    said = known.values[rows].argmax(axis=1)
    if not varied(known.values[rows]):
        same = np.full(len(far), said[0])
        return dict.fromkeys(HEADS, same)
    from sklearn.linear_model import LogisticRegression

    trust = np.maximum(1 - opinion.wrong[rows], 0.1)
    flat = learn(near[rows], known.values[rows], trust, True)
    slow = LogisticRegression(C=100.0, max_iter=200).fit(near[rows], said, sample_weight=trust)
    return {"discriminant": flat.probabilities(far).argmax(axis=1), "logistic": np.asarray(slow.predict(far))}


def macro_f1(truth: NDArray[Any], guessed: NDArray[Any]) -> float:
    """The mean F1 of the tags that the test clips have.

    >>> macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    0.7333333333333334
    """
    scores = []
    for tag in np.unique(truth):
        hits = int(((truth == tag) & (guessed == tag)).sum())
        scores.append(2 * hits / (int((truth == tag).sum()) + int((guessed == tag).sum())))
    return float(np.mean(scores))
