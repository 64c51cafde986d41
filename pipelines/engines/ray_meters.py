"""What Ray's exporter shows Prometheus of each worker; infra/dashboards/ray.json draws it."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray.util import metrics

from pipelines.stage import Heard

# Counters alone: Ray's exporter drops a gauge half a minute after it was set, and many a shard takes longer.
COUNTERS = {
    "tracks": "recordings heard",
    "clips": "clips heard",
    "sound_seconds": "seconds of sound heard; its rate is times real time",
    "rejects": "files and views that could not be used",
    "stored_bytes": "bytes of parts that were written",
    "busy_seconds": "seconds that workers had a shard in hand, by device; the rate over all, for each core or GPU, is occupancy",
}
EVERY = 5.0  # seconds between two countings of a shard's own time
# A counter takes no zero, and one that is first seen with all that it counted has not grown, for Prometheus. This adds nothing.
BEGIN = sys.float_info.min


@contextmanager
def busy(device: str) -> Iterator[None]:
    """Count the time of a shard while it passes, so that a long one is not counted at its end alone."""
    counter, since, ended = _counters()["busy_seconds"], time.monotonic(), threading.Event()
    counter.inc(BEGIN, {"device": device})

    def count(since: float) -> None:
        over = False
        while not over:
            over = ended.wait(EVERY)
            now = time.monotonic()
            counter.inc(now - since, {"device": device})
            since = now

    clock = threading.Thread(target=count, args=(since,), daemon=True)
    clock.start()
    try:
        yield
    finally:
        ended.set()
        clock.join()


def counted(heard: Heard) -> Heard:
    """Count what came of a shard, and pass it on."""
    found = (heard.tracks, heard.clips, heard.seconds, len(heard.rejects), heard.bytes)
    for name, value in zip(COUNTERS, found, strict=False):
        if value:
            _counters()[name].inc(value)
    return heard


@functools.cache
def _counters() -> dict[str, metrics.Counter]:
    tags = {"busy_seconds": ("device",)}
    counters = {name: metrics.Counter(f"earmark_{name}", words, tag_keys=tags.get(name)) for name, words in COUNTERS.items()}
    for name in COUNTERS.keys() - tags:
        counters[name].inc(BEGIN)
    return counters
