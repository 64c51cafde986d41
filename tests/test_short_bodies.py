"""Bodies of remote files that end before their time: an error to be tried again, and never a short file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from extractors.remote import RemoteError, fetch

BODY = bytes(range(256)) * 4096


class Half(BaseHTTPRequestHandler):
    """Says how much there is and gives a half; by the name also in chunks, of which the last never comes, or without saying."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()

    def do_GET(self) -> None:
        chunked, unsaid = "chunked" in self.path, "unsaid" in self.path
        half = BODY[: len(BODY) // 2]
        self.send_response(200)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not unsaid:
            self.send_header("Content-Length", str(len(BODY)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(half), half) if chunked else half)
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Half) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize("uri", ["http://{}/a.wav", "http://{}/chunked.wav", "http://{}/unsaid.wav", "s3://music/a.wav"])
def test_a_body_that_ends_early_is_an_error(uri: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "ENDPOINT_URL": f"http://{server}", "REGION": "us-east-1"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(RemoteError):
        fetch(uri.format(server), str(tmp_path))
