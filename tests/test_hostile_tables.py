"""Tables, lists and links that others made: what unpacks without end, never ends or leads elsewhere is one line."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation import foreign
from annotation.foreign import csv_rows
from annotation.jams import read_jams
from annotation.labels import read
from annotation.task import Task
from pipelines.campaigns.desk import open_desk
from pipelines.catalog import scan
from pipelines.cli import main
from pipelines.manifest import SourceError, rows
from pipelines.part import StoreError
from pipelines.release.divide import _listed
from pipelines.release.manifest import read_manifest
from pipelines.sheet import read_sheet
from pipelines.store import Store
from pipelines.table import Table
from tests.collection import ROOT, tones
from tests.hostile import one_line

LABEL = {"kind": "tag", "value": "x" * 1000, "author": "a", "author_kind": "person", "track_id": "t" * 20}
_IN_LITTLE = """
import resource, sys
from pathlib import Path
import pyarrow.parquet, pyarrow.compute, annotation.labels, annotation.jams, pipelines.sheet, pipelines.manifest
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, path, said = peak(), sys.argv[1], "read"
try:
    if path.endswith("labels.csv"): pipelines.sheet.read_sheet(Path(path), {"t": ["t" * 20]})
    elif path.endswith("labels.parquet"): annotation.labels.read(path)
    elif path.endswith(".jams"): annotation.jams.read_jams(path, "t")
    else: list(pipelines.manifest.rows(path, []))
except ValueError as error:
    said = str(error)
print((peak() - before) // 1024, len(said), said[:300])
"""


def _sparse(path: Path, head: bytes) -> None:
    path.write_bytes(head)
    os.truncate(path, 2 << 30)


def _copies(path: Path) -> None:
    """Thirty million labels of a kilobyte in three megabytes: each row is a number of no bits."""
    count = 1_000_000
    at = pa.array(np.zeros(count, np.int32))
    table = pa.table({name: pa.DictionaryArray.from_arrays(at, pa.array([value])) for name, value in LABEL.items()})
    with pq.ParquetWriter(path, table.schema) as file:
        for _ in range(30):
            file.write_table(table, row_group_size=count)


def _long_copies(path: Path) -> None:
    """Few rows, of a value of a megabyte."""
    at = pa.array(np.zeros(20_000, np.int32))
    table = pa.table({name: pa.DictionaryArray.from_arrays(at, pa.array([value * 1000])) for name, value in LABEL.items()})
    pq.write_table(table, path)


BOMBS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "copies": ("labels.parquet", _copies, "says it has 30,000,000 rows in"),
    "long copies": ("labels.parquet", _long_copies, "unpacks to more than"),
    "columns": (
        "labels.parquet",
        lambda path: pq.write_table(pa.table({f"c{i}": [1] for i in range(50_000)}), path, write_statistics=False),
        "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 and 49,988 more: no column of labels",
    ),
    "a footer": (
        "labels.parquet",
        lambda path: path.write_bytes(b"PAR1" + bytes(20 << 20) + (20 << 20).to_bytes(4, "little") + b"PAR1"),
        "its footer is larger than a table's",
    ),
    "a line of a sheet": ("labels.csv", lambda path: _sparse(path, b"recording,kind,value\nt,tag,"), "line 2: a row of more than"),
    "a sheet's columns": ("labels.csv", lambda path: path.write_text("," * 10_000_000), "line 1: a row of more than"),
    "a quote that is never closed": ("list.csv", lambda path: path.write_text('uri\n"' + '","\n' * 3_000_000), "a row of more than"),
    "a line of a list": ("list.csv", lambda path: _sparse(path, b"uri,title\na.wav,"), "line 2: a row of more than"),
    "a list's columns": ("list.csv", lambda path: path.write_text(",".join(map(str, range(500_000)))), " more"),
    "a line of JSON": ("list.jsonl", lambda path: _sparse(path, b'{"uri": "'), "line 1: a line of more than"),
    "JAMS": ("song.jams", lambda path: _sparse(path, b'{"annotations": []}'), "more than 128 MiB"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_table_that_unpacks_to_a_great_deal_is_one_line_in_little_memory(tmp_path: Path, name: str) -> None:
    file, make, expected = BOMBS[name]
    make(tmp_path / file)
    done = subprocess.run(
        [sys.executable, "-c", _IN_LITTLE, str(tmp_path / file)], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120
    )
    megabytes, length, said = done.stdout.split(" ", 2)
    assert expected in said
    assert file in said
    assert (int(megabytes) < 400, int(length) < 600) == (True, True), done.stdout


def test_labels_that_many_people_write_are_still_read(tmp_path: Path) -> None:
    many = 20_000
    said = {name: [value[:20]] * many for name, value in LABEL.items()} | {"start": [float(each) for each in range(many)]}
    pq.write_table(pa.table(said), tmp_path / "labels.parquet", row_group_size=1000)
    assert len(read(tmp_path / "labels.parquet")) == many
    quoted = "\n".join(f'"{line}\n",b' for line in range(500_000))  # as many characters as three rows may have
    assert sum(1 for _ in csv_rows(io.StringIO(quoted))) == 500_000


def test_what_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def opened(name: str) -> list[Callable[[], object]]:
        path = tmp_path / name
        (tmp_path / "campaign.toml").write_text(f'name = "abc"\ntitle = "abc"\ninterface = "{name}"\nquestions = []')
        return {
            ".csv": [lambda: read_sheet(path, {}), lambda: list(rows(str(path), [])), lambda: _listed(path, pa.table({}), ("a",))],
            ".jsonl": [lambda: list(rows(str(path), []))],
            ".parquet": [lambda: read(path), lambda: list(rows(str(path), [])), lambda: _listed(path, pa.table({}), ("a",))],
            ".jams": [lambda: read_jams(path, "t")],
            ".toml": [lambda: open_desk(path, store)],
            ".xml": [lambda: open_desk(tmp_path / "campaign.toml", store)],
            ".json": [lambda: read_manifest(tmp_path)],
        }[path.suffix]

    for name in ("a.csv", "a.jsonl", "a.parquet", "a.jams", "a.toml", "a.xml", "manifest.json"):
        for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
            make(tmp_path / name)
            for each in opened(name):
                with pytest.raises((ValueError, StoreError), match="a pipe, socket or device, not a file") as error:
                    each()
                assert "\n" not in str(error.value).replace("\ncampaign.toml", "")
            (tmp_path / name).unlink()


def test_a_folder_of_links_that_turn_in_circles_leave_and_lead_to_devices_is_scanned_to_its_end(tmp_path: Path) -> None:
    tones(tmp_path / "music", 1)
    tones(tmp_path / "elsewhere", 2, seconds=3.0)
    music = tmp_path / "music"
    for name, to in {"self": ".", "up": "..", "a.wav": "b.wav", "b.wav": "a.wav", "zero.wav": "/dev/zero", "out": "../elsewhere"}.items():
        (music / name).symlink_to(to)
    os.mkfifo(music / "fifo.wav")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(music / "socket.wav"))
        report = scan(Store(tmp_path / "store"), [str(music)])
    assert (report.new, report.rejected) == (3, 5)
    causes = {Path(row["uri"]).name: row["error"] for row in Store(tmp_path / "store").open_rejects()}
    assert causes == {"a.wav": "broken link", "b.wav": "broken link"} | dict.fromkeys(("zero.wav", "fifo.wav", "socket.wav"), "not a file")


def test_a_table_whose_footer_lies_is_named(tmp_path: Path) -> None:
    """Of a store that somebody else made."""
    path = tmp_path / "part.parquet"
    pq.write_table(pa.table({"x": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2))}), path, write_statistics=False)
    field = pa.field("x", pa.list_(pa.float32(), 2), metadata={"shape": "[" * 100_000, "labels": "{"})
    pq.write_table(pa.table([pa.array([[1.0, 2.0]] * 3, field.type)], pa.schema([field])), tmp_path / "says.parquet")
    lies = Table([str(tmp_path / "says.parquet")])
    for ask in (lambda: lies.schema, lambda: lies.numpy("x"), lambda: lies.labels("x"), lambda: lies.to_table()):
        with pytest.raises(StoreError, match="x: its metadata") as error:
            ask()
        one_line(error.value, "x")
    (tmp_path / "text.parquet").write_text("no table")
    os.mkfifo(tmp_path / "pipe.parquet")
    for name in ("text", "pipe"):
        with pytest.raises((StoreError, ValueError), match=rf"{name}\.parquet") as error:
            len(Table([str(tmp_path / f"{name}.parquet")]))
        assert "\n" not in str(error.value)
    table = Table([str(path)])
    table._rows = 1 << 50  # what a footer claims: no array of this size is asked for before rows are there
    with pytest.raises(StoreError, match="x: 1125899906842624 rows"):
        table.numpy("x")
    table._rows = 5
    with pytest.raises(StoreError, match="3 rows where 5"):
        table.numpy("x")


@pytest.mark.parametrize("said", ["[" * 100_000, "5", "{}", '{"format": 1, "files": {"a": {"bytes": "many", "sha256": 5}}, "splits": {}}'])
def test_a_release_whose_manifest_is_none_is_one_line(tmp_path: Path, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_text(said)
    with pytest.raises(StoreError, match="not a manifest that earmark wrote") as error:
        read_manifest(tmp_path)
    one_line(error.value, str(tmp_path))
    assert main(["release", "verify", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


OUT = ("../a.parquet", "/etc/passwd", "train/../../a", "~/../../a", "a\0b", "file:///etc/passwd/../../../..", "link/passwd", 5)


@pytest.mark.parametrize("path", OUT)
def test_a_release_that_names_what_lies_outside_of_it_is_not_opened(tmp_path: Path, path: str | int) -> None:
    (tmp_path / "link").symlink_to("/etc")
    file = {"bytes": 1, "sha256": ""}
    for said in ({"files": {str(path): file}, "splits": {}}, {"files": {}, "splits": {"train": {"shards": [path]}}}):
        (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, **said}))
        if isinstance(path, int) and said["files"]:
            continue
        with pytest.raises(StoreError, match=r"outside of it|not a manifest") as error:
            read_manifest(tmp_path)
        one_line(error.value, str(tmp_path))


def test_a_manifests_uris_are_names_and_never_unpacked_further(tmp_path: Path) -> None:
    tones(tmp_path / "music", 1)
    names = ["a\0.wav", "~/a.wav", "%2e%2e/%2e%2e/music/000.flac", "..%2f000.flac", "\\\\host\\share\\a.wav", "//host/share/a.wav"]
    names += ["file:///etc/%2e%2e/nothing.wav", "file://host/a.wav"]
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps({"uri": name}) for name in names))
    try:
        report = scan(Store(tmp_path / "store"), [str(tmp_path / "list.jsonl")])
        assert (report.new, report.rejected) == (0, len(names))
    except SourceError as error:
        one_line(error, "")
    assert not list((tmp_path / "store").glob("*/*.wav"))


def test_ends_of_lines_of_another_system_make_no_other_screen(tmp_path: Path) -> None:
    for ends in ("\n", "\r\n", "\r"):
        (tmp_path / "screen.xml").write_bytes(ends.join(("<View>", "</View>", "")).encode())
        assert foreign.text(tmp_path / "screen.xml") == "<View>\n</View>\n"


def test_a_campaigns_own_tasks_may_be_larger_than_what_others_write(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(
        'name = "abc"\ntitle = "abc"\n[[questions]]\nname = "q"\nkind = "tag"\ntext = "q"\nchoices = ["a"]'
    )
    desk = open_desk(tmp_path / "campaign.toml", Store(tmp_path / "store"))
    desk.remember([Task("e", "t", "c", 0.0, 1.0, "http://a/b.mp3")])
    with open(desk.folder / "tasks.json", "ab") as file:
        for _ in range(0, foreign.TEXT, 1 << 20):
            file.write(b" " * (1 << 20))
    assert [task.ext_id for task in desk.known()] == ["e"]
