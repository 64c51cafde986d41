"""A PostgreSQL server of one's own: the machine's installation, a data folder, a socket that only its owner and root reach."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT

from pipelines.studio.child import Child, process_alive, wait_until_gone

INSTALL = "apt-get install postgresql"
DATABASE = "studio"
OWNER = "postgres"  # the superuser inside the server, whoever runs it
# Where Debian, Fedora and Homebrew put the programs that are not for everybody's PATH.
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin")


class PostgresError(Exception):
    """PostgreSQL is missing or does not start; one line says why."""


class Postgres:
    """PostgreSQL in a folder of its own.

    It listens on a socket in a folder that only the user who runs it (and root) can enter, and on no port. PostgreSQL refuses to run
    as root: there it runs as user postgres, or nobody, who must be able to enter the folders above.

    Args:
        folder: the data folder; made by `start` if it is missing.
        log: a file to which the server's messages are added.
        settings: such as `fsync=off`, for tests whose data nobody needs.
    """

    def __init__(self, folder: Path, log: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self.log = log
        self.settings = settings
        self.child: Child | None = None
        self._socket: Path | None = None
        self._user = _unprivileged_user() if os.getuid() == 0 else None

    @property
    def socket(self) -> Path:
        """The folder of the socket, as clients want to know it: the data folder, unless its path is longer than a socket's may be."""
        if len(str(self.folder)) < 90:  # of 107, with the socket's own name
            return self.folder
        if self._socket is None:
            self._socket = Path(tempfile.mkdtemp(prefix="earmark-postgres-"))
            self._give(self._socket)
        return self._socket

    def start(self) -> None:
        """Start the server, make the database if it is missing, and wait until it answers.

        Raises:
            PostgresError: no installation, another version's data, a folder that cannot be entered, or the server's own reason.
        """
        programs = self._programs()
        if not (self.folder / "PG_VERSION").exists():
            self._initialise(programs)
        _end_orphan(self.folder)
        command = [str(programs / "postgres"), "-D", str(self.folder), "-k", str(self.socket), "-c", "listen_addresses="]
        command += [word for setting in self.settings for word in ("-c", setting)]
        self.child = Child(command, self.log, SIGINT, user=self._identity())  # SIGINT: "fast", roll back what is open, write the rest, end
        try:
            while self._client(programs, "pg_isready", "-q").returncode:
                if not self.child.alive():
                    raise PostgresError(self._reason(self.child.said()))
                time.sleep(0.05)
            self._make_database(programs)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server; what was committed is on the disk."""
        if self.child is not None:
            self.child.stop()
        if self._socket is not None:
            shutil.rmtree(self._socket, ignore_errors=True)
            self._socket = None

    def restart(self) -> None:
        """Stop and start as an upgrade of the machine does; every connection breaks, the socket keeps its place."""
        if self.child is not None:
            self.child.stop()
        self.start()

    def _programs(self) -> Path:
        """The folder of the programs that fit the data folder."""
        found = installations()
        if not found:
            raise PostgresError(f"PostgreSQL is not installed; '{INSTALL}' installs it, or give the URL of one that runs")
        marker = self.folder / "PG_VERSION"
        if not marker.exists():
            return found[max(found)]
        version = marker.read_text().strip()
        if not version.isdigit() or int(version) not in found:
            there = ", ".join(str(each) for each in sorted(found))
            way = f"install postgresql-{version}, or convert it with pg_upgrade"
            raise PostgresError(f"{self.folder}: made by PostgreSQL {version}, and this machine has {there}; {way}")
        return found[int(version)]

    def _initialise(self, programs: Path) -> None:
        """Make the data folder beside its place and move it there: an initdb that was killed leaves nothing half done."""
        attempt = self.folder.with_name(f".{self.folder.name}")
        shutil.rmtree(attempt, ignore_errors=True)
        attempt.mkdir(parents=True)
        self._give(attempt)
        command = [str(programs / "initdb"), "-D", str(attempt), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["--no-sync"] if "fsync=off" in self.settings else []
        uid, gid = self._identity() or (None, None)
        environment = {**os.environ, "LC_ALL": "C"}  # its messages are read here
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment,
            user=uid,
            group=gid,
            extra_groups=[] if uid else None,
        )
        if done.returncode:
            shutil.rmtree(attempt, ignore_errors=True)
            raise PostgresError(self._reason(done.stderr))
        attempt.rename(self.folder)

    def _make_database(self, programs: Path) -> None:
        there = self._client(programs, "psql", "-Atc", f"select 1 from pg_database where datname = '{DATABASE}'", "postgres")
        made = there if there.returncode or there.stdout.strip() else self._client(programs, "createdb", DATABASE)
        # Label Studio's migrations need it, and some systems pack it apart.
        made = made if made.returncode else self._client(programs, "psql", "-qc", "create extension if not exists pg_trgm", DATABASE)
        if made.returncode:
            contrib = (
                "; 'dnf install postgresql-contrib' (or your system's package of that name) brings it" if "pg_trgm" in made.stderr else ""
            )
            raise PostgresError(self._reason(made.stderr) + contrib)

    def _client(self, programs: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(programs / program), "-h", str(self.socket), "-U", OWNER, *arguments]
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}  # none of the caller's PGHOST, PGPORT and the like
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)

    def _reason(self, messages: str) -> str:
        lines = [line.strip() for line in messages.splitlines() if any(word in line for word in ("error:", "ERROR:", "FATAL:", "PANIC:"))]
        why = lines[0] if lines else messages.strip().rpartition("\n")[2]
        if self._user and "ermission denied" in why:
            why = f"it runs as user {self._user.pw_name}, who cannot enter {self.folder.parent}; choose a data folder such as /srv/studio"
        return f"PostgreSQL does not start: {why}"

    def _identity(self) -> tuple[int, int] | None:
        return (self._user.pw_uid, self._user.pw_gid) if self._user else None

    def _give(self, folder: Path) -> None:
        folder.chmod(0o700)
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)


def installations() -> dict[int, Path]:
    """The folders of PostgreSQL's programs on this machine, by major version."""
    folders = [folder for place in PLACES for folder in Path("/").glob(place[1:]) if (folder / "initdb").exists()]
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    found = {}
    for folder in folders:
        words = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False).stdout.split()
        if len(words) > 2 and (major := words[2].partition(".")[0]).isdigit():
            found[int(major)] = folder
    return found


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody; run this as another user")


def _end_orphan(folder: Path) -> None:
    """End what a killed parent left behind: a server that still runs, or a postmaster.pid whose number another process has got since."""
    lock = folder / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        if process_alive(pid, str(folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGINT)
            if not wait_until_gone(pid, str(folder)):
                raise PostgresError(f"{folder}: process {pid} of an earlier start does not end; 'kill -QUIT {pid}' ends it")
        elif process_alive(pid, "postgres"):  # perhaps somebody started it by hand, by another path: two on one folder would destroy it
            raise PostgresError(f"{lock}: names process {pid}, a PostgreSQL; stop it, or take that file away if it serves another folder")
        lock.unlink(missing_ok=True)
