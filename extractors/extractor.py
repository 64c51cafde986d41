"""What every extractor is: a frozen spec that says its columns, and opens into a function from clips to arrays."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from extractors.batch import Batch
    from extractors.spectrum import Spectrum

# Arrays are NumPy's on a CPU and torch's on a GPU; (clips, *column.shape), or a list of one array per clip where the
# length of a clip varies (whole tracks).
Live = Callable[["Batch"], Mapping[str, Any]]


@dataclass(frozen=True)
class Column:
    """One column that an extractor gives.

    shape: one row's shape, time first; () is a number. A leading None varies from row to row (whole tracks).
    dtype: NumPy's name of what is stored: float16, float32, int32.
    dims: a name for each dimension, as in ("time", "mel").
    labels: names along the last dimension, kept in the schema's metadata (tags, say).
    """

    name: str
    shape: tuple[int | None, ...] = ()
    dtype: str = "float32"
    dims: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Extractor(BaseModel):
    """A frozen, hashable, picklable description of numbers to take from sound. Heavy things appear in `open`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Raised whenever the same spec would give other values than before: it is part of every part's name.
    version: ClassVar[int] = 1

    name: str = Field("", pattern=r"^([a-z][a-z0-9_]*)?$", description="the table's name; the class's own in lower case if empty")

    @property
    def table(self) -> str:
        """The name of the table that this extractor fills."""
        return self.name or re.sub(r"[^a-z0-9]", "", type(self).__name__.lower())

    def columns(self, seconds: float | None) -> tuple[Column, ...]:
        """The columns for clips of `seconds`; None means whole tracks, whose length varies."""
        raise NotImplementedError

    def spectra(self) -> tuple[Spectrum, ...]:
        """The spectra that `open`'s function will ask a batch for, so that one transform serves all extractors."""
        return ()

    def sample_rates(self) -> tuple[int, ...]:
        """The sample rates (Hz) at which the batch's sound will be asked for."""
        return tuple(sorted({spectrum.sample_rate for spectrum in self.spectra()}))

    def weights_hash(self) -> str:
        """What identifies the weights in use; empty where there are none."""
        return ""

    def open(self, device: str = "cpu") -> Live:
        """Load what is heavy, once per worker, and give the function that a batch is handed to.

        Args:
            device: "cpu" or "cuda", "cuda:1", …
        """
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Everything that determines this extractor's values, given the sound."""
        spec = self.model_dump(mode="json", exclude={"name"})
        return {"use": type(self).__name__, "version": self.version, "weights": self.weights_hash(), **spec}

    def digest(self) -> str:
        """A short name for `identity`.

        >>> class Silence(Extractor):
        ...     pass
        >>> len(Silence().digest())
        16
        """
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]
