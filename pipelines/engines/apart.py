"""Work in a process of its own, for work that may end its process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from extractors.uri import shown
from pipelines.engines.engine import Lost, Outcome, raised
from pipelines.engines.memory import GREEDY, bounded, reason, share
from pipelines.entries import Entry, Problem
from pipelines.identify import Identity, identify
from pipelines.stage import Unit, hear
from pipelines.tracks import Held

# Seconds that a file's header and tags may take; its bytes are read at ten megabytes a second at least.
_IDENTIFY_SECONDS, _BYTES_A_SECOND = 60.0, 10e6


def hear_apart(unit: Unit) -> Outcome:
    """Run one unit in a child process, for as long as its deadline allows."""
    end, outcome = _apart(_hear, unit, unit.deadline())
    if end is None:
        return Lost(unit.overdue())
    if end == GREEDY:
        return Lost(reason(share(unit.recipe.run.memory_gb)))
    if end != 0:
        return Lost(f"its process ended with {end}")
    found: Outcome = outcome
    return found


def identify_apart(entry: Entry, held: Held | None) -> Identity | Problem | None:
    """Read a file in a child process; one that ends it is a problem like others."""
    end, found = _apart(_identify, (entry, held), _IDENTIFY_SECONDS + (entry.bytes or 0) / _BYTES_A_SECOND)
    if end == 0:
        known: Identity | Problem | None = found
        return known
    what = "does not end" if end is None else f"ended with {end}"
    name = shown(entry.uri)
    return Problem("poison", f"{name}: the process that opened it {what}", "convert the file with another program and scan again")


def _apart(function: Callable[[Any], Any], argument: Any, seconds: float) -> tuple[int | None, Any]:
    """What a child process makes of something: how it ended, None if it did not, and what it gave back."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen(
        [sys.executable, "-m", "pipelines.engines.apart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        said, _ = child.communicate(pickle.dumps((function.__name__, argument)), seconds)
    except subprocess.TimeoutExpired:
        return None, None
    finally:
        if child.returncode is None:
            child.kill()  # and it is not waited for: one that waits for a disk may end much later
        for stream in (child.stdin, child.stdout):
            if stream:
                stream.close()
    return child.returncode, pickle.loads(said) if child.returncode == 0 else None


def _hear(unit: Unit) -> Outcome:
    try:
        with bounded(share(unit.recipe.run.memory_gb)):
            return hear(unit)
    except Exception as error:  # noqa: BLE001 - every exception is an outcome; the parent reports it
        return raised(error)


def _identify(asked: tuple[Entry, Held | None]) -> Identity | Problem | None:
    with bounded(share()):
        return identify(*asked)


def main() -> None:
    """Read what to do, pickled, from standard input, write what came of it, pickled, to standard output."""
    from pipelines.process import keep_memory, single_threaded

    single_threaded()
    keep_memory()
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answer
    name, argument = pickle.load(sys.stdin.buffer)
    functions: dict[str, Callable[[Any], Any]] = {each.__name__: each for each in (_hear, _identify)}
    found = functions[name](argument)
    with os.fdopen(answer, "wb") as out:
        pickle.dump(found, out)


if __name__ == "__main__":
    main()
