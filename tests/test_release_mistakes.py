"""Mistakes on the way to a release, and what is left out and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.release.origins import _not_finite
from tests.making import HEAD, made, rows
from tests.releasing import catalogue, clip, collection, heard, spec, tagged, track


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('name = "set"\nfeatures = ["mfcc.mean"]\n', "release.toml, line 2: features: no table 'mfcc' in {store}; there are emb"),
        ('name = "set"\nfeatures = ["emb.max"]\n', "release.toml, line 2: features: 'emb' has no column 'max'; there are mean"),
        (
            HEAD + '[variants]\nemb = "abc"\n',
            "release.toml, line 4: variants.emb: no variant 'abc' of 'emb'; there are 679ba3d1-emb",
        ),
        (
            HEAD + '[[labels]]\nkind = "tag"\nconfidence = 0.9\nauthor_kinds = ["gold"]\n',
            "release.toml, line 4: labels[0].kind: no tag of 'tag' stands that is heard and sure enough",
        ),
        (HEAD + '[[labels]]\nkind = "mood"\n', "release.toml, line 4: labels[0].kind: nobody spoke of 'mood'; there are tag"),
        (
            HEAD + '[rows]\nwhere = [["genre", "==", "folk"]]\n',
            "release.toml, line 4: rows.where[0]: no column 'genre' in the catalogue; there are track_id, ",
        ),
        (
            HEAD + "[split]\nshares = { train = 0.8, test = 0.1 }\n",
            "release.toml, line 4: split.shares: train 0.8, test 0.1 make 0.9, not 1",
        ),
        (HEAD + '[licences]\nallow = ["free"]\n', "release.toml, line 4: licences.allow: 'free' is no licence known here"),
        (HEAD + '[split]\nclose = ["artists"]\n', "release.toml, line 4: split.close[0]: "),
        (HEAD + "[split]\nshares = { 'träin' = 1.0 }\n", "release.toml, line 4: split.shares"),
        (HEAD + '[[labels]]\nkind = "tag"\nname = "seconds"\n', "labels[0].name: column 'seconds' is taken"),
        (
            HEAD + '[[labels]]\nkind = "tag"\n[[labels]]\nkind = "tag"\nname = "tag_hot"\n',
            "labels[0].name: column 'tag' is taken",
        ),
        ('name = "Set One"\nfeatures = ["emb.mean"]\n', "release.toml, line 1: name: "),
        ('name = "set"\nfeatures = ["emb"]\n', "release.toml, line 2: features: 'emb' is not a table and a column"),
        (HEAD + "[row]\n", "release.toml, line 3: row: no such setting; there are description, features, labels, licences, name"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tagged(collection(tmp_path, count=4, artists=4), {0: ["calm"]}, author_kind="gold", confidence=0.5)
    file = spec(tmp_path, text)
    assert main(["release", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert error.replace("{store}", str(tmp_path / "store")) in said
    assert said.count("\n") == 1


def test_clips_without_features_and_recordings_that_nobody_heard_are_counted_and_named(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number} for number in range(8)])
    heard(store, range(6), without=[(0, 0), (1, 0), (1, 1)])
    reject = {
        "uri": "/music/7.wav",
        "stage": "run",
        "track_id": track(7),
        "error": "empty",
        "message": "7.wav:\nno sound",
        "remedy": "none",
    }
    store.reject([reject])
    done = made(tmp_path, HEAD)
    assert len(rows(done)) == 9
    left = pq.read_table(done.folder / "exclusions.parquet").to_pylist()
    assert {(int(row["track_id"], 16), row["clip_id"], row["reason"]) for row in left} == {
        (0, clip(0, 0), "no row in emb"),
        (1, clip(1, 0), "no row in emb"),
        (1, clip(1, 1), "no row in emb"),
        (6, None, "no clips: no run has heard it"),
        (7, None, "rejected: 7.wav: no sound"),
    }


def test_hostile_names_stay_text_in_card_attribution_and_figures(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\n| x\t](y) ```"
    store = catalogue(tmp_path, [{"number": number, "title": evil, "uri": f"/m/{number}\n.wav"} for number in range(8)])
    heard(store, range(8))
    tagged(store, {number: [evil] for number in range(8)})
    done = made(tmp_path)
    card = (done.folder / "README.md").read_text()
    assert "<script>" not in card
    assert "\n| x" not in card
    for line in (done.folder / "ATTRIBUTION.tsv").read_text().splitlines():
        assert line.count("\t") == 6
    import xml.etree.ElementTree as ElementTree

    for path in (done.folder / "figures").iterdir():
        ElementTree.parse(path)


def test_rows_of_what_is_no_number_are_left_out_and_named(tmp_path: Path) -> None:
    store = collection(tmp_path)
    (path,) = store.paths("emb", store.tables()["emb"][0])
    table = pq.read_table(path, partitioning=None)
    cells = np.stack(table["mean"].to_numpy(zero_copy_only=False)).astype(np.float32)
    cells[:3] = np.nan
    cells[7, 2] = -np.inf
    column = pa.FixedSizeListArray.from_arrays(pa.array(cells.reshape(-1)), 4)
    pq.write_table(table.set_column(5, table.schema.field("mean"), column), path)
    done = made(tmp_path)
    assert len(rows(done)) == 76
    assert all(np.isfinite(np.stack(rows(done)["mean"].to_numpy(zero_copy_only=False))).ravel())
    left = pq.read_table(done.folder / "exclusions.parquet").to_pylist()
    assert {row["clip_id"] for row in left} == set(table["clip_id"].take([0, 1, 2, 7]).to_pylist())
    assert {row["reason"] for row in left} == {"emb.mean has numbers that are not finite"}


def test_what_is_not_finite_is_found_in_cells_of_any_form() -> None:
    nan, inf = float("nan"), float("inf")
    fixed = pa.array([[1, 2], [nan, 1], [3, inf]], pa.list_(pa.float16(), 2))
    frames = pa.array([[[1, 2], [3, 4]], [], [[1, 2], [3, 4], [5, nan]], [[-inf, 1]]], pa.list_(pa.list_(pa.float64(), 2)))
    for array, places in (
        (pa.array([1.0, nan, inf]), [1, 2]),
        (pa.array([1, 2]), []),
        (fixed, [1, 2]),
        (fixed[1:], [0, 1]),
        (frames, [2, 3]),
        (frames[2:], [0, 1]),
        (pa.array([[0.5], [], [1.0, nan]], pa.large_list(pa.float32())), [2]),
    ):
        assert _not_finite(array).tolist() == places
