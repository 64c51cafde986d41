"""What a head learns from: embeddings and labels out of a store, and in which groups of recordings they lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.revisions import standing
from pipelines.embeddings import Embeddings, embeddings
from pipelines.heads.groups import COLUMNS, groups
from pipelines.heads.origin import footer
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.targets import targets


@dataclass(frozen=True, eq=False)
class Material:
    """clips: with vectors. values: (clips, tags) 1, 0 or nan. groups: (clips,). held_out: (clips,) of a release's test split.

    origin: what all of it came from, JSON. remarks: a line for each thing that is missing.
    """

    clips: Embeddings
    tags: tuple[str, ...]
    values: NDArray[np.float32]
    groups: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    origin: dict[str, Any]
    remarks: tuple[str, ...]


def material(
    store: Store,
    place: str,
    kind: str,
    question: str = "",
    campaign: str = "",
    authors: Sequence[str] = ("gold", "consensus"),
    by: Sequence[str] = COLUMNS,
    release: str = "",
) -> Material:
    """Everything that is known of the clips in a column of embeddings.

    Args:
        place: TABLE.COLUMN. kind, question, campaign, authors: as in `targets`. by: as in `groups`.
        release: folder of a release; only the clips of its split `train` are learnt from, and those of `test` are held out.
    Raises:
        StoreError: there is no such column, no label of this kind by these authors, or none on a clip with an embedding.
    """
    table, dot, column = place.rpartition(".")
    if not dot or not table:
        raise StoreError(f"embeddings: {place!r} is not TABLE.COLUMN, as in musicnn.penultimate_mean")
    made = footer(store, table)
    clips = embeddings(store, table, column)
    held_out: NDArray[np.bool_] = np.zeros(len(clips), bool)
    if release:
        splits = _splits(release)
        clips = _only(clips, np.array([clip in splits["train"] or clip in splits["test"] for clip in clips.clips]))
        held_out = np.array([clip in splits["test"] for clip in clips.clips], bool)
        if held_out.all():
            raise StoreError(f"{release}: no clip of its split train has an embedding in {place} of {store.root}")
    said = targets(store, clips, kind, question, authors, campaign)
    wanted = f"{kind!r} by {' or '.join(authors)}{f' in {campaign}' if campaign else ''}"
    remarks = _missing(store, clips, kind, authors, campaign, wanted, place) if not release else []
    if not said.tags or not said.known.any():
        more = f": {remarks[0]}" if remarks else f"; {_others(store, authors)}'earmark labels add' and 'earmark consensus' bring some"
        raise StoreError(f"{store.root}: no labels {wanted} on clips of {place}{more}")
    known = said.known
    group = groups(store, clips.tracks, by)
    rows = np.flatnonzero(known)
    digest = hashlib.sha256(json.dumps([said.tags, [clips.clips[row] for row in rows], group[rows].tolist()]).encode())
    digest.update(said.values[rows].tobytes() + np.ascontiguousarray(clips.vectors[rows]).tobytes() + held_out[rows].tobytes())
    origin = {
        "table": table,
        "column": column,
        "extractor": made["extractor"],
        "window": made.get("window", {}),
        "variant": made.get("variant", ""),
        "kind": kind,
        "question": question,
        "campaign": campaign,
        "authors": list(authors),
        "groups": list(by),
        "release": str(release),
        "data": digest.hexdigest(),
    }
    return Material(_only(clips, known), said.tags, said.values[rows], group[rows], held_out[rows], origin, tuple(remarks))


def _only(clips: Embeddings, kept: NDArray[np.bool_]) -> Embeddings:
    rows = np.flatnonzero(kept).tolist()
    names, tracks = (tuple(each[row] for row in rows) for each in (clips.clips, clips.tracks))
    return Embeddings(names, tracks, clips.start[rows], clips.seconds[rows], clips.vectors[rows])


def _splits(release: str) -> dict[str, set[str]]:
    """The clips of a release's splits.

    Raises:
        StoreError: the folder holds no release.
    """
    found: dict[str, set[str]] = {"train": set(), "test": set()}
    for split, clips in found.items():
        for path in sorted(Path(release).glob(f"{split}/*.parquet")):
            clips.update(pq.read_table(path, columns=["clip_id"]).column("clip_id").to_pylist())
    if not found["train"]:
        raise StoreError(f"{release}: no release there (train/*.parquet is missing); name the folder of a version, as releases/moods/1.0.0")
    return found


def _missing(store: Store, clips: Embeddings, kind: str, authors: Sequence[str], campaign: str, wanted: str, place: str) -> list[str]:
    """A line if there are labels on clips or recordings without an embedding."""
    if not store.names("labels"):
        return []
    rows = standing(store.table("labels").to_table())
    rows = rows.filter(pc.and_(pc.equal(rows.column("kind"), kind), pc.is_null(rows.column("view_id"))))
    rows = rows.filter(pc.is_in(rows.column("author_kind"), value_set=_strings(authors)))
    if campaign:
        rows = rows.filter(pc.or_kleene(pc.is_null(rows.column("campaign")), pc.equal(rows.column("campaign"), campaign)))
    there, heard = set(clips.clips), set(clips.tracks)
    pairs = set(zip(rows.column("clip_id").to_pylist(), rows.column("track_id").to_pylist(), strict=True))
    lost = {(clip, "") if clip else ("", track) for clip, track in pairs if (clip not in there if clip else track not in heard)}
    if not lost:
        return []
    some = ", ".join(sorted(clip or track for clip, track in lost)[:3])
    return [f"{len(lost)} labelled clips or recordings ({wanted}) have no embedding in {place} and are left out: {some}, …; run its recipe"]


def _others(store: Store, authors: Sequence[str]) -> str:
    """The kinds of which there are labels."""
    if not store.names("labels"):
        return ""
    rows = standing(store.table("labels").to_table())
    rows = rows.filter(pc.is_in(rows.column("author_kind"), value_set=_strings(authors)))
    kinds = sorted(pc.unique(rows.column("kind")).to_pylist())
    return f"there are {', '.join(kinds[:8])}{', …' * (len(kinds) > 8)}; " if kinds else ""


def _strings(values: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(list(values), pa.string())
