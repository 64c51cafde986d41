"""The work itself: one shard of tracks in, one Parquet part per missing table out. Every engine calls `hear`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from augment.augmentation import Scene
from augment.deferred import Unfinished, finish, hold
from extractors import audio, uri
from extractors.batch import Batch
from extractors.clip import Clip
from extractors.extractor import Extractor, Live
from pipelines.blame import ENDLESS, Late, away, blame
from pipelines.part import PartWriter
from pipelines.recipe import Recipe
from pipelines.recording import Kept, Rejects, found_clips, reject
from pipelines.rows import footed, keys, to_arrow
from pipelines.rows import views as view_rows
from pipelines.store import Store
from pipelines.views import Unmade, needed_files, neighbours, views

EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True)
class Unit:
    """A shard's worth of work, small enough to send anywhere.

    tables: what is to be made of it (`views` or extractors' tables).
    seconds: of audio, for deadlines.
    tracks: only these; None is all.
    poison: track_id to reason, for tracks that are known to end their worker.
    dry: compute and write nothing, to find out who ends the worker.
    supplement: the rows go to a part beside the shard's own, because that one exists without these tracks.
    tolerant: a file that its storage does not give is a reject; otherwise nothing is made, and it is tried again.
    """

    store: str
    shard: str
    recipe: Recipe
    tables: tuple[str, ...]
    seconds: float = 0.0
    device: str = "cpu"
    tracks: tuple[str, ...] | None = None
    poison: tuple[tuple[str, str], ...] = ()
    dry: bool = False
    supplement: bool = False
    tolerant: bool = False

    @property
    def part(self) -> str:
        """The name of the parts that this makes."""
        if not self.supplement:
            return self.shard
        key = hashlib.sha256("\n".join(sorted(self.tracks or ())).encode()).hexdigest()[:8]
        return f"{self.shard}~{key}"

    def deadline(self) -> float:
        """Seconds after which its worker counts as hung."""
        return self.recipe.run.deadline(self.seconds)

    def overdue(self) -> str:
        """Why a worker counts as lost that was ended at the deadline."""
        return f"{ENDLESS} after {self.deadline():.0f} s"


@dataclass
class Heard:
    """What came of a unit: a few numbers, cheap to send back. seconds: of the clips themselves; views: clips' own included.

    unread: of files that their storage did not give, a message each.
    """

    tracks: int = 0
    clips: int = 0
    views: int = 0
    seconds: float = 0.0
    bytes: int = 0
    rejects: list[dict[str, Any]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def hear(unit: Unit) -> Heard:
    """Make the parts of one shard.

    Returns:
        The counts, after every part and the rejects are safely stored. A unit that is not tolerant stops at the first
        file that its storage does not give, with nothing stored.
    Raises:
        StoreError: the store cannot be written.
        OSError: the storage gives none of the shard's files.
    """
    heard = Heard()
    store = Store(unit.store, founded=True)
    source = batches(unit, store, heard)
    return write(unit, store, heard, source if unit.device == "cpu" else map(partial(_packed, unit), source), unit.device)


def decode(unit: Unit) -> tuple[list[Batch | Unfinished], Heard]:
    """The first half of `hear`, for a worker that feeds another one with a GPU: batches of resampled sound."""
    heard = Heard()
    return [_packed(unit, batch) for batch in batches(unit, Store(unit.store, founded=True), heard)], heard


def _packed(unit: Unit, batch: Batch) -> Batch | Unfinished:
    """What a GPU needs of a batch, and no more."""
    return hold(batch, _rates(unit)) if any(clip.pending for clip in batch.clips) else batch.pack(_rates(unit))


def _rates(unit: Unit) -> list[int]:
    return sorted({rate for extractor in _wanted(unit).values() for rate in extractor.sample_rates()})


def _finished(unit: Unit, store: Store, heard: Heard, source: Iterable[Batch | Unfinished], device: str) -> Iterator[Batch]:
    """Batches on the device, with nothing pending; views that turn out unfit there become rejects in `heard`."""
    unmade: dict[str, Unmade] = {}
    for each in source:
        if isinstance(each, Batch):
            yield each if device == "cpu" else each.on(device)
            continue
        with needed_files():
            batch, unfit = finish(each, _rates(unit), device)
        for clip, error in unfit:
            unmade.setdefault(clip.track_id, Unmade()).add(error, clip.view, clip.start)
        if batch is not None:
            yield batch
    tracks = {track["track_id"]: track for track in _tracks(unit, store)} if unmade else {}
    noted = {row["track_id"]: row for row in heard.rejects if row["stage"] == "augment"}
    for row in (reject(tracks[name], *cause, stage="augment") for name, each in unmade.items() for cause in each.rows()):
        if earlier := noted.get(row["track_id"]):  # one for each track: of two, the later would hide the other
            earlier.update({key: f"{earlier[key]}; {row[key]}" for key in ("message", "remedy") if row[key] not in earlier[key]})
        else:
            heard.rejects.append(row)


def write(unit: Unit, store: Store, heard: Heard, source: Iterable[Batch | Unfinished], device: str) -> Heard:
    """The second half of `hear`: extract from each batch, on the device that it is for, and publish the parts."""
    extractors = _wanted(unit)
    variants = unit.recipe.variants()
    seconds = unit.recipe.window.length
    lives = {table: _open(extractor, device) for table, extractor in extractors.items()}
    with contextlib.ExitStack() as stack:
        writers: dict[str, PartWriter] = {}
        if not unit.dry:
            for table in unit.tables:
                schema = footed(unit.recipe, table, variants[table])
                writers[table] = stack.enter_context(store.writer(table, unit.part, schema, variants[table]))
        for batch in _finished(unit, store, heard, source, device):
            key_columns = keys(batch)
            heard.views += len(batch)
            own = [sound for sound, clip in zip(batch.sound, batch.clips, strict=True) if clip.view == 0]
            heard.clips += len(own)
            heard.seconds += sum(own)
            distinct, where = batch.distinct()
            for table in unit.tables:
                if table == "views":
                    rows = view_rows(batch, key_columns)
                else:
                    values = _values(lives[table], distinct, unit.device)
                    if unit.dry:
                        continue
                    rows = key_columns
                    for column in extractors[table].columns(seconds):
                        array = to_arrow(values[column.name], column)
                        rows = rows.append_column(column.name, array if distinct is batch else array.take(pa.array(where)))
                if not unit.dry:
                    writers[table].append(rows.cast(writers[table].schema))
        if heard.unread and not unit.tolerant:
            return heard
        if len(heard.unread) == heard.tracks > 0 and not unit.supplement:
            raise OSError(f"none of its {heard.tracks} recordings can be read: {heard.unread[0]}")
        # Rejects go first: a part that is there says that its shard is done, its failures included.
        if not unit.dry:
            store.reject(heard.rejects)
            # A shard's own part is published even if it is empty, since its being there says that the shard is done.
            if heard.clips or not unit.supplement:
                heard.bytes += sum(writer.publish(heard.views) for writer in writers.values())
    return heard


def batches(unit: Unit, store: Store, heard: Heard) -> Iterator[Batch]:
    """Decode a unit's tracks, once, and gather their clips; tracks that fail become rejects in `heard`."""
    recipe = unit.recipe
    spectra = [spectrum for extractor in _wanted(unit).values() for spectrum in extractor.spectra()]
    seconds = recipe.window.length
    size = recipe.run.batch or max(1, int((240 if unit.device == "cpu" else 960) // (seconds or 240)))
    waiting: list[Clip] = []
    for clip in _clips(unit, store, heard):
        waiting.append(clip)
        if len(waiting) == size or seconds is None:
            yield Batch(waiting, seconds, spectra)
            waiting = []
    if waiting:
        yield Batch(waiting, seconds, spectra)


def _clips(unit: Unit, store: Store, heard: Heard) -> Iterator[Clip]:
    poison = dict(unit.poison)
    rows = _tracks(unit, store)
    # To find out who ends the worker, each track is heard without its neighbours.
    around = neighbours(() if unit.dry or not unit.recipe.augment else rows, poison)
    for track in rows if unit.tracks is None else [row for row in rows if row["track_id"] in set(unit.tracks)]:
        heard.tracks += 1
        try:
            if track["track_id"] in poison:
                # All who are to blame together have half of the time that the shard has.
                blame(track["uri"], poison[track["track_id"]], unit.recipe.run.deadline_seconds / 2 / len(poison))
            unmade = Unmade()
            found = found_clips(track, store, unit.recipe)
            heard.rejects += yield from _with_views(found, track, unit, around, unmade)
            heard.rejects += [reject(track, *cause, stage="augment") for cause in unmade.rows()]
        except audio.AudioError as error:
            heard.rejects.append(reject(track, error.kind, str(error), error.remedy))
        except OSError as error:
            # The machine's fault and not the file's, or one that comes too late to leave it out: the shard is to be made another time.
            if error.errno in EXHAUSTED or (unit.tolerant and isinstance(error, Late)):
                raise
            message = f"{track['uri']!r}: {error.strerror or error}"
            if isinstance(error, FileNotFoundError) and not away(store, track["uri"]):
                heard.rejects.append(reject(track, "vanished", message, "restore the file and run with --retry-rejects"))
                continue
            heard.unread.append(uri.printable(message))
            if not unit.tolerant:
                return
            heard.rejects.append(reject(track, "unreadable", message, "see that this machine may read it; the next run tries it again"))


def _with_views(
    clips: Generator[Clip, None, Rejects], track: dict[str, Any], unit: Unit, around: Scene, unmade: Unmade
) -> Generator[Clip, None, Rejects]:
    """Each clip's views in its place; returns what the clips' generator returns."""
    source = Kept(clips)
    for clip in source:
        yield from views(clip, track, unit.recipe, around, unmade, defer=unit.device != "cpu")
    return source.value or []


def _tracks(unit: Unit, store: Store) -> list[dict[str, Any]]:
    columns = ["track_id", "uri", "bytes", "seconds", "sample_rate"]
    table = store.read("tracks", columns, [unit.shard])
    rows: list[dict[str, Any]] = table.to_pylist() if table is not None else []
    return rows


def _wanted(unit: Unit) -> dict[str, Extractor]:
    return {table: extractor for table, extractor in unit.recipe.tables().items() if table in unit.tables}


def _values(live: Live, batch: Batch, device: str) -> Mapping[str, Any]:
    """What an extractor hears. A GPU may fail for once, for want of memory or by a hiccup, and is asked again."""
    try:
        return live(batch)
    except RuntimeError:
        if device == "cpu":
            raise
    return live(batch)


# Opened extractors, one set for each thread: an engine's worker is a thread or a process, and neither should share a
# network's buffers with another.
_opened = threading.local()


def _open(extractor: Extractor, device: str) -> Live:
    lives: dict[tuple[Extractor, str], Live] = _opened.__dict__.setdefault("lives", {})
    key = (extractor, device)
    if key not in lives:
        lives[key] = extractor.open(device)
    return lives[key]
