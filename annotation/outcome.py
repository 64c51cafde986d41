"""What can become of a call to Label Studio: done, refused, unknown; and what an answer that is no success means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class StudioError(ValueError):
    """Something about a Label Studio server, in one line with a way out."""


class Refused(StudioError):
    """The server said no; nothing was changed."""


class Gone(Refused):
    """What was asked for is not on the server."""


class Unknown(StudioError):
    """A write whose answer was lost: it may have taken effect. Read back before repeating it."""


class Away(StudioError):
    """The server gave no usable answer to reads, for as long as patience lasted."""


NEW_TOKEN = "take one from 'Account & Settings', and let the organization allow tokens of its kind"


def meaning(what: str, status: int, text: str, secret: str) -> StudioError:
    """What an answer means that is no success.

    Args:
        what: server and call, with which the line begins. text: the answer. secret: a token, which is struck out.
    Returns:
        the error to raise.

    >>> meaning("http://host: changing task 3", 404, '{"detail": "Not found."}', "0a")
    Gone('http://host: changing task 3: it is not there (Not found.); it was deleted, or belongs to another organization')
    >>> meaning("http://host: changing task 3", 504, "<html>", "0a")
    Unknown('http://host: changing task 3: error 504')
    """
    said = detail(text).replace(secret, "...")
    if status == 401 or (status == 403 and "auth" in said.lower()):
        return Refused(f"{what}: the token is refused ({said or status}); {NEW_TOKEN}")
    if status in (408, 429) or status >= 500:  # proxies answer so when the server has done the work
        return Unknown(f"{what}: error {status}{f' ({said})' if said else ''}")
    if status == 404:
        return Gone(f"{what}: it is not there ({said or 'not found'}); it was deleted, or belongs to another organization")
    if status == 413:
        said = "too much for the proxy before it; raise its limit for bodies (nginx: client_max_body_size)"
    return Refused(f"{what}: refused with {status}{f': {said}' if said else ''}")


def detail(text: str) -> str:
    """What an answer says of a mistake, in one line.

    >>> detail('{"detail": "Validation error", "validation_errors": {"title": ["too short"]}}')
    'Validation error: title: too short'
    >>> detail("<html>...")
    ''
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError:
        return ""
    if isinstance(given, dict) and "detail" in given:
        given = [given["detail"], given.get("validation_errors") or {}]
    return ": ".join(_flat(given))[:300]


def _flat(given: Any) -> Iterator[str]:
    if isinstance(given, Mapping):
        for name, each in given.items():
            yield ": ".join((str(name), *_flat(each)))
    elif isinstance(given, list):
        for each in given:
            yield from _flat(each)
    elif given is not None:
        yield " ".join(str(given).split())
