"""infra/label_studio: the compose file, nginx in front of a real Label Studio, and the chart's values."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.studio import environment as studio_environment
from pipelines.studio.install import VERSION
from pipelines.studio.session import Session
from tests.studio import RunningStudio

FOLDER = Path(__file__).parent.parent / "infra" / "label_studio"
PUBLIC = studio_environment.public("https://labels.example.org")
POSTGRES = studio_environment.postgres("studio", "studio", "", "postgres", "5432")
ADMIN = studio_environment.admin("", "", "")


@functools.cache
def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_the_compose_file_sets_what_serve_sets() -> None:
    studio = read("compose.yaml")["services"]["studio"]
    assert studio["image"] == f"heartexlabs/label-studio:{VERSION}"
    assert set(studio["environment"]) == {*studio_environment.QUIET, *PUBLIC, *POSTGRES, *ADMIN}
    assert {name: studio["environment"][name] for name in studio_environment.QUIET} == studio_environment.QUIET


def test_the_charts_values_set_what_serve_sets() -> None:
    values = read("values.yaml")["global"]
    assert values["image"]["tag"] == VERSION
    assert values["extraEnvironmentVars"] == {**studio_environment.QUIET, **PUBLIC}
    assert set(values["extraEnvironmentSecrets"]) == set(ADMIN)
    assert not read("values.yaml")["postgresql"]["enabled"]


def test_no_secret_stands_in_the_files() -> None:
    environment = read("compose.yaml")["services"]["studio"]["environment"]
    for name in ("LABEL_STUDIO_POSTGRE_PASSWORD", "LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_USER_TOKEN"):
        assert environment[name].startswith("${")
        assert ":?" in environment[name]  # compose stops where it is missing


def test_docker_compose_accepts_the_file_and_asks_for_what_is_missing(tmp_path: Path) -> None:
    command = _compose()
    settings = tmp_path / "env"
    settings.write_text("PUBLIC_URL=https://labels.example.org\nPOSTGRES_PASSWORD=a\nADMIN_PASSWORD=b\nADMIN_TOKEN=c\n")
    arguments = [*command, "-f", str(FOLDER / "compose.yaml"), "--env-file", str(settings), "config"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    studio = yaml.safe_load(done.stdout)["services"]["studio"]["environment"]
    assert {name: studio[name] for name in PUBLIC} == PUBLIC
    settings.write_text("PUBLIC_URL=https://labels.example.org\n")
    refused = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert refused.returncode
    assert "openssl rand" in refused.stderr


def _compose() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
                return command
    pytest.skip("docker compose is not installed: apt-get install docker-compose")


class Clips(BaseHTTPRequestHandler):
    """Answers as the clip server does, and remembers what came."""

    came: list[tuple[str, str, str | None]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.came.append((self.command, self.path, self.headers["Range"]))
        body = b"2345" if self.headers["Range"] else b""
        self.send_response(206 if body else 204)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(body)))
        if body:
            self.send_header("Content-Range", "bytes 2-5/10")
        self.end_headers()
        self.wfile.write(body)

    do_OPTIONS = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def nginx(studio: RunningStudio, tmp_path: Path) -> Iterator[tuple[int, type[Clips], Path]]:
    """The configuration of infra in front of a Label Studio and a clip server: (port, the clip server, nginx's log)."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin")
    if not program:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    clips = type("TheseClips", (Clips,), {"came": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), clips)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "access.log"
    text = (FOLDER / "nginx.conf.template").read_text()
    for old, new in (
        ("${STUDIO}", studio.url.removeprefix("http://")),
        ("${CLIPS}", f"127.0.0.1:{server.server_port}"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/dev/stdout", str(log)),
    ):
        assert old in text
        text = text.replace(old, new)
    folders = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    settings = tmp_path / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    settings.write_text(f"{user}daemon off;pid {tmp_path}/pid;error_log {tmp_path}/error.log;events {{}}\nhttp {{ {folders}\n{text} }}")
    tested = subprocess.run([program, "-t", "-c", str(settings)], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port, clips, log
    process.terminate()
    process.wait(10)
    server.shutdown()
    server.server_close()


def _ask(port: int, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    got = answer.status, answer.msg, answer.read()
    connection.close()
    return got


@pytest.mark.slow
def test_nginx_hands_clips_through_as_they_are(nginx: tuple[int, type[Clips], Path]) -> None:
    port, clips, log = nginx
    path = "/c/e30.c2lnbmVk~x%2Fy/a%20song.flac?lsref=1"
    status, headers, body = _ask(port, "GET", path, Range="bytes=2-5", Origin="http://elsewhere")
    assert (status, body) == (206, b"2345")
    assert headers["Content-Range"] == "bytes 2-5/10"
    assert headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert _ask(port, "OPTIONS", path)[0] == 204
    assert clips.came == [("GET", path, "bytes=2-5"), ("OPTIONS", path, None)]
    assert "c2lnbmVk" not in log.read_text()


@pytest.mark.slow
def test_people_sign_in_through_nginx_and_large_imports_pass(nginx: tuple[int, type[Clips], Path], studio: RunningStudio) -> None:
    port, _, log = nginx
    ann = studio.account("ann")
    url = f"http://127.0.0.1:{port}"
    assert Session(url).sign_in(ann.email, ann.password)
    lead = Session(url, studio.token)
    invitation = lead.get("/api/invite")["invite_url"]
    assert Session(url).submit(invitation, email=f"through-{time.time_ns()}@example.org", password="a long password")
    assert invitation.partition("token=")[2] not in log.read_text()
    lead.post("/api/projects/", {"title": "through nginx", "label_config": "<View><Text name='t' value='$t'/></View>"})
    project = next(each for each in lead.get("/api/projects/")["results"] if each["title"] == "through nginx")["id"]
    lead.post(f"/api/projects/{project}/import", [{"data": {"t": "x" * 1_000_000}}] * 3)  # nginx's own limit is 1 MB
    assert lead.get(f"/api/projects/{project}/")["task_number"] == 3
    assert _ask(port, "DELETE", f"/api/projects/{project}/", Authorization=f"Token {studio.token}")[0] == 204
