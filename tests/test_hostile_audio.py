"""Damaged, cut and made-up audio gives sound or one line, in every container."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from extractors.audio import AudioError, probe, stream
from extractors.tags import tags
from tests.hostile import CONTAINERS, fuzz, mutated, one_line, sound


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "OGG", "OPUS", "AIFF", "W64", "CAF", *CONTAINERS])
def test_any_damage_to_a_header_gives_sound_or_one_line(tmp_path: Path, form: str) -> None:
    path = tmp_path / "sound"

    def check(raw: bytes) -> None:
        path.write_bytes(raw)
        try:
            info = probe(str(path))
            assert info.channels >= 1
            assert 0 < info.seconds * info.sample_rate <= 8192 * len(raw) + 1
            heard = 0
            for block in stream(str(path), 1 << 16):
                assert np.isfinite(block).all()
                heard += len(block)
            assert heard <= 8192 * len(raw)
        except AudioError as error:
            one_line(error, "sound: ")
        assert all(isinstance(text, str) for text in tags(str(path)).values())

    fuzz(mutated(sound(form)), check, f"decoder, {form}", 120)


@pytest.mark.parametrize(
    "start", [b"", b"RIFF", b"OggS\0", b"fLaC", b"ID3\4", b"\xff\xfb", b"\x1aE\xdf\xa3", b"\0\0\0\x20ftypM4A ", b"FORM", b"caff\0\1"]
)
def test_any_bytes_after_a_beginning_give_one_line(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "sound"

    def check(raw: bytes) -> None:
        path.write_bytes(start + raw)
        try:
            probe(str(path))
        except AudioError as error:
            one_line(error, "sound: ")

    fuzz(st.binary(max_size=300), check, f"decoder, {start!r}", 50)
