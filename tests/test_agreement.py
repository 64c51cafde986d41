"""Agreement: published examples, other people's implementations, and campaigns whose people are known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import krippendorff
import numpy as np
import pytest
from nltk.metrics import AnnotationTask, jaccard_distance, masi_distance
from sklearn.metrics import cohen_kappa_score

from annotation.agreement.agreement import agreement
from annotation.agreement.alpha import set_alpha
from annotation.agreement.bootstrap import drawn, interval, mean, point
from annotation.agreement.confusion import confusion
from annotation.agreement.kappa import tag_kappa
from annotation.agreement.pairs import pairs, shared
from annotation.agreement.value_sets import distinct
from annotation.question import Question
from annotation.votes import Votes
from tests.ballots import MOODS, VOICE, ballot, random_sets, score, scored

# Krippendorff 2011, section C: four observers, twelve units, "." is missing.
UNITS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
OBSERVED = Question(name="code", kind="tag.code", text="?", choices=("1", "2", "3", "4", "5"))
# Fleiss 1971, table 1: thirty patients, six psychiatrists, five diagnoses.
DIAGNOSES = (
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031"
    " 00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"
)


def observed() -> Votes:
    rows = [row.split() for row in UNITS]
    return ballot(OBSERVED, {f"c{unit:02}": [None if row[unit] == "." else [row[unit]] for row in rows] for unit in range(12)})


# Alpha


def test_alpha_is_krippendorffs_published_number() -> None:
    found = agreement(observed(), OBSERVED)
    one = scored(found, "alpha")
    assert one.score == pytest.approx(0.743, abs=0.0005)
    assert (one.clips, one.answers, one.annotators) == (11, 40, 4)  # the twelfth unit has one value, which is compared to nothing
    assert one.low is not None
    assert one.low < 0.743 < (one.high or 0)


def test_confusion_is_krippendorffs_published_coincidence_matrix() -> None:
    names, cells = confusion(observed())
    assert names == ("1", "2", "3", "4", "5", "")
    third = 1 / 3
    expected = [[7, 4 * third, third, third, 0], [4 * third, 10, 4 * third, third, 0], [third, 4 * third, 8, third, 0]]
    expected += [[third, third, third, 4, 0], [0, 0, 0, 0, 3]]
    np.testing.assert_allclose(cells[:5, :5], expected, atol=1e-9)
    assert not cells[5].any()


def test_confusion_of_several_choices_sets_what_only_one_says_against_what_only_the_other_says() -> None:
    names, cells = confusion(ballot(MOODS, {"a": [["calm", "sad"], ["calm", "wild"]], "b": [["sad"], []], "c": [[], []]}))
    calm, sad, wild, nothing = range(4)
    assert names == ("calm", "sad", "wild", "")
    expected = np.zeros((4, 4))
    expected[calm, calm] = expected[nothing, nothing] = 2
    expected[sad, wild] = expected[wild, sad] = expected[sad, nothing] = expected[nothing, sad] = 1
    np.testing.assert_allclose(cells, expected)


@pytest.mark.parametrize("seed", range(3))
def test_alpha_of_each_tag_is_the_krippendorff_packages(seed: int) -> None:
    said = random_sets(seed)
    found = agreement(ballot(MOODS, said), MOODS, draws=20)
    for mood in MOODS.values:
        data = [[math.nan if each is None else float(mood in each) for each in column] for column in zip(*said.values(), strict=True)]
        assert score(found, "alpha", mood) == pytest.approx(krippendorff.alpha(reliability_data=data, level_of_measurement="nominal"))


@pytest.mark.parametrize(("distance", "name", "oracle"), [("masi", "MASI", masi_distance), ("jaccard", "Jaccard", jaccard_distance)])
def test_alpha_of_sets_is_nltks(distance: Any, name: str, oracle: Any) -> None:
    said = random_sets(7, missing=0.0)
    # NLTK divides by zero for two empty sets: a mood that everybody hears keeps none empty.
    question = MOODS.model_copy(update={"choices": {"": (*MOODS.values, "loud")}})
    full = {
        clip: [[*(each or ()), "loud"] if index % 2 else ["loud"] for index, each in enumerate(column)] for clip, column in said.items()
    }
    triples = [(person, clip, frozenset(each)) for clip, column in full.items() for person, each in enumerate(column)]
    found = agreement(ballot(question, full), question, draws=20, distance=distance)
    assert score(found, f"alpha ({name})") == pytest.approx(AnnotationTask(triples, distance=oracle).alpha(), abs=1e-6)


def test_two_people_who_choose_nothing_agree() -> None:
    found = agreement(ballot(MOODS, {"a": [[], []], "b": [["sad"], ["sad"]], "c": [["sad"], ["sad"]]}), MOODS, draws=20)
    assert score(found, "alpha (MASI)") == pytest.approx(1)
    assert score(found, "alpha", "sad") == pytest.approx(1)


@pytest.mark.parametrize("distance", ["masi", "jaccard", "nominal"])
def test_alpha_of_very_many_different_sets_is_that_of_few(distance: Any) -> None:
    both = shared(ballot(MOODS, random_sets(3, clips=300)))
    apart = np.zeros(len(both), bool)
    exact, linear, sampled = (set_alpha(both, apart, distance, limit) for limit in (2048, 4, 0))
    assert point(linear, len(both.clips)) == pytest.approx(point(exact, len(both.clips)), abs=1e-6)
    assert point(sampled, len(both.clips)) == pytest.approx(point(exact, len(both.clips)), abs=1e-6)  # 4,096 are all of them
    slow, fast = (drawn(each, len(both.clips), 200, 1) for each in (exact, linear))
    # What the first order leaves out is of the size of one clip in 300.
    assert abs(fast - slow).mean() < 1 / 300 < np.std(slow) / 5
    assert np.corrcoef(fast[0], slow[0])[0, 1] > 0.99


# Kappa


def test_fleiss_kappa_is_his_published_number() -> None:
    names = ("depression", "personality", "schizophrenia", "neurosis", "other")
    question = Question(name="diagnosis", kind="tag.diagnosis", text="?", choices=names)
    said = {
        f"c{number:02}": [[name] for name, count in zip(names, map(int, row), strict=True) for _ in range(count)]
        for number, row in enumerate(DIAGNOSES.split())
    }
    one = scored(agreement(ballot(question, said), question), "Fleiss' kappa")
    assert one.score == pytest.approx(0.430, abs=0.0005)
    assert one.low is not None
    # Fleiss gives a standard error against chance of 0.030; the interval over patients is of that order.
    assert 0.04 < (one.high or 0) - one.low < 0.4


@pytest.mark.parametrize("seed", range(3))
def test_cohens_kappa_is_scikit_learns(seed: int) -> None:
    said = random_sets(seed, people=2, missing=0.1)
    full = [column for column in said.values() if None not in column]
    found = agreement(ballot(MOODS, said), MOODS, draws=20)
    for mood in MOODS.values:
        one, other = ([mood in (column[person] or ()) for column in full] for person in (0, 1))
        assert score(found, "Cohen's kappa", mood) == pytest.approx(cohen_kappa_score(one, other))
    single = Question(name="mood", kind="tag.mood", text="?", choices=MOODS.values)
    rng = np.random.default_rng(seed)
    one, other = (rng.choice(MOODS.values, 50, p=p).tolist() for p in ((0.5, 0.3, 0.2), (0.2, 0.3, 0.5)))
    other = [mine if heard else yours for mine, yours, heard in zip(one, other, rng.random(50) < 0.4, strict=True)]
    asked = {f"c{number:02}": [[mine], [yours]] for number, (mine, yours) in enumerate(zip(one, other, strict=True))}
    assert score(agreement(ballot(single, asked), single), "Cohen's kappa") == pytest.approx(cohen_kappa_score(one, other))


def test_kappa_is_given_only_where_it_is_defined() -> None:
    uneven = ballot(MOODS, {"a": [["sad"], [], ["sad"]], "b": [["sad"], [], None], "c": [["wild"], ["sad"], []]})
    assert not [each for each in agreement(uneven, MOODS, draws=20) if "kappa" in each.measure]
    with pytest.raises(ValueError, match="alpha takes any"):
        tag_kappa(shared(uneven))


# Intervals


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    amounts = np.random.default_rng(5).normal(3, 2, (400, 1))
    low, high = interval(drawn(mean(amounts), 400, 4000, 0))
    half = 1.96 * amounts.std() / math.sqrt(400)
    assert low[0] == pytest.approx(amounts.mean() - half, abs=0.1 * half)
    assert high[0] == pytest.approx(amounts.mean() + half, abs=0.1 * half)


def test_intervals_hold_the_alpha_of_all_clips_as_often_as_they_say() -> None:
    everything = shared(ballot(MOODS, random_sets(11, clips=2000, missing=0.0)))
    truth = score(agreement(everything, MOODS, draws=0), "alpha", "calm")
    rng = np.random.default_rng(2)
    held = 0
    for number in range(100):
        chosen = np.isin(everything.clip, rng.choice(2000, 80, replace=False))
        one = scored(agreement(everything.only(chosen), MOODS, number, 200), "alpha", "calm")
        assert one.low is not None
        held += one.low <= truth <= (one.high or 0)
    assert 88 <= held <= 99  # of 95 expected; two standard deviations are 4.4, and few clips make it a little narrow


def test_the_same_seed_gives_the_same_interval() -> None:
    said = ballot(MOODS, random_sets(1))
    assert agreement(said, MOODS, seed=3, draws=100) == agreement(said, MOODS, seed=3, draws=100)
    assert agreement(said, MOODS, seed=3, draws=100) != agreement(said, MOODS, seed=4, draws=100)


def test_few_clips_have_a_score_and_no_interval() -> None:
    one = scored(agreement(ballot(MOODS, {"a": [["sad"], ["sad"]], "b": [["wild"], ["wild"]]}), MOODS), "alpha (MASI)")
    assert one.score == pytest.approx(1)
    assert (one.low, one.high, one.why) == (None, None, "no interval: 2 clips")


def test_an_interval_that_cannot_tell_is_none() -> None:
    said = {f"c{number}": [["sad"], ["sad"]] if number % 2 else [["wild"], ["wild"]] for number in range(20)}
    one = scored(agreement(ballot(MOODS, said), MOODS), "alpha (MASI)")
    assert one.score == pytest.approx(1)
    assert (one.low, one.high, one.why) == (None, None, "no interval: all draws give the same")


# Answers that merely accepted


def test_answers_that_merely_accepted_do_not_raise_the_score_and_have_one_of_their_own() -> None:
    said = random_sets(4, clips=200, people=2, missing=0.0)
    alone = agreement(ballot(MOODS, said), MOODS)
    # Two more people take what a model had written on every other clip, and one who was independent hears it as well.
    accepted = []
    for clip in list(said)[::2]:
        said[clip] = [*said[clip], said[clip][0], said[clip][0]]
        accepted += [(clip, "p2"), (clip, "p3")]
    found = agreement(ballot(MOODS, said, accepted), MOODS)
    assert [each for each in found if not each.accepted] == alone
    own = scored(found, "alpha", "calm", accepted=True)
    assert own.score is not None
    assert own.score > score(found, "alpha", "calm") + 0.1
    assert (own.clips, own.answers, own.annotators) == (100, 400, 4)
    # Krippendorff's definition by hand: of five pairs out of six, as the pair p0-p1 is independent.
    columns = [[float("calm" in (each or ())) for each in said[clip]] for clip in list(said)[::2]]
    apart = [np.mean([row[i] != row[j] for i, j in itertools.combinations(range(4), 2) if (i, j) != (0, 1)]) for row in columns]
    yes = sum(map(sum, columns))
    expected = 2 * yes * (400 - yes) / (400 * 399)
    assert own.score == pytest.approx(1 - np.mean(apart) / expected)


def test_pairs_of_stretches_count_as_accepted_if_one_of_them_is() -> None:
    said = {f"c{number}": [[("yes", 1.0, 2.0)], [("yes", 5.0, 6.0)], [("yes", 1.0, 2.0)]] for number in range(6)}
    found = agreement(ballot(VOICE, said, [(clip, "p2") for clip in said]), VOICE)
    assert score(found, "F within 0.2 s") == 0
    assert score(found, "F within 0.2 s", accepted=True) == pytest.approx(0.5)


def test_where_everybody_accepted_there_is_no_independent_score() -> None:
    found = agreement(ballot(MOODS, {"a": [["sad"], ["sad"]]}, [("a", "p0"), ("a", "p1")]), MOODS)
    assert (found[0].score, found[0].why, found[0].accepted) == (None, "all answers merely accepted a pre-annotation", False)
    found = agreement(ballot(MOODS, {"a": [["sad"], ["sad"]]}, [("a", "p0")]), MOODS)
    assert (found[0].score, found[0].why) == (None, "all independent answers are one person's")


# What cannot be computed


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "nobody answered"),
        ({"a": [["sad"]], "b": [["wild"]]}, "all answers are one person's"),
        ({"a": [["sad"], None], "b": [None, ["wild"]]}, "no clip was answered by two people"),
        ({"a": [["sad"], ["sad"]], "b": [["sad"], ["sad"]]}, "everybody says the same: chance cannot be told from agreement"),
        ({"a": [["sad"], ["sad"]], "b": [["sad"], []]}, "all answers but one say the same"),
    ],
)
def test_what_cannot_be_computed_says_why(said: dict[str, Any], why: str) -> None:
    one = scored(agreement(ballot(MOODS, said), MOODS), "alpha (MASI)")
    assert (one.score, one.low, one.high, one.why) == (None, None, None, why)


def test_a_tag_that_was_said_once_or_always_has_no_alpha() -> None:
    said = ballot(MOODS, {"a": [["sad", "calm"], ["calm"]], "b": [["calm"], ["calm"]]})
    found = agreement(said, MOODS)
    assert {each.value: each.why for each in found if each.measure == "alpha"} == {
        "calm": "everybody said it",
        "sad": "said only once",
        "wild": "nobody said it",
    }
    assert all(each.score is None for each in found if each.measure == "alpha")


def test_nothing_drawn_by_anybody_is_said() -> None:
    found = agreement(ballot(VOICE, {"a": [[], []], "b": [[], []]}), VOICE)
    assert {each.measure: each.why for each in found if each.value == ""} == {
        "F within 0.2 s": "nobody drew anything",
        "F within 1 s": "nobody drew anything",
        "overlap in time": "nobody drew anything",
        "start deviation, s": "nobody drew anything",
        "end deviation, s": "nobody drew anything",
    }


def test_the_worst_comes_first_and_what_has_no_score_last() -> None:
    found = agreement(ballot(MOODS, random_sets(6)), MOODS, draws=20)
    scores = [each.score for each in found if each.score is not None]
    assert scores == sorted(scores)
    question = MOODS.model_copy(update={"choices": {"": (*MOODS.values, "loud")}})
    assert agreement(ballot(question, random_sets(6)), question, draws=20)[-1].value == "loud"


def test_pairs_are_all_two_answers_of_a_clip_but_two_that_stand_apart() -> None:
    said = ballot(MOODS, {"a": [[], [], []], "b": [[], None, []], "c": [[], None, None]})
    first, second = pairs(said, np.zeros(len(said), bool))
    assert list(zip(first, second, strict=True)) == [(0, 1), (0, 2), (1, 2), (3, 4)]
    first, second = pairs(said, np.array([True, True, False, False, False, False]))
    assert list(zip(first, second, strict=True)) == [(0, 2), (1, 2), (3, 4)]


def test_different_answers_are_told_apart_however_often_a_value_is_repeated() -> None:
    said = ballot(VOICE, {"a": [[("yes", 0.0, 1.0), ("yes", 2.0, 3.0)], [("yes", 0.0, 1.0)], []]})
    number, holds = distinct(said)
    assert number[0] == number[1] != number[2]
    assert holds[number].tolist() == [[True], [True], [False]]
