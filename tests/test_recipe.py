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
from pipelines.places import load_toml
from pipelines.recipe import Recipe, RecipeError, load
from pipelines.release.spec import Release

MEL = '[[extract]]\nuse = "LogMel"\n'
THREE = "[views]\ncount = 3\n"
SHIFT = '[[augment]]\nuse = "PitchShift"\n'


def recipe(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[extract]]\nuse = "Loudnes"\n',
            "recipe.toml, line 2: extract[0].use: 'Loudnes' is not one of ChromaStft, Fingerprint, LogMel, Mel, ",
        ),
        (MEL + '[[extract]]\nuse = "Mfcc"\nn_mfc = 13\n', "recipe.toml, line 5: extract[1].n_mfc: no such setting; there are "),
        (MEL + "n_mels = 0\n", "recipe.toml, line 3: extract[0].n_mels: "),
        (
            "sed = 1\n" + MEL,
            "line 1: sed: no such setting; there are augment, extract, labels, name, run, seed, views, window",
        ),
        ("[window]\nhop = -1\n" + MEL, "recipe.toml, line 2: window.hop: Input should be greater than or equal to 0.001, got -1"),
        ("[run]\nworkers = 'two'\n" + MEL, "recipe.toml, line 2: run.workers: "),
        ("[[extract]]\nn_mels = 4\n", "recipe.toml, line 1: extract[0].use: missing; say which: ChromaStft, "),
        (
            THREE + '[[augment]]\nuse = "PitchShft"\n' + MEL,
            "line 4: augment[0].use: 'PitchShft' is not one of AddBackground, ",
        ),
        (THREE + "[[augment]]\np = 1\n" + MEL, "recipe.toml, line 3: augment[0].use: missing; say which: AddBackground, "),
        (THREE + SHIFT + "low = 3\nhigh = -3\n" + MEL, "recipe.toml, line 3: augment[0]: PitchShift needs low <= high, got low=3 high=-3"),
        (THREE + SHIFT + "lo = 3\n" + MEL, "recipe.toml, line 5: augment[0].lo: no such setting; there are high, low, p, step, use"),
        (THREE + '[[augment]]\nuse = "TimeStretch"\nlow = 0\n' + MEL, "augment[0]: TimeStretch needs 0 < low <= high, got low=0 high=1.25"),
        (THREE + '[[augment]]\nuse = "OneOf"\nof = [{use = "Revers"}]\n' + MEL, "line 5: augment[0].of[0].use: 'Revers' is not one of "),
        (THREE + '[[augment]]\nuse = "OneOf"\nof = []\n' + MEL, "recipe.toml, line 5: augment[0].of: "),
        (SHIFT + MEL, "recipe.toml: views.count: 1 is the clip untouched, and nothing would be augmented; "),
        (THREE + MEL, "recipe.toml, line 2: views.count: 3, but nothing makes one differ; "),
        (THREE + "sample_rate = 8000\n" + SHIFT + MEL, "recipe.toml, line 3: views.sample_rate: 8000 Hz, but extract[0] hears 22050 Hz; "),
        (THREE + SHIFT + '[[augment]]\nuse = "Remix"\nstems = "*.wav"\n' + MEL, "recipe.toml, line 5: augment: Remix has to come first: "),
        (THREE + '[[augment]]\nuse = "SpecMask"\n' + MEL, "line 3: augment: SpecMask hides parts of a log-mel, and no extractor lets it; "),
        ('[labels]\non_refused = "ignore"\n' + MEL, "recipe.toml, line 2: labels.on_refused: Input should be 'stop' or 'drop'"),
        ('[labels.rules.vocal_range]\npitch = "up"\n' + MEL, "recipe.toml, line 2: labels.rules.vocal_range.pitch: "),
        (
            '[labels.rules.vocal_range]\npich = "midi"\n' + MEL,
            "line 2: labels.rules.vocal_range.pich: no such setting; there are mix, ",
        ),
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


def test_seed_and_augmentations_are_part_of_a_variant_as_soon_as_views_are_drawn(tmp_path: Path) -> None:
    first = recipe(tmp_path, THREE + SHIFT + MEL).variants()
    for other in (
        "seed = 3\n" + THREE + SHIFT,
        "[views]\ncount = 4\n" + SHIFT,
        THREE + "sample_rate = 44100\n" + SHIFT,
        THREE + SHIFT + "p = 0.5\n",
    ):
        changed = recipe(tmp_path, other + MEL).variants()
        assert all(changed[table] != first[table] for table in first)
    # What becomes of labels changes no sound.
    assert recipe(tmp_path, '[labels]\non_refused = "drop"\n' + THREE + SHIFT + MEL).variants() == first


def test_the_schema_admits_the_recipes_that_come_with_the_project(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "schema"]) == 0
    schema = json.loads(capfd.readouterr().out)
    assert schema["additionalProperties"] is False
    assert {"window", "extract", "seed", "run"} <= set(schema["properties"])
    for path in (Path(__file__).parents[1] / "pipelines" / "recipes").glob("*.toml"):
        if "release" in path.name:
            assert load_toml(path, Release).features
        else:
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
