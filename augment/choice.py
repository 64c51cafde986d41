"""Chains within chains: several augmentations as one, and one out of several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from augment.augmentation import Augmentation, Change

if TYPE_CHECKING:
    AnyAugmentation = Augmentation  # at run time augment/__init__ puts the union of all augmentations here, Chain among them


class Chain(Augmentation):
    """Several augmentations, one after the other, with one coin for all.

    Labels: as each of them says, in order.
    """

    use: Literal["Chain"] = "Chain"

    of: tuple[AnyAugmentation, ...] = Field(min_length=1, description="in the order in which they are applied")

    def check(self) -> None:
        """Look at what the children name."""
        for child in self.of:
            child.check()

    def chosen(self, rng: np.random.Generator) -> tuple[Augmentation, ...]:
        """All children."""
        return self.of

    def extremes(self) -> tuple[Change, ...]:
        """Those of all children."""
        return tuple(change for child in self.of for change in child.extremes())

    def identity(self) -> dict[str, Any]:
        """With the children's own."""
        return {**super().identity(), "of": [child.identity() for child in self.of]}


class OneOf(Chain):
    """One augmentation out of several.

    Labels: as the chosen one says.
    """

    use: Literal["OneOf"] = "OneOf"  # type: ignore[assignment]

    weights: tuple[float, ...] = Field((), description="how likely each is; all the same if absent")

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.of):
            raise ValueError(f"OneOf needs as many weights as augmentations, got {len(self.weights)} for {len(self.of)}")
        if self.weights and not (min(self.weights) >= 0 and 0 < sum(self.weights) < math.inf):
            raise ValueError(f"OneOf needs weights >= 0 that are not all 0, got {list(self.weights)}")
        return self

    def chosen(self, rng: np.random.Generator) -> tuple[Augmentation, ...]:
        """One child."""
        shares = np.array(self.weights or (1.0,) * len(self.of))
        index = int(np.searchsorted(np.cumsum(shares) / shares.sum(), rng.random(), side="right"))
        return (self.of[min(index, len(self.of) - 1)],)


def singly(chain: Iterable[Augmentation]) -> Iterator[Augmentation]:
    """All augmentations that may be drawn, those within others one by one."""
    for each in chain:
        if isinstance(each, Chain):
            yield from singly(each.of)
        else:
            yield each
