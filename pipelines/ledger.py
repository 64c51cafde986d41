"""What a scan keeps in mind: the files that are listed, and what earlier scans said of each; memory does not grow with them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.entries import Entry, Problem
from pipelines.manifest import SourceError, Words
from pipelines.tracks import ALIASES, Held, table

if TYPE_CHECKING:
    from pipelines.store import Store

# What SQLite keeps of its pages; the rest waits in a file without a name that goes with this process, however that ends.
_PAGES_BYTES = 64 << 20
_AT_ONCE = 1000  # rows that are held as Python objects
_PARTS = 16  # parts of the catalogue that are read together

_TABLES = """
CREATE TABLE listed (uri TEXT PRIMARY KEY, bytes, modified REAL, words, problem) WITHOUT ROWID;
CREATE TABLE held (uri TEXT PRIMARY KEY, track_id, bytes, modified REAL, present, at) WITHOUT ROWID;
CREATE TABLE tracks (track_id TEXT PRIMARY KEY, title, artist, album, license, grouped) WITHOUT ROWID;
CREATE TABLE aliases (uri, track_id, bytes, modified REAL, present);
"""
_LIST = """
INSERT INTO listed VALUES (?, ?, ?, ?, ?) ON CONFLICT (uri) DO UPDATE
SET bytes = excluded.bytes, modified = excluded.modified, words = excluded.words, problem = excluded.problem
WHERE words IS NULL AND excluded.words IS NOT NULL
"""
_HOLD = """
INSERT INTO held VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uri) DO UPDATE
SET track_id = excluded.track_id, bytes = excluded.bytes, modified = excluded.modified, present = excluded.present, at = excluded.at
WHERE excluded.at >= at
"""
_KEEP = "INSERT OR IGNORE INTO tracks VALUES (?, ?, ?, ?, ?, ?)"


class Ledger:
    """Files by uri, tracks by id, in a private database that SQLite keeps in memory while it is small.

    at: the time to write on new rows of the catalogue, later than on all before.
    """

    def __init__(self) -> None:
        self.at = datetime.now(UTC)
        with _room():
            self._database = sqlite3.connect("")
            self._database.execute(f"PRAGMA cache_size = -{_PAGES_BYTES >> 10}")
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.executescript(_TABLES)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in files that the sources list. A uri that is listed twice counts once; a manifest's words win over a listing without."""
        rows = ((*entry[:3], entry.words and json.dumps(entry.words), entry.problem and json.dumps(entry.problem)) for entry in entries)
        with _room():
            self._database.executemany(_LIST, rows)

    def recall(self, store: Store) -> None:
        """Take in what earlier scans said, part by part; the latest word on a uri, in `tracks` or `aliases`, holds."""
        if not store.names("tracks"):
            return
        latest = 0
        # A million titles are read only where a manifest may say something else.
        words = Words._fields if self._all("SELECT 1 FROM listed WHERE words IS NOT NULL LIMIT 1") else ()
        unsaid = [repeat(None)] * (len(Words._fields) - len(words))
        for name, more in (("tracks", words), ("aliases", ("present",))):
            for batch in _batches(store, name, ["uri", "track_id", "bytes", "modified", *more, "scanned_at"]):
                *others, at = batch.columns
                uri, track_id, size, modified, *rest = (column.to_pylist() for column in others)
                times = at.cast(pa.int64()).to_pylist()
                latest = max([latest, *times])
                present = rest[0] if name == "aliases" else repeat(True)
                with _room():
                    self._database.executemany(_HOLD, zip(uri, track_id, size, modified, present, times, strict=False))
                    if name == "tracks":
                        self._database.executemany(_KEEP, zip(track_id, *rest, *unsaid, strict=False))
        # A clock set back must not make new rows older than what they replace.
        self.at = max(self.at, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=latest + 1))

    def files(self) -> Iterator[tuple[Entry, Held | None]]:
        """Everything listed, by uri, with the latest word on it; words on files that were passed may change meanwhile."""
        last = ""
        while rows := self._all(
            "SELECT uri, l.bytes, l.modified, words, problem, track_id, h.bytes, h.modified, present"
            " FROM listed l LEFT JOIN held h USING (uri) WHERE uri > ? ORDER BY uri LIMIT ?",
            *(last, _AT_ONCE),
        ):
            for uri, size, modified, words, problem, *held in rows:
                said = Entry(uri, size, modified, words and Words(*json.loads(words)), problem and Problem(*json.loads(problem)))
                yield said, _held(held) if held[0] else None
            last = rows[-1][0]

    def __len__(self) -> int:
        """How many files are listed."""
        return int(self._all("SELECT count(*) FROM listed")[0][0])

    def lists(self, uri: str) -> bool:
        """Whether the sources list this uri."""
        return bool(self._all("SELECT 1 FROM listed WHERE uri = ?", uri))

    def held(self, uri: str) -> Held | None:
        """The latest word on a uri."""
        rows = self._all("SELECT track_id, bytes, modified, present FROM held WHERE uri = ?", uri)
        return _held(rows[0]) if rows else None

    def missed(self) -> Iterator[tuple[str, str]]:
        """What earlier scans saw and the sources do not list: uri and track_id, by uri."""
        yield from self._database.execute("SELECT uri, track_id FROM held WHERE uri NOT IN (SELECT uri FROM listed) ORDER BY uri")

    def places(self, track_ids: Iterable[str]) -> dict[str, list[str]]:
        """Where tracks lie, by the latest word: every uri, sorted."""
        found: dict[str, list[str]] = {track_id: [] for track_id in track_ids}
        if found:
            for uri, track_id in self._database.execute("SELECT uri, track_id FROM held WHERE present ORDER BY uri"):
                if track_id in found:
                    found[track_id].append(uri)
        return found

    def hold(self, uri: str, held: Held) -> None:
        """A later word on a uri."""
        self._put("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, 0)", uri, *held)

    def keep(self, track_id: str, words: Words) -> bool:
        """Note a track; False if it is known."""
        return self._put(_KEEP, track_id, *words) > 0

    def words(self, track_id: str) -> tuple[str | None, ...]:
        """What `tracks` says of a recording, or will say; nothing of one that is not there."""
        rows = self._all("SELECT title, artist, album, license, grouped FROM tracks WHERE track_id = ?", track_id)
        return tuple(rows[0]) if rows else ()

    def alias(self, uri: str, held: Held) -> None:
        """Note a row for `aliases`."""
        self._put("INSERT INTO aliases VALUES (?, ?, ?, ?, ?)", uri, *held)

    def aliases(self) -> Iterator[pa.Table]:
        """The rows that were noted for `aliases`, in order, some at a time."""
        rows = self._database.execute("SELECT uri, track_id, bytes, modified, present FROM aliases ORDER BY rowid")
        while some := rows.fetchmany(_AT_ONCE):
            yield table(((*row[:4], bool(row[4]), self.at) for row in some), ALIASES)

    def _all(self, query: str, *values: Any) -> list[Any]:
        with _room():
            return self._database.execute(query, values).fetchall()

    def _put(self, query: str, *values: Any) -> int:
        with _room():
            return self._database.execute(query, values).rowcount


def _batches(store: Store, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a table, a few parts at a time: Arrow's own reading ahead holds all of it as soon as the reader is slower."""
    names = store.names(name)
    for at in range(0, len(names), _PARTS):
        rows = store.read(name, columns, names[at : at + _PARTS])
        yield from rows.to_batches(max_chunksize=10_000) if rows is not None else ()


def _held(row: Iterable[Any]) -> Held:
    track_id, size, modified, present = row
    return Held(track_id, size, modified, bool(present))


@contextmanager
def _room() -> Iterator[None]:
    """Say what a full disk means here."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SourceError(f"the folder for temporary files: {error}; free it or set TMPDIR to another") from error
