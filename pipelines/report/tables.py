"""The tables that the report draws from: which they are, and their rows as stretches of time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.cells import TableError, cell_shape
from pipelines.report.pictures import Stretch
from pipelines.table import Table

if TYPE_CHECKING:
    from pipelines.store import Store

ROWS = ("track_id", "start", "seconds")


def tables(store: Store) -> dict[str, Table]:
    """The tables that have a part: of each, the variant of the latest run."""
    found = {}
    for name in store.tables():
        try:
            found[name] = store.table(name)
        except TableError:
            continue  # announced, but nothing is finished yet
    return found


def of_shards(table: Table, shards: Sequence[str]) -> Table:
    """The same table, only some shards of it; it may have no part then."""
    parts = [part for part in table.parts if part.rpartition("/")[2].removesuffix(".parquet").partition("~")[0] in set(shards)]
    return Table(parts, table.filesystem, table.dataset.schema)


def footer(table: Table) -> dict[str, Any]:
    """What a table says that its values came from."""
    said: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"earmark", b"{}"))
    return said


def log_mel(tables: Mapping[str, Table]) -> tuple[Table, str] | None:
    """The table and column of log-mel spectrograms."""
    for table in tables.values():
        if "mel" in table.column_names and footer(table).get("extractor", {}).get("use") == "LogMel":
            return table, "mel"
    return None


def taggram(tables: Mapping[str, Table]) -> tuple[Table, str] | None:
    """The table and column of tags over time."""
    for table in tables.values():
        for field in table.schema:
            if table.labels(field.name) and len(cell_shape(field) or ()) == 2:
                return table, field.name
    return None


def stretches(source: tuple[Table, str], wanted: Iterable[tuple[str, str, Any]]) -> list[tuple[int, Stretch]]:
    """Rows as stretches of their track, by their start: (view, stretch).

    Args:
        wanted: as Parquet filters: [("track_id", "=", ...)].
    """
    table, column = source
    window = footer(table).get("window", {}).get("seconds")
    columns = [name for name in (*ROWS, "valid", "view", column) if name in table.column_names]
    conditions = [each for each in wanted if each[0] in table.column_names]
    frame = table.to_pandas(columns, filter=conditions).sort_values("start", kind="stable")
    found = []
    for row in frame.to_dict("records"):
        values = row[column][: row.get("valid", len(row[column]))]
        if len(values) and row["seconds"] > 0:
            # A last clip's patch is as long as any other, even where sound ends before it does.
            seconds = window * len(values) / len(row[column]) if isinstance(window, float | int) else row["seconds"]
            found.append((row.get("view", 0), Stretch(row["start"], seconds, values)))
    return found
