"""A lock in a bucket: an object that its owner rewrites while it works, and that falls to others once nobody does.

A bucket can do one thing that only one of many succeeds with: make an object that is not there (`If-None-Match: *`). So the
lock is a row of objects, `.<name>.lock/<number>`, and the highest is its state: held, or free. Who finds it free, or dead,
makes the next.

- A killed owner locks nobody out for long. Its object grows old by the server's clock (`Date` less `Last-Modified`: no clock
  of ours counts); on its own machine its process is looked for, so that the same command goes on at once.
- An owner that only slept (a lid closed, a machine held up) may find its lock taken. It asks before each thing that it
  publishes, and ends without it; what it published before stays, and the next scan sees it. What is left is a sleep between
  asking and publishing.
- An upload whose answer was lost is sent once more, and refused as it is there: what stands then is its sender's own.
- Where the server's clocks say nothing of use, who waits finds a dead owner by watching it, for as long.
- A server that knows no such condition takes the second of two that begin at once for the owner as well; the first then
  finds the other's word in its place, and ends the same way.

`If-Match`, which would do with one object, is spelt in one way by AWS and in another by Ceph. Names of parts that follow from
their content are not enough: two scans of different sources cut what they share differently. Nor can readers choose one of
two rows: a run may have heard the one before the other came.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from pipelines.part import StoreError
from pipelines.process import alive

_BEAT_SECONDS = 10.0
_DEAD_SECONDS = 60.0


class _State(NamedTuple):
    """What the highest object says. age: seconds by the server's clock since it was written."""

    number: int
    said: dict[str, Any]
    age: float


@contextlib.contextmanager
def lease(root: str, base: str, name: str) -> Iterator[Callable[[], None]]:
    """Keep every other process, here and elsewhere, from doing the same on a store in S3.

    Args:
        root: the store's address. base: its bucket and folder.
    Yields:
        To be called before something is published: it raises StoreError if another has taken the lock meanwhile.
    Raises:
        StoreError: another is at work (which takes up to ten seconds to see), or the bucket cannot be written.
    """
    try:
        import botocore.session  # noqa: F401 - it comes with s3fs
    except ImportError as error:
        raise StoreError(f"{root}: {error}; pip install 'earmark[cloud]'") from error
    with _told(root):
        lock = _Lock(root, base, name)
        lock.take()
    done = threading.Event()
    beat = threading.Thread(target=lock.beat, args=(done,), name=f"{name} lock", daemon=True)
    beat.start()
    try:
        yield lock.check
    finally:
        done.set()
        beat.join()
        with contextlib.suppress(StoreError):  # what cannot be given back grows old
            lock.give_back()


class _Lock:
    def __init__(self, root: str, base: str, name: str) -> None:
        self.root, self.name = root, name
        bucket, _, folder = base.partition("/")
        self.bucket, self.prefix = bucket, f"{folder}/.{name}.lock/".lstrip("/")
        self.number = 0
        who = f"process {os.getpid()} on {socket.gethostname()}"
        self.own = {"who": who, "machine": _machine(), "process": os.getpid(), "nonce": uuid.uuid4().hex}
        self.client = _client(root)

    def take(self) -> None:
        first: _State | None = None
        since = time.monotonic()
        while True:
            state = self._state()
            if state and state.said.get("nonce") == self.own["nonce"]:
                self.number = state.number
                return
            silent = state and first and first[:2] == state[:2] and time.monotonic() - since > _DEAD_SECONDS
            if state is None or silent or self._over(state):
                if self._make(state.number + 1 if state else 1):
                    return
                continue
            if first is None or first.number != state.number:
                first, since = state, time.monotonic()
            local = state.said.get("machine") == _machine() != ""
            if local or first.said != state.said:
                raise StoreError(f"{self.root}: another {self.name} is at work ({state.said.get('who')}); wait for it to end")
            time.sleep(min(1.0, _BEAT_SECONDS / 2))  # it may be dead, which only time tells

    def check(self) -> None:
        with _told(self.root):
            state = self._state()
        if state is None or state.number != self.number or state.said.get("nonce") != self.own["nonce"]:
            who = state.said.get("who") if state else "somebody"
            raise StoreError(
                f"{self.root}: {who} has begun another {self.name}, as nothing was heard of this one for a while; "
                "what it published stays, and the same command goes on once the other has ended"
            )

    def beat(self, done: threading.Event) -> None:
        beats = 0
        while not done.wait(_BEAT_SECONDS):
            beats += 1
            with contextlib.suppress(StoreError):  # the network may come back; if the lock was taken, the next check says so
                self.check()
                with _told(self.root):
                    self._put(self.number, {"beats": beats})

    def give_back(self) -> None:
        self.check()
        with _told(self.root):
            self._put(self.number, {"free": True})

    def _over(self, state: _State) -> bool:
        said = state.said
        if said.get("free") or state.age > _DEAD_SECONDS:
            return True
        return said.get("machine") == _machine() != "" and not alive(int(said["process"]))

    def _state(self) -> _State | None:
        from botocore.exceptions import ClientError

        numbers = self._numbers()
        if not numbers:
            return None
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=self._key(numbers[-1]))
            said = json.loads(found["Body"].read())
        except ClientError as error:
            if _code(error) in ("NoSuchKey", "404"):  # a later owner has tidied up
                return self._state()
            raise
        except ValueError:
            said = {}
        return _State(numbers[-1], said if isinstance(said, dict) else {}, _age(found))

    def _numbers(self) -> list[int]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        names = (each["Key"].removeprefix(self.prefix) for page in pages for each in page.get("Contents", ()))
        return sorted(int(each) for each in names if each.isdecimal())

    def _make(self, number: int) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._put(number, {}, IfNoneMatch="*")
        except ClientError as error:
            if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                return False
            if _code(error) not in ("NotImplemented", "501"):
                raise
            self._put(number, {})
        self.number = number
        numbers = self._numbers()
        if numbers and numbers[-1] > number:  # made, given back and tidied up between looking and making
            return False
        with contextlib.suppress(ClientError):  # who may write need not have the right to delete
            for older in numbers:
                if older < number:
                    self.client.delete_object(Bucket=self.bucket, Key=self._key(older))
        return True

    def _put(self, number: int, more: dict[str, Any], **condition: str) -> None:
        body = json.dumps(self.own | more).encode()
        self.client.put_object(Bucket=self.bucket, Key=self._key(number), Body=body, **condition)

    def _key(self, number: int) -> str:
        return f"{self.prefix}{number:08}"


def _client(root: str) -> Any:
    import botocore.session
    from botocore.config import Config

    asked = {name: values[0] for name, values in parse_qs(root.partition("?")[2]).items()}
    endpoint = asked.get("endpoint_override")
    if endpoint and "://" not in endpoint:
        endpoint = f"{asked.get('scheme', 'https')}://{endpoint}"
    config = Config(connect_timeout=10, read_timeout=20)
    return botocore.session.get_session().create_client("s3", asked.get("region"), endpoint_url=endpoint, config=config)


@contextlib.contextmanager
def _told(root: str) -> Iterator[None]:
    """Turn what the client raises into one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StoreError(f"{root}: cannot be written ({' '.join(str(error).split())}); nothing was published") from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _age(found: Any) -> float:
    from email.utils import parsedate_to_datetime

    now = found["ResponseMetadata"]["HTTPHeaders"].get("date")
    return float((parsedate_to_datetime(now) - found["LastModified"]).total_seconds()) if now else 0.0


def _machine() -> str:
    """Where process ids mean what they mean here; "" where nobody knows."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{socket.gethostname()} {file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
