"""A real Label Studio on a real PostgreSQL for tests: one for a test run, or one that a test may kill."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.studio.install import VERSION, InstallError, cache, environment, install
from pipelines.studio.invite import invite
from pipelines.studio.postgres import INSTALL, installations
from pipelines.studio.server import Studio
from pipelines.studio.session import Session

# Nobody needs a test's data after a power cut, and compiling a query takes longer than any query of a test.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "jit=off")


@dataclass(frozen=True)
class Account:
    """An annotator of a test, with a legacy token."""

    email: str
    password: str
    token: str


class RunningStudio:
    """A Label Studio that answers.

    url, token: where it is, and its admin's token.
    """

    def __init__(self, url: str, token: str, passwords: Path) -> None:
        self.url = url
        self.token = token
        self._passwords = passwords
        self._accounts: dict[str, Account] = {}

    def account(self, name: str) -> Account:
        """An annotator, invited once per name."""
        if name not in self._accounts:
            invited = invite([f"{name}@example.org"], self.url, self.token, self._passwords)[0]
            person = Session(self.url)
            assert person.sign_in(invited.email, invited.password), f"{invited.email} cannot sign in to {self.url}"
            self._accounts[name] = Account(invited.email, invited.password, person.get("/api/current-user/token")["token"])
        return self._accounts[name]


class StudioProcess(RunningStudio):
    """A Label Studio of a test's own, to be killed and started again; what it stored stays until `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="earmark-studio-"))
        self.folder.chmod(0o711)  # PostgreSQL's user passes through
        self.data = self.folder / "data"
        subprocess.run(["cp", "-a", str(template()), str(self.data)], check=True)
        self._studio = Studio(self.data, port=0, settings=FAST)
        self._studio.start()
        super().__init__(self._studio.url, self._studio.token, self.folder / "annotators.tsv")

    def start(self) -> None:
        """Start Label Studio again after `kill9`, on the same port."""
        self._studio.start_server(install(environment(), print))

    def kill9(self) -> None:
        """End Label Studio in the middle of whatever it does; the database lives."""
        self._studio.kill()

    def restart_postgres(self) -> None:
        """Every connection of Label Studio to its database breaks."""
        assert self._studio.postgres is not None
        self._studio.postgres.restart()

    def close(self) -> None:
        """Stop both and forget everything."""
        self._studio.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def need_studio() -> None:
    """Skip a test where PostgreSQL or Label Studio are missing and cannot be had."""
    if not installations():
        pytest.skip(f"PostgreSQL is not installed: {INSTALL}")
    try:
        install(environment(), print)
    except InstallError as error:
        pytest.skip(f"{error}; python -m venv {environment()} && {environment()}/bin/pip install label-studio=={VERSION}")


def template() -> Path:
    """A data folder whose database is ready: making one takes half a minute, copying it half a second."""
    folder = cache() / f"studio-template-{VERSION}-postgres-{max(installations())}-{os.getuid()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(prefix="earmark-studio-") as temporary:
                Path(temporary).chmod(0o711)
                made = Studio(Path(temporary) / "data", port=0, settings=FAST)
                made.start()
                made.stop()
                attempt = folder.with_name(f".{folder.name}")
                shutil.rmtree(attempt, ignore_errors=True)
                subprocess.run(["cp", "-a", str(made.data), str(attempt)], check=True)
                attempt.rename(folder)
    return folder


@pytest.fixture(scope="session")
def studio() -> Iterator[RunningStudio]:
    """One server for the test run; each test makes projects of its own. EARMARK_STUDIO and EARMARK_STUDIO_TOKEN name one that runs."""
    if url := os.environ.get("EARMARK_STUDIO"):
        known = cache() / f"annotators-{hashlib.sha256(url.encode()).hexdigest()[:8]}.tsv"
        known.parent.mkdir(parents=True, exist_ok=True)
        yield RunningStudio(url, os.environ["EARMARK_STUDIO_TOKEN"], known)
        return
    need_studio()
    process = StudioProcess()
    yield process
    process.close()


@pytest.fixture
def studio_process() -> Iterator[StudioProcess]:
    """A server that the test may kill."""
    need_studio()
    process = StudioProcess()
    yield process
    process.close()
