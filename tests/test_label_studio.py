"""The door to Label Studio: what is done, what is refused, what is unknown; and what is never told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from annotation.label_studio import Door
from annotation.outcome import Away, Gone, Refused, StudioError, Unknown
from annotation.records import Project
from annotation.studio import Studio
from annotation.task import campaign_line
from tests.answers import Answers
from tests.flaky_proxy import FlakyProxy
from tests.studio import RunningStudio

SCREEN = """<View><Audio name="audio" value="$audio"/>
<Choices name="mood" toName="audio"><Choice value="calm"/><Choice value="sad"/></Choices></View>"""
CALM = [{"from_name": "mood", "to_name": "audio", "type": "choices", "value": {"choices": ["calm"]}}]
GUESS = {"model_version": "m@0000000000000000", "score": 0.5, "result": CALM}
TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_write_that_a_server_or_a_proxy_fails_is_unknown_and_is_not_repeated(status: int) -> None:
    with Answers(status, b"<html>") as answers:
        with pytest.raises(Unknown, match=f"importing 1 tasks into project 3: error {status}"):
            Studio(answers.url, TOKEN).import_tasks(3, [{"data": {}}])
        assert answers.calls == [("POST", "/api/projects/3/import?return_task_ids=true")]


def test_a_write_to_a_server_that_is_away_is_unknown() -> None:
    with pytest.raises(Unknown, match=r"http://127\.0\.0\.1:1: changing task 3: .*refused"):
        Studio("http://127.0.0.1:1", TOKEN).update_task(3, overlap=2)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            400,
            b'{"detail": "Validation error", "validation_errors": {"title": ["too short"]}}',
            "refused with 400: Validation error: title: too short",
        ),
        (409, b'{"detail": "unique_id is taken"}', "refused with 409: unique_id is taken"),
        (413, b"<html>", r"raise its limit for bodies \(nginx: client_max_body_size\)"),
        (401, b'{"detail": "Invalid token."}', r"the token is refused \(Invalid token.\); take one from 'Account & Settings'"),
    ],
)
def test_a_refusal_is_one_line_and_is_not_repeated(status: int, body: bytes, message: str) -> None:
    with Answers(status, body) as answers:
        with pytest.raises(Refused, match=message) as error:
            Studio(answers.url, TOKEN).update_project(3, title="x")
        assert "\n" not in str(error.value)
        assert len(answers.calls) == 1


def test_a_redirected_write_does_not_become_a_read_that_looks_done() -> None:
    with Answers(301, b"", location="https://labels.example.org/") as answers:
        with pytest.raises(Refused, match=r"it points to https://labels\.example\.org/; give that address"):
            Studio(answers.url, TOKEN).update_task(3, overlap=2)
        assert [method for method, _ in answers.calls] == ["PATCH"]


def test_reads_are_repeated_until_patience_ends_and_then_say_what_to_do() -> None:
    with Answers(502, b"") as answers:
        with pytest.raises(Away, match=r"signing in: error 502; tried for 0\.3 s\. Is it running\? 'earmark campaign serve' starts one"):
            Studio(answers.url, TOKEN, patience=0.3, pause=0.01).check()
        assert len(answers.calls) > 3


def test_another_server_at_the_address_is_named() -> None:
    with Answers(200, b"<html>hello</html>") as answers, pytest.raises(Away, match="the answer is not JSON; is there Label Studio at this"):
        Studio(answers.url, TOKEN, patience=0.05, pause=0.01).check()


def test_fewer_tasks_than_were_sent_are_unknown() -> None:
    answer = json.dumps({"task_ids": [5], "prediction_count": 0}).encode()
    with Answers(201, answer) as answers, pytest.raises(Unknown, match="the server speaks of 1 tasks and 0 predictions, 2 and 0 were sent"):
        Studio(answers.url, TOKEN).import_tasks(3, [{"data": {}}, {"data": {}}])


def test_an_empty_list_of_tasks_asks_and_deletes_nothing() -> None:
    """The server takes an empty selection for everything."""
    with Answers(200, b"{}") as answers:
        studio = Studio(answers.url, TOKEN)
        assert studio.tasks(3, []) == []
        studio.delete_tasks(3, [])
        assert answers.calls == []


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://me:secret@host", "http://host/?x=1"])
def test_an_address_that_is_none_is_named_without_its_password(url: str) -> None:
    with pytest.raises(StudioError, match="not an address as http://host:8080") as error:
        Studio(url, TOKEN)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("token", ["", "  ", "two words", "schlüssel", "a\nb"])
def test_a_token_that_is_none_is_named_without_being_told(token: str) -> None:
    with pytest.raises(StudioError, match="no token; take one from") as error:
        Studio("http://host", token)
    assert not token.strip() or token not in str(error.value)


def test_the_token_is_in_no_message_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with Answers(400, json.dumps({"detail": f"bad token {TOKEN}"}).encode()) as answers:
        studio = Studio(answers.url, TOKEN)
        with pytest.raises(Refused) as error:
            studio.update_task(3, overlap=1)
    assert "bad token ..." in str(error.value)
    assert TOKEN not in repr(studio) + str(error.value) + repr(error.value) + caplog.text


@pytest.fixture(scope="module")
def server(studio: RunningStudio) -> Studio:
    return Studio(studio.url, studio.token, patience=20, pause=0.02)


@pytest.fixture
def project(server: Studio) -> Iterator[Project]:
    made = server.create_project(
        "C door", f"words\n{campaign_line(f'door-{uuid4().hex[:8]}')}", SCREEN, overlap=2, instructions="Hören Sie 🎧"
    )
    yield made
    server.delete_project(made.id)


def tasks(count: int) -> list[dict[str, Any]]:
    return [{"data": {"ext_id": f"clip-{n}", "audio": f"http://clips.test/{n}.flac"}, "predictions": [GUESS]} for n in range(count)]


@pytest.mark.slow
def test_a_personal_access_token_opens_the_same_door(studio: RunningStudio, server: Studio) -> None:
    """The SDK changes it for one that lives five minutes."""
    account = studio.account(f"pat-{uuid4().hex[:8]}")  # each person has one, and the server shows it once
    personal = Door(studio.url, account.token, 20, 0.02).write("POST", "api/token/", "making a token", {})["token"]
    door = Studio(studio.url, personal)
    assert door.check() == account.email
    # An access token that the server no longer takes, although our clock says that it is young.
    door._door._transport.base_headers = lambda: {"Authorization": "Bearer expired"}
    assert door.check() == account.email
    with pytest.raises(Refused, match="the token is refused"):
        Studio(studio.url, f"{personal[:-4]}AAAA").check()


@pytest.mark.slow
def test_a_wrong_token_and_a_project_that_is_gone_are_named(studio: RunningStudio, server: Studio) -> None:
    with pytest.raises(Refused, match="signing in: the token is refused"):
        Studio(studio.url, TOKEN).check()
    with pytest.raises(Gone, match="reading project 999999: it is not there"):
        server.read_project(999_999)
    with pytest.raises(Gone, match="no project has the line 'earmark:nobody' in its description; 'earmark campaign apply' makes one"):
        server.project("nobody")


@pytest.mark.slow
def test_a_project_is_found_by_a_whole_line_of_its_description(server: Studio, project: Project) -> None:
    line = project.description.splitlines()[1]
    assert server.projects(line) == [project]
    assert server.project(line.partition(":")[2]) == (project.id, project.created_at)
    assert server.projects(line[:-1]) == []
    assert (project.overlap, project.instructions, project.label_config) == (2, "Hören Sie 🎧", SCREEN)
    server.update_project(project.id, description="nothing")
    assert server.projects(line) == []


@pytest.mark.slow
def test_tasks_come_back_as_they_were_sent_in_their_order(server: Studio, project: Project) -> None:
    sent = tasks(5)
    ids = server.import_tasks(project.id, sent)
    index = server.index(project.id)
    assert [(each.id, each.data, each.overlap, each.answers) for each in index] == [
        (task, given["data"], 2, 0) for task, given in zip(ids, sent, strict=True)
    ]
    assert [(each.task, each.model_version, each.score, each.result) for each in server.predictions(project.id)] == [
        (task, GUESS["model_version"], 0.5, CALM) for task in ids
    ]
    server.delete_tasks(project.id, ids[1:3])
    server.delete_tasks(project.id, ids[1:3])  # gone is gone
    assert [each.id for each in server.index(project.id)] == [ids[0], *ids[3:]]
    assert server.count(project.id) == 3


@pytest.mark.slow
def test_answers_and_skips_are_told_since_a_moment(server: Studio, project: Project, studio: RunningStudio) -> None:
    ids = server.import_tasks(project.id, tasks(4))
    person = studio.account("doris")
    theirs = Studio(studio.url, person.token)
    first = theirs.annotate(ids[2], CALM, lead_time=1.5)
    skip = theirs.annotate(ids[0], [], was_cancelled=True)
    listed = server.listed(project.id, None)
    assert [(each.task_id, each.annotations) for each in listed[-2:]] == [(ids[2], (first["id"],)), (ids[0], (skip["id"],))]
    moment = datetime.fromisoformat(listed[-1].updated_at)
    assert [each.task_id for each in server.listed(project.id, moment - timedelta(microseconds=1))] == [ids[0]]
    assert server.listed(project.id, moment) == []
    [task] = server.tasks(project.id, [ids[2], 999_999_999])
    assert [(each["id"], each["completed_by"], each["lead_time"]) for each in task["annotations"]] == [
        (first["id"], first["completed_by"], 1.5)
    ]
    assert server.users()[first["completed_by"]] == person.email
    assert sorted(each["id"] for task in server.export(project.id) for each in task["annotations"]) == sorted([first["id"], skip["id"]])
    assert abs((server.now() - moment).total_seconds()) < 60


@pytest.mark.slow
def test_predictions_are_sent_counted_and_deleted_by_version(server: Studio, project: Project) -> None:
    ids = server.import_tasks(project.id, tasks(3))
    new = {**GUESS, "model_version": "m@1111111111111111"}
    assert server.import_predictions(project.id, [{"task": each, **new} for each in ids]) == 3
    with pytest.raises(Refused, match="sending 2 predictions"):
        server.import_predictions(project.id, [{"task": each, **new} for each in (ids[0], 999_999_999)])
    wrong = {**new, "result": [{**CALM[0], "from_name": "nobody"}]}
    assert server.import_predictions(project.id, [{"task": ids[0], **wrong}]) == 0
    assert server.delete_model_version(project.id, str(GUESS["model_version"])) == 3
    assert {each.model_version for each in server.predictions(project.id)} == {"m@1111111111111111"}
    assert server.update_project(project.id, model_version="m@1111111111111111").model_version == "m@1111111111111111"


@pytest.mark.slow
def test_a_screen_is_checked_by_the_server(server: Studio) -> None:
    server.check_config(SCREEN)
    with pytest.raises(Refused, match="checking the labelling screen: refused with 400"):
        server.check_config("<View>")


@pytest.mark.slow
def test_what_cannot_be_sent_is_refused_before_it_is(server: Studio, project: Project) -> None:
    for value in (float("nan"), "\ud800"):
        with pytest.raises(Refused, match="such a value cannot be sent"):
            server.import_tasks(project.id, [{"data": {"audio": "x", "value": value}}])
    assert server.count(project.id) == 0


@pytest.mark.slow
def test_the_outcome_says_what_a_failing_proxy_did(studio: RunningStudio, server: Studio, project: Project) -> None:
    """Done is done; what is unknown was done exactly where the proxy had passed it on."""
    with FlakyProxy(studio.url, seed=5) as proxy:
        door = Studio(proxy.url, studio.token, patience=20, pause=0.01)
        done = 0
        for number in range(30):
            try:
                door.import_tasks(project.id, [{"data": {"audio": "x", "ext_id": str(number)}}])
                done += 1
            except Unknown:
                continue
        assert door.check()
    passed = sum(count for (kind, fate), count in proxy.happened.items() if kind == "write" and fate in ("passed", "cut", "504", "left"))
    for _ in range(100):
        if server.count(project.id) == passed:
            break
    assert server.count(project.id) == passed > done == proxy.happened["write", "passed"] > 0


def test_the_proxy_fails_alike_for_the_same_seed_and_otherwise_for_another() -> None:
    def fates(seed: int) -> list[str]:
        with Answers(200, b"{}") as answers, FlakyProxy(answers.url, seed) as proxy:
            seen = []
            for _ in range(120):
                connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
                try:
                    connection.request("POST", "/")
                    seen.append(str(connection.getresponse().status))
                except (OSError, http.client.HTTPException):
                    seen.append("cut")
                connection.close()
            return seen

    assert fates(1) == fates(1) != fates(2)
    assert {"200", "502", "504", "cut"} <= set(fates(1))
