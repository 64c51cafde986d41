"""`earmark similar`, `earmark duplicates`: recordings that sound alike, and those that are the same."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import IO, Any

from pipelines.terminal import show


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    similar = add(commands, "similar", _similar, "the recordings that sound most like one")
    similar.add_argument("track", metavar="TRACK", help="its track_id, the beginning of one, or its file's name")
    similar.add_argument("--embeddings", required=True, metavar="TABLE.COLUMN", help="as in musicnn.penultimate_mean")
    similar.add_argument("--count", type=int, default=10, help="recordings that are named (%(default)s)")
    duplicates = add(commands, "duplicates", _duplicates, "find recordings that are the same, and write the table `groups`")
    duplicates.add_argument("--embeddings", default="", metavar="TABLE.COLUMN", help="whose near vectors are the same recording, too")
    duplicates.add_argument("--near", type=float, default=0.98, metavar="COSINE", help="from which on (%(default)s)")
    for command in (similar, duplicates):
        command.add_argument("--store", required=True, help="folder of the store")


def _similar(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.similar.similar import resolve, similar
    from pipelines.store import Store

    store = Store(options.store)
    track, uri = resolve(store, options.track)
    found = similar(store, track, *_embedding(options.embeddings), options.count)
    lines = [f"{track}  {uri}"]
    lines += [f"  {each.cosine:.3f}  {each.track_id}  {each.uri}  at {each.there:.1f} s as here at {each.here:.1f} s" for each in found]
    if not found:
        lines.append("  no other recording is in that table")
    show(result, options.json, {"track_id": track, "uri": uri, "similar": [asdict(each) for each in found]}, _printable(lines))
    return 0


def _duplicates(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.progress import bar
    from pipelines.similar.search import facts, search
    from pipelines.store import Store

    embedding = _embedding(options.embeddings) if options.embeddings else None
    if not 0 < options.near <= 1:
        raise ValueError(f"--near: {options.near} is no cosine above 0; 0.98 is usual")
    with bar("comparing", "shards") as advance:
        found = search(Store(options.store), embedding, options.near, advance)
    show(result, options.json, facts(found), _printable(str(found).splitlines()))
    return 0


def _embedding(text: str) -> tuple[str, str]:
    """Table and column.

    Raises:
        ValueError: the text is not two names with a dot.
    """
    table, dot, column = text.partition(".")
    if not (table and dot and column):
        raise ValueError(f"--embeddings: {text!r} is not TABLE.COLUMN, as in musicnn.penultimate_mean")
    return table, column


def _printable(lines: list[str]) -> str:
    # A file's name may hold anything, a line break too: it must not end the line.
    return "\n".join("".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line) for line in lines)
