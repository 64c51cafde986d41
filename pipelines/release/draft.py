"""A release before it is written: which rows it has, in which split, and why others are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.labels import schema as labels_schema
from annotation.revisions import standing
from pipelines.part import StoreError
from pipelines.release.check import check, mistake
from pipelines.release.closure import Closure, closure
from pipelines.release.divide import Divided, divide
from pipelines.release.lineage import Others, others
from pipelines.release.origins import Source, broken, sources
from pipelines.release.rows import Rows, rows, tracks
from pipelines.release.said import Said, said
from pipelines.release.spec import Release
from pipelines.release.terms import Terms, terms
from pipelines.store import Store

EXCLUSIONS = pa.schema(
    [("track_id", pa.string()), ("clip_id", pa.string()), ("view", pa.int32()), ("what", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True, eq=False)
class Draft:
    """Everything that a release is, in memory but for the features.

    kept: (rows,) places in `rows` of those that are released, by their names. split: (kept,) places in `spec.split.shares`.
    spared: augmented views that `rows.views` leaves out of other splits than the first. labels: what stands in the store, all of it.
    """

    spec: Release
    store: Store
    sources: Sequence[Source]
    catalogue: pa.Table
    rows: Rows
    others: Others
    terms: Terms
    said: Sequence[Said]
    closure: Closure
    divided: Divided
    kept: NDArray[np.int64]
    split: NDArray[np.int64]
    exclusions: pa.Table
    spared: int
    labels: pa.Table

    @property
    def splits(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.spec.split.shares)

    @property
    def members(self) -> NDArray[np.int64]:
        """Places in the catalogue of the recordings that have rows."""
        return np.unique(self.rows.track[self.kept])


class _Exclusions:
    """What is left out, in the order in which it was found; each row for one reason."""

    def __init__(self, catalogue: pa.Table, rows: Rows, wanted: NDArray[np.bool_]) -> None:
        self.stays = np.ones(len(rows), bool)
        self._catalogue, self._rows, self._wanted = catalogue, rows, wanted
        self._parts: list[pa.Table] = []

    def recordings(self, reason: NDArray[np.int64], reasons: Sequence[str], what: str) -> None:
        """Whole recordings: (catalogue,) places in `reasons`, 0 for those that stay."""
        out = np.flatnonzero((reason > 0) & self._wanted)
        none = pa.nulls(len(out))
        why = pa.array(reasons, pa.string()).take(pa.array(reason[out]))
        self._keep([self._catalogue.column("track_id").take(pa.array(out)), none, none, pa.array([what] * len(out)), why])
        self.stays &= reason[self._rows.track] == 0

    def views(self, out: NDArray[np.bool_], what: str, reason: str | pa.Array) -> None:
        """Rows that are still there; reason: one for all, or one for each of the rows."""
        at = np.flatnonzero(out & self.stays)
        why = pa.array([reason] * len(at), pa.string()) if isinstance(reason, str) else reason.take(pa.array(at))
        table = self._rows.table.take(pa.array(at))
        self._keep([table.column("track_id"), table.column("clip_id"), table.column("view"), pa.array([what] * len(at)), why])
        self.stays[at] = False

    def table(self) -> pa.Table:
        """All of them."""
        return pa.concat_tables([EXCLUSIONS.empty_table(), *self._parts])

    def _keep(self, columns: list[Any]) -> None:
        self._parts.append(pa.table(dict(zip(EXCLUSIONS.names, columns, strict=True))).cast(EXCLUSIONS))


def draft(store: Store, spec: Release, file: Path | None, before: Mapping[str, str]) -> Draft:
    """Decide everything.

    Args:
        file: where the release's file lies: its mistakes are told with their lines. before: split of each track_id in earlier versions.
    Raises:
        FileError: the file names what the store does not have.
        StoreError: nothing is left to release, or what is stated parts what belongs together.
    """
    check(store, spec, file)
    catalogue, wanted = tracks(store, spec)
    tables = sources(store, spec)
    track_ids = catalogue.column("track_id").combine_chunks()
    found = rows(store, tables, track_ids, wanted)
    mixed = others(found, catalogue)
    licensed = terms(spec.licences, catalogue, found, mixed)
    out = _Exclusions(catalogue, found, wanted)
    out.recordings(licensed.track_reason, licensed.reasons, "licence")
    heard = np.zeros(len(catalogue), bool)
    heard[found.track] = True
    _unheard(store, out, catalogue, wanted & ~heard & (licensed.track_reason == 0))
    if spec.rows.views == "none":
        out.stays &= found.view == 0
    for source in tables:
        at = found.at[source.name]
        out.views(at < 0, "features", f"no row in {source.name}")
        for name, bad in broken(source).items():
            out.views(np.append(bad, False)[at], "features", f"{source.name}.{name} has numbers that are not finite")
    out.views(mixed.unknown, "lineage", "nobody knows how this view was made; run its recipe again")
    why = pa.array(licensed.reasons, pa.string()).take(pa.array(licensed.row_reason))
    out.views(licensed.row_reason > 0, "licence", why)
    labels = _standing(store)
    moved = _moved(store, tables, spec) if spec.labels and (out.stays & (found.view > 0)).any() else None
    columns = [said(words, found, mixed, labels, moved, track_ids) for words in spec.labels]
    for index, each in enumerate(columns):
        if each.words.form == "tags" and not each.tags:
            text = f"no tag of {each.words.kind!r} stands that is heard and sure enough; name the tags, or hear others"
            raise StoreError(mistake(file, ("labels", index, "kind"), text))
    if columns and spec.rows.labelled != "no":
        known = np.stack([each.known for each in columns])
        names = ", ".join(each.words.column for each in columns)
        enough: NDArray[np.bool_] = np.asarray(known.any(axis=0) if spec.rows.labelled == "any" else known.all(axis=0))
        out.views(~enough, "labels", f"nobody spoke of {'all' if spec.rows.labelled == 'all' else 'any'} of {names}")
    if not out.stays.any():
        raise StoreError(_nothing_left(store, out.table()))
    closed = closure(store, spec, catalogue, _some(len(catalogue), found.track[out.stays], mixed.track), found, mixed)
    divided = divide(spec, file, catalogue, found, out.stays, columns, closed, before)
    split = divided.split[found.track]
    spared = 0
    if spec.rows.views == "train":
        spare = out.stays & (found.view > 0) & (split > 0)
        spared = int(spare.sum())
        out.stays &= ~spare
    _crossing(out, found, mixed, divided, tuple(spec.split.shares))
    kept = np.flatnonzero(out.stays)
    return Draft(
        spec, store, tables, catalogue, found, mixed, licensed, columns, closed, divided, kept, split[kept], out.table(), spared, labels
    )


def _standing(store: Store) -> pa.Table:
    """What stands of the store's labels, numbered."""
    table = store.table("labels").to_table() if store.names("labels") else labels_schema().empty_table()
    rows = standing(table, silent=True).combine_chunks()
    return rows.append_column("number", pa.array(np.arange(len(rows))))


def _moved(store: Store, tables: Sequence[Source], spec: Release) -> pa.Table | None:
    """The labels of augmented views, made now as far as they are missing."""
    from pipelines.recipe import Recipe
    from pipelines.relabel import TABLE, relabel

    source = next((each for each in tables if each.augmented), None)
    if source is None or not store.names("labels"):
        return None
    variant = relabel(store, Recipe.model_validate(source.recipe)).variant
    kinds = pa.array({words.kind for words in spec.labels}, pa.string())
    columns = ["clip_id", "view", "kind", "start", "duration", "value", "author_kind", "confidence", "campaign", "source"]
    return store.table(TABLE, variant).dataset.to_table(columns=columns, filter=pc.field("kind").isin(kinds)).combine_chunks()


def _unheard(store: Store, out: _Exclusions, catalogue: pa.Table, unheard: NDArray[np.bool_]) -> None:
    """Recordings without any clip, with what became of them."""
    if not unheard.any():
        return
    told = {row["track_id"]: row["message"] for row in store.open_rejects() if row["track_id"]}
    reasons = ["", "no clips: no run has heard it"]
    reason = np.where(unheard, 1, 0)
    for at in np.flatnonzero(unheard).tolist():
        if message := told.get(catalogue.column("track_id")[at].as_py()):
            reason[at] = len(reasons)
            reasons.append(f"rejected: {' '.join(message.split())}")
    out.recordings(reason, reasons, "features")


def _crossing(out: _Exclusions, found: Rows, mixed: Others, divided: Divided, splits: tuple[str, ...]) -> None:
    """Leave out views in which a recording of another split sounds; files of folders are at home in the first split."""
    split = divided.split[found.track]
    elsewhere = divided.home[mixed.track] != split[mixed.row]
    bad = np.zeros(len(found), np.int64)
    names = ["", *(f"a recording of the split {name!r} is mixed in" for name in splits)]
    bad[mixed.row[elsewhere]] = divided.home[mixed.track[elsewhere]] + 1
    outside = mixed.file_row[split[mixed.file_row] > 0]
    bad[outside] = len(names)
    names.append(f"a file of a folder sounds in it that is at home in {splits[0]!r}, from which views of that split are made")
    out.views(bad > 0, "lineage", pa.array(names, pa.string()).take(pa.array(bad)))


def _some(count: int, *places: NDArray[np.int64]) -> NDArray[np.bool_]:
    some = np.zeros(count, bool)
    for each in places:
        some[each] = True
    return some


def _nothing_left(store: Store, exclusions: pa.Table) -> str:
    """One line on why a release would be empty, and a way out of the commonest reason."""
    counted = exclusions.group_by("reason").aggregate([("what", "count")]).sort_by([("what_count", "descending"), ("reason", "ascending")])
    said = "; ".join(f"{row['what_count']} × {row['reason']}" for row in counted.slice(0, 3).to_pylist())
    hint = ""
    if "is not among the licences allowed" in said:
        hint = " (allow more under [licences] allow, or by --allow)"
    elif "licence" in exclusions.column("what").to_pylist():
        hint = ' (state terms in release.toml: [licences] stated = {"*" = "CC-BY-4.0"}; or keep such recordings: unlicensed = "keep")'
    return f"{store.root}: no row is left to release: {said}{hint}"
