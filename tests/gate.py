"""A door in front of a server, which a test shuts, or through which it lets a part of an answer only."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from urllib.parse import urlsplit


class Gate:
    """A TCP proxy, as a context.

    url: where it listens.
    shut: connections are refused, and those there are end.
    cut: after so many bytes from the client, and as many from the server, every second connection is reset; 0: none.
    cuts: how many were.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.shut = False
        self.cut = 0
        self.cuts = 0
        self._count = Counter[str]()

    def __enter__(self) -> Gate:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        self._count["all"] += 1
        limit = self.cut if self._count["all"] % 2 else 0
        with contextlib.suppress(OSError), client:
            if self.shut:
                _reset(client)
                return
            with socket.create_connection((self._target.hostname or "", self._target.port or 80)) as server:
                back = threading.Thread(target=self._copy, args=(server, client, limit), daemon=True)
                back.start()
                self._copy(client, server, limit)
                back.join()

    def _copy(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        done = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                done += len(data)
                if self.shut or 0 < limit < done:
                    self.cuts += 1
                    sink.sendall(data[: len(data) // 2])
                    _reset(source)
                    _reset(sink)
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
