"""What a scan found, in numbers and in a few lines to print."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from extractors.uri import printable

_NAMED_IN_REPORT = 10


class Vanished(NamedTuple):
    """A uri that no longer holds its track; still_at: another place where the track lies, or None."""

    uri: str
    track_id: str
    still_at: str | None


@dataclass
class ScanReport:
    """What a scan found. Files: found = new + known + aliases + rejected + those listed but gone.

    new: tracks added; known: as before; aliases: new names of tracks; hours: of sound added; shards: added;
    skipped: files in folders that are not called like audio.
    """

    found: int = 0
    new: int = 0
    known: int = 0
    aliases: int = 0
    rejected: int = 0
    skipped: int = 0
    hours: float = 0.0
    shards: int = 0
    vanished: list[Vanished] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = [
            f"{self.found} files: {self.new} new tracks ({self.hours:.2f} h in {self.shards} shards)",
            f"{self.known} known",
            f"{self.aliases} more names of known tracks",
            f"{self.rejected} rejected",
        ]
        lines = [", ".join(counts)]
        if self.skipped:
            lines.append(f"{self.skipped} other files, not called like audio, were left alone")
        lines += self.notes
        for title, those in (
            ("vanished, and nowhere else", [f"  {printable(gone.uri)}" for gone in self.vanished if not gone.still_at]),
            ("moved", [f"  {printable(gone.uri)} -> {printable(gone.still_at)}" for gone in self.vanished if gone.still_at]),
        ):
            if those:
                lines += [f"{len(those)} {title}:", *those[:_NAMED_IN_REPORT]]
                lines += [f"  and {len(those) - _NAMED_IN_REPORT} more"] * (len(those) > _NAMED_IN_REPORT)
        return "\n".join(lines)
