"""Versions of releases: whole or absent, never changed, and what differs between two."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.part import StoreError
from pipelines.release.diff import diff
from pipelines.release.manifest import read_manifest, sealed, verify
from pipelines.store import Store
from tests.collection import ROOT, command
from tests.making import HEAD, made
from tests.releasing import LABELS, catalogue, collection, heard, spec, tagged

# Whole or absent


def test_a_second_run_says_that_it_is_there_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    arguments = ["release", str(spec(tmp_path)), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/set/v1").rglob("*")}
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"nothing to do: {tmp_path}/out/set/v1 is of the same inputs\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/set/v1").rglob("*")} == before
    assert sorted(path.name for path in (tmp_path / "out/set").iterdir()) == [".release.lock", "v1"]


def test_verify_finds_every_changed_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    done = made(tmp_path)
    assert verify(done.folder) == []
    assert main(["release", "verify", str(done.folder)]) == 0
    listed = set(read_manifest(done.folder)["files"]) | {"manifest.json"}
    assert {str(path.relative_to(done.folder)) for path in done.folder.rglob("*") if path.is_file()} == listed
    path = done.folder / "train/part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (done.folder / "proof.json").unlink()
    capsys.readouterr()
    assert main(["release", "verify", str(done.folder)]) == 1
    assert sorted(capsys.readouterr().out.splitlines()) == [
        f"{done.folder}/proof.json: No such file or directory",
        f"{done.folder}/train/part-00000.parquet: other bytes than the manifest says",
    ]


@pytest.mark.parametrize("name", ["manifest.json", "README.md", "proof.json", "test/part-00000.parquet", "figures/splits.svg"])
def test_verify_sees_any_byte_of_any_file(tmp_path: Path, name: str) -> None:
    collection(tmp_path)
    path = made(tmp_path).folder / name
    content = path.read_bytes()
    for at in range(0, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            wrong = verify(tmp_path / "out/set/v1")
        except StoreError:  # a manifest that is no JSON any more, or of another format
            wrong = ["manifest.json"]
        assert any(line.startswith(name) for line in wrong), at
    path.write_bytes(content)
    (path.parent / "part-99999.parquet").write_bytes(b"")
    (wrong,) = verify(tmp_path / "out/set/v1")
    assert wrong.endswith("part-99999.parquet: does not belong to the release")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"/dev/zero": {"bytes": 0, "sha256": ""}}},
        {"files": {"../../release.toml": {"bytes": 0, "sha256": ""}}},
        {"splits": {"train": {"shards": ["../../../x.parquet"]}}},
        {"files": []},
        {"files": {"x": 1}},
        {"files": {"x": {"bytes": None, "sha256": ""}}},
        {"splits": None},
        {"format": "one"},
        {"format": 99},
    ],
)
def test_a_hostile_manifest_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(sealed({"format": 1, "name": "set", "files": {}, "splits": {}} | change))
    for read in (verify, read_manifest, lambda folder: diff(folder, folder)):
        with pytest.raises(StoreError) as error:
            read(tmp_path)
        assert "\n" not in str(error.value)


def test_a_folder_that_is_somebody_else_s_is_neither_written_nor_skipped(tmp_path: Path) -> None:
    collection(tmp_path)
    theirs = tmp_path / "out/set/v1"
    theirs.mkdir(parents=True)
    (theirs / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"set/v1: is there, and no release .*; move it away, or give this release another name"):
        made(tmp_path)
    assert [path.name for path in theirs.iterdir()] == ["thesis.txt"]
    theirs.rename(tmp_path / "out/set/kept")
    (tmp_path / "out/set/v1").write_text("a file")
    assert made(tmp_path).manifest["version"] == "v2"
    (tmp_path / "out/set").rename(tmp_path / "out/other")
    with pytest.raises(StoreError, match="other/v2: is there, and a release of 'set'"):
        made(tmp_path, HEAD.replace("set", "other") + LABELS)


def test_without_what_was_learnt_from_no_further_version_is_made(tmp_path: Path) -> None:
    collection(tmp_path)
    path = made(tmp_path).folder / "tracks.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"tracks\.parquet: cannot be read, and says which recordings were learnt from"):
        made(tmp_path)


def test_a_bucket_is_no_place_for_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", str(spec(tmp_path)), "--store", str(tmp_path), "--out", "s3://bucket/sets"]) == 2
    assert "--out s3://bucket/sets: releases are made in a folder of this machine" in capsys.readouterr().err


def test_two_releases_at_once_are_told_apart(tmp_path: Path) -> None:
    collection(tmp_path)
    with Store(tmp_path / "out/set").lock("release"), pytest.raises(Exception, match="another release is at work"):
        made(tmp_path)
    assert made(tmp_path).manifest["version"] == "v1"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write_all", "attribution", "card", "sealed", "publish"])
def test_a_killed_release_leaves_nothing_visible_and_the_next_sweeps_up(tmp_path: Path, step: str) -> None:
    collection(tmp_path)
    file = spec(tmp_path)
    stop = (
        "import sys, os, signal, pipelines.release.build as build\n"
        f"build.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from pipelines.cli import main\n"
        f"main(['release', {str(file)!r}, '--store', {str(tmp_path / 'store')!r}, '--out', {str(tmp_path / 'out')!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", stop], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (hidden,) = (path for path in (tmp_path / "out/set").iterdir() if path.is_dir())
    assert hidden.name.startswith(".v1.")
    assert list(hidden.rglob("*.parquet")) or step == "write_all"
    assert made(tmp_path).manifest["version"] == "v1"
    assert sorted(path.name for path in (tmp_path / "out/set").iterdir()) == [".release.lock", "v1"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    collection(tmp_path)
    arguments = command("release", spec(tmp_path), "--store", tmp_path / "store", "--out", tmp_path / "out")

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # as a full disk: writing fails in the middle of a file

    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, preexec_fn=little)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing was released" in done.stderr
    assert [path.name for path in (tmp_path / "out/set").iterdir()] == [".release.lock"]


# What changed


def test_diff_counts_labels_and_whose_word_changed_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = collection(tmp_path, artists=40)
    first = made(tmp_path)
    # number 0 was calm; an expert says wild: two tags of two clips. number 9 gets its first word on "new" from the consensus.
    tagged(store, {0: ["wild"]}, author_kind="gold")
    tagged(store, {1: ["wild"]})
    more = catalogue(tmp_path, [{"number": 50, "artist": "more"}], "more")
    heard(more, [50], part="more")
    tagged(store, {50: ["calm"]})
    second = made(tmp_path)
    found = diff(first.folder, second.folder)
    assert (found.changed, found.by_adjudication) == (6, 4)
    (labels,) = found.labels
    assert (labels.rows, dict(labels.by)) == (4, {"gold": 4, "consensus": 2})
    assert found.rows == {"added": 2, "removed": 0, "common": 80}
    assert found.tracks == {"added": 1, "removed": 0, "common": 40}
    assert found.moved == []
    assert main(["release", "diff", str(first.folder), str(second.folder)]) == 0
    assert "  6 labels changed, 4 by adjudication\n" in capfd.readouterr().out
    assert main(["release", "diff", str(second.folder), str(first.folder), "--json"]) == 0
    back = json.loads(capfd.readouterr().out)
    assert (back["labels_changed"], back["rows"]["removed"]) == (6, 2)
    assert str(diff(first.folder, first.folder)) == "set v1 and set v1 are of the same inputs"


def test_diff_of_no_release_names_the_versions_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    done = made(tmp_path)
    assert main(["release", "diff", str(done.folder), str(done.folder.parent)]) == 2
    assert "name one of its versions: v1" in capsys.readouterr().err
    assert main(["release", "diff", str(done.folder)]) == 2
    assert "name two versions" in capsys.readouterr().err
