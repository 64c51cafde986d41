"""Batches for training: every row once, in an order that can be left and taken up again at any batch."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from pipelines.cells import TableError
from pipelines.position import Plan
from pipelines.table import Table
from tests.test_table import field, flat

ROWS = 103
SIZES = (17, 1, 30, 12, 0, 8, 35)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    """Seven parts (one empty, one of a single row), in row groups of at most five rows; row r holds r and r + [0 … 5]."""
    folder = tmp_path_factory.mktemp("table")
    first = 0
    for part, rows in enumerate(SIZES):
        number = np.arange(first, first + rows, dtype=np.int32)
        array = (number[:, None, None] + np.arange(6).reshape(3, 2)).astype(np.float16)
        column = flat(array) if rows else pa.array([], pa.list_(pa.float16(), 6))
        track = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * 2, pa.int32()), pa.array(number.repeat(2)))
        fields = [pa.field("clip_id", pa.string()), pa.field("row", pa.int32()), field("mel", column, shape=[3, 2]), ("track", track.type)]
        columns = [pa.array([f"clip{row}" for row in number], pa.string()), pa.array(number), column, track]
        pq.write_table(pa.table(columns, schema=pa.schema(fields)), folder / f"{part}.parquet", row_group_size=5, use_dictionary=False)
        first += rows
    return Table([str(path) for path in sorted(folder.glob("*.parquet"))])


def taken(rows, workers: int = 0, **options: object) -> list[list[int]]:
    loader = DataLoader(rows, batch_size=None, num_workers=workers, **options)
    return [batch["row"].tolist() for batch in loader]


def numbers(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_comes_once_and_the_same_order_comes_again(table, shuffle, workers):
    rows = table.torch(["row"], batch_size=8, shuffle=shuffle, seed=5, pool=4)
    batches = taken(rows, workers)
    assert sorted(numbers(batches)) == list(range(ROWS))
    assert len(batches) == rows.batches(workers)
    assert taken(table.torch(["row"], batch_size=8, shuffle=shuffle, seed=5, pool=4), workers) == batches


def test_unshuffled_rows_come_as_they_are_stored(table):
    assert numbers(taken(table.torch(["row"], batch_size=10))) == list(range(ROWS))


def test_a_batch_holds_tensors_of_the_stored_values_and_lists_of_the_rest(table):
    for batch in table.torch(batch_size=16, shuffle=True, pool=3):
        row = batch["row"]
        assert row.dtype == torch.int32
        assert batch["mel"].dtype == torch.float16
        assert torch.equal(batch["mel"], (row[:, None, None] + torch.arange(6).reshape(3, 2)).half())
        assert batch["clip_id"] == [f"clip{each}" for each in row.tolist()]
        assert [each.tolist() for each in batch["track"]] == [[each, each] for each in row.tolist()]


def test_shuffling_mixes_parts_and_differs_by_epoch_and_seed(table):
    first = taken(table.torch(["row"], batch_size=16, shuffle=True, seed=1))
    assert numbers(first) != numbers(taken(table.torch(["row"], batch_size=16, shuffle=True, seed=1, epoch=1)))
    assert numbers(first) != numbers(taken(table.torch(["row"], batch_size=16, shuffle=True, seed=2)))
    bounds = np.cumsum(SIZES)
    assert all(len(set(np.searchsorted(bounds, batch, side="right"))) >= 3 for batch in first[:-1])
    # a stored order left in place would correlate by 1; chance alone gives about ROWS ** -0.5 = 0.1
    assert abs(np.corrcoef(np.arange(ROWS), numbers(first))[0, 1]) < 0.4


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_a_loader_resumed_at_any_batch_gives_exactly_the_remaining_ones(table, workers):
    whole = taken(table.torch(["row"], batch_size=9, shuffle=True, seed=3, epoch=2, pool=3), workers)
    for at in range(0, len(whole) + 1, 1 if workers < 2 else 4):
        rest = table.torch(["row"], batch_size=9, shuffle=True, seed=3, epoch=2, pool=3, start_batch=at)
        assert taken(rest, workers) == whole[at:], at


@pytest.mark.parametrize("drop_last", [False, True])
def test_the_place_of_every_worker_follows_the_loader_in_its_turns(drop_last):
    for rows in (0, 1, 5, 23, 64, 65, 67):
        for workers in (1, 2, 3, 5, 7):
            plan = Plan(batch_size=4, drop_last=drop_last)
            # what a loader does: asks its workers in turn, and leaves out those that have run dry
            left = [plan.batches(rows, worker, workers) for worker in range(workers)]
            turns = [worker for turn in range(max(left)) for worker in range(workers) if turn < left[worker]]
            for at in range(len(turns) + 1):
                places = [plan.place(rows, at, worker, workers) for worker in range(workers)]
                assert sorted(role for role, _ in places) == list(range(workers))
                assert all(given == turns[:at].count(role) for role, given in places)
                remaining = [left[role] - given for role, given in places]
                resumed = [places[worker][0] for turn in range(max(remaining)) for worker in range(workers) if turn < remaining[worker]]
                assert resumed == turns[at:]


def test_what_was_given_before_is_not_even_opened(table, tmp_path):
    parts = []
    for part in table.parts:
        parts.append(tmp_path / Path(part).name)
        parts[-1].write_bytes(Path(part).read_bytes())
    rows = Table([str(part) for part in parts]).torch(["row"], batch_size=10, start_batch=6)
    for part in parts[:4]:  # rows 0 to 59
        part.unlink()
    assert numbers(taken(rows)) == list(range(60, ROWS))


def test_only_the_columns_asked_for_are_read(table, tmp_path):
    part = tmp_path / "part.parquet"
    part.write_bytes(Path(table.parts[2]).read_bytes())
    chunk = pq.read_metadata(part).row_group(0).column(2)
    assert chunk.path_in_schema.startswith("mel")
    with part.open("r+b") as file:
        file.seek(chunk.data_page_offset)
        file.write(b"\xff" * chunk.total_compressed_size)
    assert len(numbers(taken(Table([str(part)]).torch(["row", "clip_id"])))) == 30
    with pytest.raises(OSError, match="deserialize"):
        taken(Table([str(part)]).torch(["mel", "row"]))


def test_a_position_survives_json_and_says_when_it_does_not_fit(table):
    rows = table.torch(["row"], batch_size=8, shuffle=True, epoch=4)
    whole = taken(rows)
    batches = iter(rows)
    for _ in range(5):
        next(batches)
    state = rows.state_dict()
    assert (state["epoch"], state["batches"]) == (4, 5)
    again = table.torch(["row"], batch_size=8, shuffle=True)
    again.load_state_dict(state)
    again.set_epoch(4)  # the usual loop says so; it is the present epoch, which goes on
    assert taken(again) == whole[5:]
    again.set_epoch(5)
    assert len(taken(again)) == len(whole)
    with pytest.raises(TableError, match="saved with batch_size=8, and here it is 16"):
        table.torch(["row"], batch_size=16, shuffle=True).load_state_dict(state)
    other = table.torch(["row"], batch_size=8, shuffle=True)
    other.load_state_dict(rows.state_dict(batches=5, workers=2))
    with pytest.raises(TableError, match="counted with 2 workers, and this loader has 1"):
        taken(other)


def test_workers_that_live_on_follow_the_epoch(table):
    rows = table.torch(["row"], batch_size=8, shuffle=True)
    loader = DataLoader(rows, batch_size=None, num_workers=2, persistent_workers=True)
    passes = []
    for epoch in range(2):
        rows.set_epoch(epoch)
        passes.append([batch["row"].tolist() for batch in loader])
    assert passes[0] != passes[1]
    assert passes[1] == taken(table.torch(["row"], batch_size=8, shuffle=True, epoch=1), 2)


@pytest.mark.slow
def test_spawned_workers_give_what_forked_ones_give(table):
    rows = pickle.loads(pickle.dumps(table.torch(["row", "mel"], batch_size=8, shuffle=True)))
    assert taken(rows, 2, multiprocessing_context="spawn") == taken(rows, 2)


@pytest.mark.parametrize("workers", [1, 3])
def test_ranks_share_the_rows_and_have_the_same_number_of_batches(table, workers):
    shares = []
    for rank in range(4):
        rows = table.torch(["row"], batch_size=4, shuffle=True, rank=rank, ranks=4)
        shares.append([batch for worker in range(workers) for batch in worker_batches(rows, worker, workers)])
    assert len({len(share) for share in shares}) == 1
    everything = [row for share in shares for row in numbers(share)]
    assert len(everything) == len(set(everything)) > ROWS - 4 * workers


def worker_batches(rows, worker: int, workers: int) -> list[list[int]]:
    """What one worker of a rank gives, without starting processes."""
    from unittest.mock import patch

    with patch("pipelines.training.get_worker_info", return_value=type("Info", (), {"id": worker, "num_workers": workers})):
        return [batch["row"].tolist() for batch in rows]


def test_impossible_options_are_named(table):
    with pytest.raises(TableError, match="batch_size=0"):
        table.torch(batch_size=0)
    with pytest.raises(TableError, match="rank=4 ranks=4"):
        table.torch(rank=4, ranks=4)
