"""Everything that dies, falls ill or goes away at random moments: the same command again gives the rows of an undisturbed run."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.diary import notes
from pipelines.plan import missing
from pipelines.recipe import load
from pipelines.stage import decode, write
from pipelines.store import Store
from tests.clock import Clock
from tests.collection import PEAKS, ROOT, command, earmark, parts, tones
from tests.schedules import Collection, Reader
from tests.test_cluster import run_with_gpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Twelve recordings in six shards, and the parts of a run that nothing disturbed."""
    return Collection(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("seed", range(int(os.environ.get("EARMARK_FAULT_SEEDS", "2"))))
def test_whatever_fails_and_whenever_the_rows_are_those_of_an_undisturbed_run(seed: int, undisturbed: Collection) -> None:
    story = undisturbed.play(seed)
    assert story.failed == {}, story
    assert story.right, story
    assert not story.wrong, (story, story.wrong[:3])
    assert story.seen, story
    assert story.rejects == [], story
    assert story.left == [], story


def test_a_reader_notices_a_part_that_is_cut_off_doubled_or_changed(undisturbed: Collection, tmp_path: Path) -> None:
    name, content = next(iter(undisturbed.right.items()))
    place = tmp_path / name
    place.parent.mkdir(parents=True)
    for sight, wrong in (([content, content], 0), ([content[:-9]], 1), ([content.replace(b"0", b"1")], 1)):
        reader = Reader(tmp_path, undisturbed.right)
        for each in sight:
            place.write_bytes(each)
            reader.look()
        assert len(reader.wrong) == wrong


def test_a_clock_that_jumps_changes_nothing(undisturbed: Collection, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    shutil.copytree(undisturbed.folder / "catalogue", tmp_path / "store")
    words = command("run", undisturbed.recipe, "--store", tmp_path / "store", "--engine", "local", "--workers", "2", "--json")
    child = subprocess.Popen(words, stdout=subprocess.PIPE, env=clock.environment, cwd=ROOT, text=True)
    for hours in itertools.cycle((5, -5, 48, -48, 0)):
        clock.set(3600 * hours)
        if child.poll() is not None:
            break
        time.sleep(0.1)
    said = json.loads(child.communicate()[0])
    assert (child.returncode, said["failed"], said["rejects"]) == (0, {}, {})
    assert 0 < said["wall_seconds"] < 3600
    assert parts(tmp_path / "store") == undisturbed.right


def test_gpu_workers_that_die_and_fail_again_and_again_cost_retries_and_no_row(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 6)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    mortal = PEAKS.replace("Poison", "Mortal")
    third = PEAKS.replace("Poison", "Third").replace("peaks", "thirds")
    (tmp_path / "recipe.toml").write_text("[window]\nseconds = 1.0\n[run]\nmax_retries = 8\nbatch = 2\n" + mortal + third)
    summary = run_with_gpus(tmp_path, gpus=1)
    assert summary["failed"] == {}
    assert summary["rejects"] == {}
    assert notes(Store(tmp_path / "store"))[0].lost > 0
    for table in ("peaks", "thirds"):
        peaks = Store(tmp_path / "store").table(table).to_table(["peak"]).column("peak").to_pylist()
        assert len(peaks) == 12
        assert max(max(each) for each in peaks) == pytest.approx(0.5, abs=1e-3)


def test_a_gpu_that_fails_at_every_third_batch_is_asked_again_and_the_rows_are_those_of_one_that_does_not(
    undisturbed: Collection, tmp_path: Path
) -> None:
    store = Store(shutil.copytree(undisturbed.folder / "catalogue", tmp_path / "store"))
    recipe = tmp_path / "recipe.toml"
    third = PEAKS.replace("Poison", "Third").replace("peaks", "thirds")
    recipe.write_text("[window]\nseconds = 1.0\n[run]\nbatch = 1\n" + PEAKS + third)  # four batches to a shard
    for unit in missing(store, load(recipe), "cuda"):
        batches, heard = decode(unit)
        write(unit, store, heard, batches, "cpu")
    peaks, thirds = (store.table(name).to_table(["clip_id", "peak"]).sort_by("clip_id") for name in ("peaks", "thirds"))
    assert len(peaks) == 24
    assert peaks.equals(thirds)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_full_disk_fails_shards_by_name_and_with_room_the_same_command_goes_on(
    engine: str, undisturbed: Collection, tmp_path: Path, small_disk: Path
) -> None:
    shutil.copytree(undisturbed.folder / "catalogue", small_disk / "store")
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 120_000))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[window]\nseconds = 1.0\n[[extract]]\nuse = "Stft"\nsample_rate = 16000\nn_fft = 2048\nhop_length = 256\n')
    summary = earmark("run", recipe, "--store", small_disk / "store", "--engine", engine, code=1)
    assert summary["failed"]
    assert all("No space left on device" in message for message in summary["failed"].values())
    for name in parts(small_disk / "store"):
        pq.read_table(small_disk / "store" / name)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    summary = earmark("run", recipe, "--store", small_disk / "store", "--engine", engine)
    assert summary["failed"] == {}
    assert len(parts(small_disk / "store")) == len(undisturbed.right)
    assert Store(small_disk / "store").open_rejects() == []
    assert not [path for path in (small_disk / "store").rglob(".*.parquet.*") if time.time() - path.stat().st_mtime > 600]
