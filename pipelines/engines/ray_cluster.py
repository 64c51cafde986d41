"""Ray: one fused task for each shard on CPUs; where there are GPUs, tasks that decode feed actors that compute."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.engines.engine import Failed, Outcome
from pipelines.engines.memory import bounded, share
from pipelines.engines.watchdog import deadline
from pipelines.process import ENVIRONMENT, keep_memory
from pipelines.stage import Heard, Unit, decode, hear, write
from pipelines.store import Store

os.environ.update(ENVIRONMENT)

import ray
from ray import exceptions

from pipelines.engines.ray_door import enter
from pipelines.engines.ray_machines import Astray, Elsewhere, Flight, Machines, astray, marked, note
from pipelines.engines.ray_meters import busy, counted

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "annotation", "augment", "extractors")

# The share of the object store that decoded shards may fill while they wait for a GPU.
WAITING_SHARE = 0.4
# Shards that wait in the cluster's own queue, beyond one for each core: what waits there is what an autoscaler sees, and what a machine
# that joins takes up at once.
AHEAD = 64
# Actors that may fail to start one after the other.
STARTS = 10


class RayCluster:
    """A cluster: a private one on this machine unless an address is given. Machines may join and leave it at any time.

    Args:
        address: of a running cluster ("auto", "ray://host:10001", "host:6379"); empty starts one here.
        workers: shards at once; 0 is one for each CPU of the cluster.
        device: "auto", "cpu" or "gpu"; which of the two is settled here, by whether there is a GPU.
        window: shards in flight; 0 is one for each worker, and those that an autoscaler is to see on a cluster that is not our own.
    Raises:
        ConnectionError: no cluster answers at the address, or it wants a token.
    """

    def __init__(self, address: str = "", workers: int = 0, device: str = "auto", window: int = 0) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        runtime: dict[str, Any] = {"env_vars": dict(ENVIRONMENT)}
        if address:
            # A job carries the project in its working directory; otherwise this very code goes along.
            if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
                runtime["py_modules"] = [str(ROOT / package) for package in PACKAGES]
            enter(address, runtime_env=runtime, **quiet)
        else:
            ray.init(address="local", num_cpus=workers or None, include_dashboard=False, object_store_memory=512 << 20, **quiet)
        self._machines = Machines()
        fed = device != "cpu" and self._machines.gpus > 0
        if device == "gpu" and not fed:
            raise ValueError("run.devices: 'gpu', but the cluster has none; take 'auto' or 'cpu'")
        self.device = "cuda" if fed else "cpu"
        self.workers = workers or self._machines.cores
        self._window = window or workers or (0 if address else self._machines.cores)

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty and nothing is in flight."""
        for unit, outcome in self._fused(queue) if self.device == "cpu" else self._fed(queue):
            if not isinstance(outcome, Elsewhere):
                yield unit, outcome
            elif self._machines.spare(unit):
                queue.append(unit)
            else:
                yield unit, outcome.then

    def close(self) -> None:
        """Leave the cluster; a private one ends with it."""
        ray.shutdown()

    def _fused(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome | Elsewhere]]:
        live: dict[Any, Flight] = {}
        while queue or live:
            self._machines.look()
            while queue and len(live) < self._most():
                self._send(_hear, queue.popleft(), live)
            done, _ = ray.wait(list(live), num_returns=1, timeout=0.5)
            for ref in done:
                flight = live.pop(ref)
                yield flight.unit, self._machines.end(ref, flight)[0]
            self._take_back(live, queue)
            yield from _overdue(live)

    def _fed(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome | Elsewhere]]:
        """Decoding tasks ahead of GPU actors, by no more shards than the object store holds with ease."""
        starting: dict[Any, Any] = {}
        idle: list[tuple[Any, str]] = []
        decoding: dict[Any, Flight] = {}
        ready: deque[tuple[Flight, Any]] = deque()
        consuming: dict[Any, tuple[Flight, Any, str]] = {}
        failures = 0
        while queue or decoding or ready or consuming:
            self._machines.look()
            idle = [each for each in idle if each[1] in self._machines.useful]
            # One is asked for even if the last GPU is gone: another may come.
            while len(starting) + len(idle) + len(consuming) < max(1, self._machines.gpus):
                actor = _consumer.options(**self._machines.options()).remote()
                starting[actor.node.remote()] = actor
            while queue and len(decoding) < self._most():
                unit = queue.popleft()  # how long it is shows when it is taken
                if not self._room(unit, len(decoding) + len(ready)):
                    queue.appendleft(unit)
                    break
                self._send(_decode, unit, decoding)
            while ready and idle:
                (flight, ref), (actor, node) = ready.popleft(), idle.pop()
                flight.since = time.monotonic()
                consuming[actor.consume.remote(flight.unit, flight.mark, ref)] = (flight, actor, node)
            done, _ = ray.wait([*decoding, *consuming, *starting], num_returns=1, timeout=0.5, fetch_local=False)
            for ref in done:
                if ref in decoding:
                    # The sound stays where it was decoded; if decoding failed, the consumer's outcome says so.
                    flight = decoding.pop(ref)
                    flight.decoded = time.time()
                    ready.append((flight, ref))
                elif ref in starting:
                    actor = starting.pop(ref)
                    try:
                        idle.append((actor, ray.get(ref)))
                        failures = 0
                    except exceptions.RayError as error:
                        failures += 1
                        if failures == STARTS:
                            raise ConnectionError(f"no worker starts beside a GPU: {' '.join(str(error).split())}") from error
                else:
                    flight, actor, node = consuming.pop(ref)
                    outcome, cause = self._machines.end(ref, flight, node)
                    # A GPU that failed may go on failing in the same process.
                    if not isinstance(cause, exceptions.RayActorError) and not isinstance(outcome, Failed):
                        idle.append((actor, node))
                    yield flight.unit, outcome
            self._take_back(decoding, queue)
            yield from _overdue(decoding)
            for ref, (flight, actor, _) in list(consuming.items()):
                if flight.late():
                    ray.kill(actor)
                    consuming.pop(ref)
                    yield flight.unit, flight.hung()

    def _send(self, task: Any, unit: Unit, live: dict[Any, Flight]) -> None:
        flight = Flight(unit, barred=self._machines.barred())
        live[task.options(**self._machines.options()).remote(unit, flight.mark)] = flight

    def _take_back(self, live: dict[Any, Flight], queue: deque[Unit]) -> None:
        """Put back into the queue what waits for other machines than one that is left out no longer, or is now the last."""
        for ref, flight in list(live.items()):
            if flight.barred - self._machines.barred() and flight.waits():
                ray.cancel(ref)
                live.pop(ref)
                queue.append(flight.unit)

    def _most(self) -> int:
        """Shards in flight."""
        return self._window or 2 * self._machines.cores + AHEAD

    def _room(self, unit: Unit, ahead: int) -> bool:
        rates = {rate for extractor in unit.recipe.extract for rate in extractor.sample_rates()}
        overlap = max(1.0, (unit.recipe.window.length or 1.0) / (unit.recipe.window.hop or unit.recipe.window.length or 1.0))
        each = 4 * sum(rates) * overlap * unit.seconds * unit.recipe.views.count
        return ahead < 2 or (ahead + 1) * each < WAITING_SHARE * self._machines.bytes


def _overdue(live: dict[Any, Flight]) -> Iterator[tuple[Unit, Outcome]]:
    """End and give up tasks that should have ended themselves."""
    for ref, flight in list(live.items()):
        if flight.late():
            ray.cancel(ref, force=True)
            live.pop(ref)
            yield flight.unit, flight.hung()


@ray.remote(num_cpus=1, max_retries=0)
def _hear(unit: Unit, mark: str) -> Heard | Astray:
    with _guarded(unit, mark), busy("cpu"):
        return astray(unit) or counted(hear(unit))


@ray.remote(num_cpus=1, max_retries=0)
def _decode(unit: Unit, mark: str) -> Any:
    with _guarded(unit, mark), busy("cpu"):
        return astray(unit) or decode(unit)


class _Consumer:
    """A worker that owns a GPU; its extractors stay open from shard to shard."""

    def node(self) -> str:
        """The machine that it came to life on."""
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def consume(self, unit: Unit, mark: str, decoded: Any) -> Heard | Astray:
        if isinstance(decoded, Astray):
            return decoded
        batches, heard = decoded
        # Without CUDA torch does on the CPU ("cpu:0") what is pending; without views nothing is, and NumPy is faster.
        device = unit.device if _has_cuda() else "cpu:0" if unit.recipe.augment else "cpu"
        with _guarded(unit, mark, os.cpu_count() or 1), busy("gpu"):
            return astray(unit) or counted(write(unit, Store(unit.store, founded=True), heard, batches, device))


_consumer: Any = ray.remote(num_gpus=1, num_cpus=0, max_restarts=0)(_Consumer)


@contextlib.contextmanager
def _guarded(unit: Unit, mark: str, workers: int = 1) -> Iterator[None]:
    """The worker ends if the unit does not, or takes the memory of more workers; time in a queue does not count."""
    keep_memory()
    most = share(unit.recipe.run.memory_gb, workers)
    with marked(mark), deadline(unit.deadline()), bounded(most, functools.partial(note, mark)):
        yield


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
