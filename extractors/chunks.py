"""The chunks that WAV, AIFF and their like are made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, NamedTuple

_PIECE = 1 << 22  # bytes looked at together


class Form(NamedTuple):
    """How chunks follow each other: a name, a size (with `own` bytes of the head), a body, filled to a multiple of `full`."""

    first: int
    name: int
    size: int
    order: Literal["little", "big"]
    own: int = 0
    full: int = 2


_LITTLE, _BIG = Form(12, 4, 4, "little"), Form(12, 4, 4, "big")
FORMS = {b"RIFF": _LITTLE, b"RF64": _LITTLE, b"BW64": _LITTLE, b"RIFX": _BIG, b"FORM": _BIG}
FORMS |= {b"caff": Form(8, 4, 8, "big", full=1), b"riff": Form(40, 16, 8, "little", 24, 8)}


def chunks(descriptor: int, at: int, end: int, form: Form) -> Iterator[tuple[bytes, int, int]]:
    """Name, beginning and end of each chunk."""
    long = 0
    while at < end and len(head := os.pread(descriptor, form.name + form.size + 16, at)) >= form.name + form.size:
        name, body = head[: form.name], at + form.name + form.size
        size = int.from_bytes(head[form.name : form.name + form.size], form.order) - form.own
        if name == b"ds64":  # a size that four bytes cannot hold
            long = int.from_bytes(head[16:24], "little")
        elif name == b"data" and size == 0xFFFFFFFF and long:
            size = long
        if size < 0:
            return
        yield name, body, min(body + size, end)
        at = body + size + -size % form.full
        if not size and not any(name):
            at = _past_zeros(descriptor, at, end, form.name + form.size)


def _past_zeros(descriptor: int, at: int, end: int, head: int) -> int:
    """Where the next head is that is more than zeros; such are room behind the sound, or silence whose size was never told."""
    piece = 512 * head
    while at < end and (zeros := os.pread(descriptor, piece, at)):
        rest = len(zeros.lstrip(b"\0"))
        if rest:
            return at + (len(zeros) - rest) // head * head
        at, piece = at + len(zeros), min(2 * piece, _PIECE // head * head)
    return at
