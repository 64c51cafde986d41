"""`ray up` and `ray submit` with the cluster file, against two machines of the test's own that are reached by ssh.

A machine is a set of namespaces. It has processes of its own, as `ray stop` ends every Ray process that it sees; a network of its own, with
the cluster file's addresses; and that file's login, whose home is in the test's folder. What is written to its /tmp is lost with it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.collection import RECIPE, ROOT, clips, earmark, tones

TOOLS = ("sshd", "ssh-keygen", "rsync", "unshare", "nsenter", "ip")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MISSING = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]

NAMESPACES = ["--pid", "--mount", "--net"]
# Arguments: the test's folder, the machine's, sshd.
BOOT = """
set -e
mount -t tmpfs none /run
mkdir /run/sshd /run/folder /run/written /run/work
mount --bind "$1" /run/folder
mount -t overlay -o lowerdir=/tmp,upperdir=/run/written,workdir=/run/work none /tmp
mount --bind /run/folder "$1"
mkdir -p /tmp/ray
mount -t tmpfs none /tmp/ray
mount --bind "$2/passwd" /etc/passwd
ip link set lo up
exec "$3" -D -e -f /dev/null -h "$1/host_key" -o AuthorizedKeysFile="$1/key.pub" -o StrictModes=no -o UsePAM=no -o PidFile=none
"""


def forbidden() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    probe = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "mount", "-t", "tmpfs", "none", "/run"], capture_output=True, text=True, check=False
    )
    return probe.stderr.strip()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(not MISSING and bool(forbidden()), reason="needs root's right to make namespaces"),
]


@dataclass
class Machine:
    """The inside of a set of namespaces."""

    pid: int
    home: Path

    def run(self, *command: str | Path, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there, in the root of the project."""
        enter = ["nsenter", f"--target={self.pid}", *NAMESPACES, "env", f"--chdir={ROOT}", *map(str, command)]
        own = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {"PATH": PATH} | environment
        return subprocess.run(enter, capture_output=True, text=True, env=own, timeout=timeout, check=False)


@dataclass
class Cluster:
    """The machines and the file that names them."""

    head: Machine
    worker: Machine
    file: Path
    worker_ip: str

    def ray(self, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Give one of Ray's commands about the cluster, from the head: it reaches itself by ssh too."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", command, self.file]
        return self.head.run(*ray, *arguments, timeout=200, HOME=str(self.file.parent))


@contextlib.contextmanager
def booted(folder: Path, name: str, user: str) -> Iterator[Machine]:
    """A machine that runs sshd, and has nothing in its home."""
    own = folder / name
    (own / "home").mkdir(parents=True)
    (own / "passwd").write_text(f"{user}:x:0:0::{own / 'home'}:/bin/bash\n" + Path("/etc/passwd").read_text())
    unshare = ["unshare", *NAMESPACES, "--fork", "--mount-proc", "--kill-child", "sh", "-c", BOOT, "sh"]
    arguments = [str(folder), str(own), str(shutil.which("sshd", path=PATH))]
    log = own / "sshd.log"
    with open(log, "w") as output:
        child = subprocess.Popen([*unshare, *arguments], stdout=output, stderr=output, env={"PATH": PATH})
    try:
        for _ in range(200):
            if "listening on" in log.read_text():
                break
            assert child.poll() is None, log.read_text()
            time.sleep(0.05)
        yield Machine(psutil.Process(child.pid).children()[0].pid, own / "home")
    finally:
        if child.poll() is None:
            # The machine's first process: all others end with it, and unshare, which waits for it.
            for first in psutil.Process(child.pid).children():
                first.kill()
            child.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two machines with a cable between them."""
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    content = cluster_file(tmp_path / "key")
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch(0o600)
    (tmp_path / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    user, head_ip, worker_ip = content["auth"]["ssh_user"], content["provider"]["head_ip"], content["provider"]["worker_ips"][0]
    with booted(tmp_path, "head", user) as head, booted(tmp_path, "worker", user) as worker:
        cable = f"ip link add cable type veth peer name cable netns {worker.pid}"
        # Run outside the head's process namespace, in which the worker has no number.
        subprocess.run(["nsenter", f"--target={head.pid}", "--net", *cable.split()], check=True)
        for machine, own, other in ((head, head_ip, worker_ip), (worker, worker_ip, head_ip)):
            # Ray asks which of its addresses leads out, so there has to be a way out.
            up = f"ip address add {own}/24 dev cable && ip link set cable up && ip route add default via {other}"
            done = machine.run("sh", "-c", up)
            assert done.returncode == 0, done.stderr
        yield Cluster(head, worker, tmp_path / "cluster.yaml", worker_ip)


def cluster_file(key: Path) -> dict[str, Any]:
    """Ours, for two machines; what they would download is borrowed from this Python, except ourselves."""
    cluster: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "ray" / "local.yaml").read_text())
    cluster["provider"]["worker_ips"] = cluster["provider"]["worker_ips"][:1]
    cluster["auth"]["ssh_private_key"] = str(key)
    venv, *installs, path = cluster["setup_commands"]
    assert all("pip install" in command for command in installs)
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    cluster["setup_commands"] = [
        venv.replace("python3 -m venv", f"{sys.executable} -m venv --without-pip"),
        # A plain path: .pth files in there, such as that of our editable install, are not followed.
        f"echo {sys.prefix}/{library} > ~/earmark-venv/{library}/dependencies.pth",
        f'sed "1s|.*|#!$HOME/earmark-venv/bin/python|" {sys.prefix}/bin/ray > ~/earmark-venv/bin/ray && chmod +x ~/earmark-venv/bin/ray',
        path,
    ]
    return cluster


def test_ray_submit_runs_a_recipe_on_the_cluster_that_ray_up_made(cluster: Cluster, tmp_path: Path) -> None:
    home = cluster.head.home
    tones(tmp_path / "audio", 4)
    earmark("scan", tmp_path / "audio", "--store", tmp_path / "store")
    (home / "recipe.toml").write_text(RECIPE)
    (home / "wrong.toml").write_text(RECIPE.replace("LogMel", "LogMell"))

    up = cluster.ray("up", "--yes")
    assert up.returncode == 0, up.stdout + up.stderr
    ours = subprocess.run([home / "earmark-venv/bin/python", "-c", "import pipelines"], capture_output=True, cwd=tmp_path, check=False)
    assert b"ModuleNotFoundError" in ours.stderr

    done = cluster.ray("submit", "pipelines/pipeline.py", "--", "recipe.toml", "--store", tmp_path / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 tracks, 8 clips" in done.stdout
    assert len(clips(tmp_path / "store", "logmel")) == 8
    sessions = cluster.head.run("sh", "-c", "echo /tmp/ray/session_2*").stdout.split()
    assert len(sessions) == 1, "the run started a Ray of its own"

    wrong = cluster.ray("submit", "pipelines/pipeline.py", "--", "wrong.toml", "--store", tmp_path / "store")
    assert wrong.returncode != 0
    assert "'LogMell' is not one of" in wrong.stdout

    jobs = [sys.executable, "-m", "ray.scripts.scripts", "job", "list", "--address", "http://127.0.0.1:8265"]
    stranger = cluster.head.run(*jobs, RAY_AUTH_MODE="disabled")
    assert stranger.returncode != 0
    assert "Missing authentication token" in stranger.stderr, stranger.stderr

    joined = cluster.ray("exec", f"timeout 90 sh -c 'until ray list nodes | grep {cluster.worker_ip}; do sleep 1; done'")
    assert "ALIVE" in joined.stdout, joined.stdout + joined.stderr
    assert (cluster.worker.home / "earmark" / "pipelines" / "cli.py").exists()
    assert (cluster.worker.home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
