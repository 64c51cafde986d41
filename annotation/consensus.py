"""What votes agree on, tag by tag or choice by choice, with how sure that is: crowd-kit's methods, and the only place that imports it.

majority        the share of answers. Right where clips have one answer each, or one person gave them all: nobody's skill can be learnt.
dawid-skene     each person's confusion matrix and the truth, learnt from each other; the default. Apt from two or three answers a clip on,
                and the only one that learns from known answers (gold). As its authors wrote it, it loses to majority where people gave few
                answers, since it believes whoever was never contradicted; here all begin with a few right and wrong answers (`TRUST`).
mace            who guesses, and how often, instead of whole confusion matrices: apt for choices that are about as frequent, among spammers;
                not for rare tags, as it holds each choice for equally likely.
glad            people's skill and clips' difficulty: apt for small campaigns of clips that differ much in it; hours from 50,000 answers on.

Source:
    Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm, 1979.
    Hovy et al., Learning Whom to Trust with MACE, NAACL 2013. Whitehill et al., Whose Vote Should Count More, NIPS 2009.
    Ustalov, Pavlichenko and Tseitlin, Learning from Crowds with Crowd-Kit, JOSS 2024.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from annotation.votes import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["majority", "dawid-skene", "mace", "glad"]
METHODS: tuple[Method, ...] = get_args(Method)
Accepted = Literal["count", "once", "drop"]
ACCEPTED: tuple[Accepted, ...] = get_args(Accepted)
MODEL = "pre-annotation"
# Right answers for each wrong one that everybody begins with: eight and two for each truth of a yes or no, of more choices four for each
# wrong one. On 18 simulated kinds of campaign (50 or 200 clips, 2 or 3 answers each, a tag of 10 or 50 %, people equal, mixed or a third of
# them guessing) this is right 3.1 points more often than majority and 0.8 less at worst, two clips of 250; without, 9 less at worst.
TRUST = 4
STEPS = 100  # of the shares of labels, at most
GLAD_MOST = 50_000  # answers: 20,000 take it seven seconds, and time grows faster than they do


@dataclass(frozen=True, eq=False)
class Consensus:
    """What the votes on one question agree on.

    votes: what it was made of. exclusive: whether a clip has one value at most.
    method: as it was used, which is majority where another has nothing to learn from.
    probability: (clips, values) float64 in [0, 1], that the value holds; nan where a clip has no answer.
    said: (clips, values) int64, in how many answers. answers: (clips,) int64.
    remarks: what there is to know, a line each.
    """

    votes: Votes
    exclusive: bool
    method: Method
    probability: NDArray[Any]
    said: NDArray[Any]
    answers: NDArray[Any]
    remarks: tuple[str, ...] = ()

    @property
    def holds(self) -> NDArray[Any]:
        """(clips, values) bool: of exclusive values the likeliest, if no other and not none is as likely; else all above a half."""
        import numpy as np

        p = np.nan_to_num(self.probability)
        if not self.exclusive or not p.size:
            return np.asarray(p > 0.5)
        best = np.column_stack([p, 1 - p.sum(axis=1)])
        order = np.sort(best, axis=1)
        return np.asarray((p == order[:, -1:]) & (order[:, -1:] > order[:, -2:-1] + 1e-9))

    @property
    def undecided(self) -> NDArray[Any]:
        """(clips,) bool: of exclusive values two are as likely: nothing can be said."""
        import numpy as np

        p = np.nan_to_num(self.probability)
        if not self.exclusive or not p.size:
            return np.zeros(len(p), bool)
        none = 1 - p.sum(axis=1)
        return np.asarray(~self.holds.any(axis=1) & (none <= p.max(axis=1) + 1e-9))

    @property
    def doubt(self) -> NDArray[Any]:
        """(clips, values) float64 in [0, 1]: how likely it is that what is said of the value is wrong."""
        import numpy as np

        return np.asarray(np.where(self.holds, 1 - self.probability, self.probability))


def consensus(votes: Votes, exclusive: bool, method: Method = "dawid-skene", known: NDArray[Any] | None = None) -> Consensus:
    """What votes on whole clips agree on.

    Args:
        exclusive: a clip has one value, or none, and they exclude each other; else each value is a question of yes and no.
        known: (clips, values) 1, 0 or nan: gold, whose posterior is fixed.
    Raises:
        ValueError: the method is none, or cannot take so many answers.
    """
    import numpy as np

    if method not in METHODS:
        raise ValueError(f"method: {method!r} is not one of {', '.join(METHODS)}")
    shape = len(votes.clips), len(votes.values)
    answers = np.bincount(votes.clip, minlength=shape[0])
    said = np.bincount(votes.clip[votes.answer] * shape[1] + votes.value, minlength=shape[0] * shape[1]).reshape(shape)
    known = np.full(shape, np.nan) if known is None else known
    method, remarks = _apt(votes, answers, method)
    if not len(votes):
        return Consensus(votes, exclusive, method, np.full(shape, np.nan), said, answers, tuple(remarks))
    if exclusive:
        chosen, single = choice(votes)
        if not single.all():
            remarks.append(f"{(~single).sum()} answers hold several choices where one was asked for; they do not count")
        votes = votes.only(single)
        told = ~np.isnan(known).all(axis=1)
        truth = np.where(told, np.where((known == 1).any(axis=1), np.argmax(np.nan_to_num(known), axis=1), shape[1]), -1)
        # That there is none of the values is a choice of its own, where anybody made it.
        labels = shape[1] + bool((chosen[single] == shape[1]).any() or (truth == shape[1]).any())
        p = posterior(votes.clip, votes.annotator, chosen[single], (shape[0], len(votes.annotators), labels), method, truth)[:, : shape[1]]
    else:
        p = np.full(shape, np.nan)
        for value, name in enumerate(votes.values):
            label = votes.chosen(value).astype(np.int64)
            truth = np.where(np.isnan(known[:, value]), -1, np.nan_to_num(known[:, value])).astype(np.int64)
            p[:, value] = posterior(votes.clip, votes.annotator, label, (shape[0], len(votes.annotators), 2), method, truth)[:, 1]
            if (said[:, value] > 0).sum() == 1:
                remarks.append(f"{name!r} was said of one clip alone: who hears it and who does not cannot be learnt")
    return Consensus(votes, exclusive, method, p, said, answers, tuple(remarks))


def choice(votes: Votes) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which of exclusive choices each answer is.

    Returns:
        (answers,) int64, the place among the values, and their number for none; (answers,) bool, whether it is one choice at most.
    """
    import numpy as np

    chosen = np.full(len(votes), len(votes.values), np.int64)
    chosen[votes.answer] = votes.value
    return chosen, np.bincount(votes.answer, minlength=len(votes)) <= 1


def heard(votes: Votes, accepted: Accepted) -> Votes:
    """The votes, as answers that merely confirmed a pre-annotation are to count.

    Args:
        accepted: "count": as any answer. Who listens and agrees has voted; of simulated campaigns this was best as long as those who only
            click were fewer than those who listen. "once": all that confirm on one clip are one voice, `MODEL`'s, so that clicks cannot
            outvote; worth it where most only click, and for majority alone: a voice that is heard only where somebody agrees with it
            looks infallible to the other methods. "drop": they do not count, which leaves the clips to those who disagreed.
    """
    import numpy as np

    if accepted == "count" or not votes.accepted.any():
        return votes
    if accepted == "drop":
        return votes.only(~votes.accepted)
    places = np.flatnonzero(votes.accepted)
    _, first = np.unique(votes.clip[places], return_index=True)
    keep = ~votes.accepted
    keep[places[first]] = True
    annotator = np.where(votes.accepted, len(votes.annotators), votes.annotator)
    return replace(votes, annotators=(*votes.annotators, MODEL), annotator=annotator).only(keep)


def posterior(
    clip: NDArray[Any],
    annotator: NDArray[Any],
    label: NDArray[Any],
    shape: tuple[int, int, int],
    method: Method,
    known: NDArray[Any] | None = None,
    trust: int = TRUST,
    iterations: int = 100,
) -> NDArray[Any]:
    """How likely each label is for each clip.

    Args:
        clip, annotator, label: (votes,) int64. shape: how many clips, annotators and labels there are.
        known: (clips,) int64, the label of clips with gold, -1 elsewhere.
        trust: see `TRUST`; 0 is Dawid and Skene's own maximum likelihood. iterations: at most, of dawid-skene.
    Returns:
        (clips, labels) float64; nan where a clip has neither votes nor gold.
    Raises:
        ValueError: more votes than the method can take.
    """
    import numpy as np

    clips, people, labels = shape
    known = np.full(clips, -1) if known is None else known
    found = np.full((clips, labels), np.nan)
    if len(clip):
        # crowd-kit's MACE adds up one array in order of appearance and another sorted: equal only if people and labels appear sorted.
        order = np.lexsort((clip, annotator))
        clip, annotator, label = clip[order], annotator[order], label[order]
        _, first = np.unique(label, return_index=True)
        seen = label[np.sort(first)]
        seen = np.concatenate([seen, np.setdiff1d(np.arange(labels), seen)])
        place = np.argsort(seen)
        gold = np.where(known >= 0, place[np.maximum(known, 0)], -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, about how crowd-kit uses it
            tasks, p = _crowd_kit(clip, annotator, place[label], (clips, people, labels), method, gold, trust, iterations)
        found[tasks] = p[:, place]
    told = known >= 0
    found[told] = np.eye(labels)[known[told]]
    return found


def _crowd_kit(
    clip: NDArray[Any],
    annotator: NDArray[Any],
    label: NDArray[Any],
    shape: tuple[int, int, int],
    method: Method,
    gold: NDArray[Any],
    trust: int,
    iterations: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which clips, and (those, labels) their posteriors."""
    import numpy as np
    import pandas as pd
    from crowdkit.aggregation import GLAD, MACE, DawidSkene, MajorityVote

    clips, _, labels = shape
    votes = pd.DataFrame({"task": clip, "worker": annotator, "label": label})
    if method == "dawid-skene":
        told = np.flatnonzero(gold >= 0)
        true = gold[told]
        if trust:
            # Clips of nobody's, with known truths, which everybody answers: `trust` times right for each wrong answer.
            wrong = 2 if labels == 2 else 1
            times = np.where(np.eye(labels, dtype=bool).ravel(), trust * wrong * (labels - 1), wrong)
            truth, guess = np.divmod(np.repeat(np.arange(labels**2), times), labels)
            made = clips + np.arange(len(truth))
            everybody = np.unique(annotator)
            rows = {
                "task": np.repeat(made, len(everybody)),
                "worker": np.tile(everybody, len(made)),
                "label": np.repeat(guess, len(everybody)),
            }
            votes = pd.concat([votes, pd.DataFrame(rows)], ignore_index=True)
            told, true = np.concatenate([told, made]), np.concatenate([true, truth])
        skene = DawidSkene(n_iter=iterations)
        p = skene.fit_predict_proba(votes, pd.Series(true, told) if len(told) else None)
        if trust:
            p = _as_frequent(p[p.index < clips], skene.priors_)
    elif method == "mace":
        # Its restarts begin with one seed, so that all are the same.
        p = MACE(n_restarts=1).fit_predict_proba(votes)
    elif method == "glad":
        if len(votes) > GLAD_MOST:
            raise ValueError(f"method: glad would take hours for {len(votes):,} answers (up to {GLAD_MOST:,}); use dawid-skene or mace")
        p = GLAD(silent=True, labels_priors=pd.Series(1.0 / labels, pd.RangeIndex(labels))).fit_predict_proba(votes)
    else:
        p = MajorityVote().fit_predict_proba(votes)
    p = p[p.index < clips].reindex(columns=range(labels), fill_value=0.0)
    return p.index.to_numpy(), p.to_numpy(np.float64)


def _as_frequent(p: Any, priors: Any) -> Any:
    """Posteriors as they are where labels are as frequent as they say themselves, not as frequent as among the made clips, too.

    Source:
        Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation 14, 2002.
    """
    import numpy as np

    labels = [label for label in p.columns if priors.get(label, 0.0) > 0]
    found = p[labels].to_numpy(np.float64)
    likelihood = found / priors[labels].to_numpy(np.float64)
    share = np.zeros(len(labels))
    for _ in range(STEPS):
        before, share = share, (found.sum(axis=0) + 1) / (len(found) + len(labels))  # as if there were one clip more of each
        if np.abs(share - before).max() < 1e-6:
            break
        found = likelihood * share
        found /= found.sum(axis=1, keepdims=True)
    p = p.copy()
    p[labels] = found
    return p


def _apt(votes: Votes, answers: NDArray[Any], method: Method) -> tuple[Method, list[str]]:
    """The method that these votes bear, and why it is another than was asked for."""
    import numpy as np

    if not len(votes):
        return method, ["no answers yet"]
    people = np.unique(votes.annotator)
    if len(people) == 1:
        return "majority", [f"all answers ({len(votes)}) are by {votes.annotators[people[0]]}: the consensus is that person's word"]
    if method != "majority" and np.median(answers[answers > 0]) < 2:
        return "majority", [f"most clips have one answer, from which {method} cannot learn who is right: majority instead"]
    return method, []
