"""The way into a running Ray cluster, or one line that says why there is none."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import ray
from ray import exceptions

_TOKEN = "put the cluster's into ~/.ray/auth_token (mode 600) and set RAY_AUTH_MODE=token"


def enter(address: str, **settings: Any) -> None:
    """Connect this process to a cluster.

    Args:
        address: "auto", "host:6379" or "ray://host:10001".
        settings: as `ray.init` has them.
    Raises:
        ConnectionError: no cluster answers there, or it wants a token that was not shown.
    """
    with tempfile.TemporaryFile() as told:
        try:
            with _set_aside(told):
                ray.init(address=address, **settings)
        except exceptions.AuthenticationError:
            raise ConnectionError(f"--address {address}: RAY_AUTH_MODE is 'token', and no token was found; {_TOKEN}") from None
        except ConnectionError as error:
            told.seek(0)
            if b"InvalidAuthToken" in told.read():
                raise ConnectionError(f"--address {address}: the cluster wants another token, or one at all; {_TOKEN}") from error
            way_out = "see that its head runs, or leave --address out for a Ray of the run's own"
            raise ConnectionError(f"--address {address}: no Ray cluster answers there; {way_out}") from error


@contextlib.contextmanager
def _set_aside(told: IO[bytes]) -> Iterator[None]:
    """Whatever is written to standard error goes into a file: Ray's core writes a line there for each of its attempts."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(told.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
