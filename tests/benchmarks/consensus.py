"""How long the consensus of a million votes takes, and which method is right how often.

python -m tests.benchmarks.consensus            a million votes, in several forms: at most 60 s each
python -m tests.benchmarks.consensus methods    accuracy by size of campaign, rarity of the tag and kind of crowd
"""

from __future__ import annotations

import sys
import time

import numpy as np

from annotation.annotators import quality
from annotation.consensus import METHODS, consensus, posterior
from annotation.simulated import Annotator, simulate

CROWD = [Annotator()] * 80 + [Annotator(0.3)] * 10 + [Annotator(how="guesses")] * 10


def speed() -> None:
    """A million votes: answers × tags, or answers where one choice is asked for."""
    rng = np.random.default_rng(0)
    for name, clips, tags, choices in (
        ("1 tag × 1,000,000 answers", 200_000, 1, 0),
        ("20 tags × 50,000 answers", 10_000, 20, 0),
        ("1 of 10 choices, 1,000,000 answers", 200_000, 0, 10),
    ):
        truth = rng.integers(0, choices, clips) if choices else (rng.random((clips, tags)) < 0.2).astype(int)
        said = simulate(truth, CROWD, 5, 1)
        for method in ("majority", "dawid-skene", "mace"):
            began, busy = time.perf_counter(), time.process_time()
            found = consensus(said, bool(choices), method)
            seconds, cpu = time.perf_counter() - began, time.process_time() - busy
            right = (found.probability.argmax(axis=1) == truth).mean() if choices else (found.holds == truth).mean()
            print(f"{name}: {method} {seconds:.1f} s ({cpu:.1f} s of CPU), {right:.2%} right", flush=True)
            if method == "dawid-skene":
                began, busy = time.perf_counter(), time.process_time()
                quality(said, found)
                print(
                    f"{name}: quality of people {time.perf_counter() - began:.1f} s ({time.process_time() - busy:.1f} s of CPU)", flush=True
                )


def methods() -> None:
    """Mean share of right decisions over seeds: dawid-skene as its authors have it is "plain"."""
    crowds = {
        "15 %": [Annotator()] * 8,
        "mixed": [Annotator(error) for error in (0.02, 0.05, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4)],
        "spam": [Annotator()] * 5 + [Annotator(how="guesses")] * 3,
    }
    print(f"{'clips':>5} {'overlap':>7} {'share':>5} {'crowd':>6}", *(f"{name:>12}" for name in ("plain", *METHODS)))
    for clips, overlap in ((50, 3), (200, 2), (200, 3), (200, 5), (1000, 3)):
        for share in (0.5, 0.1):
            for crowd, people in crowds.items():
                right: dict[str, list[float]] = {name: [] for name in ("plain", *METHODS)}
                for seed in range(5):
                    truth = (np.random.default_rng(1000 + seed).random((clips, 1)) < share).astype(int)
                    said = simulate(truth, people, overlap, seed)
                    label = said.chosen(0).astype(int)
                    for name in right:
                        if name == "glad" and clips > 200:
                            continue
                        trust = {"trust": 0} if name == "plain" else {}
                        method = "dawid-skene" if name == "plain" else name
                        p = posterior(said.clip, said.annotator, label, (clips, len(people), 2), method, **trust)  # type: ignore[arg-type]
                        right[name].append(float(((p[:, 1] > 0.5) == truth[:, 0]).mean()))
                figures = (f"{np.mean(each):12.3f}" if each else f"{'-':>12}" for each in right.values())
                print(f"{clips:5} {overlap:7} {share:5} {crowd:>6}", *figures, flush=True)


if __name__ == "__main__":
    methods() if sys.argv[1:] == ["methods"] else speed()
