"""Jobs on heads of the test's own, submitted from elsewhere: with nothing of ours installed there, without and with a token."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import ray

from pipelines.engines import ray_door
from pipelines.store import Store
from tests.collection import MFCC, PEAKS, RECIPE, ROOT, clips, command, earmark, tones
from tests.families import end
from tests.prometheus import MISSING, Prometheus, needs_prometheus, panels, watching

pytestmark = pytest.mark.slow


@dataclass
class Head:
    """A Ray head of the test's own, whose Python has every dependency and nothing of ours."""

    python: Path
    dashboard: str
    address: str
    client: str
    metrics: str
    environment: dict[str, str]

    def submit(self, *entry: str | Path, **environment: str) -> subprocess.Popen[str]:
        """`ray job submit` with the project as the working directory."""
        submit = [self.python, "-m", "ray.scripts.scripts", "job", "submit", "--address", self.dashboard, "--working-dir", ROOT]
        return started([*submit, "--", *entry], self.environment | environment)


def started(words: list[str | Path], environment: dict[str, str]) -> subprocess.Popen[str]:
    """A command, under way; what it says to people is one stream."""
    told = [str(word) for word in words]
    return subprocess.Popen(told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment)


def said(child: subprocess.Popen[str], succeeds: bool = True) -> str:
    """What a command has said when it has ended as it should."""
    out, _ = child.communicate(timeout=240)
    assert (child.returncode == 0) == succeeds, out
    return out


@contextlib.contextmanager
def headed(folder: Path, **environment: str) -> Iterator[Head]:
    """Start a head, and end its processes alone: `ray stop` would end every Ray of this machine."""
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = next((venv / "lib").glob("python*/site-packages"))
    # A plain path: .pth files in there, such as that of our editable install, are not followed.
    (site / "dependencies.pth").write_text(str(next(Path(path) for path in sys.path if path.endswith("site-packages"))))
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("RAY_")}
    environment = inherited | {"PATH": f"{venv / 'bin'}:{inherited['PATH']}", "HOME": str(folder / "home")} | environment
    (folder / "home").mkdir(exist_ok=True)
    python = venv / "bin" / "python"
    ours = subprocess.run([python, "-c", "import pipelines"], capture_output=True, cwd=folder, env=environment, check=False)
    assert b"ModuleNotFoundError" in ours.stderr
    gcs, dashboard, client, metrics = free_port(), free_port(), free_port(), free_port()
    ray = [str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2", "--object-store-memory=200000000"]
    ports = [f"--port={gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    ports += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={metrics}"]
    with open(folder / "head.log", "w") as log:
        child = subprocess.Popen([*ray, *ports], stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True)
        try:
            for _ in range(600):
                if answers(dashboard) and answers(gcs):
                    break
                assert child.poll() is None, (folder / "head.log").read_text()
                time.sleep(0.1)
            addresses = [f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", f"ray://127.0.0.1:{client}"]
            yield Head(python, *addresses, f"http://127.0.0.1:{metrics}/metrics", environment)
        finally:
            end(child)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head that lets everybody in."""
    # Workers tell the exporter every second, for a wait of ten.
    with headed(tmp_path_factory.mktemp("open"), RAY_AUTH_MODE="disabled", RAY_metrics_report_interval_ms="1000") as head:
        yield head


def collected(folder: Path) -> Path:
    """A store with four tracks, and a recipe beside it."""
    tones(folder / "audio", 4)
    (folder / "recipe.toml").write_text(RECIPE)
    earmark("scan", folder / "audio", "--store", folder / "store")
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A collection of a test's own."""
    return collected(tmp_path)


@dataclass
class Job:
    """A job that has ended, on a head that is watched where there is a Prometheus."""

    told: str
    store: Path
    prometheus: Prometheus | None


@pytest.fixture(scope="module")
def job(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """Three tracks of a second's work each, so that the shard ends some time after its worker's first word, and one file that changed."""
    folder = collected(tmp_path_factory.mktemp("job"))
    (folder / "audio" / "002.flac").write_bytes(b"not what was scanned")
    (folder / "recipe.toml").write_text(RECIPE + PEAKS.replace("Poison", "Slow"))
    run = ["pipelines/pipeline.py", folder / "recipe.toml", "--store", folder / "store", "--allow-code"]
    with contextlib.ExitStack() as stack:
        watched = None if MISSING else stack.enter_context(watching(urlsplit(head.metrics).netloc, free_port(), folder))
        yield Job(said(head.submit("python", *run)), folder / "store", watched)


def test_a_job_runs_on_a_head_with_nothing_of_ours_installed(head: Head, job: Job) -> None:
    assert "4 tracks, 6 clips" in job.told
    assert len(clips(job.store, "logmel")) == 6
    # Workers tell the exporter every second here, and what they counted stays when they are gone.
    expected = {"tracks": 4, "clips": 6, "sound_seconds": 6, "rejects": 1}
    for _ in range(300):
        with urllib.request.urlopen(head.metrics, timeout=10) as answer:
            text = answer.read().decode()
        told = re.findall(r"^ray_earmark_(\w+)_total\{[^}]*\} (\S+)$", text, re.MULTILINE)
        counted = {name: sum(float(value) for each, value in told if each == name) for name, _ in told}
        if counted.items() >= expected.items():
            break
        time.sleep(0.1)
    assert counted.items() >= expected.items()
    # Whatever the dashboard asks for is there under that name.
    dashboard = (ROOT / "infra" / "dashboards" / "ray.json").read_text()
    asked, shown = set(re.findall(r"\b(ray_\w+)[{\[)]", dashboard)), set(re.findall(r"^ray_\w+", text, re.MULTILINE))
    assert asked <= shown
    assert 'Name="CPU"' in text


@needs_prometheus
def test_prometheus_has_an_answer_for_every_panel(job: Job) -> None:
    assert job.prometheus
    for _ in range(300):
        shown = {title: [job.prometheus.ask(each) for each in asked] for title, asked in panels(300).items()}
        told = {title: [value for answer in answers for _, value in answer] for title, answers in shown.items()}
        if told["Clips"] == [6] and all(told.values()):
            break
        time.sleep(0.1)
    assert told["Clips"] == [6]
    assert told["Hours of sound"] == [6 / 3600]
    assert shown["Occupancy"][0] == []  # there are no GPUs
    assert 0 < told["Occupancy"][0] <= 1
    assert [labels for labels, _ in shown["Busy workers"][0]] == [{"device": "cpu"}]
    # Of five minutes, which Prometheus extends a little beyond what it has seen.
    assert told["Times real time"][0] == pytest.approx(6 / 300, rel=0.2)
    assert told["Recordings per minute"][0] == pytest.approx(4 / 5, rel=0.2)
    assert told["Rejects"][0] == pytest.approx(1, rel=0.2)
    assert told["Written"][0] > 0
    assert told["Memory of objects"][0] >= 0


def test_the_script_alone_finds_the_project_where_the_cluster_file_puts_it(head: Head, collection: Path) -> None:
    """What `ray submit` does on the head: one script in the home folder, the project in ~/earmark, no RAY_ADDRESS."""
    home = Path(head.environment["HOME"])
    shutil.copy(ROOT / "pipelines" / "pipeline.py", home)
    arguments = [str(head.python), str(home / "pipeline.py"), str(collection / "recipe.toml"), "--store", str(collection / "store")]
    lost = subprocess.run(arguments, capture_output=True, text=True, env=head.environment, cwd=home, timeout=240, check=False)
    assert "bring the project to ~/earmark" in lost.stderr
    for package in ("pipelines", "annotation", "augment", "extractors"):
        shutil.copytree(ROOT / package, home / "earmark" / package)
    addressed = [*arguments, "--address", head.address]
    done = subprocess.run(addressed, capture_output=True, text=True, env=head.environment, cwd=home, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(Store(collection / "store").table("logmel")) == 8


@pytest.fixture(scope="module")
def token() -> str:
    """A secret that no command may print."""
    return secrets.token_hex(32)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, token: str) -> Iterator[Head]:
    """A head that lets in whoever has its token."""
    folder = tmp_path_factory.mktemp("guarded")
    keep(token, folder / "home")
    with headed(folder, RAY_AUTH_MODE="token") as head:
        yield head


def keep(token: str, home: Path) -> None:
    """Put a token where Ray looks for it, for its owner alone."""
    place = home / ".ray" / "auth_token"
    place.parent.mkdir(parents=True)
    place.touch(0o600)
    place.write_text(token)


def test_with_the_token_jobs_and_runs_are_let_in_and_without_it_refused(guarded: Head, token: str, collection: Path) -> None:
    script, run = ["pipelines/pipeline.py", collection / "recipe.toml"], command("run", collection / "more.toml")
    (collection / "more.toml").write_text(RECIPE + MFCC)
    keep(secrets.token_hex(32), collection / "stranger")
    strangers = [{"HOME": str(collection / "stranger")}, {"RAY_AUTH_MODE": "disabled"}]
    addressed = ["--store", collection / "store", "--address"]
    # Ray Client tries three times, and for half a minute where nobody says less.
    brief = {"RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "1", "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "1"}
    # All at once: Ray asks for ten seconds before it believes a refusal.
    jobs = [guarded.submit("python", *script, "--store", collection / "store", **wrong) for wrong in strangers]
    doors = [guarded.address, guarded.client]
    runs = [(door, started([*run, *addressed, door], guarded.environment | brief | wrong)) for door in doors for wrong in strangers]
    right = guarded.submit("python", *script, "--store", collection / "store")
    heard = said(right)
    assert "4 tracks, 8 clips" in heard
    assert all("authentication token" in said(job, succeeds=False) for job in jobs)
    for door, refused in runs:
        line = said(refused, succeeds=False).strip()
        assert line.startswith(f"earmark: --address {door}: the cluster wants another token, or one at all; put")
        assert len(line.splitlines()) == 1
    assert len(clips(collection / "store", "logmel")) == 8
    ran = said(started([*run, *addressed, guarded.client], guarded.environment))
    assert len(clips(collection / "store", "mfcc")) == 8
    assert token not in heard + ran


def test_ray_clients_server_may_end_while_it_starts_and_then_one_line_tells_the_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two threads of it meet, as happens once in some dozens of times."""
    tries = []

    def ends(**settings: object) -> None:
        tries.append(settings)
        raise ConnectionAbortedError("Starting Ray client server failed")

    monkeypatch.setattr(ray, "init", ends)
    with pytest.raises(ConnectionError, match=r"ray://head:10001: Ray Client's server starts .*; give HOST:6379"):
        ray_door.enter("ray://head:10001")
    assert len(tries) == ray_door.CLIENT_TRIES
