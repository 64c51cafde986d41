"""Bytes read before a decoder asks for them: decoders take a read that fails for the end of a file, or never come to one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 1 << 28  # bytes of a file that are held in memory
_CHUNKS = 4096  # of a WAV or AIFF that are looked at
_SOUND = 16  # bytes of a chunk of sound that belong to its header: its name and length, and AIFF's offset and block size


def hold(descriptor: int, size: int) -> bool:
    """Put a copy in memory in a descriptor's place; a file of more than 256 MB stays where it is.

    After a read that fails, mpg123 goes on with what comes next: as many samples as there should be, and wrong ones. FFmpeg
    ends, or guesses.

    Returns:
        whether it lies in memory now.
    Raises:
        OSError: the file cannot be read.
    """
    if size > MOST:
        return False
    with _memory() as copy:
        _copy(copy, descriptor, 0, size)
        os.dup2(copy, descriptor, inheritable=False)
    return True


@contextmanager
def header_held(descriptor: int, size: int) -> Iterator[bool]:
    """While this lasts, the descriptor of a WAV or AIFF gives all but the sound from memory; then it is the file's again.

    libsndfile takes what it could not read of a header for zeros: another length, other channels, or a loop without end.

    Yields:
        whether it does; otherwise the file is none of these, or holds more than 256 MB beside its sound.
    Raises:
        OSError: the file cannot be read.
    """
    sound = _sound(descriptor, size)
    if sound is None or size - (sound[1] - sound[0]) > MOST:
        yield False
        return
    file = os.dup(descriptor)
    try:
        with _memory() as header:
            os.truncate(header, size)
            for start, end in ((0, sound[0]), (sound[1], size)):
                os.lseek(header, start, os.SEEK_SET)
                _copy(header, descriptor, start, end)
            os.dup2(header, descriptor, inheritable=False)
        try:
            yield True
        finally:
            place = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.dup2(file, descriptor, inheritable=False)
            os.lseek(descriptor, place, os.SEEK_SET)
    finally:
        os.close(file)


@contextmanager
def _memory() -> Iterator[int]:
    memory = os.memfd_create("earmark")
    try:
        yield memory
    finally:
        os.close(memory)


def _copy(copy: int, descriptor: int, start: int, end: int) -> None:
    while start < end and (sent := os.sendfile(copy, descriptor, start, end - start)):
        start += sent
    os.lseek(copy, 0, os.SEEK_SET)  # libsndfile takes a file to begin where it is


def _sound(descriptor: int, size: int) -> tuple[int, int] | None:
    """Where the sound of a WAV or AIFF begins and ends: at the file's end where none is found. None in what is neither.

    Source: EA IFF 85: chunks of a name, a length and an even number of bytes; in RIFF the length's lowest byte comes first.
    """
    head = os.pread(descriptor, 12, 0)
    match head[:4], head[8:]:
        case b"RIFF", b"WAVE":
            name = b"data"
        case b"FORM", b"AIFF" | b"AIFC":
            name = b"SSND"
        case _:
            return None
    at = 12
    for _ in range(_CHUNKS):
        chunk = os.pread(descriptor, 8, at)
        if len(chunk) < 8:
            break
        length = int.from_bytes(chunk[4:], "little" if name == b"data" else "big")
        if chunk[:4] == name:
            end = min(at + 8 + length, size)
            return min(at + _SOUND, end), end
        at += 8 + length + length % 2
    return size, size
