"""Links to clips that nobody can guess, alter or use after their time.

The signature lies in the path, `…/c/<expiry>-<signature>/<name>`, as Label Studio's editor appends `lsref=1` to the query.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

LINK = re.compile(r"([1-9][0-9]{0,11})-([A-Za-z0-9_-]{43})")

# The editor leaves URLs alone that have one of these in their query.
SIGNED_QUERIES = ("X-Amz-Signature", "X-Goog-Signature", "sig")
LONGEST = 604_800  # seconds for which a presigned link holds, at most
_SIGNED = re.compile(r"\?\S*?(?:Signature|Credential|Security-Token|AWSAccessKeyId|\bsig)=[^\s'\")]*")


class Keys:
    """The secrets that sign links, one to a line, newest last; the file is made with mode 600 if it is not there.

    A change of the file counts at once, without a restart.

    Raises:
        ValueError: others may read the file, or it holds no keys: one line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[bytes, ...] = ()
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write([secrets.token_hex(32)], replace=False)
        self.all()

    def all(self) -> tuple[bytes, ...]:
        """The keys that hold now, newest last."""
        with self._lock, open(self.path, "rb") as file:
            state = os.fstat(file.fileno())
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if seen != self._seen:
                if state.st_mode & 0o077:
                    raise ValueError(f"{self.path}: others may read these keys; chmod 600 it, and rotate them")
                keys = tuple(file.read().split())
                if not keys or any(len(key) < 32 for key in keys):
                    raise ValueError(f"{self.path}: not a file of keys; delete it, and a new one is made (links signed so far end)")
                self._keys, self._seen = keys, seen
            return self._keys

    def rotate(self, keep: int = 1) -> None:
        """Sign with a new key from now on; links signed with the last `keep` keys still hold, older ones end."""
        kept = [key.decode() for key in self.all()][-keep:] if keep else []
        self._write([*kept, secrets.token_hex(32)], replace=True)

    def _write(self, keys: list[str], replace: bool) -> None:
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write("\n".join(keys) + "\n")
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(beside, self.path)
            else:  # of two processes that make it at once, the second takes the first one's
                with contextlib.suppress(FileExistsError):
                    os.link(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)


def sign(base: str, name: str, expires: datetime, keys: Keys) -> str:
    """The URL of a clip's file.

    Args:
        base: URL of the clip server as browsers reach it.
        name: as in `Cuts.files`. expires: with a time zone. Equal arguments give equal URLs.
    """
    expiry = int(expires.timestamp())
    return f"{base.rstrip('/')}/c/{expiry}-{_signature(expiry, name, keys.all()[-1])}/{name}"


def seconds_left(link: str, name: str, keys: Keys, now: float | None = None) -> float | None:
    """How long `<expiry>-<signature>` is still good for a file: 0 or less if its time is over, None if it was never signed."""
    found = LINK.fullmatch(link)
    if found is None:
        return None
    expiry = int(found[1])
    # Every key is tried, whichever fits: how long it takes tells nothing.
    fitting = [hmac.compare_digest(_signature(expiry, name, key), found[2]) for key in keys.all()]
    return expiry - (time.time() if now is None else now) if any(fitting) else None


def presigned(uri: str, seconds: int = LONGEST, endpoint: str = "") -> str:
    """A link to an object of a bucket (s3://, gs://) that its store signs; the bucket itself must send CORS headers.

    Args:
        seconds: how long it holds; S3 and Google allow seven days at most.
        endpoint: of s3://, where browsers reach the bucket, if that is not where we do.
    Raises:
        ValueError: it is longer, the filesystem signs nothing, or there are no credentials.
    """
    if not 0 < seconds <= LONGEST:
        raise ValueError(
            f"{unsigned(uri)}: presigned links hold for 1 to {LONGEST} s (seven days), not {seconds}; serve clips by earmark for longer"
        )
    from extractors.remote import RemoteError, signed

    try:
        return signed(uri, seconds, endpoint)
    except RemoteError as error:
        raise ValueError(f"{error}; or keep the store in a folder, and serve clips by earmark") from None


def as_good(link: str, new: str) -> bool:
    """Whether a presigned link can stay where a new one would do: of the same object, by the same key, with half of its time to go."""
    ends, until, now = expiry(link), expiry(new), datetime.now(UTC)
    if ends is None or until is None:
        return link == new
    same = link.partition("?")[0] == new.partition("?")[0] and _signer(link) == _signer(new)
    return same and ends - now > (until - now) / 2


def unsigned(url: str) -> str:
    """A URL without its signature, to print and to compare.

    >>> unsigned("http://host/c/1800000000-" + 43 * "x" + "/ab.mp3?lsref=1")
    'http://host/c/…/ab.mp3?lsref=1'
    >>> unsigned("https://bucket.example/a.mp3?X-Amz-Expires=60&X-Amz-Signature=0f")
    'https://bucket.example/a.mp3?…'
    """
    url = re.sub(rf"(?<=/c/){LINK.pattern}(?=/)", "…", url)
    return _SIGNED.sub("?…", url)


def expiry(url: str) -> datetime | None:
    """When a link ends, as far as it says so.

    >>> expiry("https://bucket.example/a.mp3?X-Amz-Date=20261101T120000Z&X-Amz-Expires=60&X-Amz-Signature=0f").isoformat()
    '2026-11-01T12:01:00+00:00'
    """
    split = urlsplit(url)
    if found := re.search(rf"/c/{LINK.pattern}/", split.path):
        return datetime.fromtimestamp(int(found[1]), UTC)
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    with contextlib.suppress(ValueError, OverflowError):
        for who in ("X-Amz", "X-Goog"):
            if f"{who}-Date" in query and f"{who}-Expires" in query:
                begun = datetime.strptime(query[f"{who}-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return begun + timedelta(seconds=int(query[f"{who}-Expires"]))
        if "Expires" in query:
            return datetime.fromtimestamp(int(query["Expires"]), UTC)
        if "se" in query and "sig" in query:
            return datetime.fromisoformat(query["se"])
    return None


def _signature(expiry: int, name: str, key: bytes) -> str:
    digest = hmac.new(key, f"{expiry}/{name}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _signer(url: str) -> str:
    """Whose key signed a link."""
    found = re.search(r"X-(?:Amz|Goog)-Credential=([^&%/]+)", url)
    return found[1] if found else ""
