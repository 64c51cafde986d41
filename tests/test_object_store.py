"""Recordings and stores in buckets, on a real S3 server of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from tests.collection import RECIPE, command, earmark, tones

boto3 = pytest.importorskip("boto3")
SECRET = "sEcReT/hidden+key"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that all tests of this file share."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket of its own with six recordings in three shards, a recipe beside it, and the environment that opens it."""
    for name, value in {
        "ACCESS_KEY_ID": "AKIAHIDDEN",
        "SECRET_ACCESS_KEY": SECRET,
        "DEFAULT_REGION": "us-east-1",
        "REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    bucket = boto3.resource("s3", endpoint_url=server).create_bucket(Bucket=f"music-{uuid4().hex[:8]}")
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
    assert earmark("run", tmp_path / "recipe.toml", "--store", store)["clips"] == 12
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
    store = f"s3://{bucket.name}/store"
    said = ""
    for words in (
        ("scan", f"s3://{bucket.name}/deep", "--store", store),
        ("run", tmp_path / "recipe.toml", "--store", store, "--engine", "local"),
        ("rejects", "--store", store),
        ("run", tmp_path / "recipe.toml", "--store", f"s3://AKIAHIDDEN:{SECRET.replace('/', '%2F')}@{bucket.name}/store"),
        ("run", tmp_path / "recipe.toml", "--store", f"s3://{bucket.name}-gone/store"),
        ("scan", f"s3://{bucket.name}-gone/deep", "--store", store),
    ):
        done = subprocess.run(command(*words), capture_output=True, text=True, timeout=120, check=False)
        said += done.stdout + done.stderr
    assert "6 new tracks" in said
    assert "no password belongs in them" in said
    for secret in (SECRET, SECRET.replace("/", "%2F"), "AKIAHIDDEN"):
        assert secret not in said
        assert not [name for name, content in contents(bucket).items() if secret.encode() in content]


@pytest.mark.parametrize("store", ["s3://key:hush@bucket/store", "s3://bucket/store?secret_key=hush"])
def test_a_password_in_an_address_is_refused_without_repeating_it(store: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["rejects", "--store", store]) == 2
    assert main(["scan", store, "--store", str(tmp_path / "store")]) == 2
    said = capfd.readouterr().err
    assert said.count("addresses are stored and shown, so no password belongs in them") == 2
    assert "hush" not in said


def parts_of(store: Path) -> list[Path]:
    """The parts that do not depend on when the scan was."""
    return [path for path in sorted(store.rglob("*.parquet")) if path.relative_to(store).parts[0] in ("logmel", "views")]
