"""Checkpoints, heads, recipes, campaigns, releases and manifests that somebody damaged are told in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from annotation.campaign import Campaign
from annotation.jams import Jams, read_jams, write_jams
from annotation.labels import Label
from extractors.checkpoint import CheckpointError, read_checkpoint
from pipelines.heads.files import load as load_head
from pipelines.manifest import SourceError, rows
from pipelines.places import FileError, load_toml
from pipelines.recipe import RecipeError, load
from pipelines.release.spec import Release
from tests.collection import MEL, PEAKS, ROOT
from tests.hostile import fuzz, mutated, one_line
from tests.test_campaign import FULL
from tests.test_checkpoint import _block as block
from tests.test_checkpoint import _masked as masked
from tests.test_checkpoint import _varint as varint
from tests.test_checkpoint import _write as write_checkpoint
from tests.test_heads import saved


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


TOML = {
    "arrays in arrays": "x = " + "[" * 100_000 + "]" * 100_000,
    "tables in tables": "x = " + "{a=" * 10_000 + "1" + "}" * 10_000,
    "a name of 100,000 dots": ".".join(["a"] * 100_000) + " = 1",
    "quoted names": ".".join(['"a b"'] * 20_000) + " = 1",
    "a number of a million digits": "seed = " + "9" * 1_000_000,
    "twice the same": "seed = 1\nseed = 2",
    "2,000 tables": "\n".join(f"[t{number}]" for number in range(2000)),
    "300 entries": "\n".join(f"[[extract]]\nuse = 'LogMel'\nname = 'n{number}'" for number in range(300)),
    "a heading of blanks": "x = [\n['" + " " * 50_000 + "x',\n1]]",
    "a gigantic transform": "[[extract]]\nuse = 'LogMel'\nn_fft = 1099511627776",
    "gigantic bands": "[[extract]]\nuse = 'Mel'\nn_mels = 9223372036854775807",
    "clips without end": "[window]\nseconds = 1e-300\n[[extract]]\nuse = 'Mel'",
    "starts without end": "[window]\nhop = 1e-300\n[[extract]]\nuse = 'Mel'",
}


@pytest.mark.parametrize("name", TOML)
@pytest.mark.parametrize("what", ["recipe", "campaign", "release"])
def test_a_description_without_end_is_refused_in_few_lines(tmp_path: Path, what: str, name: str) -> None:
    path = tmp_path / "file.toml"
    path.write_text(TOML[name])
    with pytest.raises(FileError) as raised:
        load(path) if what == "recipe" else load_toml(path, Campaign if what == "campaign" else Release)
    lines = str(raised.value).split("\n")
    assert len(lines) <= 21
    assert all(len(line) < 400 and "file.toml" in line for line in lines)


def claim(entry: bytes, folder: Path) -> Path:
    """A checkpoint with one entry, and a hundred bytes of data."""
    rows, meta = block([(b"", b"\x08\x01"), (b"a", entry)]), block([])
    index = block([(b"b", varint(0) + varint(len(rows) - 5))])
    footer = b"".join(map(varint, (len(rows), len(meta) - 5, len(rows) + len(meta), len(index) - 5))).ljust(40, b"\0")
    (folder / "model.data-00000-of-00001").write_bytes(bytes(100))
    (folder / "model.index").write_bytes(rows + meta + index + footer + struct.pack("<Q", 0xDB4775248B80FB57))
    return folder / "model.index"


@pytest.mark.parametrize(
    "entry",
    [
        *(b"\x08\x01\x28" + varint(size) for size in (101, 1 << 40, 1 << 62, 1 << 63)),
        b"\x08\x01\x20" + varint(1 << 63) + b"\x28\x04",
        b"\x08\x01\x20" + varint(1 << 90),
        b"\x08" + b"\xff" * 20_000 + b"\x01",
    ],
)
def test_a_checkpoint_that_claims_more_than_there_is_is_told(tmp_path: Path, entry: bytes) -> None:
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(claim(entry, tmp_path))
    one_line(raised.value, str(tmp_path))


def test_manifests_that_unpack_to_more_than_words_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(name: str) -> str:
        with pytest.raises(SourceError) as raised:
            list(rows(str(tmp_path / name), []))
        one_line(raised.value, str(tmp_path / name))
        return str(raised.value)

    many = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["b" * (1 << 22)]))
    pq.write_table(pa.table({"uri": many}), tmp_path / "copies.parquet", compression="zstd", write_statistics=False)
    assert (tmp_path / "copies.parquet").stat().st_size < 2000
    assert "a cell of 4194304 bytes" in told("copies.parquet")
    (tmp_path / "deep.jsonl").write_text('{"uri": "a.wav", "title": ' + "[" * 200_000 + "]" * 200_000 + "}\n")
    assert "not JSON" in told("deep.jsonl")
    (tmp_path / "long.csv").write_text('uri\n"' + "a" * (1 << 21) + '"\n')
    assert "field larger than" in told("long.csv")
    monkeypatch.setattr("pipelines.manifest._LARGEST_CHUNK", 1 << 16)
    pq.write_table(pa.table({"uri": ["a" * 1000] * 1000}), tmp_path / "chunk.parquet", use_dictionary=False)
    assert "write smaller row groups" in told("chunk.parquet")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_any_damage_to_a_manifest_gives_rows_or_one_line(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"list.{form}"
    said = [{"uri": f"{name}.wav", "title": f"Title, {name}", "license": None} for name in "abc"]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(said), path)
    else:
        lines = (
            [json.dumps(each) for each in said]
            if form == "jsonl"
            else ["uri,title", *(f'{each["uri"]},"{each["title"]}"' for each in said)]
        )
        path.write_text("\n".join(lines))
    whole = path.read_bytes()

    def check(raw: bytes) -> None:
        path.write_bytes(raw)
        try:
            assert all(isinstance(uri, str) for uri, _ in rows(str(path), []))
        except SourceError as error:
            one_line(error, str(path))

    fuzz(mutated(whole, len(whole)), check, f"manifests, {form}", 150)


def test_any_damage_to_a_jams_file_gives_labels_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "song.jams"
    labels = [Label("beat", str(beat), "ada", "person", "t" * 20, start=float(beat), duration=0.0) for beat in range(1, 4)]
    write_jams(Jams.of([*labels, Label("tag", "calm", "ada", "person", "t" * 20)], 10.0), path)
    whole = path.read_bytes()

    def check(raw: bytes) -> None:
        path.write_bytes(raw)
        try:
            assert all(label.track_id == "t" * 20 for label in read_jams(path, "t" * 20).labels)
        except ValueError as error:
            one_line(error, str(path))

    fuzz(mutated(whole, len(whole)), check, "JAMS files", 200)


def test_a_column_whose_name_is_no_text_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"uri": ["a.wav"], "license": ["CC0"]}), path)
    raw = path.read_bytes()
    at = raw.rindex(b"\x07license")  # in the columns' metadata, which is read apart from the schema
    path.write_bytes(raw[: at + 1] + b"\x80" + raw[at + 2 :])
    with pytest.raises(SourceError, match=r"list\.parquet: not Parquet") as error:
        list(rows(str(path), []))
    one_line(error.value, str(path))


def test_a_number_without_end_in_a_recipe_is_told_in_its_line(tmp_path: Path) -> None:
    for name in ("sample_rate", "n_fft", "hop_length", "n_mels"):
        (tmp_path / "recipe.toml").write_text(f'[window]\nseconds = 1.0\n[[extract]]\nuse = "LogMel"\n{name} = {"9" * 400}\n')
        with pytest.raises(RecipeError, match=rf"recipe\.toml, line 5: extract\[0\]\.{name}: "):
            load(tmp_path / "recipe.toml")
