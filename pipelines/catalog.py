"""Scanning: sources in, the tables `tracks` and `aliases` out, each recording once, whatever it is called."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from extractors.clip import track_id
from extractors.uri import is_local, printable, to_path
from pipelines.entries import Entry, Problem, local_entry
from pipelines.identify import Identity, identify, unchanged
from pipelines.in_hand import InHand
from pipelines.manifest import SourceError
from pipelines.scan_report import ScanReport, Vanished
from pipelines.shards import Shards
from pipelines.sources import Listing, find
from pipelines.store import Store
from pipelines.tracks import ALIASES, Held

Outcome = Identity | Problem | None
_REJECTS_AT_ONCE = 1000


def scan(
    store: Store,
    sources: Sequence[str],
    shard_hours: float = 1.0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    in_hand: InHand | None = None,
) -> ScanReport:
    """Find and identify audio, and add what is new to the store.

    Files that the store knows by uri, size and time are not read again. The same bytes under two names are one track, at
    the first of its names by order of uri. What cannot be used goes to `rejects`, stage "scan", and is tried again by
    each scan. Nothing is taken out of `tracks`; what has vanished is reported, and noted in `aliases`. Memory grows with
    what is rejected and what has vanished, not with what is found and known.

    Args:
        sources: folders, patterns, files, manifests; paths or URIs.
        shard_hours: sound in a shard at most; a longer track is a shard of its own.
        workers: files read at once.
        progress: called with (files done, files in all).
        in_hand: knows the files that may have ended an earlier child of the same parent; they are read apart.
    Raises:
        SourceError: a source cannot be listed, or the temporary folder is full.
        StoreError: the store cannot be written, or another scan is at work on it.
    """
    return _scan(store, lambda: find(sources), shard_hours, workers, progress, in_hand)


def retry(
    store: Store,
    shard_hours: float = 1.0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    in_hand: InHand | None = None,
) -> ScanReport:
    """Try the files again that earlier scans rejected, and no others; what a manifest said of them is not known here.

    Raises:
        SourceError: the temporary folder is full.
        StoreError: the store cannot be written, or another scan is at work on it.
    """

    def rejected() -> Listing:
        listing = Listing()
        uris = [row["uri"] for row in store.open_rejects() if row["stage"] == "scan"]
        listing.add(local_entry(to_path(uri)) if is_local(uri) else Entry(uri) for uri in uris)
        return listing

    return _scan(store, rejected, shard_hours, workers, progress, in_hand)


def _scan(
    store: Store,
    listing: Callable[[], Listing],
    shard_hours: float,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
    in_hand: InHand | None,
) -> ScanReport:
    if not (shard_hours > 0 and math.isfinite(shard_hours)):
        raise SourceError(f"shard_hours must be above 0, got {shard_hours}")
    with store.lock("scan") as kept:
        in_hand = in_hand or InHand()
        in_hand.look()
        return _Scan(store, listing(), shard_hours * 3600, in_hand, kept).run(workers or min(32, (os.cpu_count() or 1) + 4), progress)


class _Scan:
    def __init__(self, store: Store, listing: Listing, shard_seconds: float, in_hand: InHand, kept: Callable[[], None]) -> None:
        self.store = store
        self.in_hand = in_hand
        self.kept = kept
        self.ledger = listing.ledger
        self.covers = listing.covers
        self.ledger.recall(store)
        self.shards = Shards(store, shard_seconds, kept)
        self.report = ScanReport(found=len(self.ledger), skipped=listing.skipped, notes=list(listing.notes))
        self.lost: dict[str, str] = {}
        self.rejects: list[dict[str, Any]] = []
        self.rejected = {row["uri"]: row for row in store.open_rejects() if row["stage"] == "scan"}
        self.unheard = 0

    def run(self, workers: int, progress: Callable[[int, int], None] | None) -> ScanReport:
        for done, (entry, held, outcome) in enumerate(self._outcomes(workers), 1):
            self._note(entry, held, outcome)
            if progress is not None:
                progress(done, self.report.found)
        self.shards.finish()
        self._look_for_lost()
        self._publish_aliases()
        self.store.reject(self.rejects)
        if self.unheard:
            self.report.notes.append(f"{self.unheard} known tracks keep the words they have: a manifest says something else now")
        self.report.hours, self.report.shards = self.shards.seconds / 3600, self.shards.count
        return self.report

    def _outcomes(self, workers: int) -> Iterator[tuple[Entry, Held | None, Outcome]]:
        """Each entry with what became of it; a bounded number is read ahead.

        They come by uri, so that the same collection gives the same shards and the same first names in every store.
        """
        waiting: deque[tuple[Entry, Held | None, Future[Outcome] | Outcome]] = deque()
        pool = ThreadPoolExecutor(workers, "scan")
        try:
            for entry, held in self.ledger.files():
                if entry.problem or unchanged(entry, held):
                    waiting.append((entry, held, entry.problem))
                else:
                    waiting.append((entry, held, pool.submit(self._identify, entry, held)))
                if len(waiting) > 16 * workers:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _identify(self, entry: Entry, held: Held | None) -> Outcome:
        if self.in_hand.suspect(entry.uri):
            from pipelines.engines.apart import identify_apart

            return identify_apart(entry, held)
        with self.in_hand.holding(entry.uri):
            return identify(entry, held)

    def _note(self, entry: Entry, held: Held | None, outcome: Outcome) -> None:
        uri = entry.uri
        if isinstance(outcome, Problem):
            if held is not None and outcome.error in ("missing", "vanished"):
                self.lost[uri] = held.track_id
            else:
                self._reject(uri, held, outcome)
            return
        if uri in self.rejected:
            self._mend(uri)
        if outcome is None:
            self.report.known += 1
            self._compare(entry, held.track_id if held else "")
            return
        identity = track_id(outcome.sha256)
        now = Held(identity, outcome.bytes, outcome.modified, True)
        if self.ledger.keep(identity, outcome.words):
            self.report.new += 1
            self.shards.add(self._row(uri, identity, outcome))
        else:
            self._compare(entry, identity)
            self.ledger.alias(uri, now)
            if held is not None and held.track_id == identity:
                self.report.known += 1
            else:
                self.report.aliases += 1
        if held is not None and held.present and held.track_id != identity:
            self.lost[uri] = held.track_id
        self.ledger.hold(uri, now)

    def _row(self, uri: str, identity: str, found: Identity) -> tuple[Any, ...]:
        info, words = found.info, found.words
        return (
            *(identity, uri, found.bytes, found.sha256, info.format, info.seconds, info.sample_rate, info.channels),
            *(words.title, words.artist, words.album, words.license, found.license_source, words.group),
            *(found.modified, self.ledger.at),
        )

    def _compare(self, entry: Entry, identity: str) -> None:
        if entry.words:
            stored = self.ledger.words(identity)
            self.unheard += any(new and new != old for new, old in zip(entry.words, stored, strict=False))

    def _reject(self, uri: str, held: Held | None, problem: Problem) -> None:
        self.report.rejected += 1
        before = self.rejected.pop(uri, None)
        if before is not None and (before["error"], before["message"]) == problem[:2]:
            return
        self._say(uri, held.track_id if held else None, *problem, before)

    def _mend(self, uri: str) -> None:
        before = self.rejected.pop(uri)
        self._say(uri, before["track_id"], "", "", "", before)

    def _say(self, uri: str, identity: str | None, error: str, message: str, remedy: str, before: Mapping[str, Any] | None) -> None:
        said = {"uri": uri, "stage": "scan", "track_id": identity, "error": error, "message": printable(message), "remedy": remedy}
        self.rejects.append({**said, "at": before["at"]} if before else said)
        if len(self.rejects) >= _REJECTS_AT_ONCE:
            self.store.reject(self.rejects)
            self.rejects = []

    def _look_for_lost(self) -> None:
        """Find the known uris that the sources would list if they were there, and the failures that have gone with theirs."""
        self.lost.update((uri, identity) for uri, identity in self.ledger.missed() if self._covered(uri) and _gone(uri))
        for uri in [uri for uri in self.rejected if not self.ledger.lists(uri) and self._covered(uri) and _gone(uri)]:
            self._mend(uri)
        newly: set[str] = set()
        for uri, identity in self.lost.items():
            held = self.ledger.held(uri)
            if held is not None and held.present and held.track_id == identity:
                newly.add(uri)
                self.ledger.hold(uri, held._replace(present=False))
                self.ledger.alias(uri, held._replace(present=False))
        places = self.ledger.places(self.lost.values())
        for uri, identity in sorted(self.lost.items()):
            still = next((place for place in places[identity] if self.ledger.lists(place) or not _gone(place)), None)
            # A move is news once; a track that is nowhere stays a loss.
            held = self.ledger.held(uri)
            if still is None or uri in newly or held is None or held.track_id != identity:
                self.report.vanished.append(Vanished(uri, identity, still))

    def _covered(self, uri: str) -> bool:
        return any(cover(uri) for cover in self.covers)

    def _publish_aliases(self) -> None:
        """Once all shards are there: an alias whose track was not would hide it from later scans."""
        digest, count = hashlib.sha256(str(self.ledger.at).encode()), 0
        for rows in self.ledger.aliases():
            count += rows.num_rows
            digest.update("\n".join(["", *rows["uri"].to_pylist()]).encode())
        if count:
            self.kept()
            with self.store.writer("aliases", digest.hexdigest()[:16], ALIASES) as part:
                for rows in self.ledger.aliases():
                    part.append(rows)
                part.publish(count)


def _settled(entry: Entry, held: Held | None, outcome: Future[Outcome] | Outcome) -> tuple[Entry, Held | None, Outcome]:
    if not isinstance(outcome, Future):
        return entry, held, outcome
    try:
        return entry, held, outcome.result()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SourceError(f"{tempfile.gettempdir()}: full, and remote files are copied there to be read; free it or set TMPDIR") from error


def _gone(uri: str) -> bool:
    """Whether a file that was not listed is really not there; of remote ones, the listing is the word."""
    if not is_local(uri):
        return True
    try:
        os.lstat(to_path(uri))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # a folder that cannot be entered says nothing about what is in it
        return False
    return False
