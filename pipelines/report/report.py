"""The report: one HTML page with pictures and players of some tracks, the tables, and what could not be used."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extractors.uri import is_uri, open_local
from pipelines.cells import cell_shape
from pipelines.part import publish
from pipelines.report.campaigns import campaigns
from pipelines.report.collection import collection
from pipelines.report.curves import curve
from pipelines.report.links import link
from pipelines.report.page import Heard, Summary, page
from pipelines.report.page_views import section
from pipelines.report.pictures import along, level, outline, peaks, png
from pipelines.report.releases import release
from pipelines.report.tables import ROWS, footer, log_mel, of_shards, stretches, tables, taggram
from pipelines.report.views import shown_clip
from pipelines.table import Table

if TYPE_CHECKING:
    from pipelines.store import Store

COLUMNS, WAVE_HEIGHT, TAGS = 960, 64, 8


def write_report(store: Store, out: Path, tracks: int = 24, curves: Sequence[Path] = (), releases: Sequence[Path] = ()) -> None:
    """Write the page. It needs no network and no other file than the recordings that it links.

    Args:
        out: the page's path. Recordings are linked relative to it where both lie in one tree, else by their own URI.
        tracks: how many to show, the first of the catalogue.
        curves: files of `earmark queue simulate --out`. releases: folders of versions of releases.
    Raises:
        StoreError: there is no catalogue, a curve or release is none, or the page cannot be written.
        OSError: `out` cannot be written.
    """
    import pyarrow.fs as pafs

    linked = functools.partial(link, out=out)
    more = [curve(file, number) for number, file in enumerate(curves, 1)]  # what is named wrongly is told before anything is drawn
    more += [release(folder, number, linked) for number, folder in enumerate(releases, 1)]
    found = tables(store)
    shown, shards = _first(store, tracks)
    features = {name: table for name, table in found.items() if set(ROWS) <= set(table.column_names)}
    near = {name: table for name, whole in features.items() if (table := of_shards(whole, shards)).parts}
    mel, tags = log_mel(near), taggram(near)
    heard = [_heard(row, mel, tags, out) for row in shown]
    clip = shown_clip(store, near, shards)
    sections = [each for each in (collection(store), *campaigns(store, linked), *more) if each]
    html = page(_summary(store, found), heard, store.open_rejects(), section(clip) if clip else "", sections)
    publish(pafs.LocalFileSystem(), os.path.abspath(out), html.encode())


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


def _heard(row: dict[str, Any], mel: tuple[Table, str] | None, tags: tuple[Table, str] | None, out: Path) -> Heard:
    seconds = row["seconds"] or 1.0
    heard = Heard(row, link=link(row["uri"], out))
    try:
        heard.wave = _wave(row)
    except (OSError, ValueError) as error:  # AudioError is a ValueError
        heard.note = f"no waveform: {error}"
    untouched = [("track_id", "=", row["track_id"]), ("view", "=", 0)]
    mels = [stretch for _, stretch in stretches(mel, untouched)] if mel else []
    if mels:
        picture = along(mels, seconds, COLUMNS)
        heard.mel = png(level(picture, float(np.nanmax(picture))))
    patches = [stretch for _, stretch in stretches(tags, untouched)] if tags else []
    if tags and patches:
        picture = along(patches, seconds, COLUMNS)
        means = np.concatenate([patch.values for patch in patches]).mean(axis=0)
        best = np.argsort(-means, kind="stable")[:TAGS]
        heard.tags = [(tags[0].labels(tags[1])[tag], float(means[tag])) for tag in best]
        heard.taggram = png(picture[best])
    return heard


def _wave(row: dict[str, Any]) -> str:
    from extractors.audio import stream

    with open_local(row["uri"]) as path:
        samples = round(row["seconds"] * row["sample_rate"])
        return outline(peaks(stream(path, 1 << 16), samples, COLUMNS), WAVE_HEIGHT)


def _summary(store: Store, found: dict[str, Table]) -> Summary:
    import pyarrow.compute as pc

    summary = Summary(name=store.root if is_uri(store.root) else os.path.abspath(store.root))
    catalogue = found["tracks"].to_table(["seconds"])
    summary.tracks, summary.hours = len(catalogue), float(np.nansum(catalogue.column("seconds").to_numpy())) / 3600
    for name, table in found.items():
        if name in ("aliases", "rejects"):
            continue
        size = sum(info.size for info in table.filesystem.get_file_info(table.parts))
        columns = [f"{field.name} {_shape(field)}".strip() for field in table.schema]
        summary.tables.append((name, len(table), len(table.parts), size, columns))
        if {"clip_id", "view", *ROWS} <= set(table.column_names):
            views = footer(table).get("views")
            summary.clips = max(summary.clips, int(table.dataset.count_rows(filter=pc.field("view") == 0)) if views else len(table))
            summary.views = max(summary.views, len(table))
    return summary


def _shape(field: Any) -> str:
    return " × ".join(map(str, cell_shape(field) or ()))
