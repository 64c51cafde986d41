"""Random schedules of faults, one a seed, and what became of the rows: `python -m tests.benchmarks.faults --seeds 100`."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.schedules import Collection


def main() -> int:
    """Print a line for each seed, and a summary; 1 if any went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (%(default)s)")
    options = parser.parse_args()
    events: Counter[str] = Counter()
    bad: list[int] = []
    looks = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection(Path(folder))
        for seed in range(options.first, options.first + options.seeds):
            at = time.monotonic()
            story = collection.play(seed)
            events.update(story.events)
            looks += story.seen
            bad += [] if story.good else [seed]
            found = (
                "as undisturbed"
                if story.good
                else f"WRONG: {story.failed} {story.rejects} {story.wrong[:3]} {story.left[:3]} rows right: {story.right}"
            )
            print(f"seed {seed:3}  {time.monotonic() - at:5.1f} s  {story}: {found}", flush=True)
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{options.seeds} schedules in {(time.monotonic() - began) / 60:.1f} min, {used / 60:.1f} min of processor time waited for")
    print(f"{looks} looks at parts by the reader; wrong: {bad or 'none'}")
    print(", ".join(f"{count} × {event}" for event, count in events.most_common()))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
