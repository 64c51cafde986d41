"""The way into a running Ray cluster, or one line that says why there is none."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import ray
from ray import exceptions

# Ray Client's server forks while gRPC's threads run, and of some dozens of its children one dies of that.
CLIENT_TRIES = 3
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
                _connect(address, **settings)
        except exceptions.AuthenticationError:
            raise ConnectionError(f"--address {address}: RAY_AUTH_MODE is 'token', and no token was found; {_TOKEN}") from None
        except ConnectionAbortedError as error:
            way_out = "give HOST:6379 from a machine beside it, or submit the run as a job"
            raise ConnectionError(f"--address {address}: Ray Client's server starts there and ends again; {way_out}") from error
        except ConnectionError as error:
            told.seek(0)
            words = told.read()
            if b"InvalidAuthToken" in words or b"authentication token" in words:
                raise ConnectionError(f"--address {address}: the cluster wants another token, or one at all; {_TOKEN}") from error
            way_out = "see that its head runs, or leave --address out for a Ray of the run's own"
            raise ConnectionError(f"--address {address}: no Ray cluster answers there; {way_out}") from error


def _connect(address: str, **settings: Any) -> None:
    for left in reversed(range(CLIENT_TRIES)):
        try:
            ray.init(address=address, **settings)
            return
        except ConnectionAbortedError:
            if not left:
                raise


@contextlib.contextmanager
def _set_aside(told: IO[bytes]) -> Iterator[None]:
    """Whatever is written to standard error goes into a file: Ray's core writes a line there for each of its attempts.

    Ray Client says why an attempt failed to whoever reads its log at its lowest level, and to nobody else.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(told.fileno(), 2)
    client, read = logging.getLogger("ray.util.client.worker"), logging.StreamHandler()
    level = client.level
    client.addHandler(read)
    client.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        client.setLevel(level)
        client.removeHandler(read)
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
