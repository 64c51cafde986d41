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
    """A result, for people or (`--json`) for programs."""
    print(json.dumps(facts, default=str) if machine else text, file=result)


def tell(line: str) -> None:
    """A line for people that is no result: what went wrong, what is under way."""
    print(line, file=sys.stderr, flush=True)
