"""A manifest: a table that names recordings and says what is known of them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from annotation.foreign import NoFile, TooLong, csv_rows, lines, named, regular
from extractors.remote import RemoteError
from extractors.uri import is_local, is_uri, open_local, printable, shown, to_path, to_uri

if TYPE_CHECKING:
    import pyarrow as pa

EXTENSIONS = (".csv", ".parquet", ".jsonl", ".ndjson")
# Titles and the like are short; a longer cell is a quote that was never closed.
_LONGEST_CELL = 1 << 20
_LARGEST_CHUNK = 1 << 29  # bytes of one column in one row group of Parquet, unpacked


class SourceError(ValueError):
    """A source that cannot be listed or read."""


class Words(NamedTuple):
    """What a manifest says of one recording; None where it is silent."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    license: str | None = None
    group: str | None = None


_COLUMNS = ("uri", *Words._fields)


def rows(uri: str, notes: list[str]) -> Iterator[tuple[str, Words]]:
    """The recordings that a manifest names, each as a path or URI and the manifest's words.

    Args:
        uri: of a .csv, .parquet, .jsonl or .ndjson file; relative uris in it are relative to its folder.
        notes: takes one line on columns that are not used.
    Raises:
        SourceError: the file cannot be read, has no column `uri`, or has a row without one.
    """
    name = shown(uri)
    folder = os.path.dirname(to_path(uri)) if is_local(uri) else uri.rpartition("/")[0]
    unused: dict[str, None] = {}
    try:
        with open_local(uri) as path:
            for place, row in _records(path, name, unused):
                said = {key: _clean(row.get(key)) for key in _COLUMNS}
                reference = said.pop("uri")
                if not reference.strip():
                    raise SourceError(f"{name}, {place}: no uri")
                yield _resolve(reference, folder), Words(**{key: printable(value.strip()) or None for key, value in said.items()})
    except FileNotFoundError:
        raise SourceError(f"{name}: no such manifest") from None
    except NoFile as error:
        raise SourceError(str(error)) from None
    except RemoteError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror or _line(error)}") from error
    if unused:
        notes.append(f"{name}: not used: {named([*map(printable, unused)])}; what is used: {', '.join(_COLUMNS)}")


# Each gives (where, row by lower-case column) and notes the columns that nobody asks for in `unused`.
_Records = Iterator[tuple[str, Mapping[str, Any]]]


def _records(path: str, name: str, unused: dict[str, None]) -> _Records:
    form = name.lower().partition("?")[0]
    if form.endswith(".parquet"):
        yield from _parquet(path, name, unused)
        return
    # Bytes that are not UTF-8 may be part of a file's name: they are kept, as surrogates.
    with open(regular(path), encoding="utf-8-sig", errors="surrogateescape", newline="" if form.endswith(".csv") else None) as file:
        yield from (_csv if form.endswith(".csv") else _json_lines)(file, name, unused)


def _csv(file: IO[str], name: str, unused: dict[str, None]) -> _Records:
    csv.field_size_limit(_LONGEST_CELL)
    lines, line = csv_rows(file, skipinitialspace=True), 0
    try:
        line, first = next(lines, (1, []))
        columns = _checked(name, first, unused)
        for line, cells in lines:
            if len(cells) > len(columns):
                raise SourceError(f"{name}, line {line}: {len(cells)} cells under {len(columns)} columns; quote cells with commas")
            if any(cells):
                yield f"line {line}", dict(zip(columns, cells, strict=False))
    except (csv.Error, TooLong) as error:
        raise SourceError(f"{name}, line {line + 1}: {error}") from error


def _json_lines(file: IO[str], name: str, unused: dict[str, None]) -> _Records:
    number, bounded = 0, lines(file)
    while True:
        number += 1
        try:
            line = next(bounded, "")
        except TooLong as error:
            raise SourceError(f"{name}, line {number}: {error}") from error
        if not line:
            return
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{name}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise SourceError(f'{name}, line {number}: not an object like {{"uri": "a.wav"}}')
        place = f"line {number}"
        yield place, dict(zip(_checked(f"{name}, {place}", list(row), unused), row.values(), strict=True))


def _parquet(path: str, name: str, unused: dict[str, None]) -> _Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(regular(path)) as file:
            stored = file.schema_arrow.names
            columns = dict(zip(stored, _checked(name, stored, unused), strict=True))
            wanted = [column for column in stored if columns[column] in _COLUMNS]
            footer = file.metadata
            chunks = (footer.row_group(group).column(at) for group in range(footer.num_row_groups) for at in range(footer.num_columns))
            if any(chunk.total_uncompressed_size > _LARGEST_CHUNK for chunk in chunks if chunk.path_in_schema in wanted):
                raise SourceError(f"{name}: a column's piece unpacks to more than {_LARGEST_CHUNK} bytes; write smaller row groups")
        # Equal texts once, as they are stored: a page of a few bytes may stand for a gigabyte of copies.
        with pq.ParquetFile(path, read_dictionary=wanted) as file:
            number = count(1)
            for batch in file.iter_batches(batch_size=10_000, columns=wanted):
                named = [columns[column] for column in batch.schema.names]
                for row in zip(*(_texts(column, name) for column in batch.columns), strict=True):
                    yield f"row {next(number)}", dict(zip(named, row, strict=True))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(f"{name}: not Parquet ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())  # Arrow takes several


def _texts(column: pa.Array, name: str) -> Sequence[Any]:
    """A column's values, equal ones the same object.

    Raises:
        SourceError: one is longer than a cell may be.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return cast("list[Any]", column.to_pylist())
    longest = pc.max(pc.binary_length(column.dictionary)).as_py() if len(column.dictionary) else 0
    if (longest or 0) > _LONGEST_CELL:
        raise SourceError(f"{name}: a cell of {longest} bytes, and titles are shorter than {_LONGEST_CELL}; correct it")
    values = column.dictionary.to_pylist()
    return [None if at is None else values[at] for at in column.indices.to_pylist()]


def _checked(name: str, columns: Sequence[str], unused: dict[str, None]) -> list[str]:
    """The columns in lower case; those that are not used are noted."""
    plain = [column.strip().lower() for column in columns]
    if "uri" not in plain:
        raise SourceError(f"{name}: no column 'uri'; the columns are {named([*map(repr, columns)])}")
    unused.update(dict.fromkeys(column for column in plain if column not in _COLUMNS))
    return plain


def _clean(value: object) -> str:
    if value is None:
        return ""
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


def _resolve(reference: str, folder: str) -> str:
    """A manifest's uri as a path or URI that stands by itself."""
    if is_uri(reference):
        return to_uri(to_path(reference)) if is_local(reference) else reference
    if is_uri(folder):
        return f"{folder}/{reference}"
    return to_uri(os.path.join(folder, reference))
