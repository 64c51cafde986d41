"""Runs on a Ray cluster, with processes killed under them, and with a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from pipelines.store import Store
from tests.collection import MFCC, RATE, RECIPE, ROOT, command, earmark, parts, tones

pytestmark = pytest.mark.slow

SLOW = (
    RECIPE
    + """
[[extract]]
use = "TorchModel"
name = "peaks"
factory = "tests.poison:Slow"
front = "wave"
sample_rate = 16000
layout = "time"
outputs = { peak = [1] }
"""
)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores with the same 12 tracks in 6 shards, one of them complete, and a recipe that takes its time."""
    folder = tmp_path_factory.mktemp("heard")
    tones(folder / "audio", 12)
    (folder / "recipe.toml").write_text(SLOW)
    for store in ("store", "undisturbed"):
        earmark("scan", folder / "audio", "--store", folder / store, "--shard-hours", str(4.5 / 3600))
    earmark("run", folder / "recipe.toml", "--store", folder / "undisturbed", "--engine", "local")
    return folder


@pytest.fixture
def collection(heard: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may disturb; the recordings stay where they were scanned."""
    for store in ("store", "undisturbed"):
        shutil.copytree(heard / store, tmp_path / store)
    shutil.copytree(heard / "audio", tmp_path / "audio")
    shutil.copy(heard / "recipe.toml", tmp_path)
    return tmp_path


def started(folder: Path, published: int) -> subprocess.Popen[str]:
    """A run on a private cluster that has published some parts and works on others."""
    arguments = command("run", folder / "recipe.toml", "--store", folder / "store", "--json")
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    for _ in range(1200):
        if len(parts(folder / "store")) >= published:
            return child
        if child.poll() is not None:
            break
        time.sleep(0.05)
    child.kill()
    raise TimeoutError(child.communicate())


def processes(child: subprocess.Popen[str], name: str) -> list[psutil.Process]:
    """The run's own processes, of all that this machine may have."""
    found = []
    for each in psutil.Process(child.pid).children(recursive=True):
        try:
            if name in " ".join(each.cmdline())[:200]:
                found.append(each)
        except psutil.Error:
            continue
    return found


def test_a_killed_worker_costs_one_more_try(collection: Path) -> None:
    child = started(collection, 3)
    for worker in processes(child, "ray::_hear"):
        worker.kill()
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert json.loads(out)["failed"] == {}
    assert parts(collection / "store") == parts(collection / "undisturbed")


@pytest.mark.parametrize("victim", ["driver", "raylet"])
def test_after_a_killed_driver_or_raylet_the_same_command_goes_on(collection: Path, victim: str) -> None:
    child = started(collection, 3)
    targets = [psutil.Process(child.pid)] if victim == "driver" else processes(child, "/raylet")
    assert targets
    for target in targets:
        target.kill()
    child.communicate(timeout=120)
    assert child.returncode != 0
    done = parts(collection / "store")
    assert 3 <= len(done) < 18
    assert done.items() <= parts(collection / "undisturbed").items()
    summary = earmark("run", collection / "recipe.toml", "--store", collection / "store")
    assert 0 < summary["planned"] < 6
    assert parts(collection / "store") == parts(collection / "undisturbed")


def test_with_a_gpu_decoding_tasks_feed_an_actor_and_the_rows_are_the_same(collection: Path) -> None:
    # A cluster that believes to have a GPU: the flow of work is real, the arithmetic falls back to the CPU.
    (collection / "recipe.toml").write_text(RECIPE + MFCC)
    earmark("run", collection / "recipe.toml", "--store", collection / "undisturbed", "--engine", "local")
    assert run_with_gpus(collection)["clips"] == 24
    for table in ("views", "logmel", "mfcc"):
        made = {name: part for name, part in parts(collection / "store").items() if name.startswith(table)}
        assert made.items() <= parts(collection / "undisturbed").items()
        assert len(made) == 6


def run_with_gpus(folder: Path, gpus: int = 2) -> dict[str, Any]:
    """A run on a private cluster that believes to have GPUs."""
    believing = f"import sys, ray, functools; ray.init = functools.partial(ray.init, num_gpus={gpus})"
    code = f"{believing}; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["run", str(folder / "recipe.toml"), "--store", str(folder / "store"), "--allow-code", "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_with_a_gpu_views_are_finished_there_and_are_those_of_the_cpu(collection: Path) -> None:
    # One clip of silence, against which there is no SNR: that shows only on the GPU's side.
    soundfile.write(collection / "audio" / "silent.flac", np.zeros(RATE), RATE)
    for store in ("store", "undisturbed"):
        earmark("scan", collection / "audio", "--store", collection / store)
    steps = ("PitchShift", "AddNoise", "ImpulseResponse", "Gain")
    augment = "".join(f'[[augment]]\nuse = "{use}"\np = 0.6\n' for use in steps)
    (collection / "recipe.toml").write_text("[views]\ncount = 3\nsample_rate = 16000\n" + augment + RECIPE)
    here = earmark("run", collection / "recipe.toml", "--store", collection / "undisturbed", "--engine", "local")
    there = run_with_gpus(collection)
    assert [here[name] for name in ("clips", "views", "rejects")] == [there[name] for name in ("clips", "views", "rejects")]
    tables = []
    for store in ("undisturbed", "store"):
        views, mel = (
            Store(collection / store).table(name).to_table().sort_by([("clip_id", "ascending"), ("view", "ascending")])
            for name in ("views", "logmel")
        )
        tables.append((views, np.array(mel.column("mel").to_pylist(), np.float32)))
    (views, mel), (their_views, their_mel) = tables
    assert views.drop_columns(["peak"]).equals(their_views.drop_columns(["peak"]))
    np.testing.assert_allclose(views.column("peak").to_numpy(), their_views.column("peak").to_numpy(), atol=1e-3)
    assert np.abs(mel - their_mel).max() < 0.1  # dB, stored as float16
    assert any("AddNoise" in lineage for lineage in views.column("lineage").to_pylist())
