"""`earmark similar`, `earmark duplicates`: recordings that sound alike, and those that are the same."""

from __future__ import annotations

from typing import Any


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
