"""A random schedule of faults around one small collection, drawn from a seed, while somebody reads the store all the time."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.store import Store
from tests.clock import Clock
from tests.collection import PEAKS, ROOT, command, earmark, parts, tones
from tests.families import end
from tests.sick_disk import SickDisk

SLOW = "[window]\nseconds = 1.0\n[run]\nmax_retries = 2\n" + PEAKS.replace("Poison", "Slow")
SHARDS = 6
TABLES = 2  # peaks and views
ENGINES = ("local", "ray", "local", "beam", "local", "ray")
KILLS = ("kill", "kill", "head", "head", "stop")
FAULTS = (*KILLS, "read", "slow", "store", "clock")


class Reader:
    """Somebody who reads the store all the time: every part that can be seen is whole, never changes, and holds right rows only.

    right: the parts of an undisturbed run. wrong: names of parts that were not so. seen: how often a part was looked at.
    """

    def __init__(self, store: Path, right: dict[str, bytes]) -> None:
        self.store, self.right = store, right
        self.wrong: list[str] = []
        self.seen = 0
        self._rows = {*rows(right)}
        self._others: dict[str, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._stop.wait(0.05):
            # The whole store may go away between the listing of a folder and the opening of a file.
            with contextlib.suppress(FileNotFoundError):
                self.look()

    def look(self) -> None:
        """Read all that is there."""
        for name, content in parts(self.store).items():
            self.seen += 1
            if self.right.get(name) != content and self._others.get(name) != content:
                # Where a file could not be read its shard has less rows, and another part has its own later.
                if name in self._others or not self._holds_right_rows(name, content):
                    self.wrong.append(name)
                self._others[name] = content

    def _holds_right_rows(self, name: str, content: bytes) -> bool:
        try:
            found = rows({name: content})
        except (pa.ArrowException, OSError):
            return False
        return len({*found}) == len(found) and self._rows.issuperset(found)


def rows(found: dict[str, bytes]) -> list[tuple[str, str]]:
    """Every row of some parts, with its table, sorted."""
    read = ((name.split("/")[0], pq.read_table(pa.BufferReader(content)).to_pylist()) for name, content in found.items())
    return sorted((table, str(row)) for table, each in read for row in each)


class Collection:
    """Twelve tones in six shards, a catalogue of them, and the parts that an undisturbed run makes.

    While a schedule is played the tones are seen through a disk that may fall ill, and the store lies on one that may be unmounted. Where
    that may not be done here, processes are killed and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        self.recipe = folder / "recipe.toml"
        self.recipe.write_text(SLOW)
        tones(folder / "audio", 12)
        shutil.copytree(folder / "audio", folder / "real")
        self.clock: Clock | None = None
        with contextlib.suppress(pytest.skip.Exception), SickDisk(folder / "real", folder / "audio"):
            self.clock = Clock(folder)
        earmark("scan", folder / "audio", "--store", folder / "catalogue", "--shard-hours", str(4.5 / 3600))
        shutil.copytree(folder / "catalogue", folder / "undisturbed")
        earmark("run", self.recipe, "--store", folder / "undisturbed", "--engine", "local")
        self.right = parts(folder / "undisturbed")
        if len(self.right) != SHARDS * TABLES:
            raise RuntimeError(f"{len(self.right)} parts where {SHARDS * TABLES} were expected")

    def play(self, seed: int) -> Story:
        """Up to three disturbed runs and one in peace, and what was seen meanwhile."""
        chance = random.Random(seed)
        engine = ENGINES[seed % len(ENGINES)]
        story = Story([engine])
        shutil.rmtree(self.folder / "held", ignore_errors=True)
        shutil.copytree(self.folder / "catalogue", self.folder / "held")
        disk = SickDisk(self.folder / "real", self.folder / "audio")
        with contextlib.ExitStack() as stack:
            if self.clock is None:
                self.store = self.folder / "held"
            else:
                stack.enter_context(disk)
                stack.enter_context(self._mounted())
            reader = stack.enter_context(Reader(self.store, self.right))
            for _ in range(chance.choice((1, 2))):
                with contextlib.ExitStack() as runs:
                    children = [runs.enter_context(self._run(engine)) for _ in range(chance.choice((1, 1, 2)))]
                    for _ in range(chance.choice((1, 2))):
                        self._until_there_is_work(children, chance)
                        self._disturb(chance, children, disk, story)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        children[0].wait(chance.uniform(0, 3))
                disk.fault = lambda name, offset, size: None
                if self.clock:
                    self.clock.set(0)
            summary = earmark("run", self.recipe, "--store", self.store, "--engine", "local")
            story.failed, story.rejects = summary["failed"], Store(self.store).open_rejects()
            story.right = rows(parts(self.store)) == rows(self.right)
        story.wrong, story.seen = reader.wrong, reader.seen
        return story

    def _until_there_is_work(self, children: list[subprocess.Popen[bytes]], chance: random.Random) -> None:
        """Wait for the first part that is new, or a while."""
        there, began, patience = len(parts(self.store)), time.monotonic(), chance.uniform(1, 6)
        while len(parts(self.store)) == there and time.monotonic() - began < patience:
            if all(child.poll() is not None for child in children):
                return
            time.sleep(0.05)

    def _disturb(self, chance: random.Random, children: list[subprocess.Popen[bytes]], disk: SickDisk, story: Story) -> None:
        fault = chance.choice(FAULTS if self.clock else KILLS)
        if fault == "clock" and story.events[0] != "local":
            fault = "kill"  # a cluster's processes wait by a clock that is not theirs alone
        if fault == "store":
            subprocess.run(["umount", "-l", self.store], check=True)
            time.sleep(chance.uniform(0.1, 2))
            story.left += [str(path) for path in self.store.rglob("*")]
            self._mount()
            story.events.append("store away")
        elif fault == "clock" and self.clock:
            hours = chance.choice((-30, -5, -1, 1, 5, 30))
            self.clock.set(3600 * hours)
            story.events.append(f"clock {hours:+} h")
        elif fault == "slow":
            disk.fault = lambda name, offset, size: time.sleep(0.02)
            story.events.append("slow reads")
        elif fault == "read":
            story.events.append(_spoil(chance, disk))
        else:
            story.events.append(_hit(chance, chance.choice(children), fault))

    @contextlib.contextmanager
    def _mounted(self) -> Iterator[None]:
        shutil.rmtree(self.store, ignore_errors=True)  # what an earlier schedule may have found in its place
        self.store.mkdir()
        self._mount()
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", self.store], check=False)

    def _mount(self) -> None:
        done = subprocess.run(["mount", "--bind", self.folder / "held", self.store], check=False, capture_output=True)
        if done.returncode:
            pytest.skip("a store that goes away needs the right to mount one")

    @contextlib.contextmanager
    def _run(self, engine: str) -> Iterator[subprocess.Popen[bytes]]:
        arguments = command("run", self.recipe, "--store", self.store, "--engine", engine)
        arguments += [] if engine == "beam" else ["--workers", "2"]
        environment = self.clock.environment if self.clock and engine == "local" else None
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(arguments, start_new_session=True, stdout=quiet, stderr=quiet, cwd=ROOT, env=environment)
        try:
            yield child
        finally:
            end(child)


class Story:
    """What happened, and what was found at the end. left: what was in the store's place while it was away."""

    def __init__(self, events: list[str]) -> None:
        self.events = events
        self.failed: dict[str, str] = {}
        self.rejects: list[dict[str, object]] = []
        self.wrong: list[str] = []
        self.left: list[str] = []
        self.seen = 0
        self.right = False

    @property
    def good(self) -> bool:
        """The rows are those of an undisturbed run, nobody saw a part that was not whole, and nothing is rejected."""
        return self.right and bool(self.seen) and not (self.failed or self.rejects or self.wrong or self.left)

    def __str__(self) -> str:
        return ", ".join(self.events)


def _spoil(chance: random.Random, disk: SickDisk) -> str:
    """Make the first read of each file fail, or every read of one."""
    once, unlucky = chance.random() < 0.6, f"{chance.randrange(12):03}"
    failed: set[str] = set()

    def fault(name: str, offset: int, size: int) -> None:
        if (once and name not in failed) or (not once and name.startswith(unlucky)):
            failed.add(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.fault = fault
    return "each file fails once" if once else f"{unlucky} cannot be read"


def _hit(chance: random.Random, child: subprocess.Popen[bytes], how: str) -> str:
    """Kill the driver or any process that it started, one of the cluster's own (`head`), or stop one for a while."""
    try:
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        heads = [each for each in family if each.name() in ("raylet", "gcs_server")]
        victim = chance.choice(heads if how == "head" and heads else family)
        name = victim.name()
        if how == "stop":
            victim.suspend()
            time.sleep(1.0)
            victim.resume()
            return f"stopped {name}"
        victim.kill()
    except psutil.Error:
        return "too late"
    return f"killed {name}"
