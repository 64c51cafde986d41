"""People who do not exist, with known confusion: what agreement, consensus and queues are tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from annotation.labels import Label
from annotation.revisions import NOTHING
from annotation.votes import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Annotator:
    """Somebody.

    error: probability of a wrong choice, or, of tags, of a wrong yes or no for each. later: that in the second half of the clips.
    how: "listens"; "guesses", without listening; "accepts" what the pre-annotation says, and else listens; "copies" the annotator number
        `whom`, and else listens. share: of the clips on which they do so.
    seconds: median that an answer takes.
    """

    error: float = 0.15
    later: float | None = None
    how: Literal["listens", "guesses", "accepts", "copies"] = "listens"
    whom: int = 0
    share: float = 1.0
    seconds: float = 30.0


def simulate(
    truth: NDArray[Any],
    annotators: Sequence[Annotator],
    overlap: int,
    seed: int,
    values: Sequence[str] = (),
    clips: Sequence[str] = (),
    tracks: Sequence[str] = (),
    guess: NDArray[Any] | None = None,
    question: str = "simulated",
    kind: str = "tag",
) -> Votes:
    """What they would say.

    Args:
        truth: (clips,) int64, the place of each clip's one value, or (clips, tags) 0 or 1.
        overlap: people who hear each clip, drawn for each.
        values, clips, tracks: names; numbers if absent.
        guess: the pre-annotation, of truth's shape; needed for those who accept. Who says what it says by listening has accepted it, too.
    """
    import numpy as np

    if not 1 <= overlap <= len(annotators):
        raise ValueError(f"overlap: {overlap} is not between 1 and the {len(annotators)} annotators")
    rng = np.random.default_rng([seed, 20_13])  # a caller who draws the truth from the same seed is not to draw the same errors
    exclusive = truth.ndim == 1
    count = len(truth)
    width = max(int(truth.max(initial=0)) + 1, len(values), 2) if exclusive else truth.shape[1]
    if guess is None and any(each.how == "accepts" for each in annotators):
        raise ValueError("guess: somebody accepts pre-annotations, and there are none")
    said = np.empty((count, len(annotators), *truth.shape[1:]), np.int64)
    for number, each in enumerate(annotators):
        said[:, number] = _listen(rng, truth, each, width)
        if each.how == "guesses":
            said[:, number] = rng.integers(0, width if exclusive else 2, truth.shape)
    for number, each in enumerate(annotators):
        if each.how in ("accepts", "copies"):
            now = rng.random(count) < each.share
            said[now, number] = (guess if each.how == "accepts" and guess is not None else said[:, each.whom])[now]
    who = np.sort(np.argsort(rng.random((count, len(annotators))), axis=1)[:, :overlap], axis=1)
    clip, annotator = np.repeat(np.arange(count), overlap), who.ravel()
    answered = said[clip, annotator]
    answer, value = np.nonzero(answered) if not exclusive else (np.arange(len(clip)), answered)
    same = np.zeros(len(clip), bool)
    if guess is not None:
        same = (answered == guess[clip]) if exclusive else (answered == guess[clip]).all(axis=1)
    pace = np.array([each.seconds for each in annotators])[annotator]
    nothing = np.full(len(answer), np.nan)
    return Votes(
        question,
        kind,
        tuple(clips) or tuple(f"{index:08d}" for index in range(count)),
        tuple(tracks) or tuple(f"{index:08d}" for index in range(count)),
        tuple(f"p{index:03d}" for index in range(len(annotators))),
        tuple(values) or tuple(f"v{index:03d}" for index in range(width)),
        clip,
        annotator,
        EPOCH + 60.0 * clip,
        pace * np.exp(0.3 * rng.standard_normal(len(clip))),
        same,
        answer,
        value,
        nothing,
        nothing.copy(),
    )


def spoken(votes: Votes, campaign: str) -> Iterator[Label]:
    """The labels that such votes are in a store, as if they had been pulled."""
    said: dict[int, list[int]] = {}
    for answer, value in zip(votes.answer.tolist(), votes.value.tolist(), strict=True):
        said.setdefault(answer, []).append(value)
    for answer, (clip, annotator, at) in enumerate(zip(votes.clip.tolist(), votes.annotator.tolist(), votes.at.tolist(), strict=True)):
        clip_id, _, view_id = votes.clips[clip].partition("/")
        rows = [(votes.kind, votes.values[value]) for value in said.get(answer, ())] or [(NOTHING, votes.question)]
        for kind, value in rows:
            yield Label(
                kind,
                value,
                votes.annotators[annotator],
                "person",
                votes.tracks[clip],
                clip_id,
                campaign=campaign,
                at=datetime.fromtimestamp(at, UTC),
                view_id=view_id or None,
            )


def _listen(rng: Any, truth: NDArray[Any], each: Annotator, width: int) -> NDArray[Any]:
    import numpy as np

    error = np.full(len(truth), each.error)
    if each.later is not None:
        error[len(truth) // 2 :] = each.later
    if truth.ndim == 2:
        return np.where(rng.random(truth.shape) < error[:, None], 1 - truth, truth)
    other = (truth + rng.integers(1, width, len(truth))) % width
    return np.where(rng.random(len(truth)) < error, other, truth)
