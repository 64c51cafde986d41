"""One recording's clips: from where its file lies now, if it is still the same, and whole or with a reason."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Generic, TypeVar

from extractors import audio, uri
from extractors.clip import Clip
from pipelines.blame import Late, confirm
from pipelines.recipe import Recipe
from pipelines.store import Store
from pipelines.tracks import moved

# A track up to this long is decoded whole before its first clip is used, so that one which fails late leaves no rows.
WHOLE_SECONDS = 600.0
# But what it is held to be is what its header says, and no more than this is held of one that lies, or has 384 kHz.
WHOLE_SAMPLES = 600 * 96_000

T = TypeVar("T")
Rejects = list[dict[str, Any]]


def found_clips(track: dict[str, Any], store: Store, recipe: Recipe) -> Generator[Clip, None, Rejects]:
    """The clips of a track, from where a later scan saw it if it has left its first place; see `clips_of`."""
    try:
        with uri.open_local(track["uri"]) as path:
            _unchanged(track, path)
            return (yield from clips_of(track, path, recipe))
    except FileNotFoundError:
        places = moved(store)
        if track["track_id"] not in places:
            raise
    with uri.open_local(places[track["track_id"]]) as path:
        _unchanged(track, path)
        return (yield from clips_of(track, path, recipe))


def clips_of(track: Mapping[str, Any], path: str, recipe: Recipe) -> Generator[Clip, None, Rejects]:
    """Yields the clips of the file at `path`; returns a reject if the file ends before its time.

    Raises:
        AudioError: nothing of it can be used. OSError: its storage does not give it; Late: after clips were yielded.
    """
    if recipe.window.length is None and track["seconds"] > recipe.window.max_seconds:
        message = f"{track['uri']!r}: {track['seconds']:.0f} s, and window.max_seconds is {recipe.window.max_seconds:.0f}"
        raise audio.AudioError(message, "too long", "cut tracks into clips (window.seconds = 30), or raise window.max_seconds")
    source = audio.clips(path, track["track_id"], track["sample_rate"], recipe.window)
    counted = Kept(source)
    held: deque[Clip] = deque()
    samples = 0
    streams = False
    try:
        for clip in counted:
            held.append(clip)
            samples += len(clip.samples)
            if track["seconds"] > WHOLE_SECONDS or samples > WHOLE_SAMPLES:
                streams = True
                yield from _emptied(held)
        short = audio.truncated(audio.probe(path), counted.value or 0)
        if short:
            confirm(path, track["track_id"], counted.value or 0, streams)
    except audio.AudioError as error:
        if isinstance(error.__cause__, OSError):
            raise (Late(*error.__cause__.args) if streams else error.__cause__) from None
        if error.kind != "changed":
            confirm(path, track["track_id"], None, streams)
        raise
    yield from _emptied(held)
    if short:
        decoded = (counted.value or 0) / track["sample_rate"]
        message = f"{track['uri']!r}: ends after {decoded:.2f} of {track['seconds']:.2f} s; what there is was kept"
        return [reject(track, "truncated", message, "copy the file again from its source, then scan")]
    return []


def _emptied(held: deque[Clip]) -> Iterator[Clip]:
    while held:
        yield held.popleft()


class Kept(Generic[T]):
    """Iterates over a generator and keeps what it returns."""

    def __init__(self, source: Generator[Clip, None, T]) -> None:
        self.source = source
        self.value: T | None = None

    def __iter__(self) -> Iterator[Clip]:
        self.value = yield from self.source


def _unchanged(track: Mapping[str, Any], path: str) -> None:
    """Identity is content: another content under the old name is another track."""
    size = os.stat(path).st_size
    if size != track["bytes"]:
        raise audio.AudioError(
            f"{track['uri']!r}: {size} bytes where the scan saw {track['bytes']}",
            kind="changed",
            remedy="scan again: it is another recording now",
        )


def reject(track: Mapping[str, Any], kind: str, message: str, remedy: str, stage: str = "decode") -> dict[str, Any]:
    """A row that tells of a failure."""
    message = uri.printable(message)
    return {"uri": track["uri"], "stage": stage, "track_id": track["track_id"], "error": kind, "message": message, "remedy": remedy}
