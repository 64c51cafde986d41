"""The server from which browsers fetch clips: signed links, ranges, CORS, and nothing but clips."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.clips.files import FILE_NAME, TYPES
from pipelines.clips.links import Keys, seconds_left

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("earmark.clips")

# Links are secret and need no cookies, so any page may use them. Sent with every answer, whether or not a page asks: a browser that kept
# an answer without it would refuse it to a page later.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range, If-Range, If-None-Match, If-Modified-Since",
    "Access-Control-Max-Age": "86400",
}
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_BLOCK = 1 << 18  # bytes sent at a time


def app(folder: str | Path, keys: Keys) -> Starlette:
    """The ASGI application.

    Args:
        folder: STORE/clips; the files lie in a folder for each encoding.
    """
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    folder = Path(folder)

    async def clip(request: Request) -> Response:
        begun = time.monotonic()
        link, name = request.path_params["link"], request.path_params["name"]
        # A name that may be asked for has no separator, no dot but one, and no letter that could be written in another way.
        found = FILE_NAME.fullmatch(name)
        left = seconds_left(link, name, keys) if found else None
        if request.method == "OPTIONS":
            answer = Response(status_code=204, headers=PREFLIGHT)
        elif found is None or left is None:
            answer = PlainTextResponse("no such link\n", 403, CORS)
        elif left <= 0:
            answer = PlainTextResponse("this link is over; ask for a new one\n", 410, CORS)
        else:
            answer = _answer(request, folder / found[3] / name, left)
        size = answer.headers.get("content-length", "0")
        took = 1000 * (time.monotonic() - begun)
        # Never the path: it holds the signature, and what it holds in a name's place may be anything.
        log.info("%s %s %d %s bytes %.0f ms", request.method, name if found else "-", answer.status_code, size, took)
        return answer

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    methods = ["GET", "HEAD", "OPTIONS"]
    return Starlette(routes=[Route("/health", health), Route("/c/{link}/{name}", clip, methods=methods)])


def server(folder: str | Path, keys: Keys, host: str = "127.0.0.1", port: int = 8090) -> uvicorn.Server:
    """The application on a socket; `run` of what comes back serves until it is told to end."""
    import uvicorn

    # Its own access log would print signatures.
    config = uvicorn.Config(
        app(folder, keys), host=host, port=port, access_log=False, log_level="warning", use_colors=False, server_header=False
    )
    return uvicorn.Server(config)


def _answer(request: Request, path: Path, left: float) -> Response:
    """The file, a stretch of it, or why not."""
    from starlette.responses import PlainTextResponse, Response, StreamingResponse

    try:
        file = open(path, "rb", buffering=0, opener=_opened)  # noqa: SIM115 - one that is never sent is closed with its last reference
    except OSError:
        return PlainTextResponse("no such clip; cut it again by applying the campaign\n", 404, CORS)
    kept = False
    try:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            return PlainTextResponse("no such clip\n", 404, CORS)
        # A name says clip, encoding and samples: it never holds two things.
        etag, modified = f'"{path.stem}-{state.st_size:x}"', formatdate(state.st_mtime, usegmt=True)
        headers = {
            **CORS,
            "Accept-Ranges": "bytes",
            "Cache-Control": f"private, max-age={min(86_400, int(left))}",
            "Content-Type": TYPES[path.suffix[1:]],
            "ETag": etag,
            "Last-Modified": modified,
            "X-Content-Type-Options": "nosniff",
        }
        if _unchanged(request, etag, modified):
            return Response(status_code=304, headers=headers)
        status, first, stop = 200, 0, state.st_size
        if "range" in request.headers and request.headers.get("if-range", etag) in (etag, modified):
            wanted = _range(request.headers["range"], state.st_size)
            if wanted == (0, 0):
                return PlainTextResponse("", 416, {**CORS, "Content-Range": f"bytes */{state.st_size}"})
            if wanted is not None:
                status, (first, stop) = 206, wanted
                headers["Content-Range"] = f"bytes {first}-{stop - 1}/{state.st_size}"
        headers["Content-Length"] = str(stop - first)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        kept = True
        return StreamingResponse(_blocks(file, first, stop), status, headers)
    finally:
        if not kept:
            file.close()


def _opened(path: str, flags: int) -> int:
    # A link in the folder could lead anywhere, and a pipe would let everybody wait.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


async def _blocks(file: FileIO, first: int, stop: int) -> AsyncIterator[bytes]:
    # Clips are small and mostly in the system's cache: handing each block to a thread would take longer than reading it.
    with file:
        file.seek(first)
        while first < stop and (block := file.read(min(_BLOCK, stop - first))):
            first += len(block)
            yield block


def _unchanged(request: Request, etag: str, modified: str) -> bool:
    """Whether the browser has it already: RFC 9110, section 13.2.2."""
    if "if-none-match" in request.headers:
        tags = [tag.strip().removeprefix("W/") for tag in request.headers["if-none-match"].split(",")]
        return etag in tags or "*" in tags
    return request.headers.get("if-modified-since") == modified


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First byte, and the byte after the last; (0, 0) if there are none; None where the whole file is the answer.

    Several ranges at once, which no player asks for, and what is no range are answered with the whole file, as RFC 9110 allows.

    >>> _range("bytes=0-", 10), _range("bytes=2-3", 10), _range("bytes=-4", 10), _range("bytes=5-99", 10)
    ((0, 10), (2, 4), (6, 10), (5, 10))
    >>> _range("bytes=10-", 10), _range("bytes=-0", 10), _range("bytes=3-2", 10), _range("bytes=0-1,3-4", 10)
    ((0, 0), (0, 0), None, None)
    """
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    begin, end = found.groups()
    if not begin:
        return (max(0, size - int(end)), size) if int(end) and size else (0, 0)
    first, last = int(begin), int(end) if end else size - 1
    if end and last < first:
        return None
    return (first, min(last + 1, size)) if first < size else (0, 0)
