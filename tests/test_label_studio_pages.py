"""A server that gives its tasks in small pages (its setting TASK_API_PAGE_SIZE_MAX), and people who work meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from annotation.outcome import StudioError
from annotation.studio import Studio
from tests.answers import Answers

TOKEN = "0123456789abcdef0123456789abcdef01234567"


class Pages:
    """Tasks by id, with the minute in which each was touched; two on a page, as the real server lists them.

    then: called after each page.
    """

    def __init__(self, count: int, then: Callable[[Pages], object] = lambda pages: None) -> None:
        self.touched = {task: task for task in range(1, count + 1)}
        self.then = then
        self.served = 0

    def __call__(self, path: str) -> Any:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        query = json.loads(asked.get("query", "{}"))
        chosen = query.get("selectedItems", {}).get("included", [*self.touched])
        order: Callable[[int], int] = self.touched.__getitem__ if query.get("ordering") == ["tasks:updated_at"] else int
        ids = sorted((each for each in chosen if each in self.touched), key=order)
        start = (int(asked["page"]) - 1) * 2
        if start and start >= len(ids):
            return None
        answer = {"total": len(ids), "tasks": [self.task(each) for each in ids[start : start + 2]]}
        self.served += 1
        self.then(self)
        return answer

    def task(self, task: int) -> dict[str, Any]:
        at = f"2026-11-22T21:{self.touched[task]:02}:00Z"
        said = {"id": 100 + task, "result": [], "was_cancelled": False, "lead_time": None, "completed_by": 5}
        said |= {"created_at": at, "updated_at": at, "parent_prediction": None}
        whole = {"id": task, "data": {}, "updated_at": at, "annotations": [said], "predictions": [], "draft_exists": False}
        return {**whole, "annotations_ids": str(100 + task)}


def studio(server: Answers) -> Studio:
    return Studio(server.url, TOKEN, patience=0.05, pause=0.01)


def test_of_the_tasks_that_are_asked_for_those_of_later_pages_come_too() -> None:
    """A copy of a task that does not come looks as if nobody had worked on it, and would be deleted."""
    with Answers(200, Pages(7)) as server:
        assert [each["id"] for each in studio(server).tasks(3, [7, 6, 5, 4, 1, 99])] == [1, 4, 5, 6, 7]


def test_a_task_that_is_touched_while_pages_are_read_hides_no_other() -> None:
    """A task that is not listed looks as if somebody had deleted it."""
    with Answers(200, Pages(6, lambda pages: pages.touched.update({1: 30}))) as server:
        assert sorted(each.task_id for each in studio(server).listed(3, None)) == [1, 2, 3, 4, 5, 6]


def test_what_was_touched_last_is_listed_last() -> None:
    pages = Pages(5)
    pages.touched[2] = 30
    with Answers(200, pages) as server:
        assert [each.task_id for each in studio(server).listed(3, None)] == [1, 3, 4, 5, 2]


@pytest.mark.parametrize("gone", [(1,), (5, 6), (1, 2, 3, 4, 5)])
def test_a_task_that_is_deleted_while_pages_are_read_hides_no_other(gone: tuple[int, ...]) -> None:
    with Answers(200, Pages(6, lambda pages: [pages.touched.pop(each, None) for each in gone])) as server:
        assert [each.task_id for each in studio(server).listed(3, None)] == [each for each in range(1, 7) if each not in gone]


def test_tasks_that_are_added_while_pages_are_read_do_not_begin_it_anew() -> None:
    pages = Pages(4, lambda pages: pages.touched.update({min(pages.served + 10, 12): 50}))
    with Answers(200, pages) as server:
        assert [each.task_id for each in studio(server).listed(3, None)][:4] == [1, 2, 3, 4]
    assert pages.served == 3


def test_a_list_that_becomes_shorter_whenever_it_is_read_is_given_up() -> None:
    pages = Pages(50, lambda pages: pages.touched.pop(min(pages.touched)))
    with Answers(200, pages) as server, pytest.raises(StudioError, match="it became shorter while it was read; try again"):
        studio(server).listed(3, None)
    assert pages.served < 30
