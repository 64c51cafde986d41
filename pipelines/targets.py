"""What is known of each clip, as numbers to learn from: which tags it has, which it lacks, and which nobody told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.labels import overlaps
from annotation.revisions import NOTHING, standing
from pipelines.embeddings import Embeddings
from pipelines.store import Store


@dataclass(frozen=True, eq=False)
class Targets:
    """tags: values of one kind of label, sorted. values: (clips, tags) float32: 1 has it, 0 lacks it, nan nobody said."""

    kind: str
    tags: tuple[str, ...]
    values: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(clips,) bool: of which clips anything is known."""
        return np.asarray(~np.isnan(self.values).all(axis=1))


def targets(
    store: Store,
    clips: Embeddings,
    kind: str,
    question: str = "",
    author_kinds: Sequence[str] = ("gold", "consensus"),
    campaign: str = "",
    tags: Sequence[str] = (),
) -> Targets:
    """What the store's labels say of these clips: a clip that was spoken of lacks the tags that were not said.

    A label of a whole track holds for all of its clips, one of a stretch for the clips that it overlaps.

    Args:
        kind: of label: instrument, tag.mood, …
        question: the campaign's question, whose "nothing of these" counts as an answer.
        author_kinds: whose word counts; where an earlier one has spoken of a clip, later ones are not heard.
        campaign: only what was said in it; labels that name no campaign (gold) always count.
        tags: the columns, in this order; all that were said, sorted, if absent.
    """
    rows = standing(_rows(store, kind, question), silent=True)
    if campaign:
        rows = rows.filter(pc.or_kleene(pc.is_null(rows.column("campaign")), pc.equal(rows.column("campaign"), campaign)))
    rows = rows.filter(pc.is_in(rows.column("author_kind"), pa.array(list(author_kinds), pa.string())))
    rows = rows.filter(_about(rows, kind, question))  # without what only took the place of another row
    says = rows.filter(pc.equal(rows.column("kind"), kind))
    names = tuple(tags) or tuple(sorted(pc.unique(says.column("value")).to_pylist()))
    values = np.full((len(clips), len(names)), np.nan, np.float32)
    spoken = np.zeros(len(clips), bool)
    of_clips = {name: (place,) for place, name in enumerate(clips.clips)}
    of_tracks: dict[str, list[int]] = {}
    for place, track in enumerate(clips.tracks):
        of_tracks.setdefault(track, []).append(place)
    column = {name: place for place, name in enumerate(names)}
    for author_kind in author_kinds:
        told = rows.filter(pc.equal(rows.column("author_kind"), author_kind))
        touched: list[int] = []
        pairs: list[tuple[int, int]] = []
        wanted = ("clip_id", "track_id", "view_id", "kind", "value", "start", "duration")
        for clip, track, view, said, value, start, duration in zip(*(told.column(name).to_pylist() for name in wanted), strict=True):
            if view is not None:
                continue  # of another sound than the clip's own
            places: Sequence[int] = of_clips.get(clip, ()) if clip else of_tracks.get(track, ())
            if not clip and start is not None:
                inside = [place for place in places if overlaps(start, duration, clips.start[place], clips.seconds[place])]
                pairs += [(place, column[value]) for place in inside if said == kind and value in column]
                touched += places
                continue
            touched += places
            if said == kind and value in column:
                pairs += [(place, column[value]) for place in places]
        fresh = np.zeros(len(clips), bool)
        fresh[touched] = True
        fresh &= ~spoken
        values[fresh] = 0.0
        if pairs:
            at, tag = np.array(pairs).T
            now = fresh[at]
            values[at[now], tag[now]] = 1.0
        spoken |= fresh
    return Targets(kind, names, values)


def _rows(store: Store, kind: str, question: str) -> pa.Table:
    from annotation.labels import schema

    if not store.names("labels"):
        return schema().empty_table()
    # Rows of other kinds may replace these ("withdrawn", "nothing"), so that only whole tables tell what stands.
    table = store.table("labels").to_table()
    return table.filter(pc.or_(_about(table, kind, question), table.column("replaces").is_valid()))


def _about(rows: pa.Table, kind: str, question: str) -> pa.ChunkedArray:
    """Which rows answer what is asked."""
    nothing = pc.and_(pc.equal(rows.column("kind"), NOTHING), pc.equal(rows.column("value"), question))
    return pc.or_(pc.equal(rows.column("kind"), kind), nothing)
