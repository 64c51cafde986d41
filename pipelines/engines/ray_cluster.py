"""Ray: one fused task for each shard on CPUs; where there are GPUs, tasks that decode feed actors that compute."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pipelines.engines.engine import Failed, Lost, Outcome
from pipelines.engines.watchdog import deadline
from pipelines.process import ENVIRONMENT, keep_memory
from pipelines.stage import Heard, Unit, decode, hear, write
from pipelines.store import Store

os.environ.update(ENVIRONMENT)

import ray
from ray import exceptions
from ray.util import metrics

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "annotation", "augment", "extractors")

# The share of the object store that decoded shards may fill while they wait for a GPU.
WAITING_SHARE = 0.4
# Seconds beyond a worker's own deadline after which the driver ends it: a backstop for a watchdog that is gone too.
MARGIN = 30.0

_DEATHS = (
    exceptions.WorkerCrashedError,
    exceptions.RayActorError,
    exceptions.ObjectLostError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
    exceptions.TaskCancelledError,
    exceptions.RaySystemError,
)


class RayCluster:
    """A cluster: a private one on this machine unless an address is given.

    Args:
        address: of a running cluster ("auto", "ray://host:10001", "host:6379"); empty starts one here.
        workers: shards at once; 0 is one for each CPU of the cluster.
        device: "auto", "cpu" or "gpu".
        window: shards in flight; 0 is one for each worker.
    Raises:
        ConnectionError: no cluster answers at the address.
    """

    def __init__(self, address: str = "", workers: int = 0, device: str = "auto", window: int = 0) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        runtime: dict[str, Any] = {"env_vars": dict(ENVIRONMENT)}
        if address:
            # A job carries the project in its working directory; otherwise this very code goes along.
            if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
                runtime["py_modules"] = [str(ROOT / package) for package in PACKAGES]
            ray.init(address=address, runtime_env=runtime, **quiet)
        else:
            ray.init(address="local", num_cpus=workers or None, include_dashboard=False, object_store_memory=512 << 20, **quiet)
        resources = ray.cluster_resources()
        cores = int(resources.get("CPU", 1))
        self.gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
        if device == "gpu" and not self.gpus:
            raise ValueError("run.devices: 'gpu', but the cluster has none; take 'auto' or 'cpu'")
        self.device = "cuda" if self.gpus else "cpu"
        self.workers = min(workers, cores) if workers else cores
        self._window = window or self.workers
        self._waiting_bytes = WAITING_SHARE * resources.get("object_store_memory", 512 << 20)

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty and nothing is in flight."""
        return self._fed(queue) if self.gpus else self._fused(queue)

    def close(self) -> None:
        """Leave the cluster; a private one ends with it."""
        ray.shutdown()

    def _fused(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        live: dict[Any, tuple[Unit, float]] = {}
        while queue or live:
            while queue and len(live) < self._window:
                unit = queue.popleft()
                live[_hear.remote(unit)] = (unit, time.monotonic())
            done, _ = ray.wait(list(live), num_returns=1, timeout=0.5)
            for ref in done:
                unit, began = live.pop(ref)
                yield unit, _outcome(ref, unit, began)
            for ref, (unit, began) in list(live.items()):
                # Tasks beyond the workers' number are queued first, so they get that much longer.
                rounds = -(-self._window // self.workers)
                if time.monotonic() - began > rounds * unit.deadline() + MARGIN:
                    ray.cancel(ref, force=True)
                    live.pop(ref)
                    yield unit, Lost(f"no end after {unit.deadline():.0f} s")

    def _fed(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Decoding tasks ahead of GPU actors, by no more shards than the object store holds with ease."""
        idle = [_consumer.remote() for _ in range(self.gpus)]
        decoding: dict[Any, tuple[Unit, float]] = {}
        ready: deque[tuple[Unit, Any]] = deque()
        consuming: dict[Any, tuple[Unit, float, Any]] = {}
        while queue or decoding or ready or consuming:
            while queue and len(decoding) < self.workers and self._room(queue[0], len(decoding) + len(ready)):
                unit = queue.popleft()
                decoding[_decode.remote(unit)] = (unit, time.monotonic())
            while ready and idle:
                (unit, ref), actor = ready.popleft(), idle.pop()
                consuming[actor.consume.remote(unit, ref)] = (unit, time.monotonic(), actor)
            done, _ = ray.wait([*decoding, *consuming], num_returns=1, timeout=0.5, fetch_local=False)
            for ref in done:
                if ref in decoding:
                    unit, began = decoding.pop(ref)
                    # The sound stays where it was decoded; if decoding failed, the consumer's outcome says so.
                    ready.append((unit, ref))
                else:
                    unit, began, actor = consuming.pop(ref)
                    outcome = _outcome(ref, unit, began)
                    idle.append(_consumer.remote() if isinstance(outcome, Lost) else actor)
                    yield unit, outcome
            for ref, (unit, began) in list(decoding.items()):
                if time.monotonic() - began > unit.deadline() + MARGIN:
                    ray.cancel(ref, force=True)
                    decoding.pop(ref)
                    yield unit, Lost(f"no end after {unit.deadline():.0f} s")
            for ref, (unit, began, actor) in list(consuming.items()):
                if time.monotonic() - began > unit.deadline() + MARGIN:
                    ray.kill(actor)
                    consuming.pop(ref)
                    idle.append(_consumer.remote())
                    yield unit, Lost(f"no end after {unit.deadline():.0f} s")

    def _room(self, unit: Unit, ahead: int) -> bool:
        rates = {rate for extractor in unit.recipe.extract for rate in extractor.sample_rates()}
        overlap = max(1.0, (unit.recipe.window.length or 1.0) / (unit.recipe.window.hop or unit.recipe.window.length or 1.0))
        each = 4 * sum(rates) * overlap * unit.seconds * unit.recipe.views.count
        return ahead < 2 or (ahead + 1) * each < self._waiting_bytes


@ray.remote(num_cpus=1, max_retries=0)
def _hear(unit: Unit) -> Heard:
    with _guarded(unit), _busy("cpu"):
        return _counted(hear(unit))


@ray.remote(num_cpus=1, max_retries=0)
def _decode(unit: Unit) -> Any:
    with _guarded(unit), _busy("cpu"):
        return decode(unit)


class _Consumer:
    """A worker that owns a GPU; its extractors stay open from shard to shard."""

    def consume(self, unit: Unit, decoded: Any) -> Heard:
        batches, heard = decoded
        # Without CUDA torch does on the CPU ("cpu:0") what is pending; without views nothing is, and NumPy is faster.
        device = unit.device if _has_cuda() else "cpu:0" if unit.recipe.augment else "cpu"
        with _guarded(unit), _busy("gpu"):
            return _counted(write(unit, Store(unit.store), heard, batches, device))


_consumer: Any = ray.remote(num_gpus=1, num_cpus=0, max_restarts=0)(_Consumer)


def _guarded(unit: Unit) -> AbstractContextManager[None]:
    """The worker ends if the unit does not; time in a queue does not count."""
    keep_memory()
    return deadline(unit.deadline())


@functools.cache
def _meters() -> tuple[metrics.Gauge, dict[str, metrics.Counter]]:
    """What Ray's exporter shows to Prometheus of each worker: rate(ray_earmark_sound_seconds_total[5m]) is times real time."""
    said = {
        "tracks": "recordings heard",
        "clips": "clips heard",
        "sound_seconds": "seconds of sound heard",
        "rejects": "files and views that could not be used",
        "stored_bytes": "bytes of parts that were written",
    }
    gauge = metrics.Gauge("earmark_busy", "1 while a worker works on a shard", tag_keys=("device",))
    return gauge, {name: metrics.Counter(f"earmark_{name}", words) for name, words in said.items()}


@contextlib.contextmanager
def _busy(device: str) -> Iterator[None]:
    """Occupancy: the mean of this gauge over workers and time."""
    gauge = _meters()[0]
    gauge.set(1, {"device": device})
    try:
        yield
    finally:
        gauge.set(0, {"device": device})


def _counted(heard: Heard) -> Heard:
    counters = _meters()[1]
    found = (heard.tracks, heard.clips, heard.seconds, len(heard.rejects), heard.bytes)
    for counter, value in zip(counters.values(), found, strict=True):
        if value:  # a counter takes no zero
            counter.inc(value)
    return heard


def _outcome(ref: Any, unit: Unit, began: float) -> Outcome:
    try:
        heard: Heard = ray.get(ref)
    except exceptions.RayTaskError as error:
        # A dependency's death arrives wrapped as the consumer's error.
        if isinstance(error.cause, _DEATHS):
            return Lost(_reason(unit, began))
        return Failed(f"{type(error.cause).__name__}: {error.cause}")
    except _DEATHS:
        return Lost(_reason(unit, began))
    return heard


def _reason(unit: Unit, began: float) -> str:
    if time.monotonic() - began >= unit.deadline():
        return f"no end after {unit.deadline():.0f} s"
    return "its process died"


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
