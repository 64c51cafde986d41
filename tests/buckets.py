"""An S3 server of this machine for tests, moto's: rules for pages of other origins hold on it, and keys count where a test says so.

As many servers do that are not AWS's, it refuses uploads with a checksum behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import boto3
import httpx
import pytest
import s3fs

SECRET, TOKEN = "sEcReT/hidden+key", "sEsSiOnToKeN=="
KEY = "AKIAHIDDEN"


@contextmanager
def s3_server() -> Iterator[str]:
    """A server; its address."""
    from moto.moto_server import werkzeug_app
    from moto.server import ThreadedMotoServer

    answer = werkzeug_app.DomainDispatcherApplication.__call__

    def strictly(self: Any, environ: dict[str, Any], start_response: Any) -> Any:
        if "HTTP_X_AMZ_TRAILER" in environ:
            start_response("411 Length Required", [("Content-Length", "0")])
            return []
        return answer(self, environ, start_response)

    # moto lets every page read everything; a bucket lets those that its rules name.
    strict = patch.object(werkzeug_app.DomainDispatcherApplication, "__call__", strictly)
    with strict, patch.object(werkzeug_app, "DISABLE_GLOBAL_CORS", True):
        running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        running.start()
        host, port = running.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            running.stop()


def enter(patch: pytest.MonkeyPatch, endpoint: str, key: str = KEY, secret: str = SECRET, token: str = TOKEN) -> None:
    """Set the environment by which commands open buckets; what was opened by another is forgotten."""
    s3fs.S3FileSystem.clear_instance_cache()
    patch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "")  # so that what commands set goes with the test
    patch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    values = {"ACCESS_KEY_ID": key, "SECRET_ACCESS_KEY": secret, "SESSION_TOKEN": token, "ENDPOINT_URL": endpoint}
    for name, value in {**values, "DEFAULT_REGION": "us-east-1", "REGION": "us-east-1", "MAX_ATTEMPTS": "1"}.items():
        patch.setenv(f"AWS_{name}", value) if value else patch.delenv(f"AWS_{name}", raising=False)


def new_bucket(endpoint: str) -> Any:
    """An empty bucket with a name of its own."""
    return boto3.resource("s3", endpoint_url=endpoint).create_bucket(Bucket=f"music-{uuid4().hex[:8]}")


@contextmanager
def guarded(endpoint: str, **actions: list[str]) -> Iterator[dict[str, tuple[str, str]]]:
    """While this lasts, requests need the keys of somebody who may: (key, secret) by name, of each with the actions allowed to them."""
    people, keys = boto3.client("iam", endpoint_url=endpoint), {}
    for name, allowed in actions.items():
        people.create_user(UserName=name)
        rule = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
        people.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(rule))
        made = people.create_access_key(UserName=name)["AccessKey"]
        keys[name] = (made["AccessKeyId"], made["SecretAccessKey"])
    _free_requests(endpoint, "0")
    try:
        yield keys
    finally:
        _free_requests(endpoint, "inf")


def _free_requests(endpoint: str, count: str) -> None:
    headers = {"Content-Type": "text/plain"}
    httpx.post(f"{endpoint}/moto-api/reset-auth", content=count, headers=headers).raise_for_status()


def holding(words: tuple[str, ...], folder: Path) -> list[Path]:
    """The files below a folder in which any of these words occurs."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in found if any(word.encode() in path.read_bytes() for word in words)]
