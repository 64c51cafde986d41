"""A run: plan what is missing, let an engine make it, find the files that end their workers, sum up."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.engines.engine import Engine, Failed, Lost, Outcome
from pipelines.part import StoreError
from pipelines.plan import missing, retries
from pipelines.recipe import Recipe
from pipelines.stage import Heard, Unit
from pipelines.store import Store


@dataclass
class Summary:
    """What a run did. `failed` names shards whose parts are still missing, with the reason; `away` says why the store ended it."""

    shards: int = 0
    planned: int = 0
    tracks: int = 0
    clips: int = 0
    views: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    bytes: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    away: str = ""

    @property
    def rate(self) -> float:
        """Times real time."""
        return self.audio_seconds / self.wall_seconds if self.wall_seconds else 0.0

    def add(self, heard: Heard) -> None:
        """Count one finished unit."""
        self.shards += 1
        self.tracks += heard.tracks
        self.clips += heard.clips
        self.views += heard.views
        self.audio_seconds += heard.seconds
        self.bytes += heard.bytes
        self.rejects.update(row["error"] for row in heard.rejects)


class Hunt:
    """The search, by halving, for the tracks of one shard that end their worker.

    Probes compute and write nothing; a probe that loses its worker is halved until single tracks remain.
    """

    def __init__(self, unit: Unit, tracks: dict[str, float]) -> None:
        self.unit = unit
        self.guilty: dict[str, str] = dict(unit.poison)
        self.pending = 0
        self._seconds = {track: seconds for track, seconds in tracks.items() if track not in self.guilty}

    def probes(self, tracks: tuple[str, ...] | None = None) -> list[Unit]:
        """Two units, one for each half of the tracks."""
        tracks = tuple(self._seconds) if tracks is None else tracks
        middle = (len(tracks) + 1) // 2
        halves = [half for half in (tracks[:middle], tracks[middle:]) if half]
        self.pending += len(halves)
        return [replace(self.unit, tracks=half, dry=True, seconds=sum(map(self._seconds.__getitem__, half))) for half in halves]

    def judge(self, probe: Unit, outcome: Outcome) -> list[Unit]:
        """What to try next, given how a probe ended; nothing once all is known."""
        self.pending -= 1
        tracks = probe.tracks or ()
        if not isinstance(outcome, Lost) or outcome.blameless:
            return []
        if len(tracks) == 1:
            self.guilty[tracks[0]] = outcome.reason
            return []
        return self.probes(tracks)

    def verdict(self) -> Unit:
        """The shard once more, without the tracks that were found guilty."""
        return replace(self.unit, poison=tuple(sorted(self.guilty.items())))


def run(
    store: Store,
    recipe: Recipe,
    engine: Engine,
    retry_rejects: bool = False,
    progress: Callable[[Summary], None] | None = None,
    told: Callable[[Summary, Unit, Outcome], None] | None = None,
) -> Summary:
    """Make every part that the recipe should have on the store and that is not there.

    Resuming, adding an extractor and repeating a run are the same act. Ctrl-C ends it with `interrupted` set, and a store that is
    no longer there with `away`.

    Args:
        retry_rejects: try again whatever was rejected, and not only what could not be read.
        progress: called after each unit. told: too, with how the unit ended.
    Raises:
        StoreError: the store cannot be listed.
    """
    summary = Summary(variants=recipe.variants())
    began = time.monotonic()
    store.sweep()
    units = missing(store, recipe, engine.device)
    before: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    rejects = [row for row in store.open_rejects() if retry_rejects or row["error"] == "unreadable"]
    units += retries(store, recipe, rejects, engine.device)
    for row in rejects:
        before[row["track_id"]].append(row)
    summary.planned = len(units)
    store.remember(recipe.model_dump(mode="json"), summary.variants)
    tries: Counter[tuple[str, str]] = Counter()
    hunts: dict[tuple[str, str], Hunt] = {}
    queue = Sized(store, units)
    heard: set[str] = set()
    unmade: set[str] = set()
    try:
        for unit, outcome in engine.run(queue):
            key = (unit.shard, unit.part)
            if unit.dry:
                hunt = hunts[key]
                queue.extendleft(hunt.judge(unit, outcome))
                if not hunt.pending:
                    queue.appendleft(hunt.verdict())
            elif isinstance(outcome, Heard) and outcome.unread and not unit.tolerant:
                tries[key] += 1
                queue.append(replace(unit, tolerant=tries[key] >= recipe.run.max_retries))
            elif isinstance(outcome, Heard):
                summary.add(outcome)
                if unit.supplement:
                    _resolve(store, unit, outcome, before)
                else:
                    heard.add(unit.shard)
                    unmade.update(row["track_id"] for row in outcome.rejects if row["stage"] == "augment")
            elif isinstance(outcome, Failed):
                tries[key] += 1
                if unit.device != "cpu" and tries[key] <= recipe.run.max_retries:
                    queue.append(unit)  # a GPU that failed may do better in another process
                else:
                    summary.failed[unit.part] = outcome.message
            else:
                tries[key] += 1
                if tries[key] <= recipe.run.max_retries:
                    queue.append(unit)
                elif outcome.blameless:
                    summary.failed[unit.part] = outcome.reason
                elif key in hunts:
                    summary.failed[unit.part] = f"{outcome.reason}, although each of its tracks alone can be heard"
                else:
                    hunts[key] = Hunt(unit, queue.tracks(unit))
                    queue.extendleft(hunts[key].probes())
            summary.wall_seconds = time.monotonic() - began
            if progress:
                progress(summary)
            if told:
                told(summary, unit, outcome)
            if isinstance(outcome, Failed):
                store.present()  # without its store every other shard would fail too
    except KeyboardInterrupt:
        summary.interrupted = True
    except StoreError as error:
        summary.away = str(error)
    finally:
        engine.close()
    try:
        _forget(store, heard, unmade)  # after an interruption too: what was made is not made, and so not struck out, again
    except StoreError as error:
        summary.away = summary.away or str(error)
    summary.wall_seconds = time.monotonic() - began
    return summary


class Sized(deque[Unit]):
    """A queue that looks up a shard's length when it is taken, so that planning opens no file."""

    def __init__(self, store: Store, units: list[Unit]) -> None:
        super().__init__(units)
        self._store = store

    def popleft(self) -> Unit:
        """The next unit, its seconds known."""
        unit = super().popleft()
        return unit if unit.seconds else replace(unit, seconds=sum(self.tracks(unit).values()))

    def tracks(self, unit: Unit) -> dict[str, float]:
        """A unit's tracks and their seconds."""
        table = self._store.read("tracks", ["track_id", "seconds"], [unit.shard])
        rows: list[dict[str, Any]] = table.to_pylist() if table is not None else []
        return {row["track_id"]: row["seconds"] for row in rows if unit.tracks is None or row["track_id"] in unit.tracks}


def _resolve(store: Store, unit: Unit, heard: Heard, before: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Strike out the rejects of tracks that have passed this time."""
    failed = {(row["track_id"], row["stage"]) for row in heard.rejects}
    tried = [row for track_id in unit.tracks or () for row in before.get(track_id, ()) if row["stage"] in ("decode", "augment")]
    _strike(store, [row for row in tried if (row["track_id"], row["stage"]) not in failed])


def _forget(store: Store, shards: set[str], unmade: set[str]) -> None:
    """Strike out views that an earlier recipe could not make, where this one has made all of its own."""
    rows = [row for row in store.open_rejects() if row["stage"] == "augment" and row["track_id"] not in unmade] if shards else []
    if rows:
        table = store.read("tracks", ["track_id"], sorted(shards))
        passed = set(table.column("track_id").to_pylist() if table is not None else ())
        _strike(store, [row for row in rows if row["track_id"] in passed])


def _strike(store: Store, rows: list[dict[str, Any]]) -> None:
    store.reject([{**row, "error": "", "message": "", "remedy": ""} for row in rows])
