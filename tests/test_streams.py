"""What a command does where its output is closed, full, or of an encoding that lacks what is to be said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collection import ROOT

RECIPE = '[window]\nseconds = 5.0\n[[extract]]\nuse = "LogMel"\n'


def said(shell: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell, where "$E" is earmark."""
    words = {"E": f"{sys.executable} -m pipelines.cli", "PYTHONPATH": str(ROOT)}
    environment = os.environ | words | environment
    return subprocess.run(["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True)


def test_a_closed_output_is_no_mistake(tmp_path: Path) -> None:
    for closed in (">&-", ">&- 2>&-"):
        done = said(f"$E status --store nothing {closed}", tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), closed


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_one_line(tmp_path: Path) -> None:
    for machine in ("", "--json"):
        done = said(f"$E status --store nothing {machine} > /dev/full", tmp_path)
        assert (done.returncode, done.stderr) == (2, "earmark: standard output: No space left on device\n"), machine


def test_what_an_encoding_lacks_is_spelled_out(tmp_path: Path) -> None:
    done = said("$E status --store sté", tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no run has told of itself on st\\xe9 yet\n", "")


def test_a_recipe_comes_through_a_pipe_that_the_shell_made(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    for shell in ("cat recipe.toml | $E recipe check /dev/stdin", "$E recipe check <(cat recipe.toml)"):
        done = said(shell, tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), shell
        assert "logmel" in done.stdout
