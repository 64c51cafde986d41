"""The nearest clips of different splits, by embedding: what a leak would sound like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.cells import TableError, cell_shape, to_numpy
from pipelines.release.draft import Draft
from pipelines.release.origins import Source

NEAREST = 12  # cross-split pairs that are named
# Clips of each split whose neighbours are looked for: more would only find more of the same.
_QUERIES = 5_000
# Vectors in memory: of more, some are drawn.
_BYTES = 1 << 29


def nearest_pairs(draft: Draft) -> dict[str, Any]:
    """The nearest clips of different splits by embedding: what a leak would sound like."""
    column, why = _embedding(draft)
    untouched = (draft.rows.view[draft.kept] == 0) & (draft.rows.at[column.partition(".")[0]][draft.kept] >= 0) if column else None
    if untouched is None or len(np.unique(draft.split[untouched])) < 2:
        return {"column": column, "checked": False, "note": why or "not checked: clips of one split only", "pairs": []}
    from pipelines.neighbours import nearest

    at, split, note = draft.kept[untouched], draft.split[untouched], ""
    if len(at) > (most := _BYTES // (4 * _dimensions(draft, column))):
        note = f"{most} of {len(at)} clips were looked at"
        some = np.sort(np.random.default_rng(draft.spec.split.seed).permutation(len(at))[:most])
        at, split = at[some], split[some]
    vectors = _vectors(draft, column, at)
    finite = np.isfinite(vectors).all(axis=1) & (np.abs(vectors).max(axis=1, initial=0) > 0)
    if not finite.all():
        note = f"{note}; " * bool(note) + f"{int((~finite).sum())} clips have no finite embedding and were not looked at"
    at, split, vectors = at[finite], split[finite], vectors[finite]
    found: list[tuple[float, int, int]] = []
    # The split that is learnt from against all others, and these against each other: so the largest index is built once.
    for base, queries in ((split == 0, split > 0), *((split == number, split > number) for number in range(1, len(draft.splits) - 1))):
        there, here = np.flatnonzero(base), np.flatnonzero(queries)
        if not len(here) or not len(there):
            continue
        if len(here) > _QUERIES:
            note = f"{note}; " * bool(note) + f"{_QUERIES} of {len(here)} clips were compared with those of {draft.splits[split[there[0]]]}"
            here = np.sort(np.random.default_rng(draft.spec.split.seed).permutation(here)[:_QUERIES])
        cosines, rows = nearest(vectors[there], vectors[here], 1)
        found += [(float(c), int(there[r]), int(q)) for c, r, q in zip(cosines[:, 0], rows[:, 0], here, strict=True) if r >= 0]
    pairs, seen = [], set()
    for cosine, one, other in sorted(found, key=lambda each: (-each[0], each[1:])):
        tracks = draft.rows.track[at[one]], draft.rows.track[at[other]]
        if tracks not in seen:  # one pair of clips for each pair of recordings
            seen.add(tracks)
            pairs.append({"cosine": round(cosine, 6), "a": _clip(draft, at[one]), "b": _clip(draft, at[other])})
        if len(pairs) == NEAREST:
            break
    return {"column": column, "checked": True, "note": note, "pairs": pairs}


def _embedding(draft: Draft) -> tuple[str, str]:
    """The column to compare: what `split.near` names, else the first feature that is one vector of floats."""
    near = [draft.spec.split.near.column] if draft.spec.split.near else []
    for feature in (*near, *draft.spec.features):
        table = feature.partition(".")[0]
        if any(source.name == table for source in draft.sources):
            kind = _field(draft, feature)[1].type
            shape = cell_shape(_field(draft, feature)[1]) or ()
            if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type) and (len(shape) == 1 or feature in near):
                return feature, ""
    return "", "not checked: no feature is one vector a clip; name a column of embeddings among the features"


def _field(draft: Draft, feature: str) -> tuple[Source, pa.Field]:
    table, _, column = feature.partition(".")
    source = next(each for each in draft.sources if each.name == table)
    return source, source.table.dataset.schema.field(column)


def _dimensions(draft: Draft, feature: str) -> int:
    return int(_field(draft, feature)[1].type.list_size)


def _vectors(draft: Draft, feature: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(rows, dimensions) float32."""
    source, field = _field(draft, feature)
    table, _, column = feature.partition(".")
    target = np.full(len(source.table), -1, np.int64)
    target[draft.rows.at[table][rows]] = np.arange(len(rows))
    vectors = np.full((len(rows), field.type.list_size), np.nan, np.float32)
    at = 0
    for batch in source.table.dataset.to_batches(columns=[column]):
        now = target[at : at + batch.num_rows]
        at += batch.num_rows
        if (now >= 0).any():
            numbers = to_numpy(batch.column(0), field)
            if not isinstance(numbers, np.ndarray):
                raise TableError(f"{feature}: not one vector a clip")
            vectors[now[now >= 0]] = numbers[now >= 0].reshape(-1, vectors.shape[1])
    return vectors


def _clip(draft: Draft, row: int) -> dict[str, Any]:
    track = draft.catalogue.slice(int(draft.rows.track[row]), 1).to_pylist()[0]
    return {
        "track_id": track["track_id"],
        "title": track["title"] or "",
        "artist": track["artist"] or "",
        "uri": track["uri"],
        "start": float(draft.rows.start[row]),
        "seconds": float(draft.rows.seconds[row]),
        "clip_id": draft.rows.strings("clip_id")[int(row)].as_py(),
        "split": draft.splits[draft.divided.split[draft.rows.track[row]]],
    }
