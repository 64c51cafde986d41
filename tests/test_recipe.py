"""A recipe that cannot be understood stops before anything runs, and says where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from extractors.clip import Window
from pipelines.cli import main
from pipelines.estimate import clips_of
from pipelines.recipe import Recipe, RecipeError, load

MEL = '[[extract]]\nuse = "LogMel"\n'


def recipe(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[extract]]\nuse = "Loudnes"\n', "recipe.toml, line 2: extract[0].use: 'Loudnes' is not one of ChromaStft, LogMel, Mel, "),
        (MEL + '[[extract]]\nuse = "Mfcc"\nn_mfc = 13\n', "recipe.toml, line 5: extract[1].n_mfc: no such setting; there are "),
        (MEL + "n_mels = 0\n", "recipe.toml, line 3: extract[0].n_mels: "),
        ("sed = 1\n" + MEL, "recipe.toml, line 1: sed: no such setting; there are extract, name, run, seed, window"),
        ("[window]\nhop = -1\n" + MEL, "recipe.toml, line 2: window.hop: Input should be greater than 0, got -1"),
        ("[run]\nworkers = 'two'\n" + MEL, "recipe.toml, line 2: run.workers: "),
        ("[[extract]]\nn_mels = 4\n", "recipe.toml, line 1: extract[0].use: missing; say which extractor: "),
        (MEL + MEL, "extract[0].name: table 'logmel' is taken; give this extractor another name"),
        (MEL + "name = 'tracks'\n", "extract[0].name: table 'tracks' is taken"),
        ("extract = []\n", "recipe.toml, line 1: extract: "),
        ("use = ", "recipe.toml: not TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_mistake_gets_a_line_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, MEL + "n_mels = 0\nhop_length = 0\n")
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["recipe.toml, line 3", "recipe.toml, line 4"]


def test_a_recipe_that_is_not_there_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "check", str(tmp_path / "no.toml")]) == 2
    assert "no.toml: No such file or directory" in capfd.readouterr().err


def test_only_what_determines_rows_changes_a_tables_variant(tmp_path: Path) -> None:
    first = recipe(tmp_path, MEL).variants()
    assert recipe(tmp_path, "name = 'x'\nseed = 3\n[run]\nworkers = 7\nbatch = 2\n" + MEL).variants() == first
    assert recipe(tmp_path, MEL + '[[extract]]\nuse = "Mfcc"\n').variants()["logmel"] == first["logmel"]
    assert recipe(tmp_path, MEL + "n_mels = 64\n").variants()["views"] == first["views"]
    assert recipe(tmp_path, MEL + "n_mels = 64\n").variants()["logmel"] != first["logmel"]
    longer = recipe(tmp_path, "[window]\nseconds = 31\n" + MEL).variants()
    assert longer["views"] != first["views"]
    assert longer["logmel"] != first["logmel"]


def test_the_schema_admits_the_recipes_that_come_with_the_project(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "schema"]) == 0
    schema = json.loads(capfd.readouterr().out)
    assert schema["additionalProperties"] is False
    assert {"window", "extract", "seed", "run"} <= set(schema["properties"])
    for path in (Path(__file__).parents[1] / "pipelines" / "recipes").glob("*.toml"):
        assert load(path).extract


def test_a_check_counts_clips_and_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from pipelines.store import Store

    Store(tmp_path).publish("tracks", "shard", pa.table({"seconds": [70.0, 5.0]}))
    (tmp_path / "recipe.toml").write_text("[window]\nseconds = 30\n" + MEL)
    assert main(["recipe", "check", str(tmp_path / "recipe.toml"), "--store", str(tmp_path), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["clips"] == 4
    assert found["missing_shards"] == 1
    frames = 1 + 30 * 22_050 // 512
    assert 0.5 < found["bytes"]["logmel"] / (4 * frames * 128 * 2) <= 1


@pytest.mark.parametrize(
    ("seconds", "window", "expected"),
    [
        (30.0, Window(seconds=30), 1),
        (30.5, Window(seconds=30), 1),
        (31.0, Window(seconds=30), 2),
        (0.2, Window(seconds=30), 1),
        (90.0, Window(seconds=30), 3),
        (60.0, Window(seconds=30, hop=15), 4),
        (60.0, Window(seconds=10, hop=25), 3),
        (500.0, Window(seconds="track"), 1),
    ],
)
def test_the_clips_that_are_announced_are_those_that_are_cut(seconds: float, window: Window, expected: int, tmp_path: Path) -> None:
    import soundfile

    from extractors.audio import clips

    soundfile.write(tmp_path / "x.wav", np.full(int(seconds * 8000), 0.1, np.float32), 8000)
    cut = list(clips(str(tmp_path / "x.wav"), "x", 8000, window))
    assert clips_of(np.array([seconds]), window).tolist() == [expected] == [len(cut)]
