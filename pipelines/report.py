"""The report: one HTML page with pictures and players of some tracks, the tables, and what could not be used."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import numpy as np

from extractors.uri import is_local, is_uri, open_local, to_path
from pipelines.cells import TableError, cell_shape
from pipelines.page import Heard, Summary, page
from pipelines.part import publish
from pipelines.pictures import Stretch, along, outline, peaks, png
from pipelines.table import Table

if TYPE_CHECKING:
    from pipelines.store import Store

COLUMNS, WAVE_HEIGHT, TAGS = 960, 64, 8
# Decibels between the darkest and the brightest colour of a log-mel picture.
RANGE_DB = 70.0
ROWS = ("track_id", "start", "seconds")


def write_report(store: Store, out: Path, tracks: int = 24) -> None:
    """Write the page. It needs no network and no other file than the recordings that it links.

    Args:
        out: the page's path. Recordings are linked relative to it where both lie in one tree, else by their own URI.
        tracks: how many to show, the first of the catalogue.
    Raises:
        StoreError: there is no catalogue, or the page cannot be written.
        OSError: `out` cannot be written.
    """
    import pyarrow.fs as pafs

    tables = _tables(store)
    shown, shards = _first(store, tracks)
    features = {name: table for name, table in tables.items() if set(ROWS) <= set(table.column_names)}
    near = {name: table for name, whole in features.items() if (table := _of_shards(whole, shards)).parts}
    mel, tags = _log_mel(near), _taggram(near)
    heard = [_heard(row, mel, tags, out) for row in shown]
    html = page(_summary(store, tables), heard, store.open_rejects())
    publish(pafs.LocalFileSystem(), os.path.abspath(out), html.encode())


def _tables(store: Store) -> dict[str, Table]:
    found = {}
    for name in store.tables():
        try:
            found[name] = store.table(name)
        except TableError:
            continue  # announced, but nothing is finished yet
    return found


def _first(store: Store, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The first tracks and the shards they lie in: a large catalogue is not read for a few of them."""
    store.table("tracks")  # says what there is, where there is no catalogue
    rows: list[dict[str, Any]] = []
    shards = []
    for shard in store.names("tracks"):
        if len(rows) >= count:
            break
        part = store.read("tracks", names=[shard])
        rows += part.to_pylist() if part is not None else []
        shards.append(shard)
    return rows[:count], shards


def _of_shards(table: Table, shards: Sequence[str]) -> Table:
    parts = [part for part in table.parts if part.rpartition("/")[2].removesuffix(".parquet").partition("~")[0] in set(shards)]
    return Table(parts, table.filesystem, table.dataset.schema)


def _log_mel(tables: dict[str, Table]) -> tuple[Table, str] | None:
    for table in tables.values():
        if "mel" in table.column_names and _footer(table).get("extractor", {}).get("use") == "LogMel":
            return table, "mel"
    return None


def _footer(table: Table) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"earmark", b"{}"))
    return said


def _taggram(tables: dict[str, Table]) -> tuple[Table, str] | None:
    for table in tables.values():
        for field in table.schema:
            if table.labels(field.name) and len(cell_shape(field) or ()) == 2:
                return table, field.name
    return None


def _stretches(source: tuple[Table, str], track: str) -> list[Stretch]:
    table, column = source
    window = _footer(table).get("window", {}).get("seconds")
    columns = [name for name in (*ROWS, "valid", "view", column) if name in table.column_names]
    frame = table.to_pandas(columns, filter=[("track_id", "=", track)]).sort_values("start", kind="stable")
    found = []
    for row in frame.to_dict("records"):
        values = row[column][: row.get("valid", len(row[column]))]
        if row.get("view", 0) == 0 and len(values) and row["seconds"] > 0:
            # A last clip's patch is as long as any other, even where sound ends before it does.
            seconds = window * len(values) / len(row[column]) if isinstance(window, float | int) else row["seconds"]
            found.append(Stretch(row["start"], seconds, values))
    return found


def _heard(row: dict[str, Any], mel: tuple[Table, str] | None, tags: tuple[Table, str] | None, out: Path) -> Heard:
    seconds = row["seconds"] or 1.0
    heard = Heard(row, link=_link(row["uri"], out))
    try:
        heard.wave = _wave(row)
    except (OSError, ValueError) as error:  # AudioError is a ValueError
        heard.note = f"no waveform: {error}"
    stretches = _stretches(mel, row["track_id"]) if mel else []
    if stretches:
        picture = along(stretches, seconds, COLUMNS)[::-1]  # low bands at the bottom
        heard.mel = png((picture - np.nanmax(picture)) / RANGE_DB + 1)
    stretches = _stretches(tags, row["track_id"]) if tags else []
    if tags and stretches:
        taggram = along(stretches, seconds, COLUMNS)
        means = np.concatenate([stretch.values for stretch in stretches]).mean(axis=0)
        best = np.argsort(-means, kind="stable")[:TAGS]
        heard.tags = [(tags[0].labels(tags[1])[tag], float(means[tag])) for tag in best]
        heard.taggram = png(taggram[best])
    return heard


def _wave(row: dict[str, Any]) -> str:
    from extractors.audio import stream

    with open_local(row["uri"]) as path:
        samples = round(row["seconds"] * row["sample_rate"])
        return outline(peaks(stream(path, 1 << 16), samples, COLUMNS), WAVE_HEIGHT)


def _link(uri: str, out: Path) -> str:
    """How the page links a recording; not at all where a browser could not fetch it."""
    if not is_local(uri):
        return uri if uri.lower().startswith(("http://", "https://")) else ""
    path, folder = os.path.abspath(to_path(uri)), os.path.dirname(os.path.abspath(out))
    if not os.path.exists(path):
        return ""
    # Up to the root and down again is no relation: such a page would break when moved, and gain nothing.
    if os.path.commonpath([path, folder]) != "/":
        return quote_from_bytes(os.fsencode(os.path.relpath(path, folder)), safe="/")
    return "file://" + quote_from_bytes(os.fsencode(path), safe="/")


def _summary(store: Store, tables: dict[str, Table]) -> Summary:
    summary = Summary(name=store.root if is_uri(store.root) else os.path.abspath(store.root))
    catalogue = tables["tracks"].to_table(["seconds"])
    summary.tracks, summary.hours = len(catalogue), float(np.nansum(catalogue.column("seconds").to_numpy())) / 3600
    for name, table in tables.items():
        if name in ("aliases", "rejects"):
            continue
        size = sum(info.size for info in table.filesystem.get_file_info(table.parts))
        columns = [f"{field.name} {_shape(field)}".strip() for field in table.schema]
        summary.tables.append((name, len(table), len(table.parts), size, columns))
        if {"clip_id", "view"} <= set(table.column_names):
            summary.clips = max(summary.clips, len(table))
    return summary


def _shape(field: Any) -> str:
    return " × ".join(map(str, cell_shape(field) or ()))
