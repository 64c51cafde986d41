"""Agreement: published examples, other people's implementations, and campaigns whose people are known."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import krippendorff
import mir_eval
import numpy as np
import pytest
from nltk.metrics import AnnotationTask, jaccard_distance, masi_distance
from sklearn.metrics import cohen_kappa_score

from annotation.agreement.agreement import Agreement, agreement
from annotation.agreement.alpha import set_alpha
from annotation.agreement.bootstrap import drawn, interval, mean, point
from annotation.agreement.confusion import confusion
from annotation.agreement.kappa import tag_kappa
from annotation.agreement.nearness import chord_match, chords_match, key_relation
from annotation.agreement.pairs import pairs, shared
from annotation.agreement.value_sets import distinct
from annotation.labels import Label, table
from annotation.question import KEYS, Question
from annotation.task import Task
from annotation.votes import Votes, votes
from pipelines.campaigns.desk import open_desk
from pipelines.store import Store
from pipelines.tracks import TRACKS
from pipelines.votes.agreement import measure, text
from tests.campaigning import choose
from tests.collection import earmark

AT = datetime(2026, 1, 1, tzinfo=UTC)
MOODS = Question(name="mood", kind="tag.mood", text="?", choices=("calm", "sad", "wild"), multiple=True)
VOICE = Question(name="voice", kind="singing_voice", text="?", regions=True)
BEATS = Question(name="beats", kind="beat", text="?", regions=True)
KEY = Question(name="key", kind="key", text="?")
TEMPO = Question(name="tempo", kind="tempo", text="?")
# Krippendorff 2011, section C: four observers, twelve units, "." is missing.
UNITS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
OBSERVED = Question(name="code", kind="tag.code", text="?", choices=("1", "2", "3", "4", "5"))
# Fleiss 1971, table 1: thirty patients, six psychiatrists, five diagnoses.
DIAGNOSES = (
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031"
    " 00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"
)
CAMPAIGN = """
name = "moods"
title = "Moods"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which moods?"
choices = ["calm", "sad", "wild"]
multiple = true
[[questions]]
name = "voice"
kind = "singing_voice"
text = "Where?"
regions = true
[[questions]]
name = "said"
kind = "text"
text = "What do they sing?"
[clips]
seconds = 3.0
"""

Said = str | tuple[str, float, float]


def ballot(question: Question, said: Mapping[str, Sequence[Sequence[Said] | None]], accepted: Sequence[tuple[str, str]] = ()) -> Votes:
    """The votes where for each clip each person, p0 and so on, said these values; None where one did not answer."""
    rows = []
    for clip, answers in said.items():
        for person, values in enumerate(answers):
            rows += spoken(question, clip, f"p{person}", values)
    return votes(table(rows), question, accepted=accepted)


def spoken(question: Question, clip: str, person: str, values: Sequence[Said] | None) -> list[Label]:
    """One answer as labels."""
    if values is None:
        return []
    if not values:
        return [Label("nothing", question.name, person, "person", "track", clip, campaign="moods", at=AT)]
    spans = [(each, None, None) if isinstance(each, str) else each for each in values]
    return [
        Label(question.kind, value, person, "person", "track", clip, start, None if start is None else end - start, campaign="moods", at=AT)
        for value, start, end in spans
    ]


def scored(found: Sequence[Agreement], measure: str, value: str = "", accepted: bool = False) -> Agreement:
    (one,) = [each for each in found if (each.measure, each.value, each.accepted) == (measure, value, accepted)]
    return one


def score(found: Sequence[Agreement], measure: str, value: str = "", accepted: bool = False) -> float:
    number = scored(found, measure, value, accepted).score
    assert number is not None
    return number


def random_sets(seed: int, clips: int = 60, people: int = 4, missing: float = 0.3) -> dict[str, list[Sequence[str] | None]]:
    """People who hear roughly the same moods."""
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, 1, 3)) < (0.5, 0.3, 0.2)
    said = truth ^ (rng.random((clips, people, 3)) < 0.2)
    there = rng.random((clips, people)) >= missing
    return {
        f"c{clip:03}": [
            [mood for mood, is_said in zip(MOODS.values, said[clip, person], strict=True) if is_said] if there[clip, person] else None
            for person in range(people)
        ]
        for clip in range(clips)
    }


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


# Stretches and moments


def test_stretches_match_by_value_start_and_end_one_to_one() -> None:
    question = Question(name="plays", kind="instrument", text="?", choices=("piano", "guitar", "oboe"), regions=True)
    said = {
        # matches at both tolerances, as 20 % of 4 s is more than the 0.6 s between the ends; one guitar too many
        "a": [[("piano", 1.0, 5.0), ("guitar", 0.0, 1.0)], [("piano", 1.1, 5.6), ("guitar", 0.0, 1.0), ("guitar", 0.05, 1.0)]],
        # the start is 0.5 s away: only at the wider tolerance
        "b": [[("piano", 2.0, 3.0)], [("piano", 2.5, 3.0)]],
        # drawn by one of them
        "c": [[("piano", 0.0, 1.0)], []],
        # by neither: nothing to compare
        "d": [[], []],
    }
    found = agreement(ballot(question, said), question)
    narrow, wide = "F within 0.2 s", "F within 1 s"
    assert score(found, narrow) == pytest.approx((2 * 2 / 5 + 0 + 0) / 3)
    assert score(found, wide) == pytest.approx((2 * 2 / 5 + 1 + 0) / 3)
    assert scored(found, wide).clips == 3
    assert score(found, narrow, "piano") == pytest.approx(1 / 3)
    assert score(found, wide, "guitar") == pytest.approx(2 / 3)
    assert scored(found, wide, "guitar").clips == 1
    assert (scored(found, wide, "oboe").score, scored(found, wide, "oboe").why) == (None, "nobody drew it")
    # of 4.6 s covered by piano and 1 s by guitar, in a; of 1 s, in b
    assert score(found, "overlap in time") == pytest.approx(((3.9 + 1.0) / (4.6 + 1.0) + 0.5 + 0) / 3)
    starts, ends = scored(found, "start deviation, s"), scored(found, "end deviation, s")
    assert starts.detail == {"matched": 3}
    assert starts.score == pytest.approx(0.1)  # of 0, 0.1, 0.5
    assert ends.score == pytest.approx(0.0)
    assert score(found, "alpha", "piano") == pytest.approx(krippendorff.alpha([[1, 1, 1, 0], [1, 1, 0, 0]], level_of_measurement="nominal"))


def test_as_many_stretches_are_matched_as_can_be_and_then_the_nearest() -> None:
    # Nearest first would give 1.0 to 0.9 and leave 0.2 alone.
    said = ballot(VOICE, {"a": [[("yes", 1.0, 1.5), ("yes", 1.8, 2.3)], [("yes", 0.2, 0.7), ("yes", 0.9, 1.4)]]})
    assert score(agreement(said, VOICE, within=(1.0,)), "F within 1 s") == 1.0
    # Either could be taken for 1.0, and 1.1 is nearer.
    said = ballot(VOICE, {"a": [[("yes", 1.0, 2.0)], [("yes", 0.5, 2.0), ("yes", 1.1, 2.0)]]})
    assert score(agreement(said, VOICE), "start deviation, s") == pytest.approx(0.1)


def test_long_rows_of_onsets_are_matched() -> None:
    onsets = Question(name="onsets", kind="onset", text="?", regions=True)
    rows = [[("onset", time, time) for time in np.arange(0, 60, 0.05) + late] for late in (0.0, 0.025)]
    said = ballot(onsets, {"a": rows})
    assert score(agreement(said, onsets, within=(0.03,)), "F within 0.03 s") == 1.0


def test_beats_and_onsets_have_mir_evals_f() -> None:
    rng = np.random.default_rng(0)
    said: dict[str, list[list[Said]]] = {}
    expected = []
    for clip in range(20):
        beats = [np.sort(np.arange(0.4, 8, 0.5) + rng.normal(0, 0.04, 16)) for _ in range(2)]
        said[f"c{clip:02}"] = [[("1", float(time), float(time)) for time in each] for each in beats]
        expected.append(beats)
    found = agreement(ballot(BEATS, said), BEATS)
    assert score(found, "F within 0.07 s") == pytest.approx(np.mean([mir_eval.beat.f_measure(*each) for each in expected]))
    apart = scored(found, "start deviation, s")
    assert 0.01 < (apart.score or 0) < 0.07
    onsets = Question(name="onsets", kind="onset", text="?", regions=True)
    found = agreement(
        ballot(onsets, {clip: [[("onset", *each[1:]) for each in one] for one in both] for clip, both in said.items()}), onsets
    )
    assert score(found, "F within 0.05 s") == pytest.approx(np.mean([mir_eval.onset.f_measure(*each)[0] for each in expected]))


def test_an_interval_that_cannot_tell_is_none() -> None:
    said = {f"c{number}": [["sad"], ["sad"]] if number % 2 else [["wild"], ["wild"]] for number in range(20)}
    one = scored(agreement(ballot(MOODS, said), MOODS), "alpha (MASI)")
    assert one.score == pytest.approx(1)
    assert (one.low, one.high, one.why) == (None, None, "no interval: all draws give the same")


def test_deviations_are_medians_over_the_clips_that_were_drawn() -> None:
    said = {f"c{number:02}": [[("yes", 1.0, 3.0)], [("yes", 1.0 + gap, 3.0)]] for number, gap in enumerate((0.1, 0.1, 0.1, 0.2, 0.3, 0.3))}
    one = scored(agreement(ballot(VOICE, said), VOICE, draws=500), "start deviation, s")
    assert one.score == pytest.approx(0.15)
    assert (one.low, one.high) == (pytest.approx(0.1), pytest.approx(0.3))


# Keys, tempi, chords, words


def test_keys_are_related_as_in_mir_eval_whoever_is_asked_first() -> None:
    weights = {"same": 1.0, "fifth": 0.5, "relative": 0.3, "parallel": 0.2, "other": 0.0}
    keys = [key for each in KEYS.values() for key in each]
    for one, other in itertools.product(keys, keys):
        expected = max(mir_eval.key.weighted_score(one, other), mir_eval.key.weighted_score(other, one))
        assert weights[key_relation(one, other)] == expected, (one, other)
    assert [key_relation("N", "N"), key_relation("N", "C major"), key_relation("D dorian", "D phrygian")] == ["same", "other", "parallel"]


def test_errors_of_keys_are_told_apart() -> None:
    said = {"a": [["C major"]] * 2, "b": [["C major"], ["G major"]], "c": [["C major"], ["F major"]], "d": [["C major"], ["A minor"]]}
    said |= {"e": [["C major"], ["C minor"]], "f": [["C major"], ["Eb minor"]], "g": [["C major"], []]}
    one = scored(agreement(ballot(KEY, said), KEY), "MIREX key score")
    assert one.score == pytest.approx((1 + 0.5 + 0.5 + 0.3 + 0.2 + 0) / 6)
    assert one.detail == {"pairs": 6, "same": 1, "fifth": 2, "relative": 1, "parallel": 1, "other": 1, "left_out": 1}
    assert one.clips == 6


def test_octave_errors_of_tempi_are_told_apart() -> None:
    heard = [("120", "124.8"), ("120", "125"), ("60", "121"), ("180", "61"), ("100", "150"), ("90", "90")]
    found = agreement(ballot(TEMPO, {f"c{number}": [[one], [other]] for number, (one, other) in enumerate(heard)}), TEMPO)
    assert score(found, "tempo within 4 %") == pytest.approx(2 / 6)
    assert score(found, "tempo within 4 %, octaves allowed") == pytest.approx(4 / 6)
    assert scored(found, "tempo within 4 %").detail == {"pairs": 6, "same": 2, "double": 1, "triple": 1, "other": 2}


def test_chords_match_as_in_mir_eval_and_for_as_long() -> None:
    for one, other in itertools.product(("C", "C:maj7", "A:min", "C:dim", "C:sus4", "N", "Db/3", "C#"), repeat=2):
        either = [float(mir_eval.chord.majmin([first], [second])[0]) for first, second in ((one, other), (other, one))]
        expected = max(either)
        assert chord_match(one, other) == expected or (expected < 0 and math.isnan(chord_match(one, other))), (one, other)
    assert chord_match("C:aug7", "C:maj11") == 0  # which mir_eval cannot read
    assert math.isnan(chord_match("X", "C"))
    assert chords_match([(0, 2, "C"), (2, 4, "G")], [(0, 3, "C"), (3, 4, "G"), (4, 5, "D:min")]) == pytest.approx(3 / 5)
    question = Question(name="chord", kind="chord", text="?")
    said = ballot(question, {"a": [["C:maj7"], ["C"]], "b": [["C"], ["D"]]})
    assert score(agreement(said, question), "chords as major or minor") == pytest.approx(0.5)
    drawn = Question(name="chord", kind="chord", text="?", choices=("C", "G"), regions=True)
    said = ballot(drawn, {"a": [[("C", 0, 2)], [("C", 0, 1), ("G", 1, 2)]]})
    assert score(agreement(said, drawn), "chords as major or minor") == pytest.approx(0.5)


def test_what_people_write_matches_letter_by_letter() -> None:
    question = Question(name="said", kind="text", text="?")
    said = ballot(question, {"a": [["la la"], ["la la"]], "b": [["la la"], ["la  la"]], "c": [[], []], "d": [["la"], []]})
    one = scored(agreement(said, question), "exact match")
    assert one.score == pytest.approx(1 / 3)
    assert one.detail["left_out"] == 1


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


# The command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rows = []
    for clip, answers in random_sets(2).items():
        for person, values in enumerate(answers):
            rows += spoken(MOODS, clip, f"p{person}", values)
    rows += [label for clip in ("c000", "c001") for label in spoken(VOICE, clip, "p0", [("yes", 1.0, 2.0)])]
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    store = Store(tmp_path / "store")
    store.publish("labels", "said", table(rows))
    store.publish("tracks", "shard", TRACKS.empty_table())
    return tmp_path


def test_the_command_says_all_and_keeps_it(store: Path) -> None:
    told = earmark("agreement", store / "campaign.toml", "--store", store / "store", "--draws", "50")
    kept = json.loads((store / "store/campaigns/moods/agreement.json").read_text())
    assert kept == told
    assert (kept["draws"], kept["seed"], kept["distance"]) == (50, 0, "masi")
    rows = {(each["question"], each["measure"], each["value"]): each for each in kept["agreement"]}
    assert rows["voice", "F within 0.2 s", ""]["why"] == "all answers are one person's"
    assert rows["said", "exact match", ""]["why"] == "nobody answered"
    assert 0 < rows["mood", "alpha", "calm"]["low"] < rows["mood", "alpha", "calm"]["score"]
    assert any(one == other for one, other, _ in kept["confusion"]["mood"])
    assert set(kept["meanings"]) == {"alpha", "F within", "exact"}


def test_the_table_is_worst_first_and_states_what_is_not_computable(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli import main

    assert main(["agreement", str(store / "campaign.toml"), "--store", str(store / "store"), "--draws", "50"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("independent answers, worst first\n")
    assert "voice, F within 0.2 s: all answers are one person's" in told
    assert "mood: what one says and another does not" in told
    assert "bootstrap over clips, 50 draws, seed 0" in told
    shown = [float(line.split("alpha")[1].split()[0]) for line in told.splitlines() if " alpha  " in line]
    assert shown == sorted(shown)
    assert len(shown) == 3


def test_the_mirror_tells_which_answers_merely_accepted(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    desk = open_desk(tmp_path / "campaign.toml", Store(tmp_path / "store"))
    tasks = [Task(f"c{number}-0000000a", "track", f"c{number}", 0.0, 3.0, "") for number in range(6)]
    desk.remember(tasks)
    sent = []
    for number, task in enumerate(tasks):
        guess = {"id": 100 + number, "model_version": "m@0123456789abcdef", "result": [choose("mood", "calm")]}
        # One hears what is there, without help; one listens to the guess and corrects it on every other clip; one accepts all.
        heard = ["calm", "sad"][number % 2]
        given = [{"parent_prediction": None, "mood": heard}, {"parent_prediction": guess["id"], "mood": heard}]
        given.append({"parent_prediction": guess["id"], "mood": "calm"})
        answers = [
            {
                "id": 10 * number + who,
                "completed_by": who,
                "parent_prediction": each["parent_prediction"],
                "result": guess["result"] if who and each["mood"] == "calm" else [choose("mood", str(each["mood"]))],
                "was_cancelled": False,
                "lead_time": 5.0,
                "updated_by": None,
                "created_at": "2026-03-01T00:00:00Z",
                "updated_at": "2026-03-01T00:00:00Z",
            }
            for who, each in enumerate(given)
        ]
        about = {"id": number, "data": {"ext_id": task.ext_id}, "updated_at": "2026-03-01T00:00:00Z"}
        sent.append({**about, "predictions": [guess], "annotations": answers})
    with desk.mirror.lock():
        desk.mirror.keep({"project": "1@2026", "users": {str(who): f"p{who}@example.org" for who in range(3)}, "tasks": sent})
    rows = [
        label
        for number in range(6)
        for who, mood in enumerate((["calm", "sad"][number % 2], ["calm", "sad"][number % 2], "calm"))
        for label in spoken(MOODS, f"c{number}", f"p{who}@example.org", [mood])
    ]
    desk.store.publish("labels", "said", table(rows))
    found = measure(desk, draws=20).agreement
    # Without help, and corrected where the guess was wrong: three clips, of one voice.
    assert (scored(found, "alpha (MASI)").clips, scored(found, "alpha (MASI)").answers) == (3, 6)
    own = scored(found, "alpha (MASI)", accepted=True)
    assert (own.clips, own.answers, own.annotators) == (6, 18, 3)
    assert "answers that merely accepted a pre-annotation" in text(measure(desk, draws=20))


def test_a_mistake_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli import main

    assert main(["agreement", str(store / "missing.toml"), "--store", str(store / "store")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(SystemExit):
        main(["agreement", str(store / "campaign.toml"), "--store", str(store / "store"), "--within", "nan"])
    assert not (store / "store/campaigns/moods/agreement.json").exists()
