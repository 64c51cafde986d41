"""Whole processes against each other, in turns and on the same two cores.

Each is run over a few files and over many. The difference is steady work: whatever starting up costs is in both and cancels.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.benchmarks.corpus import SECONDS

ROOT = Path(__file__).resolve().parents[2]
CORES = sorted(os.sched_getaffinity(0))[:2]

# Gives the command for a number of files, everything cleared that an earlier one left.
Make = Callable[[int], list[str]]


@dataclass
class Times:
    """What one contestant took: wall and CPU seconds of each round, over few files and over many."""

    few: int
    many: int
    wall: dict[int, list[float]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)
    peak_bytes: int = 0

    def add(self, files: int, wall: float, cpu: float) -> None:
        """Note one run."""
        self.wall.setdefault(files, []).append(wall)
        self.cpu.setdefault(files, []).append(cpu)

    @property
    def seconds_per_file(self) -> float:
        """Wall seconds of one core for each further file."""
        return len(CORES) * self._slope(self.wall)

    @property
    def steady(self) -> float:
        """Times real time per core, beyond start-up."""
        return SECONDS / self.seconds_per_file

    @property
    def steady_cpu(self) -> float:
        """Seconds of sound per second of CPU, beyond start-up: what remains of `steady` where others use the cores too."""
        return SECONDS / self._slope(self.cpu)

    @property
    def overall(self) -> float:
        """Times real time per core over many files, start-up included."""
        return SECONDS * self.many / statistics.median(self.wall[self.many]) / len(CORES)

    @property
    def start_up(self) -> float:
        """Wall seconds before and after the work."""
        return max(0.0, statistics.median(self.wall[self.few]) - self.few * self._slope(self.wall))

    def _slope(self, times: dict[int, list[float]]) -> float:
        return (statistics.median(times[self.many]) - statistics.median(times[self.few])) / (self.many - self.few)


def race(contestants: dict[str, Make], few: int, many: int, rounds: int) -> dict[str, Times]:
    """Run all of them in turns; one more run over many files, which does not count, measures memory and warms caches."""
    times = {name: Times(few, many) for name in contestants}
    for name, make in contestants.items():
        times[name].peak_bytes = peak(make(many))
    for _ in range(rounds):
        for files in (few, many):
            for name, make in contestants.items():
                times[name].add(files, *timed(make(files)))
    return times


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and CPU seconds (of all its processes that have been waited for) of a command.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        child = _start(command, said)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        _check(child, said)
    return wall, used.ru_utime + used.ru_stime


def peak(command: Sequence[str], every: float = 0.1) -> int:
    """The most bytes that a command's processes held together; what they share counts once (PSS)."""
    most = 0
    with tempfile.TemporaryFile("w+") as said:
        child = _start(command, said)
        parent = psutil.Process(child.pid)
        while child.poll() is None:
            held = 0
            try:
                for process in [parent, *parent.children(recursive=True)]:
                    held += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                pass
            most = max(most, held)
            time.sleep(every)
        _check(child, said)
    return most


def by_cpu(times: Times) -> str:
    """`steady_cpu`, if all the work was done by processes whose CPU time comes back: that of Ray's workers does not."""
    return f"{times.steady_cpu:.0f}" if times.steady_cpu < 2 * times.steady else "-"


def table(times: dict[str, Times]) -> str:
    """One line for each contestant, and what each is of the first."""
    lines = [f"{'x real time per core':34} {'steady':>8} {'by CPU':>8} {'with start':>11} {'start s':>8} {'peak MB':>8} {'first / it':>10}"]
    first = next(iter(times.values()))
    for name, each in times.items():
        lines.append(
            f"{name:34} {each.steady:8.0f} {by_cpu(each):>8} {each.overall:11.0f} {each.start_up:8.2f}"
            f" {each.peak_bytes / 1e6:8.0f} {first.steady / each.steady:10.2f}"
        )
    return "\n".join(lines)


def _start(command: Sequence[str], said: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["taskset", "--cpu-list", ",".join(map(str, CORES)), *command]
    return subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)  # type: ignore[call-overload]


def _check(child: subprocess.Popen[bytes], said: object) -> None:
    if child.returncode:
        said.seek(0)  # type: ignore[attr-defined]
        raise RuntimeError(f"{child.args[3:6]} … ended with {child.returncode}:\n{said.read()[-3000:]}")  # type: ignore[attr-defined]


if __name__ == "__main__":
    from tests.benchmarks.contestants import RACES

    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    if chosen not in RACES:
        sys.exit(f"python -m tests.benchmarks.measure RACE [ROUNDS], where RACE is one of {', '.join(RACES)}")
    entered, few, many = RACES[chosen]
    print(table(race(entered, few, many, int(sys.argv[2]) if len(sys.argv) > 2 else 3)))
