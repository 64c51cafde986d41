"""Labels of some clips are those of all; the mirror's copy of its parts is what the parts say."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotation import parts as parts_module
from annotation.campaign import Campaign
from annotation.mirror import Mark, Mirror
from annotation.statements import basis, labels
from annotation.task import Task
from tests.campaigning import QUESTIONS, choose, draw

CAMPAIGN = Campaign(name="some", title="Some", questions=QUESTIONS)
TASKS = [Task(f"{each:020x}-0000000a", f"{each:020x}", f"{each:020x}", 0.0, 30.0, "http://127.0.0.1/x.wav") for each in range(6)]
USERS = {"1": "ada@example.org", "2": "bo@example.org"}


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def stamp(second: int) -> str:
    return f"2026-03-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000000Z"


def pages(seed: int, count: int) -> list[dict[str, Any]]:
    """Pages as a server would give them while people answer, edit, skip, delete, and move answers to other tasks."""
    rng, there, made = random.Random(seed), dict[int, dict[str, Any]](), []
    for step in range(1, count + 1):
        if not there or rng.random() < 0.5:
            there[step] = {"id": step, "task": rng.randrange(6), "completed_by": rng.choice([1, 2]), "created_at": stamp(step)}
            said = there[step]
        else:
            said = there[rng.choice(sorted(there))]
        touched = {said["task"]}
        if rng.random() < 0.15:
            said["task"] = rng.randrange(6)
            touched.add(said["task"])
        said["result"] = [choose("key", rng.choice(["C major", "A minor"])), draw("voice", 1, rng.choice([2, 3]))]
        said |= {"was_cancelled": rng.random() < 0.1, "lead_time": 1.0, "updated_by": None, "updated_at": stamp(step)}
        if rng.random() < 0.15:
            del there[said["id"]]
        tasks = [
            {
                "id": task,
                "data": {"ext_id": TASKS[task].ext_id},
                "updated_at": stamp(step),
                "predictions": [],
                "annotations": [dict(each) for each in there.values() if each["task"] == task],
            }
            for task in sorted(touched)
        ]
        made.append({"project": "1@2026", "users": USERS, "tasks": tasks})
    return made


def kept(folder: Path, seed: int, count: int = 60) -> Mirror:
    mirror = Mirror(folder)
    for page in pages(seed, count):
        with mirror.lock():
            mirror.keep(page)
    return mirror


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_some_clips_are_those_of_all_in_their_order(tmp_path: Path, seed: int) -> None:
    mirror = kept(tmp_path / "m", seed)
    every = labels(mirror, CAMPAIGN, TASKS)
    places = {(row.annotation_id, row.ext_id) for row in mirror.answers()}
    assert len(places) > len({annotation for annotation, _ in places})  # some were moved
    assert len(every) > 50
    for count in (1, 2, 4):
        some = {task.ext_id for task in random.Random(seed).sample(TASKS, count)}
        clips = {task.clip_id for task in TASKS if task.ext_id in some}
        assert labels(mirror, CAMPAIGN, TASKS, some) == [label for label in every if label.clip_id in clips]


@pytest.mark.parametrize("seed", range(3))
def test_what_was_heard_since_a_mark_makes_all_labels_that_are_new(tmp_path: Path, seed: int) -> None:
    mirror, seen = Mirror(tmp_path / "m"), list[Any]()
    mark = mirror.mark()
    for step, page in enumerate(pages(seed, 24)):
        with mirror.lock():
            mirror.keep(page)
        changed = Mirror(tmp_path / "m").since(mark) if mark.part else None
        new = [label for label in labels(mirror, CAMPAIGN, TASKS, changed) if label not in set(seen)]
        seen += new
        mark = mirror.mark()
        if step % 8 == 7:
            assert sorted(map(str, seen)) == sorted(map(str, labels(mirror, CAMPAIGN, TASKS)))
    assert Mirror(tmp_path / "m").since(mark) == set()


def test_a_mark_of_another_mirror_is_none_of_this(tmp_path: Path) -> None:
    mirror = kept(tmp_path / "m", 1, 10)
    assert mirror.since(Mark()) is None
    assert mirror.since(Mark("20200101T000000Z-000003", 3)) is None
    assert mirror.since(Mark(mirror.mark().part, 10_000)) is None


@pytest.mark.parametrize("harm", ["none", "lost", "cut", "of other parts", "no copy at all", "a part more"])
def test_the_copy_of_all_parts_may_be_lost_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    monkeypatch.setattr(parts_module, "LOOSE", 5)
    mirror = kept(tmp_path / "m", 2)
    expected, copy = mirror.answers(), tmp_path / "m" / "answers.arrow"
    assert copy.exists()
    assert len(list(tmp_path.glob("m/answers/*.parquet"))) == len(list(tmp_path.glob("m/raw/*.json")))  # no part is removed
    if harm == "lost":
        copy.unlink()
    elif harm == "cut":
        copy.write_bytes(copy.read_bytes()[:-100])
    elif harm == "no copy at all":
        copy.write_text("not Arrow")
    elif harm == "of other parts":
        other = kept(tmp_path / "other", 3)
        copy.write_bytes((other.folder / "answers.arrow").read_bytes())
    elif harm == "a part more":
        with mirror.lock():
            for page in pages(9, 3):
                mirror.keep({**page, "project": "2@2026"})
        expected = mirror.answers()
    again = Mirror(tmp_path / "m")
    assert again.answers() == expected
    with again.lock():
        pass  # makes the copy anew where it lacks much
    assert Mirror(tmp_path / "m").answers() == expected


def test_the_copy_saves_opening_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(parts_module, "LOOSE", 5)
    kept(tmp_path / "m", 2)
    opened, real = list[str](), pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda path: opened.append(path) or real(path))
    assert len(Mirror(tmp_path / "m").answers()) > 30
    assert len(opened) <= 5


def test_labels_hang_on_what_questions_mean_and_where_clips_lie_not_on_links(tmp_path: Path) -> None:
    now = basis(CAMPAIGN, TASKS)
    assert basis(CAMPAIGN.model_copy(update={"title": "Other"}), [replace(each, audio="http://elsewhere/x.wav") for each in TASKS]) == now
    assert basis(CAMPAIGN, TASKS[:-1]) != now
    assert basis(CAMPAIGN, [replace(each, seconds=20.0) for each in TASKS]) != now
    questions = tuple(each.model_copy(update={"choices": {"": (*each.values, "new")}}) if each.choices else each for each in QUESTIONS)
    assert basis(CAMPAIGN.model_copy(update={"questions": questions}), TASKS) != now
