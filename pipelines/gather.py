"""Labels into a store and out of it: Parquet files, tables that people wrote, and JAMS files that are named as their recordings."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from annotation.labels import Label, from_rows, read, table
from annotation.revisions import standing
from pipelines.part import StoreError
from pipelines.store import Store

KINDS = (".parquet", ".jams", ".csv")  # a folder's CSV files may be tables of anything: these are named one by one
SLACK = 0.05  # seconds: annotators' programs round, and decoders pad


def gather(store: Store, sources: Sequence[str]) -> list[Label]:
    """Read labels.

    Args:
        sources: .parquet files (as `earmark synthesize` writes), .csv files (see `read_sheet`), .jams files, and folders of .parquet and
            .jams files. A .jams file belongs to the track whose file has its name; one that `export` wrote under another name says
            itself to which.
    Raises:
        ValueError: a source is none of these, or says what cannot be understood; what it names fits no track, or several.
    """
    names = {track_id: name for track_id, (name, _) in _names(store).items()}
    by_name: dict[str, list[str]] = defaultdict(list)
    for track_id, name in names.items():
        by_name[name].append(track_id)
    for track_id in names:
        by_name[track_id].append(track_id)
    return [label for path in _files(sources) for label in _read(path, by_name, names)]


def add(store: Store, labels: Iterable[Label]) -> int:
    """Keep labels in a store, for good; those that are there already are not kept twice.

    Those that lie beyond the end of their recording are kept too, and named in `rejects`.

    Returns:
        how many are new.
    Raises:
        StoreError: a label speaks of a track that the catalogue lacks, and nothing is kept then; or another process adds labels.
    """
    rows = table(labels)
    if not rows.num_rows:
        return 0
    of = pc.unique(rows.column("track_id"))
    tracks = store.read("tracks", ["track_id", "uri", "seconds"])
    found = tracks.filter(pc.is_in(tracks.column("track_id"), of)).to_pylist() if tracks is not None else []
    known = {row["track_id"]: row for row in found}
    strangers = sorted(set(of.to_pylist()) - set(known))
    if strangers:
        raise StoreError(
            f"{store.root}: {len(strangers)} labelled tracks are not in the catalogue, {strangers[0]} for one; scan their recordings first"
        )
    with store.lock("labels-add") as kept:  # two at once would each find the same label missing
        have = store.read("labels", ["label_id"])
        if have is not None:
            rows = rows.filter(pc.invert(pc.is_in(rows.column("label_id"), have.column("label_id"))))
        if rows.num_rows:
            rows = rows.sort_by([("track_id", "ascending"), ("label_id", "ascending")])
            name = hashlib.sha256("\n".join(rows.column("label_id").to_pylist()).encode()).hexdigest()[:16]
            kept()
            store.reject(list(_outside(store, rows, known)))  # first: a label that is there is not looked at again
            store.publish("labels", name, rows)
    return int(rows.num_rows)


def waiting(store: Store, labels: Iterable[Label]) -> int:
    """How many labels speak of clips or views that no run on this store has made: they are kept, and have no effect."""
    from pipelines.relabel import places

    placed = [label for label in labels if label.clip_id]
    known = places(store, table(placed)) if placed else {}
    return sum((label.clip_id, label.view_id) not in known for label in placed)


def _outside(store: Store, new: pa.Table, tracks: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A reject for each recording with labels that lie beyond its end: they are kept, and no view will have them.

    All that stands of the recordings of new labels is looked at, as these may correct what was there; an empty one says that they did.
    """
    columns = ["label_id", "track_id", "clip_id", "kind", "value", "start", "replaces"]
    said, of = new.select(columns), pc.unique(new.column("track_id"))
    named = [row for row in store.open_rejects() if row["stage"] == "labels" and row["track_id"] in set(of.to_pylist())]
    if not new.column("clip_id").null_count and not named:
        return  # of clips alone, and there was nothing to mend
    from extractors.uri import printable

    if store.names("labels"):
        said = pa.concat_tables([store.table("labels").to_table(columns, filter=pc.field("track_id").isin(of)), said])
    lost: dict[str, list[str]] = defaultdict(list)
    # In a view, which may be slower than its recording, more seconds may be right.
    said = standing(said).filter(pc.field("start").is_valid() & pc.field("clip_id").is_null()).sort_by("start")
    for track_id, kind, value, start in zip(
        *(said.column(name).to_pylist() for name in ("track_id", "kind", "value", "start")), strict=True
    ):
        if start >= tracks[track_id]["seconds"] + SLACK:
            lost[track_id].append(f"{kind} {value[:60]!r} at {start:g} s")
    for track_id, each in lost.items():
        track = tracks[track_id]
        more = f" (and {len(each) - 1} more)" if len(each) > 1 else ""
        message = f"{printable(track['uri'])}: {each[0]}{more}: beyond the end of the recording, at {track['seconds']:.3f} s"
        remedy = "see whether the labels are of another version of it; correct them by further labels that replace these"
        yield {"uri": track["uri"], "stage": "labels", "track_id": track_id, "error": "outside", "message": message, "remedy": remedy}
    mended = set(of.to_pylist()) - set(lost)
    for row in named:
        if row["track_id"] in mended:
            yield {**row, "error": "", "message": "", "remedy": ""}


def export(store: Store, out: Path) -> int:
    """Write a JAMS file for each labelled track, named as its recording; of two recordings of one name the track_id is added.

    What was said of a clip or of a view is about another sound: it has a file of its own, with the id of that in its name.

    Returns:
        how many.
    Raises:
        StoreError: there are no labels.
    """
    from annotation.jams import Jams, write_jams
    from pipelines.relabel import places

    rows = store.read("labels")
    if rows is None:
        raise StoreError(f"{store.root}: no labels yet; 'earmark labels add' brings them")
    said: dict[tuple[str, str, str], list[Label]] = defaultdict(list)
    for label in dict.fromkeys(from_rows(rows)):
        said[label.track_id, label.clip_id or "", label.view_id or ""].append(label)
    out.mkdir(parents=True, exist_ok=True)
    names, known = _names(store), places(store, rows)
    taken: dict[str, str] = {}
    for (track_id, clip_id, view_id), labels in sorted(said.items()):
        name, seconds = names[track_id]
        if taken.setdefault(name, track_id) != track_id:
            name = f"{name}-{track_id}"
        if clip_id or view_id:
            name = f"{name}-{quote(view_id or clip_id, safe='')}"
            place = known.get((clip_id, view_id or None))
            seconds = place.seconds if place else max((each.start or 0.0) + (each.duration or 0.0) for each in labels)
        write_jams(Jams.of(labels, seconds), out / f"{name}.jams")
    return len(said)


def _files(sources: Sequence[str]) -> Iterator[Path]:
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(path for path in source.rglob("*") if path.suffix in KINDS[:2] and not path.name.startswith("."))
            if not found:
                raise ValueError(f"{source}: no .parquet and no .jams file in this folder")
            yield from found
        elif source.suffix in KINDS:
            yield source
        else:
            raise ValueError(f"{source}: neither a folder nor a .parquet, .jams or .csv file")


def _read(path: Path, by_name: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> list[Label]:
    if path.suffix == ".csv":
        from pipelines.sheet import read_sheet

        return read_sheet(path, by_name)
    return read(path) if path.suffix == ".parquet" else _jams(path, by_name, names)


def _jams(path: Path, by_name: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> list[Label]:
    from annotation.jams import read_jams
    from extractors.uri import printable

    fitting = by_name.get(printable(path.stem), [])
    if len(fitting) == 1:
        return read_jams(path, fitting[0]).labels
    jams = read_jams(path, "")
    about = jams.about.get("file_metadata") or {}
    identifiers = about.get("identifiers")
    own = identifiers.get("earmark") if isinstance(identifiers, dict) else None
    if isinstance(own, str) and own in names:
        return [replace(label, track_id=own) for label in jams.labels]
    what = "no track has its name" if not fitting else f"{len(fitting)} tracks have its name"
    raise ValueError(f"{printable(str(path))}: {what}; a JAMS file is named as its recording, {printable(path.stem)}.flac for one")


def _names(store: Store) -> dict[str, tuple[str, float]]:
    """Each track's file name without its suffix, and its seconds."""
    tracks = store.read("tracks", ["track_id", "uri", "seconds"])
    rows = tracks.to_pylist() if tracks is not None else []
    return {row["track_id"]: (_stem(row["uri"]), row["seconds"]) for row in rows}


def _stem(uri: str) -> str:
    r"""A file's name for people, without its suffix.

    >>> _stem("/music/Für Elise.v2.wav"), _stem("file:///music/caf%E9.wav"), _stem("s3://bucket/a/song.mp3")
    ('Für Elise.v2', 'caf\\xe9', 'song')
    """
    from extractors.uri import shown

    return PurePosixPath(shown(uri)).stem
