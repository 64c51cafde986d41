"""Figures that are tables as well: bars, intervals and matrices that a screen reader reads and a telephone shows."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.report.markup import text

DARKEST = 45  # percent of the accent behind a number, which is still read on it


def bars(rows: Sequence[tuple[str, float, str]], heads: tuple[str, str]) -> str:
    """A bar for each row.

    Args:
        rows: (name, value ≥ 0, value as it is written).
        heads: of the columns.

    >>> "50.0%" in bars([("mp3", 2, "2"), ("flac", 4, "4")], ("format", "tracks"))
    True
    """
    longest = max((value for _, value, _ in rows), default=0.0) or 1.0
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th><td class="bar"><span style="width:{100 * value / longest:.1f}%"></span></td>'
        f'<td class="number">{text(written)}</td></tr>'
        for name, value, written in rows
    )
    return f'<table class="bars">{_head((heads[0], "", heads[1]), 2)}<tbody>{body}</tbody></table>\n'


def intervals(
    rows: Sequence[tuple[str, float | None, float | None, float | None, str]], heads: tuple[str, str, str], low: float = 0.0
) -> str:
    """A dot with its interval for each row, on an axis from `low` to 1.

    Args:
        rows: (name, value or None, ends of its interval or None, remark).
        heads: of the columns name, value and remark.

    >>> "0.50<small> 0.25 … 1.00</small>" in intervals([("ada", 0.5, 0.25, 1.0, "")], ("who", "share", ""))
    True
    """

    def place(value: float) -> float:
        return 100 * (min(max(value, low), 1.0) - low) / (1.0 - low)

    body = ""
    for name, value, lower, upper, remark in rows:
        drawn, said = "", "–"
        if value is not None:
            drawn, said = f'<b style="left:{place(value):.1f}%"></b>', f"{value:.2f}"
            if lower is not None and upper is not None:
                left, right = place(lower), place(upper)
                drawn = f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>{drawn}'
                said += f"<small> {lower:.2f} … {upper:.2f}</small>"
        body += (
            f'<tr><th scope="row">{text(name)}</th><td class="interval"><div>{drawn}</div></td><td class="number">{said}</td>'
            f'<td class="quiet">{text(remark)}</td></tr>'
        )
    axis = f'<td class="ends" aria-hidden="true"><span>{low:g}</span><span>1</span></td>'
    head = _head((heads[0], "", heads[1], heads[2]), 2).replace("<td></td>", axis, 1)
    return f'<div class="wide"><table class="intervals">{head}<tbody>{body}</tbody></table></div>\n'


def matrix(names: Sequence[str], counts: Sequence[Sequence[float]], corner: str, wholes: Sequence[float] = ()) -> str:
    """Numbers of names against names, darker where they are a larger share of their row.

    Args:
        wholes: what each row's numbers are shares of; its sum where there are none.
    """
    body = ""
    for at, (name, row) in enumerate(zip(names, counts, strict=True)):
        whole = (wholes[at] if wholes else sum(row)) or 1.0
        cells = "".join(f'<td class="cell" style="--share:{DARKEST * min(1.0, value / whole):.0f}%">{value:,.4g}</td>' for value in row)
        body += f'<tr><th scope="row">{text(name)}</th>{cells}</tr>'
    return f'<div class="wide"><table class="matrix">{_head((corner, *names))}<tbody>{body}</tbody></table></div>\n'


def grid(heads: Sequence[str], rows: Sequence[Sequence[object]], numbers: int = 0) -> str:
    """A plain table; the last `numbers` columns are aligned to the right."""
    plain = len(heads) - numbers
    body = "".join(
        "<tr>" + "".join(f"<td{'' if at < plain else ' class=number'}>{text(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    head = "".join(f"<th scope=col{'' if at < plain else ' class=number'}>{text(name)}</th>" for at, name in enumerate(heads))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page, with a heading that can be linked to."""
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{text(title)}</h2>\n{"".join(parts)}</section>\n'


def _head(names: Sequence[str], number: int = -1) -> str:
    """The head of a table; number: the column that is aligned to the right."""
    cells = "".join(
        f'<th scope="col"{" class=number" if at == number else ""}>{text(name)}</th>' if name else "<td></td>"
        for at, name in enumerate(names)
    )
    return f"<thead><tr>{cells}</tr></thead>"


def more(count: int, what: str) -> str:
    """How many were left out; nothing, if none were."""
    return f'<p class="quiet">{count:,} {text(what)}</p>\n' if count > 0 else ""


def listed(items: Sequence[str], most: int, rest: str) -> str:
    """Lines of text, the first `most` of them."""
    if not items:
        return ""
    return f'<ul class="lines">{"".join(f"<li>{text(each)}</li>" for each in items[:most])}</ul>\n{more(len(items) - most, rest)}'
