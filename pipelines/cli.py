"""The command line: `earmark scan`, `run`, `labels`, `campaign`, `rejects`, `recipe`, `synthesize`, `report`."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.buckets import way_out
from pipelines.campaigns import cli as campaigns
from pipelines.heads import cli as heads
from pipelines.process import single_threaded
from pipelines.queue import cli as queue
from pipelines.release import cli as release
from pipelines.similar import cli as similar
from pipelines.votes import agreement_cli, consensus_cli

if TYPE_CHECKING:
    from pipelines.engines.engine import Engine
    from pipelines.recipe import Recipe
    from pipelines.run import Summary

# Heavy imports stand in the commands, so that --help answers at once.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done; 1 something named failed; 2 a mistake in the command, the recipe or the store; 130 interrupted.
    """
    single_threaded()
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more and getattr(options, "engine", "") != "beam":  # what follows then is Beam's: --runner, --region, ...
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.beam = more
    with _result_stream(getattr(options, "json", False)) as result:
        try:
            code: int = options.command(options, result)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on where it stopped", file=sys.stderr)
            code = 130
        except BrokenPipeError:
            code = 1
        except OSError as error:
            named = error.filename is not None and error.strerror
            print(f"earmark: {error.filename}: {error.strerror}" if named else f"earmark: {error}{way_out(str(error))}", file=sys.stderr)
            code = 2
        except ValueError as error:
            print(f"earmark: {error}{way_out(str(error))}", file=sys.stderr)
            code = 2
        except Exception as error:
            if not _is_ours(error):
                raise
            print(f"earmark: {error}{way_out(str(error))}", file=sys.stderr)
            code = 2
    return code


def _is_ours(error: Exception) -> bool:
    from pipelines.part import StoreError

    return isinstance(error, StoreError)


@contextlib.contextmanager
def _result_stream(machine: bool) -> Iterator[IO[str]]:
    """Where results go. With --json whatever libraries print, in C too, goes to standard error, so that the output parses."""
    if not machine:
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as result:
            yield result
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _scan(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.engines.supervisor import supervised
    from pipelines.in_hand import InHand

    in_hand = InHand()
    supervised("file")  # before anything starts a thread: it forks
    from pipelines.catalog import scan
    from pipelines.progress import bar
    from pipelines.store import Store

    with bar("scanning", "files") as advance:
        report = scan(Store(options.store), options.source, options.shard_hours, progress=advance, in_hand=in_hand)
    _show(result, options.json, asdict(report), str(report))
    return 0


def _run(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.in_hand import InHand

    in_hand = InHand()
    if options.engine == "local":
        from pipelines.engines.supervisor import supervised

        supervised()  # before anything starts a thread: it forks
    from pipelines.diary import Diary
    from pipelines.part import StoreError
    from pipelines.progress import bar, shards_bar
    from pipelines.recipe import load, refuse_code
    from pipelines.relabel import check, relabel
    from pipelines.run import run
    from pipelines.store import Store

    recipe = load(options.recipe)
    if not options.allow_code:
        refuse_code(recipe)
    store = Store(options.store)
    if not store.names("tracks"):
        raise StoreError(f"{options.store}: no tracks yet; 'earmark scan FOLDER --store {options.store}' finds them")
    for extractor in recipe.extract:
        extractor.weights_hash()  # missing weights are named here, before a cluster starts
    _check_augmentations(recipe)
    check(store, recipe)
    if options.retry_rejects:
        from pipelines.catalog import retry

        retry(store, in_hand=in_hand)
    engine = _engine(options, recipe, store.root)
    diary = Diary(store, options.engine, tuple(recipe.variants()), options.log)
    with shards_bar() as tell:
        summary = run(store, recipe, engine, options.retry_rejects, tell, diary.told)
    diary.end(summary)
    try:
        if not summary.interrupted and not summary.away and store.names("labels") and store.names("views", summary.variants["views"]):
            with bar("moving labels", "shards") as advance:
                summary.variants["view_labels"] = relabel(store, recipe, advance).variant
    finally:  # what was heard is told, even if labels that came in meanwhile cannot be moved
        _show(result, options.json, _facts(summary, store.root), _text(summary, store.root))
    if summary.interrupted:
        print("stopped; the same command goes on where it stopped", file=sys.stderr)
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

        _check_beam(options)
        return Beam(store, options.beam, options.accelerator)
    from pipelines.engines.ray_cluster import RayCluster

    address = options.address or os.environ.get("RAY_ADDRESS", "")
    return RayCluster(address, workers, recipe.run.devices, recipe.run.window)


def _check_beam(options: argparse.Namespace) -> None:
    from pipelines.engines.beam_options import check

    check(options.beam, [f"--{name.replace('_', '-')}" for name in vars(options)])


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


def _check_augmentations(recipe: Recipe) -> None:
    """Folders and files that augmentations name are looked at before anything runs."""
    for index, augmentation in enumerate(recipe.augment):
        try:
            augmentation.check()
        except (ValueError, OSError) as error:
            raise ValueError(f"augment[{index}]: {error}") from error


def _labels_add(options: argparse.Namespace, result: IO[str]) -> int:
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
    _show(result, options.json, {"labels": len(labels), "new": new}, text)
    return 0


def _labels_move(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.progress import bar
    from pipelines.recipe import load
    from pipelines.relabel import relabel
    from pipelines.store import Store

    with bar("moving labels", "shards") as advance:
        made = relabel(Store(options.store), load(options.recipe), advance)
    text = f"{made.labels} labels of {made.views} views in {made.shards} shards" if made.shards else "nothing to do: every part is there"
    _show(result, options.json, asdict(made), f"{text}\nview_labels  {options.store}/view_labels/{made.variant}")
    return 0


def _labels_export(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.gather import export
    from pipelines.store import Store

    written = export(Store(options.store), Path(options.out))
    _show(result, options.json, {"out": options.out, "files": written}, f"{written} JAMS files in {options.out}")
    return 0


def _rejects(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.store import Store

    rows = Store(options.store).open_rejects()
    by_cause: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_cause.setdefault(row["error"], []).append(row)
    lines = []
    for cause, each in sorted(by_cause.items(), key=lambda item: -len(item[1])):
        lines.append(f"{cause} ({len(each)})")
        for row in each:
            lines += [f"  {row['uri']}", f"    {row['message']}", f"    {row['remedy']}"]
    _show(result, options.json, rows, "\n".join(lines) or "no rejects")
    return 0


def _recipe_check(options: argparse.Namespace, result: IO[str]) -> int:
    from annotation.kinds import base
    from augment.contract import RULES, contract, refused, text
    from pipelines.estimate import estimate
    from pipelines.recipe import load
    from pipelines.relabel import kinds
    from pipelines.store import Store

    recipe = load(options.file)
    _check_augmentations(recipe)
    store = Store(options.store) if options.store else None
    found = estimate(recipe, store)
    held = kinds(store) if store else {}
    rows = contract(recipe.augment, recipe.labels, held or [*RULES, *recipe.labels.rules])
    stops = refused(recipe.augment, recipe.labels, held)
    lines = [str(found)]
    if rows:
        lines.append(f"\nwhat becomes of labels{'' if held else ' (of every kind that has a rule)'}:\n{text(rows)}")
    idle = sorted(set(recipe.labels.rules) - {name for kind in held for name in (kind, base(kind))}) if held else []
    if idle:
        lines.append(f"\nno label is of the kind of [labels.rules.{'], [labels.rules.'.join(idle)}]; there are {', '.join(held)}")
    if stops:
        lines.append('\na run would stop for what is refused; on_refused = "drop" under [labels] leaves such labels out of the views')
    elif recipe.labels.on_refused == "drop" and any(said.effect == "refused" for _, _, said in rows):
        lines.append("\nwhat is refused is left out of the views")
    table = [{"augmentation": label, "kind": kind, "effect": said.effect, "how": said.how} for label, kind, said in rows]
    _show(result, options.json, {**asdict(found), "contract": table, "stops": len(stops)}, "\n".join(lines))
    return 1 if stops else 0


def _recipe_schema(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.recipe import Recipe

    print(json.dumps(Recipe.model_json_schema(), indent=2), file=result)
    return 0


def _synthesize(options: argparse.Namespace, result: IO[str]) -> int:
    from augment.synthesis import synthesize
    from pipelines.progress import bar

    with bar("rendering", "pieces") as advance:
        finished = itertools.count(1)
        pieces = synthesize(options.out, options.pieces, options.seconds, options.seed, lambda _: advance(next(finished), options.pieces))
    text = f"{len(pieces)} pieces in {options.out}; what is played in them is in {options.out}/labels.parquet"
    _show(result, options.json, {"out": options.out, "pieces": len(pieces)}, text)
    return 0


def _status(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.diary import notes
    from pipelines.store import Store

    damaged: list[str] = []
    found = notes(Store(options.store), options.runs, damaged)
    text = "\n".join([*map(str, found), *damaged]) or f"no run has told of itself on {options.store} yet"
    _show(result, options.json, [asdict(each) for each in found], text)
    return 0


def _count(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.store import Store

    store = Store(options.store)
    if options.engine == "beam":
        _check_beam(options)
        from pipelines.engines import beam_counts

        found = beam_counts.count(store, options.top, options.beam)
    else:
        from pipelines.count import count

        found = count(store, options.top)
    _show(result, options.json, found.facts(), str(found))
    return 0


def _report(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.report.report import write_report
    from pipelines.store import Store

    out = Path(options.out)
    write_report(Store(options.store), out, options.tracks, [*map(Path, options.curve)], [*map(Path, options.release)])
    _show(result, options.json, {"page": str(out)}, f"the page is {out.resolve()}")
    return 0


def _show(result: IO[str], machine: bool, facts: Any, text: str) -> None:
    print(json.dumps(facts, default=str) if machine else text, file=result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="earmark", description="From a collection of recordings to training sets.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(to: Any, name: str, function: Any, what: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = to.add_parser(name, help=what, description=what, allow_abbrev=False)
        command.set_defaults(command=function)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    scan = add(commands, "scan", _scan, "find audio and note it in a store's catalogue")
    scan.add_argument("source", nargs="+", metavar="SOURCE", help="folder, file, glob, URI, or a manifest (csv, parquet, jsonl)")
    scan.add_argument("--shard-hours", type=_positive, default=1.0, help="hours of audio in a shard, at most (%(default)s)")
    run = add(commands, "run", _run, "compute what a recipe asks for and is not there yet")
    run_arguments(run)
    rejects = add(commands, "rejects", _rejects, "list what could not be used, by cause")
    status = add(commands, "status", _status, "how far runs on a store are, from any other terminal")
    status.add_argument("--runs", type=int, default=3, help="how many, the last first (%(default)s)")
    count = add(commands, "count", _count, "how many tracks, hours, labels and rejects a store holds, by what they are")
    count.add_argument("--engine", choices=("local", "beam"), default="local", help="beam: followed by Beam's own options (%(default)s)")
    count.add_argument("--top", type=int, default=20, help="names to tell of in each group, those with most (%(default)s)")
    report = add(commands, "report", _report, "write one HTML page to look at and listen to")
    report.add_argument("--out", required=True, metavar="FILE.html", help="the page")
    report.add_argument("--tracks", type=int, default=24, help="tracks to show (%(default)s)")
    report.add_argument(
        "--curve", action="append", default=[], metavar="FILE.json", help="show the learning curve that 'queue simulate --out' wrote"
    )
    report.add_argument(
        "--release", action="append", default=[], metavar="DIR", help="show a release: the folder of a version, OUT/NAME/v1"
    )
    for command in (scan, rejects, status, count, report):
        command.add_argument("--store", required=True, help="folder or URI of the store")

    recipe = commands.add_parser("recipe", help="check recipes, print their schema").add_subparsers(required=True, metavar="COMMAND")
    check = add(recipe, "check", _recipe_check, "say what a recipe would compute, how large it will be, and what becomes of labels")
    check.add_argument("file", metavar="RECIPE.toml")
    check.add_argument("--store", help="count the clips of this store's tracks")
    add(recipe, "schema", _recipe_schema, "print the JSON Schema of recipes")

    labels = commands.add_parser("labels", help="what is said about the recordings").add_subparsers(required=True, metavar="COMMAND")
    gather = add(labels, "add", _labels_add, "keep labels in a store; those that are there already are not kept twice")
    gather.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="labels.parquet, NAME.jams for the recording NAME.*, a folder of both, or a .csv of recording,kind,value",
    )
    move = add(labels, "move", _labels_move, "make the labels of every view that a recipe made; 'earmark run' does it too")
    move.add_argument("recipe", metavar="RECIPE.toml")
    export = add(labels, "export", _labels_export, "write a JAMS file for each labelled track")
    export.add_argument("--out", required=True, metavar="DIR")
    for command in (gather, move, export):
        command.add_argument("--store", required=True, help="folder or URI of the store")

    for each in (campaigns, agreement_cli, consensus_cli, queue, similar, release, heads):
        each.add_commands(commands, add)
    synthesize = add(commands, "synthesize", _synthesize, "render scores to audio with exact labels")
    synthesize.add_argument("--out", required=True, metavar="DIR")
    synthesize.add_argument("--pieces", type=int, default=24, help="how many (%(default)s)")
    synthesize.add_argument("--seconds", type=_positive, default=30.0, help="length of each (%(default)s)")
    synthesize.add_argument("--seed", type=int, default=0, help="the same seed gives the same sound (%(default)s)")
    return parser


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `earmark run`, which the script for `ray submit` takes too."""
    parser.add_argument("recipe", metavar="RECIPE.toml")
    parser.add_argument("--store", required=True, help="folder or URI of the store")
    parser.add_argument("--engine", choices=("ray", "local", "beam"), default="ray", help="local: threads of this process (%(default)s)")
    parser.add_argument("--address", default="", help="a running Ray cluster; RAY_ADDRESS if absent, else a private one here")
    parser.add_argument("--accelerator", default="", metavar="HINT", help="with --engine beam: type:nvidia-tesla-t4;count:1 or the like")
    parser.add_argument("--workers", type=int, default=None, help="shards at once; as many as there are cores if absent")
    parser.add_argument("--log", default="", metavar="FILE", help="add a line of JSON for each shard to this file")
    parser.add_argument("--allow-code", action="store_true", help="run the code of yours that the recipe names (TorchModel's factory)")
    parser.add_argument("--retry-rejects", action="store_true", help="try again what was rejected")


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
