"""Whose answers are more alike than listening makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from annotation.decisions import confusions, others
from annotation.votes import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annotation.decisions import Decision

LEAST = 20  # common clips
PAIRS_MOST = 2_000_000


def partners(votes: Votes, decided: Sequence[Decision]) -> dict[str, list[str]]:
    """Whose answers are more alike than two people of their accuracy, who listen each for themselves, give; answers that both merely
    confirm a pre-annotation do not count."""
    import numpy as np
    from scipy.stats import poisson

    both = _pairs(votes)
    if not both.shape[1]:
        return {}
    people = len(votes.annotators)
    first, second = np.sort(votes.annotator[both], axis=0)
    names, pair = np.unique(first * people + second, return_inverse=True)
    differ, expected = np.zeros(len(names)), np.zeros(len(names))
    for label, p, _, _ in decided:
        known = confusions(votes.clip, votes.annotator, label, p, people, prior=4.0)
        truth = others(votes, label, p, both)
        alike = np.einsum("nzk,nzk->nz", known[names // people], known[names % people])
        expected += np.bincount(pair, weights=1 - np.einsum("nz,nz->n", truth, alike[pair]), minlength=len(names))
        differ += np.bincount(pair, weights=label[both[0]] != label[both[1]], minlength=len(names))
    shared = np.bincount(pair, minlength=len(names))
    rare = poisson.cdf(differ, expected) < 1e-3 / len(names)
    found: dict[str, list[str]] = {}
    for place in np.flatnonzero(rare & (differ < expected / 2) & (shared >= LEAST)).tolist():
        one, other = (votes.annotators[person] for person in divmod(int(names[place]), people))
        for name, partner in ((one, other), (other, one)):
            found.setdefault(name, []).append(
                f"differs from {partner} in {differ[place]:.0f} decisions on {shared[place]} common clips, "
                f"where their accuracy leads to expect {expected[place]:.0f}"
            )
    return found


def _pairs(votes: Votes) -> NDArray[Any]:
    """(2, pairs) answers of two people to one clip, not both of them a pre-annotation that was kept."""
    import numpy as np

    order = np.argsort(votes.clip, kind="stable")
    clip = votes.clip[order]
    found, total = [], 0
    for step in range(1, len(votes.annotators)):
        same = np.flatnonzero(clip[step:] == clip[:-step]) if step < len(clip) else np.zeros(0, np.int64)
        if not len(same) or total >= PAIRS_MOST:
            break
        found.append(np.stack([order[same], order[same + step]]))
        total += len(same)
    if not found:
        return np.zeros((2, 0), np.int64)
    both = np.concatenate(found, axis=1)
    return np.asarray(both[:, ~(votes.accepted[both[0]] & votes.accepted[both[1]])])
