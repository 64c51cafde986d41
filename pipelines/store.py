"""A store: a folder (or bucket) of Parquet parts, each of which is whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.buckets import prepare
from pipelines.flock import flocked
from pipelines.lease import lease
from pipelines.part import ROW_GROUP_BYTES, PartWriter, StoreError, put, unfinished

if TYPE_CHECKING:
    from pipelines.table import Table

REJECTS = pa.schema(
    [
        ("uri", pa.string()),
        ("stage", pa.string()),
        ("track_id", pa.string()),
        ("error", pa.string()),  # a short cause; empty once the same uri has passed the same stage
        ("message", pa.string()),
        ("remedy", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)

# Tables that have one variant only; every other table has a folder per recipe of its rows.
PLAIN = ("tracks", "aliases", "rejects", "labels")

_AWAY = "the store is no longer there; bring it back and give the same command again"

# Folders that hold something else.
NO_TABLES = ("campaigns", "clips", "recipes", "runs")


class Store:
    """Tables of parts under one root: `STORE/tracks/PART.parquet`, `STORE/logmel/VARIANT/PART.parquet`.

    A variant is the digest of everything that determines a table's rows; two recipes that differ in one parameter share
    a store without mixing. Readers see whole parts only: names that begin with a dot are attempts.

    Args:
        root: a folder, or a URI that pyarrow or fsspec opens (s3://, gs://, memory://).
        founded: it is known to have a catalogue. Without one its disk is away, and it is not made anew.
    Raises:
        StoreError: the root is a file, or cannot be reached, or no filesystem is known for its scheme.
    """

    def __init__(self, root: str | Path, founded: bool = False) -> None:
        self.root = str(root)
        self.filesystem, self.base = _filesystem(self.root)
        self.local = isinstance(self.filesystem, pafs.LocalFileSystem)
        self._founded = founded or (self.local and os.path.isdir(self.folder("tracks")))
        try:
            kind = self.filesystem.get_file_info(self.base).type
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be reached ({error})") from error
        if kind == pafs.FileType.File:
            raise StoreError(f"{self.root}: a store is a folder, and this is a file")
        if kind == pafs.FileType.NotFound and self.filesystem.type_name == "s3":
            bucket = self.base.partition("/")[0]
            with contextlib.suppress(OSError):  # keys may know the folder and not the bucket
                if self.filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
                    raise StoreError(f"{self.root}: there is no bucket {bucket!r}; make it, or mend the address")

    # What parts there are

    def folder(self, *names: str) -> str:
        """The path of a table's folder, of a variant's in it, or of any other below the root, inside `filesystem`."""
        return "/".join(filter(None, (self.base, *names)))

    def names(self, table: str, variant: str = "") -> list[str]:
        """The names of the whole parts, sorted, by one listing."""
        folder = self.folder(table, variant)
        if self.local:  # four times as fast as pyarrow's listing, which also asks for every file's size
            try:
                with os.scandir(folder) as entries:  # a pipe by such a name would keep its reader waiting
                    found: Iterable[str] = [entry.name for entry in entries if entry.is_file()]
            except FileNotFoundError:
                return []
            except OSError as error:
                raise StoreError(f"{self.root}: cannot be listed ({error.strerror})") from error
        else:
            try:
                infos = self.filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
            except OSError as error:
                raise StoreError(f"{self.root}: cannot be listed ({error})") from error
            found = (info.base_name for info in infos)
        return sorted(name[:-8] for name in found if name.endswith(".parquet") and not name.startswith("."))

    def paths(self, table: str, variant: str = "") -> list[str]:
        """The paths of the whole parts, inside `filesystem`."""
        folder = self.folder(table, variant)
        return [f"{folder}/{name}.parquet" for name in self.names(table, variant)]

    # Writing

    def present(self) -> None:
        """See that the store with its catalogue is there.

        Raises:
            StoreError: it is not, as when its disk was unmounted: what is left in its place is an empty folder, or none.
        """
        folder = self.folder("tracks")
        try:
            there = os.path.isdir(folder) if self.local else self.filesystem.get_file_info(folder).type != pafs.FileType.NotFound
        except OSError as error:
            raise StoreError(f"{self.root}: does not answer ({error}); the same command goes on once it does") from error
        if not there:
            raise StoreError(f"{self.root}: {_AWAY}")

    def writer(self, table: str, name: str, schema: pa.Schema, variant: str = "", row_group_bytes: int = ROW_GROUP_BYTES) -> PartWriter:
        """An open part; nothing is visible before its `publish`."""
        return PartWriter(self.filesystem, f"{self._made(table, variant)}/{name}.parquet", schema, row_group_bytes)

    def put(self, place: str, payload: bytes, kind: str = "application/octet-stream") -> None:
        """Write a small file at a place below the root, whole or not at all.

        Args:
            kind: what a bucket is to call it when a browser asks.
        """
        folder, _, name = place.rpartition("/")
        put(self.filesystem, f"{self._made(*folder.split('/'))}/{name}", payload, kind)

    def _made(self, *names: str) -> str:
        """A folder below the root, made where it is missing.

        Once the catalogue was seen they are made through the descriptor of the folder that holds it, and not by their path: what is
        made where an unmounted disk was would be hidden by the disk that comes back.
        """
        path = self.folder(*names)
        if not self.local or os.path.isdir(path):
            return path
        try:
            if not self._founded:
                os.makedirs(path, exist_ok=True)
                self._founded = names[0] == "tracks"
                return path
            root = os.open(self.base, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.stat("tracks", dir_fd=root)
                for below in itertools.accumulate(filter(None, names), "{}/{}".format):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(below, dir_fd=root)
            finally:
                os.close(root)
        except FileNotFoundError:
            raise StoreError(f"{self.root}: {_AWAY}") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; free or choose another place") from error
        return path

    def publish(self, table: str, name: str, rows: pa.Table, variant: str = "") -> None:
        """Write one part, whole or not at all."""
        with self.writer(table, name, rows.schema, variant) as part:
            part.append(rows)
            part.publish(rows.num_rows)

    def sweep(self, age: float = 86_400.0) -> int:
        """Remove what dead attempts left behind: of this host's dead processes at once, of others' after `age` seconds."""
        if not self.local:
            return 0
        gone = 0
        for path in Path(self.base).glob("*/**/.*.parquet.*"):
            with contextlib.suppress(FileNotFoundError):
                if unfinished(path.name, age, path.stat().st_mtime):
                    path.unlink()
                    gone += 1
        return gone

    # Reading

    def read(self, table: str, columns: Sequence[str] | None = None, names: Sequence[str] | None = None) -> pa.Table | None:
        """All rows of a plain table, or those of the parts named; None where there is no part."""
        names = self.names(table) if names is None else names
        if not names:
            return None
        paths = [f"{self.folder(table)}/{name}.parquet" for name in names]
        wanted = list(columns) if columns else None
        try:
            if len(paths) == 1:  # a shard's tracks, read for every unit: a third of the time that a data set of one file takes
                with self.filesystem.open_input_file(paths[0]) as file:
                    return pq.ParquetFile(file).read(columns=wanted, use_threads=False)
            return pq.ParquetDataset(paths, filesystem=self.filesystem).read(columns=wanted)
        except OSError as error:
            raise StoreError(f"{self.root}: {table} cannot be read ({error.strerror or error})") from error

    def tables(self) -> dict[str, list[str]]:
        """Each table's variants; [""] for the plain ones."""
        found: dict[str, list[str]] = {}
        for info in self.filesystem.get_file_info(pafs.FileSelector(self.base, allow_not_found=True)):
            if info.type != pafs.FileType.Directory or info.base_name.startswith(".") or info.base_name in NO_TABLES:
                continue
            if info.base_name in PLAIN:
                found[info.base_name] = [""]
                continue
            below = self.filesystem.get_file_info(pafs.FileSelector(info.path))
            found[info.base_name] = sorted(each.base_name for each in below if each.type == pafs.FileType.Directory)
        return dict(sorted(found.items()))

    def table(self, name: str, variant: str = "") -> Table:
        """A table for reading; of several variants, the one of the latest run unless `variant` says which.

        Raises:
            StoreError: there is no such table or variant; the message names those there are.
        """
        from pipelines.table import Table

        tables = self.tables()
        if name not in tables:
            raise StoreError(f"{self.root}: no table {name!r}; there are {', '.join(tables) or 'none yet'}")
        if name not in PLAIN:
            variant = variant or self.current().get(name, "") or tables[name][-1]
            if variant not in tables[name]:
                raise StoreError(f"{self.root}: no variant {variant!r} of {name!r}; there are {', '.join(tables[name])}")
        return Table(self.paths(name, variant), self.filesystem)

    # Which recipes were run

    def remember(self, recipe: Mapping[str, Any], variants: Mapping[str, str]) -> None:
        """Note a recipe and the variants of the tables that it fills."""
        # A clock that was set back must not make the latest run an earlier one.
        at = max([datetime.now(UTC).isoformat(), *(_later(note["at"]) for note in self._notes())])
        note = {"at": at, "tables": dict(variants), "recipe": dict(recipe)}
        name = hashlib.sha256(json.dumps(note["tables"], sort_keys=True).encode()).hexdigest()[:16]
        self.put(f"recipes/{name}.json", json.dumps(note, indent=1).encode())

    def current(self) -> dict[str, str]:
        """The variant of each table in the latest run that filled it."""
        current: dict[str, str] = {}
        for note in sorted(self._notes(), key=lambda each: str(each["at"])):
            current.update(note["tables"])
        return current

    def _notes(self) -> list[dict[str, Any]]:
        notes = []
        for info in self.filesystem.get_file_info(pafs.FileSelector(self.folder("recipes"), allow_not_found=True)):
            if info.base_name.endswith(".json") and not info.base_name.startswith("."):
                with self.filesystem.open_input_file(info.path) as file:
                    notes.append(json.loads(file.read()))
        return notes

    # Failures are rows

    def reject(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note failures (uri, stage, track_id, error, message, remedy); an empty error means that an older one is mended.

        A row with the time `at` of an older one, whose last word it is to be, is later than that, whatever the clock says.
        """
        if not rows:
            return
        # The same failures, found again by a repeated run, replace their own part instead of piling up.
        key = json.dumps([[row.get(name) or "" for name in REJECTS.names[:-1]] for row in rows])
        now = datetime.now(UTC)
        later = timedelta(microseconds=1)
        said = [{**row, "at": max(now, row["at"] + later) if row.get("at") else now} for row in rows]
        table = pa.Table.from_pylist(said, schema=REJECTS)
        self.publish("rejects", hashlib.sha256(key.encode()).hexdigest()[:16], table)

    def open_rejects(self) -> list[dict[str, Any]]:
        """The failures that still stand: the latest word on each (uri, stage), by uri."""
        rows = self.read("rejects")
        if rows is None:
            return []
        rows = rows.sort_by("at").append_column("row", pa.array(range(rows.num_rows), pa.int64()))
        latest = rows.take(rows.group_by(["uri", "stage"]).aggregate([("row", "max")]).column("row_max")).drop_columns("row")
        stand = latest.filter(pc.not_equal(pc.fill_null(latest.column("error"), ""), ""))
        found: list[dict[str, Any]] = stand.sort_by([("uri", "ascending"), ("stage", "ascending")]).to_pylist()
        return found

    def lock(self, name: str) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Keep a second process from doing the same; on a local store and in S3, as other buckets have no locks.

        Returns:
            what gives a function to be called before something is published: it raises StoreError if the lock was lost, as in S3
            may happen.
        Raises:
            StoreError: another process holds it.
        """
        if self.local:
            if not self._founded:
                try:
                    os.makedirs(self.base, exist_ok=True)
                except OSError as error:
                    raise StoreError(f"{self.root}: cannot be written ({error.strerror}); choose another place") from error
            return flocked(self.root, self.base, name)
        if self.filesystem.type_name == "s3":
            return lease(self.root, self.base, name)
        return contextlib.nullcontext(lambda: None)


def _later(at: str) -> str:
    return (datetime.fromisoformat(at) + timedelta(microseconds=1)).isoformat()


def _filesystem(root: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in root:
        return pafs.LocalFileSystem(), os.path.abspath(root)
    from extractors.uri import without_secrets  # all extractors come with it, which local stores need not wait for

    try:
        without_secrets(root)
        prepare(root)
    except ValueError as error:
        raise StoreError(str(error)) from None
    try:
        filesystem, base = pafs.FileSystem.from_uri(root)
    except pa.ArrowInvalid:
        import fsspec

        try:
            remote, base = fsspec.core.url_to_fs(root)
        except (ValueError, ImportError) as error:
            raise StoreError(f"{root}: {error}") from error
        filesystem = pafs.PyFileSystem(pafs.FSSpecHandler(remote))
    return filesystem, str(base).rstrip("/")
