"""A server that stands still, and a machine that stops at any write."""

from __future__ import annotations

import os
from typing import Any

import pytest


class Remembered:
    """A server that stands still: what it once answered it answers again."""

    def __init__(self, studio: Any) -> None:
        self._studio, self._known = studio, dict[str, Any]()

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            key = f"{name} {arguments}"
            if key not in self._known:
                self._known[key] = getattr(self._studio, name)(*arguments)
            return self._known[key]

        return ask


class PowerCut(BaseException):
    """The machine stops."""


def cut_at(patched: pytest.MonkeyPatch, step: int) -> None:
    """The power goes before or after the n-th fsync or rename; an unfinished file has half of its bytes."""
    count = [0]

    def cutting(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: Any) -> Any:
            count[0] += 1
            if count[0] == step:
                if name == "replace":
                    os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
                raise PowerCut
            done = real(*arguments)
            count[0] += 1
            if count[0] == step:
                raise PowerCut
            return done

        patched.setattr(os, name, call)

    cutting("fsync")
    cutting("replace")
