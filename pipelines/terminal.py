"""What commands print: results on standard output, all else on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any


@contextlib.contextmanager
def results(machine: bool) -> Iterator[IO[str]]:
    """Where results go. With --json whatever libraries print, in C too, goes to standard error, so that the output parses."""
    if not machine:
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as result:
            yield result
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def show(result: IO[str], machine: bool, facts: Any, text: str) -> None:
    """A result, for people or (`--json`) for programs.

    Raises:
        OSError: it cannot be written: the disk is full, or nobody reads it (BrokenPipeError).
    """
    try:
        print(json.dumps(facts, default=str) if machine else text, file=result, flush=True)
    except OSError as error:
        # What waits in its buffer would be tried again when it is closed, and told of once more.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, result.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise
        raise OSError(error.errno, error.strerror, "standard output") from error


def stand_in() -> None:
    """Put a stream that goes nowhere where a standard one is closed: the next file to be opened would get its number.

    What libraries print in C would be written into that file, a store's part for one.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def tell(line: str) -> None:
    """A line for people that is no result: what went wrong, what is under way."""
    print(line, file=sys.stderr, flush=True)
