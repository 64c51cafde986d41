"""Files of few bytes that claim, or unpack to, a great deal; made by hand, as no encoder would."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
import soundfile

from tests.hostile import sound


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def table(name: bytes, *numbers: int) -> bytes:
    return box(name, bytes(4), struct.pack(f">{len(numbers)}I", *numbers))


def mp4(packets: int, tracks: int = 1) -> bytes:
    """An M4A of a few hundred bytes that claims so many packets of one byte."""
    one = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)

    def track(number: int) -> bytes:
        head = box(b"tkhd", struct.pack(">6I", 7, 0, 0, number, 0, 2_880_000), bytes(16), one, bytes(8))
        entry = box(b"mp4a", bytes(6), b"\0\1", bytes(8), struct.pack(">HHHHI", 2, 16, 0, 0, 48_000 << 16))
        sizes = table(b"stts", 1, packets, 1024), table(b"stsc", 1, 1, packets, 1), table(b"stsz", 1, packets), table(b"stco", 1, 48)
        stbl = box(b"stbl", box(b"stsd", bytes(4), struct.pack(">I", 1), entry), *sizes)
        minf = box(b"minf", table(b"smhd", 0), box(b"dinf", box(b"dref", bytes(4), struct.pack(">I", 1), box(b"url ", b"\0\0\0\1"))), stbl)
        kind = box(b"hdlr", bytes(8), b"soun", bytes(13))
        return box(b"trak", head, box(b"mdia", table(b"mdhd", 0, 0, 48_000, 2_880_000, 0), kind, minf))

    movie = box(b"mvhd", struct.pack(">6I", 0, 0, 0, 48_000, 2_880_000, 0x10000), bytes(12), one, bytes(24), struct.pack(">I", 2))
    start = box(b"ftyp", b"M4A \0\0\0\0M4A isom") + box(b"mdat", bytes(1000))
    return start + box(b"moov", movie, *map(track, range(1, tracks + 1)))


def wav(claimed: int, sample_rate: int = 44_100, data: bytes = bytes(2000)) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate & 0xFFFFFFFF, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claimed) + data


def w64(frames: int) -> bytes:
    def guid(name: bytes) -> bytes:
        return name + bytes.fromhex("f3acd3118cd100c04f8edb8a")

    form = struct.pack("<HHIIHH", 1, 1, 44_100, 88_200, 2, 16)
    head = bytes.fromhex("726966662e91cf11a5d628db04c10000") + struct.pack("<Q", 2 * frames + 200)
    return (
        head
        + guid(b"wave")
        + guid(b"fmt ")
        + struct.pack("<Q", 40)
        + form
        + guid(b"data")
        + struct.pack("<Q", 2 * frames + 24)
        + bytes(2000)
    )


@cache
def silence(seconds: int, sample_rate: int = 44_100) -> bytes:
    held = io.BytesIO()
    with soundfile.SoundFile(held, "w", sample_rate, 1, format="FLAC", compression_level=1.0) as file:
        for _ in range(seconds):
            file.write(np.zeros(sample_rate, np.int16))
    return held.getvalue()


def flac(frames: int) -> bytes:
    """Ten seconds that claim another length, of 36 bits at most."""
    raw = bytearray(silence(10))
    raw[21] = raw[21] & 0xF0 | frames >> 32 & 15
    raw[22:26] = (frames & 0xFFFFFFFF).to_bytes(4)
    return bytes(raw)


def tagged(name: bytes, body: bytes, flags: int = 0) -> bytes:
    """An MP3 with one frame of ID3."""
    return tag(name + struct.pack(">IBB", len(body), 0, flags) + body)


def tag(frames: bytes, flags: int = 0) -> bytes:
    """An MP3 with these frames of ID3 in front."""
    return b"ID3\3\0" + bytes([flags]) + bytes(len(frames) >> shift & 127 for shift in (21, 14, 7, 0)) + frames + sound("MP3")


def comments(count: int) -> bytes:
    """A vendor's name and comments, each of a name of its own, as FLAC and Ogg hold them."""
    held = [b"k%x=b" % number for number in range(count)]
    return struct.pack("<I3sI", 3, b"abc", count) + b"".join(struct.pack("<I", len(each)) + each for each in held)


def commented(count: int) -> bytes:
    """An Opus file with so many comments."""
    plain = sound("OPUS")
    ends = [0]
    for _ in range(2):
        table = plain[ends[-1] + 27 : ends[-1] + 27 + plain[ends[-1] + 26]]
        ends.append(ends[-1] + 27 + len(table) + sum(table))
    packet, pages = b"OpusTags" + comments(count), []
    sizes = [255] * (len(packet) // 255) + [len(packet) % 255]
    for number, at in enumerate(range(0, len(sizes), 255)):
        table = sizes[at : at + 255]
        head = b"OggS\0" + bytes([number > 0]) + bytes(8) + plain[14:18] + struct.pack("<I", 1 + number)
        body = bytes([len(table), *table]) + packet[255 * at : 255 * at + sum(table)]
        pages.append(head + struct.pack("<I", _checksum(head + bytes(4) + body)) + body)
    return plain[: ends[1]] + b"".join(pages) + plain[ends[2] :]


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: that of zlib with every byte and the result mirrored, without its inversions."""
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    found = zlib.crc32(page.translate(mirrored), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)


def picture() -> bytes:
    """A PNG that says it has 30,000 × 30,000 points."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(30_000_000))) + chunk(b"IEND", b"")


def packed(size: int) -> bytes:
    """A title that unpacks to so many bytes."""
    return struct.pack(">I", 100) + zlib.compress(bytes(size), 9)
