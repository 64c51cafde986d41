"""Typical mistakes on the way from votes to a training set: each is one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from tests.releasing import LABELS, collection, spec
from tests.test_preannotate_head import make

ASKED = """
name = "asked"
title = "What is it?"
[[questions]]
name = "what"
kind = "tag"
text = "What is it?"
choices = ["calm", "wild"]
[clips]
seconds = 10.0
"""


def said(capsys: pytest.CaptureFixture[str], *command: str | Path, code: int = 2) -> str:
    """The last line of what a command complains of, and of a mistake the only one."""
    capsys.readouterr()
    assert main([str(each) for each in command]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 or code == 0
    return lines[-1]


def test_a_consensus_before_the_first_pull_names_the_pull(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, count=2)
    (tmp_path / "asked.toml").write_text(ASKED)
    for command in ("consensus", "agreement"):
        line = said(capsys, command, tmp_path / "asked.toml", "--store", tmp_path / "store", code=0)
        assert line == f"no answers are in {tmp_path / 'store'} yet; 'earmark campaign pull {tmp_path / 'asked.toml'}' fetches them"


def test_votes_are_not_looked_for_in_a_store_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "asked.toml").write_text(ASKED)
    for command in ("consensus", "agreement"):
        assert "no tracks, so no campaign has asked anything" in said(
            capsys, command, tmp_path / "asked.toml", "--store", tmp_path / "gone"
        )
    assert not (tmp_path / "gone" / "campaigns" / "asked").exists()


def test_a_queue_without_embeddings_names_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, count=2)
    (tmp_path / "asked.toml").write_text(ASKED)
    given = ("queue", tmp_path / "asked.toml", "--store", tmp_path / "store", "--no-push", "--embeddings")
    assert said(capsys, *given, "gone.mean").endswith("no table 'gone'; there are emb, labels, tracks, views")
    assert "has no column 'gone'; there are" in said(capsys, *given, "emb.gone")


def test_a_head_that_cannot_be_taught_says_of_what_there_are_labels_and_how_to_group_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    given = ("train-head", "--store", tmp_path / "store", "--embeddings", "musicnn.penultimate_mean", "--out", tmp_path / "head")
    assert "no labels 'instrumnt' by gold or consensus" in (line := said(capsys, *given, "--kind", "instrumnt"))
    assert "; there are instrument; " in line
    monkeypatch.setattr("pipelines.heads.material.groups", lambda store, tracks, by: np.zeros(len(tracks), np.int64))
    line = said(capsys, *given, "--kind", "instrument")
    assert (
        "lie in one group by artist, album, group, and 5 folds need as many; name what is to be held apart, as --groups group, or none"
        in line
    )


def test_a_release_of_which_no_licence_is_allowed_says_how_to_allow_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, count=4)
    given = ("release", spec(tmp_path), "--store", tmp_path / "store", "--out", tmp_path / "out")
    line = said(capsys, *given, "--allow", "CC0")
    assert "4 × CC-BY-4.0 is not among the licences allowed: CC0 (allow more under [licences] allow, or by --allow)" in line


def test_a_release_without_licences_says_how_to_state_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, count=4, license=None)
    line = said(capsys, "release", spec(tmp_path), "--store", tmp_path / "store", "--out", tmp_path / "out")
    assert "4 × no licence is said; say what it means under licences.stated" in line


def test_a_split_that_stays_empty_for_what_was_released_before_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, count=20, artists=1)
    head = 'name = "set"\nfeatures = ["emb.mean"]\n[split]\nclose = ["artist"]\n'
    for ignored, kept in (("", ""), ('ignore = { artist = ["artist 0"] }\n', ": recordings keep the split that they had in v1")):
        given = ("release", spec(tmp_path, head + ignored + LABELS), "--store", tmp_path / "store", "--out", tmp_path / "out")
        assert main([str(each) for each in given]) == 0
        (line,) = (each for each in capsys.readouterr().out.splitlines() if each.startswith("no row is in"))
        assert line.startswith(f"no row is in valid or test{kept}")
        assert kept or line == "no row is in valid or test"
