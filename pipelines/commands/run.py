"""`earmark run`: a recipe on a store."""

from __future__ import annotations

import argparse
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from pipelines.commands.checks import check_augmentations, check_beam, scanned
from pipelines.terminal import show, tell

if TYPE_CHECKING:
    from pipelines.engines.engine import Engine
    from pipelines.recipe import Recipe
    from pipelines.run import Summary


def add_commands(commands: Any, add: Any) -> None:
    """Declare the command; `add(parser, name, function, help)` makes one."""
    run = add(commands, "run", _run, "compute what a recipe asks for and is not there yet")
    run.add_argument("recipe", metavar="RECIPE.toml", help="what is computed of each clip; 'earmark recipe check' tells what that would be")
    run.add_argument("--store", required=True, help="folder or URI of the store")
    run.add_argument("--engine", choices=("ray", "local", "beam"), default="ray", help="local: threads of this process (%(default)s)")
    run.add_argument("--address", default="", help="a running Ray cluster; RAY_ADDRESS if absent, else a private one here")
    run.add_argument("--accelerator", default="", metavar="HINT", help="with --engine beam: type:nvidia-tesla-t4;count:1 or the like")
    run.add_argument("--workers", type=int, default=None, help="shards at once; as many as there are cores if absent")
    run.add_argument("--log", default="", metavar="FILE", help="add a line of JSON for each shard to this file")
    run.add_argument("--allow-code", action="store_true", help="run the code of yours that the recipe names (TorchModel's factory)")
    run.add_argument("--retry-rejects", action="store_true", help="try again what was rejected")


def _run(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.in_hand import InHand

    in_hand = InHand()
    if options.engine == "local":
        from pipelines.engines.supervisor import supervised

        supervised()  # before anything starts a thread: it forks
    from pipelines.diary import Diary
    from pipelines.progress import bar, shards_bar
    from pipelines.recipe import load, refuse_code
    from pipelines.relabel import check, relabel
    from pipelines.run import run

    recipe = load(options.recipe)
    if not options.allow_code:
        refuse_code(recipe)
    store = scanned(options.store, "tracks")
    for extractor in recipe.extract:
        extractor.weights_hash()  # missing weights are named here, before a cluster starts
    check_augmentations(recipe)
    check(store, recipe)
    if options.retry_rejects:
        from pipelines.catalog import retry

        retry(store, in_hand=in_hand)
    engine = _engine(options, recipe, store.root)
    diary = Diary(store, options.engine, tuple(recipe.variants()), options.log)
    with shards_bar() as progress:
        summary = run(store, recipe, engine, options.retry_rejects, progress, diary.told)
    diary.end(summary)
    try:
        if not summary.interrupted and not summary.away and store.names("labels") and store.names("views", summary.variants["views"]):
            with bar("moving labels", "shards") as advance:
                summary.variants["view_labels"] = relabel(store, recipe, advance).variant
    finally:  # what was heard is told, even if labels that came in meanwhile cannot be moved
        show(result, options.json, _facts(summary, store.root), _text(summary, store.root))
    if summary.interrupted:
        tell("stopped; the same command goes on where it stopped")
    if summary.interrupted or summary.away:
        result.flush()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if summary.interrupted else 1)  # threads may still be in C code, and waiting for them is not stopping
    return 1 if summary.failed else 0


def _engine(options: argparse.Namespace, recipe: Recipe, store: str) -> Engine:
    workers = options.workers if options.workers is not None else recipe.run.workers
    if options.engine == "local":
        from pipelines.engines.local import Local

        return Local(store, workers, recipe.run.devices)
    if options.engine == "beam":
        from pipelines.engines.beam import Beam

        check_beam(options)
        return Beam(store, options.beam, options.accelerator)
    from pipelines.engines.ray_cluster import RayCluster

    address = options.address or os.environ.get("RAY_ADDRESS", "")
    return RayCluster(address, workers, recipe.run.devices, recipe.run.window)


def _facts(summary: Summary, store: str) -> dict[str, Any]:
    return {
        "store": store,
        "shards": summary.shards,
        "planned": summary.planned,
        "tracks": summary.tracks,
        "clips": summary.clips,
        "views": summary.views,
        "audio_hours": summary.audio_seconds / 3600,
        "wall_seconds": summary.wall_seconds,
        "times_real_time": summary.rate,
        "bytes": summary.bytes,
        "rejects": dict(summary.rejects),
        "failed": summary.failed,
        "interrupted": summary.interrupted,
        "away": summary.away,
        "tables": {table: f"{store}/{table}/{variant}" for table, variant in summary.variants.items()},
    }


def _text(summary: Summary, store: str) -> str:
    lines = []
    if not summary.planned:
        lines.append("nothing to do: every part is there")
    elif not summary.shards:
        lines.append("no shard was finished")
    else:
        hours = summary.audio_seconds / 3600
        views = f", {summary.views} views" if summary.views > summary.clips else ""
        lines.append(
            f"{summary.tracks} tracks, {summary.clips} clips{views}, {hours:.2f} h of sound in {summary.wall_seconds:.1f} s"
            f" ({summary.rate:.0f} x real time), {summary.bytes / 1e6:.1f} MB"
        )
    if summary.rejects:
        causes = ", ".join(f"{count} {cause}" for cause, count in summary.rejects.most_common())
        lines.append(f"rejects: {causes} ('earmark rejects --store {store}' tells more)")
    if summary.away:  # why shards under way have failed
        return "\n".join([*lines, summary.away])
    lines += [f"shard {part} failed: {message}" for part, message in summary.failed.items()]
    if summary.failed:
        lines.append("mend the cause and give the same command again: it makes what is missing")
    lines += [f"{table:12} {store}/{table}/{variant}" for table, variant in summary.variants.items()]
    return "\n".join(lines)
