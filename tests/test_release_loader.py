"""A release opens only if it is whole, and its rows come to torch once each, in an order that can be left and taken up again."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from pipelines.part import StoreError
from pipelines.release.loader import Release
from pipelines.table import Table
from tests.released import SPLITS, TAGS, flat, mel, released, sign, tags

ROWS = sum(SPLITS["train"])

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return released(tmp_path_factory.mktemp("release") / "v1")


@pytest.fixture
def own(tmp_path) -> Path:
    return released(tmp_path / "v1")


def taken(rows, workers: int = 0, **options: object) -> list[list[int]]:
    loader = DataLoader(rows, batch_size=None, num_workers=workers, **options)
    return [batch["embedding"][:, 0].int().tolist() for batch in loader]


def numbers(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def test_a_release_says_what_it_is_and_gives_each_split(folder):
    release = Release(folder)
    assert (release.name, release.version, release.digest) == ("moods", "v1", "ab" * 32)
    assert release.splits == ("train", "valid", "test")
    assert {split: len(release.table(split)) for split in release.splits} == {split: sum(sizes) for split, sizes in SPLITS.items()}
    assert release.table("train").labels("mood_hot") == tuple(TAGS)
    release.verify()
    with pytest.raises(StoreError, match=r"no split 'dev'; there are train, valid, test"):
        release.table("dev")


def test_a_release_opens_under_any_name_and_place(own, tmp_path):
    moved = own.rename(tmp_path / "another name")
    assert sorted(numbers(taken(Release(moved).torch("train", ["embedding"])))) == list(range(ROWS))


def test_a_file_that_is_missing_renamed_grown_or_added_is_told_in_one_line(own):
    shard = own / "train/part-00001.parquet"
    content = shard.read_bytes()
    shard.rename(own / "train/part-00009.parquet")
    with pytest.raises(StoreError) as told:
        Release(own)
    assert "train/part-00001.parquet is missing (and 1 more)" in str(told.value)
    assert "\n" not in str(told.value)
    (own / "train/part-00009.parquet").unlink()
    shard.write_bytes(content + b"x")
    with pytest.raises(StoreError, match=f"part-00001.parquet has {len(content) + 1} bytes and was released with {len(content)}"):
        Release(own)
    shard.write_bytes(content)
    (own / "valid/more.parquet").write_bytes(content)
    with pytest.raises(StoreError, match=r"valid/more\.parquet does not belong to the release"):
        Release(own)


def test_a_changed_byte_is_found_by_verify(own):
    path = own / "valid/part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    release = Release(own)
    with pytest.raises(StoreError, match=r"valid/part-00000\.parquet: other bytes than the manifest says; copy or make"):
        release.verify()


def test_a_folder_without_a_release_and_a_manifest_that_leads_outside_are_refused(tmp_path, own):
    with pytest.raises(StoreError, match="nowhere"):
        Release(tmp_path / "nowhere")
    manifest = json.loads((own / "manifest.json").read_text())
    manifest["files"]["../../etc/passwd"] = {"bytes": 1, "sha256": ""}
    (own / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="lies outside"):
        Release(own)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_hold_what_was_released_row_by_row(folder, workers):
    rows = Release(folder).torch("train", batch_size=7, shuffle=True, seed=3, pool=2)
    seen = []
    for batch in DataLoader(rows, batch_size=None, num_workers=workers):
        assert batch["mel"].dtype == torch.float16
        assert type(batch) is dict or workers == 0
        for at, row in enumerate(batch["embedding"][:, 0].int().tolist()):
            seen.append(row)
            assert batch["row_id"][at] == f"{row:020x}-0"
            np.testing.assert_array_equal(batch["mel"][at].numpy(), mel(row))
            assert batch["mood"][at] == tags(row)
            expected = [np.nan] * 3 if tags(row) is None else [float(tag in tags(row)) for tag in TAGS]
            np.testing.assert_array_equal(batch["mood_hot"][at].numpy(), np.float32(expected))
            assert (batch["section"][at] is None) == (row % 3 == 0)
    assert sorted(seen) == list(range(ROWS))


def test_batches_may_be_kept_and_written_to(folder):
    for workers in (0, 1):
        kept = list(DataLoader(Release(folder).torch("train", ["embedding", "mel"], batch_size=7), batch_size=None, num_workers=workers))
        kept[0]["embedding"].zero_()
        assert torch.equal(kept[0]["mel"][:, 0, 0], torch.arange(7).half())
        assert numbers([batch["embedding"][:, 0].int().tolist() for batch in kept[1:]]) == list(range(7, ROWS))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_same_seed_gives_the_same_order_whichever_columns_are_read_and_another_epoch_another(folder, workers):
    release = Release(folder)
    options = {"batch_size": 6, "shuffle": True, "seed": 1, "pool": 2}
    first = taken(release.torch("train", ["embedding"], **options), workers)
    assert first == taken(release.torch("train", ["mel", "mood", "embedding"], **options), workers)
    other = taken(release.torch("train", ["embedding"], epoch=1, **options), workers)
    assert first != other
    assert sorted(numbers(first)) == sorted(numbers(other)) == list(range(ROWS))


@pytest.mark.slow
def test_spawned_workers_give_what_forked_ones_give(folder):
    rows = Release(folder).torch("train", ["embedding", "row_id"], batch_size=7, shuffle=True)
    assert taken(rows, 2, multiprocessing_context="spawn") == taken(rows, 2)


def test_two_ranks_with_two_workers_give_every_row_once(folder):
    release = Release(folder)
    options = {"batch_size": 4, "shuffle": True, "seed": 2, "pool": 2, "ranks": 2, "even": False}
    shares = [taken(release.torch("train", ["embedding"], rank=rank, **options), 2) for rank in range(2)]
    assert sorted(numbers(shares[0]) + numbers(shares[1])) == list(range(ROWS))
    uneven = [numbers(taken(release.torch("valid", ["embedding"], **{**options, "ranks": 5, "rank": rank}))) for rank in range(5)]
    assert sorted(row for share in uneven for row in share) == list(range(ROWS, ROWS + 12))


TRAINING = """
import json, sys
from torch.utils.data import DataLoader
from pipelines.release.loader import Release

if __name__ == "__main__":
    folder, workers, diary = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rows = Release(folder).torch("train", ["embedding"], batch_size=4, shuffle=True, seed=9, epoch=3, pool=2)
    for taken, batch in enumerate(DataLoader(rows, batch_size=None, num_workers=workers), 1):
        with open(diary, "a") as file:
            said = {"rows": batch["embedding"][:, 0].int().tolist(), "state": rows.state_dict(taken, workers)}
            file.write(json.dumps(said) + chr(10))
        if taken == 5:
            print("five", flush=True)
            sys.stdin.read()
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_training_goes_on_with_exactly_the_rows_that_are_left(folder, tmp_path, workers):
    script, diary = tmp_path / "training.py", tmp_path / "diary"
    script.write_text(TRAINING)
    command = [sys.executable, str(script), str(folder), str(workers), str(diary)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    training = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert training.stdout.readline() == b"five\n"
    training.send_signal(signal.SIGKILL)
    training.wait()
    said = [json.loads(line) for line in diary.read_text().splitlines()]
    rows = Release(folder).torch("train", ["embedding"], batch_size=4, shuffle=True, seed=9, pool=2)
    rows.load_state_dict(said[-1]["state"])
    whole = taken(Release(folder).torch("train", ["embedding"], batch_size=4, shuffle=True, seed=9, epoch=3, pool=2), workers)
    before = [each["rows"] for each in said]
    assert before == whole[:5]
    assert taken(rows, workers) == whole[5:]
    assert sorted(numbers(whole)) == list(range(ROWS))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_map_style_gives_any_row_by_its_index(folder, workers):
    rows = Release(folder).map_style("train", ["row_id", "mel", "embedding", "seconds"], cache_bytes=1)
    assert len(rows) == ROWS
    np.testing.assert_array_equal(rows[41]["mel"].numpy(), mel(41))
    assert rows[-1]["row_id"] == f"{ROWS - 1:020x}-0"
    with pytest.raises(IndexError, match=f"row {ROWS} of {ROWS}"):
        rows[ROWS]
    loader = DataLoader(rows, batch_size=9, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(4))
    seen = []
    for batch in loader:
        seen += batch["embedding"][:, 0].int().tolist()
        assert batch["row_id"] == [f"{row:020x}-0" for row in seen[-len(batch["row_id"]) :]]
    assert seen != sorted(seen)
    assert sorted(seen) == list(range(ROWS))


def test_map_style_keeps_no_more_than_it_may_and_pickles_without_it(folder):
    rows = Release(folder).map_style("train", ["mel"], cache_bytes=2 * 8 * 48)  # two row groups of eight rows
    for at in (0, 10, 20, 30):
        rows[at]
    assert len(rows._held) == 2
    assert len(pickle.loads(pickle.dumps(rows))._held) == 0


def test_an_empty_split_has_no_batches(folder):
    assert taken(Release(folder).torch("test", shuffle=True)) == []
    assert len(Release(folder).map_style("test")) == 0


@pytest.mark.parametrize("compression", ["none", "zstd", "snappy", "lz4", "gzip"])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_numbers_read_from_pages_are_those_that_arrow_reads(tmp_path, compression, split, version):
    """Whatever way a writer chose, pages or Arrow: a column of each width, several pages in a row group."""
    numbers = np.random.default_rng(5)
    columns = {}
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"):
        columns[name] = flat((numbers.standard_normal(1000 * 30) * 100).astype(name), 30)
    columns["row"] = pa.array(np.arange(1000))
    path = tmp_path / "table.parquet"
    options = {"compression": compression, "data_page_version": version, "use_dictionary": False, "data_page_size": 4096}
    pq.write_table(
        pa.table(columns), path, row_group_size=300, use_byte_stream_split=["float32.list.element"] if split else False, **options
    )
    table = Table([str(path)])
    for batch in table.torch(batch_size=77, shuffle=True, pool=2):
        for name in columns.keys() - {"row"}:
            expected = columns[name].flatten().to_numpy(zero_copy_only=False).reshape(1000, 30)[batch["row"].numpy()]
            np.testing.assert_array_equal(batch[name].numpy(), expected)


def test_arrays_that_are_null_are_named_and_never_shifted(tmp_path):
    values = pa.array([[1.0, 2.0], None, [5.0, 6.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"x": values}), tmp_path / "null.parquet", compression="none", use_dictionary=False)
    with pytest.raises(pa.ArrowInvalid, match="Expected all lists to be of size=2 but index 2 had size=0"):
        list(Table([str(tmp_path / "null.parquet")]).torch(["x"]))
    inside = pa.array([[1.0, None], [5.0, 6.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"x": inside}), tmp_path / "inside.parquet", compression="none", use_dictionary=False)
    (batch,) = Table([str(tmp_path / "inside.parquet")]).torch(["x"])
    np.testing.assert_array_equal(batch["x"].numpy(), np.float32([[1, np.nan], [5, 6]]))


def test_a_release_signed_again_after_a_change_is_another_release(own):
    manifest = json.loads((own / "manifest.json").read_text())
    (own / "train/part-00001.parquet").unlink()
    manifest["splits"]["train"]["shards"] = ["train/part-00000.parquet"]
    sign(own, manifest)
    assert sorted(numbers(taken(Release(own).torch("train", ["embedding"])))) == list(range(SPLITS["train"][0]))
