"""A unit of work in a process of its own, for work that may end its process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

from pipelines.engines.engine import Lost, Outcome, raised
from pipelines.engines.memory import GREEDY, bounded, reason, share
from pipelines.stage import Unit


def hear_apart(unit: Unit) -> Outcome:
    """Run one unit in a child process, for as long as its deadline allows."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "pipelines.engines.apart"],
            input=pickle.dumps(unit),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=unit.deadline(),
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Lost(f"no end after {unit.deadline():.0f} s")
    if child.returncode == GREEDY:
        return Lost(reason(share(unit.recipe.run.memory_gb)))
    if child.returncode != 0:
        return Lost(f"its process ended with {child.returncode}")
    outcome: Outcome = pickle.loads(child.stdout)
    return outcome


def main() -> None:
    """Read a pickled unit from standard input, write the pickled outcome to standard output."""
    from pipelines.process import keep_memory, single_threaded

    single_threaded()
    keep_memory()
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answer
    from pipelines.stage import hear

    outcome: Outcome
    try:
        unit: Unit = pickle.load(sys.stdin.buffer)
        with bounded(share(unit.recipe.run.memory_gb)):
            outcome = hear(unit)
    except Exception as error:  # noqa: BLE001 - every exception is an outcome; the parent reports it
        outcome = raised(error)
    with os.fdopen(answer, "wb") as out:
        pickle.dump(outcome, out)


if __name__ == "__main__":
    main()
