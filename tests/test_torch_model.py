"""People bring their own networks: code by its place, weights from safetensors, the front end from the recipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from extractors.batch import Batch
from extractors.clip import Clip
from extractors.spectral import LogMel
from extractors.torch_model import TorchModel
from extractors.torch_module import TorchModelError

CODE = """
    import torch

    class Energy(torch.nn.Module):
        def __init__(self, bands=64, scale=1.0):
            super().__init__()
            self.mix = torch.nn.Linear(bands, 3)
            self.scale = scale

        def forward(self, x):
            return {"embedding": self.mix(x).mean(1) * self.scale, "loudest": x.amax(1)}

    class Loudness(torch.nn.Module):
        def forward(self, wave):
            return wave.square().mean(1, keepdim=True)

    class Shape(torch.nn.Module):
        def forward(self, x):
            return torch.tensor(x.shape[1:], dtype=torch.float32).expand(len(x), -1)
"""
FRONT = {"use": "LogMel", "sample_rate": 16000, "n_mels": 64}
SPEC: dict[str, Any] = {
    "factory": "bring_your_own:Energy",
    "front": FRONT,
    "layout": "time feature",
    "outputs": {"embedding": [3], "loudest": [64]},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "bring_your_own.py").write_text(textwrap.dedent(CODE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("bring_your_own", None)


def _batch(spec: TorchModel, seconds: float | None = 1.0, count: int = 3) -> Batch:
    rng = np.random.default_rng(5)
    clips = [Clip("a", n, 16000, rng.uniform(-0.5, 0.5, 16000 - 3000 * n).astype(np.float32)) for n in range(count)]
    return Batch(clips, seconds, spec.spectra())


def _weights(place: Path) -> str:
    torch.manual_seed(3)
    path = place / "energy.safetensors"
    save_file({"mix.weight": torch.randn(3, 64), "mix.bias": torch.randn(3)}, path)
    return str(path)


def test_a_module_hears_the_front_end_and_fills_its_columns(place: Path) -> None:
    spec = TorchModel.model_validate({**SPEC, "weights": _weights(place)})
    heard = spec.open()(_batch(spec))
    columns = {column.name: column for column in spec.columns(1.0)}
    assert set(heard) == set(columns)
    for name, array in heard.items():
        assert array.shape == (3, *columns[name].shape)
        assert array.dtype == columns[name].dtype
    mel = LogMel(sample_rate=16000, n_mels=64).open()(_batch(spec))
    np.testing.assert_allclose(heard["loudest"], np.asarray(mel["mel"]).max(1), atol=1e-5)
    np.testing.assert_array_equal(heard["valid"], mel["valid"])
    torch.manual_seed(3)
    kernel, bias = torch.randn(3, 64).numpy(), torch.randn(3).numpy()
    np.testing.assert_allclose(heard["embedding"], (np.asarray(mel["mel"]) @ kernel.T + bias).mean(1), rtol=1e-4, atol=1e-3)


def test_a_clip_s_numbers_do_not_depend_on_its_neighbours(place: Path) -> None:
    spec = TorchModel.model_validate({**SPEC, "weights": _weights(place)})
    live, batch = spec.open(), _batch(spec)
    together = live(batch)
    for n, clip in enumerate(batch.clips):
        alone = live(Batch([clip], 1.0, spec.spectra()))
        assert all(np.array_equal(alone[name][0], together[name][n]) for name in together)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("time feature", (32, 64)), ("feature time", (64, 32)), ("1 time feature", (1, 32, 64)), ("1 feature time", (1, 64, 32))],
)
def test_the_layout_is_as_its_name_says(place: Path, layout: str, shape: tuple[int, ...]) -> None:
    spec = TorchModel.model_validate({**SPEC, "factory": "bring_your_own:Shape", "layout": layout, "outputs": {"shape": [len(shape)]}})
    assert tuple(spec.open()(_batch(spec))["shape"][0]) == shape


def test_a_module_may_hear_the_wave(place: Path) -> None:
    spec = TorchModel(factory="bring_your_own:Loudness", front="wave", sample_rate=16000, layout="time", outputs={"power": (1,)})
    assert spec.sample_rates() == (16000,)
    batch = _batch(spec)
    heard = spec.open()(batch)
    np.testing.assert_allclose(heard["power"][:, 0], np.square(batch.wave(16000)).mean(1), rtol=1e-5)
    np.testing.assert_array_equal(heard["valid"], [16000, 13000, 10000])


def test_whole_tracks_vary_in_length(place: Path) -> None:
    (place / "bring_your_own.py").write_text("import torch\nSame = torch.nn.Identity\n")
    spec = TorchModel.model_validate({**SPEC, "factory": "bring_your_own:Same", "outputs": {"same": [-1, 64]}})
    assert spec.columns(None)[0].shape == (None, 64)
    assert spec.open()(_batch(spec, None, 1))["same"].shape == (1, 32, 64)
    with pytest.raises(TorchModelError, match="-1 is for whole tracks"):
        spec.columns(1.0)


def test_code_options_weights_and_front_decide_the_identity_and_places_do_not(place: Path) -> None:
    first = TorchModel.model_validate({**SPEC, "weights": _weights(place)})
    digest = first.digest()
    moved = Path(first.weights or "").rename(place / "moved.safetensors")
    assert TorchModel.model_validate({**SPEC, "weights": str(moved)}).digest() == digest
    others = [{**SPEC, "options": {"scale": 2.0}}, {**SPEC, "front": {**FRONT, "hop_length": 256}}, {**SPEC, "precision": "bf16"}, SPEC]
    digests = {TorchModel.model_validate({"weights": str(moved), **other}).digest() for other in others[:3]}
    assert len(digests | {digest, TorchModel.model_validate(SPEC).digest()}) == 5
    code = place / "bring_your_own.py"
    code.write_text(code.read_text() + "# other\n")
    assert TorchModel.model_validate({**SPEC, "weights": str(moved)}).digest() != digest
    assert "bring_your_own" not in sys.modules


def test_a_spec_survives_json_and_is_hashable(place: Path) -> None:
    spec = TorchModel.model_validate(SPEC)
    assert TorchModel.model_validate_json(spec.model_dump_json()) == spec
    assert hash(spec) == hash(TorchModel.model_validate(SPEC))
    assert TorchModel.model_json_schema()["properties"]["factory"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "model.pt"}, r"'model\.pt' is no \.safetensors file"),
        ({"front": {"use": "Loudnes"}}, "'Loudnes' is not one of LogMel, Mel, Mfcc, Stft, ChromaStft"),
        ({"front": "mel"}, "'mel' is not one of LogMel"),
        ({"front": "wave"}, "sample_rate goes with front"),
        ({"layout": "time"}, "'time' does not go with front LogMel"),
        ({"outputs": {}}, "at least 1"),
        ({"outputs": {"valid": [3]}}, "a name other than valid"),
        ({"outputs": {"x": [3, -1]}}, "sizes from 1 up"),
        ({"factory": "no place"}, "pattern"),
    ],
)
def test_a_mistake_in_the_recipe_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TorchModel.model_validate({**SPEC, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factory": "nowhere_at_all:Net"}, "no module 'nowhere_at_all'"),
        ({"factory": "bring_your_own:Nothing"}, "module 'bring_your_own' has no 'Nothing'"),
        ({"weights": "absent.safetensors"}, "absent.safetensors: not a whole safetensors file"),
        ({"weights": "pickle.safetensors"}, "not a whole safetensors file"),
        (
            {"weights": "other.safetensors"},
            r"does not fit bring_your_own:Energy: mix.bias is missing, extra is unknown to the module, mix.weight is",
        ),
    ],
)
def test_what_cannot_be_loaded_is_named(place: Path, change: dict[str, Any], message: str) -> None:
    torch.save({"mix.bias": torch.zeros(3)}, place / "pickle.safetensors")
    save_file({"mix.weight": torch.zeros(3, 5), "extra": torch.zeros(1)}, place / "other.safetensors")
    with pytest.raises(TorchModelError, match=message):
        TorchModel.model_validate({**SPEC, **change}).open()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"embedding": [3]}, "returned a dict of embedding, loudest, declared are embedding"),
        ({"embedding": [4], "loudest": [64]}, r"returned embedding with shape \[1, 3\] for 1 clips, declared is \[4\] for each"),
    ],
)
def test_an_output_other_than_declared_is_an_error(place: Path, outputs: dict[str, Any], message: str) -> None:
    spec = TorchModel.model_validate({**SPEC, "outputs": outputs})
    with pytest.raises(TorchModelError, match=message):
        spec.open()(_batch(spec))
