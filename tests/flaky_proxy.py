"""An HTTP proxy that fails by a seed: before a call is passed on, while it is under way, or after it was done."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What happens to a call, and whether it takes effect: reset and 502 never; left (cut before the answer is there), cut and 504 do.
FAILURES = ("reset", "502", "left", "cut", "504")


class FlakyProxy:
    """A proxy in front of a server, as a context.

    url: where it listens. happened: how often each of FAILURES, and "passed", befell a call that writes, and one that reads.

    Args:
        target: the server's URL. seed: decides what fails; it draws a rate between low and high first.
    """

    def __init__(self, target: str, seed: int, low: float = 0.3, high: float = 0.75) -> None:
        self._rng = random.Random(seed)
        self.rate = self._rng.uniform(low, high)
        self.happened: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        proxy, address = self, urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def handle_call(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                fate = proxy._draw(self.command)
                if fate == "502":
                    self._answer(502, b"<html>502 Bad Gateway</html>", "text/html")
                elif fate == "reset":
                    self._cut()
                elif fate == "left":
                    threading.Thread(target=self._forward, args=(body,), daemon=True).start()
                    self._cut()
                else:
                    status, content, kind = self._forward(body)
                    if fate == "cut":
                        self._cut()
                    elif fate == "504":
                        self._answer(504, b"<html>504 Gateway Time-out</html>", "text/html")
                    else:
                        self._answer(status, content, kind)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_call

            def _forward(self, body: bytes) -> tuple[int, bytes, str]:
                upstream = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "accept-encoding")}
                try:
                    upstream.request(self.command, self.path, body or None, headers)
                    answer = upstream.getresponse()
                    return answer.status, answer.read(), answer.headers.get("content-type", "")
                except (OSError, http.client.HTTPException):
                    return 502, b"", "text/plain"
                finally:
                    upstream.close()

            def _answer(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                if status != 204:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content)

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
                self.connection.close()

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _draw(self, method: str) -> str:
        with self._lock:
            fate = self._rng.choice(FAILURES) if self._rng.random() < self.rate else "passed"
            self.happened["read" if method == "GET" else "write", fate] += 1
        return fate

    def __enter__(self) -> FlakyProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
