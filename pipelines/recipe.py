"""A recipe: which windows of the tracks are heard, and what is computed from them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from augment import AUGMENTATIONS
from augment.augmentation import Augmentation
from augment.chain import identity
from augment.choice import singly
from augment.contract import Policy
from augment.masks import SpecMask
from augment.stems import remix_leads
from extractors import EXTRACTORS
from extractors.clip import Window
from extractors.extractor import Extractor
from pipelines.places import FileError, load_toml

NAMED: dict[str, type[BaseModel]] = {each.__name__: each for each in (*EXTRACTORS, *AUGMENTATIONS)}


class RecipeError(FileError):
    """A recipe that cannot be understood: file, place, value and what would be right."""


class Run(BaseModel):
    """How the work is spread: no part of a part's identity, free to change between two runs of one recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(0, ge=0, description="shards at once; 0 is as many as there are cores")
    devices: Literal["auto", "cpu", "gpu"] = Field("auto", description="auto uses every GPU that the machine or cluster has")
    batch: int = Field(0, ge=0, description="clips held at once by a worker; 0 is four minutes of sound, or sixteen on a GPU")
    max_retries: int = Field(1, ge=0, description="times that a shard which killed its worker is tried again before it is halved")
    deadline_seconds: float = Field(
        120.0, gt=0, description="seconds that a shard may take, beyond a quarter of its sound's length, before its worker counts as hung"
    )
    memory_gb: float = Field(
        0.0,
        ge=0,
        description="memory that a worker may take before it counts as runaway; 0 is its share of the machine's, by cores, and 2 at least",
    )
    window: int = Field(0, ge=0, description="shards in flight; 0 is one for each worker, and more on a cluster that may grow")

    def deadline(self, seconds: float) -> float:
        """Seconds of work after which a worker on so much sound counts as hung."""
        return self.deadline_seconds + seconds / 4


class Views(BaseModel):
    """How many views each clip gets: view 0 is the clip untouched, the others go through `augment`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(1, ge=1, description="views of each clip, view 0 among them")
    sample_rate: int = Field(
        0, ge=0, le=1_000_000, description="Hz at which views are made; 0 is the track's own: dearer, and seldom heard"
    )


class Recipe(BaseModel):
    """What is computed from each track.

    Raises:
        ValidationError: parts that do not fit each other. Use `load` for one-line errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="for people; printed, never part of an identity")
    seed: int = Field(0, description="seed of every draw")
    window: Window = Window()
    views: Views = Views()
    labels: Policy = Policy()
    if TYPE_CHECKING:
        augment: tuple[Augmentation, ...] = ()
        extract: tuple[Extractor, ...]
    else:
        augment: tuple[Annotated[reduce(or_, AUGMENTATIONS), Field(discriminator="use")], ...] = Field((), max_length=100)
        extract: tuple[Annotated[reduce(or_, EXTRACTORS), Field(discriminator="use")], ...] = Field(min_length=1, max_length=100)
    run: Run = Run()

    @model_validator(mode="after")
    def _one_table_each(self) -> Self:
        counts = Counter(extractor.table for extractor in self.extract)
        counts.update(("tracks", "aliases", "rejects", "views", "recipes", "labels", "view_labels", "landmarks", "groups"))
        for index, extractor in enumerate(self.extract):
            if counts[extractor.table] > 1:
                raise ValueError(f"extract[{index}].name: table {extractor.table!r} is taken; give this extractor another name")
        return self

    @model_validator(mode="after")
    def _views_are_made(self) -> Self:
        if self.augment and self.views.count == 1:
            raise ValueError("views.count: 1 is the clip untouched, and nothing would be augmented; say how many views a clip gets: 4")
        if self.views.count > 1 and not self.augment:
            raise ValueError(f"views.count: {self.views.count}, but nothing makes one differ; add [[augment]], or leave views out")
        try:
            remix_leads(self.augment)
        except ValueError as error:
            raise ValueError(f"augment: {error}") from error
        if any(isinstance(each, SpecMask) for each in singly(self.augment)) and not any(map(_takes_masks, self.extract)):
            raise ValueError("augment: SpecMask hides parts of a log-mel, and no extractor lets it; set masks = true for a LogMel")
        rate = self.views.sample_rate
        for index, extractor in enumerate(self.extract):
            wanted = max(extractor.sample_rates(), default=0)
            if self.augment and 0 < rate < wanted:
                raise ValueError(f"views.sample_rate: {rate} Hz, but extract[{index}] hears {wanted} Hz; make views at that rate at least")
        return self

    def tables(self) -> dict[str, Extractor]:
        """The extractors by their tables' names."""
        return {extractor.table: extractor for extractor in self.extract}

    def variants(self) -> dict[str, str]:
        """For each table, `views` among them, a digest of all that determines its rows, given a shard."""
        window = self.window.model_dump(mode="json")
        identities: dict[str, Any] = {"views": {"version": 2}}
        identities |= {table: extractor.identity() for table, extractor in self.tables().items()}
        # A recipe without views leaves its seed and its rates out: they determine nothing.
        drawn = [identity(self.seed, self.views.count, self.views.sample_rate, self.augment)] if self.augment else []
        return {
            table: hashlib.sha256(json.dumps([window, each, *drawn], sort_keys=True).encode()).hexdigest()[:16]
            for table, each in identities.items()
        }


def _takes_masks(extractor: Extractor) -> bool:
    """Whether an extractor is a log-mel that heeds masks, or begins with one."""
    return bool(getattr(extractor, "masks", False) or getattr(getattr(extractor, "front", None), "masks", False))


def refuse_code(recipe: Recipe) -> None:
    """Stop before the user's own code runs, for a recipe may come from somebody else.

    Raises:
        RecipeError: the recipe names code to run; one line for each place.
    """
    named = [(index, getattr(extractor, "factory", "")) for index, extractor in enumerate(recipe.extract)]
    if lines := [f"extract[{index}]: runs code of {code!r}; give --allow-code if you trust it" for index, code in named if code]:
        raise RecipeError("\n".join(lines))


def load(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: file, line, place, value and the choices, in one line per mistake.
    """
    return load_toml(path, Recipe, NAMED, "name a recipe, as in 'earmark run recipe.toml --store STORE'", RecipeError)
