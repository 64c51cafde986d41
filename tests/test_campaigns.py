"""Which clips a campaign asks about, how they are named, and which of them have known answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from annotation.labels import Label, write
from annotation.task import ext_id
from pipelines.campaigns.asked import excerpts, tasks, wanted
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.catalog import scan
from pipelines.part import StoreError
from pipelines.store import Store
from tests.campaigning import MOODS
from tests.collection import tone, tones

CAMPAIGN = MOODS + "[clips]\nseconds = 2.0\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three recordings of 4 s and one of 5."""
    tones(tmp_path / "audio", 3, 4.0)
    tone(tmp_path / "audio" / "longer.flac", 9, 5.0)
    made = Store(tmp_path / "store")
    scan(made, [str(tmp_path / "audio")])
    return made


def desk(store: Store, more: str = "") -> Desk:
    file = Path(store.root).parent / "campaign.toml"
    file.write_text(CAMPAIGN + more)
    return open_desk(file, store)


def test_clips_follow_one_another_and_the_rest_is_the_last(store: Store) -> None:
    found = excerpts(desk(store))
    assert [(Path(each.track["uri"]).stem, each.start, each.seconds) for each in found] == [
        *((f"00{number}", start, 2.0) for number in range(3) for start in (0.0, 2.0)),
        ("longer", 0.0, 2.0),
        ("longer", 2.0, 2.0),
        ("longer", 4.0, 1.0),
    ]


def test_conditions_all_hold_and_a_wrong_one_is_named(store: Store) -> None:
    found = excerpts(desk(store, 'where = [["seconds", ">", 4.5], ["format", "==", "flac"]]\n'))
    assert {Path(each.track["uri"]).stem for each in found} == {"longer"}
    for where, said in (
        ('["colour", "==", "red"]', "no column 'colour' in the catalogue; there are track_id, "),
        ('["seconds", "==", "long"]', "campaign.toml: clips.where: "),
        ('["seconds", ">", 100]', "no clip fits the campaign; look at clips.where in campaign.toml"),
    ):
        with pytest.raises(StoreError) as error:
            excerpts(desk(store, f"where = [{where}]\n"))
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_random_order_is_that_of_its_seed_and_a_limit_takes_its_beginning(store: Store) -> None:
    names = [each.name for each in excerpts(desk(store, 'order = "random"\nseed = 3\n'))]
    assert names == [each.name for each in excerpts(desk(store, 'order = "random"\nseed = 3\n'))]
    assert names != [each.name for each in excerpts(desk(store, 'order = "random"\nseed = 4\n'))]
    assert sorted(names) == sorted(each.name for each in excerpts(desk(store)))
    assert names[:4] == [each.name for each in excerpts(desk(store, 'order = "random"\nseed = 3\nlimit = 4\n'))]


def test_a_task_is_named_by_clip_and_recording_whatever_its_file_is(store: Store) -> None:
    flac, broken = tasks(desk(store))
    mp3, _ = tasks(desk(store, '[audio]\nformat = "mp3"\n'))
    track = {row["track_id"]: row for row in store.table("tracks").to_table().to_pylist()}
    assert not broken
    assert [task.ext_id for task in flac] == [ext_id(task.clip_id, track[task.track_id]["sha256"]) for task in flac]
    assert [task.ext_id for task in mp3] == [task.ext_id for task in flac]
    assert {task.audio.rpartition(".")[2] for task in mp3} == {"mp3"}


def test_names_that_tell_the_answer_are_kept_from_people(store: Store) -> None:
    named, _ = tasks(desk(store))
    assert {task.title for task in named} >= {"000.flac", "longer.flac"}
    hidden, _ = tasks(desk(store, "named = false\n"))
    assert [task.title for task in hidden] == [f"clip {task.clip_id[:8]}" for task in named]
    assert [task.ext_id for task in hidden] == [task.ext_id for task in named]


def test_links_stay_the_same_until_half_their_time_is_over(store: Store) -> None:
    now = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
    hourly = desk(store, "[audio]\nexpires_hours = 1\n")
    first = [task.audio for task in tasks(hourly, now=now)[0]]
    assert [task.audio for task in tasks(hourly, now=now + timedelta(minutes=29))[0]] == first
    assert not set(first) & {task.audio for task in tasks(hourly, now=now + timedelta(minutes=31))[0]}


def test_clips_that_left_the_campaign_are_still_known(store: Store) -> None:
    tasks(desk(store))
    few, _ = tasks(desk(store, "limit = 2\n"))
    assert len(few) == 2
    assert len(desk(store).known()) == 9


def test_clips_with_known_answers_are_for_everybody(store: Store) -> None:
    longer = excerpts(desk(store, 'where = [["seconds", ">", 4.5]]\n'))
    track = longer[0].track["track_id"]
    write([Label("tag.mood", "calm", "expert", "gold", track, start=2.5, duration=0.5)], Path(store.root).parent / "gold.parquet")
    found, _ = wanted(desk(store, '[overlap]\nannotators = 1\nteam = 5\n[gold]\nfile = "gold.parquet"\nshare = 0.2\n'))
    assert found.shared == {ext_id(longer[1].clip_id, longer[1].track["sha256"])}
    assert [found.overlap(task.ext_id) for task in found.tasks].count(5) == 1


def test_known_answers_are_to_what_is_asked_about_just_these_clips(store: Store) -> None:
    all_clips = excerpts(desk(store))
    of = {(Path(each.track["uri"]).stem, each.start): each for each in all_clips}
    first, second, third = (of[name, start] for name, start in (("000", 2.0), ("001", 0.0), ("002", 2.0)))
    said = [
        Label("tag.mood", "calm", "expert", "gold", first.track["track_id"], first.clip_id),
        Label("tag.mood", "calm", "expert", "gold", second.track["track_id"], start=0.0, duration=2.0),
        Label("nothing", "mood", "expert", "gold", third.track["track_id"], third.clip_id),
        Label("license", "CC0", "expert", "gold", of["longer", 0.0].track["track_id"]),
        Label("tag.mood", "sombre", "expert", "gold", of["longer", 0.0].track["track_id"]),
    ]
    write(said, Path(store.root).parent / "gold.parquet")
    found, _ = wanted(desk(store, '[overlap]\nteam = 5\n[gold]\nfile = "gold.parquet"\nshare = 1.0\n'))
    assert found.shared == {ext_id(each.clip_id, each.track["sha256"]) for each in (first, second, third)}


def test_views_that_were_never_made_are_asked_for_by_name(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no augmented views of clips of 2 s; run a recipe with such a window and views"):
        excerpts(desk(store, "views = true\n"))


def test_a_campaign_on_a_bucket_is_kept_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    found = open_desk(tmp_path / "campaign.toml", Store("memory://store"))
    found.remember_more({"x": 2})
    assert (found.folder, found.more()) == (tmp_path / "campaigns" / found.campaign.name, {"x": 2})


def test_a_lead_is_told_what_became_of_clips_and_that_known_answers_reach_nobody_else(store: Store) -> None:
    folder = Path(store.root).parent
    write([Label("tag.mood", "calm", "expert", "gold", "f" * 20)], folder / "gold.parquet")
    tasks(desk(store))
    desk(store).remember_softer({excerpts(desk(store))[0].clip_id: 3.25})
    (folder / "audio" / "longer.flac").unlink()
    for path in (folder / "store" / "clips" / "flac").iterdir():
        if excerpts(desk(store))[-1].clip_id in path.name:
            path.unlink()
    found, _ = wanted(desk(store, '[gold]\nfile = "gold.parquet"\n'))
    left, softer, unknown = found.remarks
    assert left == f"1 clips are left out, as they could not be cut (clip {excerpts(desk(store))[-1].clip_id} for one)"
    assert softer == f"1 clips are softer than their recordings, which would clip ({found.tasks[0].ext_id} most, by 3.2 dB)"
    assert unknown == "no clip has known answers: gold.parquet says nothing about any of the campaign's clips"


def test_what_was_turned_down_is_known_later_too(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    (tmp_path / "audio").mkdir()
    loud = 2 * np.sin(np.arange(4 * 16_000) / 20)
    soundfile.write(tmp_path / "audio" / "loud.wav", loud, 16_000, subtype="FLOAT")
    made = Store(tmp_path / "store")
    scan(made, [str(tmp_path / "audio")])
    for _ in range(2):  # the second time nothing is cut
        found, _ = wanted(desk(made))
        (said,) = found.remarks
        assert said.startswith("2 clips are softer than their recordings, which would clip (")
        assert said.endswith(" most, by 6.0 dB)")


def test_a_title_is_remembered_where_it_is_ours(store: Store) -> None:
    made = desk(store)
    assert (made.project(), made.title()) == ("", "")
    made.remember_project("7@2026", "Moods")
    assert (made.project(), made.title()) == ("7@2026", "Moods")
    made.remember_project("8@2026", "Somebody's own")
    assert (desk(store).project(), desk(store).title()) == ("8@2026", "Moods")
