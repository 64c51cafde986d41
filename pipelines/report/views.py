"""One clip and its views, to be seen and heard side by side: which clip that is, its sounds made again, its labels moved."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from augment.chain import Lineage
from pipelines.cells import TableError
from pipelines.report.pictures import Stretch, along, level, png
from pipelines.report.tables import footer, log_mel, of_shards, stretches
from pipelines.rows import VIEWS
from pipelines.table import Table

if TYPE_CHECKING:
    from pipelines.store import Store

COLUMNS = 960
# Of longer clips the beginning is shown: the page holds the sound of every view.
LONGEST_SECONDS = 120.0
# Enough to hear what was done, and every browser plays it.
SAMPLE_RATE = 22_050


@dataclass(frozen=True)
class Said:
    """A label as it holds in a view: start and duration in seconds of it, None for the whole; guest: of a track that was mixed in."""

    kind: str
    value: str
    start: float | None
    duration: float | None
    guest: bool = False


@dataclass
class HeardView:
    """A view. lineage: None where it cannot be read; sound: mp3, empty where `note` says why; mel: PNG, empty where there is none."""

    view: int
    lineage: Lineage | None
    sound: bytes = b""
    note: str = ""
    mel: bytes = b""
    said: list[Said] = field(default_factory=list)


@dataclass
class HeardClip:
    """A clip. track: its row in the catalogue; start, end: where it lies there, s; seconds: of every view that are shown, at most.

    softer_db: by how much all of its sounds were turned down so that none clips.
    unlabelled: why no view has labels; empty where some has.
    """

    track: Mapping[str, Any]
    start: float
    end: float
    seconds: float
    views: list[HeardView]
    softer_db: float = 0.0
    unlabelled: str = ""


def shown_clip(store: Store, near: Mapping[str, Table], shards: Sequence[str]) -> HeardClip | None:
    """The clip whose views tell most, made ready to look at and to listen to; None where there are no views.

    Args:
        near: the tables of features, and `views`, as far as they are of `shards`.
    """
    views = near.get("views")
    if views is None or not set(VIEWS.names) <= set(views.column_names) or not footer(views).get("views"):
        return None
    made_by = footer(views)
    moved = _moved_labels(store, made_by["variant"], shards)
    labelled = set(pc.unique(moved.to_table(["clip_id"]).column("clip_id")).to_pylist()) if moved else set()
    rows = _most_telling(views.to_table().to_pylist(), labelled)
    if not rows:
        return None
    seconds = min(LONGEST_SECONDS, max(row["seconds"] for row in rows)) or 1.0
    track = store.table("tracks").to_table(filter=[("track_id", "=", rows[0]["track_id"])]).to_pylist()[0]
    start, shown = rows[0]["start"], [HeardView(row["view"], _lineage(row["lineage"])) for row in rows]
    clip = HeardClip(track, start, start + rows[0]["seconds"], seconds, shown)
    window = made_by["window"]["seconds"]
    _play(clip, rows, None if window == "track" else window)
    # Of the same views, that is: another recipe's view 2 is another sound.
    same = {name: table for name, table in near.items() if all(footer(table).get(key) == made_by[key] for key in ("window", "views"))}
    if mel := log_mel(same):
        _picture(clip, mel, rows[0]["clip_id"])
    if moved:
        _say(clip, moved, store, rows[0]["clip_id"])
    if not any(view.said for view in clip.views):
        clip.unlabelled = "unsaid" if labelled else "unmoved" if store.names("labels") else "none"
    return clip


def _most_telling(rows: Sequence[dict[str, Any]], labelled: set[str]) -> list[dict[str, Any]]:
    """The views of one clip: one with labels if there is any, then the one with most kinds of augmentation, then with most draws."""
    clips: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        clips[row["clip_id"]].append(row)

    def worth(views: list[dict[str, Any]]) -> tuple[bool, int, int]:
        lineages = [_lineage(row["lineage"]) for row in views]
        used = [step.get("use") for lineage in lineages if lineage for step in lineage.steps]
        return views[0]["clip_id"] in labelled, len(set(used)), len(used)

    best = max((views for views in clips.values() if len(views) > 1), key=worth, default=[])
    return sorted(best, key=lambda row: row["view"])


def _lineage(said: str) -> Lineage | None:
    try:
        return Lineage.parse(said)
    except ValueError:
        return None


def _play(clip: HeardClip, rows: Sequence[Mapping[str, Any]], window: float | None) -> None:
    """Make every view's sound again, as loud beside the others as it is."""
    from extractors.encode import write

    sounds = [_sound(clip, view, row, window) for view, row in zip(clip.views, rows, strict=True)]
    loudest = max([1.0, *(float(np.abs(sound).max()) for sound in sounds if len(sound))])
    clip.softer_db = 20 * math.log10(loudest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "view.mp3")
        for view, sound in zip(clip.views, sounds, strict=True):
            if len(sound):
                write(path, sound / np.float32(loudest), SAMPLE_RATE)
                view.sound = path.read_bytes()


def _sound(clip: HeardClip, view: HeardView, row: Mapping[str, Any], window: float | None) -> NDArray[np.float32]:
    from extractors.audio import resample
    from pipelines.views import heard_again

    seconds = min(row["seconds"], clip.seconds)  # extractors hear no more of a view that is longer than the window
    try:
        if view.lineage is None:
            raise ValueError("how it was made cannot be read")
        sound = heard_again(clip.track, clip.start, view.lineage, window)
        cut = sound.samples[: round(seconds * sound.sample_rate)]
        return resample(cut, sound.sample_rate, SAMPLE_RATE)[: round(seconds * SAMPLE_RATE)]
    except (OSError, ValueError, LookupError, TypeError) as error:  # the last two: a draw of an earlier version lacks something
        view.note = f"no sound: {error}"
        return np.zeros(0, np.float32)


def _picture(clip: HeardClip, mel: tuple[Table, str], clip_id: str) -> None:
    """The log-mel spectrograms, on one scale: louder is brighter, from view to view too."""
    pictures: dict[int, NDArray[np.float32]] = {}
    for view, (_, seconds, values) in stretches(mel, [("clip_id", "=", clip_id)]):
        shown = values[: max(1, math.ceil(len(values) * clip.seconds / seconds))]
        pictures[view] = along([Stretch(0.0, min(seconds, clip.seconds), shown)], clip.seconds, COLUMNS)
    loudest = max((float(np.nanmax(picture)) for picture in pictures.values()), default=0.0)
    for heard in clip.views:
        if heard.view in pictures:
            heard.mel = png(level(pictures[heard.view], loudest))


def _moved_labels(store: Store, variant: str, shards: Sequence[str]) -> Table | None:
    """The labels of a recipe's views, those of the latest run first; None where none were moved."""
    latest = store.current().get("view_labels", "")
    for each in sorted(store.tables().get("view_labels", []), key=lambda name: name != latest):
        try:
            table = store.table("view_labels", each)
        except TableError:
            continue
        if footer(table).get("views") == variant and (near := of_shards(table, shards)).parts:
            return near
    return None


def _say(clip: HeardClip, moved: Table, store: Store, clip_id: str) -> None:
    """Give each view its labels."""
    own = store.table("labels").to_table(["label_id"], filter=[("track_id", "=", clip.track["track_id"])])
    own_ids = set(own.column("label_id").to_pylist())
    columns = ["view", "kind", "value", "start", "duration", "source"]
    said: dict[int, list[Said]] = defaultdict(list)
    for row in moved.to_table(columns, filter=[("clip_id", "=", clip_id)]).sort_by("start").to_pylist():
        said[row["view"]].append(Said(row["kind"], row["value"], row["start"], row["duration"], row["source"] not in own_ids))
    for view in clip.views:
        view.said = said[view.view]
