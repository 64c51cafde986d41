"""Progress bars on standard error, drawn only where somebody watches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipelines.harmless import harmless_streams
from pipelines.pace import Pace, clock

if TYPE_CHECKING:
    from rich.progress import Progress

    from pipelines.run import Summary


def _progress(*columns: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *(TextColumn(column) for column in columns),
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextlib.contextmanager
def bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is advanced by calling it with (done, total)."""
    pace = Pace(time.monotonic())
    with _progress(f"{{task.completed}}/{{task.total}} {unit}", "{task.fields[rate]}") as progress, harmless_streams():
        task = progress.add_task(what, total=None, rate="", left="")

        def advance(done: int, total: int) -> None:
            pace.told(done, time.monotonic())
            rate = pace.rate()
            progress.update(task, completed=done, total=total, rate=f"{rate:.3g}/s" if rate else "", left=_left(total - done, rate))

        yield advance


@contextlib.contextmanager
def shards_bar() -> Iterator[Callable[[Summary], None]]:
    """A bar for a run, with its speed, its rejects so far, and how long it has to go."""
    pace = Pace(time.monotonic())
    columns = "{task.completed}/{task.total} shards", "{task.fields[rate]} x real time, {task.fields[rejects]} rejects"
    with _progress(*columns) as progress, harmless_streams():  # what is printed meanwhile goes through rich, which obeys it
        task = progress.add_task("hearing", total=None, rate="-", rejects=0, left="")

        def advance(summary: Summary) -> None:
            settled = summary.shards + len(summary.failed)
            pace.told(settled, time.monotonic())
            left = _left(summary.planned - settled, pace.rate())
            rejects = sum(summary.rejects.values())
            progress.update(task, completed=settled, total=summary.planned, rate=f"{summary.rate:.0f}", rejects=rejects, left=left)

        yield advance


def _left(todo: int, rate: float | None) -> str:
    return f"{clock(todo / rate)} to go" if rate else ""
