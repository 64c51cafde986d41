"""What else sounds in augmented views: other recordings of the store, and files of folders that augmentations name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.release.rows import Rows


@dataclass(frozen=True, eq=False)
class Others:
    """changed: (rows,) whether anything was done to the clip.

    row, track: (guests,) which row has a recording of the catalogue in it; joins: whether that one's labels joined (Mix, exchanged stems).
    file_row, file: (uses,) which row has which of `files` in it: backgrounds and rooms that are no recordings of the catalogue.
    unknown: (rows,) augmented, but nobody knows how.
    """

    changed: NDArray[np.bool_]
    row: NDArray[np.int64]
    track: NDArray[np.int64]
    joins: NDArray[np.bool_]
    file_row: NDArray[np.int64]
    file: NDArray[np.int64]
    files: tuple[str, ...]
    unknown: NDArray[np.bool_]


def others(rows: Rows, catalogue: pa.Table) -> Others:
    """Read the lineages. A track's own stems are the track itself."""
    lineage = rows.strings("lineage")
    unknown = (rows.view > 0) & lineage.is_null().to_numpy(zero_copy_only=False)
    plain = pc.fill_null(pc.match_substring(lineage, '"steps":[]'), False).to_numpy(zero_copy_only=False)
    changed = (rows.view > 0) & ~plain
    # Only those that name something are parsed.
    naming = pc.fill_null(pc.match_substring_regex(lineage, '"(track_id|uri)":'), False).to_numpy(zero_copy_only=False) & changed
    place = {name: at for at, name in enumerate(catalogue.column("track_id").to_pylist())} if naming.any() else {}
    by_uri = {uri: at for at, uri in enumerate(catalogue.column("uri").to_pylist())} if naming.any() else {}
    guests: list[tuple[int, int, bool]] = []
    uses: list[tuple[int, int]] = []
    files: dict[str, int] = {}
    at = np.flatnonzero(naming)
    for row, text in zip(at.tolist(), lineage.take(pa.array(at)).to_pylist(), strict=True):
        for name, uri, joins in sorted(set(_named(json.loads(text)))):
            if (found := place.get(name) if name else by_uri.get(uri)) is not None:
                guests.append((row, found, joins))
            else:  # a track that left the catalogue is known by its file alone
                uses.append((row, files.setdefault(uri or f"track {name}", len(files))))
    guest = np.array(sorted(guests), np.int64).reshape(-1, 3)
    use = np.array(sorted(uses), np.int64).reshape(-1, 2)
    return Others(changed, guest[:, 0], guest[:, 1], guest[:, 2].astype(bool), use[:, 0], use[:, 1], tuple(files), unknown)


def _named(lineage: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """track_id ("" if none), uri, and whether its labels joined."""
    for step in lineage["steps"]:
        if "track_id" in step or "uri" in step:
            yield step.get("track_id", ""), step.get("uri", ""), step.get("use") == "Mix"
        for stem in step.get("stems", ()):
            if isinstance(stem, dict) and "track_id" in stem:
                yield stem["track_id"], stem.get("uri", ""), True
