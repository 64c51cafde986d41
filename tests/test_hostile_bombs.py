"""A file takes no more memory and time than it has bytes for, whatever it claims and however its tags are packed."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from extractors.audio import AudioError, probe
from extractors.comments import MANY, modest_comments
from extractors.tags import tags
from pipelines.recipe import Recipe
from pipelines.recording import WHOLE_SAMPLES, clips_of
from tests.bombs import commented, comments, flac, mp4, packed, picture, silence, tag, tagged, w64, wav
from tests.collection import RECIPE, ROOT, earmark, tones
from tests.hostile import sound

_LOOK = """
import json, resource, sys, time
from extractors.audio import AudioError, probe, stream
from extractors.tags import tags
import mutagen, mutagen.id3
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, began, frames, said = peak(), time.process_time(), 0, ""
try:
    said = probe(sys.argv[1]).seconds
    tags(sys.argv[1])
    for block in stream(sys.argv[1], 1 << 18):
        frames += len(block)
except AudioError as error:
    said = str(error)
print(json.dumps([said, frames, (peak() - before) / 1024, time.process_time() - began]))
"""
BOMBS: dict[str, tuple[Callable[[], bytes], float | str, int]] = {
    "wav that claims 4 GB": (lambda: wav(0xFFFFFFFE), 1000 / 44_100, 1000),
    "w64 that claims 2^40 frames": (lambda: w64(1 << 40), 1000 / 44_100, 1000),
    "flac that claims 2^36 frames": (lambda: flac((1 << 36) - 1), 10.0, 441_000),
    "flac that claims none": (lambda: flac(0), 10.0, 441_000),
    "an hour of silence": (lambda: silence(3600), 3600.0, 158_760_000),
    "1 Hz": (lambda: wav(2_000_000, 1, bytes(2_000_000)), "says 1 Hz, and sound has 1000 to 1048576", 0),
    "2 GHz": (lambda: wav(2000, 2**31 - 1), "says 2147483647 Hz, and sound has 1000 to 1048576", 0),
    "mp4 that claims 80 million packets": (lambda: mp4(80_000_000), "not audio that libsndfile or FFmpeg can read", 0),
    "mp4 that claims them four times": (lambda: mp4(80_000_000, 4), "not audio that libsndfile or FFmpeg can read", 0),
    "a title of a gigabyte": (lambda: tagged(b"TIT2", packed(1 << 30), 0x80), 0.5, 12_000),
    "a tag of 200 MB": (lambda: tagged(b"APIC", bytes(200 << 20)), 0.5, 12_000),
    "eighty thousand comments": (lambda: commented(80_000), "not audio that libsndfile or FFmpeg can read", 0),
    "a picture of 900 million points": (lambda: tagged(b"APIC", b"\0image/png\0\3\0" + picture()), 0.5, 12_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory_and_time(tmp_path: Path, name: str) -> None:
    make, expected, frames = BOMBS[name]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    done = subprocess.run([sys.executable, "-c", _LOOK, str(path)], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    said, heard, megabytes, seconds = json.loads(done.stdout)
    if isinstance(expected, str):
        assert said.startswith(f"bomb: {expected}")
    else:
        assert said == pytest.approx(expected, rel=0.01)
    assert heard == frames
    # libmpg123 holds a tag once: as much as the file has bytes.
    assert megabytes < 100 + path.stat().st_size / 1e6, f"{megabytes:.0f} MB"
    assert seconds < 20, f"{seconds:.1f} s of CPU time"


@pytest.mark.slow
def test_a_track_that_is_longer_than_its_header_says_is_not_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    path.write_bytes(silence(3600))
    recipe = Recipe.model_validate({"window": {"seconds": 30.0}, "extract": [{"use": "LogMel"}]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = clips_of({"uri": str(path), "track_id": "x", "sample_rate": 44_100, "seconds": 1.0}, str(path), recipe)
    assert sum(len(clip.samples) for clip in found) == 3600 * 44_100
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert taken < 4 * WHOLE_SAMPLES + 100e6 < 4 * 3600 * 44_100


def test_a_packed_title_of_ordinary_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "packed.mp3"
    title = b"\3A title"
    path.write_bytes(tagged(b"TIT2", struct.pack(">I", len(title)) + zlib.compress(title), 0x80))
    assert tags(str(path)) == {"title": "A title"}


def test_a_hundred_thousand_frames_of_id3_are_not_read_one_by_one(tmp_path: Path) -> None:
    frame = b"TIT2" + struct.pack(">IBB", 2, 0, 0) + b"\0b"
    other = b"TPE1" + struct.pack(">IBB", 3, 0, 0) + b"\0me"
    (tmp_path / "few.mp3").write_bytes(tag(other + 1000 * frame))
    assert tags(str(tmp_path / "few.mp3")) == {"title": "b", "artist": "me"}
    for name, flags in (("plain", 0), ("unsynchronised", 0x80)):
        (tmp_path / name).write_bytes(tag(other + 100_000 * frame, flags))
        assert tags(str(tmp_path / name)) == {}


@pytest.mark.parametrize("many", [100, MANY + 1])
@pytest.mark.parametrize("form", ["FLAC", "OPUS", "MP3", "padding"])
def test_a_file_with_more_comments_than_a_recording_has_is_refused(tmp_path: Path, form: str, many: int) -> None:
    frame = b"TXXX" + struct.pack(">IBB", 5, 0, 0) + b"\0k\0ab"
    plain = sound("FLAC")
    stream_info = bytes([plain[4] & 127]) + plain[5:42]
    blocks = {
        "FLAC": lambda: b"fLaC" + stream_info + b"\4" + len(comments(many)).to_bytes(3) + comments(many) + plain[42:],
        "padding": lambda: b"fLaC" + stream_info + many * b"\1\0\0\0" + plain[42:],
        "OPUS": lambda: commented(many),
        "MP3": lambda: tag(many * frame),
    }
    (tmp_path / "sound").write_bytes(blocks[form]())
    with open(tmp_path / "sound", "rb") as file:
        assert modest_comments(file.fileno()) == (many == 100)
    if many == 100:
        assert probe(str(tmp_path / "sound")).seconds == pytest.approx(0.5)
    else:
        with pytest.raises(AudioError, match="sound: not audio"):
            probe(str(tmp_path / "sound"))


@pytest.mark.slow
def test_scan_and_run_with_bombs_in_the_collection_keep_the_rest(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 2)
    for name, (make, *_) in BOMBS.items():
        if "200 MB" not in name and "gigabyte" not in name:
            (tmp_path / "audio" / f"{name}.wav").write_bytes(make())
    found = earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    assert found["rejected"] == 5
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("1.0", "30.0"))
    done = earmark("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local")
    assert done["failed"] == {}
    assert done["clips"] == 2 + 3600 // 30 + 5
