"""Figures that are tables as well: bars, intervals and matrices that a screen reader reads and a telephone shows."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.report.markup import text


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
    return f'<table class="bars">{_head((heads[0], "", heads[1]))}<tbody>{body}</tbody></table>\n'


def intervals(rows: Sequence[tuple[str, float | None, float, float, str]], heads: tuple[str, str, str], low: float = 0.0) -> str:
    """A dot with its interval for each row, on an axis from `low` to 1.

    Args:
        rows: (name, value or None, lower end, upper end, remark).
        heads: of the columns name, value and remark.
    """

    def place(value: float) -> float:
        return 100 * (min(max(value, low), 1.0) - low) / (1.0 - low)

    body = ""
    for name, value, lower, upper, remark in rows:
        drawn, said = "", "–"
        if value is not None:
            left, right = place(lower), place(upper)
            drawn = f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i><b style="left:{place(value):.1f}%"></b>'
            said = f"{value:.2f}<small> {lower:.2f} … {upper:.2f}</small>"
        body += (
            f'<tr><th scope="row">{text(name)}</th><td class="interval">{drawn}</td><td class="number">{said}</td>'
            f'<td class="quiet">{text(remark)}</td></tr>'
        )
    return f'<div class="wide"><table class="intervals">{_head((heads[0], "", heads[1], heads[2]))}<tbody>{body}</tbody></table></div>\n'


def matrix(names: Sequence[str], counts: Sequence[Sequence[float]], corner: str, shares: bool = True) -> str:
    """Numbers of names against names, darker where they are higher; rows are compared with their own sum if they are shares."""
    highest = max((value for row in counts for value in row), default=0.0) or 1.0
    body = ""
    for name, row in zip(names, counts, strict=True):
        whole = (sum(row) or 1.0) if shares else highest
        cells = "".join(f'<td class="cell" style="--share:{100 * value / whole:.0f}%">{value:,.4g}</td>' for value in row)
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


def _head(names: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{text(name)}</th>' if name else "<td></td>" for name in names)
    return f"<thead><tr>{cells}</tr></thead>"
