"""`earmark agreement`: how far people agree."""

from __future__ import annotations

import argparse
from typing import IO, Any

from pipelines.terminal import show, tell


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    command = add(commands, "agreement", _agreement, "say how far the people of a campaign agree, with intervals, worst first")
    command.add_argument("file", metavar="CAMPAIGN.toml", help="whose answers were pulled")
    command.add_argument("--store", required=True, help="folder of the store")
    command.add_argument("--draws", type=_whole, default=1000, help="of the bootstrap; 0 for no intervals (%(default)s)")
    command.add_argument("--seed", type=_whole, default=0, help="of the draws (%(default)s)")
    command.add_argument("--distance", choices=("masi", "jaccard"), default="masi", help="between answers of several choices (%(default)s)")
    command.add_argument(
        "--within", type=_seconds, nargs="+", default=[], metavar="SECONDS", help="tolerances for what is drawn, instead of the usual ones"
    )


def _agreement(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.campaigns.desk import open_desk
    from pipelines.part import StoreError
    from pipelines.progress import bar
    from pipelines.store import Store
    from pipelines.votes.agreement import measure, text

    desk = open_desk(options.file, Store(options.store))
    if not desk.store.names("tracks"):
        raise StoreError(f"{desk.store.root}: no tracks, so no campaign has asked anything; name the store that {desk.file} is about")
    with bar("measuring", "questions") as advance:
        found = measure(desk, options.seed, options.draws, options.distance, sorted(set(options.within)), advance)
    if not any(each.answers for each in found.agreement):
        tell(f"no answers are in {desk.store.root} yet; 'earmark campaign pull {desk.file}' fetches them")
    show(result, options.json, found.facts(), text(found))
    return 0


def _whole(given: str) -> int:
    if (value := int(given)) < 0:
        raise argparse.ArgumentTypeError(f"{given} is below 0")
    return value


def _seconds(given: str) -> float:
    if not 0 < (value := float(given)) < 3600:
        raise argparse.ArgumentTypeError(f"{given} is not between 0 and 3600 seconds")
    return value
