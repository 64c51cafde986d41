"""Commands in processes of their own that are born with everything imported: forks of one that imported it and did nothing else."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.preloaded"])


def forked(words: Sequence[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run `earmark WORDS` in a folder; as `subprocess.run(["earmark", *words], capture_output=True, text=True)`, without the imports.

    All forks have the same seed of hashes.

    Raises:
        subprocess.TimeoutExpired: after so many seconds; the process is dead.
    """
    with tempfile.TemporaryDirectory() as temporary:
        told = [Path(temporary) / name for name in ("out", "err")]
        child = _server.Process(target=_main, args=(list(words), str(folder), dict(os.environ), *map(str, told)))
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(list(words), timeout)
        return subprocess.CompletedProcess(list(words), child.exitcode, *(path.read_text() if path.exists() else "" for path in told))


def _main(words: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    """In the fork."""
    from pipelines.cli import main

    for number, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["earmark", *words]
    sys.exit(main(words))
