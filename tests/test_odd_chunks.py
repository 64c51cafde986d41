"""WAV and its like as recorders, editors and crashes leave them: their sound is what it is, and only what is asked for is read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from extractors import prefetch
from extractors.audio import probe, read, stream
from tests.sounds import music, write

RATE = 44_100
SOUND = np.round(music(RATE, 0.5) * (2**23 - 1)).astype("<i4")  # 24 bits
SHORT = (SOUND >> 8).astype("<i2")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + bytes(len(body) & 1)


def shape(bits: int, width: int) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, RATE, 2 * width * RATE, 2 * width, bits))


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks), size)


def heard(path: Path, raw: bytes) -> npt.NDArray[np.float32]:
    path.write_bytes(raw)
    found = np.concatenate(list(stream(str(path), RATE)))
    assert probe(str(path)).seconds == len(found) / RATE
    return found


@pytest.mark.parametrize("silence", [0, RATE])
def test_24_bits_in_four_bytes_are_told_by_the_sound_from_24_in_three(silence: int, tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros((silence, 2), "<i4"), SOUND])
    found = heard(tmp_path / "a.wav", riff(shape(24, 4), chunk(b"data", (sound << 8).tobytes())))
    np.testing.assert_allclose(found, sound.mean(1) / 2**23, atol=1e-7)


def test_a_megabyte_of_zeros_is_no_crowd_of_chunks(tmp_path: Path) -> None:
    zeros, right = bytes(1 << 20), SHORT.mean(1) / 2**15
    room = heard(tmp_path / "a.wav", riff(shape(16, 2), chunk(b"data", SHORT.tobytes()), zeros))
    np.testing.assert_allclose(room, right, atol=1e-7)
    unclosed = heard(tmp_path / "b.wav", riff(shape(16, 2), chunk(b"data", zeros + SHORT.tobytes(), 0), size=8))
    np.testing.assert_allclose(unclosed, np.concatenate([np.zeros(len(zeros) // 4), right]), atol=1e-7)


def test_a_chunk_of_no_known_kind_counts_no_tags(tmp_path: Path) -> None:
    found = heard(tmp_path / "a.wav", riff(shape(16, 2), chunk(b"info", b"by a device"), chunk(b"data", SHORT.tobytes())))
    assert len(found) == len(SHORT)


@pytest.mark.parametrize("suffix", [".wav", ".rf64", ".w64", ".caf", ".aiff"])
def test_a_window_is_read_where_it_lies(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"long{suffix}", np.tile(music(RATE, 1.0), (60, 1)), RATE)

    def count() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = count()
    assert len(read(str(path), 50 * RATE, 1000)) == 1000
    assert count() - before < path.stat().st_size / 4


def test_coded_sound_too_large_to_be_held_is_decoded_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.wav", music(RATE, 0.5), RATE, subtype="IMA_ADPCM")
    facts, sound = probe(str(path)), read(str(path), 0, RATE)
    monkeypatch.setattr(prefetch, "MOST", 1000)
    assert probe(str(path)) == facts
    np.testing.assert_array_equal(read(str(path), 0, RATE), sound)
