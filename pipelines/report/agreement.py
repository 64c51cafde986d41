"""The report's figures of how far people agree, and of what one says where another says something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report.charts import grid, intervals, listed, matrix, more
from pipelines.report.markup import text

SCORES = 40  # rows of a table, the worst
QUESTIONS = 12
VALUES = 14  # of a matrix
WHYS = 20


def agreement(said: Mapping[str, Any]) -> str:
    """HTML of what `earmark agreement` measured: worst first, as it is in the file."""
    own = [each for each in said["agreement"] if not each["accepted"]]
    kept = [each for each in said["agreement"] if each["accepted"]]
    parts = [f"<h3>Agreement</h3>\n{_scores(own)}"]
    if kept:
        parts.append("<h3>Agreement with answers that merely accepted a pre-annotation</h3>\n" + _scores(kept))
    meanings = listed([f"{name}: {what}" for name, what in said["meanings"].items()], 20, "more measures")
    drawn = f"Intervals: 95 %, bootstrap over clips, {said['draws']} draws, seed {said['seed']}."
    return f'{"".join(parts)}<div class="quiet">{meanings}<p>{text(drawn)}</p></div>\n'


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    """Scores as dots with intervals; deviations, which are seconds, as a table; what has no score with the reason."""
    scored = [each for each in rows if each["score"] is not None]
    shares = [each for each in scored if "deviation" not in each["measure"]]
    apart = [each for each in scored if "deviation" in each["measure"]]
    without = [each for each in rows if each["score"] is None]
    parts = ""
    if shares:
        shown = shares[:SCORES]
        lowest = min(each["score"] if each["low"] is None else each["low"] for each in shown)
        low = 0.0 if lowest >= 0 else max(-1.0, round(lowest - 0.05, 1))
        parts += intervals([(_about(each), each["score"], each["low"], each["high"], _remark(each)) for each in shown], _HEADS, low)
        parts += more(len(shares) - SCORES, "higher scores are in agreement.json")
    if apart:
        cells = [(_about(each), each["measure"], f"{each['score']:.3f} s", _interval(each), each["clips"]) for each in apart[:SCORES]]
        parts += grid(("about", "measure", "median", "95 %", "clips"), cells, numbers=3)
        parts += more(len(apart) - SCORES, "smaller deviations are in agreement.json")
    whys: dict[tuple[str, str, str], list[str]] = {}
    for each in without:
        whys.setdefault((each["question"], each["measure"], each["why"]), []).append(each["value"])
    lines = [f"{question}, {measure}: {why}{_values(values)}" for (question, measure, why), values in whys.items()]
    return parts + ("<h4>Not computable</h4>" + listed(lines, WHYS, "more are in agreement.json") if lines else "")


_HEADS = ("about", "score", "measure and what it is of")


def _about(row: Mapping[str, Any]) -> str:
    return f"{row['question']}: {row['value']}" if row["value"] else str(row["question"])


def _remark(row: Mapping[str, Any]) -> str:
    detail = ", ".join(f"{name} {count:g}" for name, count in row["detail"].items() if count and name != "pairs")
    counts = f"{row['clips']} clips, {row['annotators']} people"
    return "; ".join(filter(None, (row["measure"], counts, detail, row["why"])))


def _interval(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None or row["high"] is None else f"{row['low']:.3f} … {row['high']:.3f}"


def _values(values: Sequence[str]) -> str:
    named = [each for each in values if each]
    return f" ({', '.join(named[:5])}{f' and {len(named) - 5} more' if len(named) > 5 else ''})" if named else ""


def confusion(said: Mapping[str, Any]) -> str:
    """HTML of a matrix for each question: what two people said of the same clip."""
    shown = [(name, rows) for name, rows in said["confusion"].items() if rows]
    parts = [f"<h4>{text(name)}</h4>\n{_matrix(rows)}" for name, rows in shown[:QUESTIONS]]
    if not parts:
        return ""
    what = "How often one person said the row and another the column of the same clip; darker is a larger share of the row."
    head = f'<h3>Confusion between people</h3>\n<p class="quiet">{what}</p>\n'
    return head + "".join(parts) + more(len(shown) - QUESTIONS, "more questions are in agreement.json")


def _matrix(rows: Sequence[tuple[str, str, float]]) -> str:
    """rows: (one, other, times), each pair once; "" is nothing (else)."""
    times: dict[tuple[str, str], float] = {}
    confused: dict[str, float] = {}
    for one, other, count in rows:
        times[one, other] = times[other, one] = float(count)
        for name in (one, other):
            confused[name] = confused.get(name, 0.0) + (float(count) if one != other else 0.0)
    worst = sorted(confused, key=lambda name: (-confused[name], name))[:VALUES]
    names = sorted(worst, key=lambda name: (not name, name))
    wholes = [sum(count for (one, _), count in times.items() if one == name) for name in names]
    counts = [[round(times.get((one, other), 0.0), 1) for other in names] for one in names]
    drawn = matrix([name or "(nothing)" for name in names], counts, "", wholes)
    return drawn + more(len(confused) - VALUES, "values that are confused less are in agreement.json")
