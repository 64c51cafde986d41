"""A campaign over a store: which clips people are asked about, how they hear them, and where what they say is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from annotation.campaign import Campaign
from annotation.mirror import Mark, Mirror
from annotation.task import Task, digest, ext_id
from pipelines.clips.links import Keys, sign
from pipelines.part import StoreError, publish
from pipelines.places import load_toml
from pipelines.store import Store

if TYPE_CHECKING:
    from annotation.sync import Wanted
    from pipelines.clips.files import Broken, Excerpt

# What cuts clips and makes screens is imported where it is needed: a pull, which comes often, needs none of it.


@dataclass(frozen=True)
class Desk:
    """Everything of one campaign in one place: STORE/campaigns/<name>.

    campaign: as its file says. file: where that lies.
    """

    campaign: Campaign
    file: Path
    store: Store

    @property
    def folder(self) -> Path:
        """Where its state is kept."""
        return Path(self.store.folder("campaigns", self.campaign.name))

    @property
    def mirror(self) -> Mirror:
        """What was pulled."""
        return Mirror(self.folder)

    @property
    def keys(self) -> Keys:
        """The secrets of the store's clip server: one file for all of its campaigns."""
        return Keys(Path(self.store.folder("campaigns")) / "keys")

    def known(self) -> list[Task]:
        """Every clip that was ever asked about, in the order of their names."""
        try:
            return [Task(**row) for row in json.loads((self.folder / "tasks.json").read_text())]
        except FileNotFoundError:
            return []

    def remember(self, tasks: Sequence[Task]) -> None:
        """Keep what tasks stand for: answers to a clip that has left the campaign still find their recording."""
        rows = {task.ext_id: asdict(task) for task in (*self.known(), *tasks)}
        self._keep("tasks.json", json.dumps([rows[name] for name in sorted(rows)]))

    def project(self) -> str:
        """The project (its key) that the last apply worked on, "" if there was none."""
        return self._project()[0]

    def title(self) -> str:
        """What an apply last called the project, "" if that is not known."""
        return self._project()[1]

    def _project(self) -> tuple[str, str]:
        try:
            key, _, title = (self.folder / "project").read_text().strip().partition("\n")
        except FileNotFoundError:
            return "", ""
        return key, title

    def remember_project(self, key: str, title: str = "") -> None:
        """Keep it: a project that is gone is told from one that was never made, and a title that somebody gave it from ours.

        Args:
            title: what it is called now.
        """
        self._keep("project", f"{key}\n{title if title == self.campaign.title else self.title()}")

    def softer(self) -> dict[str, float]:
        """By how many dB clips of the store, by clip_id or view_id, are softer than their recordings, as they would clip."""
        try:
            return dict(json.loads((self.folder.parent / "softer.json").read_text()))
        except FileNotFoundError:
            return {}

    def remember_softer(self, clips: Mapping[str, float]) -> None:
        """Keep it: only who cuts a clip knows."""
        text = json.dumps({**self.softer(), **clips}, sort_keys=True)
        publish(self.store.filesystem, str(self.folder.parent / "softer.json"), text.encode())

    def labelled(self, basis: str) -> Mark:
        """Up to where the mirror's answers are in the store's labels; an empty mark if that is not known.

        Args:
            basis: `annotation.statements.basis` of now; where it was another one, old answers may mean something else.
        """
        try:
            known = json.loads((self.folder / "labelled.json").read_text())
            return Mark(str(known["part"]), int(known["rows"])) if known["basis"] == basis else Mark()
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return Mark()

    def remember_labelled(self, mark: Mark, basis: str) -> None:
        """Keep it, once the labels are in the store."""
        self._keep("labelled.json", json.dumps({**asdict(mark), "basis": basis}))

    def more(self) -> dict[str, int]:
        """By ext_id, how many people are to hear a clip whose answers `earmark queue` found in dispute."""
        try:
            found: dict[str, int] = json.loads((self.folder / "more.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def remember_more(self, more: Mapping[str, int]) -> None:
        """Keep it, so that plans know of it."""
        self._keep("more.json", json.dumps(dict(sorted(more.items()))))

    def _keep(self, name: str, text: str) -> None:
        publish(self.store.filesystem, str(self.folder / name), text.encode())


def open_desk(file: str | Path, store: Store) -> Desk:
    """Read a campaign's file.

    Raises:
        FileError: it cannot be understood: one line for each mistake.
        StoreError: the store is not on a local disk.
    """
    campaign = load_toml(file, Campaign, hint="name a campaign, as in 'earmark campaign plan campaign.toml --store STORE'")
    if not store.local:
        raise StoreError(f"{store.root}: campaigns keep what people said on a local disk, as buckets know no locks; name a local store")
    return Desk(campaign, Path(file), store)


def wanted(desk: Desk, recreate: bool = False, progress: Callable[[int, int], None] = lambda done, of: None) -> tuple[Wanted, list[Broken]]:
    """All that is to be on the server; clips are cut on the way.

    Returns:
        it, and the clips that could not be cut.
    """
    from annotation.interface import interface
    from annotation.preannotation import prediction
    from annotation.sync import Wanted
    from pipelines.campaigns.preannotate import author, preannotations

    found, broken = tasks(desk, progress)
    gold = _gold(desk, found)
    remarks = _remarks(desk, found, broken, gold)
    by = author(desk.store, desk.campaign)
    said = preannotations(desk.store, desk.campaign, found)
    predictions = {name: prediction(labels, desk.campaign, by) for name, labels in said.items()}
    screen = interface(desk.campaign)
    more = desk.more()
    return (
        Wanted(desk.campaign, screen, found, predictions, gold, desk.project(), recreate, title=desk.title(), remarks=remarks, more=more),
        broken,
    )


def _remarks(desk: Desk, found: Sequence[Task], broken: Sequence[Broken], gold: Sequence[str]) -> list[str]:
    """What a lead should know of the clips."""
    said = []
    if broken:
        said.append(f"{len(broken)} clips are left out, as they could not be cut (clip {broken[0].excerpt.name} for one)")
    known = desk.softer()
    softer = {task.ext_id: db for task in found if (db := known.get(task.view_id or task.clip_id))}
    if softer:
        most = max(softer, key=lambda name: softer[name])
        said.append(f"{len(softer)} clips are softer than their recordings, which would clip ({most} most, by {softer[most]:.1f} dB)")
    if desk.campaign.gold and not gold:
        said.append(f"no clip has known answers: {desk.campaign.gold.file} says nothing about any of the campaign's clips")
    return said


def _gold(desk: Desk, found: Sequence[Task]) -> list[str]:
    """The clips with known answers that everybody hears: as many as the campaign's share of the clips."""
    from pipelines.gather import gather

    if desk.campaign.gold is None:
        return []
    spans: dict[str, list[tuple[float, float]]] = {}
    for label in gather(desk.store, [str(desk.file.parent / desk.campaign.gold.file)]):
        start = 0.0 if label.start is None else label.start
        spans.setdefault(label.track_id, []).append((start, math.inf if label.start is None else start + (label.duration or 0.0)))
    known = [
        task.ext_id
        for task in found
        if any(begin < task.start + task.seconds and end >= task.start for begin, end in spans.get(task.track_id, ()))
    ]
    return sorted(known, key=digest)[: math.ceil(desk.campaign.gold.share * len(found))]


def excerpts(desk: Desk) -> list[Excerpt]:
    """The clips that the campaign asks about, in its order.

    Raises:
        StoreError: the catalogue is empty or lacks a column, no clip fits, or there are no views of such clips.
    """
    from extractors.clip import Window, clip_id
    from pipelines.clips.files import Excerpt
    from pipelines.estimate import clips_of

    clips, store = desk.campaign.clips, desk.store
    tracks = _tracks(desk)
    window = Window(seconds=clips.seconds, hop=clips.hop)
    counts = clips_of(tracks.column("seconds").to_numpy(), window)
    found = []
    for track, count in zip(tracks.to_pylist(), counts, strict=True):
        for number in range(int(count)):
            start = number * (clips.hop or clips.seconds)
            seconds = min(clips.seconds, track["seconds"] - start)
            found.append(Excerpt(clip_id(track["track_id"], start, clips.seconds), track, start, seconds))
    if clips.views:
        found += _views(store, {excerpt.clip_id: excerpt for excerpt in found}, clips.seconds)
    if clips.ids:
        found = _listed(desk, found)
    if clips.order == "random":
        found.sort(key=lambda each: hashlib.sha256(f"{clips.seed} {each.name}".encode()).digest())
    if not found:
        raise StoreError(f"{store.root}: no clip fits the campaign; look at clips.where in {desk.file.name}")
    return found[: clips.limit or None]


def _listed(desk: Desk, found: Sequence[Excerpt]) -> list[Excerpt]:
    """Those that the file clips.ids lists."""
    from annotation.votes import key

    file = desk.file.parent / desk.campaign.clips.ids
    try:
        listed = dict.fromkeys(filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}); it lists clips, one a line") from None
    there = {key(each.clip_id, each.view_id): each for each in found}
    if missing := [name for name in listed if name not in there]:
        raise StoreError(
            f"{file}: {len(missing)} of {len(listed)} clips are none of this campaign's, {missing[0][:60]!r} for one; "
            f"they have its clips.seconds, hop, where and views"
        )
    return [each for name, each in there.items() if name in listed]


def _tracks(desk: Desk) -> pa.Table:
    store, where = desk.store, desk.campaign.clips.where
    tracks = store.read("tracks")
    if tracks is None:
        raise StoreError(f"{store.root}: no tracks yet; 'earmark scan FOLDER --store {store.root}' finds them")
    for index, condition in enumerate(where):
        if condition.column not in tracks.column_names:
            columns = ", ".join(tracks.column_names)
            raise StoreError(
                f"{desk.file.name}: clips.where[{index}]: no column {condition.column!r} in the catalogue; there are {columns}"
            )
    if where:
        try:
            tracks = tracks.filter(pq.filters_to_expression([(each.column, each.op, each.value) for each in where]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise StoreError(f"{desk.file.name}: clips.where: {str(error).splitlines()[0]}") from error
    return tracks.sort_by([("uri", "ascending"), ("track_id", "ascending")])


def _views(store: Store, clips: dict[str, Excerpt], seconds: float) -> Iterator[Excerpt]:
    """The augmented views of these clips, from the latest run that made any."""
    from pipelines.clips.files import Excerpt

    made = False
    for path in store.table("views").parts if "views" in store.tables() else []:
        window = json.loads(pq.read_schema(path, filesystem=store.filesystem).metadata[b"earmark"])["window"]["seconds"]
        rows = pq.read_table(path, filters=[("clip_id", "in", list(clips)), ("view", ">", 0)], filesystem=store.filesystem).to_pylist()
        for row in rows if window == seconds else []:
            clip, made = clips[row["clip_id"]], True
            yield Excerpt(clip.clip_id, clip.track, clip.start, clip.seconds, row["view_id"], row["lineage"], seconds)
    if not made:
        raise StoreError(
            f"{store.root}: clips.views: no augmented views of clips of {seconds:g} s; run a recipe with such a window and views"
        )


def tasks(
    desk: Desk, progress: Callable[[int, int], None] = lambda done, of: None, now: datetime | None = None
) -> tuple[list[Task], list[Broken]]:
    """Cut the clips that are not cut yet, and say what each task is.

    Returns:
        the tasks in the campaign's order, and the clips that could not be cut.
    """
    from pipelines.clips.files import cut

    wanted, audio, keys = excerpts(desk), desk.campaign.audio, desk.keys
    cuts = cut(desk.store, wanted, audio.format, audio.bitrate, progress)
    if cuts.turned_down:
        desk.remember_softer(cuts.turned_down)
    expires = _expiry(now or datetime.now(UTC), audio.expires_hours)
    found = []
    for excerpt in wanted:
        if (file := cuts.files.get(excerpt.name)) is None:
            continue
        track = excerpt.track
        found.append(
            Task(
                # Of the recording, not of the file that was cut: another format is no other question.
                ext_id=ext_id(excerpt.clip_id, track["sha256"], excerpt.view_id),
                track_id=track["track_id"],
                clip_id=excerpt.clip_id,
                start=excerpt.start,
                seconds=excerpt.sound,
                audio=sign(audio.base_url, file, expires, keys),
                title=" · ".join(filter(None, (track.get("title") or _name(track["uri"]), track.get("artist")))),
                view_id=excerpt.view_id,
            )
        )
    desk.remember(found)
    return found, cuts.broken


def _name(uri: str) -> str:
    from extractors.uri import printable

    return printable(uri).rpartition("/")[2]


def _expiry(now: datetime, hours: float) -> datetime:
    """When links end: the same for all that are made in one stretch of `hours`, so that plans do not see new links each time.

    >>> _expiry(datetime(2026, 1, 1, 5, tzinfo=UTC), 24).isoformat()
    '2026-01-03T00:00:00+00:00'
    """
    period = hours * 3600
    return datetime.fromtimestamp((math.floor(now.timestamp() / period) + 2) * period, UTC)
