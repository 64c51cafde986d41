"""`earmark labels …`: what is said about the recordings."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from pipelines.terminal import show


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    labels = commands.add_parser("labels", help="what is said about the recordings").add_subparsers(required=True, metavar="COMMAND")
    gather = add(labels, "add", _add, "keep labels in a store; those that are there already are not kept twice")
    gather.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="labels.parquet, NAME.jams for the recording NAME.*, a folder of both, or a .csv of recording,kind,value",
    )
    move = add(labels, "move", _move, "make the labels of every view that a recipe made; 'earmark run' does it too")
    move.add_argument("recipe", metavar="RECIPE.toml", help="whose views they are")
    export = add(labels, "export", _export, "write a JAMS file for each labelled track")
    export.add_argument("--out", required=True, metavar="DIR", help="where the files are written")
    for command in (gather, move, export):
        command.add_argument("--store", required=True, help="folder or URI of the store")


def _add(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.gather import add, gather, waiting
    from pipelines.store import Store

    store = Store(options.store)
    labels = gather(store, options.source)
    new = add(store, labels)
    text = f"{new} labels added" + (f"; {len(labels) - new} were there already" if new < len(labels) else "")
    if outside := sum(row["stage"] == "labels" for row in store.open_rejects()):
        text += f"\n{outside} recordings have labels beyond their end ('earmark rejects --store {store.root}' tells more)"
    if lost := waiting(store, labels):
        text += f"\n{lost} labels speak of clips or views that no run on this store has made: until one does they have no effect"
    show(result, options.json, {"labels": len(labels), "new": new}, text)
    return 0


def _move(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.progress import bar
    from pipelines.recipe import load
    from pipelines.relabel import relabel
    from pipelines.store import Store

    with bar("moving labels", "shards") as advance:
        made = relabel(Store(options.store), load(options.recipe), advance)
    text = f"{made.labels} labels of {made.views} views in {made.shards} shards" if made.shards else "nothing to do: every part is there"
    show(result, options.json, asdict(made), f"{text}\nview_labels  {options.store}/view_labels/{made.variant}")
    return 0


def _export(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.gather import export
    from pipelines.store import Store

    written = export(Store(options.store), Path(options.out))
    show(result, options.json, {"out": options.out, "files": written}, f"{written} JAMS files in {options.out}")
    return 0
