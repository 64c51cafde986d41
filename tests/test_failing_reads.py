"""Each read of a file fails once, or from then on: what comes of it is its sound, or an error, and never other sound."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extractors import prefetch
from extractors.audio import AudioError, probe, read, stream
from tests.sick_disk import SickDisk
from tests.sounds import SUFFIXES, music, write

RATE = 48_000
KINDS: dict[str, dict[str, str | float]] = {
    **{f"plain{suffix}": {} for suffix in SUFFIXES},
    "floats.wav": {"subtype": "FLOAT"},
    "coded.wav": {"subtype": "IMA_ADPCM"},
    "core.caf": {},
    "long.rf64": {},
    "long.w64": {},
    "chunks.wav": {},
}


def add_chunks(path: Path) -> None:
    """Put chunks of other things before and behind the sound of a WAV, as editors do."""
    data = path.read_bytes()
    front = b"JUNK" + (300).to_bytes(4, "little") + bytes(300)
    back = b"LIST" + (24).to_bytes(4, "little") + b"INFOIART" + (12).to_bytes(4, "little") + b"Somebody me\0"
    body = data[8:36] + front + data[36:] + back
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SickDisk]:
    folder = tmp_path_factory.mktemp("sick")
    (folder / "real").mkdir()
    for name, options in KINDS.items():
        write(folder / "real" / name, music(RATE, 0.3), RATE, **options)
    add_chunks(folder / "real" / "chunks.wav")
    with SickDisk(folder / "real", folder / "seen") as mounted:
        yield mounted


def whole(path: str) -> tuple[list[bytes], Any]:
    blocks, source = [], stream(path, 10_000)
    while True:
        try:
            blocks.append(next(source).tobytes())
        except StopIteration as end:
            return blocks, end.value


def attempt(ask: Callable[[str], Any], path: str) -> Any:
    try:
        return ask(path)
    except AudioError as error:
        return error


def failing(disk: SickDisk, unlucky: range) -> Iterator[int]:
    """Make these reads fail; the iterator counts all."""
    reads = itertools.count()

    def fault(name: str, offset: int, size: int) -> None:
        if next(reads) in unlucky:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.fault = fault
    return reads


def window(path: str) -> bytes:
    return read(path, 6000, 3000).tobytes()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ask", [probe, whole, window])
def test_a_read_that_fails_gives_the_same_or_an_error_of_its_storage(name: str, ask: Callable[[str], Any], disk: SickDisk) -> None:
    try_all(name, ask, disk)


@pytest.mark.parametrize("name", ["plain.flac", "plain.wav", "long.rf64"])
@pytest.mark.parametrize("ask", [whole, window])
def test_so_do_files_that_are_too_large_to_be_held(
    name: str, ask: Callable[[str], Any], disk: SickDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "MOST", 8000)
    try_all(name, ask, disk)


def try_all(name: str, ask: Callable[[str], Any], disk: SickDisk) -> None:
    path, errors = str(disk.place / name), 0
    counted = failing(disk, range(0))
    right = ask(path)
    for first in range(next(counted)):
        for last in (first + 1, 10**6):
            failing(disk, range(first, last))
            got = attempt(ask, path)
            if isinstance(got, AudioError):
                assert got.kind == "unreadable", f"read {first} to {last}"
                assert isinstance(got.__cause__, OSError)
                errors += 1
            else:
                assert got == right, f"read {first} to {last}"
    assert errors
    failing(disk, range(0))
    assert ask(path) == right


def test_where_the_system_has_no_files_in_memory_a_temporary_one_serves(disk: SickDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(disk.place / name) for name in KINDS]
    usual = [whole(name) for name in names]
    monkeypatch.delattr(os, "memfd_create")
    assert [whole(name) for name in names] == usual
