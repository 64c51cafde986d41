"""What others wrote runs no code and opens no pickle; what is depended on is listed with its licence."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from extractors.torch_module import TorchModelError, source
from pipelines.cli import main
from tests.collection import PEAKS, RECIPE, ROOT, earmark, tones

# Two processes of one run talk over pipes that nobody else can write to.
PIPES = {"pipelines/engines/apart.py": {"pickle.loads", "pickle.load"}, "pipelines/engines/beam_pipeline.py": {"pickle.load"}}
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
