"""The ML backend that Label Studio asks for guesses about tasks that have none stored, and tells that somebody has answered.

    /health     whether it is there
    /setup      whether a project is the campaign's, and the model's name
    /predict    guesses, the same that `earmark campaign apply` would store
    /webhook    something happened in the project: pull now
    /versions   the models there are

Connecting it to a project (its settings, "Model") makes the webhook too. Label Studio shows guesses of the model that the project's
settings name, and fills that in with the backend's title where it is empty: give the backend the model's name (/versions) as its title.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from annotation.interface import controls
from annotation.preannotation import prediction
from annotation.task import Task
from pipelines.campaigns.desk import Desk
from pipelines.campaigns.preannotate import author, preannotations
from pipelines.part import StoreError

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("earmark.backend")

LARGEST = 32 << 20  # bytes of a request; Label Studio sends tasks in one, a kilobyte or two for each


class _Wrong(Exception):
    """A request that cannot be answered: status, and a line that says why."""


class Known:
    """The tasks of a campaign by name, as the last apply left them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stamp: tuple[int, int] | None = None
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def named(self, names: Iterable[str]) -> list[Task]:
        """Those of these that there are, each once."""
        with self._lock:
            try:
                state = (self._desk.folder / "tasks.json").stat()
            except FileNotFoundError:
                return []
            # Reading ten thousand keeps everybody else waiting for a tenth of a second, and an open task asks about one.
            if self._stamp != (stamp := (state.st_ino, state.st_mtime_ns)):
                self._tasks = {task.ext_id: task for task in self._desk.known()}
                self._stamp = stamp
            return [self._tasks[name] for name in dict.fromkeys(names) if name in self._tasks]


def app(desk: Desk, wake: Callable[[], object]) -> Starlette:
    """The ASGI application.

    Args:
        wake: called when something happened in the project; returns at once, as people wait for the server and it for this answer.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    known = Known(desk)

    def route(path: str, answer: Callable[[Any], dict[str, Any]], method: str) -> Route:
        async def serve(request: Request) -> Response:
            try:
                given = _json(await _body(request)) if method == "POST" else {}
                # Not where requests are awaited: a webhook is answered while guesses are looked up.
                return JSONResponse(await run_in_threadpool(answer, given))
            except _Wrong as wrong:
                status, line = wrong.args
            except (StoreError, ValueError, OSError) as error:
                status, line = 503, next(iter(str(error).splitlines()), type(error).__name__)
            except ClientDisconnect:
                status, line = 400, "the request ended early"
            # Never the request itself: /setup carries a token of the project's owner.
            log.warning("%s: %s", path, line)
            return JSONResponse({"error": line}, status)

        return Route(path, serve, methods=[method])

    async def webhook(request: Request) -> Response:
        # What happened is not read, and not believed: a pull finds out.
        wake()
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            route("/health", lambda _: {"status": "UP", "campaign": desk.campaign.name}, "GET"),
            route("/setup", lambda given: setup(desk, given), "POST"),
            route("/predict", lambda given: predict(desk, known, given), "POST"),
            route("/versions", lambda _: {"versions": list(filter(None, [_version(desk)]))}, "GET"),
            Route("/webhook", webhook, methods=["POST"]),
        ]
    )


def server(desk: Desk, host: str = "127.0.0.1", port: int = 9090, wake: Callable[[], object] = lambda: None) -> uvicorn.Server:
    """The application on a socket; `run` of what comes back serves until it is told to end.

    It asks for no password: listen where Label Studio alone comes.
    """
    import uvicorn

    config = uvicorn.Config(
        app(desk, wake), host=host, port=port, access_log=False, log_level="warning", use_colors=False, server_header=False
    )
    return uvicorn.Server(config)


def setup(desk: Desk, given: dict[str, Any]) -> dict[str, Any]:
    """The model whose guesses a project gets, "" if the campaign shows none.

    Raises:
        _Wrong: the project is not the campaign's. StoreError: the campaign's table is no model's.
    """
    _is_ours(desk, given)
    screen = given.get("schema")
    try:
        there = controls(screen) if isinstance(screen, str) else {}
    except ValueError as error:
        raise _Wrong(400, f"schema: {error}") from None
    if missing := [question.name for question in desk.campaign.questions if question.name not in there]:
        raise _Wrong(
            400,
            f"schema: asks no question {missing[0]!r}, as campaign {desk.campaign.name!r} does; another project, or not applied since",
        )
    return {"model_version": _version(desk)}


def predict(desk: Desk, known: Known, given: dict[str, Any]) -> dict[str, Any]:
    """For each task a list of predictions: one, or none: nothing to say, a clip that was not heard, or not ours.

    Label Studio stores what it gets, so that a task without guesses is asked about again when it is opened again.

    Raises:
        _Wrong: not what Label Studio sends, or of another project. StoreError: the campaign's table is no model's.
    """
    _is_ours(desk, given)
    asked = given.get("tasks")
    if not isinstance(asked, list):
        raise _Wrong(400, f"tasks: not a list, but {type(asked).__name__}")
    if not (version := _version(desk)):
        return {"results": [[] for _ in asked]}
    names = [_ext_id(task) for task in asked]
    said = preannotations(desk.store, desk.campaign, known.named(names))
    # As apply, which sends no prediction that is empty.
    return {"results": [[prediction(labels, desk.campaign, version)] if (labels := said.get(name)) else [] for name in names]}


def _version(desk: Desk) -> str:
    """The model; none in a blind campaign, where every account could look at its guesses."""
    shown = desk.campaign.predictions is not None and not desk.campaign.predictions.blind
    return author(desk.store, desk.campaign) if shown else ""


def _ext_id(task: object) -> str:
    data = task.get("data") if isinstance(task, dict) else None
    name = data.get("ext_id") if isinstance(data, dict) else None
    return name if isinstance(name, str) else ""


def _is_ours(desk: Desk, given: dict[str, Any]) -> None:
    """Raises: _Wrong, if another project asks than the one that `apply` made."""
    asking, key = given.get("project"), desk.project()
    if not isinstance(asking, str):
        raise _Wrong(400, f"project: not a text, but {type(asking).__name__}")
    if not key:
        return  # never applied from here; tasks are known by their names
    number, _, made = key.partition("@")
    # Label Studio says "<id>.<second in which it was made>".
    if asking != f"{number}.{int(datetime.fromisoformat(made).timestamp())}":
        raise _Wrong(400, f"project: {asking[:40]!r} is not campaign {desk.campaign.name!r}, which is project {number}")


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise _Wrong(413, f"more than {LARGEST >> 20} MiB; ask about fewer tasks at once")
        parts.append(part)
    return b"".join(parts)


def _json(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise _Wrong(400, "not JSON") from None
    if not isinstance(given, dict):
        raise _Wrong(400, f"not an object, but {type(given).__name__}")
    return given
