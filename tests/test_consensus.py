"""Consensus: crowd-kit's numbers, and simulated people with known confusion."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from annotation.consensus import METHODS, Consensus, Method, consensus, heard, posterior
from annotation.decisions import confusions
from annotation.labels import table
from annotation.simulated import Annotator, simulate, spoken
from annotation.votes import Votes, votes

# Examples that crowd-kit 1.4 publishes with its tests (tests/conftest.py, tests/aggregation): of each person the answers to t1, t2, ...
YSDA = {"w1": "nyyyy", "w2": "yynyn", "w3": " ynyn", "w4": "ynyyn", "w5": "nnnyn"}

# goose, parrot, chicken; of clips ec 03 05 fb 02 08 07 e8 fd e4.
BIRDS = {"good": "gggppp    ", "fine": " g p  pccc", "able": "g g pp c  ", "sure": "gg     c c", "liar": "p pp  p pp", "lazy": "   ppppgg "}


def grid(said: dict[str, str], labels: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int, int]]:
    rows = [
        (clip, person, labels.index(word)) for person, words in enumerate(said.values()) for clip, word in enumerate(words) if word != " "
    ]
    clip, person, label = np.array(rows).T
    return clip, person, label, (len(next(iter(said.values()))), len(said), len(labels))


def test_majority_gives_the_shares_that_crowd_kit_publishes() -> None:
    p = posterior(*grid(YSDA, "yn"), "majority")
    np.testing.assert_allclose(p[:, 0], [0.5, 0.6, 0.4, 1.0, 0.2])
    thirds = posterior(*grid(BIRDS, "cgp"), "majority")
    np.testing.assert_allclose(thirds[8], [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(thirds[7], [3 / 4, 1 / 4, 0.0])


def test_dawid_skene_gives_the_steps_that_crowd_kit_publishes() -> None:
    zero = posterior(*grid(YSDA, "ny"), "dawid-skene", trust=0, iterations=0)
    one = posterior(*grid(YSDA, "ny"), "dawid-skene", trust=0, iterations=1)
    np.testing.assert_allclose(zero, [[0.5, 0.5], [0.4, 0.6], [0.6, 0.4], [0.0, 1.0], [0.8, 0.2]], atol=0.005)
    np.testing.assert_allclose(one, [[0.35, 0.65], [0.26, 0.74], [0.87, 0.13], [0.0, 1.0], [0.95, 0.05]], atol=0.005)


def test_the_confusion_matrices_are_those_that_crowd_kit_publishes() -> None:
    clip, person, label, shape = grid(YSDA, "ny")
    errors = confusions(clip, person, label, posterior(clip, person, label, shape, "dawid-skene", trust=0, iterations=1), 5)
    # By person: what is said ("n") of a truth "n", and of "y".
    published = [[0.14, 0.25], [0.75, 0.07], [0.87, 0.09], [0.50, 0.31], [1.00, 0.61]]
    np.testing.assert_allclose(errors[:, :, 0], published, atol=0.006)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_truth_that_crowd_kit_publishes(method: Method) -> None:
    if method != "majority":  # which cannot decide t1
        assert posterior(*grid(YSDA, "yn"), method).argmax(axis=1).tolist() == [0, 0, 1, 0, 1]
    p = posterior(*grid(BIRDS, "cgp"), method)
    right = p.argmax(axis=1) == [1, 1, 1, 2, 2, 2, 2, 0, 0, 0]
    assert right.sum() >= (9 if method == "majority" else 10)


def test_mace_is_crowd_kits_where_people_appear_sorted_and_does_not_depend_on_their_order_elsewhere() -> None:
    import pandas as pd
    from crowdkit.aggregation import MACE

    clip, person, label, shape = grid(YSDA, "ny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MACE(n_restarts=2).fit_predict_proba(pd.DataFrame({"task": clip, "worker": person, "label": label}))
    np.testing.assert_allclose(posterior(clip, person, label, shape, "mace"), theirs.to_numpy(), rtol=1e-9)
    mixed = np.random.default_rng(0).permutation(len(clip))
    np.testing.assert_allclose(posterior(clip[mixed], person[mixed], label[mixed], shape, "mace"), theirs.to_numpy(), rtol=1e-9)


def right(found: Consensus, truth: np.ndarray) -> float:
    return float((found.holds == truth).mean())


def alone(said: Votes, truth: np.ndarray) -> float:
    """How often the best of the people is right about the clips that they heard."""
    wrong = np.stack([said.chosen(value) != truth[said.clip, value] for value in range(truth.shape[1])], axis=1).mean(axis=1)
    return max(1 - float(wrong[said.annotator == person].mean()) for person in set(said.annotator.tolist()))


CROWDS = {
    "equal": [Annotator()] * 10,
    "spammers": [Annotator()] * 6 + [Annotator(how="guesses")] * 4,
    "colluders": [Annotator()] * 8 + [Annotator(0.3), Annotator(0.3, how="copies", whom=8)],
    "accepters": [Annotator()] * 8 + [Annotator(how="accepts")] * 2,
    "all": [Annotator()] * 10
    + [Annotator(how="guesses")] * 2
    + [Annotator(0.3), Annotator(0.3, how="copies", whom=12), Annotator(how="accepts")],
}


@pytest.mark.slow
@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("seed", range(2))
def test_consensus_is_at_least_as_good_as_majority_and_as_the_best_person(crowd: str, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    truth = (rng.random((600, 2)) < [0.5, 0.2]).astype(int)
    guess = np.where(rng.random(truth.shape) < 0.2, 1 - truth, truth)
    said = simulate(truth, CROWDS[crowd], 5, seed, guess=guess)
    found = right(consensus(said, False), truth)
    assert found >= right(consensus(said, False, "majority"), truth) - 0.002  # two decisions of 1,200
    assert found >= alone(said, truth)


def test_confusion_matrices_are_recovered_within_five_hundredths() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, 3000)
    errors = [0.05, 0.15, 0.15, 0.15, 0.25, 0.4]
    said = simulate(truth, [*map(Annotator, errors), Annotator(how="guesses")], 5, 1)
    found = consensus(said, True)
    # Of each person: rows are truths, and a wrong choice is as likely as the other.
    recovered = confusions(said.clip, said.annotator, said.value, found.probability, 7)
    expected = [np.where(np.eye(3) == 1, 1 - error, error / 2) for error in errors] + [np.full((3, 3), 1 / 3)]
    np.testing.assert_allclose(recovered, expected, atol=0.05)


@pytest.mark.slow
def test_posteriors_mean_what_they_say() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random((3000, 1)) < 0.4).astype(int)
    p = consensus(simulate(truth, [Annotator()] * 8 + [Annotator(0.3)] * 4, 3, 2), False).probability[:, 0]
    between = (p > 0.5) & (p < 0.9)
    assert between.sum() > 100
    assert abs(float(truth[between, 0].mean()) - float(p[between].mean())) < 0.08


@pytest.mark.slow
def test_where_people_gave_few_answers_trust_is_better_than_maximum_likelihood() -> None:
    ours = theirs = 0
    for seed in range(5):
        rng = np.random.default_rng(30 + seed)
        truth = (rng.random((60, 1)) < 0.15).astype(int)
        said = simulate(truth, [Annotator()] * 12, 3, seed)
        label, shape = said.chosen(0).astype(int), (60, 12, 2)
        ours += int((posterior(said.clip, said.annotator, label, shape, "dawid-skene").argmax(axis=1) == truth[:, 0]).sum())
        theirs += int((posterior(said.clip, said.annotator, label, shape, "dawid-skene", trust=0).argmax(axis=1) == truth[:, 0]).sum())
    assert ours > theirs


def test_a_rare_tag_stays_rare_in_a_small_campaign() -> None:
    # What everybody is trusted with are answers, and not clips half of which had the tag.
    apart = []
    for seed in range(5):
        truth = (np.random.default_rng(1000 + seed).random((50, 1)) < 0.1).astype(int)
        found = consensus(simulate(truth, [Annotator()] * 8, 3, seed), exclusive=False)
        apart.append(abs(found.probability.mean() - truth.mean()))
    assert np.mean(apart) < 0.04


def test_gold_is_the_truth_and_teaches_whose_word_counts() -> None:
    # Two who are always wrong outvote the one who is right; gold of half of the clips tells who is who.
    truth = np.arange(40)[:, None] % 2
    said = simulate(truth, [Annotator(0.0), Annotator(1.0), Annotator(1.0)], 3, 0)
    known = np.where(np.arange(40)[:, None] < 20, truth, np.nan)
    assert right(consensus(said, False), truth) == 0.0
    assert right(consensus(said, False, known=known), truth) == 1.0
    by_majority = consensus(said, False, "majority", known)
    assert by_majority.holds[:20].tolist() == (truth[:20] == 1).tolist()
    assert not (by_majority.holds[20:] == truth[20:]).any()


def test_answers_that_only_accept_may_count_once_or_not() -> None:
    # Three who click repeat one mistake of the pre-annotation against two who listen.
    guess = np.array([[1], [1], [0], [1]])
    truth = np.array([[1], [1], [0], [0]])
    said = simulate(truth, [Annotator(0.0)] * 2 + [Annotator(how="accepts")] * 3, 5, 0, guess=guess)
    assert consensus(said, False, "majority").holds[3, 0]
    once = heard(said, "once")
    assert once.annotators[-1] == "pre-annotation"
    assert np.bincount(once.clip).tolist() == [1, 1, 1, 3]
    assert not consensus(once, False, "majority").holds[3, 0]
    assert np.bincount(heard(said, "drop").clip).tolist() == [0, 0, 0, 2]


def test_what_cannot_be_learnt_from_is_said() -> None:
    truth = np.zeros((9, 2), int)
    truth[0, 0] = truth[1:5, 1] = 1
    one = simulate(truth, [Annotator(0.0)], 1, 0, values=("rare", "calm"))
    found = consensus(one, False)
    assert found.method == "majority"
    assert found.remarks == (
        "all answers (9) are by p000: the consensus is that person's word",
        "'rare' was said of one clip alone: who hears it and who does not cannot be learnt",
    )
    assert (found.holds == truth).all()
    single = consensus(simulate(truth, [Annotator(0.0)] * 3, 1, 0), False)
    assert single.method == "majority"
    assert single.remarks[0] == "most clips have one answer, from which dawid-skene cannot learn who is right: majority instead"
    nobody = consensus(one.only(np.zeros(9, bool)), False)
    assert nobody.remarks == ("no answers yet",)
    assert np.isnan(nobody.probability).all()
    with pytest.raises(ValueError, match="method: 'vote' is not one of majority, dawid-skene, mace, glad"):
        consensus(one, False, "vote")  # type: ignore[arg-type]
    many = simulate(np.zeros((30_000, 1), int), [Annotator()] * 2, 2, 0)
    with pytest.raises(ValueError, match=r"glad would take hours for 60,000 answers \(up to 50,000\); use dawid-skene or mace"):
        consensus(many, False, "glad")


def test_a_tie_between_choices_says_nothing() -> None:
    said = simulate(np.array([0, 1]), [Annotator(0.0), Annotator(1.0)], 2, 0, values=("major", "minor"))
    found = consensus(said, True, "majority")
    assert found.undecided.all()
    assert not found.holds.any()


def test_simulated_votes_are_the_votes_that_their_labels_are() -> None:
    from annotation.question import Question

    question = Question(name="mood", kind="tag.mood", text="Which?", choices=("calm", "wild"), multiple=True)
    truth = np.array([[1, 0], [0, 0], [1, 1]])
    said = simulate(truth, [Annotator(0.1)] * 2, 2, 0, values=question.values, question="mood", kind="tag.mood")
    read = votes(table(spoken(said, "c")), question)
    assert [read.chosen(value).tolist() for value in (0, 1)] == [said.chosen(value).tolist() for value in (0, 1)]
    assert (read.clip.tolist(), read.annotator.tolist()) == (said.clip.tolist(), said.annotator.tolist())
