"""Answers that only a strange server gives, or none of a neighbouring version: each is one line, or means what it can mean."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotation.orphans import orphans
from annotation.outcome import Away, StudioError, Unknown
from annotation.records import Project
from annotation.studio import Studio
from pipelines.queue.push import push
from pipelines.studio.invite import invite
from pipelines.studio.session import SessionError
from tests.answers import Answers
from tests.test_label_studio_nonsense import PAGES, TOKEN, page

SCREEN = '<View><Audio name="audio" value="$audio"/><Choices name="mood" toName="audio"><Choice value="calm"/></Choices></View>'


def studio(server: Answers) -> Studio:
    return Studio(server.url, TOKEN, patience=0.05, pause=0.01)


def test_an_answer_that_cannot_be_unpacked_is_no_answer() -> None:
    packed = gzip.compress(b"{}" * 1000)
    for body in (b"not packed at all", packed[:-20][:5] + b"\xff" * 40):
        with Answers(200, body, **{"content-encoding": "gzip"}) as server:
            with pytest.raises(Away, match=r"signing in: .*tried for"):
                studio(server).check()
            with pytest.raises(Unknown, match="changing task 3: "):
                studio(server).update_task(3, overlap=2)


def test_somebody_whose_address_is_not_told_keeps_nobody_from_being_read() -> None:
    with Answers(200, lambda path: [{"id": 5, "email": None}, {"id": 6, "email": "ada@example.org"}]) as server:
        assert studio(server).users() == {5: "", 6: "ada@example.org"}


def test_what_an_export_says_in_other_ways_is_looked_at_too() -> None:
    """Of a server that tells whole people in place of their ids, and of items that no editor sends."""
    items = [{"from_name": "mood", "value": "calm"}, {"from_name": "mood", "value": {"choices": ["calm"]}}]
    said = {"id": 11, "result": items, "completed_by": {"id": 5, "email": "ada@example.org"}}
    export = [{"id": 3, "data": {"ext_id": "clip-1"}, "annotations": [said], "drafts": [12]}]
    project = Project(7, "Odd", "", "", SCREEN, "", 1, "", True, 1)
    with Answers(200, lambda path: [] if "users" in path else export) as server:
        lines = list(orphans(studio(server), project, SCREEN.replace("calm", "sad")))
    assert lines[1:] == [
        "task 3 (clip-1), annotation 11 by ada@example.org: mood calm",
        "task 3 (clip-1), draft 12, of which the server does not tell what it says",
    ]


def test_an_order_that_the_server_does_not_keep_is_given_up() -> None:
    def answer(path: str) -> Any:
        if "/views/" in path:
            return [{"id": 1, "data": None}]
        return {"total": 0, "tasks": []} if "/tasks/" in path else PAGES[page(path)]

    with Answers(200, answer) as server, pytest.raises(StudioError, match="still to do after 8 rounds; is somebody else changing"):
        push(studio(server), 7, [], {})
    assert sum(method == "POST" for method, _ in server.calls) == 8


@pytest.mark.parametrize(
    "answer",
    [
        lambda path: [] if "users" in path else {},
        lambda path: [] if "users" in path else {"invite_url": None},
        lambda path: {"results": []},
        lambda path: [{"id": 1}],
        lambda path: [None],
    ],
)
def test_an_invitation_by_something_else_is_one_line(answer: Callable[[str], Any], tmp_path: Path) -> None:
    with Answers(200, answer) as server, pytest.raises(SessionError, match="is this Label Studio") as error:
        invite(["ada@example.org"], server.url, TOKEN, tmp_path / "annotators.tsv")
    assert "\n" not in str(error.value)


def test_an_answer_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    with Answers(200, b"[]", **{"content-length": "500", "connection": "close"}) as server, pytest.raises(SessionError, match="no answer"):
        invite(["ada@example.org"], server.url, TOKEN, tmp_path / "annotators.tsv")
