"""What agreement costs: a million votes, with their intervals."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from annotation.agreement.agreement import agreement
from annotation.question import Question
from annotation.votes import Votes

DRAWS = 1000


def simulated(clips: int, people: int, tags: int, share: float, error: float) -> Votes:
    """People, out of fifty, who hear the same tags but for errors."""
    rng = np.random.default_rng(0)
    clip = np.repeat(np.arange(clips), people)
    annotator = np.argsort(rng.random((clips, 50)), axis=1)[:, :people].ravel()
    said = (rng.random((clips, tags)) < share)[clip] ^ (rng.random((len(clip), tags)) < error)
    answer, value = np.nonzero(said)
    names, whole, unknown = tuple(map(str, range(clips))), np.full(len(answer), np.nan), np.full(len(clip), np.nan)
    people_, values = (tuple(f"{what}{number}" for number in range(count)) for what, count in (("p", 50), ("t", tags)))
    about = clip, annotator, unknown, unknown, np.zeros(len(clip), bool)
    return Votes("mood", "tag.mood", names, names, people_, values, *about, answer, value, whole, whole)


@pytest.mark.parametrize(
    ("clips", "people", "tags", "share", "error"), [(100_000, 5, 2, 0.3, 0.15), (20_000, 5, 50, 0.04, 0.01), (20_000, 5, 50, 0.1, 0.1)]
)
def test_a_million_votes_agree_within_20_seconds(clips: int, people: int, tags: int, share: float, error: float) -> None:
    said = simulated(clips, people, tags, share, error)
    question = Question(name="mood", kind="tag.mood", text="?", choices=said.values, multiple=True)
    began = time.perf_counter(), time.process_time()
    found = agreement(said, question, draws=DRAWS)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    asked = clips * people * tags
    print(
        f"\nagreement of {len(said):,} answers with {len(said.value):,} tags said, {asked:,} yes or no, {len(found)} scores,"
        f" {DRAWS} draws: {wall:.1f} s ({cpu:.1f} s of one core), process at most {peak:.0f} MB"
    )
    assert all(each.low is not None for each in found)
    assert wall < 20
