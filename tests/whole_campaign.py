"""A campaign from recordings to labels by the command line, with people whose answers are known: how many is the caller's to say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from annotation.labels import Label, from_rows
from annotation.results import to_result
from annotation.revisions import current
from annotation.studio import Studio
from annotation.task import campaign_line
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.store import Store
from tests.collection import earmark, tones
from tests.studio import Account, RunningStudio

RECIPE = """
[window]
seconds = 3.0
[[extract]]
use = "MusiCNN"
outputs = ["tags"]
"""
CAMPAIGN = """
name = "{name}"
title = "A whole campaign 🎻"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which moods?"
choices = ["calm", "wild", "traurig 🎻"]
multiple = true
[[questions]]
name = "key"
kind = "key"
text = "Which key?"
required = true
[[questions]]
name = "instruments"
kind = "instrument"
text = "What plays, and where?"
choices = ["guitar", "piano", "strings"]
regions = true
[clips]
seconds = 3.0
order = "random"
seed = 4
[overlap]
annotators = 3
[predictions]
table = "musicnn"
threshold = 0.05
[predictions.map.instruments]
guitar = "guitar"
piano = "piano"
violin = "strings"
strings = "strings"
"""


@dataclass
class Whole:
    """A store that was scanned and heard, and its campaign on a server."""

    folder: Path
    server: RunningStudio
    name: str

    @property
    def desk(self) -> Desk:
        """The campaign as the command line sees it."""
        return open_desk(self.folder / "campaign.toml", Store(self.folder / "store"))

    def command(self, name: str, *more: str, code: int = 0) -> dict[str, Any]:
        """`earmark campaign NAME`."""
        place = ("--url", self.server.url, "--token-file", str(self.folder / "token")) if name != "status" else ()
        return earmark("campaign", name, self.folder / "campaign.toml", "--store", self.folder / "store", *place, *more, code=code)

    def standing(self) -> list[tuple[Any, ...]]:
        """What people say in the store today."""
        table = Store(self.folder / "store").read("labels")
        rows = current(from_rows(table)) if table is not None else []
        return sorted((said(label) for label in rows if label.kind != "nothing"), key=str)


def said(label: Label) -> tuple[Any, ...]:
    """What a label says, whenever it was said."""
    return (label.clip_id, label.author, label.kind, label.value, label.start, label.duration, label.campaign)


@contextmanager
def whole(folder: Path, server: RunningStudio, name: str, tracks: int, seconds: float) -> Iterator[Whole]:
    """Recordings, scanned and heard, and a campaign's file; its project is gone afterwards."""
    tones(folder / "audio", tracks, seconds)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "campaign.toml").write_text(CAMPAIGN.format(name=name))
    (folder / "token").write_text(server.token)
    earmark("scan", folder / "audio", "--store", folder / "store")
    earmark("run", folder / "recipe.toml", "--store", folder / "store", "--engine", "local")
    try:
        yield Whole(folder, server, name)
    finally:
        studio = Studio(server.url, server.token)
        for project in studio.projects(campaign_line(name)):
            studio.delete_project(project.id)


def answer(made: Whole, people: list[Account], each: int = 3) -> list[tuple[Any, ...]]:
    """Every clip is answered by `each` of the people, all at once; what they said, as `Whole.standing` has it."""
    desk, studio = made.desk, Studio(made.server.url, made.server.token)
    tasks = {task.ext_id: task for task in desk.known()}
    index = studio.index(studio.project(made.name)[0])
    spoken: list[tuple[Any, ...]] = []
    jobs: dict[str, list[tuple[int, list[Label]]]] = {person.email: [] for person in people}
    for number, there in enumerate(index):
        task = tasks[there.ext_id]
        for person in [people[(number + turn) % len(people)] for turn in range(each)]:
            rng = random.Random(f"{there.ext_id} {person.email}")
            labels = [replace(label, campaign=made.name) for label in opinion(rng, person.email, task.track_id, task.clip_id, task.seconds)]
            spoken += [said(label) for label in labels]
            jobs[person.email].append((there.id, labels))

    def work(person: Account) -> None:
        own = Studio(made.server.url, person.token)
        for task_id, labels in jobs[person.email]:
            own.annotate(task_id, to_result(labels, desk.campaign), lead_time=5.0)

    with ThreadPoolExecutor(len(people)) as pool:
        list(pool.map(work, people))
    return sorted(spoken, key=str)


def opinion(rng: random.Random, who: str, track: str, clip: str, seconds: float) -> list[Label]:
    """What somebody answers to the three questions."""

    def label(kind: str, value: str, start: float | None = None, duration: float | None = None) -> Label:
        return Label(kind, value, who, "person", track, clip, start, duration)

    moods = [label("tag.mood", mood) for mood in ("calm", "wild", "traurig 🎻") if rng.random() < 0.4]
    key = label("key", rng.choice(["C major", "A minor", "F# minor", "Bb major"]))
    start = round(rng.uniform(0, seconds / 2), 3)
    region = label("instrument", rng.choice(["guitar", "piano", "strings"]), start, round(rng.uniform(0.1, seconds - start), 3))
    return [*moods, key, *([region] if rng.random() < 0.7 else [])]
