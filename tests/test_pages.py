"""Arrays from a file's pages are those that Arrow reads, whoever wrote the file; of a broken file nothing is invented."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.cells import TableError
from pipelines.groups import RowGroups
from pipelines.pages import PageError, chunks, read_chunk

LOCAL = pafs.LocalFileSystem()
TYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint32")
HELD = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(*paths: Path, column: str = "x") -> Any:
    """A column of files, row group after row group, as training reads it."""
    groups = RowGroups([str(path) for path in paths], LOCAL, [column])
    rows = int(groups.sizes.sum())
    pool = groups.read(np.arange(len(groups.sizes)), {}, rows)[column]
    return pool[:rows] if isinstance(pool, np.ndarray) else pool


def array(rows: int, size: int, dtype: str, seed: int) -> pa.FixedSizeListArray:
    """Numbers, whatever their bits."""
    width = np.dtype(dtype).itemsize
    bits = np.random.default_rng(seed).integers(0, 256, rows * size * width, np.uint8)
    return pa.FixedSizeListArray.from_arrays(pa.array(bits.view(dtype)), size)


@HELD
@given(st.data())
def test_pages_are_read_as_arrow_reads_them_whoever_wrote_the_file(tmp_path: Path, data: st.DataObject) -> None:
    rows, size = data.draw(st.integers(0, 60)), data.draw(st.integers(1, 40))
    dtype, seed = data.draw(st.sampled_from(TYPES)), data.draw(st.integers(0, 99))
    cells: pa.Array = array(rows, size, dtype, seed)
    if data.draw(st.integers(0, 3)) == 0 and rows:  # some numbers are null, or some rows, or lists have several lengths
        flat = cells.flatten().to_pylist()
        lists: list[Any] = [flat[at * size : (at + 1) * size] for at in range(rows)]
        at = data.draw(st.integers(0, rows - 1))
        kind: pa.DataType = pa.list_(cells.type.value_type, size)
        match data.draw(st.sampled_from(["number", "row", "length"])):
            case "number":
                lists[at][0] = None
            case "row":
                lists[at] = None
            case "length":
                kind, lists[at] = pa.list_(cells.type.value_type), lists[at][1:]
        cells = pa.array(lists, kind)
    shape = data.draw(st.sampled_from(["", f"[{size}]", f"[1, {size}]", "[7, 7]"]))
    field = pa.field("x", cells.type, metadata={"shape": shape} if shape else None)
    table = pa.table([cells, pa.array(range(rows))], pa.schema([field, pa.field("n", pa.int64())]))
    split = data.draw(st.booleans())
    pq.write_table(
        table,
        tmp_path / "x.parquet",
        row_group_size=data.draw(st.integers(1, 64)),
        compression=data.draw(st.sampled_from(["none", "zstd", "snappy", "gzip", "lz4"])),
        use_dictionary=data.draw(st.booleans()) and not split,
        use_byte_stream_split=split,
        data_page_version=data.draw(st.sampled_from(["1.0", "2.0"])),
        data_page_size=data.draw(st.sampled_from([64, 1024, 1 << 20])),
        write_batch_size=data.draw(st.sampled_from([1, 8, 1024])),
        store_schema=data.draw(st.booleans()),
        write_page_checksum=data.draw(st.booleans()),
        use_compliant_nested_type=data.draw(st.booleans()),
    )
    try:
        expected = pq.read_table(tmp_path / "x.parquet", columns=["x"], partitioning=None)["x"].to_pylist()
    except pa.ArrowInvalid:  # Arrow does not read again what it wrote: a null row of a list of fixed size
        with pytest.raises((pa.ArrowInvalid, TableError)):
            read(tmp_path / "x.parquet")
        return
    if any(row is None or (None in row and "float" not in dtype) for row in expected):
        with pytest.raises(TableError, match="null"):
            read(tmp_path / "x.parquet")
        return
    found = read(tmp_path / "x.parquet")
    assert len(found) == rows
    for row, cell in zip(expected, found, strict=True):
        # a null among floats is nan, which is never equal
        wanted = np.array([np.nan if each is None else each for each in row], dtype)
        np.testing.assert_array_equal(np.asarray(cell).ravel(), wanted)


def plain_file(path: Path, compression: str = "none", rows: int = 1000, size: int = 3) -> bytearray:
    """A file that is read from its pages."""
    table = pa.table({"x": array(rows, size, "float32", 0)})
    pq.write_table(table, path, compression=compression, use_dictionary=False, data_page_size=2048, write_batch_size=64)
    assert read(path).shape == (rows, size)
    return bytearray(path.read_bytes())


@HELD
@given(st.data())
def test_a_broken_file_gives_what_arrow_makes_of_it_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.parquet"
    compression = data.draw(st.sampled_from(["none", "zstd"]))
    content = plain_file(path, compression)
    whole = read(path)
    column = pq.read_metadata(path).row_group(0).column(0)
    end = column.data_page_offset + column.total_compressed_size
    early = data.draw(st.booleans())  # headers and levels, or anything
    changes = data.draw(st.integers(1, 4))
    for _ in range(changes):
        at = data.draw(st.integers(column.data_page_offset, min(end, column.data_page_offset + 120) - 1 if early else end - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 127, 128, 255, 0x1C, 0x15]) | st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read(path)
    except (OSError, ValueError, TableError):
        return
    try:
        expected = np.stack(pq.read_table(path)["x"].to_numpy(zero_copy_only=False)).astype(np.float32)
    except (OSError, ValueError):
        # How lists are levelled is broken and not needed: the numbers are those in the file.
        if compression == "none":
            assert (found.view(np.uint8) != whole.view(np.uint8)).sum() <= changes
        return
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "header",
    [
        b"\x1c" * 5000,  # structs in structs
        b"\x15" + b"\xff" * 200_000,  # a number that does not end
        struct.pack("<7B", 0x15, 0, 0x15, 0, 0x15, 0, 0x15),  # a number where a struct is to be
        b"\x15\x00\x15\xfe\xff\xff\xff\x0f\x15\x10\x2c\x15\x10\x15\x00\x15\x06\x15\x06\x00\x00",  # a page of 2 GB
    ],
)
def test_hostile_headers_are_left_to_arrow_at_once(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.parquet"
    content = plain_file(path, "zstd", rows=100_000)
    footer = pq.read_metadata(path)
    chunk = chunks(footer, footer.schema.to_arrow_schema(), 0)["x"]
    content[chunk.offset : chunk.offset + len(header)] = header
    path.write_bytes(content)
    before = pa.default_memory_pool().max_memory()
    with LOCAL.open_input_file(str(path)) as file, pytest.raises(PageError):
        read_chunk(file, chunk, np.empty((100_000, 3), np.float32))
    with LOCAL.open_input_file(str(path)) as file, pytest.raises(PageError, match="outside"):
        read_chunk(file, chunk._replace(size=1 << 50), np.empty((100_000, 3), np.float32))
    assert pa.default_memory_pool().max_memory() - before < 64 << 20


def test_a_page_that_unpacks_to_less_than_it_says_leaves_no_stale_memory(tmp_path: Path) -> None:
    for codec in ("snappy", "gzip"):
        pq.write_table(pa.table({"x": array(9, 3, "float32", 0)}), tmp_path / "x.parquet", compression=codec, use_dictionary=False)
        footer = pq.read_metadata(tmp_path / "x.parquet")
        assert chunks(footer, footer.schema.to_arrow_schema(), 0) == {}
    with pytest.raises(OSError, match="ZSTD"):
        pa.decompress(pa.compress(b"abc", codec="zstd"), decompressed_size=4, codec="zstd")


def test_parts_of_several_types_are_never_read_as_one_another(tmp_path: Path) -> None:
    columns = {"float": np.arange(6, dtype=np.float32), "integer": np.arange(6, dtype=np.int32)}
    for name, values in columns.items():
        cells = pa.FixedSizeListArray.from_arrays(pa.array(values), 2)
        pq.write_table(pa.table({"x": cells}), tmp_path / f"{name}.parquet", use_dictionary=False)
    found = read(tmp_path / "float.parquet", tmp_path / "integer.parquet")
    np.testing.assert_array_equal(found, np.tile(np.arange(6.0).reshape(3, 2), (2, 1)))


def test_arrays_of_another_shape_are_not_bent_into_that_of_the_first_part(tmp_path: Path) -> None:
    cells = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.float32)), 6)
    for name, shape in (("a", "[2, 3]"), ("b", "[3, 2]")):
        table = pa.table([cells], pa.schema([pa.field("x", cells.type, metadata={"shape": shape})]))
        pq.write_table(table, tmp_path / f"{name}.parquet", use_dictionary=False)
    with pytest.raises(ValueError, match="broadcast"):
        read(tmp_path / "a.parquet", tmp_path / "b.parquet")
