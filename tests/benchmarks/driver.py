"""A run whose work is simulated, to see what the driver itself takes: `python -m tests.benchmarks.driver STORE`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator

from extractors import LogMel
from pipelines.engines.engine import Outcome
from pipelines.recipe import Recipe
from pipelines.run import run
from pipelines.stage import Heard, Unit
from pipelines.store import Store

RECIPE = Recipe(extract=(LogMel(),))


class Instant:
    """An engine whose work is done as soon as it is taken."""

    workers = 2
    device = "cpu"

    def run(self, queue: deque[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Work until the queue is empty."""
        while queue:
            unit = queue.popleft()
            yield unit, Heard(tracks=1, clips=1, seconds=unit.seconds, bytes=1)

    def close(self) -> None:
        """Nothing to stop."""


if __name__ == "__main__":
    began = time.perf_counter()
    summary = run(Store(sys.argv[1]), RECIPE, Instant())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"shards": summary.shards, "peak_bytes": peak, "seconds": time.perf_counter() - began}))
