"""Nothing that others named or said commands the terminal that a command prints to."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.harmless import harmless, harmless_streams
from pipelines.progress import bar
from tests.answers import Answers
from tests.collection import ROOT, tones

# Title of the window, clipboard, a link, erasing, colours, a typed answer; the same in 8 bits; a line overwritten; a name turned round.
ATTACKS = (
    "\x1b]0;owned\x07",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[8m\x1b[5n",
    "\x9b2J\x9d0;owned\x9c",
    "wrong\rright",
    "\x08\x08\x7f\x00",
    "song\u202egpj.wav\u2066\u2069",
    "\u2028\u2029\ud800",
)
COMMAND = "from pipelines.cli import main; main()"
UNFORESEEN = """
import sys
from pipelines.harmless import harmless_streams
with harmless_streams():
    raise KeyError(type("", (), {"__repr__": lambda self: sys.argv[1]})())
"""
BARRED = """
import sys
from pipelines.harmless import harmless_streams
from pipelines.progress import bar
with harmless_streams(), bar("scanning", "files") as advance:
    advance(1, 2)
    print(sys.argv[1], file=sys.stderr)
    advance(2, 2)
print("done")
"""
OBEYED = [*(chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))), *"\u2028\u2029\u202a\u202e\u2066\u2069"]


def test_what_a_terminal_obeys_is_spelled_out_and_all_else_stays() -> None:
    for attack in ATTACKS:
        assert not [each for each in OBEYED if each in harmless(attack)], attack
        harmless(attack).encode()
    kept = "Für Elise\t“–” 東京 שלום\u200f مرحبا\u200e 🎵 e\u0301\n"
    assert harmless(kept) == kept


def test_names_in_results_errors_and_traces_reach_a_terminal_spelled_out(tmp_path: Path) -> None:
    """Of a real command on a real terminal: a server's answer, a file's name, an option, and an error that nobody foresaw."""
    hostile = "".join(ATTACKS[:5])
    music = tmp_path / f"music{hostile.replace('/', '')}"
    music.mkdir()
    (music / f"{hostile.replace('/', '')}.wav").write_text("no sound")
    tones(music, 1)
    store = tmp_path / "store"
    (tmp_path / "token").write_text("a" * 40)
    (tmp_path / "campaign.toml").write_text(
        'name = "abc"\ntitle = "abc"\n[[questions]]\nname = "q"\nkind = "tag"\ntext = "q"\nchoices = ["a"]'
    )
    with Answers(400, lambda _: {"detail": hostile}) as server:
        place = ("--store", store, "--url", server.url, "--token-file", tmp_path / "token")
        commands = [
            ("scan", music, "--store", store),
            ("rejects", "--store", store),
            ("scan", tmp_path / f"nothing{hostile}", "--store", store),
            ("campaign", "pull", tmp_path / "campaign.toml", *place),
            ("scan", "x", "--store", store, f"--no-such{hostile}"),
        ]
        said = [_on_a_terminal(COMMAND, *map(str, command)) for command in commands]
    said.append(_on_a_terminal(UNFORESEEN, hostile.replace("\0", "")))
    assert all("\\x1b" in each for each in said[1:5])  # a scan tells numbers
    for each in said:
        assert not [code for code in OBEYED if code in each.replace("\r\n", "\n")], each


def _on_a_terminal(program: str, *arguments: str, kind: str = "dumb") -> str:
    """What a program writes to a terminal, as the terminal gets it; a dumb one gets no progress bars."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": kind}
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=theirs, stderr=theirs, env=environment, cwd=ROOT) as child:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 1 << 16):
                said += piece
        except OSError:  # the last one that could write has ended
            pass
        child.wait()
    os.close(ours)
    return said.decode("utf-8", "surrogateescape")


def test_bars_are_drawn_on_a_terminal_and_what_is_printed_meanwhile_is_spelled_out(tmp_path: Path) -> None:
    said = _on_a_terminal(BARRED, ATTACKS[1], kind="xterm")
    assert "scanning" in said
    assert "\x1b[?25l" in said  # the cursor is hidden while a bar is drawn
    assert "\\x1b]52;c;cm0gLXJmIH4=\\x07" in said
    assert ATTACKS[1] not in said
    assert said.rstrip().endswith("done")
    tones(tmp_path / "music", 2)
    said = _on_a_terminal(COMMAND, "scan", str(tmp_path / "music"), "--store", str(tmp_path / "store"), kind="xterm")
    assert "2 new tracks" in said
    assert "\\x1b" not in said


def test_what_is_printed_while_a_bar_is_drawn_is_spelled_out_and_streams_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with harmless_streams(), bar("scanning", "files") as advance:
        advance(1, 2)
        print(ATTACKS[1], file=sys.stderr)
        print(ATTACKS[2])
        assert sys.stdout.isatty() is False
    assert (sys.stdout, sys.stderr) == before
    told = capsys.readouterr()
    assert told.err == "\\x1b]52;c;cm0gLXJmIH4=\\x07\n"
    assert "\x1b" not in told.out
