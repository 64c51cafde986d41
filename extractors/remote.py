"""Files that are not of this machine: what fsspec's filesystems say of them, and copies to read from."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from extractors.uri import encodes, printable

# One download at a time for each thread of ours: otherwise s3fs holds ten pieces of 50 MB per file, and aiohttp ends a
# download after five minutes even though it gets on.
_STREAMS = 1
_SILENCE_SECONDS = 60.0
# Folders that are listed one by one, at most.
_FOLDERS = 1000


class RemoteError(OSError):
    """What a filesystem would not give; the message names the URI and the cause."""


class Place(NamedTuple):
    """A file in a listing. bytes, modified (seconds since 1970): None where the filesystem does not say."""

    uri: str
    bytes: int | None
    modified: float | None


def normal(uri: str) -> str:
    """One spelling of a remote URI, the one that listings give.

    Raises:
        RemoteError: no filesystem is known for its scheme.
    """
    if "::" in uri:
        return uri
    filesystem, path = _open(uri)
    return str(filesystem.unstrip_protocol(path))


def look(uri: str) -> Place:
    """What the filesystem says of one remote file.

    Raises:
        FileNotFoundError: there is none.
        RemoteError: the filesystem does not answer.
    """
    with _named(uri):
        filesystem, path = _open(uri)
        info = filesystem.info(path)
        return Place(uri, info.get("size"), _modified(info))


def is_folder(uri: str) -> bool:
    """Whether a remote URI is a folder; of a web address, whether it ends in a slash.

    Raises:
        FileNotFoundError: there is nothing.
        RemoteError: the filesystem does not answer.
    """
    if uri.lower().startswith(("http://", "https://")):
        return uri.endswith("/")
    with _named(uri):
        filesystem, path = _open(uri)
        return bool(filesystem.info(path)["type"] == "directory")


def listing(uri: str, pattern: bool = False) -> Iterator[Place]:
    """All files below a remote folder, or those that match a remote pattern, as they are asked for; most filesystems give them by name.

    S3 is listed page by page. Other filesystems answer with a dictionary for each file, a kilobyte or two, and remember it; so folders
    are listed one by one where they are few, and what was passed on is let go.

    Raises:
        FileNotFoundError: there is no such folder.
        RemoteError: the filesystem does not answer.
    """
    with _named(uri):
        filesystem, path = _open(uri)
        if hasattr(filesystem, "call_s3") and not pattern:
            yield from _pages(filesystem, path)
            return
        if pattern:
            top = list(filesystem.glob(path, detail=True).items())
        else:
            top = [(str(info["name"]), info) for info in filesystem.ls(path, detail=True)]
            folders = sum(info["type"] == "directory" for _, info in top)
            # Each folder is a request of its own, and one request names a thousand files: of many small folders all are listed at once.
            if folders > _FOLDERS or any(name.rstrip("/") == path.rstrip("/") for name, _ in top):
                top = [(path, {"type": "directory"})]
        # By name, as what lies in a folder comes where its name and a slash would; the last is taken first.
        top.sort(key=lambda each: each[0].rstrip("/") + "/" * (each[1]["type"] == "directory"), reverse=True)
        while top:
            name, info = top.pop()
            found: dict[str, Mapping[str, Any]] = filesystem.find(name, detail=True) if info["type"] == "directory" else {name: info}
            filesystem.invalidate_cache()
            for each in list(found):
                said = found.pop(each)
                yield Place(str(filesystem.unstrip_protocol(each)), said.get("size"), _modified(said))


def _pages(filesystem: Any, path: str) -> Iterator[Place]:
    """What lies below a folder of a bucket, a thousand objects at a time, however deep."""
    bucket, _, folder = path.partition("/")
    asked = {"Bucket": bucket, "Prefix": folder.rstrip("/") + "/" * bool(folder), **filesystem.req_kw}
    page: dict[str, Any] = {"IsTruncated": True}
    while page["IsTruncated"]:
        page = filesystem.call_s3("list_objects_v2", **asked)
        if not page.get("Contents") and "ContinuationToken" not in asked:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        for each in page.get("Contents", ()):
            if not each["Key"].endswith("/"):  # what some tools leave in place of a folder
                yield Place(str(filesystem.unstrip_protocol(f"{bucket}/{each['Key']}")), each["Size"], _modified(each))
        asked["ContinuationToken"] = page.get("NextContinuationToken")


def fetch(uri: str, folder: str) -> str:
    """Copy a remote file into a local folder, under its own name as far as that is harmless, in bounded memory.

    Returns:
        The copy's path.
    Raises:
        FileNotFoundError: there is none.
        RemoteError: it cannot be fetched, or not to its end.
        OSError: the folder's disk is full (ENOSPC).
    """
    from fsspec.callbacks import Callback

    name = re.sub(r"[^\w.-]", "_", uri.partition("::")[0].partition("?")[0].rstrip("/").rpartition("/")[2])[-80:]
    local = os.path.join(folder, name or "audio")
    with _named(uri):
        filesystem, path = _open(uri)
        told = Callback()
        filesystem.get_file(path, local, callback=told)
        # The clients mind the length that came with a body; where none did, a connection that breaks looks like the end.
        whole = filesystem.info(path).get("size") if told.size is None else None
    if whole is not None and (got := os.path.getsize(local)) < whole:
        raise RemoteError(f"{uri!r}: ended after {got} of {whole} bytes")
    return local


def signed(uri: str, seconds: int, endpoint: str = "") -> str:
    """A link by which anybody may read one file for so long, signed by its filesystem.

    Args:
        endpoint: of s3://, where browsers reach it, if that is not where we do.
    Raises:
        RemoteError: it signs none, or there are no credentials.
    """
    # The older signature of S3 is over what Label Studio does not recognise.
    s3: dict[str, Any] = {"config_kwargs": {"signature_version": "s3v4"}} | ({"endpoint_url": endpoint} if endpoint else {})
    with _named(uri):
        filesystem, path = _open(uri, **(s3 if uri.startswith(("s3://", "s3a://")) else {}))
        try:
            return str(filesystem.sign(path, expiration=seconds))
        except NotImplementedError:
            raise RemoteError(f"{uri!r}: {uri.partition('://')[0]} signs no links") from None


def _open(uri: str, **options: Any) -> tuple[Any, str]:
    import fsspec

    if not encodes(uri):
        raise RemoteError(f"{printable(uri)}: not UTF-8")
    if uri[:5].lower() == "file:":
        raise RemoteError(f"{uri!r}: not a file of this machine")
    try:
        if uri.startswith(("s3://", "s3a://")):
            options["max_concurrency"] = _STREAMS
        elif uri.lower().startswith(("http://", "https://")):
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE_SECONDS, sock_read=_SILENCE_SECONDS)
            options["client_kwargs"] = {"timeout": timeout}
        filesystem, path = fsspec.core.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise RemoteError(f"{uri!r}: {error}") from error
    return filesystem, str(path)


@contextlib.contextmanager
def _named(uri: str) -> Iterator[None]:
    """Turn what the libraries behind fsspec raise into errors that name the URI."""
    try:
        yield
    except (FileNotFoundError, RemoteError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # our own disk, not the file, is at fault
            raise
        raise RemoteError(f"{uri!r}: {_said(error)}") from error
    except _client_errors() as error:
        raise RemoteError(f"{uri!r}: {_said(error)}") from error


def _client_errors() -> tuple[type[Exception], ...]:
    # Only what is loaded can have raised; loading the others to name their errors would cost a second.
    names = [
        ("aiohttp", "ClientError"),
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("google.auth.exceptions", "GoogleAuthError"),
        ("gcsfs.retry", "HttpError"),
        ("requests", "RequestException"),
    ]
    return (ValueError, NotImplementedError, *(getattr(sys.modules[module], name) for module, name in names if module in sys.modules))


def _said(error: Exception) -> str:
    return printable(str(error)) or type(error).__name__


def _modified(info: Mapping[str, Any]) -> float | None:
    """Seconds since 1970, from whichever field and form the filesystem uses."""
    for field in ("mtime", "LastModified", "last_modified", "updated", "Last-Modified", "created"):
        said = info.get(field)
        try:
            if isinstance(said, str):
                said = parsedate_to_datetime(said) if "," in said else datetime.fromisoformat(said)
            if isinstance(said, datetime):
                return said.timestamp()
            if isinstance(said, int | float):
                return float(said)
        except ValueError:
            continue
    return None
