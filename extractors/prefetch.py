"""Bytes read before a decoder asks for them: decoders take a read that fails for the end of a file, or never come to one."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from extractors.chunks import FORMS, chunks

MOST = 1 << 28  # bytes of a file that are held in memory
_BLOCK = 1 << 20
_CHUNKS = 4096  # of a file that are looked at
_OPENING = 8  # bytes of a chunk of sound that are no sound yet: AIFF's offset and block size, CAF's number of edits


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
    """While this lasts, the descriptor of a WAV, AIFF or the like gives all but the sound from memory; then the file's again.

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
    if not hasattr(os, "memfd_create"):  # Linux has it
        with tempfile.TemporaryFile(buffering=0) as file:
            yield file.fileno()
        return
    memory = os.memfd_create("earmark")
    try:
        yield memory
    finally:
        os.close(memory)


def _copy(copy: int, descriptor: int, start: int, end: int) -> None:
    while block := os.pread(descriptor, min(_BLOCK, end - start), start):
        start += os.write(copy, block)
    os.lseek(copy, 0, os.SEEK_SET)  # libsndfile takes a file to begin where it is


def _sound(descriptor: int, size: int) -> tuple[int, int] | None:
    """Where the sound of a file of chunks begins and ends: at the file's end where none is found. None for other files."""
    form = FORMS.get(os.pread(descriptor, 4, 0))
    if form is None:
        return None
    for name, start, end in itertools.islice(chunks(descriptor, form.first, size, form), _CHUNKS):
        if name[:4] in (b"data", b"SSND"):
            return min(start + _OPENING, end), end
    return size, size
