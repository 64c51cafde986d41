"""The columns of a release: names and times, terms, features as they are stored, and labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from annotation.labels import schema as labels_schema
from pipelines.cells import cell_shape
from pipelines.part import StoreError
from pipelines.release.draft import Draft
from pipelines.release.said import Said
from pipelines.release.scatter import Shard
from pipelines.release.spec import ROW


class Columns:
    """Tables of a release's rows, in its order.

    Args:
        kept: (rows,) places in `draft.rows`, in the order of the release.
    """

    def __init__(self, draft: Draft, kept: NDArray[np.int64]) -> None:
        self._draft, self._kept = draft, kept
        counted = Counter(column for source in draft.sources for column in source.columns)
        taken = {*ROW, *(name for each in draft.said for name in each.words.columns)}
        # By table and column: the name in the release.
        self.named = {
            (source.name, column): f"{source.name}_{column}" if counted[column] > 1 or column in taken else column
            for source in draft.sources
            for column in source.columns
        }
        names = Counter([*taken, *self.named.values()])
        if twice := [name for name, count in names.items() if count > 1]:
            raise StoreError(f"two columns would be called {twice[0]!r}; give the labels another name, or leave one feature out")
        self._terms, self._all_terms = draft.terms.names(), draft.terms.all_names()

    @property
    def features(self) -> list[str]:
        """The names of the columns of features."""
        return list(self.named.values())

    def table(self, shard: Shard, found: Mapping[str, pa.Table], footer: Mapping[str, str]) -> pa.Table:
        """A shard's rows.

        Args:
            found: each table's features, in the shard's order.
        """
        at = self._kept[shard.first : shard.last]
        places = pa.array(at)
        rows = self._draft.rows.table.select(list(ROW[:-2])).take(places)
        fields = [*rows.schema, pa.field("license", pa.string()), pa.field("license_sources", pa.list_(pa.string()))]
        columns = [*rows.columns, self._terms.take(places), self._all_terms.take(places)]
        for source in self._draft.sources:
            for name in source.columns:
                fields.append(source.table.dataset.schema.field(name).with_name(self.named[source.name, name]))
                columns.append(found[source.name].column(name))
        for each in self._draft.said:
            for field, column in _labels(each, at):
                fields.append(field)
                columns.append(column)
        return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=dict(footer)))

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the columns."""
        features = []
        for source in self._draft.sources:
            for name in source.columns:
                field = source.table.dataset.schema.field(name)
                kind = field.type
                while pa.types.is_nested(kind) and not pa.types.is_struct(kind):
                    kind = kind.value_type
                shape = cell_shape(field)
                said = {"table": source.name, "column": name, "variant": source.variant, "dtype": str(kind)}
                features.append({"name": self.named[source.name, name], **said, "shape": list(shape) if shape is not None else None})
        labels = []
        for each in self._draft.said:
            column, tags = each.words.column, each.words.form == "tags"
            facts = {"name": column, "hot": f"{column}_hot" if tags else None, "by": f"{column}_by", "kind": each.words.kind}
            labels.append({**facts, "as": each.words.form, "tags": list(each.tags)})
        return {"row": list(ROW), "features": features, "labels": labels}

    def tracks(self) -> pa.Table:
        """The recordings that have rows."""
        draft, at = self._draft, self._draft.members
        rows = draft.catalogue.take(pa.array(at))
        names = ("track_id", "uri", "title", "artist", "album", "group", "seconds", "sha256")
        table = rows.select([name for name in names if name in rows.column_names])
        codes = pa.array([str(each) for each in draft.terms.licences]).take(pa.array(draft.terms.track[at]))
        sources = pa.array([draft.terms.source[each] or None for each in at.tolist()], pa.string())
        table = table.append_column("license", codes).append_column("license_said", rows.column("license"))
        table = table.append_column("license_source", sources)
        table = table.append_column("closure", pa.array(draft.divided.groups[at]))
        return table.append_column("split", pa.array(draft.splits, pa.string()).take(pa.array(draft.divided.split[at])))

    def labels(self) -> pa.Table:
        """The rows of labels that are heard, of recordings that have rows."""
        used = np.unique(np.concatenate([np.empty(0, np.int64), *(each.used for each in self._draft.said)]))
        rows = self._draft.labels.take(pa.array(used)).select(labels_schema().names)
        members = self._draft.catalogue.column("track_id").take(pa.array(self._draft.members)).combine_chunks()
        return rows.filter(pa.compute.is_in(rows.column("track_id"), members)).cast(labels_schema())


def _labels(said: Said, at: NDArray[np.int64]) -> list[tuple[pa.Field, pa.Array]]:
    """The columns of one kind of labels, at some rows."""
    column = said.words.column
    kinds = pa.array([*said.words.author_kinds], pa.string())
    by = pa.field(f"{column}_by", pa.string()), kinds.take(pa.array(said.by[at].astype(np.int64), mask=~said.known[at]))
    if said.regions is not None:
        return [(pa.field(column, said.regions.type), said.regions.take(pa.array(at))), by]
    values = said.values[at]
    row, tag = np.nonzero(values == 1)
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(at)))])
    listed = pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), pa.array(said.tags, pa.string()).take(pa.array(tag)), mask=pa.array(~said.known[at])
    )
    notes = {"shape": json.dumps([len(said.tags)]), "labels": json.dumps(list(said.tags)), "dims": '["tag"]'}
    kind = pa.list_(pa.float32(), len(said.tags))
    hot = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)
    return [(pa.field(column, listed.type), listed), (pa.field(f"{column}_hot", kind, metadata=notes), hot), by]
