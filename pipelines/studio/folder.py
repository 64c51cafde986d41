"""The data folder of `earmark campaign serve`: whose it is, what made it, and its secrets.

It holds `token`, `admin` and `annotators.tsv` (made by invite), all of mode 600; `studio.json` (version, database, URL); `postgres/`;
`label-studio/` (uploads, the key that signs sessions); `label-studio.log` and `postgres.log`; `lock`, held while it is served.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pipelines.studio.install import VERSION

ADMIN = "admin@earmark.local"
GIGABYTES = 0.5


class StudioError(Exception):
    """Label Studio cannot be served; one line says why."""


def claim(data: Path, database: str, url: str, tell: Callable[[str], None], public_url: str = "") -> IO[str]:
    """Make the folder or take it up again, with an admin's password and token.

    Args:
        database: in words, what its labels are kept in; it stays the same for ever.
        url: where it will be served, from this machine. public_url: how browsers reach it, if that is different.
    Returns:
        the lock; nobody else can claim the folder until it is closed.
    Raises:
        StudioError: it is not ours, in use, of a later version, with its labels elsewhere, or without room.
    """
    if data.is_dir() and any(data.iterdir()) and not (data / "lock").exists():
        raise StudioError(f"{data}: neither empty nor a data folder of this command; name another one")
    data.mkdir(mode=0o711, parents=True, exist_ok=True)  # PostgreSQL's user passes through and sees nothing
    lock = open(data / "lock", "a+")  # noqa: SIM115 (the caller closes it)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check(data, database, tell)
        (data / "label-studio").mkdir(mode=0o700, exist_ok=True)
        for name, text in (("token", secrets.token_hex(20)), ("admin", f"{ADMIN}\n{secrets.token_urlsafe(18)}\n")):
            if not (data / name).exists():
                write(data / name, text)
        write(
            data / "studio.json", json.dumps({"label_studio": VERSION, "database": database, "url": url, "public_url": public_url or url})
        )
    except BlockingIOError:
        lock.close()
        raise StudioError(f"{data}: served already, at {_facts(data).get('url', 'another port')}") from None
    except BaseException:
        lock.close()
        raise
    return lock


def address(data: Path) -> tuple[str, str]:
    """The URL (from this machine) and the token of the server that a data folder belongs to.

    Raises:
        StudioError: nothing was served from there yet.
    """
    try:
        return _facts(data)["url"], (data / "token").read_text().strip()
    except (KeyError, FileNotFoundError):
        raise StudioError(f"{data}: no data folder; 'earmark campaign serve --data {data}' makes it") from None


def entrance(data: Path) -> str:
    """The URL by which people reach the server that a data folder belongs to, "" where that is not known."""
    facts = _facts(data)
    return facts.get("public_url") or facts.get("url", "")


def write(path: Path, text: str) -> None:
    """Whole or not at all, readable by its owner alone."""
    attempt = path.with_name(f".{path.name}")
    attempt.unlink(missing_ok=True)
    with open(os.open(attempt, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    attempt.rename(path)


def _check(data: Path, database: str, tell: Callable[[str], None]) -> None:
    facts = _facts(data)
    before = facts.get("label_studio", VERSION)
    if _numbers(before) > _numbers(VERSION):
        raise StudioError(f"{data}: used by Label Studio {before}, which {VERSION} cannot read; serve it with the earmark that made it")
    if before != VERSION:
        tell(f"{data}: Label Studio {VERSION} converts the data of {before}")
    if facts.get("database", database) != database:
        raise StudioError(f"{data}: its labels are in {facts['database']}, not in {database}; start it as before, or name another folder")
    free = shutil.disk_usage(data).free / 1e9
    if free < GIGABYTES:
        raise StudioError(f"{data}: {free:.2f} GB free, and labels need room; make {GIGABYTES} GB free, or name another folder")


def _facts(data: Path) -> dict[str, str]:
    try:
        return dict(json.loads((data / "studio.json").read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StudioError(f"{data / 'studio.json'}: not JSON; take the file away, the labels are elsewhere") from error


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
