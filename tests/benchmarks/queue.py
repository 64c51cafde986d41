"""A queue over a million embeddings: seconds and memory. `python -m tests.benchmarks.queue [clips] [dimensions]`"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np

from pipelines.process import single_threaded


def main(clips: int = 1_000_000, dimensions: int = 200, tags: int = 20, answered: int = 2_000) -> dict[str, float]:
    """Order made-up clips from made-up answers: compress, learn, and weigh the front of the queue.

    Args:
        answered: clips that have three answers each.
    """
    from pipelines.queue.learner import compressed
    from pipelines.queue.order import ranked
    from pipelines.queue.value import Known, judged, posterior

    rng = np.random.default_rng(0)
    places = rng.normal(size=(tags, dimensions)).astype(np.float32)
    truth = rng.integers(0, tags, clips)
    vectors = np.empty((clips, dimensions), np.float32)
    for start in range(0, clips, 65_536):
        part = truth[start : start + 65_536]
        vectors[start : start + 65_536] = places[part] + rng.standard_normal((len(part), dimensions), np.float32)
    began, worked = time.perf_counter(), time.process_time()
    near = compressed(vectors)
    squeezed = time.perf_counter()
    votes = np.zeros(clips, np.int64)
    votes[rng.choice(clips, answered, replace=False)] = 3
    counts = np.zeros((clips, tags), np.float32)
    counts[votes > 0, truth[votes > 0]] = 3
    known = Known(posterior(counts, votes, 0.1, True), votes, True)
    opinion = judged(near, known, 0)
    learnt = time.perf_counter()
    found = ranked(near, known, opinion, np.full(clips, 0.5), votes < 4, 500)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "clips": clips,
        "dimensions": dimensions,
        "chosen": len(found.rows),
        "compress_s": round(squeezed - began, 1),
        "learn_s": round(learnt - squeezed, 1),
        "weigh_s": round(ended - learnt, 1),
        "seconds": round(ended - began, 1),
        "cpu_s": round(time.process_time() - worked, 1),
        "peak_gib": round(peak, 2),
    }


if __name__ == "__main__":
    single_threaded()
    print(json.dumps(main(*(int(each) for each in sys.argv[1:]))))
