"""What JSON from elsewhere must hold before anything is made of it."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import Any

_NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def unlike(given: Any, shape: Any, place: str = "") -> str:
    """Where JSON is not as it should be, in a few words; "" where it is.

    Args:
        shape: {name: shape} of an object that has these members, and maybe others; [shape] of a list; a type, or None;
            `object` for what may be anything; a function that raises ValueError, TypeError or AttributeError for what it cannot read;
            several of these, in a tuple, of which one is enough.
        place: of what is given.

    >>> tasks = {"tasks": [{"id": int, "score": (float, None)}]}
    >>> unlike({"tasks": [{"id": 1, "score": 2}, {"id": 2, "score": None, "more": []}]}, tasks)
    ''
    >>> unlike({"tasks": [{"id": 1, "score": 2}, {"score": 0.5}]}, tasks)
    'tasks[1].id is missing'
    >>> unlike({"tasks": [{"id": 1, "score": "much"}]}, tasks), unlike([], tasks)
    ("tasks[0].score is 'much', not a number", 'the answer is [], not an object')
    """
    if isinstance(shape, tuple):
        said = [unlike(given, each, place) for each in shape]
        return "" if "" in said else said[0]
    if isinstance(shape, dict | list):
        kind = type(shape)
        if not isinstance(given, kind):
            return _strange(given, kind, place)
        return next(filter(None, _parts(given, shape, place)), "")
    if shape is None or isinstance(shape, type):
        return "" if _is_a(given, shape) else _strange(given, shape, place)
    try:
        shape(given)
    except (ValueError, TypeError, AttributeError) as error:
        return f"{place or 'the answer'}: {error}"
    return ""


def _parts(given: Any, shape: Any, place: str) -> Iterator[str]:
    if isinstance(shape, list):
        for number, each in enumerate(given):
            yield unlike(each, shape[0], f"{place}[{number}]")
        return
    for name, wanted in shape.items():
        inner = f"{place}.{name}" if place else name
        yield unlike(given[name], wanted, inner) if name in given else f"{inner} is missing"


def _is_a(given: Any, kind: type | None) -> bool:
    if kind is None or given is None:
        return given is None and kind in (None, object)
    if isinstance(given, bool):  # which Python takes for a number
        return kind in (bool, object)
    return isinstance(given, (int, float) if kind is float else kind)


def _strange(given: Any, kind: type | None, place: str) -> str:
    return f"{place or 'the answer'} is {reprlib.repr(given)}, not {_NAMES[kind] if kind else 'null'}"
