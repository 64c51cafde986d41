"""Bars as SVG: what a release holds, at a glance and in black and white."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from extractors.uri import printable
from pipelines.release.draft import Draft

_ROW, _LABEL, _WIDTH = 22, 180, 720
_SHADES = ("#3b5b92", "#d08a2e", "#5f9e6e", "#a24d57", "#7a6aa8", "#7f7f7f")


def figures(draft: Draft, proof: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """By path, what each shows and its SVG."""
    names = draft.splits
    found = {
        "figures/splits.svg": (
            "Rows of each split",
            bars("Rows of each split", [(each["split"], [each["rows"]]) for each in proof["splits"]], ("rows",)),
        ),
        "figures/durations.svg": ("Seconds of sound in a row", _durations(draft)),
        "figures/licences.svg": ("Rows by their terms", _licences(draft)),
    }
    for column in draft.said:
        if column.tags:
            counts: dict[str, list[float]] = {tag: [0.0] * len(names) for tag in column.tags}
            for row in proof["tags"]:
                if row["column"] == column.words.column:
                    counts[row["tag"]][names.index(row["split"])] = row["rows"]
            rows = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))[:40]
            title = f"Rows of each tag of {column.words.column}"
            found[f"figures/tags-{column.words.column}.svg"] = (title, bars(title, rows, names))
    return found


def bars(title: str, rows: Sequence[tuple[str, Sequence[float]]], parts: Sequence[str]) -> str:
    """Horizontal bars, each of one piece for each part.

    >>> bars("Rows", [("train", [3, 1])], ("a", "b")).count("<rect")
    4
    """
    most = max((sum(values) for _, values in rows), default=0) or 1
    legend = len(parts) > 1
    top = 30 + _ROW * legend
    height = top + _ROW * len(rows) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label="{_text(title)}" font-family="sans-serif" font-size="12">',
        f"<title>{_text(title)}</title>",
        f'<text x="4" y="18" font-size="14" font-weight="bold" fill="#777">{_text(title)}</text>',
    ]
    if legend:
        for at, part in enumerate(parts):
            x = _LABEL + at * 110
            lines.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{_shade(at)}"/>')
            lines.append(f'<text x="{x + 16}" y="38" fill="#777">{_text(part)}</text>')
    for number, (name, values) in enumerate(rows):
        y, edge = top + number * _ROW, float(_LABEL)
        lines.append(f'<text x="{_LABEL - 6}" y="{y + 14}" text-anchor="end" fill="#777">{_text(name)}</text>')
        for at, value in enumerate(values):
            width = value / most * (_WIDTH - _LABEL - 80)
            lines.append(f'<rect x="{edge:.1f}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 7}" fill="{_shade(at)}"/>')
            edge += width
        lines.append(f'<text x="{edge + 6:.1f}" y="{y + 14}" fill="#777">{sum(values):g}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _durations(draft: Draft) -> str:
    seconds = draft.rows.seconds[draft.kept]
    edges = np.histogram_bin_edges(seconds, bins=1 if np.ptp(seconds) < 1e-3 else 10)
    counts, _ = np.histogram(seconds, edges)
    rows = [(f"{low:.1f} – {high:.1f} s", [int(count)]) for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)]
    return bars("Seconds of sound in a row", rows, ("rows",))


def _licences(draft: Draft) -> str:
    return bars("Rows by their terms", [(name, [count]) for name, count in counts(draft).items()], ("rows",))


def counts(draft: Draft) -> dict[str, int]:
    """Rows by their terms, the most first."""
    names = draft.terms.names().take(draft.kept)
    found = {each["values"]: each["counts"] for each in pc.value_counts(names).to_pylist()}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _shade(at: int) -> str:
    return _SHADES[at % len(_SHADES)]


def _text(text: str) -> str:
    said = html.escape(" ".join(printable(text).split()))
    return said if len(said) <= 40 else f"{html.escape(printable(text)[:28])}…"
