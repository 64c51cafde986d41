"""Agreement by its command: what is told, kept, and taken from the mirror."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotation.labels import table
from annotation.task import Task
from pipelines.campaigns.desk import open_desk
from pipelines.store import Store
from pipelines.tracks import TRACKS
from pipelines.votes.agreement import measure, text
from tests.ballots import MOODS, VOICE, random_sets, scored, spoken
from tests.campaigning import MOODS as MOODS_FILE
from tests.campaigning import choose
from tests.collection import earmark

CAMPAIGN = (
    MOODS_FILE.replace('"calm", ', '"calm", "sad", ')
    + """multiple = true
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
)


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
