"""Files that somebody else wrote: read only if they are files, and only as far as what they are for is large."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

TEXT = 1 << 27  # bytes of a file that is read as a whole
OURS = 1 << 31  # of one that grows with a campaign, which earmark writes itself: a million clips are half a gigabyte
_ROW = 1 << 22  # characters of a row of a table
_FOOTER = 1 << 24  # bytes that say what is in a Parquet file; reading them takes up to fifty times as many
_CHUNK = 1 << 29  # bytes of one column in one row group of Parquet, unpacked
_SPARE = 1 << 20  # rows that any file may have
_PACKED = 64  # times its size that a table may unpack to, beside 256 MB
_NAMED = 12  # columns that a message names
_GIVEN = ("/dev/stdin", "/dev/fd/")  # what a shell has opened for this command: somebody writes there, and ends


class TooLong(ValueError):
    """A line or a row that is longer than anybody writes."""


class NoFile(ValueError):
    """A pipe, a socket or a device in a file's place, or more than belongs into one."""


def regular(path: str | Path) -> Path:
    """The path itself, if nothing there would never end, as pipes and devices do not; that nothing is there is left to whoever opens it.

    A pipe that a shell made for the command, as in `<(...)`, is as good as a file that is read once.

    Raises:
        NoFile: nothing that ends.
    """
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return path
    given = stat.S_ISFIFO(mode) and str(path).startswith(_GIVEN)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode) and not given:
        raise NoFile(f"{path}: a pipe, socket or device, not a file")
    return path


def text(path: str | Path, most: int = TEXT) -> str:
    """What a file of text says, in UTF-8; lines end as they do here, whatever system they were written on.

    Raises:
        NoFile: nothing that ends, or larger than anybody writes. UnicodeDecodeError: not UTF-8. OSError: it cannot be opened.
    """
    with open(regular(path), "rb") as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise NoFile(f"{path}: more than {most >> 20} MiB, and what belongs here is shorter")
    return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def document(path: str | Path, most: int = TEXT) -> Any:
    """What a file of JSON says.

    Raises:
        ValueError: no file, larger than anybody writes, or not JSON. OSError: it cannot be opened.
    """
    try:
        return json.loads(text(path, most))
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply for anything that earmark writes") from None


def lines(file: IO[str]) -> Iterator[str]:
    """A text's lines.

    Raises:
        TooLong: one is longer than a row is.
    """
    while line := file.readline(_ROW + 1):
        if len(line) > _ROW:
            raise TooLong(f"a line of more than {_ROW} characters")
        yield line


def csv_rows(file: IO[str], **form: Any) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row of a CSV file, and the line that it ends in.

    Args:
        form: as `csv.reader` takes it.
    Raises:
        TooLong: a row is longer than one is. csv.Error: it is no CSV.
    """
    left = _ROW

    def bounded() -> Iterator[str]:
        nonlocal left
        while line := file.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise TooLong(f"a row of more than {_ROW} characters; was a quote never closed?")
            yield line

    reader = csv.reader(bounded(), **form)
    for cells in reader:
        yield reader.line_num, cells
        left = _ROW


def named(columns: Sequence[str]) -> str:
    """Columns for a message, which is a short line whatever there are."""
    shown = ", ".join(each[:60] for each in columns[:_NAMED]) or "none"
    return f"{shown} and {len(columns) - _NAMED:,} more" if len(columns) > _NAMED else shown


def parquet(path: str | Path, columns: Sequence[str] = ()) -> pa.Table:
    """A table from a Parquet file, if it unpacks to no more than such a file may hold.

    A page of a few bytes may stand for a gigabyte of copies, a row group for as many rows as it likes: texts are read as they are stored,
    equal ones once, and counted before they are made.

    Args:
        columns: what may be in it, if that is known; another column is none of the table's, and only its name is read.
    Raises:
        ValueError: no file, not Parquet, columns that nobody knows, or more than such a file holds. OSError: it cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    size = os.path.getsize(regular(path))
    with open(path, "rb") as file:
        file.seek(max(0, size - 8))
        if (end := file.read())[4:] == b"PAR1" and int.from_bytes(end[:4], "little") > _FOOTER:
            raise ValueError(f"{path}: its footer is larger than a table's; write it again")
    try:
        with pq.ParquetFile(path) as file:
            schema, footer = file.schema_arrow, file.metadata
            # A misspelt column would be taken for one that is absent: what is about a stretch would be about the whole.
            if columns and (unknown := [name for name in schema.names if name not in columns]):
                raise ValueError(f"{path}: {named(unknown)}: no column of labels; rename or drop it (there are {', '.join(columns)})")
            if nested := [field for field in schema if columns and pa.types.is_nested(field.type)]:
                raise ValueError(f"{path}: column {nested[0].name} is {str(nested[0].type)[:60]}, not text, a number or a time")
            if footer.num_rows > max(_SPARE, size):
                raise ValueError(f"{path}: says it has {footer.num_rows:,} rows in {size:,} bytes; write it again, uncompressed")
            groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
            if any(group.column(at).total_uncompressed_size > _CHUNK for group in groups for at in range(footer.num_columns)):
                raise ValueError(f"{path}: a column's piece unpacks to more than {_CHUNK} bytes; write smaller row groups")
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            pieces, left = [], _PACKED * size + (1 << 28)
            for group in range(footer.num_row_groups):
                piece = file.read_row_group(group)
                for column in (each for each in piece.columns if pa.types.is_dictionary(each.type)):
                    for chunk in column.chunks if pa.types.is_string(column.type.value_type) else ():
                        lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
                        left -= pc.sum(lengths.take(chunk.indices)).as_py() or 0
                left -= piece.nbytes
                if left < 0:
                    raise ValueError(f"{path}: unpacks to more than {_PACKED * size + (1 << 28):,} bytes, from {size:,}; write it again")
                pieces.append(piece)
        return pa.concat_tables(pieces).cast(schema) if pieces else schema.empty_table()
    except pa.ArrowException as error:
        raise ValueError(f"{path}: not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
