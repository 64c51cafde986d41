"""The terms of every row: those of its recording, and of all that sounds in it besides; and who is to be named for it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extractors.uri import is_local, printable, to_path
from pipelines.release.licences import RESERVED, UNKNOWN, Licence, allowed, combined, understood
from pipelines.release.lineage import Others
from pipelines.release.rows import Rows
from pipelines.release.spec import Licences

if TYPE_CHECKING:
    from pipelines.release.draft import Draft

_Thing = TypeVar("_Thing")

POLICY = (
    "A licence is what the catalogue says (manifest or tag), or what release.toml states for recordings that say nothing; nothing is "
    "guessed to be free. A row carries the strictest terms of all that sounds in it. A stretch that was cut out and numbers computed "
    "from it count as unchanged sound, an augmented view and a mixture as changed. Left out is sound whose terms cannot be met "
    "together, and changed sound that may not be changed."
)


@dataclass(frozen=True, eq=False)
class Terms:
    """licences: by code. track: (catalogue,) code. source: by track: "manifest", "tag", "stated", "means" or "".

    row: (rows,) code of the strictest. sets: by number, the names of all licences of a row; of_set: (rows,) each row's.
    track_reason: (catalogue,) why a recording is left out, a place in `reasons`, 0 for none; row_reason: (rows,) likewise.
    files: licence of each file that views use.
    """

    licences: tuple[Licence, ...]
    track: NDArray[np.int64]
    source: tuple[str, ...]
    row: NDArray[np.int64]
    sets: tuple[tuple[str, ...], ...]
    of_set: NDArray[np.int64]
    reasons: tuple[str, ...]
    track_reason: NDArray[np.int64]
    row_reason: NDArray[np.int64]
    files: tuple[Licence, ...]

    def names(self) -> pa.Array:
        """(rows,) the strictest terms."""
        return pa.array([str(each) for each in self.licences], pa.string()).take(pa.array(self.row))

    def all_names(self) -> pa.Array:
        """(rows,) the licences of all sources."""
        return pa.array([list(each) for each in self.sets], pa.list_(pa.string())).take(pa.array(self.of_set))


class _Numbers(dict[_Thing, int]):
    """Things by the order in which they were first seen."""

    def of(self, thing: _Thing) -> int:
        return self.setdefault(thing, len(self))


def terms(spec: Licences, catalogue: pa.Table, rows: Rows, others: Others) -> Terms:
    """Look at every recording and every row."""
    codes, reasons, sets = _Numbers[Licence](), _Numbers[str]({"": 0}), _Numbers[tuple[str, ...]]()
    words, own = catalogue.column("license").to_pylist(), catalogue.column("license_source").to_pylist()
    uris = catalogue.column("uri").to_pylist() if spec.stated else [""] * len(words)
    seen: dict[tuple[str | None, str], tuple[int, int]] = {}
    track, source, why = [], [], []
    for text, said_in, uri in zip(words, own, uris, strict=True):
        licence, found_in = _licence(spec, text, uri or "")
        place = (text if not licence.version and licence.family in (UNKNOWN, RESERVED) else None, str(licence))
        if place not in seen:
            seen[place] = codes.of(licence), reasons.of(_refused(spec, licence, text, ""))
        track.append(seen[place][0])
        why.append(seen[place][1])
        source.append(found_in or (said_in or "") if (text or found_in) else "")
    files = tuple(_licence(spec, None, uri)[0] for uri in others.files)
    track_code = np.array(track, np.int64)
    listed = [*codes]
    row, of_set, reason = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64), np.zeros(len(rows), np.int64)
    own_code = track_code[rows.track]
    for code in np.unique(own_code):
        licence = listed[code]
        for changed in (False, True):
            here = np.flatnonzero((own_code == code) & (others.changed == changed))
            binding, failed = combined([licence], changed)
            row[here], of_set[here] = codes.of(binding), sets.of((str(licence),))
            reason[here] = reasons.of(failed)
    mixed: dict[int, set[Licence]] = defaultdict(set)
    for at, guest in zip(others.row.tolist(), others.track.tolist(), strict=True):
        mixed[at].add(listed[track_code[guest]])
    for at, file in zip(others.file_row.tolist(), others.file.tolist(), strict=True):
        mixed[at].add(files[file])
    for at, added in mixed.items():
        every = frozenset({listed[own_code[at]], *added})
        binding, failed = combined(every, True)
        row[at], of_set[at] = codes.of(binding), sets.of(tuple(sorted(map(str, every))))
        # Of several that grant nothing the strictest binds, and each has to be one that may stay.
        closed = sorted((each for each in every if "closed" in each.terms), key=str)
        refused = (_refused(spec, each, None, "what is mixed into the view: ") for each in (binding, *closed))
        reason[at] = reasons.of(failed or next(filter(None, refused), ""))
    why_track = np.array(why, np.int64)
    return Terms(tuple(codes), track_code, tuple(source), row, tuple(sets), of_set, tuple(reasons), why_track, reason, files)


def _licence(spec: Licences, text: str | None, uri: str) -> tuple[Licence, str]:
    """What a recording's words say, or what the release's file states for it."""
    if text and text in spec.means:
        return understood(spec.means[text]), "means"
    if text and text.strip():
        return understood(text), ""
    place = printable(to_path(uri) if uri and is_local(uri) else uri)
    for pattern, stated in spec.stated.items():
        if fnmatchcase(place, pattern):
            return understood(stated), "stated"
    return Licence(UNKNOWN), ""


def _refused(spec: Licences, licence: Licence, text: str | None, of: str) -> str:
    """Why rows with such terms are left out; "" if they are not."""
    if spec.allow and allowed(licence, spec.allow):
        return ""
    if licence.family == UNKNOWN and spec.unlicensed == "exclude":
        what = f"licence not understood: {_short(text)}" if text and text.strip() else "no licence is said"
        return f"{of}{what}; say what it means under licences.{'means' if text and text.strip() else 'stated'}"
    if licence.family == RESERVED and spec.reserved == "exclude":
        return f"{of}all rights reserved"
    if spec.allow:
        return f"{of}{licence} is not among the licences allowed: {', '.join(spec.allow)}"
    return ""


def _short(text: str | None) -> str:
    said = repr(printable(" ".join((text or "").split())))
    return said if len(said) <= 80 else f"{said[:80]}…'"


def strictest(licences: Sequence[Licence]) -> Licence:
    """The strictest of several: under which a whole release can be passed on at best."""
    return max(licences, key=lambda each: each.strictness, default=Licence(UNKNOWN))


# Spreadsheets run what begins like this and calls something, as =HYPERLINK(…) or +cmd|'…'!A0, when somebody opens the list. Their custom
# is an apostrophe in front. Names that only begin so ("=", "+44", "-", "@home") stay as a licence wants them named: to the letter. The
# Parquet files of a release, which programs read, hold every name as it is.
_FORMULA = re.compile(r"^(?=[=+@-][^\t]*[(!|])")


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
    return "\t".join(_FORMULA.sub("'", " ".join(printable(cell or "").split())) for cell in cells)
