"""What the README says works: its commands and its code are run as they stand there."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.campaigns.asked import wanted
from pipelines.campaigns.cli import add_commands
from pipelines.campaigns.desk import open_desk
from pipelines.store import Store
from tests.collection import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_readmes_commands_and_code_run_in_order(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for name, block in zip(("recipe.toml", "views.toml", "campaign.toml", "release.toml"), blocks("toml"), strict=True):
        (tmp_path / name).write_text(block)
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert {"synthesize", "scan", "labels", "recipe", "run", "rejects", "report", "release"} <= {line.split()[1] for line in commands}
    for line in commands:
        line = re.sub(r"^earmark\b", f"{sys.executable} -m pipelines.cli", line)
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert (tmp_path / "page.html").stat().st_size > 10_000
    # The campaign's file fits the store that was made; what needs a server is run in test_whole_campaign.py.
    assert wanted(open_desk(tmp_path / "campaign.toml", Store(tmp_path / "store")))[0].guesses


def test_the_campaigns_commands_are_those_that_are_tested() -> None:
    named = set(re.findall(r"^earmark campaign (\w+)", README, re.MULTILINE))
    declared = argparse.ArgumentParser().add_subparsers()

    def add(to: Any, name: str, function: Any, what: str) -> argparse.ArgumentParser:
        known.add(name)
        return to.add_parser(name)  # type: ignore[no-any-return]

    known: set[str] = set()
    add_commands(declared, add)
    assert named == known - {"backend"}


def test_the_command_for_a_cluster_is_the_one_that_is_tested() -> None:
    line = next(line for line in README.splitlines() if line.startswith("ray job submit"))
    assert "--working-dir . -- python pipelines/pipeline.py" in line
    tested = (ROOT / "tests" / "test_jobs.py").read_text()
    assert '"--working-dir"' in tested
    assert '"pipelines/pipeline.py"' in tested


@pytest.mark.slow
def test_the_demo_ends_with_a_page(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("not set up by make")
    done = subprocess.run(["make", "demo", f"DEMO={tmp_path / 'demo'}", "PIECES=10"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "demo" / "index.html").read_text()
    assert page.count("<audio") > 10 + 4  # tracks, and the views of one clip
    for cause in ("empty", "not audio", "no samples", "not finite", "truncated"):
        assert cause in page
