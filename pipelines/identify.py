"""What one file is: its digest, its sound's shape, its tags; or why it cannot be used."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
from typing import NamedTuple

from extractors.audio import AudioError, AudioInfo, probe
from extractors.remote import RemoteError, look
from extractors.tags import tags
from extractors.uri import is_local, open_local, printable, shown, to_path
from pipelines.entries import Entry, Problem, irregular, refused
from pipelines.manifest import Words
from pipelines.tracks import Held


class Identity(NamedTuple):
    """A file that holds sound. modified: seconds since 1970, or None; license_source: "manifest", "tag" or None."""

    bytes: int
    sha256: str
    modified: float | None
    info: AudioInfo
    words: Words
    license_source: str | None


def unchanged(entry: Entry, held: Held | None) -> bool:
    """Whether a file is, by name, size and time, the one that an earlier scan read; without a time, nobody knows."""
    if held is None or not held.present or entry.modified is None or held.modified is None:
        return False
    # An S3 server may list thousandths of a second, and say whole ones of a single object.
    seconds = int if entry.uri.startswith(("s3://", "s3a://")) else float
    return entry.bytes == held.bytes and seconds(entry.modified) == seconds(held.modified)


def identify(entry: Entry, held: Held | None = None) -> Identity | Problem | None:
    """Read a file once and say what it is; None if it is what `held` says. Memory does not grow with the file."""
    name = shown(entry.uri)
    try:
        if entry.modified is None and not is_local(entry.uri):
            place = look(entry.uri)
            entry = entry._replace(bytes=place.bytes, modified=place.modified)
            if unchanged(entry, held):
                return None
        with open_local(entry.uri) as path:
            return _read(entry, path, name)
    except FileNotFoundError:
        if entry.modified is None:
            return Problem("missing", f"{name}: there is no such file", "restore the file, or take it out of the manifest")
        return Problem("vanished", f"{name}: was listed, and gone when it was to be read", "scan again")
    except RemoteError as error:
        return Problem("unreadable", str(error), "see that this machine may read it, and scan again")
    except OSError as error:
        if not is_local(entry.uri) or error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # this machine's fault, as a full folder for copies is
        return refused(to_path(entry.uri), error)


def _read(entry: Entry, path: str, name: str) -> Identity | Problem:
    try:
        # Without O_NONBLOCK a pipe that took the file's place since it was listed would be waited for, for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return irregular(path)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size, after = file.tell(), os.fstat(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        return refused(path, error)
    if (before.st_size, before.st_mtime) != (after.st_size, after.st_mtime):
        return Problem("changing", f"{name}: changed while it was read", "scan again when it is complete")
    try:
        info = probe(path)
    except AudioError as error:
        return Problem(error.kind, printable(str(error).replace(path, name)), error.remedy)
    if info.channels < 1 or not (math.isfinite(info.seconds) and info.seconds > 0):
        message = f"{name}: {info.channels} channels, {info.seconds} seconds"
        return Problem("no channels" if info.channels < 1 else "no samples", message, "replace the file by one that holds sound")
    words, license_source = _words(entry.words or Words(), path)
    modified = before.st_mtime if is_local(entry.uri) else entry.modified
    return Identity(size, sha256, modified, info, words, license_source)


def _words(said: Words, path: str) -> tuple[Words, str | None]:
    """The manifest's words, and the file's own where it is silent."""
    if said.title and said.artist and said.album and said.license:
        return said, "manifest"
    own = tags(path)
    words = Words(*(word or own.get(field) for field, word in said._asdict().items()))
    return words, "manifest" if said.license else "tag" if words.license else None
