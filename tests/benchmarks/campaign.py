"""A whole campaign, timed: `python -m tests.benchmarks.campaign [CLIPS]` (1000). Five people, three for each clip, all at once.

Ends with an error unless what was pulled is what was said, exactly.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from annotation.results import to_result
from annotation.studio import Studio
from pipelines.campaigns.cli import CHANGES
from tests.studio import StudioProcess
from tests.whole_campaign import answer, opinion, whole

T = TypeVar("T")
TRACK_SECONDS = 60.0
CHANGED = 50


def timed(what: str, act: Callable[[], T]) -> T:
    """Do it and say how long it took."""
    began = time.perf_counter()
    made = act()
    print(f"{what:44} {time.perf_counter() - began:8.2f} s", flush=True)
    return made


def main(clips: int) -> None:
    """The campaign from recordings to labels, then some changes."""
    server = StudioProcess()
    try:
        with tempfile.TemporaryDirectory() as folder, whole(Path(folder), server, "bench", clips // 20, TRACK_SECONDS) as made:
            timed(f"plan of {clips} clips, which cuts them", lambda: made.command("plan", code=CHANGES))
            timed("apply", lambda: made.command("apply"))
            timed("apply again", lambda: made.command("apply"))
            people = [server.account(f"bench-{number}") for number in range(5)]
            said = timed(f"{3 * clips} answers by 5 people at once", lambda: answer(made, people))
            timed("pull", lambda: made.command("pull"))
            exact(made.standing() == said)
            own = Studio(server.url, people[0].token)
            index = own.index(own.project("bench")[0])
            for there in index[:CHANGED]:
                labels = opinion(random.Random(there.id), people[0].email, "t", "c", 3.0)
                own.annotate(there.id, to_result(labels, made.desk.campaign), lead_time=1.0)
            pulled = timed(f"incremental pull of {CHANGED} changes", lambda: made.command("pull"))
            exact(pulled["answers"] == CHANGED)
            timed("full reconcile", lambda: made.command("pull", "--full"))
            timed("status", lambda: made.command("status"))
    finally:
        server.close()
    print("what was pulled is what was said, exactly")


def exact(holds: bool) -> None:
    """Raises: RuntimeError unless it holds."""
    if not holds:
        raise RuntimeError("what was pulled is not what was said")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
