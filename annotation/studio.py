"""What is asked of Label Studio: projects, tasks, predictions, and what people say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from annotation import records
from annotation.label_studio import LONG, Door
from annotation.outcome import Gone, Refused, StudioError, Unknown
from annotation.records import Guess, Indexed, Listed, Project
from annotation.task import campaign_line

IMPORT = 500  # tasks in a call: a lost answer costs little, and the server holds a transaction for a second
CHUNK = 200  # tasks that are asked for by their ids: these stand in the address
PASSES = 5  # over the pages of a list that becomes shorter meanwhile


class Studio:
    """A Label Studio server and an account's token for it.

    Reads raise Refused or Gone where the server says no, Away where it gives no answer, StudioError where an answer cannot
    be understood; writes raise Unknown for both of these (see `annotation.label_studio`).

    Args:
        url, token, patience, pause: as `Door` takes them.
    Raises:
        StudioError: this is no address, or no token.
    """

    def __init__(self, url: str, token: str, patience: float = 60.0, pause: float = 0.1) -> None:
        self._door = Door(url, token, patience, pause)
        self.url, self.pause = self._door.url, pause

    def __repr__(self) -> str:
        return f"Studio({self.url!r})"

    def now(self) -> datetime:
        """The server's clock, to the second."""
        self._door.read("api/version/", "reading the clock", object)
        return self._door.clock or datetime.now(UTC)

    # Projects

    def check(self) -> str:
        """The e-mail address of the token's owner.

        Raises:
            Refused: the token is none. Away: no server is there.
        """
        return str(self._door.read("api/current-user/whoami", "signing in", {"email": str})["email"])

    def projects(self, line: str) -> list[Project]:
        """The projects whose description has this line, the oldest first; titles are not unique, and people change them."""
        found: dict[int, str] = {}
        page, count = 1, 1
        while len(found) < count:
            before = len(found)
            listed = self._door.read(
                "api/projects/", "listing projects", records.PROJECTS, include="id,description", page_size=100, page=page
            )
            found |= {each["id"]: each["description"] or "" for each in listed["results"]}
            count = listed["count"]
            # The list moves when somebody makes or deletes a project meanwhile; whoever misses one makes a second.
            page = page + 1 if listed["next"] else 1
            if not listed["next"] and len(found) == before:
                break
            self._check_page("listing projects", listed["results"], page, len(found), count)
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
        return records.project(self._project(project))

    def check_config(self, config: str) -> None:
        """Whether the server takes a labelling screen; that people can use it is not said (see annotation.interface).

        Raises:
            Refused: it does not, and why.
        """
        self._door.read("api/projects/validate/", "checking the labelling screen", object, body={"label_config": config})

    def create_project(self, title: str, description: str, label_config: str, **settings: Any) -> Project:
        """A new project. settings: as `update_project` takes them."""
        fields = {"title": title, "description": description, "label_config": label_config, **records.settings(settings)}
        return records.project(self._door.write("POST", "api/projects/", f"making project {title!r}", fields, records.PROJECT))

    def update_project(self, project: int, **settings: Any) -> Project:
        """Change some of title, description, label_config, instructions, overlap, model_version, show_predictions.

        A changed overlap overwrites that of tasks; a model_version must be that of predictions that are there.
        """
        place, doing = f"api/projects/{project}/", f"changing project {project}"
        return records.project(self._door.write("PATCH", place, doing, records.settings(settings), records.PROJECT))

    def sampling(self, project: int) -> str:
        """How the server chooses the next task; `update_project(sampling=...)` changes it."""
        return str(self._project(project)["sampling"] or "")

    def views(self, project: int) -> dict[int, dict[str, Any]]:
        """The tabs of a project, by id: title, ordering, filters."""
        found = self._door.read("api/dm/views/", f"reading tabs of project {project}", records.VIEWS, project=project)
        return {each["id"]: each["data"] or {} for each in found}

    def create_view(self, project: int, data: Mapping[str, Any]) -> None:
        """A further tab of a project."""
        self._door.write("POST", "api/dm/views/", f"making a tab in project {project}", {"project": project, "data": dict(data)})

    def delete_project(self, project: int) -> None:
        """Delete a project with all that people said in it. Not while others use the server: two deletions at once spoil it (see sync)."""
        self._door.delete(f"api/projects/{project}/", f"deleting project {project}")

    # Tasks

    def index(self, project: int) -> list[Indexed]:
        """All tasks, by id, without what people said."""
        found = self._pages(project, "id,data,overlap,total_annotations,cancelled_annotations", records.INDEXED)
        return [
            Indexed(each["id"], each["data"], each["overlap"], (each["total_annotations"] or 0) + (each["cancelled_annotations"] or 0))
            for each in found
        ]

    def count(self, project: int) -> int:
        """How many tasks there are."""
        return int(self._page(project, 1, 1, "id", object)["total"])

    def listed(self, project: int, since: datetime | None) -> list[Listed]:
        """The tasks that somebody touched after a moment, all if None, oldest change first.

        What touches a task: annotations and skips, made, changed or deleted. What does not: drafts, and deleting the task.
        """
        query: dict[str, Any] | None = None
        if since is not None:
            after = {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": records.moment(since)}
            query = {"filters": {"conjunction": "and", "items": [after]}}
        # Not put in order by the server: a task that is touched would move to the last page, and another to one that was read already.
        found = self._pages(project, "id,updated_at,annotations_ids", records.LISTED, query, fields="all")
        found.sort(key=lambda each: datetime.fromisoformat(each["updated_at"]).astimezone(UTC))
        return [Listed(each["id"], each["updated_at"], records.ids(each["annotations_ids"])) for each in found]

    def tasks(self, project: int, ids: Sequence[int]) -> list[dict[str, Any]]:
        """These tasks with all their annotations, skips too, predictions, and `draft_exists`; those that are gone are left out."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), CHUNK):  # an empty selection would be none, and everything come
            query = {"selectedItems": {"all": False, "included": list(ids[start : start + CHUNK])}}
            found += self._pages(project, None, records.TASK, query, fields="all")
        return found

    def export(self, project: int) -> list[dict[str, Any]]:
        """All tasks with all that people said, drafts too, as Label Studio's JSON: a backup, and what a full reconcile reads."""
        place = f"api/projects/{project}/export"
        asked = {"exportType": "JSON", "download_all_tasks": "true"}
        return list(self._door.read(place, f"exporting project {project}", records.EXPORT, LONG, **asked))

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
        answer = self._door.write("POST", f"api/projects/{project}/import", doing, tasks, records.IMPORTED, return_task_ids="true")
        ids: list[int] = answer["task_ids"]
        guesses = sum(len(each.get("predictions", ())) for each in tasks)
        if len(ids) != len(tasks) or answer["prediction_count"] != guesses:
            came = f"{len(ids)} tasks and {answer['prediction_count']} predictions"
            raise Unknown(f"{self.url}: {doing}: the server speaks of {came}, {len(tasks)} and {guesses} were sent")
        return ids

    def update_task(self, task: int, **fields: Any) -> None:
        """Change a task's data or overlap; the other columns of data are lost, unless they are given too."""
        self._door.write("PATCH", f"api/tasks/{task}/", f"changing task {task}", fields)

    def delete_tasks(self, project: int, ids: Sequence[int]) -> None:
        """Delete these tasks with all that people said in them; those that are gone already are gone."""
        for start in range(0, len(ids), CHUNK):  # never an empty selection: the server would take it for all
            selected = {"selectedItems": {"all": False, "included": list(ids[start : start + CHUNK])}}
            doing = f"deleting {len(ids)} tasks of project {project}"
            self._door.write("POST", "api/dm/actions/", doing, selected, id="delete_tasks", project=project)

    # Predictions

    def predictions(self, project: int) -> list[Guess]:
        """All predictions, by id."""
        doing = f"reading predictions of project {project}"
        found = self._door.read("api/predictions/", doing, records.PREDICTIONS, LONG, project=project)
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
        place, shape = f"api/projects/{project}/import/predictions", {"created": int}
        return int(self._door.write("POST", place, doing, predictions, shape)["created"])

    def delete_prediction(self, prediction: int) -> None:
        """Delete a prediction; answers that began as it stay."""
        self._door.delete(f"api/predictions/{prediction}/", f"deleting prediction {prediction}")

    def delete_model_version(self, project: int, model_version: str) -> int:
        """Delete all predictions of a version; answers that began as one of them stay. Returns how many there were."""
        place, body, shape = f"api/projects/{project}/model-versions/", {"model_version": model_version}, {"deleted_predictions": int}
        return int(self._door.write("DELETE", place, f"deleting the predictions of {model_version}", body, shape)["deleted_predictions"])

    # What people say

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
        """Answer as the token's owner. fields: lead_time (seconds), was_cancelled (a skip), parent_prediction, unique_id."""
        place, body = f"api/tasks/{task}/annotations/", {"result": list(result), **fields}
        return dict(self._door.write("POST", place, f"answering task {task}", body, records.ANNOTATION))

    def users(self) -> dict[int, str]:
        """Everybody's e-mail address, by id; annotations name their authors by id."""
        return {each["id"]: each["email"] or "" for each in self._door.read("api/users/", "listing users", records.USERS)}

    # Reading

    def _project(self, project: int) -> Any:
        return self._door.read(f"api/projects/{project}/", f"reading project {project}", records.PROJECT)

    def _pages(
        self, project: int, include: str | None, shape: Any, query: Mapping[str, Any] | None = None, **more: Any
    ) -> list[dict[str, Any]]:
        """Tasks of all pages, by id, each once; one page, unless the server's settings make pages smaller.

        A task that is not listed looks as if somebody had deleted it. Where one is deleted while pages are read, others move to a page that
        was read already: all are read again. One that is added stands last, and need not be there yet.
        """
        doing = f"listing the tasks of project {project}"
        for _ in range(PASSES):
            found: dict[int, dict[str, Any]] = {}
            page, first, total = 1, 0, 1
            while len(found) < total >= first:
                try:
                    answer = self._page(project, page, 100_000, include, shape, query, **more)
                except Gone:
                    if page == 1:
                        raise
                    break  # there are fewer pages than there were
                found |= {each["id"]: each for each in answer["tasks"]}
                page, total = page + 1, answer["total"]
                first = first or total
                # An empty page that was taken for the end of the list would make all others look deleted.
                self._check_page(doing, answer["tasks"], page, len(found), total)
            if min(len(found), total) >= first:
                return list(found.values())
        raise StudioError(f"{self.url}: {doing}: it became shorter while it was read; try again")

    def _check_page(self, doing: str, listed: Sequence[Any], following: int, found: int, total: int) -> None:
        """A list in which pages are empty, or more than there are things to list, has no end."""
        if found < total and (not listed or following > total + 1):
            raise StudioError(f"{self.url}: {doing}: {found} came, and the server speaks of {total}; try again")

    def _page(
        self, project: int, page: int, size: int, include: str | None, shape: Any, query: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        asked = {"project": project, "page": page, "page_size": size, "include": include, "resolve_uri": "false", **more}
        asked["query"] = json.dumps(query) if query else None
        doing = f"listing the tasks of project {project}"
        return self._door.read("api/tasks/", doing, {"tasks": [shape], "total": int}, LONG, **asked)
