"""What becomes of each kind of label under each augmentation: the rules, a recipe's say in them, and the table that people read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from annotation.kinds import base
from augment.augmentation import Augmentation, Change
from augment.choice import Chain, OneOf, singly
from augment.spelling import transposed_key, whole

Effect = Literal["unchanged", "transformed", "dropped", "refused"]
Aspect = Literal["pitch", "speed", "reverse", "timbre", "mix", "stems"]


class ContractError(ValueError):
    """A label that an augmentation would make wrong, in a recipe that does not say what to do then."""


class Rule(BaseModel):
    """What becomes of a kind of label, by what an augmentation touches. Times are moved with the sound, whatever the rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pitch: Literal["unchanged", "key", "chord", "midi", "hz", "dropped", "refused"] = Field(
        "refused", description="key, chord, midi, hz: the value is one, and is transposed"
    )
    speed: Literal["unchanged", "bpm", "tags", "dropped", "refused"] = Field(
        "refused", description="bpm: the value is one, and is multiplied; tags: refused where it is a word for tempo"
    )
    reverse: Literal["moved", "dropped", "refused"] = "refused"
    timbre: Literal["unchanged", "dropped", "refused"] = "refused"
    mix: Literal["unchanged", "united", "equal", "dropped", "refused"] = Field(
        "refused", description="united: those of all sources; equal: refused unless all sources say the same"
    )
    stems: Literal["unchanged", "named", "dropped", "refused"] = Field(
        "refused", description="named: those that name a stem go and come with it"
    )


_TABLE = """
kind           pitch      speed      reverse  timbre     mix      stems
tag            unchanged  tags       moved    unchanged  united   named
instrument     unchanged  unchanged  moved    unchanged  united   named
singing_voice  unchanged  unchanged  moved    unchanged  equal    refused
music_speech   unchanged  unchanged  moved    unchanged  equal    refused
key            key        unchanged  moved    unchanged  equal    unchanged
tempo          unchanged  bpm        moved    unchanged  equal    unchanged
meter          unchanged  unchanged  refused  unchanged  equal    unchanged
beat           unchanged  unchanged  refused  unchanged  refused  unchanged
downbeat       unchanged  unchanged  refused  unchanged  refused  unchanged
onset          unchanged  unchanged  refused  unchanged  united   refused
chord          chord      unchanged  moved    unchanged  refused  refused
note           midi       unchanged  refused  unchanged  united   refused
pitch_contour  hz         unchanged  moved    unchanged  refused  refused
section        unchanged  unchanged  moved    unchanged  refused  unchanged
text           refused    refused    refused  unchanged  refused  refused
composer       unchanged  unchanged  moved    unchanged  united   unchanged
license        unchanged  unchanged  moved    unchanged  united   unchanged
"""
_head, *_rows = (line.split() for line in _TABLE.strip().splitlines())
RULES: dict[str, Rule] = {row[0]: Rule.model_validate(dict(zip(_head[1:], row[1:], strict=True))) for row in _rows}

# Kinds that hardly ever speak of the whole: people want to read that their times move.
_TIMED = {"singing_voice", "music_speech", "beat", "downbeat", "onset", "chord", "note", "pitch_contour", "section"}
_WORDS = (
    "slow fast quick rapid tempo bpm upbeat uptempo midtempo downtempo "
    "largo lento adagio andante moderato allegretto allegro vivace presto prestissimo"
)
_WORD = r"[^\W\d_]+"
_TOUCHED: dict[Aspect, str] = {
    "pitch": "pitch changes",
    "speed": "speed changes",
    "reverse": "time runs backwards",
    "timbre": "timbre changes",
    "mix": "other sound is mixed in",
    "stems": "stems change",
}


class Policy(BaseModel):
    """A recipe's `[labels]`: what to do about refusals, and rules for kinds of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_refused: Literal["stop", "drop"] = Field("stop", description="stop before anything runs, or leave such labels out of a view")
    rules: dict[str, Rule] = Field({}, description="for kinds of one's own; for known kinds, what is to be otherwise")
    tempo_tags: tuple[str, ...] = Field(tuple(_WORDS.split()), description="words by which a tag speaks of tempo")
    tags_keep_within: tuple[float, float] = Field((0.9, 1.12), description="× speed within which such tags stay true")

    @model_validator(mode="before")
    @classmethod
    def _over_the_known(cls, said: Any) -> Any:
        """A rule for a known kind changes what it names and leaves the rest."""
        rules = said.get("rules") if isinstance(said, Mapping) else None
        if not isinstance(rules, Mapping):
            return said
        stated = {kind: rule.model_dump(exclude_unset=True) if isinstance(rule, Rule) else rule for kind, rule in rules.items()}
        known = {kind: _known(kind).model_dump() for kind in stated}
        return {**said, "rules": {kind: {**known[kind], **rule} if isinstance(rule, Mapping) else rule for kind, rule in stated.items()}}

    @field_validator("tempo_tags")
    @classmethod
    def _single_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        """Tags are compared word by word, whatever their case."""
        if strange := [word for word in words if not re.fullmatch(_WORD, word)]:
            raise ValueError(f"tempo_tags needs single words of letters, got {strange[0]!r}")
        return tuple(word.casefold() for word in words)

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        low, high = self.tags_keep_within
        if not 0 < low <= 1 <= high:
            raise ValueError(f"tags_keep_within needs 0 < low <= 1 <= high, got low={low:g} high={high:g}")
        return self

    def __hash__(self) -> int:
        return hash((self.on_refused, frozenset(self.rules.items()), self.tempo_tags, self.tags_keep_within))

    def rule(self, kind: str) -> Rule:
        """The rule for a kind; all refused where nobody made one.

        >>> Policy().rule("tag.gtzan").speed, Policy().rule("vocal_range").pitch
        ('tags', 'refused')
        """
        return self.rules.get(kind) or self.rules.get(base(kind)) or _known(kind)

    def speaks_of_tempo(self, tag: str) -> bool:
        """Whether one of a tag's words is one for tempo.

        >>> Policy().speaks_of_tempo("Up-tempo"), Policy().speaks_of_tempo("slowcore")
        (True, False)
        """
        return not set(re.findall(_WORD, tag.casefold())).isdisjoint(self.tempo_tags)

    def keeps_tags(self, rate: float) -> bool:
        """Whether words for tempo stay true at so many times the speed."""
        low, high = self.tags_keep_within
        return low <= rate <= high


def touched(change: Change) -> list[Aspect]:
    """What a change touches. A swap of stems is no mixture, though another recording sounds in it.

    >>> touched(Change(rate=2.0, semitones=12.0)), touched(Change(offset=-1.0))
    (['pitch', 'speed'], [])
    """
    stems = bool(change.gone or change.swapped)
    sides: dict[Aspect, bool] = {
        "pitch": change.semitones != 0,
        "speed": change.rate != 1,
        "reverse": change.mirrored,
        "timbre": change.timbre,
        "mix": bool(change.guests) and not stems,
        "stems": stems,
    }
    return [aspect for aspect, is_so in sides.items() if is_so]


def refusal(kind: str, aspect: Aspect, policy: Policy) -> str:
    """Why a rule refuses, in words."""
    return f"refused: {_TOUCHED[aspect] if policy.rule(kind) != Rule() or kind in policy.rules else 'no rule'}"


@dataclass(frozen=True)
class Verdict:
    """What becomes of a kind, and in words: how."""

    effect: Effect
    how: str


# An augmentation in a few words, a kind of label, and what becomes of it.
Row = tuple[str, str, Verdict]
# Kinds of the labels at hand, or these with the values that they have, where those are known.
Kinds = Iterable[str] | Mapping[str, Collection[str] | None]


def verdict(kind: str, change: Change | Sequence[Change], policy: Policy, values: Collection[str] | None = None) -> Verdict:
    """What a change does to a kind of label; of several changes the ends of a range, the worst.

    Args:
        values: what the labels of this kind say, where that is known; tags that never speak of tempo need not be refused.

    >>> verdict("key", [Change(semitones=-2), Change(semitones=2)], Policy())
    Verdict(effect='transformed', how='C major → Bb major … D major')
    >>> verdict("vocal_range", Change(semitones=1), Policy()).how
    'refused: no rule'
    """
    changes = [change] if isinstance(change, Change) else list(change)
    found = list(_verdicts(kind, changes, policy, values))
    for effect in ("refused", "dropped", "transformed"):
        hows = dict.fromkeys(each.how for each in found if each.effect == effect)
        if hows:
            return Verdict(effect, ", ".join(hows))
    return Verdict("unchanged", "kept")


def _verdicts(kind: str, changes: Sequence[Change], policy: Policy, values: Collection[str] | None) -> Iterator[Verdict]:
    """One for each thing that is touched."""
    rule = policy.rule(kind)
    for aspect in dict.fromkeys(aspect for change in changes for aspect in touched(change)):
        effect = getattr(rule, aspect)
        if effect == "refused":
            yield Verdict("refused", refusal(kind, aspect, policy))
        elif effect == "dropped":
            yield Verdict("dropped", "dropped")
        elif aspect == "pitch":
            yield _transposed(effect, [change.semitones for change in changes])
        elif aspect == "speed":
            yield _sped(kind, effect, [change.rate for change in changes], policy, values)
        elif aspect == "reverse":
            yield Verdict("transformed", "times turned round") if base(kind) in _TIMED else Verdict("unchanged", "kept")
        elif effect == "equal":
            yield Verdict("refused", "refused unless equal")
        elif effect == "united":
            yield Verdict("transformed", "united")
        elif aspect == "stems" and effect == "unchanged" and rule.mix == "united" and any(change.swapped for change in changes):
            yield Verdict("transformed", "united")  # what other stems leave alone comes with those that another track lends
        elif effect == "named":
            names = ", ".join(dict.fromkeys(name for change in changes for name in (*change.gone, *change.swapped)))
            yield Verdict("dropped", f"dropped where they name {names}")
    if base(kind) in _TIMED and any(change.offset for change in changes):
        yield Verdict("transformed", "times moved")


def _transposed(effect: str, semitones: Sequence[float]) -> Verdict:
    low, high = min(semitones), max(semitones)
    if effect == "midi":
        return Verdict("transformed", f"{_range(semitones, '+.4g')} semitones")
    if effect == "hz":
        return Verdict("transformed", f"× {_range([2 ** (each / 12) for each in semitones])}")
    if effect == "unchanged" or whole(low) == whole(high) == 0:
        return Verdict("unchanged", "kept")
    if effect == "key":
        ends = dict.fromkeys(transposed_key("C major", each) for each in (low, high))
        return Verdict("transformed", f"C major → {' … '.join(ends)}")
    return Verdict("transformed", "transposed")


def _sped(kind: str, effect: str, rates: Sequence[float], policy: Policy, values: Collection[str] | None) -> Verdict:
    if effect == "bpm":
        return Verdict("transformed", f"× {_range(rates)}")
    if effect == "tags" and not all(map(policy.keeps_tags, rates)):
        words = [*policy.tempo_tags[:2], "…"] if values is None else sorted(filter(policy.speaks_of_tempo, values))
        if words:
            return Verdict("refused", f"refused beyond × {_range(policy.tags_keep_within)}: {', '.join(words)}")
    return Verdict("transformed", f"times ÷ {_range(rates)}") if base(kind) in _TIMED else Verdict("unchanged", "kept")


def _range(values: Sequence[float], form: str = ".4g") -> str:
    """Both ends, or the one value."""
    return " … ".join(dict.fromkeys(format(end, form) for end in (min(values), max(values))))


def contract(chain: Iterable[Augmentation], policy: Policy, kinds: Kinds) -> list[Row]:
    """What each augmentation does to each kind. Those within Chain and OneOf count one by one; speeds that are kept singly and are too
    much together get a row of their own."""
    chain = tuple(chain)
    rows = [
        (each.label(), kind, verdict(kind, each.extremes(), policy, kinds[kind] if isinstance(kinds, Mapping) else None))
        for each in singly(chain)
        for kind in kinds
    ]
    low, high = _speeds(chain)
    single = {kind for _, kind, said in rows if said.effect == "refused"}
    for kind in kinds:
        values = kinds[kind] if isinstance(kinds, Mapping) else None
        together = _sped(kind, policy.rule(kind).speed, (low, high), policy, values)
        if together.effect == "refused" and kind not in single:
            rows.append((f"all together {_range((low, high))} × speed", kind, together))
    return rows


def _speeds(chain: Iterable[Augmentation]) -> tuple[float, float]:
    """The slowest and the fastest that a chain can get."""
    low = high = 1.0
    for each in chain:
        if isinstance(each, OneOf):
            ends = [_speeds([child]) for child in each.of]
        elif isinstance(each, Chain):
            ends = [_speeds(each.of)]
        else:
            ends = [(change.rate, change.rate) for change in each.extremes()]
        if each.p < 1:
            ends.append((1.0, 1.0))
        low, high = low * min(end[0] for end in ends), high * max(end[1] for end in ends)
    return low, high


def refused(chain: Iterable[Augmentation], policy: Policy, kinds: Kinds) -> list[Row]:
    """What stops a run: the refusals, unless the policy is to drop them."""
    return [row for row in contract(chain, policy, kinds) if row[2].effect == "refused" and policy.on_refused == "stop"]


def text(rows: Iterable[Row]) -> str:
    """The contract for people: a block for each augmentation, a line for all kinds that fare alike.

    >>> print(text([("Gain 3 dB", "tag", Verdict("unchanged", "kept")), ("Gain 3 dB", "key", Verdict("unchanged", "kept"))]))
    Gain 3 dB
      tag, key kept
    """
    lines = []
    for label, block in groupby(rows, key=lambda row: row[0]):
        lines.append(label)
        fates: dict[str, list[str]] = {}
        for _, kind, said in sorted(block, key=lambda row: _ORDER.index(row[2].effect)):
            fates.setdefault(said.how, []).append(kind)
        lines += [f"  {', '.join(dict.fromkeys(kinds))} {how}" for how, kinds in fates.items()]
    return "\n".join(lines)


_ORDER: tuple[Effect, ...] = ("transformed", "unchanged", "dropped", "refused")


def _known(kind: str) -> Rule:
    return RULES.get(kind) or RULES.get(base(kind)) or Rule()
