"""How much an MP4 makes its reader remember, told before FFmpeg believes it: 1,500 bytes may claim a table of gigabytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from extractors.comments import MANY

_CLAIMS = re.compile(rb"stsz|trun|elst|cmov|----|mdta")
# Read by FFmpeg even where the file ends before they do.
_CUT = frozenset(b"moov moof trak mdia minf stbl traf edts udta meta free hoov stsz trun elst".split())
_PIECE = 1 << 20  # bytes looked at together
_REACH = 16  # bytes that a claim may take, its name included
_SPARE = 1 << 21  # packets that any file may claim, some 70 MB of index


def modest_tables(descriptor: int, size: int) -> bool:
    """Whether the packets that an MP4's headers claim are in proportion to its bytes, and its tags few; true of what is no MP4.

    FFmpeg makes room for every packet that is claimed, once for each entry of the edit list, and compares each tag of a name of its own
    ("----", "mdta") with all the others. Claims are looked for wherever sound does not
    lie, as FFmpeg finds them in places where no encoder would put them, and are not believed where the header is itself compressed (cmov).
    So false is a suspicion: of a thousand files with a picture of a megabyte one has such letters in it by chance.

    Source: ISO/IEC 14496-12: sizes (stsz) in 8.7.3, edits (elst) in 8.6.6, fragments (trun) in 8.8.8.
    """
    if os.pread(descriptor, 3, 0) == b"FLV":  # its tags could be anywhere, and nobody keeps recordings in it
        return False
    packets, edits, names = 0, 1, 0
    for start, end in _outside_sound(descriptor, size):
        for at in range(start, end, _PIECE):
            piece = os.pread(descriptor, min(_PIECE + _REACH - 1, end - at), at)
            for found in _CLAIMS.finditer(piece, 0, min(len(piece), _PIECE + 3)):
                first, second = (int.from_bytes(piece[found.end() + k : found.end() + k + 4]) for k in (4, 8))
                match found[0]:
                    case b"stsz":  # one size for all, or 0 and a table of them, which is no longer than the file
                        packets += second if first else min(second, size)
                    case b"trun":
                        packets += first
                    case b"elst":
                        edits = max(edits, first)
                    case b"cmov":
                        return False
                    case _:
                        names += 1
    return packets * edits <= _SPARE + size and names <= MANY


def _outside_sound(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where each box at the top begins and ends, but for those with the sound; nothing for what is not made of boxes."""
    at = 0
    while at + 8 <= size:
        head = os.pread(descriptor, 16, at)
        length, name = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        end = size if length == 0 else at + length
        if end < at + 8 or (end > size and name not in _CUT):
            return
        if name != b"mdat":
            yield at, min(end, size)
        at = end
