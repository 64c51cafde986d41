"""What a command says, without what a terminal would obey: names, tags and answers of servers are others' words."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

from pipelines.terminal import stand_in

# All that moves the cursor, colours, links, copies to the clipboard or answers as if typed: the control characters, 8-bit ones too, but
# for tabs and ends of lines; line separators; what turns the direction of writing, so that a name reads as another (not the marks that
# names in Hebrew and Arabic have); and halves of characters, which cannot be written.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Text in which what a terminal would obey is spelled out.

    >>> print(harmless("\x1b]52;c;bHM=\a caf\udce9 \u202egpj.exe"))
    \x1b]52;c;bHM=\x07 caf\udce9 \u202egpj.exe
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class _Harmless:
    """A stream of text; all that is not writing is the stream's own."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"  # of a terminal, which may lack a letter
        self._stream.write(harmless(text).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @property
    def rich_proxied_file(self) -> IO[str]:
        """Where bars are drawn (rich asks for it): they are made of control characters, and of no words but ours.

        While one is drawn, rich's own stream lies between two of these: only what lies below all of them is the terminal.
        """
        below = self._stream
        while (next_below := getattr(below, "rich_proxied_file", None)) is not None:
            below = next_below
        return below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def harmless_streams() -> Iterator[None]:
    """Let nothing that is written to standard output or error meanwhile command the terminal, the trace of an unforeseen error neither."""
    stand_in()
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Harmless(kept[0]), _Harmless(kept[1])
    sys.excepthook = _told
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(harmless("".join(traceback.format_exception(kind, error, trace))))
