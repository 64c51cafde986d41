"""The proof that a release's splits do not leak: what was looked at, what was found, and what to listen to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.release.divide import facts, too_large
from pipelines.release.draft import Draft
from pipelines.release.nearest import nearest_pairs
from pipelines.release.said import Said
from pipelines.release.split import distances

FEW = 10  # positives below which a tag is named
_LARGEST = 10


def proof(draft: Draft) -> dict[str, Any]:
    """Everything, JSON through and through."""
    nearest = nearest_pairs(draft)
    tags = [row for column in draft.said if column.tags for row in _tags(draft, column)]
    large = too_large(draft.spec, draft.divided)
    order = np.argsort(-draft.divided.sizes, kind="stable")[:_LARGEST]
    return {
        "splits": list(_splits(draft)),
        "closure": list(_closure(draft)),
        "crossing": _crossing(draft),
        "groups": len(draft.divided.sizes),
        "largest_groups": [facts(draft.spec, draft.closure, draft.divided, draft.catalogue, int(at)) for at in order],
        "too_large": [
            facts(draft.spec, draft.closure, draft.divided, draft.catalogue, int(at)) | {"way_out": _way_out(draft, int(at))}
            for at in large
        ],
        "nearest": nearest,
        "tags": tags,
        "few": list(_few(tags)),
        "distribution": [_distribution(draft, column) for column in draft.said if column.tags],
        "moved": list(draft.divided.moved),
        "views_left_out_of_other_splits": draft.spared,
        "excluded": _counted(draft.exclusions),
    }


def _splits(draft: Draft) -> Iterator[dict[str, Any]]:
    rows = len(draft.kept)
    for number, (name, share) in enumerate(draft.spec.split.shares.items()):
        here = draft.kept[draft.split == number]
        tracks = np.unique(draft.rows.track[here])
        clips = int((draft.divided.sizes[np.unique(draft.divided.groups[tracks])]).sum()) if len(tracks) else 0
        yield {
            "split": name,
            "rows": len(here),
            "views": int((draft.rows.view[here] > 0).sum()),
            "clips": clips,
            "tracks": len(tracks),
            "groups": len(np.unique(draft.divided.groups[tracks])),
            "artists": _named(draft, tracks)[0],
            "seconds": round(float(draft.rows.seconds[here].sum()), 3),
            "share_wanted": share,
            "share": len(here) / rows if rows else 0.0,
            "share_of_clips": clips / max(1, int(draft.divided.sizes.sum())),
        }


def _closure(draft: Draft) -> Iterator[dict[str, Any]]:
    """Each relation: whether it closes, and how many of its values have recordings in several splits, counted from the result."""
    for relation, links in draft.closure.links.items():
        keys, split = _sounding(draft) if relation == "lineage" else (links.keys, draft.divided.split[links.members])
        keys, split = keys[split >= 0], split[split >= 0]
        pairs = np.unique(np.stack([keys, split], axis=1), axis=0) if len(keys) else np.empty((0, 2), np.int64)
        _, splits = np.unique(pairs[:, 0], return_counts=True)
        yield {
            "relation": relation,
            "closes": relation in draft.spec.split.close and links.checked,
            "checked": links.checked,
            "values": len(np.unique(keys)),
            "crossing": int((splits > 1).sum()),
            "say_nothing": links.missing,
            "note": links.note,
        }


def _sounding(draft: Draft) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is mixed into released views, and the split of each such view; and the split of such recordings themselves."""
    of_row = np.full(len(draft.rows), -1, np.int64)
    of_row[draft.kept] = draft.split
    others, heard = draft.others, of_row[draft.others.row] >= 0
    keys = [others.track[heard], others.track[heard], others.file + len(draft.catalogue)]
    split = [of_row[others.row[heard]], draft.divided.split[others.track[heard]], of_row[others.file_row]]
    return np.concatenate(keys), np.concatenate(split)


def _crossing(draft: Draft) -> dict[str, int]:
    """What must be 0: groups, and recordings, in more than one split; rows in which another split's recording sounds."""
    split = {"tracks": draft.rows.track[draft.kept], "groups": draft.divided.groups[draft.rows.track[draft.kept]]}
    found = {}
    for name, keys in split.items():
        pairs = np.unique(np.stack([keys, draft.split], axis=1), axis=0)
        found[name] = int(len(pairs) - len(np.unique(keys)))
    of_row = np.full(len(draft.rows), -1, np.int64)
    of_row[draft.kept] = draft.split
    here = of_row[draft.others.row]
    released = draft.divided.split[draft.others.track]
    found["mixed_in"] = int(((here >= 0) & (released >= 0) & (released != here)).sum())
    return found


def _named(draft: Draft, tracks: NDArray[np.int64]) -> tuple[int, int]:
    """How many artists these recordings have, and how many recordings name none."""
    links = draft.closure.links["artist"]
    key = np.full(len(draft.catalogue), -1, np.int64)
    key[links.members] = links.keys
    named = key[tracks]
    return len(np.unique(named[named >= 0])), int((named < 0).sum())


def _tags(draft: Draft, column: Said) -> Iterator[dict[str, Any]]:
    """Rows, recordings and artists of each tag in each split."""
    for number, name in enumerate(draft.splits):
        here = draft.kept[draft.split == number]
        values = column.values[here]
        for at, tag in enumerate(column.tags):
            has = here[values[:, at] == 1]
            tracks = np.unique(draft.rows.track[has])
            artists, nameless = _named(draft, tracks)
            yield {
                "column": column.words.column,
                "tag": tag,
                "split": name,
                "rows": len(has),
                "lacking": int((values[:, at] == 0).sum()),
                "unknown": int(np.isnan(values[:, at]).sum()),
                "tracks": len(tracks),
                "artists": artists,
                "tracks_without_artist": nameless,
            }


def _few(tags: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tags with too little to learn from or to measure by."""
    for row in tags:
        if row["rows"] < FEW:
            what = "nothing has it" if not row["rows"] else f"{row['rows']} row{'s' * (row['rows'] > 1)} of {row['tracks']} recordings"
            yield {key: row[key] for key in ("column", "tag", "split", "rows", "tracks", "artists")} | {"note": what}


def _distribution(draft: Draft, column: Said) -> dict[str, Any]:
    positives = np.zeros((len(draft.splits), len(column.tags)))
    sizes = np.zeros(len(draft.splits))
    for number in range(len(draft.splits)):
        here = draft.kept[(draft.split == number) & (draft.rows.view[draft.kept] == 0)]
        positives[number], sizes[number] = (column.values[here] == 1).sum(axis=0), len(here)
    apart = distances(positives, sizes)
    return {
        "column": column.words.column,
        "measure": "mean over tags of the difference between positives / negatives of the split and of all (LD)",
        "splits": {name: None if np.isnan(value) else round(float(value), 6) for name, value in zip(draft.splits, apart, strict=True)},
    }


def _way_out(draft: Draft, group: int) -> str:
    relation = facts(draft.spec, draft.closure, draft.divided, draft.catalogue, group)["by"].partition(" ")[0]
    if relation in ("artist", "album", "group"):
        return f'if that is no one {relation}, name it under split.ignore.{relation}; or take "{relation}" out of split.close'
    if relation == "embedding":
        return "raise split.near.cosine"
    if relation == "lineage":
        return 'take "lineage" out of split.close: views that mix in another split\'s recording are then left out instead'
    return "state other shares, or more recordings"


def _counted(exclusions: pa.Table) -> list[dict[str, Any]]:
    if not exclusions.num_rows:
        return []
    with_tracks = exclusions.group_by(["what", "reason"]).aggregate([("track_id", "count"), ("track_id", "count_distinct")])
    order = with_tracks.sort_by([("track_id_count", "descending"), ("what", "ascending"), ("reason", "ascending")])
    return [
        {"what": row["what"], "reason": row["reason"], "entries": row["track_id_count"], "tracks": row["track_id_count_distinct"]}
        for row in order.to_pylist()
    ]


def crossing(said: dict[str, Any]) -> Sequence[str]:
    """What of a proof would be a leak; nothing, if it holds."""
    closing = [f"{each['relation']}: {each['crossing']} values" for each in said["closure"] if each["closes"] and each["crossing"]]
    return [*(f"{name}: {count}" for name, count in said["crossing"].items() if count), *closing]
