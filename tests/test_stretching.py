"""Stretching in child processes: the same samples, and no child that is left, silent or noisy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from augment import stretching
from augment.stretching import apart, stretch
from tests.sounds import noise

SOUND = noise(22_050, 2.0, 0.5)[:, 0]


# What other tests of this process may have left.
others: set[int] = set()


@pytest.fixture(autouse=True)
def _together_afterwards() -> Iterator[None]:
    apart(False)
    others.clear()
    others.update(child.pid for child in psutil.Process().children())
    yield
    apart(False)


def children() -> list[psutil.Process]:
    """The stretching children of this test."""
    mine = (child for child in psutil.Process().children() if child.pid not in others)
    return [child for child in mine if any("stretching" in word for word in child.cmdline())]


def test_children_give_the_same_bytes() -> None:
    calls = [(22_050, 0.8, 0.0), (22_050, 1.0, 3.0), (44_100, 1.1, -2.5), (22_050, 1.25, 0.0)]
    here = [stretch(SOUND, *call).tobytes() for call in calls]
    assert not children()
    apart(True)
    there = [stretch(SOUND, *call) for call in calls]
    assert [samples.tobytes() for samples in there] == here
    assert len(children()) == 1  # one thread, one child
    there[0][0] = 1  # a caller's own samples


def test_threads_have_a_child_each_and_get_their_own_samples() -> None:
    rates = [0.8, 0.9, 1.1, 1.2]
    here = [stretch(SOUND, 22_050, rate).tobytes() for rate in rates]
    apart(True)
    wrong: list[float] = []
    together = threading.Barrier(len(rates))

    def work(rate: float, expected: bytes) -> None:
        together.wait()
        wrong.extend(rate for _ in range(5) if stretch(SOUND, 22_050, rate).tobytes() != expected)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(rates, here, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 < len(children()) <= len(rates)
    apart(False)
    assert not children()


def test_a_child_that_died_is_replaced() -> None:
    expected = stretch(SOUND, 22_050, 0.9).tobytes()
    apart(True)
    stretch(SOUND, 22_050, 0.9)
    (child,) = children()
    child.kill()
    child.wait(10)
    assert stretch(SOUND, 22_050, 0.9).tobytes() == expected
    assert [it.pid for it in children()] != [child.pid]


def test_two_children_that_die_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    apart(True)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"stretching 44100 samples at rate 0\.9: two child processes ended, with 1 and 1"):
        stretch(SOUND, 22_050, 0.9)


# What a run of the local engine is to its terminal: a process group that is interrupted as a whole.
_PROGRAM = """
import sys, threading, time
import numpy as np
from augment.stretching import apart, stretch
apart(True)
sound = np.random.default_rng(0).uniform(-0.5, 0.5, 2_000_000).astype(np.float32)
def work():
    while True:
        stretch(sound, 22_050, 0.9)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(1)
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


@pytest.mark.parametrize(("sign", "said"), [(signal.SIGINT, "interrupted\n"), (signal.SIGKILL, "")])
@pytest.mark.slow
def test_children_end_in_silence_with_the_process_that_started_them(sign: signal.Signals, said: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        family = psutil.Process(parent.pid).children()
        os.killpg(parent.pid, sign)
        out, errors = parent.communicate(timeout=30)  # ends when the children have closed their copy, too
    assert len(family) == 2
    assert (out, errors) == ("", said)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_a_process_that_is_forked_off_starts_children_of_its_own() -> None:
    apart(True)
    expected = stretch(SOUND, 22_050, 0.9).tobytes()
    assert stretching._idle
    child = os.fork()
    if child == 0:
        os._exit(0 if not stretching._idle else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stretch(SOUND, 22_050, 0.9).tobytes() == expected


def test_a_child_says_nothing_but_answers_and_loads_little() -> None:
    apart(True)
    stretch(SOUND, 22_050, 0.9)
    (child,) = children()
    libraries = {os.path.basename(mapping.path) for mapping in child.memory_maps()}
    assert any("Signalsmith" in library for library in libraries)
    assert not any("pydantic" in library or "soundfile" in library for library in libraries)
    assert child.memory_info().rss < 100e6


@pytest.mark.parametrize("layout", ["strided", "read-only"])
def test_any_layout_of_samples_will_do(layout: str) -> None:
    samples = np.repeat(SOUND, 2)[::2]
    if layout == "read-only":
        samples = SOUND.copy()
        samples.setflags(write=False)
    expected = stretch(SOUND.copy(), 22_050, 0.9).tobytes()
    assert stretch(samples, 22_050, 0.9).tobytes() == expected
    apart(True)
    assert stretch(samples, 22_050, 0.9).tobytes() == expected
