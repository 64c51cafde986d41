"""Counting on Beam: the tallies of `pipelines.count` as native aggregations, for stores whose rows are more than one machine's affair."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
import pyarrow.fs as pafs
from apache_beam.options.pipeline_options import PipelineOptions

from annotation.revisions import WITHDRAWN
from pipelines.count import COLUMNS, LABEL_COLUMNS, REJECT_COLUMNS, Counts, Named, Tally, microseconds, rank
from pipelines.engines.beam_pipeline import notes_folder
from pipelines.part import StoreError
from pipelines.store import Store

Row = tuple[Any, ...]


def count(store: Store, top: int = 20, options: Sequence[str] = ()) -> Counts:
    """`pipelines.count.count` by a pipeline; what it found is left for a moment in a hidden folder of the store, which any runner reaches.

    Args:
        top: names to tell of in each group. options: of the pipeline, as Beam has them.
    Raises:
        StoreError: the pipeline did not end well.
    """
    shards = store.names("tracks")
    folder = notes_folder(store)
    try:
        with _quiet(), beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            _pipeline(pipeline, store, f"{folder}/counts", top)
        with store.filesystem.open_input_file(f"{store.folder(folder)}/counts") as file:
            said = json.loads(file.read())
    except Exception as error:  # runners raise whatever they like
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise StoreError(f"{store.root}: the Beam pipeline that counts failed: {last}") from error
    finally:
        if store.filesystem.get_file_info(store.folder(folder)).type == pafs.FileType.Directory:
            store.filesystem.delete_dir(store.folder(folder))
    found = [Tally(tuple(of), names, rows, sound, tuple(map(_named, most))) for of, (names, rows, sound, most) in said]
    return Counts(len(shards), tuple(sorted(found, key=lambda tally: tally.of)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on standard error meanwhile: workers that a runner starts on this machine tell there of how they start."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _pipeline(pipeline: Any, store: Store, place: str, top: int) -> None:
    root = store.root

    def rows(table: str, columns: Sequence[str], key: str) -> Any:
        """(key, (part, row, cells)) of all parts; no cells pass through the driver."""
        names = pipeline | f"parts of {table}" >> beam.Create([(root, table, name) for name in store.names(table)], reshuffle=False)
        spread = names | f"spread {table}" >> beam.Reshuffle()
        return spread | f"read {table}" >> beam.FlatMap(_read, tuple(columns), key)

    tracks = rows("tracks", ("track_id", "seconds", *COLUMNS), "track_id") | "each track once" >> beam.CombinePerKey(min)
    labels = rows("labels", LABEL_COLUMNS, "label_id")
    said = labels | "said" >> beam.Filter(_says_something)
    replaced = labels | "replaced" >> beam.FlatMap(_replaced)
    stands = {"said": said, "replaced": replaced} | "corrections to what they correct" >> beam.CoGroupByKey()
    rejects = rows("rejects", REJECT_COLUMNS, "uri") | "by stage" >> beam.Map(_by_stage) | "latest" >> beam.CombinePerKey(max)
    counted = (
        tracks | "tracks by name" >> beam.FlatMap(_of_track),
        stands | "labels by value" >> beam.FlatMap(_of_label),
        rejects | "rejects by cause" >> beam.FlatMap(_of_reject),
    ) | beam.Flatten()
    _ = (
        counted
        | "by name" >> beam.CombinePerKey(_sums)
        | "names of a group" >> beam.MapTuple(_in_group)
        | "most" >> beam.CombinePerKey(Most(top))
        | "all" >> beam.combiners.ToList()
        | "leave" >> beam.Map(_leave, root, place, bool(store.names("tracks")))
    )


def _read(part: tuple[str, str, str], columns: Sequence[str], key: str) -> Iterator[tuple[str, Row]]:
    """A part's rows: under their key, where they stand and their cells."""
    root, table, name = part
    read = Store(root).read(table, columns, [name])
    if read is None:
        return
    keys = read.column(key).to_pylist()
    for number, cells in enumerate(zip(keys, *(read.column(column).to_pylist() for column in columns if column != key), strict=True)):
        yield cells[0], (name, number, *cells[1:])


def _says_something(row: tuple[str, Row]) -> bool:
    return bool(row[1][2] != WITHDRAWN)


def _replaced(row: tuple[str, Row]) -> Iterator[tuple[str, bool]]:
    replaces = row[1][5]
    if replaces is not None:
        yield replaces, True


def _by_stage(row: tuple[str, Row]) -> tuple[tuple[str, str], Row]:
    uri, (name, number, stage, error, at) = row
    return (uri, stage), (at.isoformat(), name, number, error)


Counted = tuple[tuple[tuple[str, ...], str | None], tuple[int, int]]


def _of_track(row: tuple[str, Row]) -> Iterator[Counted]:
    _, (_, _, seconds, *names) = row
    for column, name in zip(COLUMNS, names, strict=True):
        yield ((column,), name), (1, microseconds(seconds))


def _of_label(row: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Counted]:
    said = list(row[1]["said"])
    if said and not any(row[1]["replaced"]):
        _, _, kind, value, author_kind, _ = min(said)
        yield (("label", kind, author_kind), value), (1, 0)


def _of_reject(row: tuple[tuple[str, str], Row]) -> Iterator[Counted]:
    (_, stage), (*_, error) = row
    if error:  # an empty one says that it was mended
        yield (("reject", stage), error), (1, 0)


def _sums(values: Iterable[tuple[int, int]]) -> tuple[int, int]:
    rows = sound = 0
    for each in values:
        rows, sound = rows + each[0], sound + each[1]
    return rows, sound


def _in_group(key: tuple[tuple[str, ...], str | None], sums: tuple[int, int]) -> tuple[tuple[str, ...], Named]:
    return key[0], (key[1], *sums)


class Most(beam.CombineFn):  # type: ignore[misc]
    """(names, rows, microseconds, the names with most rows) of a group; never more than a few of its names are held."""

    def __init__(self, top: int) -> None:
        self.top = top

    def create_accumulator(self) -> Row:
        """Nothing yet."""
        return 0, 0, 0, []

    def add_input(self, sums: Row, named: Named) -> Row:
        """Take a name, of which there is only this one."""
        return self.merge_accumulators([sums, (1, named[1], named[2], [named])])

    def merge_accumulators(self, parts: Iterable[Row]) -> Row:
        """Put together what several workers have."""
        names = rows = sound = 0
        most: list[Named] = []
        for part in parts:
            names, rows, sound = names + part[0], rows + part[1], sound + part[2]
            most += part[3]
            if len(most) > 2 * self.top + 100:
                most = sorted(most, key=rank)[: self.top]
        return names, rows, sound, most

    def extract_output(self, sums: Row) -> Row:
        """The names in their order."""
        return *sums[:3], sorted(sums[3], key=rank)[: self.top]


def _leave(found: list[tuple[tuple[str, ...], Row]], root: str, place: str, founded: bool) -> None:
    Store(root, founded).put(place, json.dumps(found).encode())


def _named(said: Sequence[Any]) -> Named:
    name, rows, sound = said
    return name, rows, sound
