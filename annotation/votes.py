"""What people said to one question, as arrays: what agreement and consensus are computed from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from annotation.question import Question
from annotation.revisions import NOTHING, standing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Votes:
    """Who said what about which clips, as it stands today.

    An answer is what one person says to the question about one clip; it holds any number of values, none of them included ("none of these
    tags", "no singing"). Who skipped a clip, or was not asked, has no answer.

    clips: `key` of each clip that has an answer. tracks: their track_id. annotators: authors. values: what was said, or can be.
    clip, annotator: (answers,) int64, indices. at: (answers,) float64, seconds since 1970; nan where nobody knows.
    seconds: (answers,) float64, how long the person took; nan where nobody measured. accepted: (answers,) bool, whether it is a
        pre-annotation that was only confirmed.
    answer, value: (said,) int64, indices. start, duration: (said,) float64, seconds of the clip; nan where the whole is meant.
    """

    question: str
    kind: str
    clips: tuple[str, ...]
    tracks: tuple[str, ...]
    annotators: tuple[str, ...]
    values: tuple[str, ...]
    clip: NDArray[Any]
    annotator: NDArray[Any]
    at: NDArray[Any]
    seconds: NDArray[Any]
    accepted: NDArray[Any]
    answer: NDArray[Any]
    value: NDArray[Any]
    start: NDArray[Any]
    duration: NDArray[Any]

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self.clip)

    def chosen(self, value: int) -> NDArray[Any]:
        """(answers,) bool: in which answers this value was said."""
        import numpy as np

        said = np.zeros(len(self), bool)
        said[self.answer[self.value == value]] = True
        return said

    def only(self, answers: NDArray[Any]) -> Votes:
        """The votes with these answers alone, (answers,) bool; names of clips, people and values keep their places."""
        from dataclasses import replace

        import numpy as np

        place = np.cumsum(answers) - 1
        said = answers[self.answer]
        return replace(
            self,
            **{name: getattr(self, name)[answers] for name in ("clip", "annotator", "at", "seconds", "accepted")},
            answer=place[self.answer[said]],
            **{name: getattr(self, name)[said] for name in ("value", "start", "duration")},
        )


def key(clip_id: str, view_id: str | None = None) -> str:
    """The name of a clip, or of a view of it, among votes.

    >>> key("c0ffee"), key("c0ffee", "beef")
    ('c0ffee', 'c0ffee/beef')
    """
    return f"{clip_id}/{view_id}" if view_id else clip_id


def votes(
    rows: pa.Table,
    question: Question,
    author_kinds: Collection[str] = ("person",),
    accepted: Collection[tuple[str, str]] = (),
    seconds: Mapping[tuple[str, str], float] | None = None,
) -> Votes:
    """The votes on one question.

    Args:
        rows: a table of labels (`annotation.labels.schema`), of one campaign; rows about whole tracks are left out.
        author_kinds: whose answers count.
        accepted: answers, (`key`, author), that merely confirmed a pre-annotation.
        seconds: how long an answer took, by (`key`, author).
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = standing(rows, silent=True)
    says = pc.equal(rows.column("kind"), question.kind)
    if question.values:  # two questions may ask for one kind of label, with other choices
        says = pc.and_(says, pc.is_in(rows.column("value"), pa.array(question.values)))
    timed = rows.column("start").is_valid()  # or about the whole clip there, and about stretches here
    says = pc.and_(says, timed if question.regions else pc.invert(timed))
    nothing = pc.and_(pc.equal(rows.column("kind"), NOTHING), pc.equal(rows.column("value"), question.name))
    who = pc.is_in(rows.column("author_kind"), pa.array(list(author_kinds), pa.string()))
    rows = rows.filter(pc.and_(pc.and_(pc.or_(says, nothing), who), rows.column("clip_id").is_valid()))
    rows = rows.sort_by([("clip_id", "ascending"), ("author", "ascending"), ("start", "ascending"), ("value", "ascending")])
    views = rows.column("view_id")
    slashed = pc.binary_join_element_wise(rows.column("clip_id"), views, "/")
    keys, clip = _numbered(pc.if_else(views.is_valid(), slashed, rows.column("clip_id")))
    people, annotator = _numbered(rows.column("author"))
    pairs, inverse = np.unique(clip * max(1, len(people)) + annotator, return_inverse=True)
    clip_of, annotator_of = pairs // max(1, len(people)), pairs % max(1, len(people))
    spoken = np.asarray(pc.equal(rows.column("kind"), question.kind).to_numpy(zero_copy_only=False), bool)
    said = pc.filter(rows.column("value"), pa.array(spoken))
    known = question.values or tuple(sorted(pc.unique(said).to_pylist()))
    at = np.full(len(pairs), -np.inf)
    np.fmax.at(at, inverse, _floats(rows.column("at").cast(pa.int64())) / 1e6)
    tracks = np.asarray(rows.column("track_id").to_pylist(), object)
    _, first_of_clip = np.unique(clip, return_index=True)
    named = zip((keys[index] for index in clip_of), (people[index] for index in annotator_of), strict=True)
    names = list(named) if accepted or seconds else []
    lasted = seconds or {}
    return Votes(
        question.name,
        question.kind,
        tuple(keys),
        tuple(tracks[first_of_clip]),
        tuple(people),
        known,
        clip_of,
        annotator_of,
        np.where(np.isfinite(at), at, np.nan),
        np.array([lasted.get(name, np.nan) for name in names]) if names else np.full(len(pairs), np.nan),
        np.array([name in accepted for name in names], bool) if names else np.zeros(len(pairs), bool),
        inverse[spoken],
        _numbers(said, known),
        _floats(rows.column("start"))[spoken],
        _floats(rows.column("duration"))[spoken],
    )


def _numbered(column: Any) -> tuple[list[str], NDArray[Any]]:
    """The column's values, sorted, and (rows,) the place of each among them."""
    import pyarrow.compute as pc

    names = sorted(pc.unique(column).to_pylist())
    return names, _numbers(column, names)


def _numbers(column: Any, names: Sequence[str]) -> NDArray[Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(pc.index_in(column, pa.array(names, pa.string())).to_numpy(zero_copy_only=False), np.int64)


def _floats(column: Any) -> NDArray[Any]:
    import numpy as np
    import pyarrow as pa

    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
