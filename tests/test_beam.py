"""The Beam engine on Beam's own runner and through a job server: the rows of the others, its own counters, and workers that die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.beam import Beam
from pipelines.engines.beam_pipeline import build, name_of, notes_folder, outcome_in, work_on
from pipelines.engines.engine import Failed, Lost
from pipelines.part import StoreError, publish
from pipelines.plan import missing
from pipelines.recipe import load
from pipelines.stage import Heard, Unit
from pipelines.store import Store
from tests.collection import PEAKS, RECIPE, ROOT, clips, command, earmark, parts, tone, tones

PROCESSES = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
SLOW = "[window]\nseconds = 1.0\n" + PEAKS.replace(":Poison", ":Slow")


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A store with 8 tracks in 4 shards, and a recipe beside it."""
    tones(tmp_path / "audio", 8)
    for store in ("store", "other"):
        earmark("scan", tmp_path / "audio", "--store", tmp_path / store, "--shard-hours", str(4.5 / 3600))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture(scope="module")
def job_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of the job server that comes with Beam: pipelines reach it as they reach Flink's and Spark's."""
    from apache_beam.runners.portability.local_job_service import LocalJobServicer

    server = LocalJobServicer(str(tmp_path_factory.mktemp("staging")))
    yield f"localhost:{server.start_grpc_server(0)}"
    server.stop()


def run(folder: Path, engine: str, *more: str, store: str = "store", code: int = 0) -> dict[str, Any]:
    return earmark("run", folder / "recipe.toml", "--store", folder / store, "--engine", engine, *more, code=code)


def units_of(folder: Path, recipe: str = RECIPE) -> list[Unit]:
    """What a recipe has to make on the store in a folder."""
    (folder / "recipe.toml").write_text(recipe)
    return [replace(unit, seconds=4.0) for unit in missing(Store(folder / "store"), load(folder / "recipe.toml"), "cpu")]


def test_notes_of_killed_commands_are_taken_away_and_of_living_ones_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folders = []
    for _ in range(2):
        folders.append(notes_folder(store))
        store.put(f"{folders[-1]}/1/unit.begun", b"")
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / folders[0]).rename((tmp_path / folders[0]).with_name(Path(folders[0]).name.replace(f".{os.getpid()}.", f".{dead.pid}.")))
    assert notes_folder(store) not in folders
    assert [path.name for path in (tmp_path / ".beam").iterdir()] == [Path(folders[1]).name]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["one process", "a job server"])
def test_rows_are_those_of_local_and_beams_own_counters_count_them(collection: Path, job_server: str, by: str) -> None:
    words = [] if by == "one process" else ["--runner=PortableRunner", f"--job_endpoint={job_server}", "--environment_type=LOOPBACK"]
    engine = Beam(str(collection / "store"), words)
    outcomes = [outcome for _, outcome in engine.run(deque(units_of(collection)))]
    engine.close()
    assert all(isinstance(outcome, Heard) for outcome in outcomes)
    assert {name: engine.counters[name] for name in ("heard", "tracks", "clips", "rejects")} == {
        "heard": 4,
        "tracks": 8,
        "clips": 16,
        "rejects": 0,
    }
    assert run(collection, "local", store="other")["clips"] == 16
    assert parts(collection / "store") == parts(collection / "other")
    assert not list((collection / "store" / ".beam").iterdir())


@pytest.mark.slow
def test_two_processes_make_the_rows_of_local_and_nothing_twice(collection: Path) -> None:
    assert run(collection, "beam", *PROCESSES)["clips"] == run(collection, "local", store="other")["clips"] == 16
    assert parts(collection / "store") == parts(collection / "other")
    assert run(collection, "beam", *PROCESSES)["planned"] == 0


@pytest.mark.slow
def test_a_file_that_crashes_its_worker_is_rejected_and_its_neighbours_are_saved(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 1)
    crash = tone(tmp_path / "audio" / "crash.flac", 98, peak=0.9)
    (tmp_path / "recipe.toml").write_text("[window]\nseconds = 1.0\n[run]\nmax_retries = 0\n" + PEAKS)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", "1")
    summary = run(tmp_path, "beam")
    assert summary["rejects"] == {"poison": 1}
    assert summary["failed"] == {}
    assert len(clips(tmp_path / "store", "peaks")) == 2
    assert [row["uri"] for row in Store(tmp_path / "store").open_rejects()] == [str(crash)]


@pytest.mark.slow
def test_a_worker_that_dies_beside_others_is_noticed_and_only_its_shard_is_blamed(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 1)
    tone(tmp_path / "audio" / "crash.flac", 98, peak=0.9)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store", "--shard-hours", str(2.5 / 3600))
    # Beam's own runner waits for ever for the worker; a run that waited for its deadline would wait for an hour.
    units = units_of(tmp_path, "[window]\nseconds = 1.0\n[run]\ndeadline_seconds = 3600\n" + PEAKS)
    engine = Beam(str(tmp_path / "store"), PROCESSES)
    outcomes = {unit.part: outcome for unit, outcome in engine.run(deque(units))}
    engine.close()
    assert sorted(type(outcome).__name__ for outcome in outcomes.values()) == ["Heard", "Lost"]
    assert len(clips(tmp_path / "store", "peaks")) == 2


@pytest.mark.slow
def test_what_a_runner_repeats_is_made_apart_and_what_has_an_outcome_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    tone(tmp_path / "audio" / "crash.flac", 98, peak=0.9)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    [unit] = units_of(tmp_path, "[window]\nseconds = 1.0\n" + PEAKS)
    store = Store(unit.store)
    publish(store.filesystem, store.folder(f".beam/it/{name_of(unit)}.begun"), b"")
    first = work_on(unit, False, ".beam/it")  # in this process it would end the tests
    assert first == Lost(f"its process ended with {-signal.SIGSEGV}")
    publish(store.filesystem, store.folder(f".beam/it/{name_of(unit)}.done"), b'{"outcome": "Failed", "message": "said before"}')
    assert work_on(unit, False, ".beam/it") == Failed("said before")
    publish(store.filesystem, store.folder("note"), b'{"outcome": "Heard", "of_another_version": 1}')
    said = outcome_in(store, store.folder("note"))
    assert isinstance(said, Failed)
    assert "another version" in said.message


@pytest.mark.slow
def test_ctrl_c_keeps_the_parts_and_leaves_nothing_else_behind(collection: Path) -> None:
    (collection / "recipe.toml").write_text(SLOW)
    words = command("run", collection / "recipe.toml", "--store", collection / "store", "--engine", "beam")
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not parts(collection / "store") and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "stopped; the same command goes on where it stopped\n")
    assert parts(collection / "store")
    assert not list((collection / "store" / ".beam").iterdir())


@pytest.mark.slow
def test_a_pipeline_ends_with_the_run_that_started_it(collection: Path) -> None:
    units = units_of(collection, SLOW)
    code = "from pipelines.engines.beam_pipeline import main; main()"
    pipeline = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    assert pipeline.stdin is not None
    pipeline.stdin.write(pickle.dumps((units[0].store, ".beam/it", [(unit, False) for unit in units], [], "")))
    pipeline.stdin.flush()
    while not list((collection / "store").glob(".beam/it/*.begun")) and pipeline.poll() is None:
        time.sleep(0.1)
    pipeline.stdin.close()  # as the system closes it for a process that is killed
    assert pipeline.wait(60) == -signal.SIGTERM
    assert len(list((collection / "store").glob(".beam/it/*.done"))) < 4


def test_a_worker_with_several_threads_is_ended_at_the_earliest_deadline() -> None:
    code = """
import threading, time
from pipelines.engines.watchdog import deadline

def work(seconds, takes):
    with deadline(seconds):
        time.sleep(takes)

with deadline(60):
    work(1, 0)  # left in time: it ends nothing
    time.sleep(1.2)
    print("alive", flush=True)
    threading.Thread(target=work, args=(0.2, 60)).start()
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=50, check=False)
    assert done.stdout == "alive\n"
    assert done.returncode == 1


@pytest.mark.slow
def test_a_pipeline_that_cannot_start_is_told_once_and_makes_nothing(collection: Path) -> None:
    engine = Beam(str(collection / "store"), ["--runner=NoSuchRunner"])
    with pytest.raises(
        StoreError, match=r"^[^\n]*the Beam pipeline did not start: ValueError: Unexpected pipeline runner: NoSuchRunner[^\n]*$"
    ):
        list(engine.run(deque(units_of(collection))))
    engine.close()
    assert not parts(collection / "store")


def test_only_workers_that_hear_are_asked_for_an_accelerator() -> None:
    hint = "type:nvidia-l4;count:1;install-nvidia-driver"
    proto = build(".beam/it", [], [], hint).to_runner_api()
    asked = {}
    for transform in proto.components.transforms.values():
        hints = proto.components.environments[transform.environment_id].resource_hints if transform.environment_id else {}
        asked[transform.unique_name] = hints.get("beam:resources:accelerator:v1", b"").decode()
    assert asked.pop("hear") == hint
    assert set(asked.values()) == {""}
    assert Beam("store", accelerator=hint).device == "cuda"


def test_workers_by_the_image_have_the_beam_that_pipelines_are_made_with() -> None:
    import apache_beam

    said = (ROOT / "infra" / "beam" / "Dockerfile").read_text() + (ROOT / "infra" / "beam" / "README.md").read_text()
    assert f"apache/beam_python{sys.version_info.major}.{sys.version_info.minor}_sdk:{apache_beam.__version__} " in said
    assert f"apache-beam[gcp]=={apache_beam.__version__}" in said
    assert f"apache-beam=={apache_beam.__version__}\n" in (ROOT / "constraints.txt").read_text()


def test_options_that_nobody_knows_are_refused_by_the_other_engines(collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli import main

    with pytest.raises(SystemExit, match="2"):
        main(["run", "recipe.toml", "--store", "s", "--engine", "local", "--runner=DirectRunner"])
    assert "unrecognized arguments: --runner=DirectRunner" in capfd.readouterr().err
