"""What a pull has brought."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from annotation.mirror import Mirror
from annotation.revisions import current
from annotation.statements import labels
from tests.campaigning import Running


def said(mirror: Mirror, campaign: Running) -> list[tuple[Any, ...]]:
    """What stands: clip, person, kind, value, start, duration; questions without an answer left out."""
    standing = current(labels(mirror, campaign.campaign, campaign.tasks))
    rows = [(int(each.clip_id or "", 16), each.author, each.kind, each.value, each.start, each.duration) for each in standing]
    return sorted((row for row in rows if row[2] != "nothing"), key=str)


def facts(mirror: Mirror) -> list[Any]:
    return [replace(row, tombstone_at=None) for row in mirror.answers()]
