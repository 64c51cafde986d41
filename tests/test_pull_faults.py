"""Pulls that are cut off, killed, at once with others, by a wrong clock or from a restored server: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annotation import mirror as mirror_module
from annotation import pull as pull_module
from annotation.mirror import Mirror, MirrorError
from annotation.outcome import Away
from annotation.pull import pull, watch
from tests.campaigning import Running, choose, draw, people, running
from tests.power_cuts import PowerCut, Remembered, cut_at
from tests.pulled import facts, said
from tests.studio import RunningStudio

pytestmark = pytest.mark.slow


@pytest.fixture
def campaign(studio: RunningStudio) -> Iterator[Running]:
    with running(studio, 6) as made:
        yield made


def test_a_pull_that_is_cut_off_anywhere_and_repeated_gives_the_same_rows_once(
    campaign: Running, studio: RunningStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = people(studio, 3)
    monkeypatch.setattr(pull_module, "CHUNK", 2)
    mine = [campaign.answer(a, task, choose("key", "C major")) for task in range(5)]
    pull(campaign.studio, Mirror(tmp_path / "before"), campaign.campaign)
    campaign.edit(a, mine[0], result=[choose("key", "A minor")])
    campaign.delete(a, mine[1])
    campaign.delete_task(2)
    campaign.answer(b, 5, choose("key", "A minor"))
    server = Remembered(campaign.studio)
    for start in ("nothing", "before"):
        if start == "before":
            shutil.copytree(tmp_path / "before", tmp_path / f"{start}-whole")
        whole = Mirror(tmp_path / f"{start}-whole")
        pull(server, whole, campaign.campaign, full=True)
        step, cut = 0, True
        while cut:
            step += 1
            folder = tmp_path / f"{start}-{step}"
            if start == "before":
                shutil.copytree(tmp_path / "before", folder)
            with monkeypatch.context() as patched:
                cut_at(patched, step)
                try:
                    pull(server, Mirror(folder), campaign.campaign, full=True)
                    cut = False
                except PowerCut:
                    pass
            pull(server, Mirror(folder), campaign.campaign, full=True)
            assert facts(Mirror(folder)) == facts(whole), f"cut at step {step} from {start}"
            assert not list(folder.rglob(".*"))
            pages = {path.stem for path in folder.glob("raw/*")}
            assert pages == {path.stem for path in folder.glob("answers/*")}
        assert step > 18  # three writes or more, of three steps each, before and after


def test_a_killed_process_leaves_a_mirror_that_the_next_pull_completes(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, *_ = people(studio, 3)
    for task in range(6):
        campaign.answer(a, task, choose("key", "C major"))
    program = textwrap.dedent(
        """
        import os, sys
        from annotation import pull as module
        from annotation.campaign import Campaign
        from annotation.studio import Studio
        from annotation.mirror import Mirror
        url, token, folder, campaign, at = sys.argv[1:]
        module.CHUNK, left, real = 2, [int(at)], os.fsync
        def fsync(file):
            left[0] -= 1
            if not left[0]:
                os._exit(9)
            real(file)
        os.fsync = fsync
        module.pull(Studio(url, token), Mirror(folder), Campaign.model_validate_json(campaign))
        """
    )
    asked = campaign.campaign.model_dump_json()
    for at in (2, 5, 9):
        folder = tmp_path / str(at)
        ended = subprocess.run([sys.executable, "-c", program, studio.url, studio.token, str(folder), asked, str(at)], timeout=120)
        assert ended.returncode == 9
        pull(campaign.studio, Mirror(folder), campaign.campaign)
        assert Counter(row.ext_id for row in Mirror(folder).answers()) == Counter(task.ext_id for task in campaign.tasks)


def test_a_second_pull_at_once_is_refused_and_told_who_is_at_work(campaign: Running, tmp_path: Path) -> None:
    with Mirror(tmp_path / "m").lock(), pytest.raises(MirrorError, match=rf"another pull \(process {os.getpid()} on .*\) is at work; wait"):
        pull(campaign.studio, Mirror(tmp_path / "m"), campaign.campaign)
    pull(campaign.studio, Mirror(tmp_path / "m"), campaign.campaign)


@pytest.mark.parametrize("skew", [timedelta(days=-400), timedelta(days=400)])
def test_a_wrong_clock_here_changes_nothing(
    skew: timedelta, campaign: Running, studio: RunningStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    campaign.answer(a, 0, choose("key", "C major"))
    pull(campaign.studio, mirror, campaign.campaign)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + skew

    monkeypatch.setattr(pull_module, "datetime", Clock)
    monkeypatch.setattr(mirror_module, "datetime", Clock)
    annotation = campaign.answer(a, 1, choose("key", "C major"))
    assert pull(campaign.studio, Mirror(tmp_path / "m"), campaign.campaign).answers == 1
    campaign.edit(a, annotation, result=[choose("key", "A minor")])
    assert pull(campaign.studio, Mirror(tmp_path / "m"), campaign.campaign).edits == 1
    campaign.delete(a, annotation)
    assert pull(campaign.studio, Mirror(tmp_path / "m"), campaign.campaign).deleted == 1
    assert [row.revision for row in Mirror(tmp_path / "m").answers()] == [1, 1, 2, 3]
    assert said(mirror, campaign) == [(0, a.email, "key", "C major", None, None)]
    assert {row.tombstone_at.year for row in mirror.answers() if row.tombstone_at} == {datetime.now(UTC).year}


def test_an_annotation_that_comes_back_is_said_again(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    """A server that is restored from a backup has what it had lost, with the same ids and times."""
    a, *_ = people(studio, 3)
    mirror = Mirror(tmp_path / "m")
    campaign.answer(a, 0, choose("key", "C major"))
    pull(campaign.studio, mirror, campaign.campaign)
    page = json.loads(next(tmp_path.glob("m/raw/*.json")).read_text())
    (task,) = page["tasks"]
    with mirror.lock():
        mirror.keep({**page, "tasks": [{**task, "annotations": []}]})
        assert said(mirror, campaign) == []
        mirror.keep(page)
    assert said(mirror, campaign) == [(0, a.email, "key", "C major", None, None)]
    assert [row.gone for row in mirror.answers()] == ["", "annotation", ""]


def test_sixteen_people_at_once_lose_nothing(studio: RunningStudio, tmp_path: Path) -> None:
    accounts = people(studio, 16)
    with running(studio, 8) as campaign:
        mirror, wake, stop = Mirror(tmp_path / "m"), threading.Event(), threading.Event()
        pulls: list[int] = []
        watching = threading.Thread(
            target=watch,
            args=(lambda: pull(campaign.studio, mirror, campaign.campaign), lambda pulled: pulls.append(pulled.new), 0.2, wake, stop),
        )
        watching.start()

        def work(number: int) -> list[tuple[Any, ...]]:
            key = ("C major", "A minor")[number % 2]
            for task in range(8):
                campaign.answer(accounts[number], task, choose("key", key), draw("voice", number, number + 0.5))
            return [
                row
                for task in range(8)
                for row in (
                    (task, accounts[number].email, "key", key, None, None),
                    (task, accounts[number].email, "singing_voice", "yes", float(number), 0.5),
                )
            ]

        with ThreadPoolExecutor(16) as pool:
            expected = [row for rows in pool.map(work, range(16)) for row in rows]
        stop.set()
        wake.set()
        watching.join()
        pull(campaign.studio, mirror, campaign.campaign)
        assert pulls
        assert said(mirror, campaign) == sorted(expected, key=str)
        assert Counter(row.revision for row in mirror.answers()) == {1: 128}


def test_a_wake_up_pulls_at_once_and_one_during_a_pull_is_not_lost() -> None:
    wake, stop, told = threading.Event(), threading.Event(), list[Any]()

    def once() -> int:
        if len(told) < 3:
            wake.set()  # a webhook comes in while the pull is under way
        else:
            stop.set()
        if len(told) == 1:
            raise Away("the server is away")
        return len(told)

    watch(once, told.append, 3600, wake, stop)
    assert [told[0], str(told[1]), *told[2:]] == [0, "the server is away", 2, 3]
