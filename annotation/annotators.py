"""How well people hear, as far as it can be told: against gold, or else against what the others say; facts with numbers, no verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from annotation.consensus import Consensus
from annotation.decisions import decisions, others
from annotation.likeness import partners
from annotation.votes import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURE = 0.9  # posterior of the others from which on their word is taken for the truth; rates are then off by a tenth of 1 - them at most
GOLD_LEAST = 10  # answers on clips with gold from which on gold alone judges
NOTHING_MUCH = 0.2  # of informedness, 0 to 1
LEAST = 20  # of anything, before a fact is worth telling
Z = 1.959964  # 95 %
Z_FACT = 2.575829  # 99 %: many people are looked at


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval (Wilson's score), and of how many."""

    share: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        return f"{self.share:.2f} ({self.low:.2f} … {self.high:.2f} of {self.of})"


@dataclass(frozen=True)
class Quality:
    """What the answers of one person to one question show.

    basis: what was taken for the truth: "gold", "others" where they are sure, or "" where neither was enough.
    sensitivity: of what holds, how much they said. specificity: of what does not, how much they left unsaid. precision: of what they
        said, how much holds; of regions and moments only, where what was left unsaid cannot be counted.
    early, late, drift: share of right decisions in the first and the second half of their answers, and the difference with its interval.
    accepted: answers that merely confirmed a pre-annotation. seconds: median that an answer took. facts: what is out of the ordinary.
    """

    question: str
    annotator: str
    answers: int
    gold: int = 0
    basis: str = ""
    sensitivity: Rate | None = None
    specificity: Rate | None = None
    precision: Rate | None = None
    early: Rate | None = None
    late: Rate | None = None
    drift: tuple[float, float, float] | None = None
    accepted: Rate | None = None
    seconds: float | None = None
    facts: tuple[str, ...] = ()

    @property
    def informedness(self) -> float:
        """Sensitivity + specificity - 1 (or their F-measure, of regions and moments): 1 knows, 0 guesses; nan where it is not known."""
        if self.sensitivity and self.specificity:
            return self.sensitivity.share + self.specificity.share - 1
        if self.sensitivity and self.precision:
            both = self.sensitivity.share + self.precision.share
            return 2 * self.sensitivity.share * self.precision.share / both if both else 0.0
        return math.nan


def rate(hits: float, of: float, z: float = Z) -> Rate | None:
    """A share with Wilson's interval; None of nothing.

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.

    >>> str(rate(8, 10))
    '0.80 (0.49 … 0.94 of 10)'
    """
    if of <= 0:
        return None
    share = hits / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return Rate(share, max(0.0, centre - half), min(1.0, centre + half), round(of))


def difference(first: Rate, second: Rate) -> tuple[float, float, float]:
    """second - first, with an interval from theirs.

    Source:
        Newcombe, Interval Estimation for the Difference Between Independent Proportions, 1998, method 10.
    """
    gap = second.share - first.share
    low = gap - math.hypot(second.share - second.low, first.high - first.share)
    high = gap + math.hypot(second.high - second.share, first.share - first.low)
    return gap, max(-1.0, low), min(1.0, high)


def quality(votes: Votes, found: Consensus, known: NDArray[Any] | None = None, clip_seconds: NDArray[Any] | None = None) -> list[Quality]:
    """The quality of everybody who answered a question about whole clips.

    Args:
        votes: all answers; `found` may be made of fewer (`consensus.heard`), of the same clips.
        known: (clips, values) 1, 0 or nan: gold. clip_seconds: (clips,) how long they last; nan where nobody knows.
    Returns:
        the least informed first; those of whom nothing is known last.
    """
    import numpy as np

    people, count = len(votes.annotators), len(votes)
    known = np.full(found.probability.shape, np.nan) if known is None else known
    on_gold = ~np.isnan(known).all(axis=1)[votes.clip] if count else np.zeros(0, bool)
    gold = np.bincount(votes.annotator[on_gold], minlength=people)
    # Of each answer: decisions that were right and all of them, where something holds and where it does not; by gold and by the others.
    right = np.zeros((2, 2, count))
    of = np.zeros((2, 2, count))
    decided = list(decisions(votes, found, known))
    for label, p, truth, width in decided:
        rest = others(votes, label, p)
        sure = np.where(rest.max(axis=1, initial=0) >= SURE, rest.argmax(axis=1), -1)
        for basis, true in enumerate((np.where(truth[votes.clip] >= 0, truth[votes.clip], -1), sure)):
            told = true >= 0
            for value in range(width):
                mine = label == (value if width > 1 else 1)
                holds = true == (value if width > 1 else 1)
                right[basis, 0] += told & holds & mine
                of[basis, 0] += told & holds
                right[basis, 1] += told & ~holds & ~mine
                of[basis, 1] += told & ~holds
    judged = [_told(votes, person, int(gold[person]), right, of) for person in range(people) if (votes.annotator == person).any()]
    judged = _usage(votes, judged, clip_seconds)
    alike = partners(votes, decided)
    judged = [replace(each, facts=(*each.facts, *alike.get(each.annotator, ()))) for each in judged]
    return sorted(judged, key=lambda each: (math.isnan(each.informedness), each.informedness, each.annotator))


def _told(votes: Votes, person: int, gold: int, right: NDArray[Any], of: NDArray[Any]) -> Quality:
    import numpy as np

    mine = np.flatnonzero(votes.annotator == person)
    basis = 0 if gold >= GOLD_LEAST else 1
    right, of = right[basis][:, mine], of[basis][:, mine]
    sensitivity, specificity = (rate(right[side].sum(), of[side].sum()) for side in (0, 1))
    told = Quality(
        votes.question,
        votes.annotators[person],
        len(mine),
        gold,
        ("gold", "others")[basis] if of.sum() else "",
        sensitivity,
        specificity,
        accepted=rate(int(votes.accepted[mine].sum()), len(mine)),
    )
    facts = []
    if sensitivity and specificity and min(sensitivity.of, specificity.of) >= LEAST / 2:
        j = sensitivity.share + specificity.share - 1
        room = math.hypot(sensitivity.high - sensitivity.share, specificity.high - specificity.share) * Z_FACT / Z
        if j < -NOTHING_MUCH and j + room < 0:
            facts.append(f"says more often what does not hold than what does: sensitivity {sensitivity}, specificity {specificity}")
        elif j + room < NOTHING_MUCH:
            facts.append(
                f"the answers say next to nothing of the clips: sensitivity {sensitivity}, specificity {specificity}; guessing makes 1"
            )
    when = votes.at[mine]
    if len(mine) >= 2 * LEAST and np.isfinite(when).all() and when.min() < when.max():
        order = np.argsort(when, kind="stable")
        half = len(mine) // 2
        early, late = (rate(right[:, part].sum(), of[:, part].sum()) for part in (order[:half], order[half:]))
        if early and late:
            told = replace(told, early=early, late=late, drift=difference(early, late))
            hits = [(right[:, part].sum(), of[:, part].sum()) for part in (order[:half], order[half:])]
            first, second = (rate(*each, Z_FACT) for each in hits)
            gap, low, high = difference(first, second) if first and second else (0.0, 0.0, 0.0)
            if abs(gap) >= 0.05 and (low > 0 or high < 0):
                facts.append(
                    f"{early.share:.0%} right in the first half, {late.share:.0%} in the second (difference {low:+.2f} … {high:+.2f}, 99 %)"
                )
    return replace(told, facts=tuple(facts))


def _usage(votes: Votes, told: list[Quality], clip_seconds: NDArray[Any] | None) -> list[Quality]:
    """With how people work: how fast, and how often they keep what was there."""
    import numpy as np

    measured = np.isfinite(votes.seconds)
    usual = float(np.median(votes.seconds[measured])) if measured.any() else math.nan
    last = clip_seconds[votes.clip] if clip_seconds is not None else np.full(len(votes), np.inf)
    number = {name: person for person, name in enumerate(votes.annotators)}
    found = []
    for each in told:
        mine = votes.annotator == number[each.annotator]
        facts = list(each.facts)
        took = votes.seconds[mine & measured]
        if len(took):
            each = replace(each, seconds=float(np.median(took)))
            quick = int(((took < usual / 3) & (took < last[mine & measured])).sum())
            if len(took) >= LEAST and quick > len(took) / 2:
                facts.append(
                    f"{quick} of {len(took)} answers came before the clip was over and in under a third of the usual {usual:.1f} s "
                    f"(median {np.median(took):.1f} s)"
                )
        kept, rest = rate(votes.accepted[mine].sum(), mine.sum(), Z_FACT), rate(votes.accepted[~mine].sum(), (~mine).sum())
        if kept and rest and kept.of >= LEAST and kept.low >= 0.85 and kept.low > rest.high:
            facts.append(
                f"kept the pre-annotation as it was in {round(kept.share * kept.of)} of {kept.of} answers; the others in {rest.share:.0%}"
            )
        found.append(replace(each, facts=tuple(facts)))
    return found
