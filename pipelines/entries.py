"""Files that may be audio: what the system says of each before it is read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from extractors.uri import called_audio, printable, to_uri
from pipelines.manifest import Words


class Problem(NamedTuple):
    """Why a file cannot be used: a short cause, a sentence that names the file, and what would help."""

    error: str
    message: str
    remedy: str


class Entry(NamedTuple):
    """A file that may be audio. bytes, modified: None where the source does not say; words: a manifest's, or None."""

    uri: str
    bytes: int | None = None
    modified: float | None = None
    words: Words | None = None
    problem: Problem | None = None


def local_entry(path: str, words: Words | None = None) -> Entry:
    """An entry for a local file, which may turn out to be none."""
    uri = to_uri(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        return Entry(uri, words=words, problem=refused(path, error))
    return _entry(uri, path, status, words)


def refused(path: str, error: OSError | ValueError) -> Problem:
    """The cause that the system gave for not opening a path."""
    name = printable(path)
    if isinstance(error, ValueError):
        return Problem("unreadable", f"{name}: not a path ({error})", "correct the uri")
    if error.errno == errno.ELOOP or (isinstance(error, FileNotFoundError) and os.path.islink(path)):
        return Problem("broken link", f"{name}: a link that leads nowhere", "remove the link or restore its target")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Problem("missing", f"{name}: there is no such file", "restore the file, or take it out of the manifest")
    return Problem("unreadable", f"{name}: {error.strerror or error}", "make the file readable and scan again")


def irregular(path: str) -> Problem:
    """The cause for what is neither a file nor a folder, and might never end."""
    return Problem("not a file", f"{printable(path)}: a folder, pipe, socket or device, not a file", "name a regular file")


def walk(top: str) -> Iterator[Entry | None]:
    """Everything below a folder, in the order of the disk; None for each file that is not called like audio.

    Links to files are followed. Links to folders are, too, after all that is no link, and each folder is entered once:
    loops end, and what is reached twice keeps the name without the link.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [top], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            below, linked = list[str](), list[str]()
            with os.scandir(folder) as scanned:
                for each in scanned:
                    yield from _below(each, below, linked)
        except OSError as error:
            yield Entry(to_uri(folder), problem=refused(folder, error))
            continue
        folders += sorted(below)
        links += sorted(linked)


def _below(each: os.DirEntry[str], folders: list[str], links: list[str]) -> Iterator[Entry | None]:
    try:
        if each.is_dir(follow_symlinks=False):
            folders.append(each.path)
        elif each.is_symlink() and each.is_dir():
            links.append(each.path)
        elif called_audio(each.name):
            yield _entry(to_uri(each.path), each.path, each.stat(), None)
        else:
            yield None
    except OSError as error:
        yield Entry(to_uri(each.path), problem=refused(each.path, error)) if called_audio(each.name) else None


def _entry(uri: str, path: str, status: os.stat_result, words: Words | None) -> Entry:
    problem = None if stat.S_ISREG(status.st_mode) else irregular(path)
    return Entry(uri, status.st_size, status.st_mtime, words, problem)
