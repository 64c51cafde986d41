"""Agreement about stretches and moments, keys, tempi, chords and words: as the field's own tools measure it."""

from __future__ import annotations

import itertools
import math

import krippendorff
import mir_eval
import numpy as np
import pytest

from annotation.agreement.agreement import agreement
from annotation.agreement.nearness import chord_match, chords_match, key_relation
from annotation.question import KEYS, Question
from tests.ballots import VOICE, Said, ballot, score, scored

BEATS = Question(name="beats", kind="beat", text="?", regions=True)
KEY = Question(name="key", kind="key", text="?")
TEMPO = Question(name="tempo", kind="tempo", text="?")


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
