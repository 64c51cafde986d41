"""The ML backend, asked by a real Label Studio and by others: the campaign's guesses, a wake-up, and a line for what is wrong."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from annotation.interface import interface
from annotation.plan import columns
from annotation.preannotation import prediction
from annotation.studio import Studio
from annotation.sync import apply
from annotation.task import Task
from extractors.encode import write
from pipelines.campaigns import backend
from pipelines.campaigns.asked import tasks, wanted
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.campaigns.preannotate import preannotations
from pipelines.catalog import scan
from pipelines.store import Store
from tests.studio import RunningStudio
from tests.test_table import field, flat

SECONDS, RATE = 10.0, 16_000
PATCH = 2.992  # seconds of a patch of MusiCNN: 187 frames of 256 samples at 16 kHz
TAGS = ("ambient", "female vocal", "guitar", "happy", "weird")
WEIGHTS = "0123456789abcdef" * 4
MODEL = "MusiCNN-MTT_musicnn@0123456789abcdef.fc98749d"  # weights, and the thresholds and map above
CAMPAIGN = """
name = "{name}"
title = "{name}"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which moods?"
choices = ["calm", "happy", "sad"]
multiple = true
[[questions]]
name = "voice"
kind = "instrument"
text = "Where is what?"
choices = ["voice", "guitar"]
regions = true
[clips]
seconds = 10.0
[predictions]
table = "musicnn"
map = {{ mood = {{ ambient = "calm", happy = "happy" }}, voice = {{ "female vocal" = "voice", guitar = "guitar" }} }}
[audio]
format = "{format}"
"""


def tones(path: Path, seconds: float, *frequencies: float) -> None:
    """A chord that swells and fades twice a second."""
    at = np.arange(round(seconds * RATE)) / RATE
    swell = 0.5 - 0.5 * np.cos(4 * np.pi * at)
    write(path, (swell * sum(np.sin(2 * np.pi * each * at) for each in frequencies) / (2 * len(frequencies))).astype(np.float32), RATE)


def listen(store: Store, heard: Sequence[Task], part: str = "part") -> None:
    """What an extractor would store: each clip is calm, somebody sings in the second patch, and a fourth patch is no sound."""
    tags = np.array([[0.7, 0.1, 0.2, 0.2, 0.1]] * len(heard), np.float32).reshape(len(heard), len(TAGS))
    taggram = np.full((len(heard), 4, len(TAGS)), 0.1, np.float32)
    taggram[:, 1, 1], taggram[:, 3] = 0.9, 1.0
    arrays = {
        "clip_id": pa.array([task.clip_id for task in heard]),
        "view": pa.array([0] * len(heard), pa.int32()),
        "track_id": pa.array([task.track_id for task in heard]),
        "start": pa.array([task.start for task in heard]),
        "seconds": pa.array([task.seconds for task in heard]),
        "valid": pa.array([3] * len(heard), pa.int32()),
        "tags_mean": flat(tags),
        "tags": flat(taggram),
    }
    said = {
        "tags_mean": {"shape": (len(TAGS),), "labels": TAGS},
        "tags": {"shape": (4, len(TAGS)), "dims": ["patch", "tag"], "labels": TAGS},
    }
    fields = [field(name, array, **said.get(name, {})) for name, array in arrays.items()]
    footer = {"extractor": {"use": "MusiCNN", "model": "MTT_musicnn", "weights": WEIGHTS}, "window": {"seconds": SECONDS}}
    rows = pa.table(list(arrays.values()), schema=pa.schema(fields, {"earmark": json.dumps(footer)}))
    store.publish("musicnn", part, rows, variant="v")


def make_desk(folder: Path, name: str, encoding: str = "wav", unheard: int = 1, more: str = "") -> Desk:
    """A campaign about four clips of two recordings, with guesses for all but the last `unheard`."""
    (folder / "music").mkdir(parents=True)
    tones(folder / "music" / "low.wav", 20.0, 220, 277.2, 329.6)
    tones(folder / "music" / "high 🎻.wav", 20.0, 440, 523.3)
    store = Store(folder / "store")
    scan(store, [str(folder / "music")])
    (folder / "campaign.toml").write_text(CAMPAIGN.format(name=name, format=encoding) + more)
    desk = open_desk(folder / "campaign.toml", store)
    found, broken = tasks(desk)
    assert (len(found), broken) == (4, [])
    listen(store, found[: len(found) - unheard])
    return desk


@contextmanager
def running(server: uvicorn.Server) -> Iterator[str]:
    """A server on a port of its own; its URL."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def backed(desk: Desk, wake: Callable[[], object] = lambda: None) -> Iterator[str]:
    with running(backend.server(desk, port=0, wake=wake)) as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path, f"g-{uuid4().hex[:8]}")


def asked(*names: object, project: str = "1.1700000000") -> dict[str, Any]:
    """What Label Studio sends, as far as it matters."""
    given = [{"id": index, "data": {"ext_id": name}} for index, name in enumerate(names)]
    return {"tasks": given, "project": project, "label_config": "<View/>", "params": {"login": None, "password": None, "context": None}}


def test_a_task_gets_what_apply_would_have_stored_and_a_clip_that_was_not_heard_nothing(desk: Desk) -> None:
    known = desk.known()
    stored, _ = wanted(desk)
    silent = [task.ext_id for task in known if task.ext_id not in stored.predictions]
    assert len(silent) == 1
    with backed(desk) as url:
        answer = httpx.post(f"{url}/predict", json=asked(*(task.ext_id for task in known), "of another campaign", None, ["x"]))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert results[4:] == [[], [], []]
    for task, given in zip(known, results, strict=False):
        assert given == ([] if task.ext_id in silent else [stored.predictions[task.ext_id]])
    heard = next(given[0] for given in results if given)
    assert heard["model_version"] == MODEL
    assert heard["score"] == pytest.approx((0.7 + 0.9) / 2)
    mood, voice = heard["result"]
    assert (mood["from_name"], mood["value"]) == ("mood", {"choices": ["calm"]})
    assert voice["from_name"] == "voice"
    assert voice["value"] == {"labels": ["voice"], "start": PATCH, "end": 2 * PATCH, "channel": 0}


def test_clips_that_are_applied_later_are_known_without_a_restart(desk: Desk) -> None:
    one = next(task for task in desk.known() if preannotations(desk.store, desk.campaign, [task]))
    with backed(desk) as url:
        assert httpx.post(f"{url}/predict", json=asked("later")).json() == {"results": [[]]}
        desk.remember([replace(one, ext_id="later")])
        assert len(httpx.post(f"{url}/predict", json=asked("later")).json()["results"][0]) == 1


def test_a_blind_campaign_shows_nothing(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, "blind-one")
    desk.file.write_text(desk.file.read_text().replace("[audio]", "blind = true\n[audio]"))
    desk = open_desk(desk.file, desk.store)
    with backed(desk) as url:
        assert httpx.post(f"{url}/predict", json=asked(desk.known()[0].ext_id)).json() == {"results": [[]]}
        assert httpx.post(f"{url}/setup", json=setting_up(desk)).json() == {"model_version": ""}
        assert httpx.get(f"{url}/versions").json() == {"versions": []}


def setting_up(desk: Desk, **changed: Any) -> dict[str, Any]:
    said = {"project": "1.1700000000", "schema": interface(desk.campaign), "hostname": "http://ls", "access_token": "5ec7e7" * 6}
    return {**said, "extra_params": None, **changed}


def test_setup_names_the_model_and_refuses_another_project(desk: Desk) -> None:
    with backed(desk) as url:
        assert httpx.get(f"{url}/health").json() == {"status": "UP", "campaign": desk.campaign.name}
        assert httpx.post(f"{url}/setup", json=setting_up(desk)).json() == {"model_version": MODEL}
        assert httpx.get(f"{url}/versions").json() == {"versions": [MODEL]}
        stranger = httpx.post(f"{url}/setup", json=setting_up(desk, schema='<View><Audio name="audio" value="$audio"/></View>'))
        assert (stranger.status_code, "asks no question 'mood'" in stranger.json()["error"]) == (400, True)
        desk.remember_project("7@2026-11-22T12:00:00.250000Z")
        mine = httpx.post(f"{url}/setup", json=setting_up(desk, project="7.1795348800"))
        assert (mine.status_code, mine.json()) == (200, {"model_version": MODEL})
        for path, body in (("setup", setting_up(desk)), ("predict", asked("x"))):
            refused = httpx.post(f"{url}/{path}", json=body)
            expected = f"project: '1.1700000000' is not campaign {desk.campaign.name!r}, which is project 7"
            assert (refused.status_code, refused.json()["error"]) == (400, expected)


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        ("predict", b"{", 400, "not JSON"),
        ("predict", b"\xff\xfe", 400, "not JSON"),
        ("predict", b"[" * 100_000, 400, "not JSON"),
        ("predict", b"9" * 5000, 400, "not JSON"),
        ("predict", b"", 400, "not JSON"),
        ("predict", b"[]", 400, "not an object, but list"),
        ("predict", b"{}", 400, "project: not a text, but NoneType"),
        ("predict", b'{"project": "1.1"}', 400, "tasks: not a list, but NoneType"),
        ("setup", b'{"project": "1.1", "schema": "<View>"}', 400, "schema: not XML: no element found: line 1, column 6"),
        ("setup", b'{"project": "1.1", "schema": 3}', 400, "schema: asks no question 'mood'"),
    ],
)
def test_what_is_no_request_is_told_in_a_line(desk: Desk, path: str, body: bytes, status: int, line: str) -> None:
    with backed(desk) as url:
        answer = httpx.post(f"{url}/{path}", content=body)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(line)


def test_a_request_without_end_is_refused_before_it_is_held(desk: Desk) -> None:
    block = b" " * (1 << 20)
    with backed(desk) as url:
        answer = httpx.post(f"{url}/predict", content=(block for _ in range(33)))
        assert (answer.status_code, answer.json()["error"]) == (413, "more than 32 MiB; ask about fewer tasks at once")
        assert httpx.get(f"{url}/health").status_code == 200


def test_a_table_that_is_gone_is_told_and_the_server_lives(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for path in desk.store.paths("musicnn", "v"):
        Path(path).unlink()
    Path(desk.store.folder("musicnn", "v")).rmdir()
    Path(desk.store.folder("musicnn")).rmdir()
    with backed(desk) as url:
        answer = httpx.post(f"{url}/predict", json=asked(desk.known()[0].ext_id))
        assert answer.status_code == 503
        assert "no table 'musicnn'" in answer.json()["error"]
        assert httpx.get(f"{url}/health").status_code == 200
    assert not any(record.exc_info for record in caplog.records)


def test_somebody_who_hangs_up_leaves_no_trace_but_a_line(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with backed(desk) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        while not caplog.records:
            time.sleep(0.01)
    assert [record.getMessage() for record in caplog.records] == ["/predict: the request ended early"]


def test_the_owners_token_is_written_nowhere(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = setting_up(desk)["access_token"]
    with backed(desk) as url:
        answers = [
            httpx.post(f"{url}/setup", json=body)
            for body in (setting_up(desk), setting_up(desk, schema="<View"), setting_up(desk, project=3), [setting_up(desk)])
        ]
        answers.append(httpx.post(f"{url}/setup", content=json.dumps(setting_up(desk))[:-1]))
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400, 400]
    assert secret not in caplog.text + "".join(answer.text for answer in answers)
    written = [path for path in Path(desk.store.root).rglob("*") if path.is_file()]
    assert written
    assert not any(secret.encode() in path.read_bytes() for path in written)


def test_a_webhook_is_answered_while_guesses_are_looked_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, woken = threading.Event(), threading.Event(), threading.Event()

    def slow(*given: Any) -> dict[str, Any]:
        begun.set()
        go_on.wait(30)
        return preannotations(*given)

    monkeypatch.setattr(backend, "preannotations", slow)
    with backed(desk, woken.set) as url, httpx.Client(base_url=url) as client:
        opener = threading.Thread(
            target=httpx.post, args=(f"{url}/predict",), kwargs={"json": asked(desk.known()[0].ext_id), "timeout": 60}
        )
        opener.start()
        assert begun.wait(30)
        for sent in (b'{"action": "ANNOTATION_CREATED"}', b"no JSON", b" " * (8 << 20)):
            woken.clear()
            answer = client.post("/webhook", content=sent)
            assert (answer.status_code, woken.is_set()) == (200, True)
        assert opener.is_alive()
        go_on.set()
        opener.join(30)


@pytest.mark.slow
def test_label_studio_asks_when_a_task_is_opened_keeps_the_answer_and_wakes_us(desk: Desk, studio: RunningStudio) -> None:
    server, woken = Studio(studio.url, studio.token), threading.Event()
    said, _ = wanted(desk)
    project = server.create_project(desk.campaign.title, f"earmark:{desk.campaign.name}", said.screen)
    desk.remember_project(project.key)
    found = desk.known()
    ids = dict(
        zip((task.ext_id for task in found), server.import_tasks(project.id, [{"data": columns(task)} for task in found]), strict=True)
    )
    unheard = next(task for task in found if task.ext_id not in said.predictions)
    heard = next(task for task in found if task.ext_id in said.predictions)
    person = httpx.Client(base_url=studio.url, headers={"Authorization": f"Token {studio.account('opener').token}"}, timeout=60)
    lead = httpx.Client(base_url=studio.url, headers={"Authorization": f"Token {studio.token}"}, timeout=60)

    def opened(task: Task) -> list[dict[str, Any]]:
        answer = person.get(f"/api/tasks/{ids[task.ext_id]}/", params={"project": project.id})
        answer.raise_for_status()
        return [{name: each[name] for name in ("model_version", "score", "result")} for each in answer.json()["predictions"]]

    try:
        with backed(desk, woken.set) as url:
            assert opened(heard) == []
            connected = lead.post("/api/ml/", json={"url": url, "project": project.id, "title": MODEL})
            assert connected.status_code == 201, connected.text
            number = connected.json()["id"]
            assert lead.get(f"/api/ml/{number}").json()["state"] == "CO"
            assert lead.get(f"/api/ml/{number}/versions").json()["versions"] == [MODEL]
            for _ in range(2):  # the second time it is there
                assert opened(heard) == [said.predictions[heard.ext_id]]
            # The editor gives people what the project's model says.
            assert server.read_project(project.id).model_version == MODEL
            assert opened(unheard) == []
            listen(desk.store, [unheard], "later")
            late = preannotations(desk.store, desk.campaign, [unheard])[unheard.ext_id]
            assert opened(unheard) == [prediction(late, desk.campaign, MODEL)]
            assert len(server.predictions(project.id)) == 2
            woken.clear()
            Studio(studio.url, studio.account("opener").token).annotate(ids[heard.ext_id], [], lead_time=1.0)
            assert woken.wait(10)
        # Apply finds what the backend left as its own.
        again, _ = wanted(desk)
        assert apply(server, again).done == {"predictions sent": 2}
        assert len(server.predictions(project.id)) == 4
        # Nobody is kept from work by a backend that is gone.
        assert len(opened(heard)) == 1
    finally:
        server.delete_project(project.id)
