"""Calls that fail before, during and after they take effect; servers that die: in the end everything is there, once."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from annotation.outcome import StudioError
from annotation.studio import Studio
from annotation.sync import Applied, apply, plan
from annotation.task import campaign_line
from annotation.wanted import Wanted
from tests.flaky_proxy import FAILURES, FlakyProxy
from tests.studio import RunningStudio, StudioProcess
from tests.test_sync import NEW, campaign, check_once, chosen, guesses, tasks, wanted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def until_done(studio: Studio, want: Wanted, attempts: int = 40) -> Applied:
    """The same command, given again until it says that it is done."""
    for _ in range(attempts):
        with contextlib.suppress(StudioError):
            return apply(studio, want)
    raise AssertionError(f"not done after {attempts} attempts")


@pytest.fixture
def name(studio: RunningStudio) -> Iterator[str]:
    name = f"chaos-{uuid4().hex[:8]}"
    yield name
    server = Studio(studio.url, studio.token)
    for project in server.projects(campaign_line(name)):
        server.delete_project(project.id)


@pytest.mark.parametrize("seed", range(int(os.environ.get("EARMARK_CHAOS_SEEDS", "10"))))
def test_whatever_a_proxy_does_each_clip_becomes_one_task_and_no_answer_is_lost(seed: int, studio: RunningStudio, name: str) -> None:
    direct = Studio(studio.url, studio.token, patience=60, pause=0.05)
    first = wanted(campaign(name), tasks(50))
    with FlakyProxy(studio.url, seed) as proxy:
        flaky = Studio(proxy.url, studio.token, patience=20, pause=0.005)
        project = until_done(flaky, first).project
        index = direct.index(project.id)
        said = {}
        stop = threading.Event()

        def answer() -> None:
            for each in index[:6]:
                said[each.id] = direct.annotate(each.id, chosen("sad"), lead_time=1.0)["id"]
                if stop.wait(0.1):
                    return

        people = threading.Thread(target=answer)
        people.start()
        # Ten clips more, and another model: while people work.
        second = replace(first, tasks=tasks(60), predictions=guesses(tasks(60), NEW))
        until_done(flaky, second)
        stop.set()
        people.join()
        assert sum(count for (_, fate), count in proxy.happened.items() if fate in FAILURES) > 5
    time.sleep(0.2)  # what was cut off may still be on its way
    last = until_done(direct, second)
    check_once(direct, last.project, second)
    assert len(direct.index(project.id)) == 60
    assert len(direct.projects(campaign_line(name))) == 1
    answers = {each["id"]: (task["id"], each["result"]) for task in direct.tasks(project.id, list(said)) for each in task["annotations"]}
    assert answers == {annotation: (task, chosen("sad")) for task, annotation in said.items()}
    assert not plan(direct, second).changes


def during(act: Callable[[], object], studio: Studio, want: Wanted, after: float) -> None:
    """An apply in a thread, and something that happens some seconds after its beginning."""

    def work() -> None:
        with contextlib.suppress(StudioError):
            apply(studio, want)

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(after)
    act()
    worker.join()


def test_a_server_that_is_killed_while_it_imports_has_everything_once_in_the_end(studio_process: StudioProcess) -> None:
    process = studio_process
    door = Studio(process.url, process.token, patience=3, pause=0.05)
    want = wanted(campaign("killed"), tasks(600))
    project = until_done(door, wanted(campaign("killed"), tasks(1))).project
    answer = door.annotate(door.index(project.id)[0].id, chosen("happy"))
    for after in (0.3, 0.7):
        during(process.kill9, door, want, after)
        process.start()
    restarted = Studio(process.url, process.token)
    done = until_done(restarted, want)
    check_once(restarted, done.project, want)
    assert [each["id"] for task in restarted.tasks(project.id, [answer["task"]]) for each in task["annotations"]] == [answer["id"]]
    during(process.restart_postgres, restarted, replace(want, predictions=guesses(tasks(600), NEW)), 0.8)
    after_restart = replace(want, tasks=tasks(700), predictions=guesses(tasks(700), NEW))
    done = until_done(restarted, after_restart)
    check_once(restarted, done.project, after_restart)
    assert [each["id"] for task in restarted.tasks(project.id, [answer["task"]]) for each in task["annotations"]] == [answer["id"]]
    assert apply(restarted, after_restart).done == {}
