"""How the page links recordings, so that it plays them wherever both lie, from the second that matters."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_from_bytes

from extractors.uri import is_local, to_path


def link(uri: str, out: Path) -> str:
    """How the page at `out` links a recording; "" where a browser could not fetch it."""
    if not is_local(uri):
        return uri if uri.lower().startswith(("http://", "https://")) else ""
    path, folder = os.path.abspath(to_path(uri)), os.path.dirname(os.path.abspath(out))
    if not os.path.exists(path):
        return ""
    # Up to the root and down again is no relation: such a page would break when moved, and gain nothing.
    if os.path.commonpath([path, folder]) != "/":
        return quote_from_bytes(os.fsencode(os.path.relpath(path, folder)), safe="/")
    return "file://" + quote_from_bytes(os.fsencode(path), safe="/")


def stretch(linked: str, start: float, seconds: float) -> str:
    """A link that plays a stretch of a recording.

    Source:
        W3C, Media Fragments URI 1.0, 2012, section 4.2.1.

    >>> stretch("a.wav", 10.0, 2.5)
    'a.wav#t=10,12.5'
    """
    return f"{linked}#t={_seconds(start)},{_seconds(start + seconds)}" if linked and "#" not in linked else linked


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
