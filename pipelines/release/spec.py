"""What a release is made of, as people write it: release.toml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from annotation.campaign import Condition, Spec, as_condition
from annotation.labels import AuthorKind
from annotation.revisions import SILENT
from pipelines.places import load_toml
from pipelines.release.licences import Licence, asked

Relation = Literal["artist", "album", "group", "bytes", "fingerprint", "embedding", "lineage"]
Conditions = tuple[Annotated[Condition, BeforeValidator(as_condition)], ...]
Share = Annotated[float, Field(gt=0, le=1)]
# The columns that every release has.
ROW = ("row_id", "clip_id", "view", "view_id", "track_id", "start", "seconds", "license", "license_sources")
_COLUMN = re.compile(r"[^.\s]+\.[^.\s]+")


class Rows(Spec):
    """Which clips and views are rows."""

    where: Conditions = Field((), description="conditions on the catalogue, all of which hold")
    views: Literal["none", "train", "all"] = Field(
        "train", description="augmented views: in no split, in the first one alone, or in all; the clip untouched is in every split"
    )
    labelled: Literal["any", "all", "no"] = Field(
        "any", description="a row needs somebody's word on one of the label columns, on all of them, or on none"
    )


class Words(Spec):
    """A column of labels."""

    kind: str = Field(min_length=1, description="of label: instrument, tag.mood, beat, ...")
    name: str = Field("", pattern=r"^([a-z]\w*)?$", description="of the column; the kind, with _ for dots, if absent")
    form: Literal["tags", "regions"] = Field("tags", alias="as", description="tags of the whole row, or what lies where in it")
    question: str = Field("", description='the campaign\'s question, whose "nothing of these" counts as an answer')
    author_kinds: tuple[AuthorKind, ...] = Field(
        ("gold", "consensus"), min_length=1, description="whose word counts; where an earlier one spoke, later ones are not heard"
    )
    campaign: str = Field("", description="only what was said in it; labels that name no campaign (gold) always count")
    confidence: float = Field(0.0, ge=0, le=1, description="what is said with less is neither there nor absent, but unknown")
    tags: tuple[str, ...] = Field((), description="the tags, in this order; all that were said, sorted, if absent")

    @property
    def column(self) -> str:
        """Its name."""
        return self.name or re.sub(r"\W", "_", self.kind)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all that are made of it."""
        return self.column, f"{self.column}_hot", f"{self.column}_by"

    @field_validator("kind")
    @classmethod
    def _kind_speaks(cls, kind: str) -> str:
        if kind in SILENT:
            raise ValueError(f"{kind!r} says nothing about sound")
        return kind

    @model_validator(mode="after")
    def _tags_are_of_tags(self) -> Self:
        if self.tags and self.form == "regions":
            raise ValueError('tags: regions have no columns of their own; leave tags out, or say as = "tags"')
        if twice := [tag for tag, count in Counter(self.tags).items() if count > 1]:
            raise ValueError(f"tags: {twice[0]!r} stands there twice")
        return self


class Near(Spec):
    """When two clips are the same for the ear."""

    column: str = Field(description="of embeddings: musicnn.penultimate_mean")
    cosine: float = Field(0.98, gt=0, le=1, description="from which on two clips are near-duplicates")

    @field_validator("column")
    @classmethod
    def _column_has_a_table(cls, column: str) -> str:
        return _dotted(column)


class Split(Spec):
    """How rows are divided. What a relation in `close` holds together is never divided."""

    shares: dict[Annotated[str, Field(pattern=r"^[a-z][a-zA-Z0-9_]*$")], Share] = Field(
        {"train": 0.8, "valid": 0.1, "test": 0.1}, min_length=1, description="of the rows; the first is the one to learn from"
    )
    close: tuple[Relation, ...] = Field(
        ("artist", "album", "group", "bytes", "fingerprint", "embedding"),
        description="what never crosses; without lineage, views that mix in another split's recording are left out instead",
    )
    ignore: dict[Literal["artist", "album", "group"], tuple[str, ...]] = Field({}, description="values that make nobody the same")
    near: Near | None = Field(None, description="needed for the relation embedding")
    where: dict[str, Conditions] = Field({}, description="tracks whose split is stated: {test = [['group', 'in', ['A4', 'B4']]]}")
    file: str = Field("", description="a .csv or .parquet beside this file with columns track_id or uri, and split")
    stratify: tuple[str, ...] = Field((), description="columns of labels whose tags are spread evenly; all of tags, if absent")
    seed: int = Field(0, ge=0, lt=1 << 63)

    @model_validator(mode="after")
    def _shares_make_one(self) -> Self:
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares: {', '.join(f'{k} {v:g}' for k, v in self.shares.items())} make {sum(self.shares.values()):g}, not 1")
        if unknown := [name for name in self.where if name not in self.shares]:
            raise ValueError(f"where: {unknown[0]!r} is no split; there are {', '.join(self.shares)}")
        if self.where and self.file:
            raise ValueError("file: splits are stated by where or by a file, not by both")
        return self

    @field_validator("file")
    @classmethod
    def _file_is_there(cls, file: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if file and folder is not None and not (Path(folder) / file).exists():
            raise ValueError(f"{file!r} is not there; name a table of splits beside this file")
        if file and Path(file).suffix not in (".csv", ".parquet"):
            raise ValueError(f"{file!r} is neither .csv nor .parquet")
        return file


class Licences(Spec):
    """Which terms rows may carry. Recordings without a licence are left out unless somebody states one or keeps them."""

    allow: tuple[str, ...] = Field((), description='as in ["CC0", "CC-BY"], of any version unless one is named; all, if absent')
    unlicensed: Literal["exclude", "keep"] = Field("exclude", description="recordings whose terms nobody said or understood")
    reserved: Literal["exclude", "keep"] = Field("exclude", description="recordings with all rights reserved")
    stated: dict[str, str] = Field({}, description='for recordings that say nothing, by place: {"*/philharmonia/*" = "CC-BY-SA-3.0"}')
    means: dict[str, str] = Field({}, description='what a text means that says too little: {"free for research" = "CC-BY-NC"}')

    @field_validator("allow")
    @classmethod
    def _allowed_are_known(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        _known(allow)
        return allow

    @field_validator("stated", "means")
    @classmethod
    def _stated_are_known(cls, stated: dict[str, str]) -> dict[str, str]:
        _known(stated.values())
        return stated


class Shards(Spec):
    """How rows lie in files."""

    megabytes: float = Field(256.0, gt=0, description="of a file, at most")
    row_group_megabytes: float = Field(8.0, gt=0, description="what is read at a time")
    compression: Literal["none", "zstd"] = Field("none", description="of features; all else is small, and zstd")


class Release(Spec):
    """A training set: features, labels and views, divided, licensed, and named."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="by which its versions are found, for good")
    title: str = ""
    description: str = ""
    features: tuple[str, ...] = Field(min_length=1, description='columns of the store: ["musicnn.penultimate_mean", "logmel.logmel"]')
    variants: dict[str, str] = Field({}, description="of tables, where it is not the one of the latest run")
    rows: Rows = Rows()
    labels: tuple[Words, ...] = ()
    split: Split = Split()
    licences: Licences = Licences()
    shards: Shards = Shards()

    @field_validator("features")
    @classmethod
    def _features_have_tables(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name, count in Counter(features).items() if count > 1]:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return tuple(map(_dotted, features))

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        columns = Counter([*ROW, *(name for each in self.labels for name in each.columns)])
        for index, words in enumerate(self.labels):
            if any(columns[name] > 1 for name in words.columns):
                raise ValueError(f"labels[{index}].name: column {words.column!r} is taken; give this one another name")
        tags = [each.column for each in self.labels if each.form == "tags"]
        if strange := [each for each in self.split.stratify if each not in tags]:
            raise ValueError(f"split.stratify: no column {strange[0]!r} of tags; there are {', '.join(tags) or 'none'}")
        tables = {each.partition(".")[0] for each in self.features}
        if strange := [each for each in self.variants if each not in tables]:
            raise ValueError(f"variants: no feature is of table {strange[0]!r}; there are {', '.join(sorted(tables))}")
        return self

    @property
    def tables(self) -> dict[str, list[str]]:
        """The columns wanted of each table, in the order of their naming."""
        found: dict[str, list[str]] = {}
        for feature in self.features:
            table, _, column = feature.partition(".")
            found.setdefault(table, []).append(column)
        return found


def load(path: str | Path, allow: Iterable[str] = ()) -> Release:
    """Read a release's file.

    Args:
        allow: licences that stand in place of the file's.
    Raises:
        FileError: file, line, place, value and the choices, in one line per mistake. ValueError: no such licence in `allow`.
    """
    spec = load_toml(path, Release, hint="name a release, as in 'earmark release release.toml --store STORE --out DIR'")
    if allowed := tuple(allow):
        _known(allowed)
        spec = spec.model_copy(update={"licences": spec.licences.model_copy(update={"allow": allowed})})
    return spec


def _known(names: Iterable[str]) -> list[Licence]:
    return [asked(name) for name in names]


def _dotted(column: str) -> str:
    if not _COLUMN.fullmatch(column):
        raise ValueError(f"{column!r} is not a table and a column, as in musicnn.penultimate_mean")
    return column


def schema() -> dict[str, Any]:
    """The JSON Schema of releases."""
    model: type[BaseModel] = Release
    return model.model_json_schema()
