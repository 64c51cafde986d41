"""What is known of each row: tags that it has, lacks, or nobody spoke about, and what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.revisions import NOTHING
from pipelines.release.lineage import Others
from pipelines.release.rows import Rows, place
from pipelines.release.spec import Words

REGION = pa.struct([("kind", pa.string()), ("value", pa.string()), ("start", pa.float64()), ("duration", pa.float64())])
_NOBODY = 127


@dataclass(frozen=True, eq=False)
class Said:
    """A column of labels.

    tags: sorted, or as the file has them; () for regions. values: (rows, tags) float32: 1 has, 0 lacks, nan nobody said.
    known: (rows,) whether anybody spoke of it. by: (rows,) whose word it is, a place in `words.author_kinds`, or 127.
    regions: a list of `REGION` for each row, or None. used: (labels,) which of the rows of labels are heard.
    """

    words: Words
    tags: tuple[str, ...]
    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    by: NDArray[np.int8]
    regions: pa.Array | None
    used: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Clips:
    """The clips of the rows. of: (rows,) each row's clip. names, start, seconds, track: of each clip. untouched: its row, or -1."""

    of: NDArray[np.int64]
    names: pa.Array
    start: NDArray[np.float64]
    seconds: NDArray[np.float64]
    track: NDArray[np.int64]
    untouched: NDArray[np.int64]


def said(words: Words, rows: Rows, others: Others, labels: pa.Table, moved: pa.Table | None, track_ids: pa.Array) -> Said:
    """Put labels to rows.

    A clip that was spoken of lacks the tags that were not said. A label of a whole track holds for all of its clips, one of a stretch for
    the clips that it overlaps. In an augmented view what moved there holds (`view_labels`): a tag that the clip has and that did not come
    along is unknown, and so is one that the clip lacks and a recording mixed in might have.

    Args:
        labels: what stands (`annotation.revisions.standing`, silent ones too). moved: the table `view_labels`, or None.
        track_ids: of the catalogue.
    """
    clips = _clips(rows)
    labels = labels.filter(_asked(words, labels))
    rank = pc.index_in(labels.column("author_kind"), value_set=pa.array(words.author_kinds, pa.string())).to_numpy().astype(np.int8)
    sure = pc.fill_null(pc.greater_equal(labels.column("confidence"), words.confidence), True).to_numpy(zero_copy_only=False)
    label, clip, inside = _pairs(words, clips, labels, track_ids)
    best = np.full(len(clips.names), _NOBODY, np.int8)
    np.minimum.at(best, clip, rank[label])
    heard = rank[label] == best[clip]
    label, clip, inside = label[heard], clip[heard], inside[heard]
    known, by = (best < _NOBODY)[clips.of], best[clips.of]
    row, source = _moved_pairs(words, rows, labels, moved, np.unique(label))
    used = labels.column("number").to_numpy()[np.unique(label)]
    if words.form == "regions":
        mixed = np.zeros(len(rows), bool)
        strangers = ~_track_known(clips, best, len(track_ids))[others.track] & others.joins
        mixed[others.row[strangers]] = True  # what the guest plays there, nobody knows
        known = np.asarray(known & ~mixed)
        good = inside & sure[label] & (clips.untouched[clip] >= 0)
        regions = _regions(rows, clips, labels, label[good], clip[good], moved, row, source, known)
        return Said(words, (), np.empty((len(rows), 0), np.float32), known, np.where(known, by, _NOBODY), regions, used)
    value = labels.column("value")
    tags = words.tags or tuple(sorted(pc.unique(value.take(pa.array(np.unique(label[inside & sure[label]])))).to_pylist()))
    number = place(pa.array(tags, pa.string()), value.combine_chunks())[label]
    clip_values = np.full((len(clips.names), len(tags)), np.nan, np.float32)
    clip_values[best < _NOBODY] = 0
    spoken = inside & (number >= 0)
    doubtful, certain = spoken & ~sure[label], spoken & sure[label]
    clip_values[clip[doubtful], number[doubtful]] = np.nan
    clip_values[clip[certain], number[certain]] = 1
    values = clip_values[clips.of]
    if (rows.view > 0).any():
        _into_views(values, rows, others, clips, clip_values, len(track_ids))
    if moved is not None and len(row):
        came = place(pa.array(tags, pa.string()), moved.column("value").combine_chunks())[source]
        values[row[came >= 0], came[came >= 0]] = 1
    known = np.asarray(~np.isnan(values).all(axis=1)) if tags else known
    return Said(words, tags, values, known, np.where(known, by, _NOBODY).astype(np.int8), None, used)


def _asked(words: Words, labels: pa.Table) -> pa.ChunkedArray:
    """Which labels a column may be made of."""
    silent = pc.and_(pc.equal(labels.column("kind"), NOTHING), pc.equal(labels.column("value"), words.question))
    which = pc.or_(pc.equal(labels.column("kind"), words.kind), silent) if words.question else pc.equal(labels.column("kind"), words.kind)
    which = pc.and_(which, pc.is_in(labels.column("author_kind"), pa.array(words.author_kinds, pa.string())))
    if words.campaign:
        campaign = labels.column("campaign")
        which = pc.and_(which, pc.or_(pc.is_null(campaign), pc.fill_null(pc.equal(campaign, words.campaign), False)))
    return which


def _clips(rows: Rows) -> _Clips:
    names = rows.strings("clip_id")
    new = np.ones(len(rows), bool)
    new[1:] = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)  # rows are in the order of their names
    first = np.flatnonzero(new)
    stands = np.where(rows.parent[first] >= 0, rows.parent[first], first)
    return _Clips(
        np.cumsum(new) - 1, names.take(pa.array(first)), rows.start[stands], rows.seconds[stands], rows.track[stands], rows.parent[first]
    )


def _pairs(
    words: Words, clips: _Clips, labels: pa.Table, track_ids: pa.Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Label, clip, and whether the label says something of that clip: it may speak of another stretch, and then the clip lacks it."""
    of_clip = place(clips.names, labels.column("clip_id").combine_chunks())
    whole = labels.column("clip_id").is_null().to_numpy()
    order = np.argsort(clips.track, kind="stable")
    sorted_tracks = clips.track[order]
    track = place(track_ids, labels.column("track_id").combine_chunks())
    low, high = np.searchsorted(sorted_tracks, track, "left"), np.searchsorted(sorted_tracks, track, "right")
    count = np.where(whole, high - low, 0)
    by_track = np.repeat(np.arange(len(labels)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    by_clip = np.flatnonzero(of_clip >= 0)
    label = np.concatenate([by_clip, by_track])
    clip = np.concatenate([of_clip[by_clip], order[np.repeat(low, count) + within]])
    start, duration = (_numbers(labels, name)[label] for name in ("start", "duration"))
    begin, end = clips.start[clip], clips.start[clip] + clips.seconds[clip]
    lasts = np.nan_to_num(duration) > 0
    overlaps = np.where(lasts, (start < end) & (start + duration > begin), (start >= begin) & (start < end))
    says = pc.equal(labels.column("kind"), words.kind).to_numpy() & labels.column("view_id").is_null().to_numpy()
    inside = says[label] & (~whole[label] | np.isnan(start) | overlaps)
    return label, clip, inside


def _moved_pairs(
    words: Words, rows: Rows, labels: pa.Table, moved: pa.Table | None, heard: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows, and the rows of `view_labels` that hold in them: in augmented views, and what was said of a view in the clip itself."""
    if moved is None or not moved.num_rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    names = pc.binary_join_element_wise(moved.column("clip_id"), pc.cast(moved.column("view"), pa.string()), "-")
    row = place(rows.strings("row_id"), names.combine_chunks())
    which = pc.equal(moved.column("kind"), words.kind)
    which = pc.and_(which, pc.fill_null(pc.greater_equal(moved.column("confidence"), words.confidence), True))
    counts = labels.take(pa.array(heard))
    which = pc.and_(which, pc.is_in(moved.column("source"), counts.column("label_id").combine_chunks()))
    of_views = pc.is_in(moved.column("source"), counts.filter(counts.column("view_id").is_valid()).column("label_id").combine_chunks())
    good = which.to_numpy() & (row >= 0) & ((rows.view[row] > 0) | of_views.to_numpy())
    source = np.flatnonzero(good)
    return row[source], source


def _into_views(
    values: NDArray[np.float32], rows: Rows, others: Others, clips: _Clips, clip_values: NDArray[np.float32], tracks: int
) -> None:
    """What is not known in augmented views, whatever is known of their clips."""
    views = np.flatnonzero(rows.view > 0)
    values[views] = np.where(values[views] == 1, np.nan, values[views])  # unless it came along
    lacks = np.ones((tracks, clip_values.shape[1]), bool)
    np.logical_and.at(lacks, clips.track, clip_values == 0)
    row, track = others.row[others.joins], others.track[others.joins]
    absent = np.ones(tracks, bool)
    absent[clips.track] = False
    lacks[absent] = False
    for at in range(values.shape[1]):
        values[row[~lacks[track, at]], at] = np.nan


def _track_known(clips: _Clips, best: NDArray[np.int8], tracks: int) -> NDArray[np.bool_]:
    """(tracks,) whether somebody spoke of all clips of a track."""
    known = np.zeros(tracks, bool)
    known[clips.track] = True
    known[clips.track[best == _NOBODY]] = False
    return known


def _regions(
    rows: Rows,
    clips: _Clips,
    labels: pa.Table,
    label: NDArray[np.int64],
    clip: NDArray[np.int64],
    moved: pa.Table | None,
    row: NDArray[np.int64],
    source: NDArray[np.int64],
    known: NDArray[np.bool_],
) -> pa.Array:
    """Each row's regions, the earlier first, in seconds of the row; null where nobody spoke."""
    start, duration = (_numbers(labels, name)[label] for name in ("start", "duration"))
    # What is said of the track is cut to the clip.
    of_track = labels.column("clip_id").is_null().to_numpy()[label] & ~np.isnan(start)
    begin = np.where(of_track, np.maximum(start - clips.start[clip], 0), start)
    end = np.where(of_track, np.minimum(start + np.nan_to_num(duration) - clips.start[clip], clips.seconds[clip]), start + duration)
    length = np.where(of_track & (np.nan_to_num(duration) > 0), np.maximum(end - begin, 0), duration)
    text = labels.column("value").take(pa.array(label))
    kind = labels.column("kind").take(pa.array(label))
    at = clips.untouched[clip]
    if moved is not None and len(row):
        at = np.concatenate([at, row])
        begin = np.concatenate([begin, _numbers(moved, "start")[source]])
        length = np.concatenate([length, _numbers(moved, "duration")[source]])
        text = pa.chunked_array([*text.chunks, *moved.column("value").take(pa.array(source)).chunks], pa.string())
        kind = pa.chunked_array([*kind.chunks, *moved.column("kind").take(pa.array(source)).chunks], pa.string())
    places = place(pc.unique(text).sort(), text.combine_chunks()) if len(at) else np.empty(0, np.int64)
    good = known[at]
    order = np.flatnonzero(good)[np.lexsort((places[good], np.nan_to_num(begin[good]), at[good]))]
    ends = np.concatenate([[0], np.cumsum(np.bincount(at[order], minlength=len(rows)))])
    columns = [kind.combine_chunks().take(pa.array(order)), text.combine_chunks().take(pa.array(order))]
    columns += [pa.array(each[order], pa.float64(), mask=np.isnan(each[order])) for each in (begin, length)]
    structs = pa.StructArray.from_arrays(columns, fields=list(REGION))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs, mask=pa.array(~known))


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column of seconds; nan where there is none."""
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), np.float64)
