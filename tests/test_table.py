"""A table reads back every number that was written, in each form, and says plainly what it cannot do."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from pipelines.cells import TableError
from pipelines.table import Table

FRAMES, BANDS, TAGS = 7, 5, ("guitar", "slow", "loud <b>")


def flat(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values[0].size)


def field(name: str, array: pa.Array, **metadata: object) -> pa.Field:
    return pa.field(name, array.type, metadata={key: json.dumps(value) for key, value in metadata.items()} or None)


def part_of(numbers: np.random.Generator, rows: int, first: int) -> tuple[pa.Table, dict[str, np.ndarray]]:
    mel = numbers.standard_normal((rows, FRAMES, BANDS)).astype(np.float16)
    tags = numbers.random((rows, len(TAGS)), np.float32)
    columns = {
        "clip_id": pa.array([f"clip{first + row}" for row in range(rows)]),
        "view": pa.array(np.arange(rows) % 2, pa.int32()),
        "mel": flat(mel),
        "tags": flat(tags),
        "valid": pa.array(np.arange(rows), pa.int32()),
    }
    fields = [field(name, array) for name, array in columns.items()]
    fields[2] = field("mel", columns["mel"], shape=[FRAMES, BANDS], dims=["time", "mel"])
    fields[3] = field("tags", columns["tags"], shape=[len(TAGS)], labels=TAGS)
    return pa.table(list(columns.values()), schema=pa.schema(fields, {"earmark": "{}"})), {"mel": mel, "tags": tags}


@pytest.fixture
def written(tmp_path: Path) -> tuple[Table, dict[str, np.ndarray]]:
    numbers = np.random.default_rng(1)
    pieces = []
    for part, rows in enumerate((9, 4, 12)):
        table, values = part_of(numbers, rows, first=100 * part)
        pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=5)
        pieces.append(values)
    table = Table([str(path) for path in sorted(tmp_path.glob("*.parquet"))], pafs.LocalFileSystem())
    return table, {name: np.concatenate([piece[name] for piece in pieces]) for name in ("mel", "tags")}


def test_arrays_come_back_with_their_shape_dtype_and_every_number(written):
    table, values = written
    assert len(table) == 25
    for name in ("mel", "tags"):
        found = table.numpy(name)
        assert found.dtype == values[name].dtype
        np.testing.assert_array_equal(found, values[name])
    np.testing.assert_array_equal(table.numpy("valid"), np.concatenate([np.arange(9), np.arange(4), np.arange(12)]))


def test_arrow_sees_tensors_that_know_their_dimensions(written):
    table, values = written
    kind = table.schema.field("mel").type
    assert kind == pa.fixed_shape_tensor(pa.float16(), (FRAMES, BANDS), dim_names=("time", "mel"))
    arrow = table.to_table(["mel"])
    assert arrow.schema.field("mel") == table.schema.field("mel")
    np.testing.assert_array_equal(arrow["mel"].combine_chunks().to_numpy_ndarray(), values["mel"])
    assert json.loads(table.schema.metadata[b"earmark"]) == {}


def test_tensors_that_another_writer_stored_as_tensors_read_the_same(written, tmp_path):
    table, values = written
    again = tmp_path / "tensors.parquet"
    pq.write_table(table.to_table(), again)
    assert isinstance(pq.read_schema(again).field("mel").type, pa.FixedShapeTensorType)
    np.testing.assert_array_equal(Table([str(again)]).numpy("mel"), values["mel"])
    pd.testing.assert_frame_equal(Table([str(again)]).to_pandas(), table.to_pandas())


def test_pandas_gets_one_array_per_cell_and_only_the_columns_and_rows_asked_for(written):
    table, values = written
    frame = table.to_pandas()
    assert list(frame.columns) == table.column_names
    assert frame["clip_id"].tolist()[:2] == ["clip0", "clip1"]
    assert all(cell.shape == (FRAMES, BANDS) for cell in frame["mel"])
    np.testing.assert_array_equal(np.stack(frame["mel"]), values["mel"])
    some = table.to_pandas(["valid", "mel"], filter=(pc.field("view") == 0) & (pc.field("valid") > 3))
    rows = [row for row, (view, valid) in enumerate(zip(frame["view"], frame["valid"], strict=True)) if view == 0 and valid > 3]
    assert list(some.columns) == ["valid", "mel"]
    np.testing.assert_array_equal(np.stack(some["mel"]), values["mel"][rows])
    assert len(table.to_pandas(filter=[("clip_id", "=", "clip203")])) == 1
    assert len(table.to_pandas(filter=[("clip_id", "=", "nobody")])) == 0


def test_whole_tracks_of_several_lengths_give_arrays_of_several_lengths(tmp_path):
    numbers = np.random.default_rng(2)
    lengths = [3, 0, 8, 5]
    tracks = [numbers.standard_normal((length, BANDS)).astype(np.float16) for length in lengths]
    ends = pa.array(np.cumsum([0, *lengths]), pa.int32())
    mel = pa.ListArray.from_arrays(ends, flat(np.concatenate(tracks)))
    pairs = pa.ListArray.from_arrays(ends, flat(np.arange(sum(lengths) * 6, dtype=np.int32).reshape(-1, 6)))
    schema = pa.schema([("track_id", pa.string()), ("mel", mel.type), field("pairs", pairs, shape=[None, 3, 2])])
    pq.write_table(pa.table([list("abcd"), mel, pairs], schema=schema), tmp_path / "p.parquet", row_group_size=3)
    table = Table([str(tmp_path / "p.parquet")])
    cells = table.to_pandas()["mel"]
    assert [cell.shape for cell in cells] == [(length, BANDS) for length in lengths]
    for cell, track in zip(cells, tracks, strict=True):
        np.testing.assert_array_equal(cell, track)
    assert [cell.shape for cell in table.to_pandas()["pairs"]] == [(length, 3, 2) for length in lengths]
    np.testing.assert_array_equal(table.to_pandas()["pairs"][2].ravel(), np.arange(18, 66))
    with pytest.raises(TableError, match=r"mel: .* is not one array; to_pandas gives it row by row"):
        table.numpy("mel")


def test_labels_are_the_names_along_the_last_dimension(written):
    assert written[0].labels("tags") == TAGS
    assert written[0].labels("mel") == ()


def test_a_column_that_is_not_there_is_named_with_those_that_are(written):
    for ask in (written[0].numpy, written[0].labels, lambda name: written[0].to_pandas([name]), lambda name: written[0].torch([name])):
        with pytest.raises(TableError, match="no column 'tagz'; there are clip_id, view, mel, tags, valid"):
            ask("tagz")


def test_a_table_without_parts_says_so():
    with pytest.raises(TableError, match="no whole part yet"):
        Table([])


def test_missing_integers_are_refused_rather_than_invented(tmp_path):
    pq.write_table(pa.table({"valid": pa.array([1, None], pa.int32())}), tmp_path / "p.parquet")
    with pytest.raises(TableError, match="valid: 1 of 2 rows are null"):
        Table([str(tmp_path / "p.parquet")]).numpy("valid")


def test_pyarrow_and_polars_take_a_table_as_it_is(written):
    table, values = written
    arrow = pa.table(table)
    assert arrow.schema.equals(table.schema)
    np.testing.assert_array_equal(arrow["mel"].combine_chunks().to_numpy_ndarray(), values["mel"])
    frame = pl.DataFrame(table)
    for name in ("mel", "tags"):
        np.testing.assert_array_equal(frame[name].ext.storage().to_numpy().reshape(values[name].shape), values[name])


def test_duckdb_takes_a_table_of_float32_as_it_is(written, tmp_path):
    table, values = written
    pq.write_table(table.to_table(["clip_id", "tags"]), tmp_path / "tags.parquet")
    with duckdb.connect() as connection:
        connection.register("embeddings", Table([str(tmp_path / "tags.parquet")]))
        best = connection.sql("select list_max(tags) from embeddings").fetchall()
    np.testing.assert_array_equal([row[0] for row in best], values["tags"].max(1))
