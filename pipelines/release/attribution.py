"""The file that names everybody whose sound is in a release, and under which terms."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from extractors.uri import printable
from pipelines.release.draft import Draft


def attribution(draft: Draft) -> str:
    """Tab-separated: everybody whose sound is in a release, and what was done to it."""
    guests = np.unique(draft.others.track[np.isin(draft.others.row, draft.kept)])
    members = draft.members
    longest = float(draft.rows.seconds[draft.kept].max())
    changes = f"cut into clips of at most {longest:g} s; numbers computed from them: {', '.join(draft.spec.features)}"
    viewed = np.unique(draft.rows.track[draft.kept[draft.others.changed[draft.kept]]])
    at = np.union1d(members, guests)
    what = [
        "; ".join(
            text for text, holds in zip((changes, "augmented views", "mixed into other recordings' views"), said, strict=True) if holds
        )
        for said in zip(*(np.isin(at, each).tolist() for each in (members, viewed, guests)), strict=True)
    ]
    tracks = draft.catalogue.take(pa.array(at))
    columns = [tracks.column(name).to_pylist() for name in ("track_id", "title", "artist", "uri")]
    licences = [draft.terms.licences[code] for code in draft.terms.track[at]]
    lines = ["track_id\ttitle\tartist\tsource\tlicense\tlink\tchanges"]
    for *named, licence, done in zip(*columns, licences, what, strict=True):
        lines.append(_row(*named, str(licence), licence.link, done))
    for number in np.unique(draft.others.file[np.isin(draft.others.file_row, draft.kept)]).tolist():
        licence = draft.terms.files[number]
        lines.append(_row("", "", "", draft.others.files[number], str(licence), licence.link, "heard in views, as background or room"))
    return "\n".join(lines) + "\n"


def _row(*cells: str | None) -> str:
    return "\t".join(" ".join(printable(cell or "").split()) for cell in cells)
