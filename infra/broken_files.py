"""Writes a few deliberately broken audio files, to show that each costs nothing but itself."""

from __future__ import annotations

import struct
import sys
from pathlib import Path


def break_files(folder: Path) -> list[Path]:
    """Files that a collection of real recordings comes to hold: empty, text, cut off, without sound, not a number."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "empty.mp3": b"",
        "a web page.mp3": b"<!DOCTYPE html><title>404 Not Found</title>" * 20,
        "no sound.wav": _wav(b""),
        "not a number.wav": _wav(struct.pack("<f", float("nan")) * 44_100),
        "half a download.flac": b"fLaC" + bytes(300),
    }
    whole = sorted(folder.parent.glob("*.flac"))
    if whole:  # a recording whose second half never arrived
        contents["cut off.flac"] = whole[0].read_bytes()[: whole[0].stat().st_size // 2]
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def _wav(samples: bytes) -> bytes:
    """A mono WAV of float32 at 44.1 kHz."""
    form = struct.pack("<HHIIHH", 3, 1, 44_100, 4 * 44_100, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


if __name__ == "__main__":
    print(f"{len(break_files(Path(sys.argv[1])))} broken files in {sys.argv[1]}")
