"""Everything that dies at random moments, and disks that are full: the same command again gives the rows of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from pipelines.diary import notes
from pipelines.store import Store
from tests.collection import PEAKS, command, earmark, parts, tones
from tests.test_cluster import run_with_gpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SLOW = "[window]\nseconds = 1.0\n" + PEAKS.replace("Poison", "Slow")
SHARDS = 6
TABLES = 2  # peaks and views


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalogue of 12 tracks in 6 shards, a recipe, and the store of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("faults")
    tones(folder / "audio", 12)
    (folder / "recipe.toml").write_text(SLOW)
    earmark("scan", folder / "audio", "--store", folder / "catalogue", "--shard-hours", str(4.5 / 3600))
    shutil.copytree(folder / "catalogue", folder / "store")
    earmark("run", folder / "recipe.toml", "--store", folder / "store", "--engine", "local")
    assert len(parts(folder / "store")) == SHARDS * TABLES
    return folder


class Reader:
    """Somebody who reads the store all the time: every part that can be seen is whole, and never changes."""

    def __init__(self, store: Path, right: dict[str, bytes]) -> None:
        self.store, self.right = store, right
        self.wrong: list[str] = []
        self.seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._stop.wait(0.05):
            for name, content in parts(self.store).items():
                self.seen += 1
                if self.right.get(name) != content:
                    self.wrong.append(name)


@contextlib.contextmanager
def a_run(folder: Path, engine: str) -> Iterator[subprocess.Popen[bytes]]:
    arguments = command("run", folder / "recipe.toml", "--store", folder / "store", "--engine", engine, "--workers", "2")
    child = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            family = psutil.Process(child.pid).children(recursive=True)
            child.kill()
            for each in family:
                with contextlib.suppress(psutil.Error):
                    each.kill()
        child.wait()


def disturb(child: subprocess.Popen[bytes], chance: random.Random) -> str:
    """Kill the driver, or any process that it started, or stop one for a while."""
    try:
        family = psutil.Process(child.pid).children(recursive=True)
        victim = chance.choice([psutil.Process(child.pid), *family])
        name = victim.name()
        if chance.random() < 0.2:
            victim.send_signal(signal.SIGSTOP)
            time.sleep(1.0)
            victim.send_signal(signal.SIGCONT)
            return f"stopped {name}"
        victim.kill()
    except psutil.Error:
        return "too late"
    return f"killed {name}"


@pytest.mark.parametrize("seed", range(int(os.environ.get("EARMARK_FAULT_SEEDS", "2"))))
def test_whatever_is_killed_and_whenever_the_rows_are_those_of_an_undisturbed_run(seed: int, undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)
    engine = ("local", "ray", "beam", "ray")[seed % 4]
    shutil.copytree(undisturbed / "catalogue", tmp_path / "store")
    shutil.copy(undisturbed / "recipe.toml", tmp_path)
    right = parts(undisturbed / "store")
    story = [engine]
    with Reader(tmp_path / "store", right) as reader:
        for _ in range(3):
            with contextlib.ExitStack() as runs:
                for _ in range(chance.choice((1, 1, 2))):  # two drivers on one store do no harm
                    child = runs.enter_context(a_run(tmp_path, engine))
                began = time.monotonic()
                while child.poll() is None and time.monotonic() - began < chance.uniform(2, 12):
                    time.sleep(0.1)
                for _ in range(chance.choice((1, 2))):
                    story.append(disturb(child, chance))
                if chance.random() < 0.5:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(chance.uniform(0, 6))
        summary = earmark("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local")
    assert summary["failed"] == {}, story
    assert parts(tmp_path / "store") == right, story
    assert not reader.wrong, (story, reader.wrong[:3])
    assert reader.seen, story
    assert Store(tmp_path / "store").open_rejects() == [], story


def test_gpu_workers_that_die_again_and_again_cost_retries_and_no_row(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 6)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(SLOW.replace("Slow", "Mortal") + "[run]\nmax_retries = 8\n")
    summary = run_with_gpus(tmp_path, gpus=1)
    assert summary["failed"] == {}
    assert summary["rejects"] == {}
    assert notes(Store(tmp_path / "store"))[0].lost > 0
    peaks = Store(tmp_path / "store").table("peaks").to_table(["peak"]).column("peak").to_pylist()
    assert len(peaks) == 12
    assert max(max(each) for each in peaks) == pytest.approx(0.5, abs=1e-3)


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
    engine: str, undisturbed: Path, tmp_path: Path, small_disk: Path
) -> None:
    shutil.copytree(undisturbed / "catalogue", small_disk / "store")
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
    assert len(parts(small_disk / "store")) == SHARDS * TABLES
    assert Store(small_disk / "store").open_rejects() == []
    assert not [path for path in (small_disk / "store").rglob(".*.parquet.*") if time.time() - path.stat().st_mtime > 600]
