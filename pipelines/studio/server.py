"""Label Studio on this machine, on a PostgreSQL that no label is lost in: `earmark campaign serve`.

For the command line:

- `serve(data, host="127.0.0.1", port=8080, public_url="", database="", single_annotator=False, tell=print)` runs until Ctrl-C or SIGTERM.
- `address(data)` gives the (url, token) of the server that a data folder belongs to, for other commands' `--data`.
- `pipelines.studio.invite.invite(emails, url, token, passwords)` makes accounts.

Mistakes are StudioError, PostgresError, InstallError and SessionError, each one line; `MISTAKES` holds them all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO
from urllib.parse import unquote, urlsplit

from pipelines.studio import environment as studio_environment
from pipelines.studio.child import Child
from pipelines.studio.folder import StudioError, address, claim, write
from pipelines.studio.install import VERSION, InstallError, environment, install
from pipelines.studio.postgres import DATABASE, OWNER, Postgres, PostgresError
from pipelines.studio.session import Session, SessionError

__all__ = ["MISTAKES", "Studio", "StudioError", "address", "serve"]

SAY: Callable[[str], None] = partial(print, flush=True)  # where output is a pipe, too, it is seen at once
SQLITE = (
    "one annotator alone: on SQLite, labels were lost and doubled as soon as several people worked, or tasks were imported meanwhile;"
    " for more people start without --single-annotator, on PostgreSQL"
)
MISTAKES = (StudioError, PostgresError, InstallError, SessionError)


class Studio:
    """Label Studio and its database, with everything they keep in one data folder.

    Args:
        data: the folder; made if it is missing. Where root starts this, PostgreSQL runs as another user, who must be able to enter it.
        host, port: where it listens. port 0: one that is free.
        public_url: how browsers reach it, if that is different.
        database: URL of a PostgreSQL that runs already, postgresql://user:password@host:port/name. Empty: one of its own.
        single_annotator: SQLite, for one person.
        settings: PostgreSQL's, for tests.
        tell: gets what takes time, a line each.
    """

    def __init__(
        self,
        data: Path,
        host: str = "127.0.0.1",
        port: int = 8080,
        public_url: str = "",
        database: str = "",
        single_annotator: bool = False,
        settings: Sequence[str] = (),
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        if database and single_annotator:
            raise StudioError("--single-annotator means SQLite, and a database was given; leave one of them out")
        self.data = data.absolute()
        self.host = host
        self.port = port or _free_port(host)
        self.url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{self.port}"  # from this machine
        self.public_url = public_url.rstrip("/") or self.url
        self.single_annotator = single_annotator
        self.tell = tell
        self._given = _given_database(database) if database else {}
        self.postgres = None if database or single_annotator else Postgres(self.data / "postgres", self.data / "postgres.log", settings)
        self._server: Child | None = None
        self._lock: IO[str] | None = None

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    def start(self) -> None:
        """Start both and wait until Label Studio answers, at the port that was asked for.

        Raises:
            StudioError, PostgresError, InstallError: one line.
        """
        try:
            if self.host in ("0.0.0.0", "::", "") and self.public_url == self.url:
                raise StudioError(f"--host {self.host} lets other machines in; --public-url says by which address they come")
            self._lock = claim(self.data, self._kind(), self.url, self.tell, self.public_url)
            program = install(environment(), self.tell)
            if not (self.data / "token").exists():
                self.tell("starting Label Studio, which makes its database first (once, a minute or two)")
            if self.postgres:
                self.postgres.start()
            self.start_server(program)
        except OSError as error:
            self.stop()
            raise StudioError(f"{error.filename or self.data}: {error.strerror}") from error
        except BaseException:
            self.stop()
            raise

    def start_server(self, program: Path) -> None:
        """Start Label Studio alone, on the database that is there."""
        _wait_for_port(self.host, self.port)
        command = [str(program), "start", "--no-browser", "--internal-host", self.host, "--port", str(self.port)]
        self._server = Child(command, self.data / "label-studio.log", signal.SIGTERM, self._variables())
        self._wait_for_health()
        self._settle_token()

    def check(self) -> None:
        """Raises: StudioError if one of the two has ended by itself."""
        for name, child in (("PostgreSQL", self.postgres.child if self.postgres else None), ("Label Studio", self._server)):
            if child is not None and not child.alive():
                raise StudioError(
                    f"{name} has ended by itself: {_last(child.said())}; {child.log} tells more, and the same command starts it again"
                )

    def stop(self) -> None:
        """Stop Label Studio, then its database."""
        if self._server:
            self._server.stop()
        if self.postgres:
            self.postgres.stop()
        if self._lock:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """End Label Studio in the middle of whatever it does, as a machine does that runs out of memory."""
        if self._server:
            self._server.kill()

    def _kind(self) -> str:
        if self._given:
            return "PostgreSQL at {LABEL_STUDIO_POSTGRE_HOST}:{LABEL_STUDIO_POSTGRE_PORT}/{LABEL_STUDIO_POSTGRE_NAME}".format_map(
                self._given
            )
        return "SQLite" if self.single_annotator else "a PostgreSQL of its own"

    def _variables(self) -> dict[str, str]:
        """The whole environment of Label Studio. It reads names without its prefix too (HOST, DEBUG): nothing of ours may slip in."""
        home = str(self.data / "label-studio")
        database = self._given
        if self.postgres:
            database = studio_environment.postgres(DATABASE, OWNER, "none", str(self.postgres.socket), "5432")
        elif self.single_annotator:
            database = {"LABEL_STUDIO_DJANGO_DB": "sqlite"}
        email, password = (self.data / "admin").read_text().split()
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOME": home,
            "XDG_CONFIG_HOME": f"{home}/.config",
            "XDG_DATA_HOME": f"{home}/.local/share",
            "XDG_CACHE_HOME": f"{home}/.cache",
            "LABEL_STUDIO_BASE_DATA_DIR": home,
            **studio_environment.QUIET,
            **studio_environment.public(self.public_url),
            **database,
            **studio_environment.admin(email, password, self.token),
        }

    def _wait_for_health(self, seconds: float = 600) -> None:
        """Wait until the port answers. Label Studio moves to the next port where one is taken, without a word: that is a mistake here."""
        server = self._server
        end = time.monotonic() + seconds
        while server:
            if not server.alive():
                raise StudioError(f"Label Studio does not start: {_last(server.said())}; {server.log} tells more")
            if "is in use" in server.said():
                raise StudioError(_busy(self.port))
            with contextlib.suppress(SessionError):
                if Session(self.url, timeout=5).get("/health") == {"status": "UP"}:
                    return
            if time.monotonic() > end:
                raise StudioError(f"{self.url}: no answer in {seconds:.0f} s; {server.log} tells more")
            time.sleep(0.2)

    def _settle_token(self) -> None:
        """The token in the file is the admin's, in the database that is served here; one that was made otherwise is fetched."""
        with contextlib.suppress(SessionError):
            Session(self.url, self.token).get("/api/current-user/whoami")
            return
        email, password = (self.data / "admin").read_text().split()
        admin = Session(self.url)
        if not admin.sign_in(email, password):
            raise StudioError(
                f"{self.url}: its database has an {email} with another password; copy 'admin' and 'token' from its first data folder"
            )
        admin.post("/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
        write(self.data / "token", admin.get("/api/current-user/token", {"token": str})["token"])


def serve(
    data: Path,
    host: str = "127.0.0.1",
    port: int = 8080,
    public_url: str = "",
    database: str = "",
    single_annotator: bool = False,
    tell: Callable[[str], None] = SAY,
) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop both cleanly. Arguments as those of `Studio`.

    Raises:
        StudioError, PostgresError, InstallError: one line; nothing is left running.
    """
    studio = Studio(data, host, port, public_url, database, single_annotator, tell=tell)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    if single_annotator:
        tell(SQLITE)
    try:
        studio.start()
        tell(f"Label Studio {VERSION} is at {studio.public_url}")
        tell(f"the admin's name and password are in {studio.data / 'admin'}, the token in {studio.data / 'token'}")
        tell("Ctrl-C stops it; the same command starts it again with all labels")
        while True:
            studio.check()
            time.sleep(1)
    except KeyboardInterrupt:
        tell("stopping")
    finally:
        studio.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _given_database(url: str) -> dict[str, str]:
    """
    >>> _given_database("postgresql://lead:p%40ss@db.example.org/labels")["LABEL_STUDIO_POSTGRE_PASSWORD"]
    'p@ss'
    """
    parts = urlsplit(url)
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not name:
        raise StudioError(
            "the database is given as postgresql://USER:PASSWORD@HOST:PORT/NAME; PGPASSWORD may hold the password"
        )  # never shown: it is secret
    password = unquote(parts.password or "") or os.environ.get("PGPASSWORD", "")
    return studio_environment.postgres(name, unquote(parts.username or OWNER), password, parts.hostname, str(parts.port or 5432))


def _busy(port: int) -> str:
    return f"port {port} is in use by another program; --port names another one"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _wait_for_port(host: str, port: int, seconds: float = 3) -> None:
    """A server that was killed a moment ago may still be letting go of its port."""
    end = time.monotonic() + seconds
    while True:
        with socket.socket() as probe, socket.socket() as knock:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                free = knock.connect_ex(("localhost", port)) != 0  # Label Studio's own way of asking
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise StudioError(f"--host {host} --port {port}: {error.strerror}") from error
                free = False
        if free:
            return
        if time.monotonic() > end:
            raise StudioError(_busy(port))
        time.sleep(0.1)


def _last(messages: str) -> str:
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "FATAL" in line or "PANIC" in line]
    return (errors or lines or ["without a word"])[-1]
