"""A release, for training: opened only if it is what its manifest says, and read as tables, streams of batches, or row by row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extractors.uri import printable
from pipelines.part import StoreError
from pipelines.release.manifest import read_manifest, verify
from pipelines.table import Table

if TYPE_CHECKING:
    from pipelines.release.map_rows import MapRows
    from pipelines.training import TrainingRows

_SPLIT = re.compile(r"[a-z]\w*", re.ASCII)


class Release:
    """A folder that `earmark release` wrote; it may lie anywhere and bear any name.

    Args:
        folder: the one with manifest.json in it.
    Raises:
        StoreError: there is no release, or a file of it is missing, of another size, or one too many: one line.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = read_manifest(self.folder)
        self._check()

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """Its version: "v1", "v2", …"""
        return str(self.manifest["version"])

    @property
    def digest(self) -> str:
        """What identifies its content: equal digests, equal rows."""
        return str(self.manifest["digest"])

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits, the largest first."""
        said = self.manifest["splits"]
        return tuple(sorted(said, key=lambda split: (-said[split]["rows"], split)))

    def __repr__(self) -> str:
        rows = ", ".join(f"{split} {self.manifest['splits'][split]['rows']}" for split in self.splits)
        return f"Release({self.name} {self.version}: {rows})"

    def verify(self) -> None:
        """Read every byte and compare it with the manifest.

        Raises:
            StoreError: a file is not what was released.
        """
        if wrong := verify(self.folder):
            raise self._altered(wrong)

    def table(self, split: str) -> Table:
        """All rows of a split, in the release's order.

        Raises:
            StoreError: there is no such split.
        """
        return Table([str(self.folder / shard) for shard in self._split(split)["shards"]])

    def torch(self, split: str, columns: Sequence[str] | None = None, **options: Any) -> TrainingRows:
        """A split in batches: an iterable dataset for `DataLoader(rows, batch_size=None, num_workers=…)`.

        The same seed, epoch, workers and ranks give the same batches in the same order, whichever columns are read; other numbers
        of workers give the same rows in another order.

        Args:
            columns: only these are read; all where absent.
            options: batch_size, shuffle, seed, epoch, start_batch, pool, drop_last, rank, ranks, even: as in `Table.torch`.
        Raises:
            StoreError: there is no such split or column, or an option is out of its range.
        """
        return self.table(split).torch(columns, **options)

    def map_style(self, split: str, columns: Sequence[str] | None = None, cache_bytes: int = 1 << 30) -> MapRows:
        """A split by index: a dataset for samplers that need to choose rows. For whole passes `torch` is several times as fast.

        Args:
            columns: only these are read; all where absent.
            cache_bytes: of decoded row groups that each worker keeps.
        Raises:
            StoreError: there is no such split or column.
        """
        from pipelines.release.map_rows import MapRows

        table = self.table(split)
        return MapRows(table.parts, table.filesystem, table.names(columns), cache_bytes)

    def _split(self, split: str) -> dict[str, Any]:
        if split not in self.manifest["splits"]:
            raise StoreError(f"{self.folder}: no split {split!r}; there are {', '.join(self.splits)}")
        found: dict[str, Any] = self.manifest["splits"][split]
        return found

    def _check(self) -> None:
        """Raises: StoreError where names or sizes of files are not those of the manifest."""
        files: dict[str, Any] = self.manifest["files"]
        wrong = []
        for path, said in sorted(files.items()):
            file = self.folder / path
            if not file.is_file():
                wrong.append((path, "is missing"))
            elif (size := file.stat().st_size) != said["bytes"]:
                wrong.append((path, f"has {size} bytes and was released with {said['bytes']}"))
        for split, said in self.manifest["splits"].items():
            if not _SPLIT.fullmatch(split):
                raise StoreError(f"{self.folder}: its manifest names a split {split!r}, which is no name; this is no release to open")
            shards = set(said["shards"])
            wrong += [(path, "is a shard that the manifest has no size of") for path in sorted(shards - set(files))]
            # Whoever reads train/*.parquet would take them for the release's.
            found = {f"{split}/{file.name}" for file in (self.folder / split).glob("*.parquet")}
            wrong += [(path, "does not belong to the release") for path in sorted(found - shards)]
        if wrong:
            raise self._altered([f"{path} {what}" for path, what in wrong])

    def _altered(self, wrong: Sequence[str]) -> StoreError:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return StoreError(f"{self.folder}: {printable(wrong[0])}{more}; copy or make the release again")
