"""Ceph of this machine for tests: its object gateway is an S3 server that people run, and stricter than moto's in places.

A monitor, one disk in memory and the gateway start in seconds and go with the `with`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.buckets import KEY, SECRET, s3_server

INSTALL = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
THERE = all(map(shutil.which, ("radosgw", "ceph-mon", "ceph-osd")))
# For parametrised fixtures of servers.
KINDS = ("moto", pytest.param("ceph", marks=pytest.mark.skipif(not THERE, reason=f"no Ceph here: {INSTALL}")))
_CONF = """
[global]
fsid = {fsid}
mon_host = [v1:127.0.0.1:{monitor}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr2 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = {folder}
log_file = {folder}/$name.log
pid_file = {folder}/$name.pid
admin_socket = {folder}/$name.asok
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
[mon.a]
mon_data = {folder}/mon
[osd.0]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
[client.rgw]
rgw_data = {folder}
rgw_frontends = beast endpoint=127.0.0.1:{port}
"""


@contextmanager
def s3(kind: str, folder: Path) -> Iterator[str]:
    """A server of a kind; its address."""
    with s3_server() if kind == "moto" else ceph(folder) as address:
        yield address


@contextmanager
def ceph(folder: Path) -> Iterator[str]:
    """The gateway's address; KEY and SECRET open it."""
    for name in ("mon", "osd"):
        (folder / name).mkdir(parents=True)
    fsid, disk, monitor, port = str(uuid.uuid4()), str(uuid.uuid4()), _free_port(), _free_port()
    (folder / "ceph.conf").write_text(_CONF.format(fsid=fsid, folder=folder, monitor=monitor, port=port))

    until = time.monotonic() + 60

    def run(*words: str) -> None:
        while True:
            done = subprocess.run([*words, "-c", "ceph.conf"], cwd=folder, capture_output=True, text=True, timeout=60)
            if not done.returncode:
                return
            # Who speaks to a monitor before it has said which cluster it is of is sent away.
            if not re.search("EPERM|not permitted", done.stderr) or time.monotonic() > until:
                raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")

    try:
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{monitor}]", "monmap")
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        run("ceph-mon", "-i", "a")
        run("ceph", "osd", "new", disk)
        run("ceph", "mon", "getmap", "-o", "monmap")
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk, "--monmap", "monmap")
        run("ceph-osd", "-i", "0")
        run("radosgw", "-n", "client.rgw")
        address = f"http://127.0.0.1:{port}"
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                httpx.get(address, timeout=2)
                break
            time.sleep(0.05)
        run(
            "radosgw-admin",
            "-n",
            "client.rgw",
            "user",
            "create",
            "--uid=o",
            "--display-name=o",
            f"--access-key={KEY}",
            f"--secret-key={SECRET}",
        )
        yield address
    finally:
        for path in folder.glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
