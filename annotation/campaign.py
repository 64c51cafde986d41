"""A campaign: what people are asked about which clips, and how they hear them.

Campaign.name, title, instructions, interface (the XML of a screen of one's own, or "")
Campaign.questions: tuple[Question, ...]    see annotation.question; Campaign.question(name)
Campaign.clips: seconds, hop, where (conditions column, op, value), limit, order, seed, views, named, ids
Campaign.overlap: annotators, shared, team    Campaign.gold: file, share, or None
Campaign.predictions: table or head, column, regions_column, threshold, thresholds, map, min_seconds, join_seconds, blind, or None
Campaign.audio: format, bitrate, base_url, expires_hours
Campaign.screen_digest(): of what people see; Campaign.questions_digest(): of what answers mean
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from annotation import foreign
from annotation.question import Question, speakable
from annotation.task import digest

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]


def as_condition(given: Any) -> Any:
    """A condition is written as a list of three: [column, operator, value]."""
    if isinstance(given, list | tuple):
        if len(given) != 3:
            raise ValueError(
                f'a condition is [column, operator, value], as in ["license", "in", ["CC0", "CC-BY"]], not {len(given)} things'
            )
        return dict(zip(("column", "op", "value"), given, strict=True))
    return given


class Spec(BaseModel):
    """A part of a campaign: a value, known when it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(Spec):
    """What a column of the catalogue must be: a triple, as pyarrow's filters take it."""

    column: str = Field(min_length=1, description="of the table tracks: seconds, license, artist, ...")
    op: Operator = Field(description="in and not in take a list")
    value: Any = Field(description="to compare with: text, a number, true or false, a time; or a list of one of these")

    @model_validator(mode="after")
    def _value_is_one(self) -> Self:
        values = self.value if isinstance(self.value, list) else [self.value]
        if isinstance(self.value, list) != (self.op in ("in", "not in")) or not values:
            raise ValueError(f"value: {self.op} takes {'a list' if self.op in ('in', 'not in') else 'one value'}, got {self.value!r}")
        if strange := [each for each in values if not isinstance(each, str | int | float | date)]:
            raise ValueError(f"value: {strange[0]!r} is not text, a number or a time")
        return self


class Clips(Spec):
    """Which clips are asked about."""

    seconds: float = Field(30.0, ge=1, le=1800, description="seconds of a clip; browsers hold it decoded, with its spectrogram")
    hop: float | None = Field(None, gt=0, description="seconds from one start to the next; a clip's length if absent")
    where: tuple[Annotated[Condition, BeforeValidator(as_condition)], ...] = Field((), description="conditions, all of which hold")
    limit: int = Field(0, ge=0, description="clips at most; 0 is all")
    order: Literal["track", "random"] = Field("track", description="random: the same for the same seed")
    seed: int = 0
    views: bool = Field(False, description="ask about augmented views too")
    named: bool = Field(True, description="people see title and artist, or the file's name; false where that would tell the answer")
    ids: str = Field("", description="a file beside the campaign's: only the clips that it lists, a clip_id or clip_id/view_id a line")

    @field_validator("ids")
    @classmethod
    def _ids_are_there(cls, ids: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if ids and folder is not None and not (Path(folder) / ids).is_file():
            raise ValueError(f"{ids!r} is not there; name a list of clips beside the campaign's file")
        return ids


class Overlap(Spec):
    """How many people hear each clip."""

    annotators: int = Field(1, ge=1, le=100, description="for each clip")
    shared: float = Field(0.0, ge=0, le=1, description="share of clips that everybody in the team hears")
    team: int = Field(0, ge=0, le=1000, description="how many everybody is; needed with shared")

    @model_validator(mode="after")
    def _a_team_is_counted(self) -> Self:
        if self.shared and self.team < self.annotators:
            raise ValueError(f"team: {self.team}, but {self.annotators} hear each clip; say how many there are, for the shared ones")
        return self


class Gold(Spec):
    """Clips with known answers, among the others."""

    file: str = Field(min_length=1, description="labels (.parquet, .jams, .csv) beside the campaign's file")
    share: float = Field(0.05, gt=0, le=1, description="of the clips that each person hears")

    @field_validator("file")
    @classmethod
    def _file_is_there(cls, file: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if folder is not None and not (Path(folder) / file).exists():
            raise ValueError(f"{file!r} is not there; name labels beside the campaign's file")
        return file


class Predictions(Spec):
    """What people start from: the guesses of an extractor, or of a head on its embeddings, said with the campaign's choices."""

    table: str = Field("", description="an extractor's table in the store that has tags: musicnn")
    head: str = Field("", description="a folder that earmark train-head wrote, beside this file; it knows its table and thresholds")
    column: str = Field("tags_mean", description="probabilities of the clip, (tags,), named in the schema")
    regions_column: str = Field("tags", description="probabilities over time, (patches, tags), for questions with regions")
    threshold: float = Field(0.5, gt=0, lt=1, description="a guess is shown from this probability on; a head has thresholds of its own")
    thresholds: dict[str, dict[str, Annotated[float, Field(gt=0, lt=1)]]] = Field({}, description="{question = {choice = probability}}")
    map: dict[str, dict[str, str]] = Field(
        {}, description="{question = {tag = choice}}; other tags are left out. With a head: choices that are its tags, if absent"
    )
    min_seconds: float = Field(1.0, ge=0, description="shorter regions are left out")
    join_seconds: float = Field(1.0, ge=0, description="regions that are nearer than this are one")
    blind: bool = Field(False, description="kept, but not shown to people")

    @field_validator("head")
    @classmethod
    def _head_is_there(cls, head: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if not head or folder is None:
            return head
        if not (Path(folder) / head / "head.json").is_file():
            raise ValueError(f"{head!r} is no head; 'earmark train-head' writes such a folder, name it beside the campaign's file")
        return str(Path(folder) / head)

    @model_validator(mode="after")
    def _guesses_come_from_one(self) -> Self:
        if bool(self.table) == bool(self.head):
            raise ValueError(f"{'head' if self.head else 'table'}: predictions come from a table or from a head; name one of them")
        if self.head and (told := {"column", "regions_column"} & self.model_fields_set):
            raise ValueError(f"{min(told)}: a head knows its column; leave this out")
        if self.table and not self.map:
            raise ValueError("map: say which of the extractor's tags mean which choices, {question = {tag = choice}}")
        return self


class Audio(Spec):
    """How a browser gets the sound."""

    format: Literal["mp3", "flac", "ogg", "wav"] = Field("flac", description="flac and wav are exact, mp3 and ogg small")
    bitrate: int = Field(192, ge=32, le=320, description="kbit/s of mp3 and ogg")
    base_url: str = Field("http://127.0.0.1:8090", description="where earmark's clip server is reached from browsers")
    expires_hours: float = Field(24 * 30, gt=0, le=24 * 365 * 5, description="hours for which a link is good")

    @field_validator("base_url")
    @classmethod
    def _url_is_one(cls, url: str) -> str:
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("not an address as http://host:8090 or https://host/clips")
        return url.rstrip("/")


class Campaign(Spec):
    """All that a lead says about a campaign."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$", description="by which it is found again, for good")
    title: str = Field(min_length=3, max_length=50, description="what people read; free to change")
    instructions: str = Field("", max_length=20_000, description="what people read before they begin; plain text or HTML")
    questions: tuple[Question, ...] = Field(min_length=1)
    interface: str = Field("", description="a screen of one's own: a file of Label Studio's XML beside the campaign's")
    clips: Clips = Clips()
    overlap: Overlap = Overlap()
    gold: Gold | None = None
    predictions: Predictions | None = None
    audio: Audio = Audio()

    @field_validator("interface")
    @classmethod
    def _interface_is_read(cls, interface: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if not interface or interface.lstrip().startswith("<") or folder is None:
            return interface
        try:
            return foreign.text(Path(folder) / interface, 1 << 22)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{interface!r} cannot be read ({getattr(error, 'strerror', None) or error}); name a file beside this one"
            ) from None

    @field_validator("title")
    @classmethod
    def _title_is_a_line(cls, title: str) -> str:
        return speakable(title)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        counts = Counter(question.name for question in self.questions)
        keys: dict[str, str] = {}
        for index, question in enumerate(self.questions):
            if counts[question.name] > 1:
                raise ValueError(f"questions[{index}].name: {question.name!r} is taken; each question has a name of its own")
            for key in question.hotkeys.values():
                if (other := keys.setdefault(key, question.name)) != question.name or list(question.hotkeys.values()).count(key) > 1:
                    raise ValueError(f"questions[{index}].hotkeys: {key!r} is taken (by {other}); each choice has a key of its own")
        for index, question in enumerate(self.questions):
            for earlier in self.questions[:index]:
                shared = set(question.values) & set(earlier.values) or not (question.values and earlier.values)
                if shared and (earlier.kind, earlier.regions) == (question.kind, question.regions):
                    # A label says its kind, not its question: answers to the two could not be told apart.
                    what = f"{question.kind!r} is asked by {earlier.name!r} too"
                    raise ValueError(f"questions[{index}].kind: {what}; tell them apart by what follows a dot, as in 'tag.second'")
        if self.predictions:
            self._predictions_fit(self.predictions)
        return self

    def _predictions_fit(self, predictions: Predictions) -> None:
        asked: Mapping[str, Question] = {question.name: question for question in self.questions}
        mapped = {name: tuple(table.values()) for name, table in predictions.map.items()}
        for part, said in (("map", mapped), ("thresholds", {name: tuple(each) for name, each in predictions.thresholds.items()})):
            for name, choices in said.items():
                if name not in asked:
                    raise ValueError(f"predictions.{part}.{name}: no such question; there are {', '.join(asked)}")
                known = asked[name].values
                if strangers := [each for each in choices if each not in known]:
                    there = f"; there are {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}" if known else ", which has none"
                    raise ValueError(f"predictions.{part}.{name}: {strangers[0]!r} is not a choice of {name!r}{there}")

    def question(self, name: str) -> Question:
        """The question of this name.

        Raises:
            KeyError: there is none.
        """
        for question in self.questions:
            if question.name == name:
                return question
        raise KeyError(name)

    def screen_digest(self) -> str:
        """16 hex digits of all that people see: title, instructions, questions with their words, own screen."""
        seen = [question.model_dump(mode="json", exclude={"kind", "taxonomy"}) for question in self.questions]
        return digest(_canonical([self.title, self.instructions, seen, self.interface]))

    def questions_digest(self) -> str:
        """16 hex digits of what answers mean: names, kinds and choices, whatever people read."""
        return digest(_canonical([[each.name, each.kind, each.control, each.multiple, sorted(each.values)] for each in self.questions]))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
