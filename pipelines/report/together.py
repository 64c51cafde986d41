"""Which tags of a release occur together: counted in its shards, column by column, in no more memory than a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.report.charts import matrix, more
from pipelines.report.markup import text

TAGS = 14  # of a matrix, the most frequent
_BATCH = 4096  # rows


def together(folder: Path, splits: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """HTML of how many clips have two tags at once; "" where no clip has two.

    Args:
        folder: of the release. splits, column: as its manifest tells of them.
    Raises:
        OSError, ArrowInvalid: a shard cannot be read.
    """
    tags = list(column["tags"])
    counts = co_occurrence([folder / shard for split in splits.values() for shard in split["shards"]], column["hot"], len(tags))
    if not np.triu(counts, 1).any():
        return f"<h4>Tags that occur together</h4>\n<p>No clip has two tags of {text(column['name'])}.</p>\n"
    own = counts.diagonal()
    most = np.argsort(-own, kind="stable")[:TAGS]
    what = "Untouched clips of all splits that have both tags; darker is a larger share of the row's tag, whose own count is the diagonal."
    drawn = matrix([tags[at] for at in most], counts[np.ix_(most, most)].tolist(), "", [float(own[at]) for at in most])
    rest = more(len(tags) - TAGS, "rarer tags are not shown")
    return f'<h4>Tags that occur together</h4>\n<p class="quiet">{what}</p>\n{drawn}{rest}'


def co_occurrence(shards: list[Path], hot: str, tags: int) -> NDArray[np.int64]:
    """(tags, tags): how many clips, augmented views aside, have one tag and another; on the diagonal, how many have the tag."""
    counts = np.zeros((tags, tags), np.int64)
    for shard in shards:
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(_BATCH, columns=["view", hot]):
                values = batch.column(hot).flatten().to_numpy(zero_copy_only=False).reshape(-1, tags)
                has = (values[batch.column("view").to_numpy() == 0] == 1).astype(np.float32)
                counts += (has.T @ has).astype(np.int64)
    return counts
