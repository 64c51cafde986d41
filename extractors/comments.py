"""How many tags a file has, counted before a decoder compares each with all the others: a megabyte of them is minutes of work."""

from __future__ import annotations

import os
import re

MANY = 4096  # comments or frames; a recording has dozens
# Texts, comments, lyrics, private data, chapters; apart, as an expression that begins with letters is found fast.
_FRAMES = (
    re.compile(rb"T[A-Z0-9]{2,3}\0"),
    re.compile(rb"COM[M\0]"),
    re.compile(rb"PRIV\0"),
    re.compile(rb"CHAP\0"),
    re.compile(rb"US?LT\0"),
)
_PIECE = 1 << 22  # bytes looked at together
_BLOCKS = 1024  # of FLAC's metadata
# How many bytes stand before the comments in the second packet of an Ogg stream, by how its first one begins.
_OGG = {b"OpusHead": 8, b"\x01vorbis": 7, b"\x7fFLAC": 4, b"Speex   ": 0}


def modest_comments(descriptor: int) -> bool:
    """Whether a file's tags are few enough for decoders, whose time grows with the square of their number.

    Counted are frames of ID3 in front, by their letters, comments of FLAC, and those of the first stream of an Ogg file. A megabyte of
    pictures holds such letters once by chance, not thousands of times.

    Source: id3.org, ID3 2.4.0, section 3; RFC 9639, section 8; RFC 7845, section 5.2; Vorbis I, section 5.
    """
    start, frames = 0, 0
    head = os.pread(descriptor, 10, 0)
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        for at in range(10, start, _PIECE):
            piece = os.pread(descriptor, min(_PIECE, start - at), at)
            frames += sum(len(name.findall(piece)) for name in _FRAMES)
            if frames > MANY or not piece:
                break
    mark = os.pread(descriptor, 4, start)
    comments = _of_flac(descriptor, start + 4) if mark == b"fLaC" else _of_ogg(descriptor) if mark == b"OggS" else 0
    return max(frames, comments) <= MANY


def _of_flac(descriptor: int, at: int) -> int:
    """Comments in all metadata blocks; more than a few blocks count as many comments."""
    found = 0
    for _ in range(_BLOCKS):
        head = os.pread(descriptor, 4, at)
        if len(head) < 4:
            return found
        if head[0] & 127 == 4:
            found += _claimed(descriptor, at + 4)
        if head[0] & 128:
            return found
        at += 4 + int.from_bytes(head[1:])
    return MANY + 1


def _of_ogg(descriptor: int) -> int:
    front = os.pread(descriptor, 1024, 0)
    first = 27 + front[26] if len(front) > 26 else 0
    before = next((size for name, size in _OGG.items() if front[first : first + len(name)] == name), None)
    second = front.find(b"OggS", first)
    if before is None or second < 0 or len(front) < second + 27:
        return 0
    return _claimed(descriptor, second + 27 + front[second + 26] + before)


def _claimed(descriptor: int, at: int) -> int:
    """The number of comments that is written behind the vendor's name."""
    vendor = int.from_bytes(os.pread(descriptor, 4, at), "little")
    return int.from_bytes(os.pread(descriptor, 4, at + 4 + vendor), "little")
