"""Tags in chunks, lists and objects of every container: their number and size are bounded wherever they lie."""

from __future__ import annotations

import itertools
import string
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from extractors.audio import AudioError, probe
from extractors.comments import MANY, modest_comments
from extractors.tags import tags
from tests.hostile import sound

# Nobody would take the last of these for a year, but decoders compare each with all before.
NAMES = [bytes(each) for each in itertools.islice(itertools.product(string.ascii_letters.encode(), repeat=4), 60_000)]


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(body)) + body + bytes(len(body) & 1)


def id3(frames: bytes, claimed: int | None = None) -> bytes:
    size = len(frames) if claimed is None else claimed
    return b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + frames


def frame(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">IH", len(body), 0) + body


def riff(*chunks: bytes, front: bool = True) -> bytes:
    plain = sound("WAV")
    body = plain[8:36] + b"".join(chunks) + plain[36:] if front else plain[8:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def info(many: int) -> bytes:
    return chunk(b"LIST", b"INFO" + b"".join(chunk(name, b"b\0") for name in NAMES[:many]))


def texts(many: int) -> bytes:
    return id3(b"".join(frame(b"TXXX", b"\0k%x\0b" % number) for number in range(many)))


def aiff(*chunks: bytes) -> bytes:
    body = sound("AIFF")[8:] + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


def caf(many: int) -> bytes:
    plain = sound("CAF")
    told = struct.pack(">I", many) + b"".join(b"k%x\0b\0" % number for number in range(many))
    at = plain.index(b"data", 8)
    return plain[:at] + b"info" + struct.pack(">q", len(told)) + told + plain[at:]


def mkv(many: int) -> bytes:
    def element(name: str, body: bytes) -> bytes:
        return bytes.fromhex(name) + (len(body) | 1 << 56).to_bytes(8) + body

    plain = sound("MKV")
    names = b"".join(element("67c8", element("45a3", b"k%x" % number) + element("4487", b"b")) for number in range(many))
    cluster, segment = plain.index(bytes.fromhex("1f43b675")), plain.index(bytes.fromhex("18538067"))
    raw = bytearray(plain[:cluster] + element("1254c367", element("7373", element("63c0", b"") + names)) + plain[cluster:])
    raw[segment + 4 : segment + 12] = b"\1" + bytes([255] * 7)  # a size that nobody knows
    return bytes(raw)


def ape(many: int) -> bytes:
    items = b"".join(struct.pack("<II", 1, 0) + b"k%x\0b" % number for number in range(many))
    return sound("FLAC") + items + b"APETAGEX" + struct.pack("<4I", 2000, len(items) + 32, many, 1 << 31) + bytes(8)


FORMS: dict[str, Callable[[int], bytes]] = {
    "INFO": lambda many: riff(info(many)),
    "INFO behind the sound": lambda many: riff(info(many), front=False),
    "ID3 in WAV": lambda many: riff(chunk(b"id3 ", texts(many))),
    "ID3 in AIFF": lambda many: aiff(chunk(b"ID3 ", texts(many), ">")),
    "ID3 twice": lambda many: id3(b"") + texts(many) + sound("MP3"),
    "ID3 before Ogg": lambda many: id3(b"") + chained(many),
    "a second stream": lambda many: sound("OGG") + chained(many),
    "CAF": caf,
    "MKV": mkv,
    "APE": ape,
}


def chained(many: int) -> bytes:
    from tests.bombs import commented

    return commented(many)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_with_more_tags_than_a_recording_has_is_refused_wherever_they_lie(tmp_path: Path, form: str) -> None:
    path = tmp_path / "sound"
    for many in (100, 20_000):
        path.write_bytes(FORMS[form](many))
        with open(path, "rb") as file:
            assert modest_comments(file.fileno()) == (many == 100)
        if many == 100:
            assert probe(str(path)).seconds >= 0.5
        else:
            assert many > MANY
            with pytest.raises(AudioError, match="sound: not audio"):
                probe(str(path))


def test_many_chunks_are_not_counted_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    path.write_bytes(riff(*[chunk(b"junk", b"")] * 100_000))
    with open(path, "rb") as file:
        assert not modest_comments(file.fileno())


@pytest.mark.parametrize("size", [None, 0, 1, 127, 1 << 20, (1 << 28) - 1])
@pytest.mark.parametrize("form", ["WAV", "AIFF"])
def test_an_id3_chunk_whose_size_lies_costs_no_sound(tmp_path: Path, form: str, size: int | None) -> None:
    told = id3(frame(b"TIT2", b"\0A title") + frame(b"TPE1", b"\0An artist"), size)
    path = tmp_path / "sound"
    path.write_bytes(riff(chunk(b"id3 ", told), front=False) if form == "WAV" else aiff(chunk(b"ID3 ", told, ">")))
    assert probe(str(path)).seconds == pytest.approx(0.5)
    found = tags(str(path))
    assert found == {"title": "A title", "artist": "An artist"} if size is None else set(found) <= {"title", "artist"}


def test_a_chunk_that_says_it_is_longer_than_the_file_is_no_tag(tmp_path: Path) -> None:
    for name, raw in (
        ("a.wav", riff(b"id3 \xff\xff\xff\xff" + id3(b""), front=False)),
        ("a.aiff", aiff(b"ID3 \x7f\xff\xff\xff" + id3(b""))),
    ):
        (tmp_path / name).write_bytes(raw)
        assert probe(str(tmp_path / name)).seconds == pytest.approx(0.5)
        assert tags(str(tmp_path / name)) == {}


@pytest.mark.parametrize("form", ["WAV", "AIFF"])
def test_a_picture_of_two_hundred_megabytes_in_a_chunk_is_not_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "sound"
    picture = id3(frame(b"APIC", b"\0image/png\0\3\0" + bytes(200 << 20)))
    path.write_bytes(riff(chunk(b"id3 ", picture), front=False) if form == "WAV" else aiff(chunk(b"ID3 ", picture, ">")))
    del picture
    tracemalloc.start()
    assert tags(str(path)) == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
