"""One Parquet part: written beside its place, moved there in one step, so that it is whole or absent."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
import uuid
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.process import alive

# Rows gather until they are this large, whatever batches they come in: the same rows give the same bytes.
ROW_GROUP_BYTES = 8 << 20


class StoreError(Exception):
    """A store that cannot be read or written as asked."""


class PartWriter:
    """A part under way, in a folder that is there. `publish` makes it visible; leaving the `with` without it leaves nothing behind.

    Raises:
        StoreError: the disk is full or may not be written, or the rows are not as many as announced.
    """

    def __init__(self, filesystem: pafs.FileSystem, path: str, schema: pa.Schema, row_group_bytes: int = ROW_GROUP_BYTES) -> None:
        self.path = path
        self.row_group_bytes = row_group_bytes
        self.schema = schema
        self.rows = 0
        self._filesystem = filesystem
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._attempt = ""
        self._sink: Any = io.BytesIO()
        if isinstance(filesystem, pafs.LocalFileSystem):
            self._attempt = attempt(path)
            try:
                self._sink = open(self._attempt, "wb")  # noqa: SIM115 - closed by publish or __exit__
            except OSError as error:
                raise StoreError(f"{path}: {error.strerror}; free or choose another place") from error
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            compression_level=1,
            # Dictionaries of floats cost time and save nothing; byte-stream-split of float16 is refused by DuckDB.
            use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
            use_byte_stream_split=[_leaf(field) for field in schema if pa.types.is_float32(_element(field.type))],
            write_statistics=[field.name for field in schema if not pa.types.is_nested(field.type)],
        )

    def append(self, rows: pa.Table) -> None:
        """Add rows, in order."""
        self.rows += rows.num_rows
        at = 0
        # Row groups are cut by the rows' own size, never where a batch happens to end.
        per_row = max(1, rows.nbytes // max(1, rows.num_rows))
        while at < rows.num_rows:
            take = min(rows.num_rows - at, max(1, -(-(self.row_group_bytes - self._waiting_bytes) // per_row)))
            self._waiting.append(rows.slice(at, take))
            self._waiting_bytes += take * per_row
            at += take
            if self._waiting_bytes >= self.row_group_bytes:
                self._flush()

    def publish(self, rows: int) -> int:
        """Put the part in its place.

        Args:
            rows: how many it must have; the last check before anybody sees it.
        Returns:
            The part's size in bytes.
        """
        if self.rows != rows:
            raise StoreError(f"{self.path}: {self.rows} rows where {rows} were expected; nothing was published")
        self._flush()
        try:
            self._writer.close()
            if not self._attempt:
                payload = self._sink.getvalue()
                put(self._filesystem, self.path, payload)
                return len(payload)
            self._sink.flush()
            os.fsync(self._sink.fileno())
            size = self._sink.tell()
            self._sink.close()
            os.replace(self._attempt, self.path)
            _sync_folder(self.path)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}; nothing was published") from error
        self._attempt = ""
        return int(size)

    def _flush(self) -> None:
        if not self._waiting:
            return
        try:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks(), row_group_size=1 << 30)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}; nothing was published") from error
        self._waiting, self._waiting_bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._attempt:
            for stream in (self._writer, self._sink):
                with contextlib.suppress(OSError):  # a full disk refuses what is still buffered; the file goes anyway
                    stream.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._attempt)
            self._attempt = ""


def publish(filesystem: pafs.FileSystem, path: str, payload: bytes) -> None:
    """Write a small file, whole or not at all, and the folders above it.

    Raises:
        StoreError: the place cannot be written.
    """
    if isinstance(filesystem, pafs.LocalFileSystem):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; nothing was published") from error
    put(filesystem, path, payload)


def put(filesystem: pafs.FileSystem, path: str, payload: bytes, kind: str = "application/octet-stream") -> None:
    """Write a small file, whole or not at all, into a folder that is there.

    Args:
        kind: what a bucket is to call it when a browser asks.
    Raises:
        StoreError: the place cannot be written.
    """
    try:
        if not isinstance(filesystem, pafs.LocalFileSystem):
            # On object stores the object appears when its upload ends. They have no folders, and would keep an empty object for each.
            if isinstance(filesystem, pafs.PyFileSystem):
                filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            with filesystem.open_output_stream(path, metadata={"Content-Type": kind}) as sink:
                sink.write(payload)
            return
        trial = attempt(path)
        try:
            with open(trial, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(trial, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(trial)
            raise
        _sync_folder(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; nothing was published") from error


def attempt(path: str) -> str:
    """A name beside `path` that no other attempt has: an orphan may still be writing its own."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"


def unfinished(name: str, age: float, modified: float) -> bool:
    """Whether an attempt's file is dead: its process is gone from this host, or nobody wrote to it for `age` seconds.

    Age says nothing of a process that is alive here: a clock that is set makes every file old.
    """
    stem, _, rest = name.rpartition(".")
    stem, _, process = stem.rpartition(".")
    if not rest or not process.isdigit() or not stem.endswith(f".{socket.gethostname()}"):
        return time.time() - modified > age
    return not alive(int(process))


def _sync_folder(path: str) -> None:
    # Without this a power cut may forget the rename although the file's bytes are on disk.
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _element(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        kind = kind.value_type
    return kind


def _leaf(field: pa.Field) -> str:
    """The column's path in the Parquet schema: a step `list.element` for each level of lists."""
    path: str = field.name
    kind = field.type
    while pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        path += ".list.element"
        kind = kind.value_type
    return path
