"""Whole runs with views: the same from every engine, labels where the sound is, and each failure by its name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from annotation.labels import Label, read, write
from augment.chain import Lineage, view_id
from extractors.clip import clip_id
from pipelines.recipe import load
from pipelines.store import Store
from pipelines.views import heard_again
from tests.collection import MEL, PEAKS, RATE, ROOT, command, earmark, parts, ran, tone, tones

VIEWS = """
seed = 5
[window]
seconds = 1.0
[views]
count = 4
"""
AUGMENT = """
[[augment]]
use = "PitchShift"
p = 0.5
[[augment]]
use = "TimeStretch"
low = 0.8
high = 1.25
p = 0.5
[[augment]]
use = "AddNoise"
p = 0.5
[[augment]]
use = "ImpulseResponse"
p = 0.3
[[augment]]
use = "Audiomentations"
transform = "BitCrush"
p = 0.3
[[augment]]
use = "Mix"
snr_low_db = 0
snr_high_db = 10
p = 0.3
"""


def store_of(folder: Path, count: int = 6, name: str = "store", seconds: float = 2.0) -> Store:
    """A store with some tracks of two clips each, two to a shard."""
    if not (folder / "audio").exists():
        tones(folder / "audio", count, seconds)
    earmark("scan", folder / "audio", "--store", folder / name, "--shard-hours", str(4.5 / 3600))
    return Store(folder / name)


def run(folder: Path, text: str, *more: str, name: str = "store", code: int = 0) -> dict[str, Any]:
    """One `earmark run` in a process of its own, by the local engine unless `more` says another."""
    (folder / "recipe.toml").write_text(text)
    engine = () if "--engine" in more else ("--engine", "local")
    return earmark("run", folder / "recipe.toml", "--store", folder / name, *engine, *more, code=code)


def rows(store: Store, table: str) -> dict[tuple[str, int], dict[str, Any]]:
    """A table by clip and view."""
    return {(row["clip_id"], row["view"]): row for row in store.table(table).to_table().to_pylist()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three shards, heard with views by one worker."""
    folder = tmp_path_factory.mktemp("views")
    store_of(folder)
    done = run(folder, VIEWS + AUGMENT + MEL, "--workers", "1")
    assert (done["tracks"], done["clips"], done["views"]) == (6, 12, 48)
    return folder


def test_each_clip_has_its_views_and_view_0_is_the_clip_as_a_plain_recipe_hears_it(made: Path) -> None:
    store = Store(made / "store")
    views, mel = rows(store, "views"), rows(store, "logmel")
    assert set(views) == set(mel)
    assert {view for _, view in views} == {0, 1, 2, 3}
    store_of(made, name="plain")
    run(made, "[window]\nseconds = 1.0\n" + MEL, name="plain")
    plain = rows(Store(made / "plain"), "logmel")
    assert all(mel[clip, 0]["mel"] == row["mel"] for (clip, _), row in plain.items())
    changed = [key for key, row in views.items() if Lineage.parse(row["lineage"]).steps]
    assert len(changed) > 24
    assert all(mel[clip, view]["mel"] != mel[clip, 0]["mel"] for clip, view in changed)


def test_views_that_every_coin_spared_are_view_0_again(made: Path) -> None:
    views, mel = rows(Store(made / "store"), "views"), rows(Store(made / "store"), "logmel")
    spared = [key for key, row in views.items() if key[1] and not Lineage.parse(row["lineage"]).steps]
    assert spared
    assert all(mel[key]["mel"] == mel[key[0], 0]["mel"] and views[key]["view_id"] == views[key[0], 0]["view_id"] for key in spared)


@pytest.mark.parametrize("workers", ["2", pytest.param("8", marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_bytes(made: Path, tmp_path: Path, workers: str) -> None:
    (tmp_path / "audio").symlink_to(made / "audio")
    earmark("scan", made / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    run(tmp_path, VIEWS + AUGMENT + MEL, "--workers", workers)
    assert parts(tmp_path / "store") == parts(made / "store")


@pytest.mark.slow
def test_ray_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    earmark("scan", made / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    run(tmp_path, VIEWS + AUGMENT + MEL, "--engine", "ray", "--workers", "2")
    assert parts(tmp_path / "store") == parts(made / "store")


@pytest.mark.slow
def test_a_killed_run_that_is_resumed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    earmark("scan", made / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(VIEWS + AUGMENT + MEL)
    child = subprocess.Popen(
        command("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local", "--workers", "1"),
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _until(lambda: bool(parts(tmp_path / "store")))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert len(parts(tmp_path / "store")) < len(parts(made / "store"))
    run(tmp_path, VIEWS + AUGMENT + MEL)
    assert parts(tmp_path / "store") == parts(made / "store")


def _until(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.02)
    raise TimeoutError


def test_a_recipe_without_mixing_gives_the_same_rows_however_tracks_lie_in_shards(made: Path, tmp_path: Path) -> None:
    text = VIEWS + AUGMENT[: AUGMENT.index('[[augment]]\nuse = "Mix"')] + MEL
    both = []
    for name, hours in (("one", 1.0), ("many", 2.5 / 3600)):
        earmark("scan", made / "audio", "--store", tmp_path / name, "--shard-hours", str(hours))
        run(tmp_path, text, name=name)
        both.append(rows(Store(tmp_path / name), "logmel") | {("views", 0): rows(Store(tmp_path / name), "views")})
    assert both[0] == both[1]


def test_other_parameters_of_one_augmentation_change_only_views_that_use_it(made: Path, tmp_path: Path) -> None:
    store_of(tmp_path, 4)
    run(tmp_path, VIEWS + AUGMENT + MEL)
    before = rows(Store(tmp_path / "store"), "views"), rows(Store(tmp_path / "store"), "logmel")
    run(tmp_path, VIEWS + AUGMENT.replace('use = "AddNoise"', 'use = "AddNoise"\nsnr_low_db = 1') + MEL)
    after = rows(Store(tmp_path / "store"), "views"), rows(Store(tmp_path / "store"), "logmel")
    uses = {key for key, row in before[0].items() if any(step["use"] == "AddNoise" for step in Lineage.parse(row["lineage"]).steps)}
    assert 0 < len(uses) < len(before[0])
    assert {key for key in before[1] if before[1][key]["mel"] != after[1][key]["mel"]} == uses
    assert {key for key in before[0] if before[0][key]["view_id"] != after[0][key]["view_id"]} == uses


def test_every_view_can_be_heard_again_from_its_row(made: Path) -> None:
    store = Store(made / "store")
    tracks = {row["track_id"]: row for row in store.table("tracks").to_table().to_pylist()}
    for row in rows(store, "views").values():
        sound = heard_again(tracks[row["track_id"]], row["start"], Lineage.parse(row["lineage"]), 1.0)
        assert np.float32(np.abs(sound.samples).max()) == np.float32(row["peak"])
        assert min(sound.seconds, 1.0) == pytest.approx(row["seconds"], abs=1e-4)
        assert row["view_id"] == view_id(row["clip_id"], row["lineage"])


def test_labels_of_a_track_are_moved_into_every_view_and_only_once(made: Path) -> None:
    store = Store(made / "store")
    track = store.table("tracks").to_table().to_pylist()[0]["track_id"]
    labels = [
        Label("onset", "", "ann", "person", track, start=1.25, duration=0.0),
        Label("key", "C major", "ann", "person", track),
        Label("tag", "slow", "ann", "person", track),
    ]
    write(labels, made / "labels.parquet")
    assert earmark("labels", "add", made / "labels.parquet", "--store", made / "store") == {"labels": 3, "new": 3}
    assert earmark("labels", "add", made / "labels.parquet", "--store", made / "store") == {"labels": 3, "new": 0}
    text = VIEWS + '[labels]\non_refused = "drop"\n' + AUGMENT + MEL
    assert run(made, text)["planned"] == 0  # the policy for labels changes no sound
    moved = store.table("view_labels").to_table().to_pylist()
    clips = {clip_id(track, start, 1.0): start for start in (0.0, 1.0)}
    views = rows(store, "views")
    names = {label.label_id: label for label in labels}
    assert {row["track_id"] for row in moved} == {track}
    assert {clips[row["clip_id"]] for row in moved if row["kind"] == "onset" and row["clip_id"] in clips} == {1.0}
    for row in moved:
        assert names[row["source"]].kind == row["kind"]
        steps = {step["use"]: step for step in Lineage.parse(views[row["clip_id"], row["view"]]["lineage"]).steps}
        rate = steps["TimeStretch"]["rate"] if "TimeStretch" in steps else 1.0
        if row["kind"] == "onset" and row["clip_id"] in clips:
            assert row["start"] == pytest.approx(0.25 / rate, abs=1e-6)
        if row["kind"] == "key" and "PitchShift" not in steps:
            assert row["value"] == "C major"
        if row["kind"] == "tag" and row["clip_id"] in clips:
            assert 0.9 <= rate <= 1.12
    assert earmark("labels", "move", made / "recipe.toml", "--store", made / "store")["shards"] == 0


def test_what_is_said_of_a_view_counts_for_the_recording_and_for_all_its_views(tmp_path: Path) -> None:
    store = store_of(tmp_path, 2, seconds=1.0)
    stretch = '[[augment]]\nuse = "TimeStretch"\nlow = 0.8\nhigh = 0.9\n[[augment]]\nuse = "PitchShift"\nlow = 2\nhigh = 2\n'
    run(tmp_path, VIEWS + stretch + MEL)
    row = rows(store, "views")
    clip, heard = next((clip, each) for (clip, view), each in row.items() if view == 2)
    rate = Lineage.parse(heard["lineage"]).steps[0]["rate"]
    said = Label("note", "62", "ann", "person", heard["track_id"], clip, 0.5, 0.25, view_id=heard["view_id"])
    write([said], tmp_path / "votes.parquet")
    earmark("labels", "add", tmp_path / "votes.parquet", "--store", tmp_path / "store")
    run(tmp_path, VIEWS + stretch + MEL)
    moved = rows(store, "view_labels")
    assert set(moved) == {(clip, view) for view in range(4)}
    assert {row["source"] for row in moved.values()} == {said.label_id}
    assert (moved[clip, 0]["value"], moved[clip, 2]["value"]) == ("60", "62")
    assert moved[clip, 0]["start"] == pytest.approx(0.5 * rate, abs=1e-6)
    assert (moved[clip, 2]["start"], moved[clip, 2]["duration"]) == (0.5, 0.25)
    assert len(store.table("labels")) == 1


def test_a_corrected_statement_no_longer_counts_and_is_still_there(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1)
    track = store.table("tracks").to_table().to_pylist()[0]["track_id"]
    first = Label("key", "C major", "ann", "person", track)
    write([first, Label("key", "A minor", "ann", "person", track, replaces=first.label_id)], tmp_path / "labels.parquet")
    earmark("labels", "add", tmp_path / "labels.parquet", "--store", tmp_path / "store")
    run(tmp_path, "[window]\nseconds = 1.0\n" + MEL)
    assert {row["value"] for row in rows(store, "view_labels").values()} == {"A minor"}
    assert len(store.table("labels")) == 2


def test_a_refused_label_stops_the_run_before_anything_is_heard_and_check_says_it_too(tmp_path: Path) -> None:
    store = store_of(tmp_path, 2)
    track = store.table("tracks").to_table().to_pylist()[0]["track_id"]
    write([Label("vocal_range", "alto", "ann", "person", track)], tmp_path / "labels.parquet")
    earmark("labels", "add", tmp_path / "labels.parquet", "--store", tmp_path / "store")
    shift = '[[augment]]\nuse = "PitchShift"\n'
    run(tmp_path, VIEWS + shift + MEL, code=2)
    assert not parts(tmp_path / "store")
    checked = earmark("recipe", "check", tmp_path / "recipe.toml", "--store", tmp_path / "store", code=1)
    assert (checked["contract"][0]["kind"], checked["contract"][0]["how"], checked["stops"]) == ("vocal_range", "refused: no rule", 1)
    rule = '[labels.rules.vocal_range]\npitch = "dropped"\ntimbre = "unchanged"\n'
    assert earmark("recipe", "check", _written(tmp_path, VIEWS + rule + shift + MEL), "--store", tmp_path / "store")["stops"] == 0
    run(tmp_path, VIEWS + rule + shift + MEL)
    steps = {key: Lineage.parse(row["lineage"]).steps for key, row in rows(store, "views").items() if row["track_id"] == track}
    kept = {key for key, drawn in steps.items() if not drawn or drawn[0]["semitones"] == 0}
    assert set(rows(store, "view_labels")) == kept


def _written(folder: Path, text: str) -> Path:
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def test_a_silent_clip_loses_its_noisy_views_and_its_neighbours_lose_nothing(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 2)
    soundfile.write(tmp_path / "audio" / "silent.flac", np.zeros(2 * RATE), RATE)
    store = store_of(tmp_path)
    done = run(tmp_path, VIEWS + '[[augment]]\nuse = "AddNoise"\n' + MEL)
    assert (done["clips"], done["views"], done["rejects"]) == (6, 4 * 4 + 2, {"silent": 1})
    (reject,) = store.open_rejects()
    assert reject["stage"] == "augment"
    assert reject["uri"].endswith("silent.flac")
    assert "view 1 of the clip at 0 s" in reject["message"]
    assert "(and 5 more)" in reject["message"]
    assert reject["remedy"]
    # Another recipe, with which all views can be made, is no longer told of it.
    run(tmp_path, VIEWS + '[[augment]]\nuse = "Reverse"\n' + MEL)
    assert store.open_rejects() == []


def test_views_that_fail_before_the_gpu_and_on_it_are_one_reject_that_names_both(tmp_path: Path) -> None:
    from pipelines import stage

    tones(tmp_path / "audio", 2)
    soundfile.write(tmp_path / "audio" / "silent.flac", np.zeros(RATE), RATE)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    store = Store(tmp_path / "store")
    either = '{use = "AddNoise"}, {use = "Mix", snr_low_db = 0, snr_high_db = 9}'
    recipe = load(_written(tmp_path, VIEWS.replace("4", "9") + f'[[augment]]\nuse = "OneOf"\nof = [{either}]\n' + MEL))
    unit = stage.Unit(store.root, store.names("tracks")[0], recipe, ("views", "logmel"), device="cuda")
    batches, heard = stage.decode(unit)
    stage.write(unit, store, heard, batches, "cpu:0")
    (reject,) = store.open_rejects()
    assert "Mix: the clip is silent" in reject["message"]
    assert "AddNoise" in reject["message"]
    assert len(heard.rejects) == 1


def test_a_file_that_is_won_back_takes_no_reject_along_but_its_own(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 1)
    for name, seconds in (("silent", 1), ("silent_too", 2)):
        soundfile.write(tmp_path / "audio" / f"{name}.flac", np.zeros(seconds * RATE), RATE)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    for name in ("000", "silent_too"):
        (tmp_path / "audio" / f"{name}.flac").rename(tmp_path / f"{name}.away")
    text = VIEWS + '[[augment]]\nuse = "AddNoise"\n' + MEL
    assert run(tmp_path, text)["rejects"] == {"vanished": 2, "silent": 1}
    for name in ("000", "silent_too"):
        (tmp_path / f"{name}.away").rename(tmp_path / "audio" / f"{name}.flac")
    assert run(tmp_path, text, "--retry-rejects")["rejects"] == {"silent": 1}
    rejects = [(Path(row["uri"]).name, row["stage"], row["error"]) for row in Store(tmp_path / "store").open_rejects()]
    assert rejects == [("silent.flac", "augment", "silent"), ("silent_too.flac", "augment", "silent")]


def test_a_background_folder_that_is_empty_is_named_before_anything_runs(tmp_path: Path) -> None:
    store_of(tmp_path, 2)
    (tmp_path / "noises").mkdir()
    text = VIEWS + f'[[augment]]\nuse = "AddBackground"\nfolder = "{tmp_path}/noises"\nsnr_low_db = 3\nsnr_high_db = 9\n' + MEL
    _written(tmp_path, text)
    for arguments in (("recipe", "check", str(tmp_path / "recipe.toml")), ("run", str(tmp_path / "recipe.toml"), "--engine", "local")):
        done = ran(*arguments, "--store", tmp_path / "store")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"augment[0]: AddBackground.folder: {tmp_path}/noises: no recording in this folder" in done.stderr
    assert not parts(tmp_path / "store")


def test_a_background_that_vanishes_fails_the_shard_and_nothing_is_lost_once_it_is_back(tmp_path: Path) -> None:
    from pipelines.stage import Unit, hear
    from pipelines.views import ResourceError

    store = store_of(tmp_path, 2)
    noise = tone(tmp_path / "noise.flac", 9)
    (tmp_path / "noises").mkdir()
    noise.rename(tmp_path / "noises" / "noise.flac")
    text = VIEWS + f'[[augment]]\nuse = "AddBackground"\nfolder = "{tmp_path}/noises"\nsnr_low_db = 3\nsnr_high_db = 9\n' + MEL
    recipe = load(_written(tmp_path, text))
    assert recipe.augment[0].identity()["files"]  # the folder is listed when the run begins, and vanishes after that
    (tmp_path / "noises").rename(tmp_path / "elsewhere")
    unit = Unit(store.root, store.names("tracks")[0], recipe, ("views", "logmel"))
    with pytest.raises(ResourceError, match=r"noise\.flac.* the same command again"):
        hear(unit)
    assert not parts(tmp_path / "store")
    assert store.open_rejects() == []
    (tmp_path / "elsewhere").rename(tmp_path / "noises")
    assert hear(unit).views == 16


def test_a_view_louder_than_full_scale_is_kept_whole_and_says_its_peak(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1)
    run(tmp_path, VIEWS + '[[augment]]\nuse = "Gain"\nlow_db = 20\nhigh_db = 20\n' + MEL)
    peaks = [row["peak"] for (_, view), row in sorted(rows(store, "views").items()) if view]
    own = [row["peak"] for (_, view), row in sorted(rows(store, "views").items()) if not view]
    assert max(own) == pytest.approx(0.5, abs=1e-3)
    assert peaks == pytest.approx([10 * peak for peak in own for _ in range(3)], rel=1e-5)


def test_a_track_that_ends_its_worker_costs_no_view_of_those_that_would_mix_it_in(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 3)
    tone(tmp_path / "audio" / "poison.flac", 7, peak=0.9)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    text = VIEWS + '[[augment]]\nuse = "Mix"\nsnr_low_db = 25\nsnr_high_db = 30\n' + POISON  # so quiet that no peak comes near 0.7
    done = run(tmp_path, text)
    assert done["rejects"] == {"poison": 1}
    views = rows(Store(tmp_path / "store"), "views")
    assert len(views) == 3 * 2 * 4
    poisoned = Store(tmp_path / "store").open_rejects()[0]["track_id"]
    assert all(poisoned not in row["lineage"] for row in views.values())


POISON = PEAKS + "[run]\nmax_retries = 0\n"


def test_jams_go_in_and_come_out_by_the_names_of_their_recordings(tmp_path: Path) -> None:
    store = store_of(tmp_path, 2)
    tracks = store.table("tracks").to_table().to_pylist()
    labels = [Label("tempo", "120", "ann", "person", row["track_id"], start=0.0, duration=2.0, confidence=0.5) for row in tracks]
    write(labels, tmp_path / "labels.parquet")
    earmark("labels", "add", tmp_path / "labels.parquet", "--store", tmp_path / "store")
    assert earmark("labels", "export", "--store", tmp_path / "store", "--out", tmp_path / "jams")["files"] == 2
    assert sorted(path.name for path in (tmp_path / "jams").iterdir()) == ["000.jams", "001.jams"]
    assert json.loads((tmp_path / "jams" / "000.jams").read_text())["file_metadata"]["duration"] == 2.0
    other = store_of(tmp_path, name="other")
    assert earmark("labels", "add", tmp_path / "jams", "--store", tmp_path / "other") == {"labels": 2, "new": 2}
    kept = [label for path in other.paths("labels") for label in read(path)]
    assert sorted(label.label_id for label in kept) == sorted(label.label_id for label in labels)


def test_labels_of_unknown_recordings_and_jams_without_one_are_named(tmp_path: Path) -> None:
    store_of(tmp_path, 1)
    write([Label("tag", "rock", "ann", "person", "0" * 20)], tmp_path / "labels.parquet")
    (tmp_path / "other.jams").write_text('{"annotations": [], "file_metadata": {"duration": 1}, "sandbox": {}}')
    for source, said in (
        ("labels.parquet", "1 labelled tracks are not in the catalogue, 00000000000000000000 for one; scan their recordings first"),
        ("other.jams", "other.jams: no track has its name; a JAMS file is named as its recording"),
        ("audio", "audio: no .parquet and no .jams file in this folder"),
        ("gone.txt", "gone.txt: neither a folder nor a .parquet, .jams or .csv file"),
    ):
        done = ran("labels", "add", tmp_path / source, "--store", tmp_path / "store")
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "store" / "labels").exists()


def test_labels_beyond_the_end_of_their_recording_are_kept_and_named(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1)
    track = store.table("tracks").to_table().to_pylist()[0]["track_id"]
    write([Label("note", "60", "ann", "person", track, start=at, duration=1.0) for at in (1.5, 2.5, 3.5)], tmp_path / "labels.parquet")
    earmark("labels", "add", tmp_path / "labels.parquet", "--store", tmp_path / "store")
    (reject,) = store.open_rejects()
    assert (reject["stage"], reject["error"]) == ("labels", "outside")
    assert "note '60' at 2.5 s (and 1 more): beyond the end of the recording, at 2.000 s" in reject["message"]
    run(tmp_path, "[window]\nseconds = 1.0\n" + MEL)
    assert len(store.table("labels")) == 3
    assert [(row["start"], row["duration"]) for row in rows(store, "view_labels").values()] == [(0.5, 0.5)]
    run(tmp_path, "[window]\nseconds = 1.0\n" + MEL, "--retry-rejects")
    assert len(store.open_rejects()) == 1


def test_footers_of_tables_with_views_say_how_views_are_made(made: Path) -> None:
    path = next((made / "store" / "logmel").glob("*/*.parquet"))
    said = json.loads(pq.read_schema(path).metadata[b"earmark"])
    assert said["views"]["seed"] == 5
    assert [each["use"] for each in said["views"]["augment"]][:2] == ["PitchShift", "TimeStretch"]
