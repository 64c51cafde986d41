"""The table of answers: small parts that are never changed, and one copy of them all that saves opening each."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotation.answer import Answer, schema

if TYPE_CHECKING:
    import pyarrow as pa

LOOSE = 24  # parts that the copy lacks before it is made anew; each costs about a millisecond to open

Publish = Callable[[Path, Any], None]


class Parts:
    """`answers/TIME-N.parquet`, whose rows are those of N = 1, 2, … in order, and beside the folder `answers.arrow`, their copy.

    The copy says of which parts it is made; one that is not of the first parts, or cannot be read, is passed over, and made anew in time.

    read: the parts whose rows `rows` has given.

    Args:
        folder: `answers`. publish: writes a file whole or not at all.
    """

    def __init__(self, folder: Path, publish: Publish) -> None:
        self.folder = folder
        self.copy = folder.with_suffix(".arrow")
        self._publish = publish
        self._rows: pa.Table | None = None
        self.read: Sequence[str] = []
        self._copied = 0

    def names(self) -> list[str]:
        """The parts, in order."""
        return numbered(self.folder)

    def add(self, name: str, new: Sequence[Answer]) -> None:
        """Write a part."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = pa.table({each: [getattr(row, each) for row in new] for each in schema().names}, schema=schema())
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd")
        self._publish(self.folder / f"{name}.parquet", sink.getvalue())

    def rows(self) -> pa.Table:
        """All rows, in order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = self.names()
        if self._rows is None or names[: len(self.read)] != self.read:
            self._rows, self._copied = self._from_copy(names)
            self.read = names[: self._copied]
        if len(names) > len(self.read):
            new = [str(self.folder / f"{name}.parquet") for name in names[len(self.read) :]]
            parts = [pq.ParquetFile(path).read(use_threads=False).cast(schema()) for path in new]
            self._rows, self.read = pa.concat_tables([self._rows, *parts]), names
        return self._rows

    def compact(self) -> None:
        """Make the copy anew, if it lacks many parts; nobody else may write meanwhile."""
        import pyarrow as pa

        if len(self.names()) - self._copied <= LOOSE:
            return
        rows, names = self.rows(), self.read
        if len(names) - self._copied <= LOOSE:
            return
        made = json.dumps({"parts": len(names), "digest": self._digest(names)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema().with_metadata({"made": made})) as writer:
            writer.write_table(rows.combine_chunks())
        self._publish(self.copy, sink.getvalue())
        self._copied = len(names)

    def _from_copy(self, names: Sequence[str]) -> tuple[pa.Table, int]:
        """The rows of the copy, and how many parts it is made of."""
        import pyarrow as pa

        with contextlib.suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            rows = pa.ipc.open_file(pa.memory_map(str(self.copy))).read_all()
            made = json.loads(rows.schema.metadata[b"made"])
            count = int(made["parts"])
            if len(names) >= count and made["digest"] == self._digest(names[:count]) and rows.schema.equals(schema()):
                return rows.replace_schema_metadata(None), count
        return schema().empty_table(), 0

    def _digest(self, names: Sequence[str]) -> str:
        # The place counts too: parts of two mirrors that were pulled in the same second have the same names.
        return sha256("\n".join([str(self.folder.resolve()), *names]).encode()).hexdigest()


def of(rows: pa.Table, column: str, values: Collection[Any], annotations: Collection[int] = ()) -> pa.Table:
    """All rows of the annotations of which any row has one of these values in a column, or that have one of these ids, in order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # By annotation: one that was moved to another task has rows of both.
    found = pc.is_in(rows[column], pa.array(list(values), rows.schema.field(column).type))
    ids = pa.concat_arrays([rows["annotation_id"].filter(found).unique(), pa.array(list(annotations), pa.int64())])
    return rows.filter(pc.is_in(rows["annotation_id"], ids))


def answers(rows: pa.Table) -> list[Answer]:
    """Rows as objects."""
    columns: Iterable[list[Any]] = (rows[name].to_pylist() for name in schema().names)
    return [Answer(*row) for row in zip(*columns, strict=True)]


def numbered(folder: Path) -> list[str]:
    """Names of the form TIME-N, without suffix, in the order of their numbers: clocks may be set back, counting is not."""
    try:
        found = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted((name.rpartition(".")[0] for name in found if not name.startswith(".")), key=number)


def number(name: str) -> int:
    """N of TIME-N."""
    return int(name.rpartition("-")[2])
