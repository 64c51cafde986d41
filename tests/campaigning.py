"""A small campaign on a real Label Studio, and people who answer in it by the API as themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx

from annotation.campaign import Campaign
from annotation.interface import interface
from annotation.question import Question
from annotation.studio import Studio
from annotation.task import Task, campaign_line
from tests.studio import Account, RunningStudio

QUESTIONS = (
    Question(name="mood", kind="tag.mood", text="Which moods?", choices=("calm", "wild", "traurig 🎻"), multiple=True),
    Question(name="key", kind="key", text="Which key?", choices=("C major", "A minor"), required=True),
    Question(name="voice", kind="singing_voice", text="Where is singing?", regions=True),
)
# A campaign's file as far as its first question, to which a test adds the rest.
MOODS = """
name = "moods"
title = "Moods"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which moods?"
choices = ["calm", "wild"]
"""


def choose(name: str, *choices: str) -> dict[str, Any]:
    """An answer about a whole clip."""
    return {"id": uuid4().hex[:10], "from_name": name, "to_name": "audio", "type": "choices", "value": {"choices": list(choices)}}


def draw(name: str, start: float, end: float, label: str = "yes") -> dict[str, Any]:
    """A region."""
    value = {"start": start, "end": end, "channel": 0, "labels": [label]}
    return {"id": uuid4().hex[:10], "from_name": name, "to_name": "audio", "type": "labels", "original_length": 30.0, "value": value}


class Running:
    """A campaign that runs: its tasks by ext_id, and the server's ids of them."""

    def __init__(self, server: RunningStudio, count: int, name: str) -> None:
        self.server = server
        self.studio = Studio(server.url, server.token)
        self.campaign = Campaign(name=name, title=f"E {name}", questions=QUESTIONS)
        self.tasks = [
            Task(f"{index:020x}-0000000a", f"{index:020x}", f"{index:020x}", 0.0, 30.0, f"{server.url}/{index}.wav", f"song {index}")
            for index in range(count)
        ]
        self.project = self.make()

    def make(self) -> int:
        """A project on the server with all tasks."""
        project = self.studio.create_project(self.campaign.title, campaign_line(self.campaign.name), interface(self.campaign)).id
        sent = [{"data": {"audio": task.audio, "title": task.title, "ext_id": task.ext_id}} for task in self.tasks]
        self.ids = [each for start in range(0, len(sent), 500) for each in self.studio.import_tasks(project, sent[start : start + 500])]
        return project

    def answer(self, who: Account, task: int, *result: dict[str, Any], **fields: Any) -> int:
        """Somebody answers the task with this index; the annotation's id."""
        said = Studio(self.server.url, who.token).annotate(self.ids[task], result, lead_time=fields.pop("lead_time", 7.5), **fields)
        return int(said["id"])

    def edit(self, who: Account, annotation: int, **fields: Any) -> None:
        """Somebody changes an annotation."""
        self._call(who, "PATCH", f"annotations/{annotation}", fields)

    def delete(self, who: Account, annotation: int) -> None:
        """Somebody deletes an annotation."""
        self._call(who, "DELETE", f"annotations/{annotation}")

    def delete_task(self, task: int) -> None:
        """Somebody deletes the task with this index, and with it all that was said."""
        self._call(self.server, "DELETE", f"tasks/{self.ids[task]}")

    def _call(self, who: Account | RunningStudio, method: str, place: str, body: Any = None) -> None:
        header = {"Authorization": f"Token {who.token}"}
        httpx.request(method, f"{self.server.url}/api/{place}/", json=body, headers=header, timeout=60).raise_for_status()


@contextmanager
def running(server: RunningStudio, count: int) -> Iterator[Running]:
    """A campaign with so many tasks, and no trace of it afterwards."""
    made = Running(server, count, f"e-{uuid4().hex[:8]}")
    try:
        yield made
    finally:
        for project in made.studio.projects(campaign_line(made.campaign.name)):
            made.studio.delete_project(project.id)


def people(server: RunningStudio, count: int) -> Sequence[Account]:
    """Annotators."""
    return [server.account(f"e-annotator-{index}") for index in range(count)]
