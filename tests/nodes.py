"""A Ray cluster of several machines on this one, and work that tells which of them has it and waits until it may go on."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines import stage
from pipelines.engines import ray_cluster, ray_machines
from pipelines.stage import Heard, Unit
from tests.families import end

# A machine counts as gone after two seconds without a word, and what was asked of it is asked elsewhere after one.
SYSTEM = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "object_manager_pull_timeout_ms": 1000,
}
MEMORY = 80 << 20


class Nodes:
    """Machines with raylets of their own. The head has no CPU."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        quick = {"include_dashboard": False, "include_log_monitor": False}
        self.cluster = Cluster(True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "_system_config": SYSTEM} | quick)
        self.address: str = self.cluster.address
        self._nodes: dict[str, tuple[Any, tuple[int, int]]] = {}

    def have(self, *wanted: tuple[int, int]) -> list[str]:
        """The ids of machines with so many CPUs and GPUs each, and no others: those that live are taken, as starting one is dear."""
        living = {name: shape for name, (_, shape) in self._nodes.items()}
        found = []
        for shape in wanted:
            name = next((name for name in living if living[name] == shape), "")
            living.pop(name, None)
            found.append(name)
        for name in living:
            self.kill(name)
        return [name or self.add(*shape) for name, shape in zip(found, wanted, strict=True)]

    def add(self, cpus: int = 1, gpus: int = 0) -> str:
        """A further machine's id."""
        node = self.cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=MEMORY)
        self._nodes[node.node_id] = node, (cpus, gpus)
        return str(node.node_id)

    def kill(self, name: str, workers: bool = True) -> None:
        """What happens to a machine that is taken away; without its workers, only its raylet dies."""
        node, _ = self._nodes.pop(name)
        self.cluster.worker_nodes.discard(node)
        for started in [each for kind in node.all_processes.values() for each in kind]:
            if workers:
                end(started.process)
            else:
                started.process.kill()
                started.process.wait()

    def drain(self, name: str) -> None:
        """What a cloud says before it takes a machine away; it goes when it has nothing in hand."""
        from ray._raylet import GcsClient
        from ray.core.generated import autoscaler_pb2

        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = GcsClient(address=self.address).drain_node(name, reason, "spot", int(time.time() + 600) * 1000)
        assert accepted, why
        self._nodes[name] = self._nodes[name][0], (-1, -1)  # of no use to the next test


@contextlib.contextmanager
def several() -> Iterator[Nodes]:
    """A cluster that ends with the block; in a folder of its own, as Ray notes the latest cluster's address in one."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)  # short: sockets' names are
        nodes = Nodes()
        try:
            yield nodes
        finally:
            nodes.have()
            nodes.cluster.shutdown()


def until(condition: Callable[[], Any], going: Future[Any] | None = None) -> None:
    """Wait for a condition, for as long as a run goes on if that is given."""
    for _ in range(6000):
        if condition():
            return
        if going and going.done():
            raise RuntimeError(f"the run has ended: {going.result()}")
        time.sleep(0.02)
    raise TimeoutError


def hear(unit: Unit) -> Heard:
    """`stage.hear`, watched. Where an orphan is wanted, a process that nobody knows of goes on with the work."""
    _pass("hear", unit, orphan=True)
    return stage.hear(unit)


def decode(unit: Unit) -> Any:
    """`stage.decode`, watched."""
    _pass("decode", unit)
    found = stage.decode(unit)
    _note("decoded", unit)
    return found


class Consumer(ray_cluster._Consumer):
    """The engine's own, watched."""

    def consume(self, unit: Unit, mark: str, decoded: Any) -> Any:
        """What it does."""
        _pass("write", unit)
        return super().consume(unit, mark, decoded)


consumer: Any = ray.remote(num_gpus=1, num_cpus=0, max_restarts=0)(Consumer)


def astray(unit: Unit) -> ray_machines.Astray | None:
    """The engine's own question, on machines of which some do not have the store's disk."""
    node = ray.get_runtime_context().get_node_id()
    return ray_machines.astray(replace(unit, store=unit.store + "x") if _is(f"no store on {node}", unit) else unit)


def seen(folder: Path, step: str, node: str = "") -> list[str]:
    """The shards that came to a step, on any machine or one, in order."""
    found = sorted((path.stat().st_mtime_ns, path.name.split()) for path in folder.glob(f"{step} * {node or '*'} *"))
    return [name[1] for _, name in found]


def _pass(step: str, unit: Unit, orphan: bool = False) -> None:
    node = _note(step, unit)
    if orphan and _is(f"orphan on {node}", unit):
        place = Path(unit.store).parent / "orphan"
        place.write_bytes(pickle.dumps(unit))
        # Not this process's child: Ray ends those of a worker that it ends.
        subprocess.run(["setsid", "--fork", sys.executable, "-m", "tests.nodes", place], check=True)
    while _is(f"no {step}", unit) or _is(f"no {step} on {node}", unit):
        time.sleep(0.02)


def _note(step: str, unit: Unit) -> str:
    node = str(ray.get_runtime_context().get_node_id())
    (Path(unit.store).parent / f"{step} {unit.shard} {node} {time.time_ns()} {'dry' * unit.dry}").touch()
    return node


def _is(name: str, unit: Unit) -> bool:
    return (Path(unit.store).parent / name).exists()


def main() -> None:
    """An orphan: write the parts once that is wanted, and say so."""
    place = Path(sys.argv[1])
    unit: Unit = pickle.loads(place.read_bytes())
    (place.parent / "orphan lives").touch()
    until((place.parent / "orphan may write").exists)
    stage.hear(unit)
    (place.parent / "orphan wrote").touch()


if __name__ == "__main__":
    main()
