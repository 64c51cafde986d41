"""The door to python_stretch: sound made longer, shorter, higher or lower, in this process or in others beside it.

python_stretch holds Python's lock while it works (0.1 s for 30 s of sound), so that threads would wait for one another: `apart`
sends the work to child processes. This file is also what a child runs; at the top it imports nothing of the project, so that a
child starts fast.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import IO

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

# Measured on impulses and bursts of noise, 8 to 44.1 kHz: between these rates they stay within 6.2 ms of where they belong;
# at 0.25 and at 4 they are off by as much as 17 and 15 ms, and at 6 some are lost.
LOW, HIGH = 0.5, 2.0
MOST_SEMITONES = 12.0
WINDOW_SECONDS = 0.12  # the stretcher's, at any sample rate

_REQUEST = struct.Struct("<qqd")  # samples, sample_rate, rate
_ANSWER = struct.Struct("<q")  # samples

_apart = False
_idle: list[_Child] = []


def apart(wanted: bool) -> None:
    """Whether to stretch in child processes, one for each thread that stretches at the time; a process with several workers wants it.

    The samples are the same bit for bit. Children start when they are needed, and end with this process or with `apart(False)`.
    """
    global _apart
    _apart = wanted
    if not wanted:
        while _idle:
            _idle.pop().end()


def stretch(samples: Samples, sample_rate: int, rate: float, semitones: float = 0.0) -> Samples:
    """Sound at another speed, transposed.

    Transposing is resampling, and then stretching by as much more: tones come out exact, where the stretcher's own transposition
    is up to 30 cents off below 300 Hz (measured).

    Args:
        samples: (n,) float32.
        sample_rate: Hz.
        rate: × speed; rate / 2^(semitones/12) between LOW and HIGH.
    Returns:
        (round(n / rate),) float32.
    Raises:
        Unfit: shorter than the stretcher's window.
        ValueError: outside the range.
        RuntimeError: two child processes ended over it.
    """
    from augment.augmentation import Unfit
    from extractors.audio import resample

    factor = 2 ** (semitones / 12)
    if not (LOW <= rate / factor <= HIGH):
        raise ValueError(f"stretch needs {LOW:g} <= rate / 2^(semitones/12) <= {HIGH:g}, got rate={rate:g} semitones={semitones:g}")
    after = round(len(samples) / rate)
    shortest = min(len(samples), len(samples) / factor, after) / sample_rate
    if shortest < WINDOW_SECONDS:
        remedy = "raise window.min_seconds, or leave out what stretches and transposes"
        raise Unfit(f"{shortest:.3f} s of sound are shorter than the stretcher's window of {WINDOW_SECONDS:g} s", "too short", remedy)
    higher = resample(samples, sample_rate * factor, sample_rate)
    return fitted((_elsewhere if _apart else _here)(higher, sample_rate, rate / factor), after)


def fitted(samples: Samples, count: int) -> Samples:
    """Lengths are rounded twice on the way, so that a sample or two may be missing or over."""
    if len(samples) < count:
        return np.concatenate([samples, np.zeros(count - len(samples), np.float32)])
    return samples[:count]


def _here(samples: Samples, sample_rate: int, rate: float) -> Samples:
    import python_stretch

    stretcher = python_stretch.Signalsmith.Stretch()
    stretcher.preset(1, sample_rate)
    stretcher.setTimeFactor(rate)
    # It takes no strides, and nothing that is read-only.
    stretched: Samples = np.asarray(stretcher.process(np.require(samples, np.float32, ["C", "W"])[None]), np.float32)[0]
    return stretched


def _elsewhere(samples: Samples, sample_rate: int, rate: float) -> Samples:
    """The same in a child process; one that has died meanwhile is replaced once."""
    ended: list[int] = []
    while len(ended) < 2:
        try:
            child = _Child() if ended else _idle.pop()
        except IndexError:
            child = _Child()
        try:
            stretched = child.stretch(samples, sample_rate, rate)
        except (OSError, EOFError):
            ended.append(child.end())
            continue
        _idle.append(child)  # after any other exception it may be half-way through an answer, and is let go
        return stretched
    raise RuntimeError(
        f"stretching {len(samples)} samples at rate {rate:g}: two child processes ended, with {ended[0]} and {ended[1]}; "
        "a negative number is a signal (-9: out of memory?), another an exception on standard error"
    )


class _Child:
    """A process that stretches until its standard input is closed, be it by this process's end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: the folder of this file is no place to import from.
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            process_group=0,  # Ctrl-C goes to the terminal's whole group, and is this process's to answer
        )

    def stretch(self, samples: Samples, sample_rate: int, rate: float) -> Samples:
        """Raises: OSError or EOFError where the process has ended."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise RuntimeError("a child process without pipes")
        requests.write(_REQUEST.pack(len(samples), sample_rate, rate))
        requests.write(np.ascontiguousarray(samples).data)
        requests.flush()
        (count,) = _ANSWER.unpack(_bytes(answers, _ANSWER.size))
        return np.frombuffer(_bytes(answers, 4 * count), np.float32)

    def end(self) -> int:
        """Let the process end; how it did."""
        self._process.communicate()
        return self._process.returncode


def _bytes(file: IO[bytes], count: int) -> bytearray:
    """So many, to be written to if need be. Raises: EOFError."""
    data = bytearray(count)
    if file.readinto(data) < count:  # type: ignore[attr-defined]  # a BufferedReader's, which fills it
        raise EOFError
    return data


def _serve() -> None:
    """Answer what comes on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    requests = sys.stdin.buffer
    try:
        while True:
            count, sample_rate, rate = _REQUEST.unpack(_bytes(requests, _REQUEST.size))
            stretched = _here(np.frombuffer(_bytes(requests, 4 * count), np.float32), sample_rate, rate)
            answers.write(_ANSWER.pack(len(stretched)))
            answers.write(np.ascontiguousarray(stretched).data)
            answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the other side has ended; nothing is left to be written


if __name__ == "__main__":
    _serve()
else:
    # A process that was forked off must not talk to the children of the one it came from.
    os.register_at_fork(after_in_child=_idle.clear)
