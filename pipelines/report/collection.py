"""What the collection is made of: lengths, formats, licences, who plays."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from pipelines.report.charts import bars, section
from pipelines.store import Store

SHOWN = 12  # rows of a table; the others are one
EDGES = (0, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds


def collection(store: Store) -> str:
    """HTML of the section, "" where there is no catalogue."""
    tracks = store.read("tracks", ["seconds", "format", "sample_rate", "license", "artist"])
    if tracks is None or not len(tracks):
        return ""
    parts = [_figure("Length", bars(_lengths(tracks.column("seconds").to_numpy()), ("seconds", "tracks")))]
    for column, title in (("format", "Format"), ("sample_rate", "Sample rate, Hz"), ("license", "Licence"), ("artist", "Artist")):
        counted = pc.value_counts(tracks.column(column)).to_pylist()
        counts = Counter({each["values"]: each["counts"] for each in counted})
        if set(counts) != {None}:
            parts.append(_figure(title, bars(_most(counts), (title.lower(), "tracks"))))
        elif column == "license":
            parts.append(_figure(title, '<p class="quiet">No recording says under which terms it may be used.</p>'))
    if rejects := Counter(row["error"] for row in store.open_rejects()):
        parts.append(_figure("Could not be used", bars(_most(Counter(dict(rejects))), ("cause", "files"))))
    return section("collection", "Collection", f'<div class="figures">{"".join(parts)}</div>\n')


def _lengths(seconds: Sequence[float]) -> list[tuple[str, float, str]]:
    counts = np.histogram(np.nan_to_num(seconds), bins=[*EDGES, np.inf])[0].tolist()
    names = [f"{low} – {high}" for low, high in itertools.pairwise(EDGES)] + [f"over {EDGES[-1]}"]
    there = [place for place, count in enumerate(counts) if count]
    return [(names[place], counts[place], f"{counts[place]:,}") for place in range(there[0], there[-1] + 1)]


def _most(counts: Counter[object]) -> list[tuple[str, float, str]]:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    rows = [("not said" if name is None else str(name), count, f"{count:,}") for name, count in ordered[:SHOWN]]
    if rest := ordered[SHOWN:]:
        count = sum(each for _, each in rest)
        rows.append((f"{len(rest):,} others", count, f"{count:,}"))
    return [(name, float(count), written) for name, count, written in rows]


def _figure(title: str, inside: str) -> str:
    return f"<div><h3>{title}</h3>{inside}</div>"
