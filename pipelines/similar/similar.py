"""Recordings that sound like another, by the embeddings of their clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.embeddings import Embeddings
from pipelines.part import StoreError

if TYPE_CHECKING:
    from pipelines.store import Store

# So many candidates are named where a name fits several recordings.
NAMED = 5


@dataclass(frozen=True)
class Near:
    """A recording near another. cosine: of their mean vectors.

    here, there: seconds at which the two clips begin, of the asked recording and of this one, that are nearest to each other.
    clip_cosine: of these two clips.
    """

    track_id: str
    uri: str
    cosine: float
    here: float
    there: float
    clip_cosine: float


def resolve(store: Store, name: str) -> tuple[str, str]:
    """The one recording that a name means: its track_id, the beginning of it, its URI, or its file's name.

    Returns:
        track_id and uri.
    Raises:
        StoreError: it means none, or several; the message names some.
    """
    rows = store.read("tracks", ["track_id", "uri"])
    if rows is None:
        raise StoreError(f"{store.root}: no tracks yet; 'earmark scan FOLDER --store {store.root}' finds them")
    uris = dict(zip(rows["track_id"].to_pylist(), rows["uri"].to_pylist(), strict=True))
    places = [*uris.items()]
    if (aliases := store.read("aliases", ["track_id", "uri"])) is not None:
        places += zip(aliases["track_id"].to_pylist(), aliases["uri"].to_pylist(), strict=True)
    if name in uris:
        return name, uris[name]
    # The strictest reading that means anything holds: a file may be called like the beginning of an id.
    files = [(track, uri, uri.rpartition("/")[2]) for track, uri in places]
    readings = (
        {track for track, uri, _ in files if uri == name},
        {track for track, _, file in files if file == name},
        {track for track in uris if track.startswith(name)},
        {track for track, _, file in files if file.rpartition(".")[0] == name},
    )
    for means in readings if name else ():
        if found := sorted(means):
            if len(found) == 1:
                return found[0], uris[found[0]]
            some = ", ".join(f"{track} ({uris[track]!r})" for track in found[:NAMED])
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            raise StoreError(f"{name!r} is {len(found)} recordings: {some}{more}; say which by its track_id")
    raise StoreError(f"{store.root}: no recording is called {name!r}; give a track_id, the beginning of one, or a file's name")


def similar(store: Store, track_id: str, table: str, column: str, count: int = 10) -> list[Near]:
    """The recordings nearest to one, the nearest first; itself left out.

    Recordings are compared as a whole: a recording's vector is the mean of its clips' vectors, each of length 1, so that one
    loud or one odd clip does not decide. Which moments are most alike is looked for afterwards, clip by clip.

    Args:
        table, column: an embedding, as in `musicnn`, `penultimate_mean`. count: at most so many, at least 1.
    Raises:
        StoreError: there is no such table or column, or the recording has no vector in it.
        ValueError: count is below 1.
    """
    from pipelines.embeddings import embeddings
    from pipelines.neighbours import finite, nearest, unit

    if count < 1:
        raise ValueError(f"count needs to be at least 1, got {count}")
    found = embeddings(store, table, column)
    tracks, vectors = pooled(found)
    if track_id not in tracks:
        why = "its vector is zero or not a number" if track_id in found.tracks else f"the run that made {table!r} left it out"
        raise StoreError(f"{store.root}: {track_id} has nothing in {table}.{column}: {why}; see 'earmark rejects --store {store.root}'")
    cosines, rows = nearest(vectors, vectors[tracks.index(track_id)][None], count + 1)
    names = np.array(found.tracks)
    mine = np.flatnonzero(names == track_id)
    tracks_table = store.read("tracks", ["track_id", "uri"])
    uris = dict(zip(*(tracks_table[name].to_pylist() for name in ("track_id", "uri")), strict=True)) if tracks_table is not None else {}
    near = []
    for cosine, row in zip(cosines[0], rows[0], strict=True):
        if row < 0 or tracks[row] == track_id:
            continue
        theirs = np.flatnonzero(names == tracks[row])
        clips = unit(finite(found.vectors[mine])) @ unit(finite(found.vectors[theirs])).T
        here, there = np.unravel_index(int(clips.argmax()), clips.shape)
        times = float(found.start[mine[here]]), float(found.start[theirs[there]])
        near.append(Near(tracks[row], uris.get(tracks[row], ""), min(1.0, float(cosine)), *times, min(1.0, float(clips.max()))))
    return near[:count]


def pooled(found: Embeddings) -> tuple[list[str], NDArray[np.float32]]:
    """One vector for each recording: the mean of its clips' vectors, each of length 1.

    Returns:
        track_ids, sorted, and (tracks, dimensions) float32 of length 1; without recordings all of whose clips are zero or not finite.
    """
    from pipelines.neighbours import finite, unit

    vectors = unit(finite(found.vectors))
    names, where = np.unique(np.array(found.tracks), return_inverse=True)
    sums = np.zeros((len(names), vectors.shape[1]), np.float64)
    np.add.at(sums, where, vectors)
    # Exactly opposite clips leave rounding, which is no direction.
    heard = np.linalg.norm(sums, axis=1) > 1e-6
    return names[heard].tolist(), unit(sums[heard].astype(np.float32))
