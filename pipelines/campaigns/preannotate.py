"""Pre-annotations for a campaign's tasks, from what an extractor stored about their clips, or what a head makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.campaign import Campaign, Predictions
from annotation.labels import Label
from annotation.preannotation import Tagged, guesses, model_version
from annotation.task import Task
from pipelines.cells import cell_shape
from pipelines.heads.files import head_hash, load
from pipelines.heads.head import Head
from pipelines.heads.origin import differs, footer
from pipelines.part import StoreError
from pipelines.store import Store

# A head on a column of means can also be asked about what they are means of: penultimate_mean, penultimate.
MEAN = "_mean"


def author(store: Store, campaign: Campaign) -> str:
    """The model's name, its weights, and the settings on which its guesses hang; "" where the campaign takes no predictions.

    Other thresholds or another map make another name, so that what was guessed with the old ones is replaced.

    Raises:
        StoreError: no such table, or it was made by no network; no head, or it has learnt from another table.
    """
    return "" if campaign.predictions is None else _model(store, campaign, campaign.predictions).name


def preannotations(store: Store, campaign: Campaign, tasks: Sequence[Task]) -> dict[str, list[Label]]:
    """What the campaign's extractor or head would answer, by ext_id; a clip that it has not heard has no entry.

    Raises:
        StoreError: no such table or column, its clips have another length than the campaign's, or the head has learnt from another table.
    """
    if campaign.predictions is None or not tasks:
        return {}
    model = _model(store, campaign, campaign.predictions)
    asked = model.campaign
    made = footer(store, model.table)
    window = made["window"]["seconds"]
    if window != asked.clips.seconds:
        raise StoreError(f"{model.place}: {model.table!r} heard clips of {window} s, and the campaign's last {asked.clips.seconds:g} s")
    patch = _patch_seconds(made["extractor"], model.place) if model.over_time else asked.clips.seconds
    # Clips are asked about as they are and as views; the extractor tells them apart by number.
    views = {row["view_id"]: row["view"] for row in _views(store, tasks)}
    places = {(task.clip_id, views.get(task.view_id, 0) if task.view_id else 0): task for task in tasks}
    found: dict[str, list[Label]] = {}
    for clip, view, row, taggram in _rows(store, model, [task.clip_id for task in tasks]):
        # A vector that is not finite says nothing.
        if (task := places.get((clip, view))) is not None and np.isfinite(row).all() and np.isfinite(taggram).all():
            found[task.ext_id] = guesses(Tagged(model.tags, row, taggram, patch, patch), task, asked, model.name)
    return found


@dataclass(frozen=True)
class _Model:
    """place: of the campaign's file that names it. name: of author. campaign: as it is asked, with all thresholds and the whole map.

    column, over_time: of the table; over_time is "" if no question has regions. head: None where the columns are probabilities.
    """

    place: str
    name: str
    campaign: Campaign
    table: str
    column: str
    over_time: str
    tags: tuple[str, ...]
    head: Head | None = None


def _model(store: Store, campaign: Campaign, given: Predictions) -> _Model:
    return _of_head(store, campaign, given) if given.head else _of_table(store, campaign, given)


def _of_table(store: Store, campaign: Campaign, given: Predictions) -> _Model:
    made = footer(store, given.table)["extractor"]
    if not made.get("weights"):
        raise StoreError(f"predictions.table: {given.table!r} was made by {made.get('use')}, which has no weights to name it by")
    table = store.table(given.table)
    over_time = given.regions_column if _has_regions(campaign, given) else ""
    for column in filter(None, (given.column, over_time)):
        if column not in table.column_names or not table.labels(column):
            raise StoreError(f"predictions: column {column!r} of {given.table!r} names no tags; there are {', '.join(table.column_names)}")
    name = model_version("-".join(filter(None, (made["use"], made.get("model")))), made["weights"], _settings(campaign, given))
    return _Model("predictions.table", name, campaign, given.table, given.column, over_time, table.labels(given.column))


def _of_head(store: Store, campaign: Campaign, given: Predictions) -> _Model:
    try:
        head, weights = load(given.head), head_hash(given.head)
    except ValueError as error:
        raise StoreError(f"predictions.head: {error}") from error
    names = [head.origin.get(each) for each in ("table", "column", "kind")]
    table, column, kind = (each if isinstance(each, str) else "" for each in names)
    if not (table and column and kind):
        raise StoreError(
            f"predictions.head: {given.head} does not say whose embeddings it takes; 'earmark train-head' writes heads that do"
        )
    if told := differs(head.origin, footer(store, table)["extractor"]):
        raise StoreError(f"predictions.head: {given.head} learnt from another table than {table!r} of {store.root}: {told}; train it again")
    mapping = given.map or _namesakes(campaign, head.tags, kind)
    if strange := [tag for tags in mapping.values() for tag in tags if tag not in head.tags]:
        raise StoreError(f"predictions.map: {strange[0]!r} is no tag of {given.head}; there are {', '.join(head.tags)}")
    if not mapping:
        raise StoreError(
            f"predictions.head: no question of kind {kind!r} has a choice among {', '.join(head.tags)}; say predictions.map = "
            "{question = {tag = choice}}"
        )
    own = dict(zip(head.tags, map(float, head.thresholds), strict=True))
    limits = {question: _limits(tags, own, given, question) for question, tags in mapping.items()}
    asked = given.model_copy(update={"map": mapping, "thresholds": limits})
    over_time = ""
    if _has_regions(campaign, asked):
        over_time = column.removesuffix(MEAN)
        if not column.endswith(MEAN) or over_time not in store.table(table).column_names:
            raise StoreError(f"predictions.head: {column!r} has no patches over time, which questions with regions need; leave them out")
    # A head's own thresholds are in its hash; what the campaign's file adds is not.
    plain = not given.map and not {"threshold", "thresholds", "min_seconds", "join_seconds"} & given.model_fields_set
    settings = "" if plain else _settings(campaign, asked)
    whole = campaign.model_copy(update={"predictions": asked})
    name = model_version(f"Head-{kind}", weights, settings)
    return _Model("predictions.head", name, whole, table, column, over_time, head.tags, head)


def _namesakes(campaign: Campaign, tags: Sequence[str], kind: str) -> dict[str, dict[str, str]]:
    """Each question of the head's kind, with the tags that are its choices."""
    found = {}
    for question in campaign.questions:
        if question.kind == kind and question.control in ("Choices", "Labels") and not question.moment:
            found[question.name] = {tag: tag for tag in tags if tag in question.values}
    return {name: same for name, same in found.items() if same}


def _limits(tags: dict[str, str], own: dict[str, float], given: Predictions, question: str) -> dict[str, float]:
    """The threshold of each choice: the file's, or the head's; of several tags that mean one choice, the highest."""
    limits: dict[str, float] = {}
    for tag, choice in tags.items():
        limits[choice] = max(limits.get(choice, 0.0), given.threshold if "threshold" in given.model_fields_set else own[tag])
    return limits | given.thresholds.get(question, {})


def _has_regions(campaign: Campaign, given: Predictions) -> bool:
    return any(campaign.question(name).regions for name in given.map)


def _settings(campaign: Campaign, given: Predictions) -> str:
    """What guesses hang on beside weights, however the file puts it."""
    said = []
    for name, tags in sorted(given.map.items()):
        limits = given.thresholds.get(name, {})
        said.append([name, sorted(tags.items()), {choice: limits.get(choice, given.threshold) for choice in tags.values()}])
    shape = [given.min_seconds, given.join_seconds, given.regions_column] if _has_regions(campaign, given) else []
    return json.dumps([said, shape, given.column], sort_keys=True, ensure_ascii=False)


def _rows(store: Store, model: _Model, clips: Sequence[str]) -> Iterator[tuple[str, int, NDArray[Any], NDArray[Any]]]:
    """Of each clip that was heard: its id, view, (tags,) probabilities, and (patches, tags) of those patches that are sound."""
    table = store.table(model.table)
    columns = ["clip_id", "view", *(["valid", model.over_time] if model.over_time else []), model.column]
    for path in table.parts:
        part = pq.read_table(path, columns=list(dict.fromkeys(columns)), filters=[("clip_id", "in", clips)], filesystem=store.filesystem)
        if not part.num_rows:
            continue
        count = len(model.tags)
        tags: NDArray[Any]
        if model.head is None:
            tags = _matrix(part, model.column).reshape(part.num_rows, count)
            taggrams = _matrix(part, model.over_time).reshape(part.num_rows, -1, count) if model.over_time else None
        else:
            tags = _asked(model.head, _matrix(part, model.column).reshape(part.num_rows, -1), model)
            taggrams = None
            if model.over_time:
                patches = cell_shape(table.schema.field(model.over_time)) or (1,)
                live = _matrix(part, model.over_time).reshape(part.num_rows * patches[0], -1)
                taggrams = _asked(model.head, live, model).reshape(part.num_rows, patches[0], count)
        valid = part.column("valid").to_pylist() if model.over_time else [0] * part.num_rows
        for row, (clip, view) in enumerate(zip(part.column("clip_id").to_pylist(), part.column("view").to_pylist(), strict=True)):
            yield clip, view, tags[row], taggrams[row, : valid[row]] if taggrams is not None else np.zeros((0, count), np.float32)


def _asked(head: Head, vectors: NDArray[Any], model: _Model) -> NDArray[np.float32]:
    try:
        return head.probabilities(vectors)
    except ValueError as error:
        raise StoreError(f"{model.place}: {model.table}.{model.column}: {error}") from error


def _matrix(part: Any, column: str) -> NDArray[Any]:
    flat: NDArray[Any] = part.column(column).combine_chunks().flatten().to_numpy()
    return flat


def _views(store: Store, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    wanted = [task.view_id for task in tasks if task.view_id]
    if not wanted:
        return []
    rows: list[dict[str, Any]] = store.table("views").to_table(columns=["view_id", "view"], filter=[("view_id", "in", wanted)]).to_pylist()
    return rows


def _patch_seconds(extractor: dict[str, Any], place: str) -> float:
    """How long a patch is; patches do not overlap.

    Raises:
        StoreError: an extractor whose patches are not known here.
    """
    from extractors.musicnn import FRAMES, HOP, SAMPLE_RATE

    if extractor.get("use") != "MusiCNN":
        raise StoreError(f"{place}: made by {extractor.get('use')}; regions are known of MusiCNN's patches")
    return FRAMES * HOP / SAMPLE_RATE
