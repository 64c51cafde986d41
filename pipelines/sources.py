"""Where audio is looked for: folders, patterns, files and manifests, listed as entries of one kind."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from extractors.remote import RemoteError, is_folder, listing, look, normal
from extractors.uri import called_audio, is_local, is_uri, printable, to_path, to_uri, without_secrets
from pipelines.buckets import prepare
from pipelines.entries import Entry, Problem, local_entry, walk
from pipelines.ledger import Ledger
from pipelines.manifest import EXTENSIONS as MANIFESTS
from pipelines.manifest import SourceError, Words, rows


@dataclass
class Listing:
    """What the sources hold.

    ledger: takes the files.
    skipped: files in folders that are not called like audio.
    covers: one test per folder or pattern: would it list this uri if the file were there?
    """

    ledger: Ledger = field(default_factory=Ledger)
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    covers: list[Callable[[str], bool]] = field(default_factory=list)

    def add(self, entries: Iterable[Entry | None]) -> None:
        """Take entries in; None counts as skipped."""
        self.ledger.add(self._not_skipped(entries))

    def _not_skipped(self, entries: Iterable[Entry | None]) -> Iterator[Entry]:
        for entry in entries:
            if entry is None:
                self.skipped += 1
            else:
                yield entry


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
            prepare(source)
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
        matched = glob.iglob(path, recursive=True, include_hidden=True)
        first = next(matched, None)
        if first is None:
            raise SourceError(f"{printable(source)}: matches nothing")
        found.add(entry for each in itertools.chain([first], matched) for entry in _matched(each))
        found.covers.append(_matching(path))
    else:
        raise SourceError(f"{printable(source)}: no such file or folder")


def _matched(path: str) -> Iterable[Entry | None]:
    return walk(path) if os.path.isdir(path) else [local_entry(path) if called_audio(path) else None]


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
    found.add(_referred(uri, reference, words) for reference, words in rows(uri, found.notes))


def _referred(uri: str, reference: str, words: Words) -> Entry:
    """What a row of the manifest at `uri` names."""
    if is_local(reference):
        return local_entry(to_path(reference), words)
    try:
        without_secrets(reference)
    except ValueError as error:
        raise SourceError(f"{printable(uri)}: {error}") from None
    try:
        return Entry(normal(reference), words=words)
    except RemoteError as error:
        return Entry(printable(reference), words=words, problem=Problem("unreadable", str(error), "correct the uri"))


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
