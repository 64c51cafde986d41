"""Labels in a table that people write: a CSV file with a row for each, which says recording, kind and value."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from annotation.foreign import TooLong, csv_rows, regular
from annotation.kinds import check
from annotation.labels import Label
from extractors.uri import printable

_NUMBERS = ("start", "duration", "confidence")
_TEXTS = ("author", "author_kind", "clip_id", "campaign", "view_id")
COLUMNS = ("recording", "kind", "value", *_NUMBERS, *_TEXTS, "at")


def read_sheet(path: Path, by_name: Mapping[str, Sequence[str]]) -> list[Label]:
    """Labels, in the order of the rows; blank lines are passed over.

    `recording` is a file's name, with or without folders and suffix, or a track_id. Further columns are those of `Label`; an empty cell is
    None. Where no author is named it is the file, and where no author_kind is, a person.

    Args:
        by_name: the track_ids that are meant by a name without folders and suffix, or by a track_id.
    Raises:
        ValueError: no such file, a column that is missing or unknown, or a row that is no label or fits no track, or several: one line.
    """
    name, line = printable(str(path)), 0
    try:
        with open(regular(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = csv_rows(file, strict=True)
            line, first = next(lines, (1, []))
            columns = [column.strip() for column in first]
            if missing := [column for column in COLUMNS[:3] if column not in columns]:
                raise ValueError(f"{name}: no column {', '.join(missing)}; the first line names the columns: recording,kind,value")
            # A misspelt column would be taken for one that is absent: what is about a stretch would be about the whole.
            if unknown := [column for column in columns if column not in COLUMNS]:
                raise ValueError(f"{name}: {printable(unknown[0])!r}: no column of labels; there are {', '.join(COLUMNS)}")
            labels = []
            for line, cells in lines:
                if not any(cells):
                    continue
                if len(cells) != len(columns):
                    raise ValueError(f"{name}, line {line}: {len(cells)} cells under {len(columns)} columns; quote commas")
                try:
                    labels.append(_label(dict(zip(columns, cells, strict=True)), path.stem, by_name))
                except ValueError as error:
                    raise ValueError(f"{name}, line {line}: {error}") from None
            return labels
    except FileNotFoundError:
        raise ValueError(f"{name}: no such file") from None
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from error
    except (csv.Error, TooLong) as error:
        raise ValueError(f"{name}, line {line + 1}: {error}") from error


def _label(row: Mapping[str, str], author: str, by_name: Mapping[str, Sequence[str]]) -> Label:
    recording = printable(row["recording"].strip())
    stem = recording.replace("\\", "/").rpartition("/")[2]
    fitting = by_name.get(stem) or by_name.get(stem.rpartition(".")[0], ())
    if len(fitting) != 1:
        what = f"{len(fitting)} tracks have this name; give the track_id" if fitting else "no track has this name; scan its file first"
        raise ValueError(f"recording {recording!r}: {what}")
    said: dict[str, Any] = {"author": printable(author), "author_kind": "person"}
    said |= {column: printable(cell) for column in _TEXTS if (cell := row.get(column, "").strip())}
    for column in _NUMBERS:
        if cell := row.get(column, "").strip():
            try:
                said[column] = float(cell)
            except ValueError:
                raise ValueError(f"{column} {cell[:60]!r}: not a number") from None
    if cell := row.get("at", "").strip():
        said["at"] = datetime.fromisoformat(cell)
    kind, value = (printable(row[column].strip()) for column in ("kind", "value"))
    check(kind, value)
    return Label(kind, value, track_id=fitting[0], **said)
