"""The machines of a Ray cluster: how many there are just now, and what the end of a task says of its machine rather than of the task."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import exceptions
from ray.experimental import internal_kv

from pipelines.engines.engine import Failed, Lost, Outcome, raised
from pipelines.part import StoreError
from pipelines.stage import Heard, Unit
from pipelines.store import Store

# Seconds between two looks at the cluster.
LOOK = 2.0
# Seconds for which a machine without the store is left alone.
ALONE = 60.0
# Machines that a unit may lose before that counts against it. Of many machines that are lent for as long as nobody pays more, some
# will take an innocent shard with them twice; a shard that ends every machine it is on must be found nevertheless.
SPARED = 3
# Seconds beyond a worker's own deadline after which the driver ends it: a backstop for a watchdog that is gone too.
MARGIN = 30.0

_NOTES = b"earmark"
_log = logging.getLogger(__name__)

_DEATHS = (
    exceptions.WorkerCrashedError,
    exceptions.RayActorError,
    exceptions.ObjectLostError,
    exceptions.NodeDiedError,
    exceptions.TaskCancelledError,
    exceptions.RaySystemError,
)
# Lost sound lay on a machine that is gone; an actor whose machine is gone is unreachable first, and dead later.
_OF_MACHINES = (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.ActorUnavailableError)


@dataclass
class Flight:
    """A unit on its way.

    mark: under which its worker leaves word. since: by the monotonic clock, when it was sent or last looked after.
    decoded: by the clock of the day, when its sound was there; 0 is not yet. barred: machines that it may not run on.
    """

    unit: Unit
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    since: float = field(default_factory=time.monotonic)
    decoded: float = 0.0
    begun: bool = False
    barred: frozenset[str] = frozenset()

    def waits(self) -> bool:
        """Whether it has not begun."""
        return not _noted(self.mark)

    def late(self) -> bool:
        """Whether it has been at work for too long. It may wait for a machine, or for other people's work, as long as it must."""
        if time.monotonic() - self.since <= self.unit.deadline() + MARGIN:
            return False
        late, self.begun = self.begun, bool(_noted(self.mark))
        self.since = time.monotonic()
        return late

    def lost(self) -> Lost:
        """What it means that its worker is gone."""
        word = _noted(self.mark)
        if not word:
            return Lost("its process died")
        internal_kv._internal_kv_del(self.mark, namespace=_NOTES)
        try:
            began = float(word)
        except ValueError:
            return Lost(word)
        # If its sound came later than that, it was the decoder that died, and waited to be found dead.
        end = self.decoded if self.decoded > began else time.time()
        return self.hung() if end - began >= self.unit.deadline() else Lost("its process died")

    def hung(self) -> Lost:
        """What it means that it does not end."""
        return Lost(self.unit.overdue())


@dataclass(frozen=True)
class Astray:
    """What a worker gives back where the store is not to be seen."""

    node: str
    message: str


@dataclass(frozen=True)
class Elsewhere:
    """An end that is its machine's fault. then: what it comes to if other machines do no better."""

    then: Outcome


class Machines:
    """What the cluster has: cores, GPUs, bytes of object store beside the cores, and the ids of its useful machines.

    It changes: machines are added, drained, taken away.
    """

    def __init__(self) -> None:
        self.cores = self.gpus = self.bytes = 0
        self.useful: frozenset[str] = frozenset()
        self._looked = 0.0
        self._astray: dict[str, float] = {}
        self._losses: Counter[tuple[Any, ...]] = Counter()
        self.look()

    def look(self, now: bool = False) -> None:
        """See what has changed, every few seconds."""
        if not now and self._looked and time.monotonic() - self._looked < LOOK:
            return
        waited, self._looked = self._looked and not self.cores, time.monotonic()
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        self._astray = {node: at for node, at in self._astray.items() if self._looked - at < ALONE and node in alive}
        self.useful = frozenset(alive) - self._astray.keys()
        used = [alive[node] for node in self.useful]
        self.cores = int(sum(each.get("CPU", 0) for each in used))
        self.gpus = int(sum(each.get("GPU", 0) for each in used))
        self.bytes = int(sum(each.get("object_store_memory", 0) for each in used if each.get("CPU")))
        if not self.cores and not waited:
            _log.warning("no machine of the cluster has a CPU for shards just now; they wait for one")

    def options(self) -> dict[str, Any]:
        """Where tasks may run: on all machines but those that are left out."""
        barred = self.barred()
        return {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(barred))})"}} if barred else {}

    def barred(self) -> frozenset[str]:
        """Machines that are left out, as they do not see the store; none where no other is left: what runs there says so itself."""
        return frozenset(self._astray) if self.cores else frozenset()

    def end(self, ref: Any, flight: Flight, node: str = "") -> tuple[Outcome | Elsewhere, BaseException | None]:
        """How a unit ended, and the error if there was one. node: of the actor that had it."""
        try:
            found: Heard | Astray = ray.get(ref)
        except exceptions.RayError as error:
            # A dependency's death arrives wrapped as the consumer's error.
            cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
            if isinstance(cause, exceptions.OutOfMemoryError):
                return Lost("its machine ran out of memory; take fewer workers, or machines with more of it", blameless=True), cause
            if isinstance(cause, _DEATHS):
                if isinstance(cause, exceptions.RayActorError):
                    self.look(now=True)
                of_machine = isinstance(cause, _OF_MACHINES) or (isinstance(cause, exceptions.RayActorError) and node not in self.useful)
                return Elsewhere(flight.lost()) if of_machine else flight.lost(), cause
            if isinstance(error, exceptions.RayTaskError):
                return raised(cause), cause
            # A machine that cannot make a worker's environment, or whose disk is full.
            return Elsewhere(Failed(f"{type(cause).__name__}: {' '.join(str(cause).split())}")), cause
        return self._left(found, flight.unit) if isinstance(found, Astray) else found, None

    def _left(self, astray: Astray, unit: Unit) -> Outcome | Elsewhere:
        failed = Failed(astray.message)
        try:
            Store(unit.store).present()
        except StoreError:
            return failed  # the store's fault
        if astray.node not in self._astray:
            _log.warning(f"{astray.message}; it is left out for now")
        self._astray[astray.node] = time.monotonic()
        self.look(now=True)
        return Elsewhere(failed) if self.cores else failed

    def spare(self, unit: Unit) -> bool:
        """Whether a unit that lost its machine is tried again as if nothing had happened."""
        key = (unit.shard, unit.part, unit.tracks, unit.dry)
        self._losses[key] += 1
        return self._losses[key] <= SPARED


@contextlib.contextmanager
def marked(mark: str) -> Iterator[None]:
    """In a worker: leave word of when it began. The word of a worker that dies stays."""
    note(mark, repr(time.time()))
    try:
        yield
    finally:
        internal_kv._internal_kv_del(mark, namespace=_NOTES)


def note(mark: str, word: str) -> None:
    """In a worker: leave word with the cluster, such as why it ends, of which Ray tells the driver nothing."""
    internal_kv._internal_kv_put(mark, word, namespace=_NOTES)


def _noted(mark: str) -> str:
    return (internal_kv._internal_kv_get(mark, namespace=_NOTES) or b"").decode()


def astray(unit: Unit) -> Astray | None:
    """In a worker: whether this machine lacks the store. A bucket is the same from everywhere."""
    store = Store(unit.store)
    if not store.local:
        return None
    try:
        store.present()
    except StoreError:
        address, node = ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()
        return Astray(node, f"{unit.store}: not there on machine {address}; mount it on every machine, or take a bucket")
    return None
