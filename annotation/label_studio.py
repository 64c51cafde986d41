"""The one door to Label Studio: reads are repeated until they come; a write is sent once, and ends as done, refused or unknown."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from annotation import records
from annotation.outcome import NEW_TOKEN, Away, Gone, Refused, StudioError, Unknown, meaning
from annotation.records import Guess, Indexed, Listed, Project
from annotation.task import campaign_line

__all__ = ["IMPORT", "Away", "Gone", "Guess", "Indexed", "Listed", "Project", "Refused", "Studio", "StudioError", "Unknown"]

IMPORT = 500  # tasks in a call: a lost answer costs little, and the server holds a transaction for a second
CHUNK = 200  # tasks that are asked for by their ids: these stand in the address
LONG = 600.0  # seconds that a write may take; the server works on after its client has gone


class Studio:
    """A Label Studio server and an account's token for it.

    The SDK gives address, tokens and transport, with its retries off: they send again what was stored already. Answers are taken as the
    server wrote them, as the SDK's models drop what they do not know.

    Args:
        url: http://HOST:PORT. token: of either kind, from "Account & Settings"; it appears in no message.
        patience: seconds for which a read is repeated. pause: seconds before the first repetition; later ones wait up to 50 times as long.
    Raises:
        StudioError: this is no address, or no token.
    """

    def __init__(self, url: str, token: str, patience: float = 60.0, pause: float = 0.1) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise StudioError(f"{parts.hostname or 'Label Studio'}: not an address as http://host:8080; passwords do not belong in it")
        self.url = url.rstrip("/")
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise StudioError(f"{self.url}: no token; {NEW_TOKEN}")
        self.patience, self.pause = patience, pause
        self._token = token
        self._clock: datetime | None = None
        self._connect()

    def __repr__(self) -> str:
        return f"Studio({self.url!r})"

    def _connect(self) -> None:
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        # Not the SDK's client as a whole: that imports pandas and what checks tasks, which takes longer than most pulls.
        from label_studio_sdk.core.client_wrapper import SyncClientWrapper

        # A redirected POST would become a GET, and look as if it had been done.
        # Reading the certificates of the world takes longer than most pulls, and http:// has no use for them.
        client = httpx.Client(follow_redirects=False, limits=httpx.Limits(max_connections=16), verify=self.url.startswith("https:"))
        try:
            sdk = SyncClientWrapper(base_url=f"{self.url}/", api_key=self._token, max_retries=0, httpx_client=client)
        except ApiError as error:  # a token that has a date, which is over
            raise meaning(f"{self.url}: signing in", int(error.status_code or 500), json.dumps(error.body), self._token) from None
        self._transport = sdk.httpx_client

    def now(self) -> datetime:
        """The server's clock, to the second."""
        self._read("api/version/", "reading the clock")
        return self._clock or datetime.now(UTC)

    # Projects

    def check(self) -> str:
        """The e-mail address of the token's owner.

        Raises:
            Refused: the token is none. Away: no server is there.
        """
        return str(self._read("api/current-user/whoami", "signing in")["email"])

    def projects(self, line: str) -> list[Project]:
        """The projects whose description has this line, the oldest first; titles are not unique, and people change them."""
        found: dict[int, str] = {}
        page, count = 1, 1
        while len(found) < count:
            before = len(found)
            listed = self._read("api/projects/", "listing projects", include="id,description", page_size=100, page=page)
            found |= {each["id"]: each["description"] or "" for each in listed["results"]}
            count = listed["count"]
            # The list moves when somebody makes or deletes a project meanwhile; whoever misses one makes a second.
            page = page + 1 if listed["next"] else 1
            if not listed["next"] and len(found) == before:
                break
        mine = sorted(each for each, description in found.items() if line in (said.strip() for said in description.splitlines()))
        projects = []
        for each in mine:
            with suppress(Gone):
                projects.append(self.read_project(each))
        return projects

    def project(self, campaign: str) -> tuple[int, str]:
        """The id of a campaign's project, and when it was made, as the server writes it.

        Raises:
            Gone: there is none. Refused: there are several.
        """
        found = self.projects(campaign_line(campaign))
        if not found:
            raise Gone(
                f"{self.url}: no project has the line {campaign_line(campaign)!r} in its description; 'earmark campaign apply' makes one"
            )
        if len(found) > 1 and len(found := [each for each in found if each.tasks]) != 1:
            line = campaign_line(campaign)
            raise Refused(f"{self.url}: several projects have the line {line!r} in their description; take it out of the wrong ones")
        return found[0].id, found[0].created_at

    def read_project(self, project: int) -> Project:
        """One project.

        Raises:
            Gone: it was deleted.
        """
        return records.project(self._read(f"api/projects/{project}/", f"reading project {project}"))

    def check_config(self, config: str) -> None:
        """Whether the server takes a labelling screen; that people can use it is not said (see annotation.interface).

        Raises:
            Refused: it does not, and why.
        """
        self._read("api/projects/validate/", "checking the labelling screen", body={"label_config": config})

    def create_project(self, title: str, description: str, label_config: str, **settings: Any) -> Project:
        """A new project. settings: as `update_project` takes them."""
        fields = {"title": title, "description": description, "label_config": label_config, **records.settings(settings)}
        return records.project(self._write("POST", "api/projects/", f"making project {title!r}", fields))

    def update_project(self, project: int, **settings: Any) -> Project:
        """Change some of title, description, label_config, instructions, overlap, model_version, show_predictions.

        A changed overlap overwrites that of tasks; a model_version must be that of predictions that are there.
        """
        return records.project(self._write("PATCH", f"api/projects/{project}/", f"changing project {project}", records.settings(settings)))

    def sampling(self, project: int) -> str:
        """How the server chooses the next task; `update_project(sampling=...)` changes it."""
        return str(self._read(f"api/projects/{project}/", f"reading project {project}")["sampling"] or "")

    def views(self, project: int) -> dict[int, dict[str, Any]]:
        """The tabs of a project, by id: title, ordering, filters."""
        return {
            each["id"]: each["data"] or {} for each in self._read("api/dm/views/", f"reading tabs of project {project}", project=project)
        }

    def create_view(self, project: int, data: Mapping[str, Any]) -> None:
        """A further tab of a project."""
        self._write("POST", "api/dm/views/", f"making a tab in project {project}", {"project": project, "data": dict(data)})

    def delete_project(self, project: int) -> None:
        """Delete a project with all that people said in it. Not while others use the server: two deletions at once spoil it (see sync)."""
        self._delete(f"api/projects/{project}/", f"deleting project {project}")

    # Tasks

    def index(self, project: int) -> list[Indexed]:
        """All tasks, by id, without what people said."""
        found = self._pages(project, "id,data,overlap,total_annotations,cancelled_annotations")
        return [
            Indexed(each["id"], each["data"], each["overlap"], (each["total_annotations"] or 0) + (each["cancelled_annotations"] or 0))
            for each in found
        ]

    def count(self, project: int) -> int:
        """How many tasks there are."""
        return int(self._page(project, 1, 1, "id")["total"])

    def listed(self, project: int, since: datetime | None) -> list[Listed]:
        """The tasks that somebody touched after a moment, all if None, oldest change first.

        What touches a task: annotations and skips, made, changed or deleted. What does not: drafts, and deleting the task.
        """
        query: dict[str, Any] = {"ordering": ["tasks:updated_at"]}
        if since is not None:
            after = {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": records.moment(since)}
            query["filters"] = {"conjunction": "and", "items": [after]}
        found = self._pages(project, "id,updated_at,annotations_ids", query, fields="all")
        return [Listed(each["id"], each["updated_at"], records.ids(each["annotations_ids"])) for each in found]

    def tasks(self, project: int, ids: Sequence[int]) -> list[dict[str, Any]]:
        """These tasks with all their annotations, skips too, predictions, and `draft_exists`; those that are gone are left out."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), CHUNK):  # an empty selection would be none, and everything come
            query = {"selectedItems": {"all": False, "included": list(ids[start : start + CHUNK])}}
            found += self._page(project, 1, CHUNK, None, query, fields="all")["tasks"]
        return found

    def export(self, project: int) -> list[dict[str, Any]]:
        """All tasks with all that people said, drafts too, as Label Studio's JSON: a backup, and what a full reconcile reads."""
        place = f"api/projects/{project}/export"
        return list(self._read(place, f"exporting project {project}", exportType="JSON", download_all_tasks="true", timeout=LONG))

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks, with the predictions in them: all or none.

        Args:
            tasks: {"data": {...}, "predictions": [...]}, 500 at most.
        Returns:
            their ids, in order.
        """
        if len(tasks) > IMPORT:
            raise ValueError(f"{len(tasks)} tasks in one call; {IMPORT} at most")
        doing = f"importing {len(tasks)} tasks into project {project}"
        answer = self._write("POST", f"api/projects/{project}/import", doing, tasks, return_task_ids="true")
        ids = [int(each) for each in answer.get("task_ids", ())]
        guesses = sum(len(each.get("predictions", ())) for each in tasks)
        if len(ids) != len(tasks) or answer.get("prediction_count") != guesses:
            came = f"{len(ids)} tasks and {answer.get('prediction_count')} predictions"
            raise Unknown(f"{self.url}: {doing}: the server speaks of {came}, {len(tasks)} and {guesses} were sent")
        return ids

    def update_task(self, task: int, **fields: Any) -> None:
        """Change a task's data or overlap; the other columns of data are lost, unless they are given too."""
        self._write("PATCH", f"api/tasks/{task}/", f"changing task {task}", fields)

    def delete_tasks(self, project: int, ids: Sequence[int]) -> None:
        """Delete these tasks with all that people said in them; those that are gone already are gone."""
        for start in range(0, len(ids), CHUNK):  # never an empty selection: the server would take it for all
            selected = {"selectedItems": {"all": False, "included": list(ids[start : start + CHUNK])}}
            doing = f"deleting {len(ids)} tasks of project {project}"
            self._write("POST", "api/dm/actions/", doing, selected, id="delete_tasks", project=project)

    # Predictions

    def predictions(self, project: int) -> list[Guess]:
        """All predictions, by id."""
        found = self._read("api/predictions/", f"reading predictions of project {project}", project=project, timeout=LONG)
        return sorted(
            (Guess(each["id"], each["task"], each["model_version"] or "", each["score"], each["result"]) for each in found),
            key=lambda each: each.id,
        )

    def import_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Add predictions to tasks that are there: {"task", "model_version", "score", "result"}.

        Returns:
            how many the server made. It leaves out, silently, those that do not fit the labelling screen.
        Raises:
            Refused: one of the tasks is gone; none was made.
        """
        doing = f"sending {len(predictions)} predictions to project {project}"
        return int(self._write("POST", f"api/projects/{project}/import/predictions", doing, predictions)["created"])

    def delete_prediction(self, prediction: int) -> None:
        """Delete a prediction; answers that began as it stay."""
        self._delete(f"api/predictions/{prediction}/", f"deleting prediction {prediction}")

    def delete_model_version(self, project: int, model_version: str) -> int:
        """Delete all predictions of a version; answers that began as one of them stay. Returns how many there were."""
        place, body = f"api/projects/{project}/model-versions/", {"model_version": model_version}
        return int(self._write("DELETE", place, f"deleting the predictions of {model_version}", body)["deleted_predictions"])

    # What people say

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
        """Answer as the token's owner. fields: lead_time (seconds), was_cancelled (a skip), parent_prediction, unique_id."""
        return dict(self._write("POST", f"api/tasks/{task}/annotations/", f"answering task {task}", {"result": list(result), **fields}))

    def users(self) -> dict[int, str]:
        """Everybody's e-mail address, by id; annotations name their authors by id."""
        return {each["id"]: each["email"] for each in self._read("api/users/", "listing users")}

    # Sending

    def _pages(self, project: int, include: str, query: Mapping[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        """Tasks of all pages, each once; one page, unless the server's settings make pages smaller."""
        found: dict[int, dict[str, Any]] = {}
        page, total = 1, 1
        while len(found) < total:
            try:
                answer = self._page(project, page, 100_000, include, query, **more)
            except Gone:
                if page == 1:
                    raise
                break  # the list has become shorter meanwhile
            found |= {each["id"]: each for each in answer["tasks"]}
            page, total = page + 1, answer["total"] if answer["tasks"] else 0
        return list(found.values())

    def _page(self, project: int, page: int, size: int, include: str | None, query: Mapping[str, Any] | None = None, **more: Any) -> Any:
        asked = json.dumps(query) if query else None
        doing = f"listing the tasks of project {project}"
        return self._read(
            "api/tasks/", doing, LONG, project=project, page=page, page_size=size, include=include, query=asked, resolve_uri="false", **more
        )

    def _read(self, place: str, doing: str, timeout: float = 60.0, body: Any = None, **params: Any) -> Any:
        """Ask until an answer comes; a body makes it a POST that changes nothing."""
        began, pause = time.monotonic(), self.pause
        while True:
            try:
                return self._send("POST" if body is not None else "GET", place, doing, body, params, timeout)
            except Unknown as error:
                if time.monotonic() - began + pause > self.patience:
                    raise Away(f"{error}; tried for {self.patience:g} s. Is it running? 'earmark campaign serve' starts one") from None
            time.sleep(pause * random.uniform(0.5, 1))  # several clients that were refused at once do not come back at once
            pause = min(pause * 2, self.pause * 50)

    def _write(self, method: str, place: str, doing: str, body: Any, **params: Any) -> Any:
        return self._send(method, place, doing, body, params, LONG)

    def _delete(self, place: str, doing: str) -> None:
        try:
            self._write("DELETE", place, doing, None)
        except Gone:
            return

    def _send(self, method: str, place: str, doing: str, body: Any, params: Mapping[str, Any], timeout: float) -> Any:
        """One call.

        Raises:
            Refused, Gone: the server said no. Unknown: what became of it cannot be said.
        """
        status, text = self._call(method, place, doing, body, params, timeout)
        if status == 401 and self._token.count(".") == 2:
            # Access tokens live for five minutes of the server's clock, and ours may differ. A refused call did nothing: once more is safe.
            self._connect()
            status, text = self._call(method, place, doing, body, params, timeout)
        if 200 <= status < 300:
            try:
                return json.loads(text) if text else None
            except json.JSONDecodeError:
                raise Unknown(f"{self.url}: {doing}: the answer is not JSON; is there Label Studio at this address?") from None
        raise meaning(f"{self.url}: {doing}", status, text, self._token)

    def _call(self, method: str, place: str, doing: str, body: Any, params: Mapping[str, Any], timeout: float) -> tuple[int, str]:
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        try:
            content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # NaN, or half a character
            raise Refused(f"{self.url}: {doing}: {error}; such a value cannot be sent") from None
        try:
            response = self._transport.request(
                place,
                method=method,
                params=dict(params),
                content=content,
                headers={"content-type": "application/json"} if content else None,
                request_options={"max_retries": 0, "timeout": httpx.Timeout(timeout, connect=10.0)},
            )
        except ApiError as error:  # from fetching an access token
            return int(error.status_code or 500), json.dumps(error.body)
        except json.JSONDecodeError:
            return 502, ""
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise Unknown(f"{self.url}: {doing}: {'no answer in time' if isinstance(error, httpx.TimeoutException) else why}") from None
        with suppress(KeyError, ValueError):
            self._clock = parsedate_to_datetime(response.headers["date"])
        if response.is_redirect:
            return int(response.status_code), json.dumps(
                {"detail": f"it points to {response.headers.get('location', '')[:200]}; give that address"}
            )
        return int(response.status_code), response.text
