"""TensorFlow checkpoints are read without TensorFlow, and nothing damaged passes."""

from __future__ import annotations

import importlib.util
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from extractors.checkpoint import CheckpointError, read_checkpoint
from extractors.checksum import crc32c

PACKAGE = importlib.util.find_spec("musicnn")
needs_package = pytest.mark.skipif(PACKAGE is None, reason="package musicnn is not installed")


def _bitwise_crc32c(raw: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in raw:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def _masked(raw: bytes) -> int:
    checksum = _bitwise_crc32c(raw)
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _block(rows: list[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    """Rows whose keys share their beginnings, and the trailer."""
    body, before = b"", b""
    for key, value in rows:
        shared = next((i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key)))
        body += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    body += struct.pack("<II", 0, 1)
    return body + bytes([kind]) + struct.pack("<I", _masked(body + bytes([kind])))


def _entry(array: np.ndarray, dtype: int, offset: int) -> bytes:
    shape = b"".join(b"\x12" + _varint(len(size) + 1) + b"\x08" + size for size in map(_varint, array.shape))
    raw = array.tobytes()
    place = b"\x20" + _varint(offset) + b"\x28" + _varint(len(raw)) + b"\x35" + struct.pack("<I", _masked(raw))
    return b"\x08" + _varint(dtype) + b"\x12" + _varint(len(shape)) + shape + place


def _write(folder: Path, arrays: dict[str, np.ndarray], dtype: int = 1, kind: int = 0) -> Path:
    """A checkpoint by the format's description: two data blocks, an empty metaindex, the index, the footer."""
    data, rows = b"", [(b"", b"\x08\x01")]
    for name, array in sorted(arrays.items()):
        rows.append((name.encode(), _entry(array, dtype, len(data))))
        data += array.tobytes()
    table, handles = b"", []
    for part in (rows[:2], rows[2:]):
        block = _block(part, kind)
        handles.append((part[-1][0] + b"~", _varint(len(table)) + _varint(len(block) - 5)))
        table += block
    meta, index = _block([]), _block(handles)
    footer = _varint(len(table)) + _varint(len(meta) - 5) + _varint(len(table) + len(meta)) + _varint(len(index) - 5)
    path = folder / "model.index"
    path.write_bytes(table + meta + index + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57))
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return path


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"dense/bias": (5,), "dense/kernel": (300, 5), "dense_1/kernel": (2, 3, 1, 4), "step": ()}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 63, 64, 65, 1000])
def test_the_checksum_is_that_of_the_definition(length: int) -> None:
    raw = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    assert crc32c(raw) == _bitwise_crc32c(raw)


def test_three_megabytes_are_checked_in_under_a_second() -> None:
    start = time.process_time()
    crc32c(bytes(3_000_000))
    assert time.process_time() - start < 1


def test_what_was_written_is_read(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    read = read_checkpoint(_write(tmp_path, arrays))
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)


def test_only_what_is_wanted_is_read(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    assert list(read_checkpoint(_write(tmp_path, arrays), lambda name: name == "step")) == ["step"]


def test_a_missing_tensor_is_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match=r"model\.index: has no tensor 'conv/kernel'"):
        read_checkpoint(_write(tmp_path, arrays))["conv/kernel"]


def test_every_damaged_byte_of_the_index_is_noticed_or_harmless(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = _write(tmp_path, arrays)
    whole = path.read_bytes()
    noticed: list[str] = []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            read = read_checkpoint(path)
        except CheckpointError as error:
            noticed.append(str(error))
        else:
            assert read.keys() == arrays.keys()
            assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
    assert len(noticed) > 0.8 * len(whole)
    assert all(message.startswith(str(tmp_path)) and "\n" not in message for message in noticed)


def test_a_damaged_byte_of_a_tensor_is_noticed(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = _write(tmp_path, arrays)
    data = path.with_name("model.data-00000-of-00001")
    raw = bytearray(data.read_bytes())
    raw[100] ^= 1
    data.write_bytes(raw)
    with pytest.raises(CheckpointError, match="dense/kernel is damaged: its checksum does not match"):
        read_checkpoint(path)


@pytest.mark.parametrize("left", [0, 3, 47, 60, 200])
def test_a_truncated_index_is_an_error(tmp_path: Path, arrays: dict[str, np.ndarray], left: int) -> None:
    path = _write(tmp_path, arrays)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CheckpointError, match="truncated"):
        read_checkpoint(path)


def test_truncated_data_are_an_error(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = _write(tmp_path, arrays)
    data = path.with_name("model.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match=r"step is truncated \(2 of 4 bytes\)"):
        read_checkpoint(path)


def test_absent_files_are_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.index: cannot be read: No such file"):
        read_checkpoint(tmp_path / "nothing.index")
    path = _write(tmp_path, arrays)
    path.with_name("model.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match="data-00000-of-00001: cannot be read: No such file"):
        read_checkpoint(path)


def test_unknown_kinds_and_compressed_blocks_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match="TensorFlow's type 8"):
        read_checkpoint(_write(tmp_path, arrays, dtype=8))
    with pytest.raises(CheckpointError, match="compressed blocks"):
        read_checkpoint(_write(tmp_path, arrays, kind=1))


@needs_package
@pytest.mark.parametrize("model", ["MTT_musicnn", "MTT_vgg"])
def test_the_package_s_own_checkpoints_are_read_in_full(tmp_path: Path, model: str) -> None:
    assert PACKAGE is not None
    assert PACKAGE.submodule_search_locations
    folder = Path(PACKAGE.submodule_search_locations[0]) / model
    tensors = read_checkpoint(folder / ".index")
    assert sum(tensor.nbytes for tensor in tensors.values()) == (folder / ".data-00000-of-00001").stat().st_size
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    copy = Path(shutil.copytree(folder, tmp_path / model))
    raw = bytearray((copy / ".data-00000-of-00001").read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / ".data-00000-of-00001").write_bytes(raw)
    with pytest.raises(CheckpointError, match="checksum does not match"):
        read_checkpoint(copy / ".index")
