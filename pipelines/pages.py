"""Arrays straight from the pages of a Parquet file.

Arrow decodes two levels for each element of a list, which takes several times as long as decompressing the numbers. Where a column
is stored as `PartWriter` stores arrays of one shape (PLAIN, nothing null) the values of a page are what is left when its levels are
skipped. Anything else is left to Arrow, and so is telling what is wrong with a file.

Source: the Parquet format, github.com/apache/parquet-format (PageHeader in parquet.thrift; compact protocol of Thrift).
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.cells import cell_shape

_WIDTHS = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8, "FIXED_LEN_BYTE_ARRAY": 2}
_KINDS = {pa.float16(): 2, pa.float32(): 4, pa.float64(): 8, pa.int32(): 4, pa.int64(): 8}
# Of the others Arrow does not say when a page holds less than its header promises.
_CODECS = {"UNCOMPRESSED": "", "ZSTD": "zstd"}
_DATA_PAGE, _PLAIN, _RLE = 0, 0, 3


class Chunk(NamedTuple):
    """Where a column's values of one row group lie in the file.

    values: how many there are. whole: the definition level of one that is not null.
    """

    offset: int
    size: int
    codec: str
    values: int
    whole: int


class PageError(Exception):
    """Pages that Arrow has to read."""


def plain(field: pa.Field) -> bool:
    """Whether a column may be read by `read_chunk`: arrays of one shape, of numbers as wide as Parquet stores them."""
    kind = field.type
    if not pa.types.is_fixed_size_list(kind) or not cell_shape(field):
        return False
    while pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind in _KINDS


def chunks(footer: pq.FileMetaData, schema: pa.Schema, group: int) -> dict[str, Chunk]:
    """The columns of a row group that can be had from their pages, by name."""
    rows = footer.row_group(group)
    wanted = {field.name: math.prod(cell_shape(field) or ()) for field in schema if plain(field)}
    found = {}
    for at in range(rows.num_columns):
        column = rows.column(at)
        name, _, nested = column.path_in_schema.partition(".")
        if name not in wanted or nested != "list.element" or column.compression not in _CODECS or column.has_dictionary_page:
            continue
        described = footer.schema.column(at)
        width = _WIDTHS.get(column.physical_type, 0)
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY" and described.length != width:
            continue
        regular = column.num_values == rows.num_rows * wanted[name] and width == _KINDS.get(_element(schema.field(name).type))
        if regular and described.max_repetition_level == 1 and not {"BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED"} & set(column.encodings):
            codec, whole = _CODECS[column.compression], described.max_definition_level
            found[name] = Chunk(column.data_page_offset, column.total_compressed_size, codec, column.num_values, whole)
    return found


def read_chunk(file: pa.NativeFile, chunk: Chunk, out: NDArray[Any]) -> None:
    """Decode a chunk into `out`, (rows, *shape) and contiguous.

    Raises:
        PageError: the pages are not as expected; Arrow knows them, or what is wrong with them.
    """
    if chunk.offset < 0 or not 0 <= chunk.size <= file.size() - chunk.offset:
        raise PageError("outside of the file")
    stored = memoryview(file.read_at(chunk.size, chunk.offset))
    values = out.reshape(-1).view(np.uint8)
    most = len(values) + 8 * chunk.values + 64  # of a page: levels take less than this, and no header makes us take more memory
    at = filled = 0
    try:
        while at < len(stored):
            header, at = _struct(stored, at)
            unpacked, packed, page = header[2], header[3], header.get(5, {})
            if header[1] != _DATA_PAGE or (page.get(2), page.get(3), page.get(4)) != (_PLAIN, _RLE, _RLE):
                raise PageError("not a plain page")
            if not 0 <= packed <= len(stored) - at or not 0 <= unpacked <= most:
                raise PageError("not the size of a page")
            body: Any = stored[at : at + packed]
            at += packed
            if chunk.codec:
                body = memoryview(pa.decompress(body, decompressed_size=unpacked, codec=chunk.codec))
            definitions = 4 + struct.unpack_from("<I", body)[0]
            begin = definitions + 4 + struct.unpack_from("<I", body, definitions)[0]
            run, level = _unsigned(body, definitions + 4)
            # One run of whole values, and as many bytes: none is null, no list is empty.
            nulls = run != 2 * page[1] or body[level] != chunk.whole
            if nulls or len(body) - begin != page[1] * out.itemsize or filled + len(body) - begin > len(values):
                raise PageError("values are missing")
            values[filled : filled + len(body) - begin] = np.frombuffer(body, np.uint8, offset=begin)
            filled += len(body) - begin
    except (LookupError, struct.error, OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise PageError(str(error)) from error
    if filled != len(values):
        raise PageError("values are missing")


def _element(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind


def _struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A Thrift struct in compact form: its fields by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[at]:
        at += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, at = _signed(data, at)
        fields[number], at = _value(data, at, kind & 15)
    return fields, at + 1


def _value(data: memoryview, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind in (4, 5, 6):
        return _signed(data, at)
    if kind == 8:
        length, at = _unsigned(data, at)
        return None, at + length
    if kind == 12:
        return _struct(data, at)
    raise PageError(f"a field of kind {kind}")


def _unsigned(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):  # longer ones are no numbers of 64 bits
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise PageError("no number")


def _signed(data: memoryview, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at
