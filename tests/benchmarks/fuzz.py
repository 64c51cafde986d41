"""Try damaged input on everything that reads what others wrote, and print how many inputs each reader was given.

    python -m tests.benchmarks.fuzz --minutes 5 --only M4A answers

Runs the fuzzing tests (tests/test_hostile_*.py) one after another with new seeds for an equal share of the time each. A failure prints
the smallest input that shows it, and the run ends with 1.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def main() -> int:
    """Print a line for each target: inputs tried, and whether one was taken amiss; then the most memory that any took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="of wall clock, over all targets")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of targets' names")
    given = parser.parse_args()
    files = [str(path) for path in sorted((ROOT / "tests").glob("test_hostile_*.py"))]
    listed = subprocess.run([*WORDS, "--collect-only", "-k", "any_", *files], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    targets = [line for line in listed.splitlines() if "::" in line and any(part in line for part in given.only)]
    environment = os.environ | {"EARMARK_FUZZ_SECONDS": str(60 * given.minutes / max(1, len(targets)))}
    failed = 0
    for target in targets:
        done = subprocess.run([*WORDS, "-s", "--timeout=0", target], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        counts = re.findall(r"^\.?(.+: \d+ inputs)$", done.stdout, re.MULTILINE)
        print(*(counts or [target]), "" if not done.returncode else f"FAILED\n{done.stdout[-3000:]}{done.stderr[-1000:]}", flush=True)
        failed += done.returncode != 0
    print(f"{len(targets)} targets, {failed} failed, {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB at most")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
