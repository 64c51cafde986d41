"""A question of a campaign: one kind of label, what people read, and what they may choose."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from annotation import foreign
from annotation.kinds import base, check

Control = Literal["Choices", "Labels", "Number", "TextArea"]
MOMENTS = ("beat", "downbeat", "onset")
NO_QUESTION = ("pitch_contour", "note", "beat.position")
# The spelling with fewer accidentals.
_TONICS = {"major": "C Db D Eb E F F# G Ab A Bb B", "minor": "C C# D Eb E F F# G G# A Bb B"}
KEYS = {mode: tuple(f"{tonic} {mode}" for tonic in tonics.split()) for mode, tonics in _TONICS.items()}
_KNOWN: dict[str, tuple[str, ...]] = {
    "music_speech": ("music", "speech", "both", "neither"),
    "beat": ("1", "2", "3", "4"),
    "downbeat": ("1",),
    "onset": ("onset",),
}
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")  # what XML, or one line of a screen, does not hold


def _grouped(given: Any) -> Any:
    """A list is a group that has no heading."""
    return {"": given} if isinstance(given, list | tuple) and given else {} if given in ([], ()) else given


class Question(BaseModel):
    """One thing that people are asked about each clip; `name` is the name of its control on the screen.

    What comes of it: `control` is the tag that takes the answer, `values` are the choices as they are stored, in the file's order,
    `choices` the same by their headings ("" for none), `shown` what people read instead of a choice, `moment` whether of a region the start
    alone counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="of the control, for good: answers are kept under it")
    kind: str = Field(
        pattern=r"^[a-z][a-z0-9_]*(\.[A-Za-z0-9_-]+)?$", description="of the labels that answers become: tag.mood, key, beat, ..."
    )
    text: str = Field(min_length=1, max_length=500, description="what people read")
    choices: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_grouped, json_schema_input_type=list[str] | dict[str, list[str]])] = (
        Field({}, description="what they may choose: a list, or lists by their headings, {Heading = [...]}")
    )
    taxonomy: str = Field("", description="a file beside the campaign's with the choices: .txt, .csv (tag, group) or .toml")
    shown: dict[str, str] = Field({}, description="what people read instead of a choice, {choice = words}; free to change at any time")
    hotkeys: dict[str, str] = Field({}, description="keys, {choice = key}; the others are given keys by Label Studio")
    regions: bool = Field(
        False, description="asked of stretches, which people draw, not of the whole clip; of beats and onsets a stretch's start counts"
    )
    multiple: bool = Field(False, description="several answers at once")
    required: bool = Field(False, description="a clip is not submitted without an answer")

    @model_validator(mode="before")
    @classmethod
    def _choices_are_read(cls, given: Any, info: ValidationInfo) -> Any:
        """Choices from the taxonomy's file, or those that go with the kind."""
        if not isinstance(given, Mapping) or not isinstance(kind := given.get("kind"), str):
            return given
        file, folder = given.get("taxonomy"), (info.context or {}).get("folder")
        if isinstance(file, str) and file and folder is not None:
            if given.get("choices"):
                raise ValueError("taxonomy: there are choices as well; keep one of the two")
            return {**given, "choices": read_taxonomy(Path(folder) / file)}
        if not given.get("choices") and not file and (usual := _usual(kind, bool(given.get("regions")))):
            return {**given, "choices": usual}
        return given

    @field_validator("text")
    @classmethod
    def _text_is_a_line(cls, text: str) -> str:
        return speakable(text)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        root = base(self.kind)
        if self.name == "audio":
            raise ValueError("name: 'audio' is the sound's own name on the screen; take another")
        if self.kind in NO_QUESTION:
            raise ValueError(f"kind: {self.kind!r} cannot be asked on this screen; ask for beat, onset, key, chord, text, ...")
        if root in MOMENTS and not self.regions:
            raise ValueError(f"regions: {self.kind!r} is said of moments; set regions = true")
        if root in ("tempo", "text") and self.regions:
            raise ValueError(f"regions: {self.kind!r} is asked of the whole clip; leave regions out")
        if root == "tempo" and (self.choices or self.multiple):
            raise ValueError(f"{'choices' if self.choices else 'multiple'}: {self.kind!r} is answered by one number; leave this out")
        if not self.values and (self.regions or root in ("tag", "instrument", "section")):
            raise ValueError(f'choices: missing; say what may be chosen for {self.kind!r}, or name a file: taxonomy = "tags.txt"')
        self._choices_fit()
        return self

    def _choices_fit(self) -> None:
        for value in self.values:
            try:
                speakable(value)
                check(self.kind, value)
            except ValueError as error:
                raise ValueError(f"choices: {error}") from None
            if len(value) > 200:
                raise ValueError(f"choices: {value[:40]!r}... is longer than 200 characters")
        for place, words in (("choices", [heading for heading in self.choices if heading]), ("shown", self.shown.values())):
            for said in words:
                try:
                    speakable(said)
                except ValueError as error:
                    raise ValueError(f"{place}: {error}") from None
        for place, keyed in (("shown", self.shown), ("hotkeys", self.hotkeys)):
            if strangers := [each for each in keyed if each not in self.values]:
                raise ValueError(f"{place}: {strangers[0]!r} is not one of the choices: {_few(self.values)}")
        # What is read counts too: the screen finds a choice by either.
        seen: dict[str, int] = {}
        for index, value in enumerate(self.values):
            for said in (value, self.shown.get(value, value)):
                if (other := seen.setdefault(_folded(said), index)) != index:
                    raise ValueError(f"choices: {said!r} reads like {self.values[other]!r}; people could not tell them apart")
        for value, key in self.hotkeys.items():
            if not re.fullmatch(r"(shift\+)?[a-z0-9]", key) or key == "u":
                raise ValueError(f"hotkeys: {key!r} (for {value!r}) is not a key to use: a letter but u, a digit, or shift+ one of these")

    @property
    def control(self) -> Control:
        """The tag that takes the answer."""
        if self.regions:
            return "Labels"
        if self.values:
            return "Choices"
        return "Number" if base(self.kind) == "tempo" else "TextArea"

    @property
    def values(self) -> tuple[str, ...]:
        """The choices as they are stored."""
        return tuple(value for group in self.choices.values() for value in group)

    @property
    def moment(self) -> bool:
        """Whether of a region only the start counts: the label's duration is 0."""
        return base(self.kind) in MOMENTS


def read_taxonomy(path: Path) -> dict[str, tuple[str, ...]]:
    """The tags in a file, by their headings.

    .txt: one a line, "[Heading]" begins a group, "#" a remark. .csv: columns tag and group. .toml: Heading = [tags].

    Raises:
        ValueError: there is no such file, or it is none of these.
    """
    try:
        text = foreign.text(path, 1 << 24)
        if path.suffix == ".toml":
            groups = tomllib.loads(text)
            if not all(isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) for tags in groups.values()):
                raise ValueError('has something else than headings with tags, as in Mood = ["calm", "happy"]')
            return {heading: tuple(tags) for heading, tags in groups.items()}
        pairs = _csv(text) if path.suffix == ".csv" else _lines(text) if path.suffix == ".txt" else None
    except OSError as error:
        raise ValueError(f"taxonomy: {path}: {error.strerror}; name a file beside the campaign's") from None
    except ValueError as error:
        raise ValueError(f"taxonomy: {path.name}: {error}") from None
    if pairs is None:
        raise ValueError(f"taxonomy: {path.name}: not a .txt, .csv or .toml file")
    grouped: dict[str, list[str]] = {}
    for heading, tag in pairs:
        grouped.setdefault(heading, []).append(tag)
    if not grouped:
        raise ValueError(f"taxonomy: {path.name}: no tags in it")
    return {heading: tuple(tags) for heading, tags in grouped.items()}


def speakable(text: str) -> str:
    """The text, if people can read it as it is stored.

    Raises:
        ValueError: it is blank, begins or ends with a space, or has control characters.
    """
    if not text.strip() or text != text.strip():
        raise ValueError(f"{text!r} is blank, or begins or ends with a space")
    if found := _UNSPEAKABLE.search(text):
        raise ValueError(f"{text[:60]!r} has the character {found[0]!a}, which a screen cannot show")
    return text


def _usual(kind: str, regions: bool) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    root = base(kind)
    if root == "key":
        return KEYS
    if root == "singing_voice":
        return ("yes",) if regions else ("yes", "no")
    return _KNOWN.get(root, ())


def _lines(text: str) -> list[tuple[str, str]]:
    pairs, heading = [], ""
    for line in map(str.strip, text.splitlines()):
        if found := re.fullmatch(r"\[(.+)\]", line):
            heading = found[1].strip()
        elif line and not line.startswith("#"):
            pairs.append((heading, line))
    return pairs


def _csv(text: str) -> list[tuple[str, str]]:
    rows = csv.DictReader(text.splitlines())
    if "tag" not in (rows.fieldnames or ()):
        raise ValueError(f"no column tag; there are {', '.join(rows.fieldnames or ()) or 'none'}")
    return [((row.get("group") or "").strip(), row["tag"].strip()) for row in rows if (row["tag"] or "").strip()]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _few(values: Sequence[str]) -> str:
    return ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")
