"""Pre-annotations for a campaign's tasks, from what an extractor stored about their clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from annotation.campaign import Campaign
from annotation.labels import Label
from annotation.preannotation import Tagged, guesses, model_version
from annotation.task import Task
from pipelines.part import StoreError
from pipelines.store import Store


def author(store: Store, campaign: Campaign) -> str:
    """The model's name and its weights, "" where the campaign takes no predictions.

    Raises:
        StoreError: no such table, or it was made by no network.
    """
    if campaign.predictions is None:
        return ""
    made = _footer(store, campaign.predictions.table)["extractor"]
    if not made.get("weights"):
        raise StoreError(
            f"predictions.table: {campaign.predictions.table!r} was made by {made.get('use')}, which has no weights to name it by"
        )
    return model_version("-".join(filter(None, (made["use"], made.get("model")))), made["weights"])


def preannotations(store: Store, campaign: Campaign, tasks: Sequence[Task]) -> dict[str, list[Label]]:
    """What the campaign's extractor would answer, by ext_id; a clip that it has not heard has no entry.

    Raises:
        StoreError: no such table or column, or its clips have another length than the campaign's.
    """
    if campaign.predictions is None or not tasks:
        return {}
    wanted, table = campaign.predictions, store.table(campaign.predictions.table)
    for column in (wanted.column, wanted.regions_column):
        if not table.labels(column):
            raise StoreError(f"predictions: column {column!r} of {wanted.table!r} names no tags; there are {', '.join(table.column_names)}")
    footer, by = _footer(store, wanted.table), author(store, campaign)
    window = footer["window"]["seconds"]
    if window != campaign.clips.seconds:
        raise StoreError(
            f"predictions.table: {wanted.table!r} heard clips of {window} s, and the campaign's last {campaign.clips.seconds:g} s"
        )
    names = table.labels(wanted.column)
    # Clips are asked about as they are and as views; the extractor tells them apart by number.
    views = {row["view_id"]: row["view"] for row in _views(store, tasks)}
    places = {(task.clip_id, views.get(task.view_id, 0) if task.view_id else 0): task for task in tasks}
    found: dict[str, list[Label]] = {}
    patch = _patch_seconds(footer["extractor"])
    columns = ["clip_id", "view", "valid", wanted.column, wanted.regions_column]
    for path in table.parts:
        part = pq.read_table(
            path, columns=columns, filters=[("clip_id", "in", [task.clip_id for task in tasks])], filesystem=store.filesystem
        )
        tags = _matrix(part, wanted.column, (len(names),))
        taggrams = _matrix(part, wanted.regions_column, (-1, len(names)))
        for clip, view, valid, row, taggram in zip(*(part.column(name).to_pylist() for name in columns[:3]), tags, taggrams, strict=True):
            if (task := places.get((clip, view))) is not None:
                found[task.ext_id] = guesses(Tagged(names, row, taggram[:valid], patch, patch), task, campaign, by)
    return found


def _matrix(part: Any, column: str, shape: tuple[int, ...]) -> Any:
    flat = part.column(column).combine_chunks().flatten().to_numpy()
    return np.reshape(flat, (part.num_rows, *shape)) if part.num_rows else []


def _views(store: Store, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    wanted = [task.view_id for task in tasks if task.view_id]
    if not wanted:
        return []
    rows: list[dict[str, Any]] = store.table("views").to_table(columns=["view_id", "view"], filter=[("view_id", "in", wanted)]).to_pylist()
    return rows


def _footer(store: Store, name: str) -> dict[str, Any]:
    metadata = store.table(name).schema.metadata or {}
    if b"earmark" not in metadata:
        raise StoreError(f"{store.root}: {name!r} was not made by an extractor")
    said: dict[str, Any] = json.loads(metadata[b"earmark"])
    return said


def _patch_seconds(extractor: dict[str, Any]) -> float:
    """How long a patch is; patches do not overlap.

    Raises:
        StoreError: an extractor whose patches are not known here.
    """
    from extractors.musicnn import FRAMES, HOP, SAMPLE_RATE

    if extractor.get("use") != "MusiCNN":
        raise StoreError(f"predictions.table: made by {extractor.get('use')}; pre-annotations are known of MusiCNN")
    return FRAMES * HOP / SAMPLE_RATE
