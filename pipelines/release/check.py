"""What a release's file names and the store does not have: told with the line, before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.places import FileError, line_of
from pipelines.release.rows import expression
from pipelines.release.spec import Conditions, Release
from pipelines.store import NO_TABLES, PLAIN, Store

_Place = tuple[str | int, ...]


def check(store: Store, spec: Release, file: Path | None) -> None:
    """Look whether the store has all that is named.

    Raises:
        FileError: one line for each mistake, with its line in the file and what there is instead.
    """
    mistakes = [
        *_tables(store, spec),
        *_labels(store, spec),
        *_conditions(store, spec.rows.where, ("rows", "where")),
        *(each for name, where in spec.split.where.items() for each in _conditions(store, where, ("split", "where", name))),
    ]
    if mistakes:
        raise FileError("\n".join(mistake(file, place, text) for place, text in mistakes))


def mistake(file: Path | None, place: _Place, text: str) -> str:
    """One line: file, line, place, and what is wrong."""
    dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
    line = line_of(file, place) if file else 0
    return f"{file.name if file else 'release'}{f', line {line}' if line else ''}: {dotted}: {text}".replace("\n", " ")


def _tables(store: Store, spec: Release) -> Iterator[tuple[_Place, str]]:
    tables = {name: variants for name, variants in store.tables().items() if name not in (*PLAIN, *NO_TABLES, "views", "view_labels")}
    wanted: list[tuple[_Place, str]] = [(("features",), feature) for feature in spec.features]
    if spec.split.near:
        wanted.append((("split", "near", "column"), spec.split.near.column))
    for place, feature in wanted:
        table, _, column = feature.partition(".")
        if table not in tables or not tables[table]:
            yield place, f"no table {table!r} in {store.root}; there are {', '.join(tables) or 'none yet: run a recipe'}"
            continue
        variant = spec.variants.get(table, "")
        if variant and variant not in tables[table]:
            yield ("variants", table), f"no variant {variant!r} of {table!r}; there are {', '.join(tables[table])}"
            continue
        if not store.paths(table, variant or store.current().get(table, "") or tables[table][-1]):
            yield place, f"table {table!r} has no rows yet; 'earmark run' makes them"
            continue
        found = store.table(table, variant)
        keys = ("clip_id", "view", "track_id", "start", "seconds")
        if lacking := [key for key in keys if key not in found.column_names]:
            yield place, f"{table!r} is no table of features: it has no column {lacking[0]!r}"
        elif column not in found.column_names or column in keys:
            there = ", ".join(name for name in found.column_names if name not in keys)
            yield place, f"{table!r} has no column {column!r}; there are {there}"


def _labels(store: Store, spec: Release) -> Iterator[tuple[_Place, str]]:
    if not spec.labels:
        return
    if not store.names("labels"):
        yield ("labels",), f"no labels in {store.root}; 'earmark labels add' brings them, and so does 'earmark consensus'"
        return
    rows = store.table("labels").to_table(["kind", "campaign", "author_kind"])
    kinds = pc.unique(rows.column("kind")).sort() if len(rows) else pa.array([], pa.string())
    campaigns = [each for each in pc.unique(rows.column("campaign")).to_pylist() if each]
    for index, words in enumerate(spec.labels):
        if words.kind not in kinds.to_pylist():
            yield ("labels", index, "kind"), f"nobody spoke of {words.kind!r}; there are {', '.join(kinds.to_pylist())}"
            continue
        if words.campaign and words.campaign not in campaigns:
            yield ("labels", index, "campaign"), f"no labels of {words.campaign!r}; there are {', '.join(sorted(campaigns)) or 'none'}"
            continue
        heard = pc.unique(rows.filter(pc.equal(rows.column("kind"), words.kind)).column("author_kind")).to_pylist()
        if not set(heard) & set(words.author_kinds):
            yield (
                ("labels", index, "author_kinds"),
                f"of {words.kind!r} none of {', '.join(words.author_kinds)} spoke; those who did: {', '.join(sorted(heard))}",
            )


def _conditions(store: Store, where: Conditions, place: _Place) -> Iterator[tuple[_Place, str]]:
    tracks = store.read("tracks")
    if tracks is None:
        return
    for index, condition in enumerate(where):
        if condition.column not in tracks.column_names:
            yield (*place, index), f"no column {condition.column!r} in the catalogue; there are {', '.join(tracks.column_names)}"
            continue
        try:
            tracks.slice(0, 1).filter(expression((condition,)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            yield (*place, index), str(error).splitlines()[0]
