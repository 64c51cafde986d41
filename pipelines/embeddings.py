"""One vector for each clip, out of a table that an extractor filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.cells import cell_shape, to_numpy
from pipelines.part import StoreError
from pipelines.store import Store


@dataclass(frozen=True, eq=False)
class Embeddings:
    """clips, tracks: clip_id and track_id of each row. start, seconds: (clips,) float64, in the track.

    vectors: (clips, dimensions) float32.
    """

    clips: tuple[str, ...]
    tracks: tuple[str, ...]
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.clips)


def embeddings(store: Store, table: str, column: str) -> Embeddings:
    """The vectors of all clips as they are, without augmented views, in the table's order.

    Args:
        column: one vector a row, as `penultimate_mean`; an array of another shape is flattened.
    Raises:
        StoreError: there is no such table or column, it holds no numbers of one shape, or no row.
    """
    found = store.table(table)
    if column not in found.column_names:
        raise StoreError(f"{store.root}: {table!r} has no column {column!r}; there are {', '.join(found.column_names)}")
    field = found.schema.field(column)
    if not cell_shape(field):
        raise StoreError(f"{store.root}: column {column!r} of {table!r} is {field.type}, not one vector a clip")
    clips: list[str] = []
    tracks: list[str] = []
    starts, seconds, vectors = [], [], []
    untouched = pc.field("view") == 0
    for batch in found.dataset.to_batches(columns=["clip_id", "track_id", "start", "seconds", column], filter=untouched):
        if batch.num_rows:
            clips += batch.column(0).to_pylist()
            tracks += batch.column(1).to_pylist()
            starts.append(batch.column(2).to_numpy(zero_copy_only=False))
            seconds.append(batch.column(3).to_numpy(zero_copy_only=False))
            values = np.asarray(to_numpy(batch.column(4), found.schema.field(column)), np.float32)
            vectors.append(values.reshape(batch.num_rows, -1))
    if not clips:
        raise StoreError(f"{store.root}: {table!r} has no rows; run its recipe first")
    times = [np.concatenate(each).astype(np.float64) for each in (starts, seconds)]
    return Embeddings(tuple(clips), tuple(tracks), times[0], times[1], np.concatenate(vectors))
