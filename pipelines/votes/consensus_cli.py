"""`earmark consensus`: votes into what they agree on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.terminal import show, tell

if TYPE_CHECKING:
    from annotation.annotators import Quality
    from pipelines.votes.agreed import Agreed

WORST = 3


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    command = add(commands, "consensus", _consensus, "what a campaign's people agree on, and how well each of them hears")
    command.add_argument("file", metavar="CAMPAIGN.toml", help="whose answers were pulled")
    command.add_argument("--store", required=True, help="folder of the store")
    methods = ("majority", "dawid-skene", "mace", "glad")
    command.add_argument("--method", choices=methods, default="dawid-skene", help="of tags and choices (%(default)s)")
    command.add_argument(
        "--accepted",
        choices=("count", "once", "drop"),
        default="count",
        help="answers that merely confirm a pre-annotation: they count, are one voice on each clip, or are left out (%(default)s)",
    )
    command.add_argument(
        "--dispute", type=_share, default=0.3, metavar="P", help="disputed: wrong with more than this probability (%(default)s)"
    )
    command.add_argument("--requeue", default="", metavar="FILE.toml", help="write a campaign that asks again about what is disputed")
    command.add_argument(
        "--also", action="append", default=[], metavar="CAMPAIGN.toml", help="count the answers of a campaign that asked again, too"
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text}: not a probability from 0 to below 1")
    return value


def _consensus(options: argparse.Namespace, result: IO[str]) -> int:
    from extractors.uri import printable
    from pipelines.campaigns.desk import open_desk
    from pipelines.progress import bar
    from pipelines.store import Store
    from pipelines.votes.consensus import agree, described
    from pipelines.votes.requeue import requeue

    store = Store(options.store)
    desk = open_desk(options.file, store)
    also = [open_desk(file, store) for file in options.also]
    with bar("agreeing", "questions") as advance:
        found = agree(desk, options.method, options.accepted, options.dispute, also, advance)
    disputed = found.disputed()
    if not any(len(each.votes) for each in found.agreed):
        tell(f"no answers are in {store.root} yet; 'earmark campaign pull {desk.file}' fetches them")
    asked = requeue(desk, disputed, Path(options.requeue)) if options.requeue and disputed else None
    facts = {
        "campaign": desk.campaign.name,
        "added": found.added,
        "disputed": disputed,
        "requeue": {"file": options.requeue, "name": asked.name} if asked else None,
        "questions": [{"question": each.question.name, **described(each)} for each in found.agreed],
    }
    lines = [printable(line) for each in found.agreed for line in _lines(each)]
    files = f"all posteriors: {desk.folder / 'consensus.parquet'}, people: {desk.folder / 'annotators.json'}"
    lines.append(f"{found.added} labels added; {files}")
    if asked:
        way = f"by {options.requeue} ({asked.name}): {len(disputed)}; 'earmark campaign apply' sends it"
        lines.append(f"disputed clips are asked again {way}")
    show(result, options.json, facts, "\n".join(lines))
    if options.requeue and not asked:
        tell(f"nothing is disputed: {options.requeue} was not written")
    return 0


def _lines(agreed: Agreed) -> list[str]:
    votes = agreed.votes
    people = len(agreed.quality) or len(set(votes.annotator.tolist()))
    head = f"{agreed.question.name}: {len(votes.clips)} clips, {len(votes)} answers by {people} people"
    lines = [f"{head}; {int(agreed.disputed.sum())} disputed ({agreed.method})" if agreed.method else head]
    said = sorted(agreed.counts.items(), key=lambda each: (-each[1], each[0]))
    none = sum(1 for clip in agreed.statements if clip and not clip[0][0])
    if agreed.method and len(votes):
        counts = [f"{value} {count}" for value, count in said[:12]] + ([f"{len(said) - 12} more"] if len(said) > 12 else [])
        lines.append(f"  clips with {', '.join([*counts, f'none of these {none}'])}")
    lines += [f"  {remark}" for remark in agreed.remarks]
    for index, each in enumerate(agreed.quality):
        if (index < WORST and each.sensitivity) or each.facts:
            lines.append(f"  {_person(each)}")
            lines += [f"    {fact}" for fact in each.facts]
    return lines


def _person(each: Quality) -> str:
    rates = (("sensitivity", each.sensitivity), ("specificity", each.specificity), ("precision", each.precision))
    told = ", ".join(f"{name} {rate}" for name, rate in rates if rate)
    by = {"gold": "by gold", "others": "by what the others say"}.get(each.basis, "")
    return f"{each.annotator}: {each.answers} answers; {told or 'not to be judged'}{f', {by}' if by else ''}"
