"""What 100,000 tracks cost: `python -m tests.benchmarks.cost [ROUNDS]` measures the table of infra/ray/README.md and prints it."""

from __future__ import annotations

import sys

from tests.benchmarks.contestants import earmark
from tests.benchmarks.measure import by_cpu, race

TRACKS = 100_000
SECONDS = (30, 240)
FEW, MANY = 24, 104
ROWS = {
    "log-mel": "logmel",
    "log-mel and MusiCNN, bf16": "logmel_bf16",
    "the same for four views of each clip, three of them augmented": "views",
}


def core_hours(rate: float, seconds: float, tracks: int = TRACKS) -> float:
    """Hours of one core for so many tracks of so many seconds; rate: seconds of sound that one core hears in a second."""
    return tracks * seconds / 3600 / rate


def price(hours: float, cores: int, start: float, core_price: float, head_price: float) -> float:
    """Of a run of so many core hours.

    Args:
        start: hours until a machine works. core_price: of a core hour. head_price: of an hour of the head.
    """
    lasts = hours / cores + start
    return lasts * (cores * core_price + head_price)


def row(recipe: str, rate: float) -> str:
    """A line of the table: of all numbers two digits, as no more are known, and what follows from the rate as it is shown."""
    rate = float(f"{rate:.2g}")
    return f"| {' | '.join([recipe, *map(_short, [rate, *(core_hours(rate, seconds) for seconds in SECONDS)])])} |"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.2g}'):.0f}"


if __name__ == "__main__":
    times = race({name: earmark(recipe, "local") for name, recipe in ROWS.items()}, FEW, MANY, int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    for name, each in times.items():
        print(row(name, each.steady), f"(by CPU {by_cpu(each)})")
