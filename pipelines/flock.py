"""A lock of a store on a disk: the kernel gives it back however its owner ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator

from pipelines.part import StoreError


@contextlib.contextmanager
def flocked(root: str, base: str, name: str) -> Iterator[Callable[[], None]]:
    """Keep a second process from doing the same.

    Args:
        root: the store as people call it. base: its folder.
    Yields:
        what does nothing, as such a lock is not lost; see `pipelines.lease`.
    Raises:
        StoreError: another process holds it, or the folder cannot be written.
    """
    try:
        file = open(f"{base}/.{name}.lock", "a+")  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        raise StoreError(f"{root}: cannot be written ({error.strerror}); choose another place") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StoreError(f"{root}: another {name} is at work ({file.read().strip()}); wait for it to end") from None
        except OSError as error:  # as on NFS without its lock service
            raise StoreError(f"{root}: cannot be locked ({error.strerror}); mount it with locks, or choose another place") from error
        try:
            file.truncate(0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            raise StoreError(f"{root}: cannot be written ({error.strerror}); free or choose another place") from error
        yield lambda: None
