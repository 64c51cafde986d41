"""What a recording says about itself in its tags: title, artist, album, license."""

from __future__ import annotations

import functools
import io
import os
import struct
import sys
import threading
import types
import zlib
from typing import Any

# The first name that a file has wins; mutagen compares them as the format does. For the licence, a statement of terms
# (LICENSE, WCOP's address) says more than a copyright line.
_NAMES: dict[str, tuple[str, ...]] = {
    "title": ("TIT2", "title", "\xa9nam", "Title"),
    "artist": ("TPE1", "artist", "\xa9ART", "Author", "Artist"),
    "album": ("TALB", "album", "\xa9alb", "WM/AlbumTitle", "Album"),
    "license": (
        "license",
        "TXXX:LICENSE",
        "TXXX:license",
        "----:com.apple.iTunes:LICENSE",
        "WCOP",
        "TCOP",
        "copyright",
        "cprt",
        "Copyright",
    ),
}
_loading = threading.Lock()
# A tag may hold a whole licence, or a picture's worth of rubbish.
_LONGEST = 4096
_LARGEST = 1 << 25  # bytes of a tag that is looked into, a quarter of all that is read, and what all its frames unpack to
_COPIED = 1 << 31  # bytes that reading a file's ID3 frames may copy
_FRAME = 1 << 20  # and what each frame counts for beside, as equal names are compared with all before


class _Left(threading.local):
    """What the file at hand may still cost; for whoever uses mutagen beside us there is no end."""

    bytes = copied = sys.maxsize


class _Modest(io.FileIO):
    """A file of which little is read: a picture in a tag, wherever in the file that lies, takes four times its size."""

    left = 4 * _LARGEST

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        found = super().read(min(rest if size is None or size < 0 else size, rest, _LARGEST + 1))
        self.left -= len(found)
        if len(found) > _LARGEST or self.left < 0:
            raise ValueError("more bytes than a tag has")
        return found


class _Bounded:
    """What mutagen needs of zlib, with an end to what a file's frames may unpack to: a megabyte could be a gigabyte."""

    error = zlib.error
    left = _Left()

    @classmethod
    def decompress(cls, data: bytes) -> bytes:
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(data, max(1, cls.left.bytes))
        cls.left.bytes -= len(plain)
        if not unpacking.eof:
            raise zlib.error("cut off, or more than is unpacked of a tag")
        return plain


class _Rest(bytes):
    """What is left of a tag: mutagen copies it for each frame, so that a million frames would take an hour."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        if not isinstance(at, slice) or at.stop is not None:
            return found
        _Bounded.left.copied -= len(found) + _FRAME
        if _Bounded.left.copied < 0:
            raise ValueError("more frames than a tag has")
        return _Rest(found)


@functools.cache
def _loaded() -> Any:
    import mutagen
    import mutagen.id3._frames
    import mutagen.id3._tags

    frames, unsynch = mutagen.id3._tags.read_frames, mutagen.id3._tags.unsynch
    mutagen.id3._tags.read_frames = lambda header, data, known: frames(header, _Rest(data), known)
    mutagen.id3._tags.unsynch = types.SimpleNamespace(encode=unsynch.encode, decode=lambda data: _Rest(unsynch.decode(data)))
    mutagen.id3._frames.zlib = _Bounded
    mutagen.File(io.BytesIO())  # imports the modules of all formats
    return mutagen


def _mutagen() -> Any:
    """The library, whole: its modules import each other in a circle, of which a second thread would see half."""
    with _loading:
        return _loaded()


def tags(path: str) -> dict[str, str]:
    """The tags of a local file, by field; fields that the file does not have are absent.

    Broken tags are no tags: the sound beside them may be whole.
    """
    mutagen = _mutagen()
    _Bounded.left.bytes, _Bounded.left.copied = _LARGEST, _COPIED
    try:
        with _Modest(path) as opened:
            file = mutagen.File(opened)
    # What mutagen's parsers let through on damaged files, beside their own error.
    except (mutagen.MutagenError, OSError, ValueError, LookupError, ArithmeticError, EOFError, TypeError, AttributeError, struct.error):
        return {}
    except (AssertionError, NotImplementedError, RecursionError, MemoryError):
        return {}
    finally:
        _Bounded.left.bytes = _Bounded.left.copied = sys.maxsize
    if file is None or file.tags is None:
        return {}
    found = {field: _first(file.tags, names) for field, names in _NAMES.items()}
    return {field: text for field, text in found.items() if text}


def _first(held: Any, names: tuple[str, ...]) -> str:
    for name in names:
        try:
            value = held[name]
        # Each format has its own idea of which names may be asked for.
        except (LookupError, ValueError, TypeError):
            continue
        text = _text(value)
        if text:
            return text
    return ""


def _text(value: Any) -> str:
    """One string of a frame, a list of strings, or bytes.

    >>> _text(["Bach ", b"Gounod", ""])
    'Bach; Gounod'
    """
    if isinstance(value, list | tuple):
        return "; ".join(text for text in map(_text, value) if text)[:_LONGEST]
    plain = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return plain.replace("\x00", "; ").strip("; \t\r\n").encode("utf-8", "replace").decode()[:_LONGEST]
