"""Learning curves, summed up over seeds, and drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.queue.simulate import HEADS, ORDERS, SHARE, Curve

POINTS = 60  # of a drawn curve


def summed(curves: Sequence[Curve]) -> dict[str, Any]:
    """All curves as JSON: for each head the score of all labels, and for each order its mean with a 95 % interval over seeds.

    `needed` is how many answers it took until the mean reaches 95 % of the score with all labels and stays there for another two batches;
    None if it never does. `saving` is how many times fewer than the random order with the same rule. Seeds are few and test sets small:
    `low` and `high` are Student's interval of the mean, and `needed_by_seed` tells how far seeds differ.
    """
    found: dict[str, Any] = {"orders": {name: what for name, (what, _) in ORDERS.items()}, "share": SHARE, "heads": {}}
    for head in HEADS:
        whole = [curve.scores[head][-1] for curve in curves if curve.order == "all"]
        target = SHARE * float(np.mean(whole))
        orders = {name: _order([each for each in curves if each.order == name], head, target, whole) for name in ORDERS}
        base = orders["random"]["needed"]
        for each in orders.values():
            each["saving"] = round(base / each["needed"], 2) if base and each["needed"] else None
        found["heads"][head] = {"all_labels": whole, "mean": float(np.mean(whole)), "target": target, "orders": orders}
    return found


def _order(curves: Sequence[Curve], head: str, target: float, whole: Sequence[float]) -> dict[str, Any]:
    from scipy.stats import t

    last = min(curve.asked[-1] for curve in curves)
    asked = np.unique(np.concatenate([curve.asked for curve in curves]))
    asked = asked[(asked <= last) & (asked >= max(curve.asked[0] for curve in curves))]
    scores = np.stack([np.interp(asked, curve.asked, curve.scores[head]) for curve in curves])
    clips = np.stack([np.interp(asked, curve.asked, curve.clips) for curve in curves]).mean(axis=0)
    mean, count = scores.mean(axis=0), len(curves)
    half = t.ppf(0.975, count - 1) * scores.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(len(mean), np.nan)
    at = _reached(mean, target)
    seeds = [_reached(row, SHARE * full) for row, full in zip(scores, whole, strict=True)]
    return {
        "asked": asked.tolist(),
        "clips": clips.round(1).tolist(),
        "mean": mean.round(4).tolist(),
        "low": [round(float(each), 4) if np.isfinite(each) else None for each in mean - half],
        "high": [round(float(each), 4) if np.isfinite(each) else None for each in mean + half],
        "needed": None if at is None else int(asked[at]),
        "needed_clips": None if at is None else round(float(clips[at]), 1),
        "needed_by_seed": [None if each is None else int(asked[each]) for each in seeds],
    }


def _reached(scores: Any, target: float) -> int | None:
    """Where a curve first reaches a score and keeps it for three points in a row, or to its end."""
    enough = np.asarray(scores) >= target
    for place in np.flatnonzero(enough):
        if enough[place : place + 3].all():
            return int(place)
    return None


def told(found: dict[str, Any]) -> str:
    """The curves in words, a line for each order."""
    lines = []
    for head, each in found["heads"].items():
        lines.append(f"{head}: macro-F1 {each['mean']:.3f} with all labels, {found['share']:.0%} of it is {each['target']:.3f}")
        for name, order in each["orders"].items():
            needed = "not reached" if order["needed"] is None else f"{order['needed']} answers about {order['needed_clips']:g} clips"
            saving = f", {order['saving']:g} times fewer than random" if order["saving"] and name != "random" else ""
            lines.append(f"  {name}: {needed}{saving}; ends at {order['mean'][-1]:.3f} after {order['asked'][-1]}")
    return "\n".join(lines)


def drawn(found: dict[str, Any], title: str) -> bytes:
    """An SVG with text as text, a title and a description for who cannot see it; the same bytes for the same curves."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "earmark", "font.size": 11}):
        figure = Figure(figsize=(9, 9), layout="constrained")
        for place, (head, each) in enumerate(found["heads"].items(), 1):
            axes = figure.add_subplot(len(found["heads"]), 1, place)
            for (name, order), style in zip(each["orders"].items(), ("-", "-", "--", "--", "-"), strict=True):
                step = max(1, len(order["asked"]) // POINTS)
                columns = {column: order[column][::step] for column in ("asked", "mean", "low", "high")}
                line = axes.plot(columns["asked"], columns["mean"], style, label=name, linewidth=3 if name == "queue" else 1.6)[0]
                if None not in columns["low"]:
                    axes.fill_between(columns["asked"], columns["low"], columns["high"], color=line.get_color(), alpha=0.12, linewidth=0)
            axes.axhline(each["target"], color="0.4", linewidth=1, linestyle=":", label=f"{found['share']:.0%} of all labels")
            axes.set(xlabel="answers asked of people", ylabel="macro-F1, groups never asked", ylim=(0, 1))
            axes.set_title(f"{title}, {head} head", parse_math=False)  # a $ in a kind's name begins no formula
            axes.set_xscale("log")
            axes.set_xticks([20, 50, 100, 200, 500, 1000, 2000], ["20", "50", "100", "200", "500", "1000", "2000"])
            axes.grid(alpha=0.3)
            axes.legend(loc="lower right", fontsize=9)
        sink = io.BytesIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Title": title, "Description": told(found)})
    return _spoken(sink.getvalue(), title, told(found))


def _spoken(svg: bytes, title: str, description: str) -> bytes:
    """With a title and a description of its own, which screen readers speak."""
    from xml.sax.saxutils import escape

    start = svg.index(b">", svg.index(b"<svg")) + 1
    inside = f'\n <title id="title">{escape(title)}</title>\n <desc id="desc">{escape(description)}</desc>'.encode()
    head = svg[: start - 1] + b' role="img" aria-labelledby="title desc">'
    return head + inside + svg[start:]
