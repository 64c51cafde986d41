"""A server at Label Studio's address that answers nonsense: one line says so, and no answer of anybody is lost by it."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotation.campaign import Campaign
from annotation.mirror import Mirror, State
from annotation.outcome import Away, StudioError, Unknown
from annotation.pull import pull
from annotation.studio import Studio
from annotation.task import campaign_line
from tests.answers import Answers
from tests.campaigning import QUESTIONS, choose

TOKEN = "0123456789abcdef0123456789abcdef01234567"
CAMPAIGN = Campaign(name="odd", title="Odd", questions=QUESTIONS)
WAY_OUT = "; is this Label Studio, in a version that earmark knows? 'earmark campaign serve' starts one"
BEGAN, ANSWERED = "2026-11-22T21:45:23.206507Z", "2026-11-22T21:49:00.000001Z"
SAID = [choose("key", "C major")]

# One task that one person answered, as the server tells of it: all that is looked at, and nothing else.
PAGES: dict[str, Any] = {
    "projects": {"count": 1, "next": None, "results": [{"id": 7, "description": campaign_line("odd")}]},
    "project": {
        "id": 7,
        "title": "Odd",
        "description": campaign_line("odd"),
        "created_at": BEGAN,
        "label_config": "<View/>",
        "expert_instruction": "",
        "maximum_annotations": 1,
        "model_version": "",
        "show_collab_predictions": True,
        "task_number": 1,
        "sampling": "Sequential sampling",
    },
    "listed": {"total": 1, "tasks": [{"id": 3, "updated_at": ANSWERED, "annotations_ids": "11"}]},
    "users": [{"id": 5, "email": "ada@example.org"}],
    "tasks": {
        "total": 1,
        "tasks": [
            {
                "id": 3,
                "data": {"ext_id": "clip-1"},
                "updated_at": ANSWERED,
                "draft_exists": False,
                "predictions": [{"id": 2, "model_version": "m@0", "result": SAID}],
                "annotations": [
                    {
                        "id": 11,
                        "result": SAID,
                        "was_cancelled": False,
                        "lead_time": 7.5,
                        "completed_by": 5,
                        "created_at": ANSWERED,
                        "updated_at": ANSWERED,
                        "parent_prediction": 2,
                    }
                ],
            }
        ],
    },
}
# The browser sends what it likes, and anything is true or false.
ANYTHING = {"result", "was_cancelled", "draft_exists", "show_collab_predictions", "next"}


def page(path: str) -> str:
    """Which page a call asks for."""
    if path.startswith("/api/tasks/"):
        return "listed" if "include=" in path else "tasks"
    return "users" if "users" in path else "project" if path.startswith("/api/projects/7/") else "projects"


def spoilt(given: Any, place: str = "") -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Each way in which one member of an answer is missing or of another type: its place, and what spoils a copy."""
    if isinstance(given, dict) and "ext_id" not in given:
        for name, value in given.items():
            inner = f"{place}.{name}".lstrip(".")
            yield inner, lambda holder, name=name: holder.pop(name)
            if name not in ANYTHING:
                wrong: Any = "nonsense" if isinstance(value, dict | list) else {"non": "sense"}
                yield inner, lambda holder, name=name, wrong=wrong: holder.update({name: wrong})
                for there, spoil in spoilt(value, inner):
                    yield there, lambda holder, name=name, spoil=spoil: spoil(holder[name])
    elif isinstance(given, list):
        yield f"{place}[0]", lambda holder: holder.__setitem__(0, None)
        for there, spoil in spoilt(given[0], f"{place}[0]"):
            yield there, lambda holder, spoil=spoil: spoil(holder[0])


class Odd:
    """A server whose pages a test may exchange, and a campaign on it."""

    def __init__(self) -> None:
        self.pages = PAGES
        self._answers = Answers(200, lambda path: self.pages[page(path)])

    def __enter__(self) -> Odd:
        self.studio = Studio(self._answers.__enter__().url, TOKEN, patience=0.05, pause=0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.__exit__()

    def pull(self, mirror: Mirror, pages: dict[str, Any] = PAGES, full: bool = False) -> None:
        self.pages = pages
        pull(self.studio, mirror, CAMPAIGN, full)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_cannot_be_understood_stops_a_pull_before_anything_is_noted_as_seen(name: str, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    with Odd() as server:
        for place, spoil in spoilt(PAGES[name]):
            pages = copy.deepcopy(PAGES)
            spoil(pages[name])
            with pytest.raises(StudioError, match=re.escape(WAY_OUT)) as error:
                server.pull(mirror, pages)
            assert f": {place}" in str(error.value), pages[name]
            assert "\n" not in str(error.value)
            assert [mirror.state(), mirror.answers(), [*mirror.folder.glob("raw/*")]] == [State(), [], []], place
        server.pull(mirror)
    assert [(row.author, row.ext_id, row.from_prediction) for row in mirror.answers()] == [("ada@example.org", "clip-1", "m@0")]
    assert mirror.state().cursor == ANSWERED


def test_a_list_that_ends_too_early_deletes_nothing(tmp_path: Path) -> None:
    """Tasks that are not listed look as if somebody had deleted them."""
    mirror = Mirror(tmp_path)
    with Odd() as server:
        server.pull(mirror)
        for listed in ({"total": 1, "tasks": []}, {"total": 3, "tasks": PAGES["listed"]["tasks"]}):
            with pytest.raises(StudioError, match=r"listing the tasks of project 7: [01] came, and the server speaks of [13]; try again"):
                server.pull(mirror, {**PAGES, "listed": listed}, full=True)
    assert [row.gone for row in mirror.answers()] == [""]


NONSENSE = [b"", b"null", b"5", b'"x"', b"[null]", b"[[]]", b"{}", b'{"tasks": [{}], "total": 1}', b"1" * 5000, b"[" * 100_000]
READS: list[Callable[[Studio], Any]] = [
    lambda studio: studio.check(),
    lambda studio: studio.projects("x"),
    lambda studio: studio.read_project(3),
    lambda studio: studio.sampling(3),
    lambda studio: studio.views(3),
    lambda studio: studio.index(3),
    lambda studio: studio.count(3),
    lambda studio: studio.listed(3, None),
    lambda studio: studio.tasks(3, [1]),
    lambda studio: studio.export(3),
    lambda studio: studio.predictions(3),
    lambda studio: studio.users(),
]
WRITES: list[Callable[[Studio], Any]] = [
    lambda studio: studio.create_project("x", "x", "<View/>"),
    lambda studio: studio.update_project(3, title="x"),
    lambda studio: studio.import_tasks(3, [{"data": {}}]),
    lambda studio: studio.import_predictions(3, [{"task": 1}]),
    lambda studio: studio.delete_model_version(3, "m@0"),
    lambda studio: studio.annotate(1, []),
]


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:20].decode())
def test_no_call_takes_nonsense_for_an_answer_and_after_a_write_nobody_knows_what_became_of_it(body: bytes) -> None:
    with Answers(200, body) as server:
        studio = Studio(server.url, TOKEN, patience=0.02, pause=0.01)
        for ask in READS:
            if ask is READS[6] and b"total" in body:
                continue  # the number of tasks is all that it asks for
            with pytest.raises(StudioError, match=r"is (this|there) Label Studio") as error:
                ask(studio)
            assert not isinstance(error.value, Unknown)
            assert "\n" not in str(error.value)
            assert len(str(error.value)) < 400
        for ask in WRITES:
            before = len(server.calls)
            with pytest.raises(Unknown, match=r"is (this|there) Label Studio"):
                ask(studio)
            assert len(server.calls) == before + 1


def test_a_token_that_comes_back_in_nonsense_is_not_told() -> None:
    with Answers(200, f'{{"email": ["{TOKEN[:20]}", "{TOKEN}"]}}'.encode()) as server, pytest.raises(StudioError) as error:
        Studio(server.url, TOKEN).check()
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"access": 5}', b"1" * 5000, b"[" * 100_000], ids=lambda body: body[:20].decode())
def test_nonsense_in_place_of_an_access_token_is_named(body: bytes) -> None:
    head, claims = (base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({"alg": "HS256"}, {"exp": 2**33}))
    with Answers(200, body) as server, pytest.raises(Away, match="signing in: no access token came; is there Label Studio") as error:
        Studio(server.url, f"{head}.{claims}.AAAA", patience=0.02, pause=0.01).check()
    assert "\n" not in str(error.value)
