"""Whose embeddings a head takes, and whether a store's table holds the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.part import StoreError
from pipelines.store import Store

# Of an extractor's identity, what says which columns there are and not what is in them.
_NO_MATTER = ("outputs",)


def footer(store: Store, table: str) -> dict[str, Any]:
    """What a table's values came from: extractor, window, versions.

    Raises:
        StoreError: there is no such table, or no extractor made it.
    """
    metadata = store.table(table).schema.metadata or {}
    if b"earmark" not in metadata:
        raise StoreError(f"{store.root}: {table!r} was not made by an extractor")
    said: dict[str, Any] = json.loads(metadata[b"earmark"])
    return said


def differs(origin: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """What is otherwise in a table than in the one that a head has learnt from; "" if nothing is that matters.

    Args:
        origin: of a head. made: the table's extractor, out of its footer.

    >>> differs({"extractor": {"use": "MusiCNN", "weights": "ab"}}, {"use": "MusiCNN", "weights": "cd"})
    "weights is 'cd' and was 'ab'"
    """
    learnt = origin.get("extractor")
    learnt = learnt if isinstance(learnt, dict) else {}
    for name in sorted({*learnt, *made} - {*_NO_MATTER}):
        if learnt.get(name) != made.get(name):
            return f"{name} is {_short(made.get(name))} and was {_short(learnt.get(name))}"
    return ""


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 40 else f"{said[:16]}…"
