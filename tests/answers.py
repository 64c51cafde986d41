"""A server that answers as a test says, and counts the calls: for answers that no real one can be made to give."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answers:
    """The same answer to everything, or what a function of the path gives, as JSON; 404 where it gives None.

    calls: method and path of each.
    """

    def __init__(self, status: int, body: bytes | Callable[[str], Any], **headers: str) -> None:
        self.calls: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes

            def log_message(self, *_: object) -> None: ...

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.calls.append((self.command, self.path))
                given = body if isinstance(body, bytes) else body(self.path)
                said = given if isinstance(given, bytes) else json.dumps(given).encode()
                self.send_response(404 if given is None else status)
                for name, value in {"content-length": str(len(said)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Answers:
        threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
