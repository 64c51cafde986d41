"""What is known of each clip from its answers, and what one more answer would be worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.queue.learner import Learner, learn, unseen

ERROR = 0.1  # of an answer, until annotators have been measured
BELIEF = 0.5  # how much a head's opinion counts against an answer: it is surer than it should be


@dataclass(frozen=True, eq=False)
class Known:
    """What answers say.

    values: (clips, tags) float32 in [0, 1], probability that the clip has the tag, from its answers alone; nan where nobody answered.
    votes: (clips,) answers. exclusive: a clip has one tag. error: probability that an answer is wrong about a tag.
    """

    values: NDArray[np.float32]
    votes: NDArray[np.int64]
    exclusive: bool
    error: float = ERROR

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(clips,) bool."""
        return np.asarray(~np.isnan(self.values).any(axis=1) & (self.values.shape[1] > 0))


@dataclass(frozen=True, eq=False)
class Judged:
    """What a head makes of answers.

    learner: None where there is nothing to learn from: nobody answered, or all said the same. guesses: (clips, tags) float32.
    doubt: (clips,) float32 in [0, 1], 1 where two tags are equally likely. wrong: (clips,) float32, probability that what the answers to a
    clip say is wrong; 0 without answers.
    """

    learner: Learner | None
    guesses: NDArray[np.float32]
    doubt: NDArray[np.float32]
    wrong: NDArray[np.float32]


def judged(vectors: NDArray[Any], known: Known, seed: int) -> Judged:
    """Learn from the answers, trusting least those that a head which did not see them contradicts."""
    clips, tags = known.values.shape
    rows = np.flatnonzero(known.answered)
    said = known.values[rows]
    wrong = np.zeros(clips, np.float32)
    if not len(rows) or not tags or not varied(said):
        even = np.full((clips, tags), 1 / max(1, tags) if known.exclusive else 0.5, np.float32)
        wrong[rows] = _doubt_of(said, known.exclusive)
        return Judged(None, even, np.ones(clips, np.float32), wrong)
    full = np.ones(len(rows))
    near = vectors[rows]
    both = joined(said, unseen(near, said, full, known.exclusive, seed), known.exclusive)
    agreed = _kept(said, both, known.exclusive)
    wrong[rows] = 1 - agreed
    learner = learn(near, said, np.maximum(agreed, 0.1), known.exclusive)
    guesses = learner.probabilities(vectors)
    return Judged(learner, guesses, doubt(guesses, known.exclusive), wrong)


def varied(values: NDArray[Any]) -> bool:
    """Whether answers, (clips, tags), tell any clips apart."""
    return bool(((values > 0.5) != (values[:1] > 0.5)).any())


def doubt(guesses: NDArray[Any], exclusive: bool) -> NDArray[np.float32]:
    """(clips,) in [0, 1]: how near the two likeliest tags are, or the least certain tag to even odds.

    >>> doubt(np.array([[0.5, 0.4, 0.1]]), True).round(2), doubt(np.array([[0.9, 0.25]]), False).round(2)
    (array([0.9], dtype=float32), array([0.5], dtype=float32))
    """
    if not exclusive:
        return np.asarray(1 - np.abs(2 * guesses - 1).min(axis=1), np.float32)
    if guesses.shape[1] < 2:
        return np.zeros(len(guesses), np.float32)
    best = np.partition(guesses, -2, axis=1)[:, -2:]
    return np.asarray(1 - (best[:, 1] - best[:, 0]), np.float32)


def posterior(counts: NDArray[Any], votes: NDArray[Any], error: float, exclusive: bool) -> NDArray[np.float32]:
    """(clips, tags) float32: probability of each tag after answers of people who are wrong with probability `error`; nan without answers.

    Args:
        counts: (clips, tags), how many answers said the tag. votes: (clips,), answers.

    >>> posterior(np.array([[1, 0], [1, 1]]), np.array([1, 2]), 0.1, True).round(2).tolist()
    [[0.8999999761581421, 0.10000000149011612], [0.5, 0.5]]
    """
    tags = counts.shape[1]
    error = min(max(error, 1e-3), 0.49)
    if exclusive:
        logits = counts * np.log((1 - error) / (error / max(1, tags - 1)))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True)) if tags else logits
        found = odds / odds.sum(axis=1, keepdims=True)
    else:
        found = 1 / (1 + np.exp((votes[:, None] - 2 * counts) * np.log((1 - error) / error)))
    return np.where(votes[:, None] > 0, found, np.nan).astype(np.float32)


def joined(said: NDArray[Any], guessed: NDArray[Any], exclusive: bool) -> NDArray[np.float64]:
    """(clips, tags): what answers and a head that did not see them make likely together."""
    guessed = np.clip(guessed, 1e-6, 1 - 1e-6) ** BELIEF
    if exclusive:
        both = np.clip(said, 1e-6, 1) * guessed
        return np.asarray(both / both.sum(axis=1, keepdims=True), np.float64)
    against = np.clip(1 - said, 1e-6, 1) * (1 - guessed ** (1 / BELIEF)) ** BELIEF
    both = np.clip(said, 1e-6, 1) * guessed
    return np.asarray(both / (both + against), np.float64)


def _kept(said: NDArray[Any], both: NDArray[Any], exclusive: bool) -> NDArray[np.float64]:
    """(clips,): how likely what was said still is."""
    if exclusive:
        return np.asarray(both[np.arange(len(said)), said.argmax(axis=1)], np.float64)
    return np.asarray(np.where(said > 0.5, both, 1 - both).min(axis=1), np.float64)


def _doubt_of(said: NDArray[Any], exclusive: bool) -> NDArray[np.float64]:
    if not said.size:
        return np.zeros(len(said))
    return np.asarray(1 - said.max(axis=1) if exclusive else np.minimum(said, 1 - said).max(axis=1), np.float64)
