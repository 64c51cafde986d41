"""What others wrote runs no code, opens no pickle, takes no more room than it has bytes for, and is refused in one line.

EARMARK_FUZZ_SECONDS=120 tries inputs for so long in each test instead of a few hundred, and prints how many they were.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import resource
import struct
import subprocess
import sys
import time
import tomllib
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.answer import news
from annotation.campaign import Campaign
from annotation.results import to_labels
from extractors.audio import AudioError, probe, stream
from extractors.checkpoint import CheckpointError, read_checkpoint
from extractors.tags import tags
from extractors.torch_module import TorchModelError, source
from pipelines.cli import main
from pipelines.heads.files import load as load_head
from pipelines.places import FileError, load_toml
from pipelines.recipe import Recipe, load
from pipelines.release.spec import Release
from pipelines.stage import WHOLE_SAMPLES, _track_clips
from tests.collection import MEL, PEAKS, RECIPE, ROOT, earmark, tones
from tests.test_campaign import FULL
from tests.test_checkpoint import _masked as masked
from tests.test_checkpoint import _write as write_checkpoint
from tests.test_heads import saved
from tests.test_results import CAMPAIGN, NOON, TASK

RATE = 16_000
SECONDS = float(os.environ.get("EARMARK_FUZZ_SECONDS", "0"))


def one_line(error: Exception, *starts: str) -> None:
    """What an error says is one line, with its place in front."""
    assert "\n" not in str(error)
    assert str(error).startswith(starts), str(error)


# ---- fuzzing ----------------------------------------------------------------------------------------------------------------------------


def fuzz(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], what: str, examples: int = 200) -> None:
    """Give a check inputs drawn from a strategy: so many, or as many as the time allows."""
    tried, until = 0, time.monotonic() + SECONDS

    def once(seed: int) -> None:
        def counted(value: Any) -> None:
            nonlocal tried
            tried += 1
            check(value)

        quiet = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=not seed)
        quiet(given(strategy)(counted))()

    once(0)
    while time.monotonic() < until:
        once(1)
    print(f"{what}: {tried} inputs")
    assert tried >= examples / 2


@st.composite
def mutated(draw: st.DrawFn, whole: bytes, front: int = 400) -> bytes:
    """Bytes with a few places overwritten, mostly near the front, pieces moved, and the end cut off."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(front, len(raw)) - 1) | st.integers(0, len(raw) - 1))
        extremes = st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f"])
        new = draw(st.binary(min_size=1, max_size=8) | extremes)
        if draw(st.booleans()):
            raw[at : at + len(new)] = new
        else:
            raw[at:at] = new
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 4)) == 0 else raw)


def sound(form: str) -> bytes:
    """Half a second of a tone."""
    held = io.BytesIO()
    options = {"subtype": "OPUS"} if form == "OPUS" else {}
    tone = 0.3 * np.sin(np.arange(12_000) / 9)
    soundfile.write(held, np.stack([tone, tone], 1), 24_000, format="OGG" if form == "OPUS" else form, **options)
    return held.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "OGG", "OPUS", "AIFF", "W64", "CAF"])
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
    "start", [b"", b"RIFF", b"OggS\0", b"fLaC", b"ID3\4", b"\xff\xfb", b"\x1aE\xdf\xa3", b"\0\0\0\x20ftypM4A ", b"FORM"]
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


def test_any_damage_to_a_checkpoint_is_told_or_harmless(tmp_path: Path) -> None:
    arrays = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}
    index = write_checkpoint(tmp_path, arrays)
    whole = index.read_bytes()

    def check(given: tuple[bytes, bool]) -> None:
        raw, sealed = given
        index.write_bytes(_sealed(raw) if sealed else raw)
        try:
            found = read_checkpoint(index)
            assert sum(tensor.nbytes for tensor in found.values()) <= 1 << 20
        except CheckpointError as error:
            one_line(error, str(tmp_path))

    fuzz(st.tuples(mutated(whole), st.booleans()), check, "checkpoints", 400)


def _sealed(raw: bytes) -> bytes:
    """An index whose blocks have the right checksums again, as somebody would make it to do harm."""
    made, start = bytearray(raw), 0
    while (end := made.find(struct.pack("<II", 0, 1) + b"\0", start)) >= 0 and end + 13 <= len(made):
        made[end + 9 : end + 13] = struct.pack("<I", masked(bytes(made[start : end + 9])))
        start = end + 13
    return bytes(made)


def test_any_damage_to_a_head_is_told_in_one_line(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    numbers = next(folder.glob("*.safetensors"))
    front, body = (folder / "head.json").read_bytes(), numbers.read_bytes()

    def check(given: tuple[bytes, bytes, bool]) -> None:
        import hashlib

        from pipelines.heads.files import _hash

        said, tensors, sealed = given
        if sealed:  # as somebody would who makes a head to do harm
            told = json.loads(front)
            told["sha256"] = hashlib.sha256(tensors).hexdigest()
            told["hash"] = _hash(told["sha256"], told["kind"], told["exclusive"], told["thresholds"])
            said = json.dumps(told).encode()
        (folder / "head.json").write_bytes(said)
        numbers.write_bytes(tensors)
        try:
            load_head(folder)
        except ValueError as error:
            one_line(error, str(folder))

    fuzz(st.tuples(mutated(front, 4000), mutated(body, 400), st.booleans()), check, "heads", 300)


RELEASE = (ROOT / "pipelines" / "recipes" / "release.toml").read_text()
AUGMENTED = (ROOT / "pipelines" / "recipes" / "augmented.toml").read_text()
_words = st.sampled_from(
    [
        "1e999",
        "nan",
        "-1",
        "9" * 400,
        '"\\u0000"',
        '""',
        "[]",
        "{}",
        "true",
        "[[[]]]",
        "1979-05-27T07:32:00Z",
        '"../../etc/passwd"',
        "{use=1}",
    ]
)


@st.composite
def rewritten(draw: st.DrawFn, text: str) -> bytes:
    """A TOML file with values and lines exchanged, and sometimes bytes."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        name, equals, _ = lines[at].partition("=")
        match draw(st.integers(0, 4)):
            case 0 | 1 if equals:
                lines[at] = f"{name}= {draw(_words)}"
            case 2:
                lines[at] = lines[draw(st.integers(0, len(lines) - 1))]
            case 3:
                lines[at] = draw(st.sampled_from(["[[extract]]", "[window]", "[a.b.c]", "x = 1", "'use' = 2", "use = 'LogMel'"]))
            case _:
                lines[at] = draw(st.text(max_size=20))
    raw = "\n".join(lines).encode("utf-8", "surrogatepass")
    return draw(mutated(raw, len(raw))) if draw(st.integers(0, 3)) == 0 else raw


@pytest.mark.parametrize(
    ("what", "text"),
    [("recipe", AUGMENTED), ("recipe", "[window]\nseconds = 1.0\n" + PEAKS + MEL), ("campaign", FULL), ("release", RELEASE)],
)
def test_any_file_that_describes_something_is_understood_or_told_line_by_line(tmp_path: Path, what: str, text: str) -> None:
    path = tmp_path / "file.toml"

    def check(raw: bytes) -> None:
        path.write_bytes(raw)
        try:
            if what == "recipe":
                load(path)
            else:
                load_toml(path, Campaign if what == "campaign" else Release)
        except FileError as error:
            for line in str(error).split("\n"):
                one_line(FileError(line), "file.toml", str(path))

    fuzz(rewritten(text), check, f"{what} files", 250)


_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, "\ud800", "\0", "calm"])
)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
)
_names = st.sampled_from([question.name for question in CAMPAIGN.questions])
_kinds = st.sampled_from(["choices", "taxonomy", "labels", "number", "textarea"])
_values = st.dictionaries(
    st.sampled_from(["choices", "taxonomy", "labels", "number", "text", "start", "end"]), _json | st.floats(0, 30), max_size=4
)
_items = st.fixed_dictionaries(
    {},
    optional={"from_name": _names | _json, "type": _kinds | _json, "value": _values | _json, "score": _json, "origin": _json, "id": _json},
)
_results = st.lists(_items | _json, max_size=4) | _json


def test_any_answer_is_labels_and_problems(tmp_path: Path) -> None:
    def check(given: tuple[Any, str, bool]) -> None:
        result, kind, skipped = given
        labels, problems = to_labels(result, TASK, CAMPAIGN, "mira@example.org", NOON, author_kind=kind, skipped=skipped)  # type: ignore[arg-type]
        assert all("\n" not in str(problem) for problem in problems)
        for label in labels:
            assert "\0" not in label.value
            label.value.encode()
            assert label.start is None or 0 <= label.start <= label.start + label.duration <= TASK.seconds + 1e-6

    fuzz(st.tuples(_results, st.sampled_from(["person", "model"]), st.booleans()), check, "answers", 400)


def test_any_answer_in_a_page_is_a_row() -> None:
    at = "2026-03-01T12:00:00Z"

    def check(given: tuple[Any, Any, Any, Any]) -> None:
        result, predicted, data, parent = given
        said = {"id": 7, "result": result, "was_cancelled": False, "lead_time": None, "created_at": at, "updated_at": at}
        said |= {"completed_by": 1, "parent_prediction": parent}
        prediction = {"id": 3, "result": predicted, "model_version": None}
        task = {"id": 5, "data": data, "updated_at": at, "annotations": [said], "predictions": [prediction]}
        [row] = news({"project": "1@x", "users": {"1": "mira@example.org"}, "tasks": [task]}, {})
        assert row.author == "mira@example.org"
        assert json.dumps(json.loads(row.result), sort_keys=True) == row.result
        again = news({"project": "1@x", "users": {}, "tasks": [task]}, {("1@x", 7): row})
        assert again == []

    fuzz(
        st.tuples(_results, _results, st.dictionaries(st.sampled_from(["ext_id", "x"]), _json), st.sampled_from([None, 3, 4])),
        check,
        "pages",
        300,
    )


# ---- code and pickles -------------------------------------------------------------------------------------------------------------------


# Two processes of one run talk over pipes that nobody else can write to.
PIPES = {"pipelines/engines/apart.py": {"pickle.loads", "pickle.load"}, "pipelines/engines/beam.py": {"pickle.load"}}
# The user's own module, named in a recipe and allowed by --allow-code.
IMPORTS = {"extractors/torch_module.py": {"importlib.import_module"}}
RUNS = {"eval", "exec", "compile", "__import__", "runpy.run_path", "runpy.run_module", "importlib.import_module", "os.system", "os.popen"}
LOADS = {
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal.loads",
    "marshal.load",
    "shelve.open",
    "dill.load",
    "dill.loads",
    "joblib.load",
}
LOADS |= {
    "cloudpickle.load",
    "cloudpickle.loads",
    "torch.load",
    "torch.jit.load",
    "yaml.load",
    "yaml.unsafe_load",
    "pd.read_pickle",
    "np.fromregex",
}


def calls(path: Path) -> set[str]:
    """Every function that a module calls by name, and the keywords that make np.load or subprocess dangerous."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found.add(name)
            for word in node.keywords:
                if word.arg in ("allow_pickle", "shell") and not (isinstance(word.value, ast.Constant) and word.value.value is False):
                    found.add(f"{name}({word.arg})")
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "shelve", "dill", "cloudpickle"):
            found.add(f"{node.module}.load")
    return found


def test_nothing_loads_a_pickle_or_runs_text_but_the_pipes_between_our_own_processes() -> None:
    modules = [path for part in ("pipelines", "extractors", "augment", "annotation") for path in (ROOT / part).rglob("*.py")]
    assert len(modules) > 150
    for path in modules:
        place = str(path.relative_to(ROOT))
        made = calls(path)
        dangerous = (made & (RUNS | LOADS)) | {name for name in made if name.endswith(("(allow_pickle)", "(shell)"))}
        assert dangerous == PIPES.get(place, set()) | IMPORTS.get(place, set()), place


EVIL = """
import pathlib
import torch
pathlib.Path("RAN").touch()
class Net(torch.nn.Module):
    def forward(self, x):
        return x.mean(1, True)
"""


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package that leaves a file when it is imported, a recipe that names it, and a store."""
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "__init__.py").write_text(EVIL)
    (tmp_path / "strange" / "net.py").write_text(EVIL)
    (tmp_path / "recipe.toml").write_text("[window]\nseconds = 1.0\n" + PEAKS.replace("tests.poison:Poison", "strange.net:Net"))
    tones(tmp_path / "audio", 2)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_recipe_runs_code_only_if_that_is_allowed(strange: Path) -> None:
    words = [sys.executable, "-m", "pipelines.cli"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = ["run", "recipe.toml", "--store", "store", "--engine", "local"]
    for arguments in (["recipe", "check", "recipe.toml", "--store", "store"], ["labels", "move", "recipe.toml", "--store", "store"], run):
        done = subprocess.run([*words, *arguments], capture_output=True, text=True, env=environment, check=False)
        assert not (strange / "RAN").exists(), arguments
    assert done.returncode == 2
    assert done.stderr == "earmark: extract[0]: runs code of 'strange.net:Net'; give --allow-code if you trust it\n"
    done = subprocess.run([*words, *run, "--allow-code", "--json"], capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout)["clips"] == 4
    assert (strange / "RAN").exists()


def test_code_is_found_without_being_imported(strange: Path) -> None:
    assert source("strange.net:Net") == strange / "strange" / "net.py"
    assert source("strange:Net") == strange / "strange" / "__init__.py"
    for name in ("strange.nothing:Net", "nothing.net:Net", "strange.net.deeper:Net", "strange..net:Net", ".:Net"):
        with pytest.raises(TorchModelError, match="there is no module"):
            source(name)
    assert not (strange / "RAN").exists()
    assert not {"strange", "strange.net"} & set(sys.modules)


def test_recipes_without_code_need_no_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert main(["run", str(tmp_path / "recipe.toml"), "--store", str(tmp_path / "nowhere")]) == 2
    assert "no tracks yet" in capsys.readouterr().err


# ---- bombs ------------------------------------------------------------------------------------------------------------------------------


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
    frame = name + struct.pack(">IBB", len(body), 0, flags) + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame + sound("MP3")


def picture() -> bytes:
    """A PNG that says it has 30,000 × 30,000 points."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(30_000_000))) + chunk(b"IEND", b"")


def packed(size: int) -> bytes:
    """A title that unpacks to so many bytes."""
    return struct.pack(">I", 100) + zlib.compress(bytes(size), 9)


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
    found = _track_clips({"uri": str(path), "track_id": "x", "sample_rate": 44_100, "seconds": 1.0}, str(path), recipe)
    assert sum(len(clip.samples) for clip in found) == 3600 * 44_100
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert taken < 4 * WHOLE_SAMPLES + 100e6 < 4 * 3600 * 44_100


def test_a_packed_title_of_ordinary_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "packed.mp3"
    title = b"\3A title"
    path.write_bytes(tagged(b"TIT2", struct.pack(">I", len(title)) + zlib.compress(title), 0x80))
    assert tags(str(path)) == {"title": "A title"}


@pytest.mark.slow
def test_scan_and_run_with_bombs_in_the_collection_keep_the_rest(tmp_path: Path) -> None:
    tones(tmp_path / "audio", 2)
    for name, (make, *_) in BOMBS.items():
        if "200 MB" not in name and "gigabyte" not in name:
            (tmp_path / "audio" / f"{name}.wav").write_bytes(make())
    found = earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    assert found["rejected"] == 4
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("1.0", "30.0"))
    done = earmark("run", tmp_path / "recipe.toml", "--store", tmp_path / "store", "--engine", "local")
    assert done["failed"] == {}
    assert done["clips"] == 2 + 3600 // 30 + 5


# ---- licences ---------------------------------------------------------------------------------------------------------------------------


def test_every_direct_dependency_is_listed_with_a_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["cloud"],
        *project["dependency-groups"]["dev"],
    ]
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "DEPENDENCIES.md").read_text().splitlines() if line.startswith("| ")]
    listed = {name: licence for name, _, licence in rows}
    for requirement in asked:
        name = re.sub(r"[-_.]+", "-", re.split(r"[\[<>=]", requirement)[0]).lower()
        assert name in listed, f"{name}: run infra/dependencies.py"
        assert listed[name] not in ("", "not stated", "UNKNOWN"), name
