"""A Ray cluster whose machines differ, join, are drained and die: the rows are those of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import ray

from pipelines.engines import ray_cluster
from pipelines.engines.engine import Lost
from pipelines.engines.local import Local
from pipelines.engines.ray_cluster import RayCluster
from pipelines.engines.ray_machines import SPARED, Elsewhere
from pipelines.recipe import Recipe
from pipelines.run import Summary, run
from pipelines.stage import Unit
from pipelines.store import Store
from tests import nodes
from tests.collection import RECIPE, earmark, parts, tones
from tests.nodes import Nodes, seen, until
from tests.test_faults import Reader

pytestmark = pytest.mark.slow

SHARDS = 6
# A shard that loses its worker once is hunted: none may be, whatever becomes of its machine.
ONCE = Recipe.model_validate(tomllib.loads(RECIPE + "[run]\nmax_retries = 0\n"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 12 tracks in 6 shards, and the store that the local engine makes of it."""
    folder = tmp_path_factory.mktemp("nodes")
    tones(folder / "audio", 2 * SHARDS)
    earmark("scan", folder / "audio", "--store", folder / "catalogue", "--shard-hours", str(4.5 / 3600))
    shutil.copytree(folder / "catalogue", folder / "store")
    store = Store(folder / "store")
    assert run(store, ONCE, Local(store.root, 1)).shards == SHARDS
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """Machines, of which each test adds its own."""
    with nodes.several() as found:
        yield found


@pytest.fixture
def machines(cluster: Nodes, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """The same, whose workers tell what they do."""
    for name in ("hear", "decode", "astray"):
        monkeypatch.setattr(ray_cluster, name, getattr(nodes, name))
    monkeypatch.setattr(ray_cluster, "_consumer", nodes.consumer)
    return cluster


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A folder with a store of its own, and the signs by which the test and the workers understand each other."""
    shutil.copytree(undisturbed / "catalogue", tmp_path / "store")
    return tmp_path


class Going:
    """A run in the background."""

    def __init__(self, folder: Path, address: str, device: str = "cpu", window: int = 0) -> None:
        self.folder, self.address, self.device, self.window = folder, address, device, window
        self._pool = ThreadPoolExecutor(1)

    def _run(self) -> Summary:
        self.engine = RayCluster(self.address, device=self.device, window=self.window)
        return run(Store(self.folder / "store"), ONCE, self.engine)

    def __enter__(self) -> Future[Summary]:
        return self._pool.submit(self._run)

    def __exit__(self, failed: object, *_: object) -> None:
        for sign in self.folder.glob("no *"):
            sign.unlink()
        if failed:  # a run that hangs would keep all other tests waiting
            ray.shutdown()
        self._pool.shutdown()


def test_machines_that_join_get_work_and_one_that_is_drained_gets_no_more(machines: Nodes, folder: Path, undisturbed: Path) -> None:
    machines.have()
    (folder / "no hear").touch()
    with Going(folder, machines.address) as summary:  # on a head without a CPU
        first = machines.add()
        until(lambda: seen(folder, "hear", first), summary)
        second = machines.add()
        until(lambda: seen(folder, "hear", second), summary)
        machines.drain(first)
        (folder / "no hear").unlink()
        assert summary.result().failed == {}
    assert len(seen(folder, "hear", first)) == 1
    assert len(seen(folder, "hear", second)) == SHARDS - 1
    assert parts(folder / "store") == parts(undisturbed / "store")


def test_a_machine_that_is_taken_away_takes_the_shards_in_its_hands_and_nothing_else(
    machines: Nodes, folder: Path, undisturbed: Path
) -> None:
    _, victim = machines.have((1, 0), (2, 0))
    (folder / f"no hear on {victim}").touch()
    with Going(folder, machines.address) as summary:
        until(lambda: len(seen(folder, "hear", victim)) == 2, summary)
        until(lambda: len(parts(folder / "store")) >= 4, summary)
        done = {name: os.stat(folder / "store" / name) for name in parts(folder / "store")}
        in_hand = seen(folder, "hear", victim)
        machines.kill(victim)
        assert summary.result().failed == {}
    assert parts(folder / "store") == parts(undisturbed / "store")
    for name, before in done.items():
        after = os.stat(folder / "store" / name)
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert Counter(seen(folder, "hear")) == {shard: 1 + (shard in in_hand) for shard in Store(folder / "store").names("tracks")}
    assert not list(folder.glob("hear * dry"))


def test_an_orphan_that_writes_after_its_raylet_died_changes_nothing(machines: Nodes, folder: Path, undisturbed: Path) -> None:
    right = parts(undisturbed / "store")
    _, victim = machines.have((1, 0), (1, 0))
    for sign in (f"orphan on {victim}", f"no hear on {victim}"):
        (folder / sign).touch()
    with Reader(folder / "store", right) as reader:
        with Going(folder, machines.address) as summary:
            until((folder / "orphan lives").exists, summary)
            machines.kill(victim, workers=False)
            assert summary.result().failed == {}
        assert parts(folder / "store") == right
        (shard,) = seen(folder, "hear", victim)
        place = next((folder / "store" / "logmel").glob(f"*/{shard}.parquet"))
        before = place.stat().st_ino
        (folder / "orphan may write").touch()
        until((folder / "orphan wrote").exists)
        assert place.stat().st_ino != before
        looks = reader.seen
        until(lambda: reader.seen > looks + 2 * len(right))
    assert not reader.wrong
    assert parts(folder / "store") == right


def test_cpu_machines_decode_for_gpus_no_more_than_the_store_holds_and_both_kinds_may_be_taken_away(
    machines: Nodes, folder: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, bool]] = []
    room = RayCluster._room

    def noted(self: RayCluster, unit: Unit, ahead: int) -> bool:
        monkeypatch.setattr(ray_cluster, "WAITING_SHARE", 3.5 * 4 * 16_000 * unit.seconds / self._machines.bytes)
        asked.append((ahead, room(self, unit, ahead)))
        return asked[-1][1]

    monkeypatch.setattr(RayCluster, "_room", noted)
    *decoders, computer = machines.have((1, 0), (1, 0), (0, 1))
    (folder / "no write").touch()
    with Going(folder, machines.address, "gpu") as summary:
        # One shard is in the actor's hands, three wait for it, and the other two are not begun.
        until(lambda: seen(folder, "write") and asked.count((3, False)) > 2 and len(seen(folder, "decoded")) == 4, summary)
        assert len(seen(folder, "decode")) == 4
        assert max(ahead for ahead, answer in asked if answer) == 2
        (in_hand,) = seen(folder, "write", computer)
        machines.kill(computer)
        machines.kill(decoders[0])
        successor = machines.add(cpus=0, gpus=1)
        (folder / "no write").unlink()
        assert summary.result().failed == {}
    assert parts(folder / "store") == parts(undisturbed / "store")
    assert seen(folder, "write", computer) == [in_hand]
    assert len(set(seen(folder, "write", successor))) == SHARDS
    lost = {in_hand, *seen(folder, "decoded", decoders[0])}
    assert Counter(seen(folder, "decode")) == {shard: 1 + (shard in lost) for shard in Store(folder / "store").names("tracks")}
    assert not list(folder.glob("* dry"))


def test_a_machine_without_the_store_is_named_and_left_out(
    machines: Nodes, folder: Path, undisturbed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, bare = machines.have((1, 0), (2, 0))
    (folder / f"no store on {bare}").touch()
    with Going(folder, machines.address) as summary:
        assert summary.result().failed == {}
    assert parts(folder / "store") == parts(undisturbed / "store")
    assert "not there on machine" in caplog.text
    assert not seen(folder, "hear", bare)


@pytest.mark.parametrize("window", [0, 1])  # all shards at once, or each when the one before has told that the machine is left out
def test_where_no_machine_has_the_store_each_shard_fails_and_says_so(window: int, machines: Nodes, folder: Path) -> None:
    (bare,) = machines.have((1, 0))
    (folder / f"no store on {bare}").touch()
    with Going(folder, machines.address, window=window) as summary:
        failed = summary.result().failed
    assert len(failed) == SHARDS
    assert all("not there on machine" in message for message in failed.values())


def test_shards_that_wait_for_the_last_good_machine_end_when_it_is_taken_away(
    machines: Nodes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bare = machines.have((1, 0), (1, 0))
    for sign in (f"no hear on {good}", f"no store on {bare}"):
        (folder / sign).touch()
    with Going(folder, machines.address) as summary:
        until(lambda: bool(seen(folder, "hear", good)) and "left out for now" in caplog.text, summary)
        machines.kill(good)
        failed = summary.result().failed
    assert len(failed) == SHARDS
    assert all("not there on machine" in message for message in failed.values())


def test_a_shard_that_ends_every_machine_is_blamed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = object.__new__(RayCluster)
    engine.device, engine._machines = "cpu", object.__new__(ray_cluster.Machines)
    engine._machines._losses = Counter()
    lost = Lost("its process died")
    tried = []

    def ended(queue: deque[Unit]) -> Iterator[tuple[Unit, Elsewhere]]:
        while queue:
            tried.append(queue.popleft())
            yield tried[-1], Elsewhere(lost)

    monkeypatch.setattr(engine, "_fused", ended)
    units = [Unit("store", shard, ONCE, ("logmel",)) for shard in ("one", "two")]
    assert [*engine.run(deque(units))] == [(unit, lost) for unit in units]
    assert Counter(unit.shard for unit in tried) == {"one": SPARED + 1, "two": SPARED + 1}
