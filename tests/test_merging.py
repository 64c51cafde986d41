"""Regions, moments, keys and tempi of several people as one."""

from __future__ import annotations

import itertools

import mir_eval
import numpy as np
import pytest

from annotation.labels import Label, table
from annotation.merging import TOLERANCE, events, key, mirex, regions, tempo, weighted_median
from annotation.question import KEYS, Question
from annotation.together import form, together
from annotation.votes import Votes, votes
from pipelines.votes.agreed import by_merging
from pipelines.votes.truths import Truths

EQUAL = np.ones(3)


def spans(*drawn: tuple[int, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regions as who, start, duration, of (who, start, end)."""
    who, start, end = np.array(drawn, float).T
    return who.astype(int), start, end - start


def test_boundaries_are_the_medians_of_those_who_drew_the_region() -> None:
    (found,) = regions(*spans((0, 1.0, 5.0), (1, 1.2, 5.4), (2, 1.1, 8.0)), EQUAL, "yes")
    assert (found.value, found.start, found.start + found.duration, found.confidence, found.said) == ("yes", 1.1, 5.4, 1.0, 3)


def test_what_one_of_three_drew_is_none_and_of_two_a_tie_is_none() -> None:
    assert regions(*spans((0, 1.0, 5.0)), EQUAL) == []
    assert regions(*spans((0, 1.0, 5.0)), np.ones(2)) == []
    assert regions(*spans((0, 1.0, 5.0)), np.ones(1))[0].confidence == 1.0
    (kept,) = regions(*spans((0, 1.0, 5.0)), EQUAL, support=0.0)
    assert kept.confidence == pytest.approx(1 / 3)


def test_one_long_region_against_two_short_ones_leaves_the_gap() -> None:
    found = regions(*spans((0, 0.0, 2.0), (0, 4.0, 6.0), (1, 0.1, 2.1), (1, 4.1, 6.1), (2, 0.0, 6.0)), EQUAL)
    assert [(each.start, each.start + each.duration) for each in found] == [(0.0, 2.1), (4.0, 6.0)]
    assert all(one.start + one.duration <= other.start for one, other in itertools.pairwise(found))


def test_regions_that_touch_are_one_and_one_persons_overlapping_regions_count_once() -> None:
    (found,) = regions(*spans((0, 0.0, 2.0), (0, 2.0, 4.0), (1, 0.0, 4.0)), np.ones(2))
    assert (found.start, found.duration, found.said) == (0.0, 4.0, 2)
    assert regions(*spans((0, 0.0, 2.0), (0, 0.5, 1.5)), EQUAL) == []


def test_two_regions_that_only_touch_are_not_at_once() -> None:
    # Of five people one hears it for 4 s, one until 2 s, one from there on: never more than two at once.
    assert regions(*spans((0, 0, 4), (1, 1, 2), (2, 2, 3)), np.ones(5)) == []


def test_a_heavier_word_moves_boundaries_and_decides() -> None:
    weights = np.array([5.0, 1.0, 1.0])
    (found,) = regions(*spans((0, 1.0, 5.0)), weights)
    assert found.confidence == pytest.approx(5 / 7)
    (moved,) = regions(*spans((0, 1.0, 5.0), (1, 2.0, 6.0), (2, 2.0, 6.0)), weights)
    assert (moved.start, moved.duration) == (1.0, 4.0)


def test_a_region_of_no_length_is_no_region() -> None:
    assert regions(*spans((0, 1.0, 1.0), (1, 1.0, 1.0), (2, 1.0, 1.0)), EQUAL) == []


def marks(*made: tuple[int, float, str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    return np.array([each[0] for each in made]), np.array([each[1] for each in made]), [each[2] for each in made]


def test_beats_are_found_within_the_tolerance_with_the_number_that_most_gave() -> None:
    found = events(*marks((0, 1.0, "1"), (1, 1.04, "1"), (2, 0.98, "2"), (0, 1.5, "2"), (1, 1.52, "2"), (2, 3.0, "3")), EQUAL, 0.07)
    assert [(each.value, each.start, each.said) for each in found] == [("1", 1.0, 3), ("2", 1.51, 2)]
    assert found[1].confidence == pytest.approx(2 / 3)


def test_two_marks_of_one_person_are_not_two_people() -> None:
    assert events(*marks((0, 1.0, "1"), (0, 1.02, "1")), EQUAL, 0.05) == []
    found = events(*marks((0, 1.0, ""), (0, 1.06, ""), (1, 1.0, ""), (1, 1.06, "")), np.ones(2), 0.05)
    assert [each.start for each in found] == [1.0, 1.06]


def test_clusters_are_those_of_theory_for_jittered_onsets() -> None:
    # Onsets 100 ms apart or more, each heard by 90 % within ±20 ms by five people who also mark moments of their own.
    rng = np.random.default_rng(0)
    truth = np.cumsum(rng.uniform(0.12, 0.4, 60))
    made = [(person, at + rng.uniform(-0.02, 0.02), "onset") for person in range(5) for at in truth if rng.random() < 0.9]
    made += [(person, rng.uniform(0, truth[-1]), "onset") for person in range(5) for _ in range(6)]
    found = [each.start for each in events(*marks(*made), np.ones(5), TOLERANCE["onset"])]
    f, *_ = mir_eval.onset.f_measure(truth, np.array(found), window=0.03)
    each = [mir_eval.onset.f_measure(truth, np.sort([at for who, at, _ in made if who == person]), window=0.03)[0] for person in range(5)]
    assert f > 0.98 > max(each)


def test_keys_score_as_mir_eval_scores_them() -> None:
    every = [*KEYS["major"], *KEYS["minor"]]
    for reference, estimate in itertools.product(every, every):
        assert mirex(reference, estimate) == pytest.approx(mir_eval.key.weighted_score(reference, estimate)), (reference, estimate)
    assert mirex("N", "N") == 1.0
    assert mirex("N", "C major") == mirex("C major", "N") == mirex("D dorian", "D minor") == 0.0


def test_the_key_with_the_least_loss_may_be_said_by_fewer() -> None:
    # C major twice; G major once, but F# minor, its votes' like, is no relative of it: D major has fifth, relative and own.
    assert key(["C major", "C major", "G major"], [1, 1, 1]) == ("C major", pytest.approx(2 / 3))
    assert key(["E major", "C major", "G major"], [1, 1, 1])[0] == "G major"
    assert key(["E major", "C major", "G major"], [3, 1, 1])[0] == "E major"
    assert key(["A minor", "C major"], [1.0, 1.0])[0] in ("A minor", "C major")


def test_octaves_of_a_tempo_count_partly() -> None:
    assert tempo([120.0, 121.0, 60.0, 90.0], [1, 1, 1, 1]) == (120.5, 0.5)
    # 60 and 60 against 120, 120 and 240: the double has half of both.
    assert tempo([60.0, 60.0, 120.0, 120.0, 240.0], [1, 1, 1, 1, 1]) == (120.0, 0.4)
    assert tempo([90.0, 120.0, 60.0], [1.6, 1, 1])[0] == 90.0
    with pytest.raises(ValueError, match="no votes"):
        tempo([], [])


def test_the_weighted_median_is_the_median_of_repeated_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        values, counts = rng.integers(0, 9, 6).astype(float), rng.integers(1, 5, 6)
        assert weighted_median(values, counts) == np.median(np.repeat(values, counts))


ONSET = Question(name="onset", kind="onset", text="Where?", regions=True)
KEY = Question(name="key", kind="key", text="Which key?")
TEMPO = Question(name="tempo", kind="tempo", text="How fast?")
VOICE = Question(name="voice", kind="singing_voice", text="Where?", regions=True)


def gather(question: Question, said: dict[str, list[list[tuple[str, float | None, float | None]]]]) -> Votes:
    rows = []
    for author, clips in said.items():
        for clip, statements in enumerate(clips):
            for value, start, duration in statements:
                rows.append(Label(question.kind, value, author, "person", "track", f"c{clip:02d}", start, duration))
            if not statements:
                rows.append(Label("nothing", question.name, author, "person", "track", f"c{clip:02d}"))
    return votes(table(rows), question)


def test_each_question_has_its_form() -> None:
    tags = Question(name="mood", kind="tag", text="?", choices=("a", "b"), multiple=True)
    assert [form(each) for each in (ONSET, KEY, TEMPO, VOICE, tags)] == ["moments", "key", "tempo", "regions", "tags"]
    assert form(Question(name="t", kind="text", text="?")) == "text"
    assert form(Question(name="m", kind="music_speech", text="?")) == "choice"


def test_who_agrees_with_the_others_weighs_more() -> None:
    rng = np.random.default_rng(0)
    truth = [np.sort(rng.uniform(0, 10, 12)) for _ in range(12)]
    said: dict[str, list[list[tuple[str, float | None, float | None]]]] = {
        name: [[("onset", float(at + rng.normal(0, 0.01)), 0.0) for at in clip] for clip in truth] for name in ("ada", "bo")
    }
    said |= {name: [[("onset", float(at), 0.0) for at in rng.uniform(0, 10, 12)] for _ in truth] for name in ("cy", "di")}
    found = together(gather(ONSET, said), ONSET)
    ada, bo, cy, di = found.weights
    assert min(ada, bo) > 2 * max(cy, di)
    # Two of four are half, which decides nothing; by weight they are most.
    hits = sum(
        len(mir_eval.util.match_events(clip, np.array([e.start for e in said_]), 0.05))
        for clip, said_ in zip(truth, found.statements, strict=True)
    )
    assert hits > 0.9 * sum(map(len, truth))
    assert [each.annotator for each in found.quality[:2]] in (["cy", "di"], ["di", "cy"])


def test_who_had_nothing_to_say_counts_against_a_region() -> None:
    said = {"ada": [[("yes", 1.0, 2.0)]], "bo": [[]], "cy": [[]]}
    found = together(gather(VOICE, said), VOICE)
    assert found.statements == ((),)
    assert 0 < found.shares[0, 0] < 0.5


def test_keys_and_tempi_of_a_campaign_are_merged() -> None:
    keys = together(
        gather(KEY, {name: [[(value, None, None)]] for name, value in (("a", "C major"), ("b", "C major"), ("c", "F# major"))}), KEY
    )
    assert [each.value for each in keys.statements[0]] == ["C major"]
    assert keys.statements[0][0].confidence > 2 / 3
    assert keys.statements[0][0].said == 2
    tempi = together(gather(TEMPO, {name: [[(value, None, None)]] for name, value in (("a", "120"), ("b", "121"), ("c", "60"))}), TEMPO)
    assert [each.value for each in tempi.statements[0]] == ["120.5"]


def test_gold_is_what_is_said_and_what_people_are_measured_by() -> None:
    from annotation.merging import Merged

    said = {name: [[("yes", 5.0, 2.0)]] * 12 for name in ("ada", "bo")} | {"cy": [[("yes", 1.0, 2.0)]] * 12}
    known = {clip: [Merged("yes", 1.0, 2.0, 1.0, 0)] for clip in range(12)}
    found = together(gather(VOICE, said), VOICE, known)
    assert all(clip == (known[0][0],) for clip in found.statements)
    worst, *_, best = found.quality
    assert (best.annotator, best.basis) == ("cy", "gold")
    assert best.sensitivity is not None
    assert (best.sensitivity.share, best.sensitivity.of) == (1.0, 12)
    assert worst.informedness == 0.0


def test_nobody_and_one_person_are_said() -> None:
    assert together(gather(VOICE, {"ada": [[("yes", 1.0, 2.0)]]}), VOICE).remarks == (
        "all answers (1) are by ada: the consensus is that person's word",
    )
    empty = together(votes(table([]), VOICE), VOICE)
    assert (empty.statements, empty.remarks) == ((), ("no answers yet",))


def test_every_key_that_somebody_said_has_its_share_and_so_has_silence() -> None:
    keys = {"a": ["C major"], "b": ["C major"], "c": ["G major"], "d": ["F major"], "e": ["C major"]}
    said = {name: [[(value, None, None) for value in values], []] for name, values in keys.items()}
    said["a"][1], said["b"][1] = [("C major", None, None)], [("G major", None, None)]
    ballot = gather(KEY, said)
    found = together(ballot, KEY)
    heavy = dict(zip(ballot.annotators, (found.weights / found.weights.sum()).tolist(), strict=True))
    shares = dict(zip(ballot.values, found.shares[0].tolist(), strict=True))
    expected = {"C major": heavy["a"] + heavy["b"] + heavy["e"], "G major": heavy["c"], "F major": heavy["d"]}
    assert {key: share for key, share in shares.items() if share} == pytest.approx(expected)
    agreed = by_merging(KEY, ballot, "count", 0.3, Truths({}), ())
    assert agreed.statements[1] == [("", None, None, pytest.approx(heavy["c"] + heavy["d"] + heavy["e"]))]
    rows = {(row["key"], row["value"]): (row["probability"], row["said"]) for row in agreed.snapshot.to_pylist()}
    assert rows["c01", "G major"] == (pytest.approx(heavy["b"]), 1)
