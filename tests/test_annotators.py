"""How well people hear: recovered from simulated ones whose confusion is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from annotation.annotators import Quality, difference, quality, rate
from annotation.consensus import consensus
from annotation.simulated import Annotator, simulate

TRUTH = (np.random.default_rng(7).random((1000, 2)) < [0.5, 0.3]).astype(int)
GUESS = np.where(np.random.default_rng(8).random(TRUTH.shape) < 0.2, 1 - TRUTH, TRUTH)
LISTENERS = [Annotator()] * 8


def judged(people: list[Annotator], gold: int = 0, guess: np.ndarray | None = None) -> dict[str, Quality]:
    said = simulate(TRUTH, people, 5, 3, guess=guess)
    known = np.where(np.arange(len(TRUTH))[:, None] < gold, TRUTH, np.nan)
    return {each.annotator: each for each in quality(said, consensus(said, False, known=known), known, np.full(1000, 20.0))}


def test_the_interval_is_wilsons() -> None:
    for hits, of in ((0, 10), (3, 10), (10, 10), (150, 200)):
        found, expected = rate(hits, of), binomtest(hits, of).proportion_ci(method="wilson")
        assert found is not None
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert rate(0, 0) is None


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, method 10: 56/70 against 48/80 is 0.2, from 0.0524 to 0.3339.
    first, second = rate(48, 80), rate(56, 70)
    assert first is not None
    assert second is not None
    assert difference(first, second) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("gold", [0, 300])
def test_sensitivity_and_specificity_are_recovered_within_seven_hundredths(gold: int) -> None:
    errors = [0.05, 0.15, 0.15, 0.15, 0.15, 0.15, 0.25, 0.35]
    found = judged([Annotator(error) for error in errors], gold)
    for person, error in enumerate(errors):
        each = found[f"p{person:03d}"]
        assert each.basis == ("gold" if gold else "others")
        assert each.sensitivity is not None
        assert each.specificity is not None
        assert each.sensitivity.share == pytest.approx(1 - error, abs=0.07)
        assert each.specificity.share == pytest.approx(1 - error, abs=0.07)
    assert next(iter(found)) == "p007"


@pytest.mark.slow
def test_nine_in_ten_intervals_or_more_hold_the_truth() -> None:
    held = []
    for seed in range(6):
        said = simulate(TRUTH, LISTENERS, 5, seed)
        known = np.where(np.arange(1000)[:, None] < 200, TRUTH, np.nan)
        for each in quality(said, consensus(said, False, known=known), known):
            held += [found.low <= 0.85 <= found.high for found in (each.sensitivity, each.specificity) if found]
    assert np.mean(held) >= 0.9


def test_choices_are_judged_as_tags_are() -> None:
    truth = np.random.default_rng(1).integers(0, 4, 800)
    said = simulate(truth, [*LISTENERS, Annotator(how="guesses")], 5, 0)
    worst, *rest = quality(said, consensus(said, True))
    assert worst.annotator == "p008"
    assert worst.informedness == pytest.approx(0.0, abs=0.1)
    assert any("say next to nothing" in fact for fact in worst.facts)
    # One of four choices is wrong in 15 %: each of the three others is then said in 5 %.
    assert all(each.specificity is not None and each.specificity.share == pytest.approx(0.95, abs=0.04) for each in rest)


def facts(found: dict[str, Quality], word: str) -> set[str]:
    return {name for name, each in found.items() if any(word in fact for fact in each.facts)}


def test_who_guesses_is_told_and_nobody_else() -> None:
    found = judged([*LISTENERS, Annotator(how="guesses")])
    assert facts(found, "say next to nothing") == {"p008"}
    assert not facts(judged(LISTENERS), "")


def test_who_says_the_opposite_is_told() -> None:
    assert facts(judged([*LISTENERS, Annotator(0.85)]), "more often what does not hold") == {"p008"}


def test_who_tires_is_told_with_the_interval() -> None:
    found = judged([*LISTENERS, Annotator(0.05, later=0.35)])
    assert facts(found, "right in the first half") == {"p008"}
    drift = found["p008"].drift
    assert drift is not None
    assert drift[0] == pytest.approx(-0.3, abs=0.08)
    assert drift[1] < drift[0] < drift[2] < 0


def test_who_answers_before_the_clip_is_over_is_told() -> None:
    found = judged([*LISTENERS, Annotator(seconds=4.0)])
    assert facts(found, "before the clip was over") == {"p008"}
    assert found["p008"].seconds == pytest.approx(4.0, rel=0.1)


def test_who_keeps_every_pre_annotation_is_told() -> None:
    found = judged([*LISTENERS, Annotator(how="accepts")], guess=GUESS)
    assert facts(found, "kept the pre-annotation") == {"p008"}
    accepted = found["p008"].accepted
    assert accepted is not None
    assert accepted.share == 1.0


def test_who_copies_is_told_with_whom_and_two_who_keep_pre_annotations_are_not_a_pair() -> None:
    people = [*LISTENERS, Annotator(0.3), Annotator(0.3, how="copies", whom=8), Annotator(how="accepts"), Annotator(how="accepts")]
    found = judged(people, guess=GUESS)
    assert facts(found, "differs from p009") == {"p008"}
    assert facts(found, "differs from") == {"p008", "p009"}
    assert "differs from p008 in 0 decisions" in found["p009"].facts[-1]


def test_nothing_is_said_of_who_cannot_be_judged() -> None:
    said = simulate(TRUTH[:5], [Annotator()] * 2, 1, 0)
    found = quality(said, consensus(said, False))
    assert all(not each.facts and not each.drift for each in found)
    assert quality(said.only(np.zeros(5, bool)), consensus(said.only(np.zeros(5, bool)), False)) == []
