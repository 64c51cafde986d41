"""The bare cost of LogMel and Mfcc on sound that is already decoded: `python -m tests.benchmarks.arithmetic FILES…` prints ms per file."""

from __future__ import annotations

import statistics
import sys
import time

from pipelines.process import keep_memory, single_threaded

single_threaded()
keep_memory()

from extractors import Batch, LogMel, Mfcc, Window, audio  # noqa: E402

TOGETHER = 4
ROUNDS = 3


def main(files: list[str]) -> float:
    """Milliseconds of one core for each file: resampling, transform, bands, decibels, cosines."""
    specs = (LogMel(), Mfcc())
    lives = [spec.open() for spec in specs]
    spectra = [spectrum for spec in specs for spectrum in spec.spectra()]
    clips = [clip for file in files for clip in audio.clips(file, "x", 44_100, Window())]
    times = []
    for _ in range(ROUNDS):
        for first in range(0, len(clips), TOGETHER):
            began = time.perf_counter()
            batch = Batch(clips[first : first + TOGETHER], 30.0, spectra)
            for live in lives:
                live(batch)
            times.append(1e3 * (time.perf_counter() - began) / len(batch))
    return statistics.median(times)


if __name__ == "__main__":
    print(main(sys.argv[1:]))
