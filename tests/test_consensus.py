"""Consensus: crowd-kit's numbers, simulated people with known confusion, and the command over a store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from annotation.consensus import METHODS, Consensus, Method, consensus, heard, posterior
from annotation.decisions import confusions
from annotation.labels import Label, from_rows, table, write
from annotation.revisions import current
from annotation.simulated import Annotator, simulate, spoken
from annotation.votes import Votes, votes
from pipelines.campaigns.asked import excerpts
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.catalog import scan
from pipelines.cli import main
from pipelines.gather import add
from pipelines.part import StoreError
from pipelines.places import FileError
from pipelines.store import Store
from pipelines.votes.agreed import SNAPSHOT
from pipelines.votes.consensus import agree
from tests.campaigning import MOODS
from tests.collection import tones

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


CAMPAIGN = (
    MOODS
    + """multiple = true
[[questions]]
name = "voice"
kind = "singing_voice"
text = "Is there singing?"
[[questions]]
name = "onset"
kind = "onset"
text = "Where do notes begin?"
regions = true
[[questions]]
name = "words"
kind = "text"
text = "What else?"
[clips]
seconds = 1.0
[overlap]
annotators = 3
"""
)
AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A campaign on eight clips of four recordings."""
    tones(tmp_path / "audio", 4, 2.0)
    store = Store(tmp_path / "store")
    scan(store, [str(tmp_path / "audio")])
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    return open_desk(tmp_path / "campaign.toml", store)


def say(desk: Desk, author: str, clip: int, kind: str, value: str, at: float = 0.0, **more: object) -> Label:
    each = excerpts(desk)[clip]
    about = each.track["track_id"], each.clip_id
    return Label(kind, value, author, "person", *about, campaign=desk.campaign.name, at=AT + timedelta(minutes=at), **more)  # type: ignore[arg-type]


def answers(desk: Desk) -> list[Label]:
    """Three people: all hear calm in even clips and singing in the first four; cy disagrees about the last; onsets at 0.2 and 0.7."""
    said = []
    for number in range(8):
        for person, author in enumerate(("ada", "bo", "cy")):
            calm = (number % 2 == 0) != (author == "cy" and number == 7)
            said.append(say(desk, author, number, "tag.mood", "calm") if calm else say(desk, author, number, "nothing", "mood"))
            said.append(say(desk, author, number, "singing_voice", "yes" if number < 4 else "no"))
            said += [say(desk, author, number, "onset", "onset", start=at + 0.01 * person, duration=0.0) for at in (0.2, 0.7)]
            said.append(say(desk, author, number, "text", f"{author} says"))
    return said


def stand(desk: Desk) -> list[Label]:
    """What stands of the consensus."""
    rows = desk.store.table("labels").to_table().to_pylist()
    fields = (
        "kind",
        "value",
        "author",
        "author_kind",
        "track_id",
        "clip_id",
        "start",
        "duration",
        "confidence",
        "campaign",
        "at",
        "replaces",
    )
    return current([Label(*(row[name] for name in fields)) for row in rows if row["author_kind"] == "consensus"])


def test_the_consensus_is_in_the_labels_and_its_posteriors_beside_the_campaign(desk: Desk) -> None:
    add(desk.store, answers(desk))
    found = agree(desk, "majority")
    clips = [each.clip_id for each in excerpts(desk)]
    told = {(clips.index(label.clip_id or ""), label.kind, label.value, label.start) for label in stand(desk)}
    assert told == {
        *((clip, "tag.mood", "calm", None) for clip in (0, 2, 4, 6)),
        *((clip, "nothing", "mood", None) for clip in (1, 3, 5, 7)),
        *((clip, "singing_voice", "yes" if clip < 4 else "no", None) for clip in range(8)),
        *((clip, "onset", "onset", start) for clip in range(8) for start in (0.21, 0.71)),
    }
    assert {label.author for label in stand(desk)} == {"consensus:majority", "consensus:weighted"}
    assert all(label.at == AT and label.campaign == "moods" for label in stand(desk))
    assert found.disputed() == [clips[7]]
    snapshot = pq.read_table(desk.folder / "consensus.parquet")
    assert snapshot.schema.equals(SNAPSHOT)
    assert snapshot.num_rows == 8 * (2 + 2 + 1)
    (row,) = [row for row in snapshot.to_pylist() if row["key"] == clips[7] and row["value"] == "calm"]
    assert row | {"probability": round(row["probability"], 6)} == {
        "key": clips[7],
        "clip_id": clips[7],
        "view_id": None,
        "track_id": excerpts(desk)[7].track["track_id"],
        "question": "mood",
        "kind": "tag.mood",
        "value": "calm",
        "probability": 0.333333,
        "votes": 3,
        "said": 1,
        "method": "majority",
        "disputed": True,
    }
    people = json.loads((desk.folder / "annotators.json").read_text())
    assert {each["annotator"] for each in people["questions"]["mood"]["annotators"]} == {"ada", "bo", "cy"}
    assert people["questions"]["words"]["remarks"] == ["free text is not merged: 24 answers stay as they are"]


def test_a_second_run_adds_nothing_and_a_new_vote_changes_what_stands_by_further_rows(desk: Desk) -> None:
    add(desk.store, answers(desk))
    assert agree(desk, "majority").added > 0
    before = from_rows(desk.store.table("labels").to_table())
    assert agree(desk, "majority").added == 0
    clip = excerpts(desk)[7].clip_id
    (bo,) = [row for row in before if row.author == "bo" and row.clip_id == clip and row.kind == "nothing"]
    add(desk.store, [replace(bo, kind="tag.mood", value="calm", at=AT + timedelta(hours=1), replaces=bo.label_id)])
    assert agree(desk, "majority").added == 2  # nothing is withdrawn, calm is new
    assert [label.value for label in stand(desk) if label.clip_id == clip and label.kind == "tag.mood"] == ["calm"]
    after = from_rows(desk.store.table("labels").to_table())
    assert set(before) <= set(after)
    # And back: what was said, taken back and said again stands.
    (calm,) = [row for row in after if row.author == "bo" and row.clip_id == clip and row.kind == "tag.mood"]
    add(desk.store, [replace(calm, kind="nothing", value="mood", at=AT + timedelta(hours=2), replaces=calm.label_id)])
    agree(desk, "majority")
    assert [label.value for label in stand(desk) if label.clip_id == clip and label.kind == "nothing"] == ["mood"]
    assert agree(desk, "majority").added == 0


def test_another_method_takes_the_place_of_the_first(desk: Desk) -> None:
    add(desk.store, answers(desk))
    agree(desk, "majority")
    agree(desk, "dawid-skene")
    assert {label.author for label in stand(desk)} == {"consensus:dawid-skene", "consensus:weighted"}
    assert agree(desk, "dawid-skene").added == 0


def test_a_clip_whose_answers_were_all_taken_back_has_no_consensus(desk: Desk) -> None:
    said = answers(desk)
    add(desk.store, said)
    agree(desk, "majority")
    clip = excerpts(desk)[0].clip_id
    gone = [
        replace(each, kind="withdrawn", value="", start=None, duration=None, replaces=each.label_id)
        for each in said
        if each.clip_id == clip
    ]
    add(desk.store, gone)
    agree(desk, "majority")
    assert not [label for label in stand(desk) if label.clip_id == clip]


def test_two_at_once_the_second_is_told_to_wait(desk: Desk) -> None:
    add(desk.store, answers(desk))
    with desk.store.lock("consensus"), pytest.raises(StoreError, match="another consensus is at work"):
        agree(desk)


@pytest.mark.slow
def test_killed_anywhere_the_next_run_completes_it(desk: Desk) -> None:
    add(desk.store, answers(desk))
    program = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "consensus", str(desk.file), "--store", desk.store.root, "--method", "majority"]
    for wait in (0.5, 1.5, 2.5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(wait)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    agree(desk, "majority")
    assert len(stand(desk)) == 4 + 4 + 8 + 16
    assert pq.read_table(desk.folder / "consensus.parquet").num_rows == 40
    assert agree(desk, "majority").added == 0


def test_gold_that_says_two_things_is_told_and_not_used(desk: Desk) -> None:
    add(desk.store, answers(desk))
    first, second = excerpts(desk)[:2]
    gold = [
        Label("tag.mood", "wild", "expert", "gold", first.track["track_id"], first.clip_id),
        Label("tag.mood", "calm", "score", "gold", first.track["track_id"], first.clip_id),
        Label("tag.mood", "wild", "expert", "gold", second.track["track_id"], second.clip_id),
    ]
    write(gold, desk.file.parent / "gold.parquet")
    desk.file.write_text(CAMPAIGN + '[gold]\nfile = "gold.parquet"\n')
    found = agree(open_desk(desk.file, desk.store), "majority")
    assert found.agreed[0].remarks == [f"gold contradicts itself in 1 of 2 clips, where it is not used; {first.clip_id}: 'calm' or 'wild'"]
    said = {(label.clip_id, label.value) for label in stand(desk) if label.kind == "tag.mood"}
    assert (first.clip_id, "calm") in said  # by the votes
    assert (second.clip_id, "wild") in said  # by gold, against all votes


def test_disputed_clips_are_asked_again_by_a_campaign_that_loads(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    add(desk.store, answers(desk))
    file = desk.file.parent / "later" / "again.toml"
    assert main(["consensus", str(desk.file), "--store", desk.store.root, "--method", "majority", "--requeue", str(file), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["requeue"] == {"file": str(file), "name": "moods-again"}
    again = open_desk(file, desk.store)
    assert again.campaign.questions == desk.campaign.questions
    assert [each.clip_id for each in excerpts(again)] == [excerpts(desk)[7].clip_id] == told["disputed"]
    # The answers to the second count for the first: cy has changed her mind.
    add(desk.store, [replace(say(desk, "cy", 7, "nothing", "mood"), campaign="moods-again", at=AT + timedelta(days=1))])
    assert main(["consensus", str(desk.file), "--store", desk.store.root, "--method", "majority", "--also", str(file), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["disputed"] == []


def test_a_list_of_clips_that_are_not_there_is_refused_in_one_line(desk: Desk) -> None:
    asks = desk.file.with_name("asks.toml")
    asks.write_text(CAMPAIGN.replace("seconds = 1.0", 'seconds = 1.0\nids = "few.txt"'))
    with pytest.raises(FileError, match=r"'few.txt' is not there; name a list of clips"):
        open_desk(asks, desk.store)
    desk.file.with_name("few.txt").write_text("c0ffee\n")
    with pytest.raises(StoreError, match=r"1 of 1 clips are none of this campaign's, 'c0ffee' for one"):
        excerpts(open_desk(asks, desk.store))


def test_the_text_tells_counts_disputes_method_and_people(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["consensus", str(desk.file), "--store", desk.store.root]) == 0
    assert "mood: 0 clips, 0 answers by 0 people; 0 disputed (dawid-skene)\n  no answers yet\n" in capsys.readouterr().out
    add(desk.store, answers(desk))
    assert main(["consensus", str(desk.file), "--store", desk.store.root, "--method", "majority"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mood: 8 clips, 24 answers by 3 people; 1 disputed (majority)"
    assert lines[1] == "  clips with calm 4, wild 0, none of these 4"
    assert "words: 8 clips, 24 answers by 3 people" in lines


def test_simulated_votes_are_the_votes_that_their_labels_are() -> None:
    from annotation.question import Question

    question = Question(name="mood", kind="tag.mood", text="Which?", choices=("calm", "wild"), multiple=True)
    truth = np.array([[1, 0], [0, 0], [1, 1]])
    said = simulate(truth, [Annotator(0.1)] * 2, 2, 0, values=question.values, question="mood", kind="tag.mood")
    read = votes(table(spoken(said, "c")), question)
    assert [read.chosen(value).tolist() for value in (0, 1)] == [said.chosen(value).tolist() for value in (0, 1)]
    assert (read.clip.tolist(), read.annotator.tolist()) == (said.clip.tolist(), said.annotator.tolist())
