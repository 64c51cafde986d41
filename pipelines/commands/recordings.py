"""`earmark scan`, `earmark synthesize`: where recordings come from."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import asdict
from typing import IO, Any

from pipelines.terminal import show


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    scan = add(commands, "scan", _scan, "find audio and note it in a store's catalogue")
    scan.add_argument("source", nargs="+", metavar="SOURCE", help="folder, file, glob, URI, or a manifest (csv, parquet, jsonl)")
    scan.add_argument("--shard-hours", type=_positive, default=1.0, help="hours of audio in a shard, at most (%(default)s)")
    scan.add_argument("--store", required=True, help="folder or URI of the store")
    synthesize = add(commands, "synthesize", _synthesize, "render scores to audio with exact labels")
    synthesize.add_argument("--out", required=True, metavar="DIR", help="where the recordings are written, with labels.parquet")
    synthesize.add_argument("--pieces", type=int, default=24, help="how many (%(default)s)")
    synthesize.add_argument("--seconds", type=_positive, default=30.0, help="length of each (%(default)s)")
    synthesize.add_argument("--seed", type=int, default=0, help="the same seed gives the same sound (%(default)s)")


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
    show(result, options.json, asdict(report), str(report))
    return 0


def _synthesize(options: argparse.Namespace, result: IO[str]) -> int:
    from augment.synthesis import synthesize
    from pipelines.progress import bar

    with bar("rendering", "pieces") as advance:
        finished = itertools.count(1)
        pieces = synthesize(options.out, options.pieces, options.seconds, options.seed, lambda _: advance(next(finished), options.pieces))
    text = f"{len(pieces)} pieces in {options.out}; what is played in them is in {options.out}/labels.parquet"
    show(result, options.json, {"out": options.out, "pieces": len(pieces)}, text)
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value
