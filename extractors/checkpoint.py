"""TensorFlow's checkpoints (version 2, the "tensor bundle"), read without TensorFlow.

A checkpoint is a table of entries (`.index`) beside raw tensors (`.data-00000-of-00001`). The table has LevelDB's format
(https://github.com/google/leveldb/blob/main/doc/table_format.md); its values are protocol buffers (TensorFlow's
tensor_bundle.proto). Every block and every tensor has a CRC-32C, and all that is read is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractors.checksum import crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes: two block handles, padding, the magic number
_TRAILER = 5  # bytes after a block: how it is compressed, its checksum
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}  # by TensorFlow's DataType: what weights are kept in


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: which file, and what is wrong with it."""


@dataclass(frozen=True)
class _Entry:
    dtype: int
    shape: tuple[int, ...]
    part: int
    offset: int
    size: int
    checksum: int


class Tensors(dict[str, NDArray[Any]]):
    """Tensors by name, which say where a name should have been that is missing."""

    def __init__(self, index: Path) -> None:
        super().__init__()
        self.index = index

    def __missing__(self, name: str) -> NDArray[Any]:
        raise CheckpointError(f"{self.index}: has no tensor {name!r}, only {', '.join(sorted(self)[:5])}, …")


def read_checkpoint(index: Path, wanted: Callable[[str], bool] = lambda name: True) -> Tensors:
    """The tensors of a checkpoint.

    Args:
        index: the checkpoint's .index file; its data lie beside it.
        wanted: which tensors to read, by name; all if absent.
    Returns:
        name → read-only array of the shape that was saved. A name that is not there raises CheckpointError.
    Raises:
        CheckpointError: a file is missing, truncated, compressed or damaged, or a tensor is of a kind that is not read here.
    """
    entries = _entries(index)
    data = index.with_name(index.name.removesuffix(".index") + ".data-00000-of-00001")
    try:
        with data.open("rb") as file:
            tensors, there = Tensors(index), file.seek(0, 2)
            for name, entry in entries.items():
                if wanted(name):
                    # Python makes room for as many bytes as are asked for, before it sees how many there are.
                    if entry.offset + entry.size > there:
                        raise CheckpointError(f"{data}: {name} is truncated ({max(0, there - entry.offset)} of {entry.size} bytes)")
                    file.seek(entry.offset)
                    tensors[name] = _tensor(f"{data}: {name}", entry, file.read(entry.size))
            return tensors
    except OSError as error:
        raise CheckpointError(f"{data}: cannot be read: {error.strerror}") from error


def _masked(checksum: int) -> int:
    """A checksum as LevelDB and TensorFlow store it: turned and moved, so that a checksum of checksums stays sound."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _tensor(what: str, entry: _Entry, raw: bytes) -> NDArray[Any]:
    if entry.part != 0:
        raise CheckpointError(f"{what} lies in part {entry.part}; only checkpoints with one part of data are read")
    if entry.dtype not in _DTYPES:
        raise CheckpointError(f"{what} has TensorFlow's type {entry.dtype}; only types {', '.join(map(str, _DTYPES))} are read")
    if _masked(crc32c(raw)) != entry.checksum:
        raise CheckpointError(f"{what} is damaged: its checksum does not match")
    kind = np.dtype(_DTYPES[entry.dtype])
    if len(raw) != kind.itemsize * math.prod(entry.shape):
        raise CheckpointError(f"{what} is damaged: {len(raw)} bytes are not {entry.shape} of {kind.name}")
    return np.frombuffer(raw, kind).reshape(entry.shape)


def _entries(index: Path) -> dict[str, _Entry]:
    try:
        table = index.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{index}: cannot be read: {error.strerror}") from error
    if len(table) < _FOOTER or int.from_bytes(table[-8:], "little") != _MAGIC:
        raise CheckpointError(f"{index}: truncated, or no index of a TensorFlow checkpoint ({len(table)} bytes)")
    try:
        _, _, at = _handle(table, len(table) - _FOOTER)  # the metaindex's handle comes first; nothing is kept there
        blocks = [_handle(handle, 0)[:2] for _, handle in _rows(_block(table, *_handle(table, at)[:2], index))]
        rows = [row for place in blocks for row in _rows(_block(table, *place, index))]
        # The empty name holds the header: number of parts, byte order.
        return {name.decode(): _entry(value) for name, value in rows if name}
    except (IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{index}: damaged: an entry makes no sense") from error


def _block(table: bytes, offset: int, size: int, index: Path) -> bytes:
    block = table[offset : offset + size]
    trailer = table[offset + size : offset + size + _TRAILER]
    if len(block) != size or len(trailer) != _TRAILER:
        raise CheckpointError(f"{index}: truncated: a block of {size} bytes at {offset} runs past the end")
    if _masked(crc32c(block + trailer[:1])) != int.from_bytes(trailer[1:], "little"):
        raise CheckpointError(f"{index}: damaged: the block at {offset} does not match its checksum")
    if trailer[0] != 0:
        raise CheckpointError(f"{index}: compressed blocks (kind {trailer[0]}) are not read")
    return block


def _rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block. A key shares its beginning with the key before it."""
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")  # the places where sharing starts anew, and how many they are
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def _handle(raw: bytes, at: int) -> tuple[int, int, int]:
    """Where a block lies (offset, size), and where the next thing after this handle begins."""
    offset, at = _varint(raw, at)
    size, at = _varint(raw, at)
    return offset, size, at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """
    >>> _varint(bytes([0xAC, 0x02]), 0)
    (300, 2)
    """
    value = shift = 0
    while True:
        value |= (raw[at] & 127) << shift
        shift += 7
        at += 1
        if raw[at - 1] < 128:
            return value, at
        if shift > 63:
            raise IndexError(at)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbered fields of a protocol buffer: whole numbers, and bytes for what is nested."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield field, number
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, at = _varint(message, at)
        elif not size:
            raise IndexError(kind)
        piece, at = message[at : at + size], at + size
        yield field, piece if kind == 2 else int.from_bytes(piece, "little")


def _entry(message: bytes) -> _Entry:
    fields = dict(_fields(message))  # of BundleEntryProto: 1 dtype, 2 shape, 3 shard_id, 4 offset, 5 size, 6 crc32c

    def number(field: int) -> int:
        value = fields.get(field, 0)
        if isinstance(value, bytes):
            raise IndexError(field)
        return value

    shape = fields.get(2, b"")
    dims = [dict(_fields(dim)) for _, dim in _fields(shape if isinstance(shape, bytes) else b"") if isinstance(dim, bytes)]
    sizes = tuple(size for size in (dim.get(1, 0) for dim in dims) if isinstance(size, int))
    return _Entry(number(1), sizes, number(3), number(4), number(5), number(6))
