"""A release's labels as JAMS: a file for each recording, and for each clip or view that something was said about."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pyarrow.parquet as pq

from annotation.jams import Jams, write_jams
from annotation.labels import Label, from_rows
from extractors.uri import shown
from pipelines.part import StoreError
from pipelines.release.loader import Release

LONGEST = 200  # bytes of a name; file systems take 255, and while a file is written its name is longer

Sound = tuple[str, str, str]  # track_id, clip_id, view_id; "" for the whole


def write(release: Release, out: Path) -> int:
    """Write `SPLIT/NAME.jams`, named as the recording; of two recordings of one name the second has its track_id added.

    Returns:
        labels written.
    Raises:
        StoreError: the release has no labels.
    """
    try:
        labels = from_rows(pq.read_table(release.folder / "labels.parquet"))
    except FileNotFoundError:
        raise StoreError(f"{release.folder}: no labels.parquet; the release holds no labels that JAMS could say") from None
    rows = pq.read_table(release.folder / "tracks.parquet", columns=["track_id", "uri", "seconds", "split"]).to_pylist()
    tracks = {row["track_id"]: row for row in rows}
    said: dict[Sound, list[Label]] = defaultdict(list)
    for label in labels:
        said[label.track_id, label.clip_id or "", label.view_id or ""].append(label)
    seconds = _seconds(release)
    names: dict[tuple[str, str], Sound] = {}
    for sound, about in sorted(said.items()):
        track_id, clip_id, view_id = sound
        if track_id not in tracks:
            raise StoreError(f"{release.folder}: labels of the track {track_id}, which tracks.parquet lacks; make the release again")
        track = tracks[track_id]
        split = str(track["split"])
        if split not in release.splits:
            raise StoreError(f"{release.folder}: the track {track_id} is in the split {split!r}, which the release lacks; make it again")
        name, spare = _name(str(track["uri"]), view_id or clip_id), 0
        while names.setdefault((split, name.casefold()), sound) != sound:
            name = _name(str(track["uri"]), track_id, view_id or clip_id, str(spare) if spare else "")
            spare += 1
        end = max((each.start or 0.0) + (each.duration or 0.0) for each in about)
        length = seconds.get((clip_id, view_id), end) if clip_id or view_id else float(track["seconds"])
        path = out / split / f"{name}.jams"
        path.parent.mkdir(exist_ok=True)
        write_jams(Jams.of(about, length), path)
    return len(labels)


def _seconds(release: Release) -> dict[tuple[str, str], float]:
    """Seconds of each clip and view that has rows, by clip_id and view_id; a clip's own under ""."""
    found: dict[tuple[str, str], float] = {}
    for split in release.splits:
        rows = release.table(split).to_table(["clip_id", "view", "view_id", "seconds"])
        for clip_id, view, view_id, seconds in zip(*(rows.column(name).to_pylist() for name in rows.column_names), strict=True):
            found[clip_id, view_id or ""] = seconds
            if view == 0:
                found[clip_id, ""] = seconds
    return found


def _name(uri: str, *more: str) -> str:
    r"""A file's name without ending: the recording's, made harmless, and whatever tells it from others.

    >>> _name("/music/Für Elise.v2.wav"), _name("file:///a/..%2F..%2Fx\n.wav", "c/1")
    ('Für Elise.v2', 'x\\n-c%2F1')
    """
    stem = PurePosixPath(shown(uri)).stem.lstrip(".").replace("\0", "")
    ending = "".join(f"-{quote(each, safe='')}" for each in more if each)
    kept = os.fsencode(stem)[: LONGEST - len(ending)].decode("utf-8", "ignore")
    return f"{kept or 'track'}{ending}"
