"""`earmark train-head`: a classifier on stored embeddings."""

from __future__ import annotations

from typing import Any


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
