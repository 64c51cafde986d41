"""A queue's order on a real server: what annotators get, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest

from annotation.campaign import Overlap
from annotation.outcome import Unknown
from annotation.studio import Studio
from annotation.sync import apply, plan
from annotation.task import campaign_line
from pipelines.queue.push import COLUMN, ORDER, planned, push
from tests.studio import Account, RunningStudio
from tests.test_sync import campaign, chosen, guesses, tasks, wanted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(studio: RunningStudio) -> Studio:
    return Studio(studio.url, studio.token, patience=20, pause=0.02)


@pytest.fixture
def name(server: Studio) -> Iterator[str]:
    """A campaign's name; its projects are removed."""
    name = f"queue-{uuid4().hex[:8]}"
    yield name
    for project in server.projects(campaign_line(name)):
        server.delete_project(project.id)


class Asked:
    """A campaign on the server whose order is to be pushed."""

    def __init__(self, server: Studio, name: str, count: int, overlap: int) -> None:
        self.server = server
        self.want = wanted(campaign(name, overlap=Overlap(annotators=overlap)), tasks(count))
        self.project = apply(server, self.want).project.id
        self.names = [task.ext_id for task in self.want.tasks]

    def next_task(self, who: Account, view: int) -> int | None:
        """The place among the campaign's clips of the task that somebody gets; None if there is none."""
        given = self._call(who, "GET", f"projects/{self.project}/next", params={"view": view})
        return None if given is None else self.names.index(given["data"]["ext_id"])

    def as_displayed(self, who: Account) -> int | None:
        """The same as a browser asks for it, that labels "as displayed"."""
        body = {"ordering": [ORDER], "filters": {"conjunction": "and", "items": []}}
        given = self._call(who, "POST", "dm/actions/", json=body, params={"id": "next_task", "project": self.project})
        return None if given is None else self.names.index(given["data"]["ext_id"])

    def answer(self, who: Account, clip: int, mood: str = "calm") -> None:
        task = {each.ext_id: each.id for each in self.server.index(self.project)}[self.names[clip]]
        Studio(self.server.url, who.token).annotate(task, chosen(mood), lead_time=3.0)

    def _call(self, who: Account, method: str, place: str, **more: Any) -> dict[str, Any] | None:
        header = {"Authorization": f"Token {who.token}"}
        answer = httpx.request(method, f"{self.server.url}/api/{place}", headers=header, timeout=60, follow_redirects=True, **more)
        if answer.status_code == 404:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def said(self) -> list[tuple[str, int, Any]]:
        """All answers: clip, id, result."""
        ids = [each.id for each in self.server.index(self.project)]
        found = self.server.tasks(self.project, ids)
        return sorted((each["data"]["ext_id"], said["id"], str(said["result"])) for each in found for said in each["annotations"])


def people(studio: RunningStudio) -> Sequence[Account]:
    return [studio.account(f"queue-annotator-{number}") for number in range(2)]


def test_two_annotators_get_the_order_and_each_clip_its_two_answers(studio: RunningStudio, server: Studio, name: str) -> None:
    asked = Asked(server, name, 5, overlap=2)
    done = push(server, asked.project, [asked.names[place] for place in (3, 0, 4)], {})
    ada, bo = people(studio)
    got: dict[str, list[int | None]] = {"ada": [], "bo": []}
    for _ in range(3):
        for key, who in (("ada", ada), ("bo", bo)):
            got[key].append(clip := asked.next_task(who, done.view))
            assert clip is not None
            asked.answer(who, clip)
    assert got == {"ada": [3, 0, 4], "bo": [3, 0, 4]}
    assert asked.next_task(ada, done.view) in (1, 2)


def test_with_one_answer_a_clip_two_people_never_get_the_same(studio: RunningStudio, server: Studio, name: str) -> None:
    asked = Asked(server, name, 4, overlap=1)
    view = push(server, asked.project, [asked.names[place] for place in (2, 3, 1, 0)], {}).view
    ada, bo = people(studio)
    assert (asked.next_task(ada, view), asked.next_task(bo, view)) == (2, 3)


def test_a_browser_that_labels_as_displayed_gets_the_same_order(studio: RunningStudio, server: Studio, name: str) -> None:
    asked = Asked(server, name, 12, overlap=2)
    order = [11, 2, 10, 0, 9, 1, 8, 3, 7, 4, 6, 5]  # two figures: the server sorts text
    push(server, asked.project, [asked.names[place] for place in order], {})
    ada, _ = people(studio)
    got = []
    for _ in range(12):
        clip = asked.as_displayed(ada)
        assert clip is not None
        got.append(clip)
        asked.answer(ada, clip)
    assert got == order


def test_a_refresh_while_people_work_changes_the_order_and_no_answer(studio: RunningStudio, server: Studio, name: str) -> None:
    asked = Asked(server, name, 5, overlap=2)
    view = push(server, asked.project, [asked.names[place] for place in (0, 1, 2)], {}).view
    ada, bo = people(studio)
    for who in (ada, bo):
        asked.answer(who, 0, "sad")
    open_now = asked.next_task(ada, view)
    assert open_now == 1
    before, predictions = asked.said(), server.predictions(asked.project)
    again = push(server, asked.project, [asked.names[place] for place in (4, 3)], {})
    assert again.view == view
    asked.answer(ada, open_now)  # what she had open when the order changed still counts
    assert asked.said()[: len(before)] == before
    assert len(asked.said()) == len(before) + 1
    assert server.predictions(asked.project) == predictions
    assert asked.next_task(bo, view) == 1  # a clip that was begun is finished first
    asked.answer(bo, 1)
    assert [asked.next_task(bo, view), asked.next_task(ada, view)] == [4, 4]


def test_a_second_push_writes_nothing_and_a_plan_sees_no_changes(server: Studio, name: str) -> None:
    asked = Asked(server, name, 4, overlap=2)
    order = [asked.names[place] for place in (2, 0)]
    assert push(server, asked.project, order, {}).changed == 3  # two tasks and a tab
    assert push(server, asked.project, order, {}).changed == 0
    assert str(plan(server, asked.want)).endswith("nothing to do: 4 tasks are as they should be")
    assert apply(server, asked.want).done == {}
    assert [each.data.get(COLUMN) for each in server.index(asked.project)] == ["000002", None, "000001", None]
    assert len(server.predictions(asked.project)) == len(guesses(tasks(4)))


def test_a_disputed_clip_that_has_its_answers_is_asked_about_once_more(studio: RunningStudio, server: Studio, name: str) -> None:
    asked = Asked(server, name, 3, overlap=1)
    ada, bo = people(studio)
    asked.answer(ada, 1)
    more = {asked.names[1]: 2}
    view = push(server, asked.project, [asked.names[1], asked.names[0]], more).view
    assert asked.next_task(bo, view) == 1
    raised = wanted(asked.want.campaign, tasks(3), more=more)
    assert not plan(server, raised).changes


def test_a_push_whose_answers_are_lost_is_read_back(server: Studio, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(server, name, 4, overlap=2)
    update, create, lost = server.update_task, server.create_view, []

    def losing(task: int, **fields: Any) -> None:
        update(task, **fields)
        if len(lost) < 2:
            lost.append(task)
            raise Unknown("the answer was lost")

    def losing_tab(project: int, data: Any) -> None:
        create(project, data)
        if "tab" not in lost:
            lost.append("tab")  # type: ignore[arg-type]
            raise Unknown("the answer was lost")

    monkeypatch.setattr(server, "update_task", losing)
    monkeypatch.setattr(server, "create_view", losing_tab)
    order = [asked.names[place] for place in (3, 1, 0)]
    done = push(server, asked.project, order, {})
    assert done.lost == 2 or done.lost == 3
    assert sum(view.get("ordering") == [ORDER] for view in server.views(asked.project).values()) == 1
    assert not planned(server, asked.project, order, {}).changes


def test_a_clip_without_a_task_is_named(server: Studio, name: str) -> None:
    asked = Asked(server, name, 2, overlap=1)
    assert push(server, asked.project, ["f" * 20 + "-00c0ffee", asked.names[0]], {}).absent == ["f" * 20 + "-00c0ffee"]
