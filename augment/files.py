"""A folder of users' recordings (backgrounds, impulse responses): what lies in it, and what is said when a file fails."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from augment.augmentation import Unfit
from extractors.containers import AudioError, display_name
from extractors.uri import called_audio, printable, to_path, to_uri


@dataclass(frozen=True)
class Listing:
    """Recordings below a folder. folder: absolute. files: relative name and bytes of each, sorted by name; never empty."""

    folder: str
    files: tuple[tuple[str, int], ...]

    def uri(self, index: int) -> str:
        """Where a file is read from."""
        return to_uri(os.path.join(self.folder, self.files[index][0]))

    def digest(self) -> str:
        """16 hex digits of all names and sizes, wherever the folder lies."""
        lines = (os.fsencode(name) + b"\0%d\0" % size for name, size in self.files)
        return hashlib.sha256(b"".join(lines)).hexdigest()[:16]


def listing(folder: str) -> Listing:
    """List the recordings in a folder and the folders below it; hidden ones and links to folders are left out.

    Args:
        folder: a path, or a file:// URI.
    Raises:
        FileNotFoundError: no such folder, or no recording in it.
        OSError: a folder cannot be read.
        ValueError: a URI of another machine.
    """
    path = os.path.abspath(to_path(folder))
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{printable(folder)}: no such folder; name one that holds recordings")
    files: list[tuple[str, int]] = []
    for below, folders, names in os.walk(path, onerror=_raise):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for name in names:
            file = os.path.join(below, name)
            if not name.startswith(".") and called_audio(name) and os.path.isfile(file):
                files.append((os.path.relpath(file, path), os.path.getsize(file)))
    if not files:
        raise FileNotFoundError(f"{printable(folder)}: no recording in this folder; put some there (wav, flac, mp3, ...)")
    return Listing(path, tuple(sorted(files)))


def _raise(error: OSError) -> NoReturn:
    raise error


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """What reading a user's file raises, in terms of a view: for use around extractors.audio's functions.

    Raises:
        FileNotFoundError: the file is no longer there; nothing is wrong with the clip, so all its neighbours wait for the file.
        Unfit: the file gives no sound.
    """
    try:
        yield
    except AudioError as error:
        path = to_path(uri)
        if error.kind == "vanished":
            raise FileNotFoundError(f"{printable(path)}: no longer there; put it back and run again") from error
        reason = str(error).removeprefix(f"{display_name(path)}: ")
        raise Unfit(f"{printable(path)}: {reason}", error.kind, "repair the file, or take it out of its folder") from error
