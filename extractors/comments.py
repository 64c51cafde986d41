"""How many tags a file has, counted before a decoder compares each with all the others: a megabyte of them is minutes of work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from extractors.chunks import FORMS, Form, chunks

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
_CHUNKS = 1 << 16  # of RIFF and its like
# How many bytes stand before the comments in the second packet of an Ogg stream, by how its first one begins.
_OGG = {b"OpusHead": 8, b"\x01vorbis": 7, b"\x7fFLAC": 4, b"Speex   ": 0}
_PAGES = 64  # of other streams, between the first and the second page of one
_W64_INFO = bytes.fromhex("bc945f925a52d21186dc00c04f8edb8a")
# What stands before the number of tags in an ASF file: the objects' names, and their sizes.
_ASF = [
    bytes.fromhex(name)
    for name in ("40a4d0d207e3d21197f000a0c95ea850", "eacbf8c5af5b48778467aa8c44fa4cca", "941c23449894d149a1411d134e457054")
]


def modest_comments(descriptor: int) -> bool:
    """Whether a file's tags are few enough for decoders, whose time grows with the square of their number.

    Counted are frames of ID3, by their letters, in front and in chunks of RIFF and AIFF; comments of FLAC and Ogg; entries of RIFF's INFO
    and CAF's info; names of tags of Matroska and ASF; items of APE. A megabyte of pictures holds such letters once by chance, not
    thousands of times.

    Source: id3.org, ID3 2.4.0, section 3; RFC 9639, section 8; RFC 7845, section 5.2; Vorbis I, section 5; Microsoft, RIFF 1991, INFO;
    Apple, CAF 1.0, information chunk; RFC 9559, section 5.1.8; Microsoft, ASF 01.20.05, sections 3.11 and 4.7; APEv2.
    """
    size, start, frames = os.fstat(descriptor).st_size, 0, 0
    while (head := os.pread(descriptor, 10, start))[:3] == b"ID3" and len(head) == 10:
        end = start + 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        frames += _frames(descriptor, start + 10, end) + 1
        if frames > MANY:
            return False
        start = end + (10 if head[5] & 0x10 else 0)
    mark = os.pread(descriptor, 4, start)
    if mark == b"fLaC":
        found = _of_flac(descriptor, start + 4)
    elif mark == b"OggS":
        found = _of_ogg(descriptor, start, size)
    elif mark in FORMS:
        found = _of_chunks(descriptor, start, size, FORMS[mark])
    elif mark == b"\x1aE\xdf\xa3":
        # A cover's or sound's bytes are such a name by chance, once in 65,536.
        found = sum(1 for _ in _places(descriptor, start, size, b"\x45\xa3")) - (size >> 15)
    elif mark == b"0&\xb2u":
        found = sum(int.from_bytes(after[8:10], "little") for name in _ASF for _, after in _places(descriptor, start, size, name))
    else:
        found = (MANY + 1) * (mark[:3] == b"FLV" and start > 0)  # nobody puts ID3 there, and `modest_tables` looks at the beginning
    return max(frames, found, *(_of_ape(descriptor, size - 32 - behind) for behind in (0, 128))) <= MANY


def _frames(descriptor: int, start: int, end: int) -> int:
    """Frames of ID3 by their letters; no more are counted once there are too many."""
    frames = 0
    for at in range(start, end, _PIECE):
        piece = os.pread(descriptor, min(_PIECE, end - at), at)
        frames += sum(len(name.findall(piece)) for name in _FRAMES)
        if frames > MANY or not piece:
            break
    return frames


def _places(descriptor: int, at: int, end: int, name: bytes) -> Iterator[tuple[int, bytes]]:
    """Where a name stands, and the sixteen bytes behind it."""
    while at < end:
        piece = os.pread(descriptor, _PIECE + len(name) + 16, at)
        found = piece.find(name)
        while 0 <= found < _PIECE:
            yield at + found, piece[found + len(name) : found + len(name) + 16]
            found = piece.find(name, found + 1)
        at += _PIECE


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


def _of_ogg(descriptor: int, start: int, size: int) -> int:
    """Comments of all streams, chained or at once."""
    found = 0
    for at, _ in _places(descriptor, start, size, b"OggS\0\2"):
        found += 1 + _of_stream(descriptor, at)
        if found > MANY:
            break
    return found


def _of_stream(descriptor: int, at: int) -> int:
    front = os.pread(descriptor, 1 << 16, at)
    first = 27 + front[26] if len(front) > 26 else 0
    before = next((size for name, size in _OGG.items() if front[first : first + len(name)] == name), None)
    second = front.find(b"OggS", first)
    for _ in range(_PAGES):  # streams that sound together begin together
        if second < 0 or front[second + 14 : second + 18] == front[14:18]:
            break
        second = front.find(b"OggS", second + 4)
    if before is None or second < 0 or len(front) < second + 27:
        return 0
    return _claimed(descriptor, at + second + 27 + front[second + 26] + before)


def _claimed(descriptor: int, at: int) -> int:
    """The number of comments that is written behind the vendor's name."""
    vendor = int.from_bytes(os.pread(descriptor, 4, at), "little")
    return int.from_bytes(os.pread(descriptor, 4, at + 4 + vendor), "little")


def _of_chunks(descriptor: int, start: int, size: int, form: Form) -> int:
    """Entries of INFO and frames of ID3 in a file of chunks; very many chunks count as many comments."""
    found, waiting, seen = 0, [(start + form.first, size)], 0
    while waiting:
        for name, body, end in chunks(descriptor, *waiting.pop(), form):
            seen += 1
            if name == b"LIST":
                kind = os.pread(descriptor, 4, body)
                if kind == b"INFO":
                    found += sum(1 for _ in zip(range(MANY + 1), chunks(descriptor, body + 4, end, form), strict=False))
                elif kind != b"movi":  # an AVI's streams
                    waiting.append((body + 4, end))
            elif form.size == 8 and name in (b"info", _W64_INFO):  # of RIFF it is anything
                found += int.from_bytes(os.pread(descriptor, 4, body), form.order)
            elif name in (b"id3 ", b"ID3 "):
                found += _frames(descriptor, body, end)
            if found > MANY or seen > _CHUNKS:
                return MANY + 1
    return found


def _of_ape(descriptor: int, at: int) -> int:
    """Items that an APE tag's footer claims."""
    foot = os.pread(descriptor, 20, at) if at >= 0 else b""
    return int.from_bytes(foot[16:20], "little") if foot[:8] == b"APETAGEX" else 0
