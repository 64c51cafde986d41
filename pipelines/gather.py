"""Labels into a store and out of it: Parquet files, and JAMS files that are named as their recordings."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from annotation.jams import Jams, read_jams, write_jams
from annotation.labels import Label, from_rows, read, table
from extractors.uri import printable
from pipelines.part import StoreError
from pipelines.store import Store

SLACK = 0.05  # seconds: annotators' programs round, and decoders pad


def gather(store: Store, sources: Sequence[str]) -> list[Label]:
    """Read labels.

    Args:
        sources: .parquet files (as `earmark synthesize` writes), .jams files, and folders of both. A .jams file belongs to the track
            whose file has its name.
    Raises:
        ValueError: a source is none of these, or says what cannot be understood; a .jams file fits no track, or several.
    """
    return [label for path in _files(sources) for label in _labels(store, path)]


def add(store: Store, labels: Iterable[Label]) -> int:
    """Keep labels in a store, for good; those that are there already are not kept twice.

    Those that lie beyond the end of their recording are kept too, and named in `rejects`.

    Returns:
        how many are new.
    Raises:
        StoreError: a label speaks of a track that the catalogue lacks; nothing is kept then.
    """
    rows = table(labels)
    tracks = store.read("tracks", ["track_id", "uri", "seconds"])
    known = {row["track_id"]: row for row in tracks.to_pylist()} if tracks is not None else {}
    strangers = sorted(set(rows.column("track_id").to_pylist()) - set(known))
    if strangers:
        raise StoreError(
            f"{store.root}: {len(strangers)} labelled tracks are not in the catalogue, {strangers[0]} for one; scan their recordings first"
        )
    have = store.read("labels", ["label_id"])
    there = set(have.column("label_id").to_pylist()) if have is not None else set()
    rows = rows.filter(pa.array([each not in there for each in rows.column("label_id").to_pylist()], pa.bool_()))
    if rows.num_rows:
        rows = rows.sort_by([("track_id", "ascending"), ("label_id", "ascending")])
        name = hashlib.sha256("\n".join(rows.column("label_id").to_pylist()).encode()).hexdigest()[:16]
        store.publish("labels", name, rows)
        store.reject(list(_outside(rows, known)))
    return int(rows.num_rows)


def _outside(rows: pa.Table, tracks: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A reject for each recording with labels that lie beyond its end: they are kept, and no view will have them."""
    lost: dict[str, list[str]] = defaultdict(list)
    for track_id, kind, value, start in zip(
        *(rows.column(name).to_pylist() for name in ("track_id", "kind", "value", "start")), strict=True
    ):
        if start is not None and start >= tracks[track_id]["seconds"] + SLACK:
            lost[track_id].append(f"{kind} {value!r} at {start:g} s")
    for track_id, said in lost.items():
        track = tracks[track_id]
        more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
        message = f"{printable(track['uri'])}: {said[0]}{more}: beyond the end of the recording, at {track['seconds']:.3f} s"
        remedy = "see whether the labels are of another version of it; correct them by further labels that replace these"
        yield {"uri": track["uri"], "stage": "labels", "track_id": track_id, "error": "outside", "message": message, "remedy": remedy}


def export(store: Store, out: Path) -> int:
    """Write a JAMS file for each labelled track, named as its recording; of two recordings of one name the track_id is added.

    Returns:
        how many.
    """
    said: dict[str, list[Label]] = defaultdict(list)
    rows = store.read("labels")
    for label in from_rows(rows) if rows is not None else ():
        said[label.track_id].append(label)
    out.mkdir(parents=True, exist_ok=True)
    names = _names(store)
    taken: set[str] = set()
    for track_id, labels in sorted(said.items()):
        name, seconds = names[track_id]
        name = name if name not in taken else f"{name}-{track_id}"
        taken.add(name)
        write_jams(Jams.of(labels, seconds), out / f"{name}.jams")
    return len(said)


def _files(sources: Sequence[str]) -> Iterator[Path]:
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(path for path in source.rglob("*") if path.suffix in (".parquet", ".jams") and not path.name.startswith("."))
            if not found:
                raise ValueError(f"{source}: no .parquet and no .jams file in this folder")
            yield from found
        elif source.suffix in (".parquet", ".jams"):
            yield source
        else:
            raise ValueError(f"{source}: neither a folder nor a .parquet or .jams file")


def _labels(store: Store, path: Path) -> list[Label]:
    if path.suffix == ".parquet":
        return read(path)
    fitting = [track_id for track_id, (name, _) in _names(store).items() if name == path.stem]
    if len(fitting) != 1:
        what = "no track has its name" if not fitting else f"{len(fitting)} tracks have its name"
        raise ValueError(f"{path}: {what}; a JAMS file is named as its recording, {path.stem}.flac for one")
    return read_jams(path, fitting[0]).labels


def _names(store: Store) -> dict[str, tuple[str, float]]:
    """Each track's file name without its suffix, and its seconds."""
    tracks = store.read("tracks", ["track_id", "uri", "seconds"])
    rows = tracks.to_pylist() if tracks is not None else []
    return {row["track_id"]: (PurePosixPath(printable(row["uri"])).stem, row["seconds"]) for row in rows}
