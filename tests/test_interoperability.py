"""The files of a store open without earmark: every number the same in pandas, polars, DuckDB and Hugging Face datasets."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.store import Store
from tests.test_table import FRAMES, flat, part_of

NUMBERS = np.random.default_rng(3)


@pytest.fixture(scope="module")
def logmel(tmp_path_factory) -> tuple[str, list[str], dict[str, np.ndarray]]:
    """A table of two parts as the store writes them, with an orphaned attempt beside; (glob, clip ids, values)."""
    store = Store(tmp_path_factory.mktemp("store"))
    pieces, ids = [], []
    for part, rows in enumerate((6, 3)):
        table, values = part_of(NUMBERS, rows, first=10 * part)
        with store.writer("logmel", f"shard{part}", table.schema, variant="3f2a") as writer:
            writer.append(table)
            writer.publish(rows)
        pieces.append(values)
        ids += table["clip_id"].to_pylist()
    (Path(store.root) / "logmel/3f2a/.shard2.parquet.elsewhere.1.abc").write_bytes(b"half a par")
    return f"{store.root}/logmel/3f2a/*.parquet", ids, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def test_pandas_opens_a_part_and_a_folder(logmel):
    where, ids, values = logmel
    frame = pd.read_parquet(Path(where).parent)
    assert frame["clip_id"].tolist() == ids
    for name, expected in values.items():
        assert frame[name][0].dtype == expected.dtype
        np.testing.assert_array_equal(np.concatenate(list(frame[name])), expected.reshape(-1))


def test_polars_opens_a_glob(logmel):
    where, ids, values = logmel
    frame = pl.scan_parquet(where).collect()
    assert frame["clip_id"].to_list() == ids
    for name, expected in values.items():
        assert isinstance(frame.schema[name], pl.Array)
        np.testing.assert_array_equal(frame[name].to_numpy().reshape(expected.shape), expected)
    assert pl.scan_parquet(where).filter(pl.col("view") == 1).select("valid").collect().height == sum(row % 2 for row in range(6)) + 1


def test_duckdb_opens_a_glob(logmel):
    where, ids, values = logmel
    found = duckdb.sql(f"select * from read_parquet('{where}') order by clip_id").fetchnumpy()
    order = np.argsort(ids)
    for name, expected in values.items():
        np.testing.assert_array_equal(np.concatenate(list(found[name])), expected[order].astype(np.float32).reshape(-1))
    loudest = duckdb.sql(f"select max(list_max(mel)) from read_parquet('{where}')").fetchall()[0][0]
    assert loudest == values["mel"].max()


def test_hugging_face_datasets_opens_a_glob(logmel, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    where, ids, values = logmel
    rows = datasets.load_dataset("parquet", data_files=where, cache_dir=str(tmp_path), split="train")
    assert rows["clip_id"][:] == ids
    assert rows.features["mel"].feature.dtype == "float16"
    arrays = rows.with_format("numpy")[:]
    for name, expected in values.items():
        np.testing.assert_array_equal(np.asarray(arrays[name]).reshape(expected.shape), expected.astype(np.float32))


def test_whole_tracks_of_several_lengths_open_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    lengths, store = [4, 2, 9], Store(tmp_path / "store")
    frames = NUMBERS.standard_normal((sum(lengths), 3)).astype(np.float16)
    column = pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), flat(frames))
    rows = pa.table({"track_id": ["a", "b", "c"], "mel": column})
    with store.writer("mel", "shard", rows.schema, variant="v") as writer:
        writer.append(rows)
        writer.publish(3)
    where = f"{store.root}/mel/v/shard.parquet"
    second = frames[4:6].astype(np.float32)
    np.testing.assert_array_equal(np.stack(pd.read_parquet(where)["mel"][1]), second)
    np.testing.assert_array_equal(pl.read_parquet(where)["mel"][1].to_numpy(), second)
    np.testing.assert_array_equal(duckdb.sql(f"select mel from read_parquet('{where}') where track_id = 'b'").fetchall()[0][0], second)
    loaded = datasets.load_dataset("parquet", data_files=where, cache_dir=str(tmp_path / "hf"), split="train")
    np.testing.assert_array_equal(loaded[1]["mel"], second)


def test_the_footer_says_the_shape_to_any_parquet_reader(logmel):
    footer = pq.read_schema(sorted(Path(logmel[0]).parent.glob("shard*.parquet"))[0])
    assert footer.field("mel").metadata[b"shape"] == f"[{FRAMES}, 5]".encode()
    assert footer.field("mel").metadata[b"dims"] == b'["time", "mel"]'
