"""`earmark consensus`: the consensus over a store, again and again, killed, disputed and asked again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from annotation.labels import Label, from_rows, write
from annotation.revisions import current
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
