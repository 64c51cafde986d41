"""Where audio is looked for: folders, patterns, files and manifests, listed as entries of one kind."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from extractors.remote import RemoteError, is_folder, listing, look, normal
from extractors.uri import called_audio, is_local, is_uri, printable, to_path, to_uri, without_secrets
from pipelines.entries import Entry, Problem, local_entry, walk
from pipelines.manifest import EXTENSIONS as MANIFESTS
from pipelines.manifest import SourceError, rows


@dataclass
class Listing:
    """What the sources hold.

    entries: by uri.
    skipped: files in folders that are not called like audio.
    covers: one test per folder or pattern: would it list this uri if the file were there?
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    covers: list[Callable[[str], bool]] = field(default_factory=list)

    def add(self, entries: Iterable[Entry | None]) -> None:
        """Take entries in; None counts as skipped. A manifest's words win over a listing without."""
        for entry in entries:
            if entry is None:
                self.skipped += 1
                continue
            before = self.entries.get(entry.uri)
            if before is None or (before.words is None and entry.words is not None):
                self.entries[entry.uri] = entry


def find(sources: Sequence[str]) -> Listing:
    """List every source.

    Args:
        sources: folders (searched through), patterns (`/music/**/*.flac`), files, manifests; paths or URIs.
    Raises:
        SourceError: a source does not exist, cannot be listed, or is a manifest without uris.
    """
    found = Listing()
    for source in sources:
        if is_local(source):
            _find_local(source, found)
            continue
        try:
            _find_remote(without_secrets(source), found)
        except FileNotFoundError:
            raise SourceError(f"{source!r}: there is nothing at this address") from None
        except (RemoteError, ValueError) as error:
            raise SourceError(str(error)) from error
    return found


def _find_local(source: str, found: Listing) -> None:
    path = os.path.abspath(to_path(source))
    if os.path.isdir(path):
        found.add(walk(path))
        found.covers.append(_under(path))
    elif os.path.lexists(path):
        if path.lower().endswith(MANIFESTS):
            _read_manifest(to_uri(path), found)
        else:
            found.add([local_entry(path)])
    elif glob.has_magic(path) and not is_uri(source):
        matched = sorted(glob.glob(path, recursive=True, include_hidden=True))
        if not matched:
            raise SourceError(f"{printable(source)}: matches nothing")
        for each in matched:
            found.add(walk(each) if os.path.isdir(each) else [local_entry(each) if called_audio(each) else None])
        found.covers.append(_matching(path))
    else:
        raise SourceError(f"{printable(source)}: no such file or folder")


def _find_remote(source: str, found: Listing) -> None:
    if source.lower().partition("?")[0].endswith(MANIFESTS):
        _read_manifest(source, found)
    elif _is_pattern(source):
        pattern = normal(source)
        places = listing(source, pattern=True)
        first = next(places, None)
        if first is None:
            raise SourceError(f"{source}: matches nothing")
        found.add(Entry(*place) if called_audio(place.uri) else None for place in itertools.chain([first], places))
        found.covers.append(_matching(pattern))
    elif is_folder(source):
        folder = normal(source)
        found.add(Entry(*place) if called_audio(place.uri) else None for place in listing(source))
        found.covers.append(lambda uri: uri.startswith(folder.rstrip("/") + "/"))
    else:
        found.add([Entry(normal(source))])


def _is_pattern(uri: str) -> bool:
    if uri.lower().startswith(("http://", "https://")):  # where ? begins a query
        return "*" in uri
    if not glob.has_magic(uri):
        return False
    try:
        look(uri)
    except FileNotFoundError:
        return True
    return False


def _read_manifest(uri: str, found: Listing) -> None:
    for reference, words in rows(uri, found.notes):
        if is_local(reference):
            found.add([local_entry(to_path(reference), words)])
        else:
            try:
                without_secrets(reference)
            except ValueError as error:
                raise SourceError(f"{printable(uri)}: {error}") from None
            try:
                found.add([Entry(normal(reference), words=words)])
            except RemoteError as error:
                found.add([Entry(printable(reference), words=words, problem=Problem("unreadable", str(error), "correct the uri"))])


def _under(folder: str) -> Callable[[str], bool]:
    prefix = folder.rstrip("/") + "/"
    return lambda uri: is_local(uri) and to_path(uri).startswith(prefix)


def _matching(pattern: str) -> Callable[[str], bool]:
    def covers(uri: str) -> bool:
        return is_local(uri) == is_local(pattern) and matches((to_path(uri) if is_local(uri) else uri).split("/"), pattern.split("/"))

    return covers


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path, or a folder that it lies in, fits a pattern; `**` stands for any number of folders.

    >>> matches("/a/b/c.wav".split("/"), "/a/**/*.wav".split("/")), matches("/a/b/c.wav".split("/"), "/a/*.wav".split("/"))
    (True, False)
    """
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])
