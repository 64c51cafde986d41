"""The report's section on a learning curve: the picture, and its numbers for who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation import foreign
from extractors.uri import printable
from pipelines.part import StoreError
from pipelines.report.charts import grid, listed, more, section
from pipelines.report.markup import text
from pipelines.report.pictures import inline

POINTS = 12  # of the table of a curve
TAGS = 12
SHORT = 30  # letters of a kind that have room above the picture


def curve(file: Path, number: int) -> str:
    """HTML of the section.

    Args:
        file: what `earmark queue simulate --out` wrote. number: of the section, from 1.
    Raises:
        StoreError: the file cannot be read, or is none of these.
    """
    try:
        said = foreign.document(file)
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        return _section(said, number)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        wanted = "name a file that 'earmark queue simulate --out' wrote"
        raise StoreError(f"{file}: no learning curve ({type(error).__name__}: {error}); {wanted}") from error


def _section(said: Mapping[str, Any], number: int) -> str:
    title = printable(str(said["kind"]))
    tags = f"{', '.join(map(str, said['tags'][:TAGS]))}{', …' if len(said['tags']) > TAGS else ''}"
    facts = [
        f"{said['clips']:,} clips with one of {len(said['tags'])} tags ({tags})",
        f"{said['annotators']} people who err in {said['error']:.0%} of their answers",
        f"{said['seeds']} seeds",
        f"embeddings {said['embeddings']}",
        f"tested on values of {said['group']} that are never asked about",
    ]
    parts = [f"<p>{' · '.join(map(text, facts))}</p>\n", listed([str(each) for each in said["remarks"]], TAGS, "more remarks")]
    parts.append(_picture(said, f"{title[:SHORT]}: {said['clips']} clips, {said['seeds']} seeds, {said['error']:.0%} errors"))
    orders = [f"{name}: {what}" for name, what in said["orders"].items()]
    parts += [_head(name, head, said["share"]) for name, head in said["heads"].items()]
    parts.append(f'<h3>The orders</h3>\n<div class="quiet">{listed(orders, len(orders), "")}</div>')
    return section(f"curve-{number}", f"Learning curve: {title}", *parts)


def _picture(said: dict[str, Any] | Mapping[str, Any], title: str) -> str:
    from pipelines.queue.curves import drawn

    # An image of its own: nothing in it can reach the page, and its ids meet no others. A dollar would begin a formula.
    svg = inline(drawn(dict(said), title), "image/svg+xml")
    return f'<p class="plot"><img alt="{text(f"learning curves of {title}; the tables below have the numbers")}" src="{svg}"></p>\n'


def _head(name: str, head: Mapping[str, Any], share: float) -> str:
    what = f"Macro-F1 {head['mean']:.3f} with all labels; {share:.0%} of it is {head['target']:.3f}. Answers until an order stays there:"
    rows = []
    for order, each in head["orders"].items():
        needed = "not reached" if each["needed"] is None else f"{each['needed']:,}"
        clips = "" if each["needed_clips"] is None else f"{each['needed_clips']:,.0f}"
        seeds = ", ".join("–" if count is None else f"{count:,}" for count in each["needed_by_seed"])
        saving = f"{each['saving']:g} ×" if each["saving"] else ""
        rows.append((order, seeds, needed, clips, saving))
    heads = ("order", "by seed", "answers", "about clips", "fewer than random")
    return f"<h3>{text(name)}</h3>\n<p>{text(what)}</p>\n{grid(heads, rows, numbers=3)}{_points(head['orders'])}"


def _points(orders: Mapping[str, Mapping[str, Any]]) -> str:
    """The curves at a few numbers of answers, each twice the one before, and at the end."""
    last = max(order["asked"][-1] for order in orders.values())
    first = min(order["asked"][0] for order in orders.values())
    at = [first]
    while at[-1] * 2 < last:
        at.append(at[-1] * 2)
    at += [last] if last > first else []
    rows = [(f"{asked:,}", *(_score(order, asked) for order in orders.values())) for asked in at[:POINTS]]
    named = ("answers", *orders)
    return (
        f"<h4>Macro-F1 by answers</h4>\n{grid(named, rows, numbers=len(orders))}{more(len(at) - POINTS, 'further points are in the file')}"
    )


def _score(order: Mapping[str, Sequence[Any]], asked: int) -> str:
    """The mean and its interval at the last point that needs no more answers."""
    places = [place for place, count in enumerate(order["asked"]) if count <= asked]
    if not places or order["asked"][-1] < asked:
        return ""
    at = places[-1]
    mean, low, high = (order[name][at] for name in ("mean", "low", "high"))
    return f"{mean:.2f}" if low is None or high is None else f"{mean:.2f} ({low:.2f} … {high:.2f})"
