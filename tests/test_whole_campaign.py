"""From recordings to labels by the command line, on a real Label Studio with a real PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from annotation.studio import Studio
from pipelines.campaigns.cli import CHANGES
from tests.collection import ROOT, command, earmark, ran, tones
from tests.studio import RunningStudio
from tests.whole_campaign import Whole, answer, whole

pytestmark = pytest.mark.slow


@pytest.fixture
def campaign(studio: RunningStudio, tmp_path: Path) -> Iterator[Whole]:
    with whole(tmp_path, studio, f"whole-{uuid4().hex[:8]}", tracks=5, seconds=12.0) as made:
        yield made


def test_what_is_pulled_is_what_people_said_exactly(campaign: Whole, studio: RunningStudio) -> None:
    planned = campaign.command("plan", code=CHANGES)
    assert (len(planned["create"]), planned["refused"]) == (20, [])
    assert 0 < planned["predictions"] <= 20  # of clips in which the network hears none of the three there is none
    assert campaign.command("apply")["done"]["tasks imported"] == 20
    assert campaign.command("apply")["done"] == {}
    assert campaign.command("plan")["changes"] is False
    people = [studio.account(f"whole-{number}") for number in range(5)]
    spoken = answer(campaign, people)
    pulled = campaign.command("pull")
    assert pulled["answers"] == 60
    assert campaign.standing() == spoken
    again = campaign.command("pull", "--full")
    assert (again["labels"], again["answers"]) == (0, 0)
    assert campaign.standing() == spoken
    found = campaign.command("status")
    assert (found["done"], found["answers"], len(found["annotators"])) == (20, 60, 5)
    assert campaign.command("apply")["done"] == {}  # answers change nothing of what is wanted


def test_what_people_said_moves_into_the_views_of_their_clips(campaign: Whole, studio: RunningStudio) -> None:
    from pipelines.store import Store

    campaign.command("apply")
    spoken = answer(campaign, [studio.account("whole-0")], each=1)
    campaign.command("pull")
    earmark("run", campaign.folder / "recipe.toml", "--store", campaign.folder / "store", "--engine", "local")
    rows = Store(campaign.folder / "store").table("view_labels").to_table().to_pylist()
    moved = sorted(((row["clip_id"], row["kind"], row["value"], row["start"]) for row in rows), key=str)
    assert moved == sorted(((clip, kind, value, start) for clip, _, kind, value, start, _, _ in spoken), key=str)


def test_a_deleted_project_is_named_and_made_anew_only_when_asked(campaign: Whole, studio: RunningStudio) -> None:
    campaign.command("apply")
    spoken = answer(campaign, [studio.account("whole-0")], each=1)
    campaign.command("pull")
    server = Studio(studio.url, studio.token)
    server.delete_project(server.project(campaign.name)[0])
    assert "is gone: somebody deleted it" in campaign.command("plan", code=1)["refused"][0]
    place = ("--url", studio.url, "--token-file", campaign.folder / "token")
    for name in ("apply", "pull"):
        done = ran("campaign", name, campaign.folder / "campaign.toml", "--store", campaign.folder / "store", *place)
        assert done.returncode == 2
        assert "earmark: " in done.stderr.splitlines()[-1]
    assert campaign.standing() == spoken
    assert campaign.command("apply", "--recreate")["done"]["tasks imported"] == 20
    campaign.command("pull")
    assert campaign.standing() == spoken


def test_people_are_invited_to_the_address_by_which_they_come(studio: RunningStudio, tmp_path: Path) -> None:

    data, email = tmp_path / "studio", f"{uuid4().hex[:8]}@example.org"
    data.mkdir()
    (data / "token").write_text(studio.token)
    (data / "studio.json").write_text(json.dumps({"url": studio.url, "public_url": "https://labels.example.org"}))
    told = earmark("campaign", "invite", email, "--data", data)
    assert told == {"new": [email], "accounts": 1, "passwords": str(data / "annotators.tsv"), "url": "https://labels.example.org"}
    place = ("--url", studio.url, "--token-file", data / "token")
    assert earmark("campaign", "invite", email, *place) == {**told, "new": [], "url": studio.url}
    done = ran("campaign", "invite", email, "--data", data)
    assert done.returncode == 0
    assert "people sign in at https://labels.example.org" in done.stdout
    assert studio.token not in done.stdout + done.stderr


def test_a_watching_pull_brings_answers_as_they_come_and_a_preflight_without_clips_fails(campaign: Whole, studio: RunningStudio) -> None:
    campaign.command("apply")
    deaf = campaign.command("preflight", "--sample", "2", code=1)  # nobody serves the clips
    assert (deaf["heard"], len(deaf["failures"]) > 0) == (0, True)
    place = ("--url", studio.url, "--token-file", campaign.folder / "token")
    arguments = command("campaign", "pull", campaign.folder / "campaign.toml", "--store", campaign.folder / "store", *place)
    watching = subprocess.Popen([*arguments, "--watch", "0.3", "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert watching.stdout
        assert json.loads(watching.stdout.readline())["answers"] == 0
        spoken = answer(campaign, [studio.account("whole-0")], each=1)
        came = 0
        while came < 20:
            came += json.loads(watching.stdout.readline())["answers"]
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    assert campaign.standing() == spoken


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--url", "http://127.0.0.1:9"), "earmark: http://127.0.0.1:9"),
        (("--url", "http://127.0.0.1:9", "--token-file", "gone"), "earmark: "),
        (("--data", "nowhere"), "no data folder; 'earmark campaign serve --data nowhere' makes it"),
    ],
)
def test_a_server_that_is_not_there_is_one_line(tmp_path: Path, wrong: tuple[str, ...], said: str) -> None:
    from tests.whole_campaign import CAMPAIGN

    tones(tmp_path / "audio", 1, 6.0)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    (tmp_path / "campaign.toml").write_text(CAMPAIGN.format(name="nobody").split("[predictions]")[0])
    done = ran("campaign", "plan", tmp_path / "campaign.toml", "--store", tmp_path / "store", *wrong)
    assert done.returncode == 2
    assert said.removeprefix("earmark: ") in done.stderr or "--token-file" in done.stderr
    assert "Traceback" not in done.stderr
