"""Labels for every view: what is said of the tracks, cut to each clip and moved as the view's sound was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotation.labels import Label, from_rows, schema
from annotation.revisions import standing
from augment.chain import Lineage
from augment.contract import ContractError, Policy, refused, text
from augment.moving import to_track, view_labels
from pipelines.part import StoreError
from pipelines.recipe import Recipe
from pipelines.store import Store
from pipelines.versions import versions

TABLE = "view_labels"
# Raised whenever the same labels and views would give other rows than before: it is part of the name of every part.
VERSION = 1
# A label's own columns that a row of `view_labels` has too.
SAME = ("clip_id", "view_id", "track_id", "kind", "start", "duration", "value", "author", "author_kind", "confidence", "campaign", "at")
SCHEMA = pa.schema([pa.field("view", pa.int32()), *(schema().field(name) for name in SAME), pa.field("source", pa.string())])


@dataclass
class Relabelled:
    """What was moved. shards: made now; views, labels: in them."""

    shards: int = 0
    views: int = 0
    labels: int = 0
    variant: str = ""


def kinds(store: Store) -> dict[str, list[str]]:
    """The kinds of label that a store holds, and what they say; what was corrected since is not counted."""
    rows = store.read("labels", ["label_id", "kind", "value", "replaces"])
    if rows is None:
        return {}
    grouped = standing(rows).group_by("kind").aggregate([("value", "distinct")]).sort_by("kind")
    return dict(zip(grouped.column("kind").to_pylist(), grouped.column("value_distinct").to_pylist(), strict=True))


def check(store: Store, recipe: Recipe) -> None:
    """Look whether any label of the store has no place in the recipe's views.

    Raises:
        ContractError: there is one, and `labels.on_refused` is "stop".
    """
    if cases := refused(recipe.augment, recipe.labels, kinds(store)):
        raise ContractError(
            f"labels in {store.root} would be wrong after augmentation:\n{text(cases)}\nnarrow the range, state a rule under"
            ' [labels.rules.KIND], or leave such labels out of the views: on_refused = "drop" under [labels]'
        )


def relabel(store: Store, recipe: Recipe, progress: Callable[[int, int], None] = lambda done, of: None) -> Relabelled:
    """Make the parts of `view_labels` that are missing: one for each shard whose views are there.

    A row is a label as it holds in one view of one clip: times in seconds of the view, values as they sound there. `source` is the
    label_id of the statement that it comes from. What was said about a clip or a view counts for the recording, and so for all of
    its views; what was corrected since (`replaces`) no longer counts.

    Args:
        progress: called with how many parts are done, and how many are to be made.
    Raises:
        ContractError: a label is refused, and `labels.on_refused` is "stop".
        StoreError: there are no views of this recipe yet, or no labels.
    """
    variant = recipe.variants()["views"]
    shards, said = store.names("views", variant), store.names("labels")
    if not shards:
        raise StoreError(f"{store.root}: no views of this recipe yet; 'earmark run' makes them")
    if not said:
        raise StoreError(f"{store.root}: no labels yet; 'earmark labels add' brings them")
    determined = [VERSION, variant, recipe.labels.model_dump(mode="json"), said]
    made = Relabelled(variant=hashlib.sha256(json.dumps(determined, sort_keys=True).encode()).hexdigest()[:16])
    store.remember(recipe.model_dump(mode="json"), {TABLE: made.variant})
    missing = sorted(set(shards) - set(store.names(TABLE, made.variant)))
    if not missing:
        return made
    statements = _Statements(store, said, recipe.labels)
    for shard in missing:
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        for row in _read(store.filesystem, f"{store.folder('views', variant)}/{shard}.parquet"):
            _move(row, statements, recipe, columns)
            made.views += 1
        footer = {"recipe": recipe.name, "views": variant, "labels": recipe.labels.model_dump(mode="json"), "versions": versions()}
        rows = pa.table(columns, SCHEMA.with_metadata({"earmark": json.dumps(footer, sort_keys=True)}))
        store.publish(TABLE, shard, rows, made.variant)
        made.shards += 1
        made.labels += rows.num_rows
        progress(made.shards, len(missing))
    return made


def _move(row: Mapping[str, Any], statements: _Statements, recipe: Recipe, columns: dict[str, list[Any]]) -> None:
    """Append one view's labels."""
    moved = view_labels(
        statements.about(row["track_id"], row["clip_id"], row["view_id"]),
        row["track_id"],
        row["clip_id"],
        row["view_id"],
        row["start"],
        recipe.window.length,
        Lineage.parse(row["lineage"]),
        recipe.labels,
        statements.of_track,
    )
    for source, label in moved:
        columns["view"].append(row["view"])
        columns["source"].append(statements.stored.get(source, source))
        for name in SAME:
            columns[name].append(getattr(label, name))


@dataclass(frozen=True)
class _Statement:
    """A row of the table of labels. located: the same, said of the track; None where it cannot be."""

    said: Label
    located: Label | None


class _Statements:
    """Everything that is said in a store and still stands."""

    def __init__(self, store: Store, parts: Sequence[str], policy: Policy) -> None:
        rows = store.read("labels", names=parts)  # and no others: those that come in meanwhile are of another variant
        self._rows = standing(rows if rows is not None else schema().empty_table()).sort_by("track_id")
        self._tracks = self._rows.column("track_id").to_numpy()
        # What cannot be said of the recording stays what it is: a statement about that view.
        self._policy = policy.model_copy(update={"on_refused": "drop"})
        self._places = places(store, self._rows)
        # label_id of a label that was mapped back to the track: label_id of what was said.
        self.stored: dict[str, str] = {}
        self._of = lru_cache(maxsize=1024)(self._statements)

    def about(self, track_id: str, clip_id: str, view_id: str) -> list[Label]:
        """A track's labels for one view: what was said of this very clip or view as it was said, all else as it holds for the track."""
        own = {(None, None), (clip_id, None), (clip_id, view_id)}
        each = ((it.said if (it.said.clip_id, it.said.view_id) in own else it.located) for it in self._of(track_id))
        return [label for label in each if label is not None]

    def of_track(self, track_id: str) -> list[Label]:
        """A track's labels, all of them in the track's time."""
        return [it.located for it in self._of(track_id) if it.located is not None]

    def _statements(self, track_id: str) -> tuple[_Statement, ...]:
        first, last = (int(self._tracks.searchsorted(track_id, side)) for side in ("left", "right"))
        rows = self._rows.slice(first, last - first)
        names = rows.column("label_id").to_pylist()
        return tuple(_Statement(label, self._located(name, label)) for name, label in zip(names, from_rows(rows), strict=True))

    def _located(self, name: str, label: Label) -> Label | None:
        if label.clip_id is None:
            return label
        if (place := self._places.get((label.clip_id, label.view_id))) is None:
            return None  # views that this store no longer knows
        located = to_track(label, Lineage.parse(place.lineage), self._policy, place.start, place.window)
        if located is not None:
            self.stored[located.label_id] = name
        return located


class Place(NamedTuple):
    """Where a clip or view comes from. start: of the clip in its track (s); window: seconds, None for whole tracks; seconds: of sound."""

    lineage: str
    start: float
    window: float | None
    seconds: float


def places(store: Store, labels: pa.Table) -> dict[tuple[str, str | None], Place]:
    """Of the clips (view_id None) and views that labels speak of, from whichever recipe made them."""
    wanted = [each for each in pc.unique(labels.column("clip_id")).to_pylist() if each]
    found: dict[tuple[str, str | None], Place] = {}
    for variant in store.tables().get("views", []) if wanted else []:
        for path in store.paths("views", variant):
            part = pq.read_schema(path, filesystem=store.filesystem)
            if "view_id" not in part.names:
                continue  # made by an earlier version
            window = json.loads(part.metadata[b"earmark"])["window"]["seconds"]
            for row in _read(store.filesystem, path, [("clip_id", "in", wanted)]):
                place = Place(row["lineage"], row["start"], None if window == "track" else window, row["seconds"])
                found[row["clip_id"], row["view_id"]] = place
                if row["view"] == 0:
                    found[row["clip_id"], None] = place
    return found


def _read(filesystem: Any, path: str, filters: Any = None) -> list[dict[str, Any]]:
    columns = ["clip_id", "view", "view_id", "track_id", "start", "seconds", "lineage"]
    rows: list[dict[str, Any]] = pq.read_table(path, columns=columns, filters=filters, filesystem=filesystem).to_pylist()
    return rows
