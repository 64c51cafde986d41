"""What people say together where answers are regions, moments, keys or tempi: weighed by how well each agrees with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from annotation import merging
from annotation.annotators import GOLD_LEAST, LEAST, Quality, rate
from annotation.kinds import base, format_number
from annotation.merging import Merged
from annotation.question import Question
from annotation.votes import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Form = Literal["tags", "choice", "key", "tempo", "moments", "regions", "text"]
DOUBT = 2.0  # clips on which everybody begins as good as the average
FLOOR = 0.05  # nobody's word weighs nothing, or a clip that only they heard would have no answer


@dataclass(frozen=True, eq=False)
class Together:
    """What is said together of each clip.

    statements: of each clip, in time. shares: (clips, values) float64, the most weight that says a value at once; nan without answers.
    weights: (people,) float64. quality: of everybody who answered, the worst first. values: what was said; of tempi, as text.
    """

    votes: Votes
    statements: tuple[tuple[Merged, ...], ...]
    shares: NDArray[Any]
    weights: NDArray[Any]
    quality: tuple[Quality, ...]
    remarks: tuple[str, ...]


def form(question: Question) -> Form:
    """By which kind of consensus a question is answered."""
    root = base(question.kind)
    if question.control == "TextArea":
        return "text"
    if question.regions:
        return "moments" if question.moment else "regions"
    if root == "tempo":
        return "tempo"
    if question.multiple:
        return "tags"
    return "key" if root == "key" else "choice"


def together(votes: Votes, question: Question, known: Mapping[int, Sequence[Merged]] | None = None) -> Together:
    """Merge the answers to a question whose `form` is key, tempo, moments or regions.

    A person's weight is the mean F-measure against what the others say together (of keys the mean of MIREX's scores against each of
    them, of tempi 1 or, an octave off, a half), or against gold; pulled towards everybody's mean where it rests on few clips. It is
    found twice, with the first weights then.

    Args:
        known: what gold says of clips, by their place; it is what is said together, with confidence 1.
    """
    import numpy as np

    known = known or {}
    how = form(question)
    people = len(votes.annotators)
    order = np.argsort(votes.answer, kind="stable")
    bounds = np.searchsorted(votes.answer[order], np.arange(len(votes) + 1))
    own = [_statements(votes, order[bounds[answer] : bounds[answer + 1]]) for answer in range(len(votes))]
    by_clip: list[list[int]] = [[] for _ in votes.clips]
    for answer, clip in enumerate(votes.clip.tolist()):
        by_clip[clip].append(answer)
    weights: NDArray[Any] = np.ones(people)
    tallies = np.zeros((people, 2, 4))
    for _ in range(2):
        scores, heard, tallies = np.zeros(people), np.zeros(people), np.zeros((people, 2, 4))
        for clip, answers in enumerate(by_clip):
            for answer in answers:
                person = votes.annotator[answer]
                others = [each for each in answers if each != answer]
                if clip not in known and not others:
                    continue
                truth = known[clip] if clip in known else _merge(how, question, others, own, votes, weights)
                score, *counts = _compare(how, question, truth, own[answer])
                one = clip not in known and how in ("key", "tempo")
                if one:  # among two others who differ, whom one agrees with says something, and who is right nothing
                    share = weights[votes.annotator[others]]
                    score = float(np.average([_compare(how, question, own[each], own[answer])[0] for each in others], weights=share))
                scores[person] += score
                heard[person] += 1
                if not one or not truth or truth[0].confidence > 0.5 + 1e-9:
                    tallies[person, int(clip not in known)] += (*counts, 1)
        mean = scores.sum() / heard.sum() if heard.sum() else 1.0
        weights = np.maximum(FLOOR, (scores + DOUBT * mean) / (heard + DOUBT))
    statements, shares = [], np.full((len(votes.clips), len(votes.values)), np.nan)
    for clip, answers in enumerate(by_clip):
        if answers:
            said = known[clip] if clip in known else _merge(how, question, answers, own, votes, weights)
            if clip in known:
                anything: Sequence[Merged] = said
            elif how in ("key", "tempo"):
                anything = _each(answers, own, weights[votes.annotator[answers]])
            else:
                anything = _merge(how, question, answers, own, votes, weights, support=0.0)
            shares[clip] = 0.0
            for each in (*anything, *said):
                if each.value in votes.values:
                    place = votes.values.index(each.value)
                    shares[clip, place] = max(shares[clip, place], each.confidence)
        statements.append(tuple(said) if answers else ())
    quality = [_quality(votes, person, tallies[person]) for person in range(people) if (votes.annotator == person).any()]
    quality.sort(key=lambda each: (not each.sensitivity, each.informedness, each.annotator))
    remarks = [] if len(votes) else ["no answers yet"]
    if len(votes) and len(np.unique(votes.annotator)) == 1:
        remarks.append(f"all answers ({len(votes)}) are by {votes.annotators[votes.annotator[0]]}: the consensus is that person's word")
    return Together(votes, tuple(statements), shares, weights, tuple(quality), tuple(remarks))


def _statements(votes: Votes, rows: NDArray[Any]) -> list[Merged]:
    import numpy as np

    start, duration = np.nan_to_num(votes.start[rows]).tolist(), np.nan_to_num(votes.duration[rows]).tolist()
    values = [votes.values[value] for value in votes.value[rows].tolist()]
    return [Merged(*each, 1.0, 1) for each in zip(values, start, duration, strict=True)]


def _each(answers: Sequence[int], own: Sequence[Sequence[Merged]], mine: NDArray[Any]) -> list[Merged]:
    """Every value that anybody said, with the share of the weight that said it.

    Args:
        mine: (answers,) weights.
    """
    by: dict[str, list[float]] = {}
    for answer, weight in zip(answers, mine.tolist(), strict=True):
        for value in sorted({each.value for each in own[answer]}):
            by.setdefault(value, []).append(weight)
    return [Merged(value, 0.0, 0.0, sum(weights) / float(mine.sum()), len(weights)) for value, weights in by.items()]


def _merge(
    how: Form,
    question: Question,
    answers: Sequence[int],
    own: Sequence[Sequence[Merged]],
    votes: Votes,
    weights: NDArray[Any],
    support: float = 0.5,
) -> list[Merged]:
    """What some answers to one clip say together."""
    import numpy as np

    mine = weights[votes.annotator[list(answers)]]
    said = [(place, each) for place, answer in enumerate(answers) for each in own[answer]]
    if not said:
        return []
    who = np.array([place for place, _ in said])
    values = [each.value for _, each in said]
    start, duration = np.array([each.start for _, each in said]), np.array([each.duration for _, each in said])
    if how == "moments":
        return merging.events(who, start, values, mine, merging.TOLERANCE[base(question.kind)], support)
    if how == "regions":
        found = []
        for value in sorted(set(values)):
            of = np.array([each == value for each in values])
            found += merging.regions(who[of], start[of], duration[of], mine, value, support)
        return sorted(found, key=lambda each: (each.start, each.value))
    # Who had no answer to this ("nothing") is outvoted or not like any other.
    silent = float(mine.sum()) - float(mine[np.unique(who)].sum())
    if silent > mine.sum() / 2:
        return []
    if how == "key":
        value, share = merging.key(values, mine[who].tolist())
        like = [person for person, word in zip(who.tolist(), values, strict=True) if word == value]
    else:
        number, share = merging.tempo([float(value) for value in values], mine[who].tolist())
        value = format_number(round(number, 3))
        like = [person for person, word in zip(who.tolist(), values, strict=True) if abs(float(word) / number - 1) <= merging.TEMPO]
    share *= 1 - silent / float(mine.sum())
    return [Merged(value, 0.0, 0.0, share, len(set(like)))]


def _compare(how: Form, question: Question, truth: Sequence[Merged], own: Sequence[Merged]) -> tuple[float, float, float, float]:
    """Score in [0, 1]; how many statements of the truth one's own hit, how many it has, how many one has oneself."""
    if not truth or not own:
        return float(not truth and not own), 0.0, float(len(truth)), float(len(own))
    if how == "key":
        score = max(merging.mirex(truth[0].value, each.value) for each in own)
        return score, float(score == 1.0), 1.0, 1.0
    if how == "tempo":
        ratio = float(own[0].value) / float(truth[0].value)
        same = abs(ratio - 1) <= merging.TEMPO
        octave = any(abs(ratio / factor - 1) <= merging.TEMPO for factor in merging.OCTAVES)
        return 1.0 if same else merging.PARTLY if octave else 0.0, float(same), 1.0, 1.0
    tolerance = merging.TOLERANCE.get(base(question.kind), 0.0)
    free, hits = list(own), 0
    for each in truth:
        fitting = [other for other in free if _same(each, other, how, tolerance)]
        if fitting:
            free.remove(min(fitting, key=lambda other: abs(other.start - each.start)))
            hits += 1
    return 2 * hits / (len(truth) + len(own)), float(hits), float(len(truth)), float(len(own))


def _same(one: Merged, other: Merged, how: Form, tolerance: float) -> bool:
    """Whether two statements mean one thing: within the tolerance, or more than half in common of all that either covers."""
    if how == "moments":
        return abs(one.start - other.start) <= tolerance + 1e-9
    first, last = max(one.start, other.start), min(one.start + one.duration, other.start + other.duration)
    union = one.duration + other.duration - max(0.0, last - first)
    return one.value == other.value and last > first and last - first > union / 2


def _quality(votes: Votes, person: int, tallies: NDArray[Any]) -> Quality:
    """tallies: (gold or others; hits, of the truth, own, clips)."""
    import numpy as np

    mine = votes.annotator == person
    gold = int(tallies[0, 3])
    hits, of, own, clips = tallies[0 if gold >= GOLD_LEAST else 1]
    sensitivity, precision = rate(min(hits, of), of), rate(min(hits, own), own)
    took = votes.seconds[mine & np.isfinite(votes.seconds)]
    facts = []
    if sensitivity and precision and min(of, own) >= LEAST and max(sensitivity.high, precision.high) < 0.5:
        facts.append(f"agrees with others in less than half: sensitivity {sensitivity}, precision {precision}")
    return Quality(
        votes.question,
        votes.annotators[person],
        int(mine.sum()),
        gold,
        ("gold" if gold >= GOLD_LEAST else "others") if clips else "",
        sensitivity,
        precision=precision,
        accepted=rate(int(votes.accepted[mine].sum()), int(mine.sum())),
        seconds=float(np.median(took)) if len(took) else None,
        facts=tuple(facts),
    )
