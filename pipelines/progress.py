"""Progress bars on standard error, drawn only where somebody watches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from pipelines.run import Summary


def _progress(*columns: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *(TextColumn(column) for column in columns),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextlib.contextmanager
def bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is advanced by calling it with (done, total)."""
    with _progress(f"{{task.completed}}/{{task.total}} {unit}") as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def shards_bar() -> Iterator[Callable[[Summary], None]]:
    """A bar for a run, with its speed and its rejects so far."""
    with _progress("{task.completed}/{task.total} shards", "{task.fields[rate]} x real time, {task.fields[rejects]} rejects") as progress:
        task = progress.add_task("hearing", total=None, rate="-", rejects=0)

        def advance(summary: Summary) -> None:
            rejects = sum(summary.rejects.values())
            progress.update(task, completed=summary.shards, total=summary.planned, rate=f"{summary.rate:.0f}", rejects=rejects)

        yield advance
