"""From a real Label Studio into the labels of a store: killed anywhere, everything is there once in the end."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from annotation import parts as parts_module
from annotation import pull as pull_module
from annotation.labels import from_rows
from annotation.statements import labels
from pipelines.campaigns.desk import Desk
from pipelines.campaigns.home import bring
from pipelines.store import Store
from tests.campaigning import Running, choose, draw, people, running
from tests.power_cuts import PowerCut, Remembered, cut_at
from tests.studio import RunningStudio

pytestmark = pytest.mark.slow


@pytest.fixture
def campaign(studio: RunningStudio) -> Iterator[Running]:
    with running(studio, 6) as made:
        yield made


def desk(campaign: Running, folder: Path) -> Desk:
    """The campaign over a store whose catalogue has its recordings."""
    store, tracks = Store(folder), [task.track_id for task in campaign.tasks]
    if not store.names("tracks"):
        rows = {"track_id": tracks, "uri": [f"/music/{each}.wav" for each in tracks], "seconds": [30.0] * len(tracks)}
        store.publish("tracks", "all", pa.table(rows))
    made = Desk(campaign.campaign, folder / "campaign.toml", store)
    if not made.known():
        made.remember(campaign.tasks)
    return made


def ids(folder: Path) -> Counter[str]:
    """Each label of a store, and how often it is there."""
    rows = Store(folder).read("labels")
    return Counter(rows.column("label_id").to_pylist() if rows is not None else [])


def test_a_pull_that_is_killed_anywhere_between_server_and_labels_loses_and_doubles_nothing(
    campaign: Running, studio: RunningStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = people(studio, 3)
    monkeypatch.setattr(pull_module, "CHUNK", 2)
    monkeypatch.setattr(parts_module, "LOOSE", 2)
    mine = [campaign.answer(a, task, choose("key", "C major")) for task in range(4)]
    bring(desk(campaign, tmp_path / "before"), campaign.studio)
    campaign.edit(a, mine[0], result=[choose("key", "A minor")])
    campaign.delete(a, mine[1])
    campaign.answer(b, 5, choose("key", "A minor"), draw("voice", 1, 2))
    server: Any = Remembered(campaign.studio)
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    bring(desk(campaign, tmp_path / "whole"), server)
    expected = ids(tmp_path / "whole")
    assert len(expected) > len(ids(tmp_path / "before")) > 0
    assert set(expected.values()) == {1}
    step, cut = 0, True
    while cut:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "before", folder)
        with monkeypatch.context() as patched:
            cut_at(patched, step)
            try:
                bring(desk(campaign, folder), server)
                cut = False
            except PowerCut:
                pass
        bring(desk(campaign, folder), server)
        assert ids(folder) == expected, f"cut at step {step}"
        assert bring(desk(campaign, folder), server, full=True)[1] == 0
    assert step > 18


def test_only_clips_of_which_something_new_was_heard_are_looked_at_again(
    campaign: Running, studio: RunningStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = people(studio, 3)
    for task in range(6):
        campaign.answer(a, task, choose("key", "C major"))
    assert bring(desk(campaign, tmp_path), campaign.studio)[1] == 18  # a key, and nothing to say to two questions
    campaign.answer(b, 2, choose("key", "A minor"), draw("voice", 1, 2))
    asked: list[Any] = []

    def spy(*arguments: Any) -> Any:
        asked.append(arguments[3])
        return labels(*arguments)

    monkeypatch.setattr("pipelines.campaigns.home.labels", spy)
    assert bring(desk(campaign, tmp_path), campaign.studio)[1] == 3
    assert asked == [{campaign.tasks[2].ext_id}]
    assert bring(desk(campaign, tmp_path), campaign.studio)[1] == 0
    assert len(asked) == 1


def test_an_answer_that_a_changed_question_understands_becomes_a_label_without_being_said_again(
    campaign: Running, studio: RunningStudio, tmp_path: Path
) -> None:
    a, *_ = people(studio, 3)
    campaign.answer(a, 0, choose("mood", "brand new"), choose("key", "C major"))
    campaign.answer(a, 1, choose("key", "C major"), draw("voice", 29, 35))
    (remark,) = bring(desk(campaign, tmp_path), campaign.studio)[0].remarks
    assert "'brand new'" in remark.replace('"', "'")
    assert remark.endswith("kept, as no label; so are 1 more; 'earmark campaign status' lists them")
    said = from_rows(Store(tmp_path).read("labels"))
    assert "brand new" not in {label.value for label in said}
    mood, *others = campaign.campaign.questions
    more = mood.model_copy(update={"choices": {"": (*mood.values, "brand new")}})
    campaign.campaign = campaign.campaign.model_copy(update={"questions": (more, *others)})
    pulled, new = bring(desk(campaign, tmp_path), campaign.studio)
    assert (pulled.new, pulled.full, new) == (0, False, 1)
    assert "brand new" in {label.value for label in from_rows(Store(tmp_path).read("labels"))}


def test_labels_that_were_lost_are_made_anew(campaign: Running, studio: RunningStudio, tmp_path: Path) -> None:
    a, b, _ = people(studio, 3)
    for who in (a, b):
        campaign.answer(who, 0, choose("key", "C major"))
        bring(desk(campaign, tmp_path), campaign.studio)
    before = ids(tmp_path)
    first, *_ = sorted(tmp_path.glob("labels/*.parquet"))
    first.unlink()
    assert bring(desk(campaign, tmp_path), campaign.studio)[1] == 0  # not seen by a quick one
    assert bring(desk(campaign, tmp_path), campaign.studio, full=True)[1] == 3
    assert ids(tmp_path) == before
    shutil.rmtree(tmp_path / "labels")
    assert bring(desk(campaign, tmp_path), campaign.studio)[1] == 6
    assert ids(tmp_path) == before
