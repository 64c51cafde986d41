"""The command line itself: every argument is explained, and what is mistyped is told in one line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import cli


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


COMMANDS = [each.prog for each in parsers(cli._parser())]


def test_every_argument_of_every_command_is_explained() -> None:
    unexplained = [
        (parser.prog, action.dest)
        for parser in parsers(cli._parser())
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction) and not (action.help or "").removesuffix("(%(default)s)").strip()
    ]
    assert unexplained == []
    assert len(COMMANDS) > 25


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_word_is_told_in_one_line_that_says_where_to_look(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split()[1:], "--no-such-option"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("earmark")
    assert f"; '{told.partition(':')[0]} --help' tells more\n" in told


@pytest.mark.parametrize("words", [["rejects"], ["report", "--out", "page.html"]], ids=lambda words: words[0])
def test_a_misspelt_store_is_not_taken_for_one_in_which_all_is_well(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--store", "sotre"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "earmark: sotre: no tracks yet; 'earmark scan FOLDER --store sotre' finds them\n")
    assert not any(tmp_path.iterdir())
