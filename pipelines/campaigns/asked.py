"""What a campaign asks about: its clips, cut and linked, with pre-annotations and known answers, as all of it is to be on the server."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotation import foreign
from annotation.labels import Label, overlaps
from annotation.revisions import current
from annotation.task import Task, digest, ext_id
from annotation.votes import key
from pipelines.campaigns.desk import Desk
from pipelines.clips.links import LONGEST, as_good, presigned, sign
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.votes.truths import answers

if TYPE_CHECKING:
    from annotation.sync import Wanted
    from pipelines.clips.files import Broken, Excerpt


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
    told = Wanted(
        *(desk.campaign, screen, found, predictions, gold, desk.project(), recreate),
        same_audio=as_good,
        title=desk.title(),
        remarks=remarks,
        more=desk.more(),
    )
    return told, broken


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
    if found and "X-Amz-Security-Token=" in found[0].audio:
        said.append("links end with the session that signs them, in hours rather than days: apply with a key that lasts")
    return said


def _gold(desk: Desk, found: Sequence[Task]) -> list[str]:
    """The clips with known answers that everybody hears: as many as the campaign's share of the clips."""
    from pipelines.gather import gather

    if desk.campaign.gold is None:
        return []
    of_track: dict[str, list[Label]] = {}
    for label in current(gather(desk.store, [str(desk.file.parent / desk.campaign.gold.file)])):
        if any(answers(label, question) for question in desk.campaign.questions):
            of_track.setdefault(label.track_id, []).append(label)
    known = [task.ext_id for task in found if any(_speaks_of(label, task) for label in of_track.get(task.track_id, ()))]
    return sorted(known, key=digest)[: math.ceil(desk.campaign.gold.share * len(found))]


def _speaks_of(label: Label, task: Task) -> bool:
    if label.clip_id:
        return (label.clip_id, label.view_id) == (task.clip_id, task.view_id)
    # A view sounds different from what is said of the recording.
    return task.view_id is None and (label.start is None or overlaps(label.start, label.duration, task.start, task.seconds))


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
    file = desk.file.parent / desk.campaign.clips.ids
    try:
        listed = dict.fromkeys(filter(None, map(str.strip, foreign.text(file).splitlines())))
    except (OSError, ValueError) as error:
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

    wanted, audio, link = excerpts(desk), desk.campaign.audio, _links(desk, now or datetime.now(UTC))
    cuts = cut(desk.store, wanted, audio.format, audio.bitrate, progress)
    if cuts.turned_down:
        desk.remember_softer(cuts.turned_down)
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
                audio=link(file),
                title=_title(track) if desk.campaign.clips.named else f"clip {excerpt.name[:8]}",
                view_id=excerpt.view_id,
            )
        )
    desk.remember(found)
    return found, cuts.broken


def _links(desk: Desk, now: datetime) -> Callable[[str], str]:
    """From a clip's file to where browsers fetch it: of our clip server, or signed by the bucket in which the store lies."""
    audio, store = desk.campaign.audio, desk.store
    if store.local:
        expires, keys = _expiry(now, audio.expires_hours), desk.keys
        return lambda file: sign(audio.base_url, file, expires, keys)
    folder = f"{store.root.partition('://')[0]}://{store.folder('clips', audio.format)}"
    said = audio.model_fields_set  # what the file leaves out is meant for our clip server
    seconds = round(audio.expires_hours * 3600) if "expires_hours" in said else LONGEST
    endpoint = audio.base_url if "base_url" in said else ""
    return lambda file: presigned(f"{folder}/{file}", seconds, endpoint)


def _title(track: Mapping[str, Any]) -> str:
    """What people read above a clip."""
    from extractors.uri import printable

    name = track.get("title") or printable(track["uri"]).rpartition("/")[2]
    return " · ".join(filter(None, (name, track.get("artist"))))


def _expiry(now: datetime, hours: float) -> datetime:
    """When links end: the same for all that are made in one stretch of `hours`, so that plans do not see new links each time.

    >>> _expiry(datetime(2026, 1, 1, 5, tzinfo=UTC), 24).isoformat()
    '2026-01-03T00:00:00+00:00'
    """
    period = hours * 3600
    return datetime.fromtimestamp((math.floor(now.timestamp() / period) + 2) * period, UTC)
