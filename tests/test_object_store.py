"""Recordings and stores in buckets, on S3 servers of this machine: moto's, and Ceph's where it is installed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from pipelines.cli import main
from pipelines.entries import Entry
from pipelines.identify import unchanged
from pipelines.manifest import SourceError
from pipelines.part import StoreError
from pipelines.sources import find
from pipelines.store import Store
from pipelines.tracks import Held
from tests.buckets import KEY, SECRET, TOKEN, enter, guarded, holding, new_bucket
from tests.ceph import KINDS, s3
from tests.collection import RECIPE, command, earmark, tones

pytest.importorskip("moto")
CAMPAIGN = """
name = "moods"
title = "Moods"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which mood?"
choices = ["calm", "wild"]
[clips]
seconds = 1.0
"""
SECRETS = (SECRET, quote(SECRET, safe=""), KEY, TOKEN, quote(TOKEN, safe=""))


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that all tests of this file share."""
    with s3(request.param, tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket of its own with six recordings in three shards, a recipe beside it, and the environment that opens it."""
    # Ceph knows who has a token.
    enter(monkeypatch, server, token=TOKEN if request.node.callspec.params["server"] == "moto" else "")
    bucket = new_bucket(server)
    for path in tones(tmp_path / "audio", 6):
        bucket.upload_file(str(path), f"deep/er/{path.name}")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return bucket


def contents(bucket: Any) -> dict[str, bytes]:
    """Every object of the store."""
    return {each.key: each.get()["Body"].read() for each in bucket.objects.filter(Prefix="store/")}


def features(bucket: Any) -> list[bytes]:
    """The parts that a run has made so far."""
    return [content for name, content in contents(bucket).items() if name.startswith("store/logmel/")]


@pytest.mark.slow
def test_a_bucket_is_scanned_heard_and_resumed_and_holds_the_bytes_of_a_local_store(bucket: Any, tmp_path: Path) -> None:
    store = f"s3://{bucket.name}/store"
    assert earmark("scan", f"s3://{bucket.name}/deep", "--store", store, "--shard-hours", str(4.5 / 3600))["new"] == 6
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # short: sockets' names are
        assert earmark("run", tmp_path / "recipe.toml", "--store", store, "--log", tmp_path / "log", RAY_TMPDIR=folder)["clips"] == 12
        assert list(Path(folder).rglob("*.log"))
        assert not holding(SECRETS, Path(folder))
    assert not holding(SECRETS, tmp_path)
    assert earmark("run", tmp_path / "recipe.toml", "--store", store, "--engine", "local")["planned"] == 0
    earmark("scan", f"s3://{bucket.name}/deep", "--store", tmp_path / "local", "--shard-hours", str(4.5 / 3600))
    earmark("run", tmp_path / "recipe.toml", "--store", tmp_path / "local", "--engine", "local")
    here = {name: path.read_bytes() for name, path in ((str(p.relative_to(tmp_path / "local")), p) for p in parts_of(tmp_path / "local"))}
    there = {name.removeprefix("store/"): content for name, content in contents(bucket).items()}
    assert here
    assert {name: there[name] for name in here} == here


@pytest.mark.slow
def test_a_run_on_a_bucket_that_is_killed_leaves_whole_parts_and_is_resumed(bucket: Any, tmp_path: Path) -> None:
    store = f"s3://{bucket.name}/store"
    earmark("scan", f"s3://{bucket.name}/deep", "--store", store, "--shard-hours", str(1.5 / 3600))
    run = command("run", tmp_path / "recipe.toml", "--store", store, "--engine", "local", "--workers", "1")
    child = subprocess.Popen(run, start_new_session=True)
    for _ in range(1200):
        if features(bucket) or child.poll() is not None:
            break
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    there = len(features(bucket))
    assert earmark("run", tmp_path / "recipe.toml", "--store", store, "--engine", "local")["planned"] >= 6 - there
    assert sum(pq.read_table(pa.BufferReader(content)).num_rows for content in features(bucket)) == 12


@pytest.mark.slow
def test_no_credential_is_stored_printed_or_logged(bucket: Any, tmp_path: Path) -> None:
    store, said = f"s3://{bucket.name}/store", ""
    for words in (
        ("scan", f"s3://{bucket.name}/deep", "--store", store),
        ("run", tmp_path / "recipe.toml", "--store", store, "--engine", "local", "--log", tmp_path / "log"),
        ("run", tmp_path / "recipe.toml", "--store", f"s3://{KEY}:{SECRET.replace('/', '%2F')}@{bucket.name}/store"),
    ):
        done = subprocess.run(command(*words), capture_output=True, text=True, timeout=120, check=False)
        said += done.stdout + done.stderr
    assert "6 new tracks" in said
    assert "no password belongs in them" in said
    assert not [secret for secret in SECRETS if secret in said]
    assert not [name for name, content in contents(bucket).items() if any(secret.encode() in content for secret in SECRETS)]
    assert not holding(SECRETS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["moto"], indirect=True)  # where keys can be had by name
def test_every_refusal_of_a_bucket_is_one_line_with_the_way_out(
    server: str, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store, here, source = f"s3://{bucket.name}/store", tmp_path / "store", f"s3://{bucket.name}/deep"
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    (tmp_path / "release.toml").write_text('name = "first"\nfeatures = ["logmel.mel"]\n')
    (tmp_path / "token").write_text("t")
    scan, run = ("scan", tmp_path / "audio"), ("run", tmp_path / "recipe.toml", "--engine", "local")
    campaign = ("campaign", "apply", tmp_path / "campaign.toml", "--url", "http://127.0.0.1:9", "--token-file", tmp_path / "token")
    release = ("release", tmp_path / "release.toml", "--out", tmp_path / "releases")
    monkeypatch.setattr("pipelines.engines.supervisor.supervised", lambda *_: None)  # it would fork pytest
    away = subprocess.Popen(  # pyarrow asks for some seconds; meanwhile the others
        command(*run, "--store", store), env=os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, stderr=subprocess.PIPE, text=True
    )
    assert main([*map(str, scan), "--store", store]) == 0
    capfd.readouterr()
    said: list[str] = []

    def refused(way: str, *words: object) -> None:
        """The command ends with one line that says this."""
        s3fs.S3FileSystem.clear_instance_cache()  # it would go on with the keys that it has
        assert main([*map(str, words)]) == 2, words
        line = capfd.readouterr().err.strip()
        assert line.startswith("earmark: "), line
        assert "\n" not in line
        assert way in line
        said.append(line)

    with guarded(server, owner=["s3:*"], reader=["s3:Get*", "s3:List*"]) as keys:
        enter(monkeypatch, server, keys["owner"][0], SECRET, token="")
        for words in (scan, run, campaign, release):
            refused("see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", *words, "--store", store)
        enter(monkeypatch, server, KEY, SECRET, token="")
        refused("see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "scan", source, "--store", here)
        enter(monkeypatch, server, *keys["reader"], token="")
        more = tones(tmp_path / "more", 7)[-1]
        for words in (("scan", more), run, campaign):
            refused("nothing was published; see AWS_ACCESS_KEY_ID", *words, "--store", store)
        enter(monkeypatch, server, *keys["owner"], token="")
        s3fs.S3FileSystem.clear_instance_cache()
        assert main([*map(str, run), "--store", store]) == 0
        said += capfd.readouterr()
    enter(monkeypatch, server)
    for words in (scan, run):
        refused(f"there is no bucket '{bucket.name}-gone'; make it", *words, "--store", f"s3://{bucket.name}-gone/store")
    refused("there is nothing at this address", "scan", f"s3://{bucket.name}-gone/deep", "--store", here)
    enter(monkeypatch, "http://127.0.0.1:9")
    refused("see that the server runs, and AWS_ENDPOINT_URL", "scan", source, "--store", here)
    enter(monkeypatch, server.replace("://", "://ada:hush@"))
    for words in (("scan", source, "--store", here), (*campaign, "--store", store)):
        refused("AWS_ENDPOINT_URL: addresses are shown, and a password in one opens no bucket", *words)
    line = away.communicate(timeout=120)[1].strip()
    assert re.fullmatch(rf"earmark: {store}: cannot be reached .*; see that the server runs, and AWS_ENDPOINT_URL", line)
    secrets = (*SECRETS, "hush", *(secret for _, secret in keys.values()))
    assert not [secret for secret in secrets if secret in "".join([*said, line])]
    assert not [name for name, content in contents(bucket).items() if any(secret.encode() in content for secret in secrets)]
    assert not holding(secrets, tmp_path)


@pytest.mark.parametrize(
    "store",
    [
        "s3://key:hush@bucket/store",
        "s3://bucket/store?secret_key=hush",
        "s3://bucket/store?endpoint_override=http%3A%2F%2Fada%3Ahush%40127.0.0.1",
        "https://bucket.example/a.wav?X-Amz-Expires=60&X-Amz-Signature=hush",
    ],
)
def test_a_password_in_an_address_is_refused_without_repeating_it(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.engines.supervisor.supervised", lambda *_: None)  # it would fork pytest
    assert main(["rejects", "--store", store]) == 2
    assert main(["scan", store, "--store", str(tmp_path / "store")]) == 2
    said = capfd.readouterr().err
    assert said.count("addresses are stored and shown, so no password belongs in them") == 2
    assert "hush" not in said


@pytest.mark.parametrize("endpoint", ["http://ada:hush@localhost:9", "ada:hush@localhost:9", "http://localhost:9/?key=hush"])
def test_a_password_in_the_servers_address_is_not_repeated(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, endpoint)
    for open_it in (lambda: Store("s3://bucket/store"), lambda: find(["s3://bucket/music"])):
        with pytest.raises((StoreError, SourceError), match="AWS_ENDPOINT_URL: addresses are shown, and") as told:
            open_it()
        assert "hush" not in str(told.value)


def test_a_file_whose_time_is_listed_in_thousandths_and_told_in_seconds_is_the_same_file() -> None:
    listed, told = Entry("s3://bucket/a.flac", 5, 1.6e9 + 0.183), Entry("s3://bucket/a.flac", 5, 1.6e9)
    for entry, other in ((listed, told), (told, listed)):
        held = Held("a track", 5, other.modified, True)
        assert unchanged(entry, held)
        assert not unchanged(entry._replace(modified=1.6e9 + 1), held)
        assert not unchanged(entry._replace(bytes=6), held)
        assert not unchanged(entry._replace(uri="/music/a.flac"), held)


def parts_of(store: Path) -> list[Path]:
    """The parts that do not depend on when the scan was."""
    return [path for path in sorted(store.rglob("*.parquet")) if path.relative_to(store).parts[0] in ("logmel", "views")]
