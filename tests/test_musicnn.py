"""MusiCNN gives what its authors' package gives, on every path, and the same bits whatever stands around a clip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from extractors import converted, inference, musicnn
from extractors.batch import Batch
from extractors.clip import Clip
from extractors.extractor import Live
from extractors.musicnn import FRAMES, MissingWeights, Model, MusiCNN, rounded_to_half

CORPUS = Path(os.environ.get("EARMARK_CORPUS", "/nowhere"))
PIECE = "joram-moments_of_clarity-08-solipsism-59-88"
MODELS = get_args(Model)
SECONDS = 3 * FRAMES * 256 / 16000  # three patches

pytestmark = pytest.mark.skipif(importlib.util.find_spec("musicnn") is None, reason="package musicnn is not installed")
needs_corpus = pytest.mark.skipif(not (CORPUS / "music").is_dir(), reason="EARMARK_CORPUS names no corpus")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARMARK_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def live() -> Live:
    return MusiCNN().open()


def _clip(seconds: float, seed: int = 0) -> Clip:
    """A tune of decaying tones over noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(16000 * seconds)) / 16000
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in rng.choice([220, 277, 330, 440, 554, 660], 3, replace=False))
    sound = 0.1 * tones * np.exp(-3 * (time % 0.4)) + 0.01 * rng.standard_normal(len(time))
    return Clip(f"tune {seed}", 0.0, 16000, sound.astype(np.float32))


def _hear(live: Live, *clips: Clip, seconds: float | None = SECONDS) -> dict[str, Any]:
    return dict(live(Batch(clips, seconds)))


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No module named 'openvino'")

    monkeypatch.setattr(inference, "import_openvino", missing)


def _differences(model: str, precision: str) -> dict[str, float]:
    """The largest difference from the package's own numbers, by output."""
    sound, _ = soundfile.read(CORPUS / "music" / f"{PIECE}.mp3", dtype="float32")  # as librosa decoded it for the package
    spec = MusiCNN.model_validate({"model": model, "precision": precision})
    heard = _hear(spec.open(), Clip(PIECE, 0.0, 16000, sound), seconds=None)
    differences = {}
    with np.load(CORPUS.parent / "goldens" / "musicnn" / f"{PIECE}.{model}.npz") as golden:
        for name in golden:
            ours = heard["tags" if name == "taggram" else name][0]
            rows = 1 if name == "penultimate" else None  # the package repeats the first patch's in all rows
            differences[name] = float(np.abs(ours.reshape(golden[name].shape)[:rows] - golden[name][:rows]).max())
    assert heard["valid"].tolist() == [9]
    return differences


# The spectrum is rounded to float16, whose last digit may fall either way: max_pool, up to 30, shows it.
FLOAT32 = {"taggram": 1e-5, "penultimate": 1e-4, "mean_pool": 1e-4, "max_pool": 5e-3, "pool5": 2e-4}
BF16 = {"taggram": 0.02, "penultimate": 0.06, "mean_pool": 0.25, "max_pool": 3.0, "pool5": 0.25}


@needs_corpus
@pytest.mark.parametrize("model", MODELS)
def test_openvino_gives_the_package_s_numbers(model: str) -> None:
    differences = _differences(model, "float32")
    assert not {name: value for name, value in differences.items() if value > FLOAT32[name]}


@needs_corpus
@pytest.mark.parametrize("model", MODELS)
def test_torch_gives_the_package_s_numbers(no_openvino: None, model: str) -> None:
    differences = _differences(model, "float32")
    assert not {name: value for name, value in differences.items() if value > FLOAT32[name]}


@needs_corpus
@pytest.mark.parametrize("model", MODELS)
def test_bf16_stays_near_the_package_s_numbers(model: str) -> None:
    differences = _differences(model, "bf16")
    assert not {name: value for name, value in differences.items() if value > BF16[name]}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seconds", [1.0, 30.0, None])
def test_arrays_have_the_columns_shapes(monkeypatch: pytest.MonkeyPatch, model: str, seconds: float | None) -> None:
    spec = MusiCNN.model_validate({"model": model})
    sizes = {name: shape for name, shape, _ in spec._layers}

    def network(patches: Any) -> dict[str, Any]:
        return {name: np.zeros((len(patches), *shape), np.float32) for name, shape in sizes.items()}

    monkeypatch.setattr(musicnn, "compile_network", lambda *args: network)
    heard = _hear(spec.open(), _clip(7.0), seconds=seconds)
    columns = spec.columns(seconds)
    assert {column.name for column in columns} == set(heard)
    for column in columns:
        array = heard[column.name]
        assert array.dtype == column.dtype
        assert array.shape[1:] == tuple(2 if size is None else size for size in column.shape)
        assert not column.dims or len(column.dims) == len(column.shape)


def test_tags_are_named_as_the_package_names_them() -> None:
    labels = {model: MusiCNN.model_validate({"model": model}).columns(30.0)[0].labels for model in MODELS}
    assert labels["MTT_musicnn"][:3] == labels["MTT_vgg"][:3] == ("guitar", "classical", "slow")
    assert labels["MSD_musicnn"][-2:] == labels["MSD_vgg"][-2:] == ("House", "happy")
    assert all(len(names) == 50 for names in labels.values())


def test_neighbours_and_order_change_no_bit(live: Live) -> None:
    clips = [_clip(9.0, 0), _clip(4.0, 1), _clip(9.0, 2), _clip(0.5, 3)]
    together = _hear(live, *clips)
    backwards = _hear(live, *clips[::-1])
    for place, clip in enumerate(clips):
        alone = _hear(live, clip)
        assert _equal(alone, {name: array[place : place + 1] for name, array in together.items()})
        assert _equal(alone, {name: array[3 - place : 4 - place] for name, array in backwards.items()})


def test_threads_change_no_bit(live: Live) -> None:
    clips = [_clip(9.0, seed) for seed in range(4)]

    def hear(clip: Clip) -> dict[str, Any]:
        return _hear(MusiCNN().open(), clip)

    with ThreadPoolExecutor(4) as threads:
        assert all(_equal(heard, _hear(live, clip)) for heard, clip in zip(threads.map(hear, clips), clips, strict=True))


def test_padding_is_silence_and_is_told_from_sound(live: Live) -> None:
    short = _clip(4.0)
    padded = Clip("padded", 0.0, 16000, np.pad(short.samples, (0, round(16000 * SECONDS) - len(short.samples))))
    heard, whole = _hear(live, short), _hear(live, padded)
    assert np.array_equal(heard["tags"][:, 0], whole["tags"][:, 0])
    np.testing.assert_allclose(heard["tags"][:, 1:], whole["tags"][:, 1:], atol=0.02)  # but for the sound's end in the frame after it
    assert (heard["valid"].tolist(), whole["valid"].tolist()) == ([1], [3])
    assert (heard["valid_frames"].tolist(), whole["valid_frames"].tolist()) == ([251], [562])
    assert np.array_equal(heard["tags_mean"][0], heard["tags"][0, 0])
    np.testing.assert_allclose(whole["tags_mean"][0], whole["tags"][0].mean(0), rtol=1e-6)


def test_patches_after_the_sound_are_heard_as_silence(live: Live) -> None:
    silent = _hear(live, Clip("silence", 0.0, 16000, np.zeros(round(16000 * SECONDS), np.float32)))
    assert np.array_equal(_hear(live, _clip(0.5))["tags"][0, 1:], silent["tags"][0, 1:])
    assert np.array_equal(silent["tags"][0, 0], silent["tags"][0, 1])


def test_a_clip_shorter_than_a_patch_has_one(live: Live) -> None:
    heard = _hear(live, _clip(1.0), seconds=1.0)
    assert heard["tags"].shape == (1, 1, 50)
    assert heard["valid"].tolist() == [1]
    assert heard["valid_frames"].tolist() == [63]
    assert np.array_equal(heard["tags"], _hear(live, _clip(1.0))["tags"][:, :1])


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bf16", 0.03)])
def test_torch_and_openvino_agree_whatever_the_batch_size(live: Live, precision: inference.Precision, tolerance: float) -> None:
    spec = MusiCNN()
    names = tuple(name for name, _, _ in spec._layers)
    patches = musicnn.to_patches(Batch([_clip(9.0)], SECONDS).spectrum(musicnn.SPECTRUM), np.array([562], np.int32))[0]
    by_torch = inference.with_torch(spec._network, names, "cpu", precision, 4)(patches)
    heard = _hear(live, _clip(9.0))
    for name in names:
        np.testing.assert_allclose(by_torch[name], heard[name][0], rtol=tolerance, atol=tolerance * max(1, heard[name].max()))


def test_torch_tensors_are_cut_like_arrays() -> None:
    import torch

    mel = Batch([_clip(9.0)], SECONDS).spectrum(musicnn.SPECTRUM)
    for frames, valid in ((562, 562), (562, 200), (50, 50)):
        sound, counts = mel[:, :frames], np.array([valid], np.int32)
        cut = musicnn.to_patches(sound, counts)
        assert cut.shape == (1, max(1, frames // 187), 187, 96)
        np.testing.assert_allclose(musicnn.to_patches(torch.from_numpy(sound), counts).numpy(), cut, atol=1e-6)


def test_only_what_is_wanted_is_kept(live: Live) -> None:
    spec = MusiCNN(outputs=("penultimate",))
    assert [column.name for column in spec.columns(30.0)] == ["penultimate", "penultimate_mean", "valid", "valid_frames"]
    heard = _hear(spec.open(), _clip(9.0))
    assert np.array_equal(heard["penultimate"], _hear(live, _clip(9.0))["penultimate"])
    assert set(heard) == {column.name for column in spec.columns(30.0)}


def test_an_output_that_a_model_has_not_is_named() -> None:
    with pytest.raises(ValidationError, match=r"'pool5' is not one of tags, penultimate, mean_pool, max_pool, which MTT_musicnn has"):
        MusiCNN(outputs=("pool5",))


def test_model_precision_and_weights_decide_the_identity() -> None:
    specs = [MusiCNN.model_validate({"model": model, "precision": precision}) for model in MODELS for precision in ("float32", "bf16")]
    assert len({spec.digest() for spec in specs}) == 8
    assert len({spec.weights_hash() for spec in specs}) == 4
    assert MusiCNN(name="tags").digest() == MusiCNN().digest()


def test_a_missing_package_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    musicnn.package_folder.cache_clear()
    try:
        with pytest.raises(MissingWeights, match=r"^[^\n]*pip install --no-deps musicnn==0\.1\.0$"):
            MusiCNN().weights_hash()
    finally:
        musicnn.package_folder.cache_clear()


def test_a_later_start_needs_neither_torch_nor_the_network_and_leaves_no_trace(live: Live, tmp_path: Path, cache: Path) -> None:
    code = """
        import socket, sys
        def refuse(*args, **kwargs): raise SystemExit("the network was asked")
        socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
        from extractors.musicnn import MusiCNN
        MusiCNN().open()
        sys.exit(3 if "torch" in sys.modules or "tensorflow" in sys.modules or "openvino_telemetry" in sys.modules else 0)
    """
    root = Path(__file__).parents[1]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "one bit", "absent", "nowhere to write"])
def test_a_cache_that_fails_costs_only_time(live: Live, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    expected = _hear(live, _clip(3.0), seconds=3.0)
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path))
    for path in cache.glob("*.network"):
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= damage == "one bit"
        if damage != "absent":
            (tmp_path / path.name).write_bytes(raw[:-9] if damage == "truncated" else raw)
    if damage == "nowhere to write":
        (tmp_path / "file").touch()
        monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "file" / "cache"))
    assert _equal(_hear(MusiCNN().open(), _clip(3.0), seconds=3.0), expected)
    if damage != "nowhere to write":
        assert any(converted._read(path) for path in tmp_path.glob("*.network"))
        assert not [path for path in tmp_path.iterdir() if path.suffix != ".network"]


def test_rounding_to_half_equals_numpys_conversion_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)  # every finite float16 from 0 up
    ties = (halves[1:] + halves[:-1]) / 2
    near = np.concatenate([np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))])
    values = np.concatenate([halves, ties, near, (10 ** rng.uniform(-14, 4.8, 200_000)).astype(np.float32)])
    expected = np.minimum(values, 65504).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(rounded_to_half(values).view(np.uint32), expected.view(np.uint32))
    assert rounded_to_half(np.array([1e9], np.float32)) == 65504
