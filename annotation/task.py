"""What people are asked about: one clip, as both sides of a campaign name it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """A clip, or a view of one, in a campaign.

    ext_id: its name in the campaign, for ever: see `ext_id`.
    start: seconds of the track where the clip begins. seconds: its length.
    audio: URL from which a browser fetches the sound.
    title: for people. data: further columns for them, text.
    """

    ext_id: str
    track_id: str
    clip_id: str
    start: float
    seconds: float
    audio: str
    title: str = ""
    view_id: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)


def ext_id(clip_id: str, audio_sha256: str, view_id: str | None = None) -> str:
    """The name of a clip (or a view) as it sounds.

    >>> ext_id("0123456789abcdef0123", "ffeeddccbbaa")
    '0123456789abcdef0123-ffeeddcc'
    """
    return f"{view_id or clip_id}-{audio_sha256[:8]}"


def campaign_line(name: str) -> str:
    """The line in a project's description by which a campaign finds it again, whatever people rename.

    >>> campaign_line("mood-2026")
    'earmark:mood-2026'
    """
    return f"earmark:{name}"


def digest(text: str) -> str:
    """16 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
