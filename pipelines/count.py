"""What is in a store, in numbers: tracks and hours by format, licence and artist, labels by what they say, rejects by cause."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.revisions import WITHDRAWN, standing
from pipelines.store import Store

# Rows that are held at once, to see each only once; of more than these, the rest waits in temporary files.
ROWS_AT_ONCE = 1_000_000
COLUMNS = ("format", "license", "artist")  # of `tracks`, by which its rows are counted
LABEL_COLUMNS = ("label_id", "kind", "value", "author_kind", "replaces")
REJECT_COLUMNS = ("uri", "stage", "error", "at")

Named = tuple[str | None, int, int]


@dataclass(frozen=True)
class Tally:
    """Rows of one group by name: how many names and rows there are, and the names with most rows.

    of: ("format",), ("license",), ("artist",), ("label", KIND, AUTHOR_KIND) or ("reject", STAGE).
    microseconds: of sound, of all rows; whole numbers, so that the order in which a cluster adds them does not show.
    most: (name, rows, microseconds), in the order of `rank`.
    """

    of: tuple[str, ...]
    names: int
    rows: int
    microseconds: int
    most: tuple[Named, ...]


@dataclass(frozen=True)
class Counts:
    """The tallies of a store, in the order of `of`; shards: parts of `tracks`."""

    shards: int
    tallies: tuple[Tally, ...]

    def facts(self) -> dict[str, Any]:
        """As JSON: hours instead of microseconds, and a list for each subject."""
        found: dict[str, Any] = {
            "shards": self.shards,
            "tracks": 0,
            "hours": 0.0,
            **{name: {} for name in COLUMNS},
            "labels": [],
            "rejects": [],
        }
        for tally in self.tallies:
            subject, *rest = tally.of
            if subject in COLUMNS:
                found["tracks"], found["hours"] = tally.rows, _hours(tally.microseconds)
                most = [{"name": name, "tracks": rows, "hours": _hours(sound)} for name, rows, sound in tally.most]
                found[subject] = {"names": tally.names, "most": most}
            elif subject == "label":
                most = [{"value": name, "labels": rows} for name, rows, _ in tally.most]
                found["labels"].append({"kind": rest[0], "author_kind": rest[1], "labels": tally.rows, "values": tally.names, "most": most})
            else:
                most = [{"error": name, "rejects": rows} for name, rows, _ in tally.most]
                found["rejects"].append({"stage": rest[0], "rejects": tally.rows, "errors": tally.names, "most": most})
        return found

    def __str__(self) -> str:
        facts = self.facts()
        lines = [f"{facts['tracks']:,} tracks, {facts['hours']:,.2f} h of sound, in {facts['shards']:,} shards"]
        for tally in self.tallies:
            subject, *rest = tally.of
            more = [f"and {tally.names - len(tally.most):,} more"] * (tally.names > len(tally.most))
            if subject in COLUMNS:
                each = [f"{_shown(name)} {rows:,} ({_hours(sound):,.2f} h)" for name, rows, sound in tally.most]
            else:
                each = [f"{_shown(name)} {rows:,}" for name, rows, _ in tally.most]
            title = {"label": "labels: ", "reject": "rejects: "}.get(subject, subject) + ", ".join(map(_shown, rest))
            lines.append(f"{title} {tally.rows:,}: {', '.join([*each, *more])}" if rest else f"{title}: {', '.join([*each, *more])}")
        return "\n".join(lines)


def count(store: Store, top: int = 20, at_once: int = ROWS_AT_ONCE) -> Counts:
    """Count in this process: part by part, and each row of the store once though two parts may hold it.

    Memory grows with the number of different names only; time grows with the number of rows.

    Args:
        top: names to tell of in each group. at_once: rows held in memory.
    """
    found = [*_tracks(store, top, at_once), *_labels(store, top, at_once), *_rejects(store, top, at_once)]
    return Counts(len(store.names("tracks")), tuple(sorted(found, key=lambda tally: tally.of)))


def microseconds(seconds: float | None) -> int:
    """A length as a whole number; 0 where it is not known.

    >>> microseconds(1.5), microseconds(None), microseconds(float("nan"))
    (1500000, 0, 0)
    """
    return round(seconds * 1e6) if seconds is not None and math.isfinite(seconds) else 0


def rank(named: Named) -> tuple[int, bool, str]:
    """The order of names: those with most rows first, equal ones by name, what has no name last."""
    name, rows, _ = named
    return -rows, name is None, name or ""


def _tracks(store: Store, top: int, at_once: int) -> Iterator[Tally]:
    found: dict[str, list[pa.Table]] = {column: [] for column in COLUMNS}
    for rows in _shares(store, "tracks", ("track_id", "seconds", *COLUMNS), "track_id", at_once):
        if pc.count_distinct(rows.column("track_id"), mode="all").as_py() < rows.num_rows:
            rows = rows.take(_rows(rows, ["track_id"], "min"))
        seconds = rows.column("seconds")
        known = pc.fill_null(pc.is_finite(seconds), False)
        rows = rows.append_column("sound", pc.cast(pc.round(pc.multiply(pc.if_else(known, seconds, 0.0), 1e6)), pa.int64()))
        for column in COLUMNS:
            found[column].append(_grouped(rows, [column]))
    for column, groups in found.items():
        yield from _tallies((column,), groups, [], column, top)


def _labels(store: Store, top: int, at_once: int) -> Iterator[Tally]:
    groups = []
    for rows in _shares(store, "labels", LABEL_COLUMNS, "label_id", at_once, _with_corrections):
        rows = standing(rows, silent=True)
        groups.append(_grouped(rows.append_column("sound", pa.repeat(pa.scalar(0), rows.num_rows)), ["kind", "author_kind", "value"]))
    yield from _tallies(("label",), groups, ["kind", "author_kind"], "value", top)


def _rejects(store: Store, top: int, at_once: int) -> Iterator[Tally]:
    groups = []
    for rows in _shares(store, "rejects", REJECT_COLUMNS, "uri", at_once):
        rows = rows.sort_by("at")
        rows = rows.take(_rows(rows, ["uri", "stage"], "max"))  # the latest word on each
        rows = rows.filter(pc.not_equal(pc.fill_null(rows.column("error"), ""), ""))
        groups.append(_grouped(rows.append_column("sound", pa.repeat(pa.scalar(0), rows.num_rows)), ["stage", "error"]))
    yield from _tallies(("reject",), groups, ["stage"], "error", top)


def _with_corrections(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of labels in which each correction has a row under the name of what it corrects, so that they meet in a share."""
    kept = batch.set_column(batch.schema.get_field_index("replaces"), "replaces", pa.nulls(batch.num_rows, pa.string()))
    old = pc.drop_null(batch.column("replaces"))
    nothing = pa.repeat(pa.scalar(""), len(old))
    by_name = {
        "label_id": old,
        "kind": pa.repeat(pa.scalar(WITHDRAWN), len(old)),
        "value": nothing,
        "author_kind": nothing,
        "replaces": old,
    }
    both = pa.Table.from_batches([kept]).cast(_TEXTS)
    return pa.concat_tables([both, pa.table(by_name, schema=_TEXTS)]).combine_chunks().to_batches(max_chunksize=None)[0]


_TEXTS = pa.schema([(name, pa.string()) for name in LABEL_COLUMNS])


def _shares(
    store: Store,
    table: str,
    columns: Sequence[str],
    key: str,
    at_once: int,
    change: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> Iterator[pa.Table]:
    """The rows of a plain table in shares of about `at_once`: rows of one key are in one share, in the table's order."""
    if not store.names(table):
        return
    opened = store.table(table)
    shares = -(-len(opened) // at_once)
    source = (change(batch) for batch in opened.dataset.to_batches(columns=list(columns), batch_size=1 << 16) if batch.num_rows)
    if shares > 1:
        yield from _spilled(source, key, shares)
    elif shares:
        yield pa.Table.from_batches(list(source))


def _spilled(source: Iterable[pa.RecordBatch], key: str, shares: int) -> Iterator[pa.Table]:
    """The same by way of temporary files, one for each share: each row is read once, however many shares there are."""
    from pandas.util import hash_array

    with tempfile.TemporaryDirectory(prefix="earmark-count-") as folder:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        paths = [str(Path(folder) / str(share)) for share in range(shares)]
        for batch in source:
            if not writers:
                writers = [pa.ipc.new_stream(path, batch.schema) for path in paths]
            names = batch.column(key).to_numpy(zero_copy_only=False)
            of = hash_array(names, categorize=False) % shares
            batch = batch.take(pa.array(np.argsort(of, kind="stable")))
            ends = np.cumsum(np.bincount(of.astype(np.int64), minlength=shares))
            for writer, begin, end in zip(writers, [0, *ends], ends, strict=False):
                if end > begin:
                    writer.write_batch(batch.slice(begin, end - begin))
        for writer in writers:
            writer.close()
        for path in paths:
            with pa.OSFile(path) as file:
                share = pa.ipc.open_stream(file).read_all()
            Path(path).unlink()
            yield share


def _rows(rows: pa.Table, keys: list[str], which: str) -> pa.Array:
    """The places, in order, of the first ("min") or last ("max") row of each key."""
    numbered = rows.select(keys).append_column("row", pa.array(np.arange(rows.num_rows)))
    return numbered.group_by(keys).aggregate([("row", which)]).column(f"row_{which}").sort()


def _grouped(rows: pa.Table, keys: list[str]) -> pa.Table:
    return rows.group_by(keys).aggregate([([], "count_all"), ("sound", "sum")]).rename_columns([*keys, "rows", "sound"])


def _tallies(subject: tuple[str, ...], groups: list[pa.Table], by: list[str], name: str, top: int) -> Iterator[Tally]:
    """One tally for each value of the columns `by`, over the groups that shares gave."""
    if not groups:
        return
    keys = [*by, name]
    rows = pa.concat_tables(groups).group_by(keys).aggregate([("rows", "sum"), ("sound", "sum")]).rename_columns([*keys, "rows", "sound"])
    parts = rows.select(by).group_by(by).aggregate([]).to_pylist() if by else [{}] * bool(rows.num_rows)
    for part in parts:
        mine = rows
        for column, value in part.items():
            mine = mine.filter(pc.equal(mine.column(column), value))
        best = mine.sort_by([("rows", "descending"), (name, "ascending")]).slice(0, top)
        most = zip(*(best.column(column).to_pylist() for column in (name, "rows", "sound")), strict=True)
        total, sound = pc.sum(mine.column("rows")).as_py(), pc.sum(mine.column("sound")).as_py()
        yield Tally((*subject, *part.values()), mine.num_rows, total, sound, tuple(most))


def _hours(sound: int) -> float:
    return sound / 3.6e9


def _shown(name: str | None) -> str:
    """A name on one line, whatever is in it; long ones are cut.

    >>> _shown("a\\nb")
    'a\\\\nb'
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name[:80]) if name else "(none)"
