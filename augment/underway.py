"""A label under way to a view: where it is by now, what became of its sound, and what it says then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from annotation.kinds import base, format_note, format_number, format_pitch_contour, number, parse_note, parse_pitch_contour
from annotation.labels import Label
from augment.augmentation import Change
from augment.chain import Lineage
from augment.contract import Aspect, ContractError, Policy, Rule, refusal
from augment.spelling import transposed_chord, transposed_key

# Seconds: what is nearer to an end than this lies on it, and a stretch that is shorter is none.
LEAST = 1e-6
# Values are written with nine digits after the point on the way there, and with six on the way back: they come home as they went.
THERE, BACK = 9, 6

Span = tuple[float, float]


@dataclass(frozen=True)
class Step:
    """One step of a lineage. use: the augmentation's name. before, after: seconds of sound."""

    use: str
    change: Change
    before: float
    after: float


@dataclass
class Moving:
    """A label under way. span: seconds from the view's beginning, None for the whole. semitones, rate: all so far. key: at the outset."""

    label: Label
    rule: Rule
    span: Span | None
    semitones: float = 0.0
    rate: float = 1.0
    key: str | None = None

    def value(self) -> str | None:
        """What the label says by now."""
        return value_after(self.rule, self.label.value, self.semitones, self.rate, self.key, THERE)


def steps(lineage: Lineage) -> list[Step]:
    """What a lineage's draws mean.

    Raises:
        ValueError: a step that no augmentation here makes.
    """
    from augment import AUGMENTATIONS

    known = {each.__name__: each for each in AUGMENTATIONS}
    found = []
    for draw, before, after in lineage.seconds():
        if draw["use"] not in known:
            raise ValueError(f"lineage: no augmentation {draw['use']!r}; there are {', '.join(sorted(known))}")
        found.append(Step(draw["use"], known[draw["use"]].change(draw), before, after))
    return found


def taken(labels: Iterable[Label], policy: Policy, start: float, length: float) -> list[Moving]:
    """The labels of a stretch of a track, in seconds from its beginning; those with a clip_id are in such seconds already."""
    found = []
    rules: dict[str, Rule] = {}
    for label in labels:
        begin = None if label.start is None else label.start - (start if label.clip_id is None else 0.0)
        span = None if begin is None else cut((begin, begin + (label.duration or 0.0)), length)
        if begin is None or span:
            if label.kind not in rules:
                rules[label.kind] = policy.rule(label.kind)
            found.append(Moving(label, rules[label.kind], span))
    keys = [each for each in found if base(each.label.kind) == "key"]
    for each in found:
        if keys and each.rule.pitch == "chord":
            each.key = _key(each, keys)
    return found


def _key(chord: Moving, keys: Sequence[Moving]) -> str | None:
    """The key that sounds when a chord begins; rather that of the same author."""
    at = chord.span[0] if chord.span else 0.0
    there = [key.label for key in keys if key.span is None or key.span[0] - LEAST <= at < key.span[1]]
    return min(there, key=lambda key: (key.author != chord.label.author, key.author, key.value)).value if there else None


def forward(span: Span, step: Step) -> Span | None:
    """Where a stretch is after a step; None where nothing of it is left."""
    rate, offset = step.change.rate, step.change.offset
    begin, end = span[0] / rate, span[1] / rate
    if step.change.mirrored:
        begin, end = step.before / rate - end, step.before / rate - begin
    return cut((begin + offset, end + offset), step.after)


def backward(span: Span, step: Step) -> Span | None:
    """Where a stretch was before a step; None where it was nowhere."""
    rate, offset = step.change.rate, step.change.offset
    begin, end = span[0] - offset, span[1] - offset
    if step.change.mirrored:
        begin, end = step.before / rate - end, step.before / rate - begin
    return cut((begin * rate, end * rate), step.before)


def cut(span: Span, length: float) -> Span | None:
    """What of a stretch or a moment lies in [0, length).

    >>> cut((-1.0, 2.0), 1.5), cut((1.5, 2.0), 1.5), cut((0.5, 0.5), 1.5), cut((1.5, 1.5), 1.5)
    ((0.0, 1.5), None, (0.5, 0.5), None)
    """
    begin, end = span
    if begin == end:
        return (max(begin, 0.0), max(end, 0.0)) if -LEAST <= begin < length - LEAST else None
    begin, end = max(begin, 0.0), min(end, length)
    return (begin, end) if end - begin >= LEAST else None


def stays(each: Moving, step: Step, aspects: Iterable[Aspect], policy: Policy) -> bool:
    """Whether a label outlives what a step touches.

    Raises:
        ContractError: it is refused, and the policy is to stop.
    """
    label = each.label
    for aspect in aspects:
        effect = getattr(each.rule, aspect)
        if effect == "dropped" or (effect == "named" and names(label.value, (*step.change.gone, *step.change.swapped))):
            return False
        if effect == "refused":
            return refuse(label, step, refusal(label.kind, aspect, policy), policy)
        if effect == "tags" and not policy.keeps_tags(each.rate) and policy.speaks_of_tempo(label.value):
            low, high = policy.tags_keep_within
            return refuse(label, step, f"refused beyond × {low:g} … {high:g}, here × {each.rate:.4g} in all", policy)
    return True


def names(value: str, stems: Iterable[str]) -> bool:
    """Whether a label names a stem: all words of its name are among the label's; a name without words is none.

    >>> names("Female vocals", ("vocals",)), names("contrabass", ("bass",)), names("electric guitar", ("electric_guitar",))
    (True, False, True)
    """
    words = _words(value)
    return any(words >= stem for stem in map(_words, stems) if stem)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


def refuse(label: Label, step: Step, why: str, policy: Policy) -> bool:
    """False, as the label does not stay. Raises: ContractError if the policy is to stop."""
    if policy.on_refused == "stop":
        kind = base(label.kind)
        key = kind if re.fullmatch(r"[A-Za-z0-9_-]+", kind) else json.dumps(kind)  # in TOML a dot would open another table
        way_out = f'state a rule in [labels.rules.{key}], or set labels.on_refused = "drop"'
        raise ContractError(f"{step.use}: {label.kind} {label.value[:60]!r} {why}; {way_out}")
    return False


def value_after(rule: Rule, value: str, semitones: float, rate: float, key: str | None, digits: int) -> str | None:
    """A value after a change of pitch and speed; None for a note that MIDI has no number for."""
    if semitones and rule.pitch == "key":
        value = transposed_key(value, semitones)
    elif semitones and rule.pitch == "chord":
        value = transposed_chord(value, semitones, key)
    elif semitones and rule.pitch == "midi":
        pitch, velocity = parse_note(value)
        pitch = round(pitch + semitones, digits)
        if not 0 <= pitch <= 127:
            return None
        value = format_note(pitch, velocity)
    elif semitones and rule.pitch == "hz":
        frequency, voiced = parse_pitch_contour(value)
        value = format_pitch_contour(round(frequency * 2 ** (semitones / 12), digits), voiced)
    if rate != 1 and rule.speed == "bpm":
        value = format_number(round(number(value) * rate, digits))
    return value
