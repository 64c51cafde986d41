"""`earmark rejects`, `status`, `count`, `report`: what a store holds, and what became of runs on it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from pipelines.commands.checks import check_beam, scanned
from pipelines.terminal import show


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
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
    for command in (rejects, status, count, report):
        command.add_argument("--store", required=True, help="folder or URI of the store")


def _rejects(options: argparse.Namespace, result: IO[str]) -> int:
    rows = scanned(options.store, "tracks", "rejects").open_rejects()
    by_cause: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_cause.setdefault(row["error"], []).append(row)
    lines = []
    for cause, each in sorted(by_cause.items(), key=lambda item: -len(item[1])):
        lines.append(f"{cause} ({len(each)})")
        for row in each:
            lines += [f"  {row['uri']}", f"    {row['message']}", f"    {row['remedy']}"]
    show(result, options.json, rows, "\n".join(lines) or "no rejects")
    return 0


def _status(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.diary import notes
    from pipelines.store import Store

    damaged: list[str] = []
    found = notes(Store(options.store), options.runs, damaged)
    text = "\n".join([*map(str, found), *damaged]) or f"no run has told of itself on {options.store} yet"
    show(result, options.json, [asdict(each) for each in found], text)
    return 0


def _count(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.store import Store

    store = Store(options.store)
    if options.engine == "beam":
        check_beam(options)
        from pipelines.engines import beam_counts

        found = beam_counts.count(store, options.top, options.beam)
    else:
        from pipelines.count import count

        found = count(store, options.top)
    show(result, options.json, found.facts(), str(found))
    return 0


def _report(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.report.report import write_report

    out = Path(options.out)
    write_report(scanned(options.store, "tracks"), out, options.tracks, [*map(Path, options.curve)], [*map(Path, options.release)])
    show(result, options.json, {"page": str(out)}, f"the page is {out.resolve()}")
    return 0
