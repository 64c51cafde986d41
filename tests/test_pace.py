"""The estimate of a run's end, against schedules whose end is known."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.pace import Pace


def ends(durations: Sequence[float], workers: int, start: float = 0.0) -> list[float]:
    """When each shard ends, on workers that take one after the other."""
    free = [start] * workers
    found = []
    for duration in durations:
        found.append(heapq.heappop(free) + duration)
        heapq.heappush(free, found[-1])
    return sorted(found)


def estimates(told: Sequence[float]) -> list[tuple[float, float]]:
    """After each shard that let something be known: the share of the run that is over, and estimate / truth."""
    pace, found = Pace(0.0), []
    for settled, now in enumerate(told, 1):
        pace.told(settled, now)
        rate = pace.rate()
        if rate and told[-1] > now:
            found.append((now / told[-1], (len(told) - settled) / rate / (told[-1] - now)))
    return found


def test_one_worker_on_equal_shards_is_known_exactly_from_the_second_on() -> None:
    found = estimates(ends([30.0] * 50, 1))
    assert len(found) == 48
    assert [ratio for _, ratio in found] == pytest.approx([1.0] * 48)


@pytest.mark.parametrize("workers", [4, 16, 100])
@pytest.mark.parametrize("seconds", [7.0, 30.0, 400.0])
@pytest.mark.parametrize("start", [0.0, 20.0])
def test_many_workers_on_equal_shards_never_look_faster_than_they_are(workers: int, seconds: float, start: float) -> None:
    found = estimates(ends([seconds] * 40 * workers, workers, start))
    assert all(0.99 <= ratio <= 2.2 for _, ratio in found)
    # Half of the rounds so far are in the pace; one of them has only begun to count, and so has one of those that are left.
    assert all(ratio <= 1.3 for share, ratio in found if 0.5 < share < 0.8)


@pytest.mark.parametrize("seed", range(5))
def test_uneven_shards_in_the_order_of_digests_are_known_within_a_quarter_once_a_tenth_is_done(seed: int) -> None:
    durations = np.random.default_rng(seed).lognormal(np.log(30), 0.7, 2000).tolist()
    found = estimates(ends(durations, 8))
    assert all(0.75 < ratio < 1.25 for share, ratio in found if 0.1 < share < 0.9)


def test_a_pace_follows_machines_that_join() -> None:
    before = ends([30.0] * 200, 4)
    told = before + [before[-1] + end for end in ends([30.0] * 4000, 16)]
    assert all(0.99 < ratio < 1.15 for share, ratio in estimates(told) if 0.35 < share < 0.9)


def test_a_stall_makes_the_end_later() -> None:
    pace = Pace(0.0)
    for number in range(1, 11):
        pace.told(number, 30.0 * number)
    before = pace.rate()
    pace.told(10, 600.0)
    after = pace.rate()
    assert before == pytest.approx(1 / 30)
    assert after == pytest.approx(1 / 60)


def test_of_a_run_that_lasts_little_is_held() -> None:
    pace = Pace(0.0)
    for number in range(1, 100_001):
        pace.told(number, 0.01 * number)
    assert len(pace._settled) < 62_000
    assert pace.rate() == pytest.approx(100.0)
