"""Where a release's numbers come from: the tables, their variants, and the recipes that filled them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.part import StoreError
from pipelines.release.spec import Release
from pipelines.store import Store
from pipelines.table import Table


@dataclass(frozen=True)
class Source:
    """A table of features. columns: those wanted. recipe: that of the latest run that filled it, None where no run is noted.

    views: the variant of the table `views` with the same clips; "" where it is not known. footer: what its parts say of themselves.
    """

    name: str
    variant: str
    table: Table
    columns: tuple[str, ...]
    recipe: Mapping[str, Any] | None
    views: str
    footer: Mapping[str, Any]

    @property
    def augmented(self) -> bool:
        """Whether it has views other than the clips themselves."""
        return bool(self.recipe and self.recipe.get("views", {}).get("count", 1) > 1)

    def facts(self) -> dict[str, Any]:
        """All that its numbers follow from."""
        parts = [path.rpartition("/")[2] for path in self.table.parts]
        return {"variant": self.variant, "parts": digest(parts), "footer": dict(self.footer)}


def sources(store: Store, spec: Release) -> list[Source]:
    """The tables of a release, the first of them first.

    Raises:
        StoreError: two tables hold views that different recipes drew: a view of one is another sound than that of the other.
    """
    notes = list(_notes(store))
    found = []
    current = store.current()
    for name, columns in spec.tables.items():
        variant = spec.variants.get(name) or current.get(name, "") or store.tables()[name][-1]
        table = store.table(name, variant)
        note = next((note for note in reversed(notes) if note["tables"].get(name) == variant), None)
        footer = json.loads((pq.read_schema(table.parts[0], filesystem=store.filesystem).metadata or {}).get(b"earmark", b"{}"))
        views = note["tables"].get("views", "") if note else ""
        found.append(Source(name, variant, table, tuple(columns), note["recipe"] if note else None, views, footer))
    drawn = {each.views: each.name for each in found if each.augmented}
    if len(drawn) > 1:
        first, second = sorted(drawn.values())[:2]
        raise StoreError(
            f"{store.root}: {first} and {second} hold views of different recipes, whose sounds differ; "
            "run one recipe with both, or name the variants that belong together"
        )
    return found


def broken(source: Source) -> dict[str, NDArray[np.bool_]]:
    """By column, (rows of the table,) whether a number in it is none, or infinite: one row of these spoils a whole training."""
    found: dict[str, NDArray[np.bool_]] = {name: np.zeros(len(source.table), bool) for name in source.columns}
    at = 0
    for batch in source.table.dataset.to_batches(columns=list(found)):
        for name, column in zip(found, batch.columns, strict=True):
            found[name][at + _not_finite(column)] = True
        at += batch.num_rows
    return found


def _not_finite(array: pa.Array) -> NDArray[np.int64]:
    """Places in an array, whose cells may be arrays of any form."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        lists: NDArray[np.int64] = np.unique(_not_finite(array.flatten()) // kind.list_size)
        return lists
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        ends = array.offsets.to_numpy().astype(np.int64)
        return np.unique(np.searchsorted(ends - ends[0], _not_finite(array.flatten()), side="right") - 1)
    if not pa.types.is_floating(kind):
        return np.empty(0, np.int64)
    finite = np.isfinite(array.to_numpy(zero_copy_only=False))
    return np.empty(0, np.int64) if finite.all() else np.flatnonzero(~finite)


def _notes(store: Store) -> Iterator[dict[str, Any]]:
    """What `Store.remember` noted, the earliest first."""
    notes = []
    for info in store.filesystem.get_file_info(pafs.FileSelector(store.folder("recipes"), allow_not_found=True)):
        if info.base_name.endswith(".json") and not info.base_name.startswith("."):
            with store.filesystem.open_input_file(info.path) as file:
                notes.append(json.loads(file.read()))
    yield from sorted(notes, key=lambda each: str(each["at"]))


def digest(lines: Iterable[str]) -> str:
    """64 hex digits of lines in their order.

    >>> digest(["a", "b"])[:8], digest(["ab"])[:8]
    ('7e18f737', 'fb8e20fc')
    """
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of(value: Any) -> str:
    """64 hex digits of anything that JSON says."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
