"""The whole loop as a user goes it, by the commands: recordings, answers on a real Label Studio, consensus, queue, head, guesses, release."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from annotation.label_studio import Studio
from annotation.labels import Label, from_rows, write
from annotation.results import to_result
from annotation.revisions import current
from annotation.simulated import Annotator, simulate, spoken
from annotation.task import campaign_line
from pipelines.campaigns.cli import CHANGES
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.store import Store
from tests.collection import earmark
from tests.studio import Account, RunningStudio

CORPUS = Path(os.environ.get("EARMARK_CORPUS", "/nowhere")) / "philharmonia"
INSTRUMENTS = ("bass-clarinet", "cello", "double-bass", "flute", "french-horn", "oboe", "saxophone", "trombone")
EACH = 14  # recordings of an instrument, each of another pitch
UNSEEN = ("A4", "B3", "C2", "C4", "C5", "D2", "D5")  # pitches that nobody is asked about before a head has guessed
PEOPLE, ERROR, OVERLAP = 5, 0.15, 3
EMBEDDINGS = "musicnn.max_pool_mean"
ARTIST = "Philharmonia Orchestra"
RECIPE = """
[window]
seconds = 3.0
[[extract]]
use = "MusiCNN"
outputs = ["max_pool"]
"""
CAMPAIGN = """
name = "{name}"
title = "What plays?"
[[questions]]
name = "instrument"
kind = "instrument"
text = "What plays?"
choices = {choices}
required = true
[clips]
seconds = 3.0
order = "random"
where = [["group", "{where}", {unseen}], ["seconds", "<=", 3.0]]
[overlap]
annotators = 3
team = 5
"""
GOLD = """
[gold]
file = "gold.parquet"
share = 0.1
"""
GUESSES = """
[predictions]
head = "head"
"""
RELEASE = """
name = "orchestra"
title = "Instruments of an orchestra"
features = ["musicnn.max_pool_mean"]
[[labels]]
kind = "instrument"
question = "instrument"
[split]
shares = {{ train = 0.6, valid = 0.2, test = 0.2 }}
close = ["artist", "group", "bytes"]
ignore = {{ artist = ["{artist}"] }}
where = {{ test = [["group", "in", {unseen}]] }}
[licences]
allow = ["CC-BY-SA"]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="EARMARK_CORPUS names no corpus"),
]


@dataclass
class Loop:
    """What went through the commands.

    told, again: what each command printed the first time and the second. said: (clip, author, value) of every answer.
    """

    folder: Path
    server: RunningStudio
    names: dict[str, str]
    told: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """Of the loop."""
        return Store(self.folder / "store")

    def desk(self, campaign: str) -> Desk:
        """A campaign, by its file's name."""
        return open_desk(self.folder / f"{campaign}.toml", self.store)

    def truth(self) -> dict[str, str]:
        """What plays in each recording: the folder that it lies in."""
        return {row["track_id"]: Path(row["uri"]).parent.name for row in self.tracks()}

    def tracks(self) -> list[dict[str, Any]]:
        """The catalogue."""
        rows = self.store.read("tracks")
        assert rows is not None
        return list(rows.to_pylist())

    def do(self, name: str, *command: str | Path, code: int = 0) -> None:
        """A command on the store, given twice."""
        given = (*command, "--store", self.store.root)
        import time; t0=time.time()
        self.told[name] = earmark(*given, code=code)
        t1=time.time(); self.again[name] = earmark(*given, code=code)
        print(f"TIME {name} {t1-t0:.1f} {time.time()-t1:.1f}", flush=True)

    def campaign(self, command: str, name: str) -> None:
        """`earmark campaign COMMAND`, given twice."""
        self.do(f"{command} {name}", "campaign", command, self.file(name), *self.place, code=CHANGES if command == "plan" else 0)

    def file(self, name: str) -> Path:
        """A file of the loop."""
        return self.folder / f"{name}.toml"

    @property
    def place(self) -> tuple[str | Path, ...]:
        """Options that name the server."""
        return "--url", self.server.url, "--token-file", self.folder / "token"

    def answer(self, name: str, seed: int, share: float = 1.0) -> None:
        """Five people answer this share of the clips that have no answer, with errors; all of them hear the clips with known answers."""
        desk, truth, heard = self.desk(name), self.truth(), {clip for clip, *_ in self.said}
        studio = Studio(self.server.url, self.server.token)
        there = {each.ext_id: each for each in studio.index(studio.project(desk.campaign.name)[0])}
        tasks = [task for task in desk.known() if task.clip_id not in heard]
        tasks = tasks[: round(share * len(tasks))]
        people = [self.server.account(f"loop-{number}") for number in range(PEOPLE)]
        jobs: list[list[tuple[int, Label]]] = [[] for _ in people]
        for overlap in (OVERLAP, PEOPLE):
            asked = {task.clip_id: task for task in tasks if there[task.ext_id].overlap == overlap}
            places = np.array([INSTRUMENTS.index(truth[task.track_id]) for task in asked.values()], np.int64)
            given = [Annotator(error=ERROR)] * PEOPLE
            about = INSTRUMENTS, list(asked), [task.track_id for task in asked.values()]
            votes = simulate(places, given, overlap, seed, *about, question="instrument", kind="instrument")
            for label in spoken(votes, desk.campaign.name):
                who = votes.annotators.index(label.author)
                clip = str(label.clip_id)
                jobs[who].append((there[asked[clip].ext_id].id, label))
                self.said.append((clip, people[who].email, label.value))

        def work(who: int) -> None:
            own = Studio(self.server.url, people[who].token)
            for task, label in jobs[who]:
                own.annotate(task, to_result([label], desk.campaign), lead_time=5.0)

        with ThreadPoolExecutor(PEOPLE) as pool:
            import time; t0=time.time(); list(pool.map(work, range(PEOPLE))); print(f"TIME answers {time.time()-t0:.1f} {sum(map(len,jobs))}")

    def standing(self, author_kind: str) -> list[tuple[str, str, str]]:
        """What stands in the store: clip, author, value."""
        labels = self.store.read("labels")
        assert labels is not None
        found = [label for label in current(from_rows(labels)) if label.author_kind == author_kind]
        return [(str(label.clip_id), label.author, label.value) for label in found]


@pytest.fixture(scope="module")
def loop(studio: RunningStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """All commands, one after the other."""
    folder = tmp_path_factory.mktemp("loop")
    name = f"loop-{uuid4().hex[:8]}"
    made = Loop(folder, studio, {"asked": name, "next": f"{name}-next"})
    write_files(made)
    try:
        go(made)
        yield made
    finally:
        server = Studio(studio.url, studio.token)
        for each in made.names.values():
            for project in server.projects(campaign_line(each)):
                server.delete_project(project.id)


def write_files(loop: Loop) -> None:
    """What a user writes: a manifest, a recipe, two campaigns, a release."""
    with open(loop.folder / "manifest.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("uri", "title", "artist", "license", "group"))
        for number, path in enumerate(recordings()):
            rows.writerow((path, f"note {number}", ARTIST, "CC BY-SA 3.0", path.stem.split("_")[1]))
    choices, unseen = json.dumps(INSTRUMENTS), json.dumps(UNSEEN)
    for name, where, more in (("asked", "not in", GOLD), ("next", "in", GUESSES)):
        loop.file(name).write_text(CAMPAIGN.format(name=loop.names[name], choices=choices, where=where, unseen=unseen) + more)
    loop.file("recipe").write_text(RECIPE)
    loop.file("release").write_text(RELEASE.format(unseen=unseen, artist=ARTIST))
    (loop.folder / "token").write_text(loop.server.token)


def recordings() -> list[Path]:
    """Short natural notes, each pitch of an instrument once."""
    found = []
    for name in INSTRUMENTS:
        by_pitch: dict[str, Path] = {}
        for path in sorted((CORPUS / name).glob("*.mp3")):
            _, pitch, length, *_ = path.stem.split("_")
            if len(pitch) == 2 and length in ("025", "05", "1"):
                by_pitch.setdefault(pitch, path)
        found += list(by_pitch.values())[:EACH]
    return found


def go(loop: Loop) -> None:
    """The loop."""
    head = ("--embeddings", EMBEDDINGS, "--kind", "instrument", "--exclusive", "--groups", "group")
    loop.do("scan", "scan", loop.folder / "manifest.csv")
    loop.do("run", "run", loop.file("recipe"), "--engine", "local")
    gold(loop)
    loop.do("labels", "labels", "add", loop.folder / "gold.parquet")
    loop.campaign("plan", "asked")
    loop.campaign("apply", "asked")
    loop.answer("asked", seed=1, share=0.7)
    loop.told["early pull"] = earmark("campaign", "pull", loop.file("asked"), *loop.place, "--store", loop.store.root)
    loop.do("queue", "queue", loop.file("asked"), "--embeddings", EMBEDDINGS, "--limit", "12", *loop.place)
    loop.answer("asked", seed=2)
    loop.campaign("pull", "asked")
    loop.do("agreement", "agreement", loop.file("asked"))
    loop.do("consensus asked", "consensus", loop.file("asked"))
    loop.do("train-head", "train-head", *head, "--out", loop.folder / "head")
    loop.campaign("plan", "next")
    loop.campaign("apply", "next")
    loop.answer("next", seed=3)
    loop.campaign("pull", "next")
    loop.do("consensus next", "consensus", loop.file("next"))
    loop.do("release", "release", loop.file("release"), "--out", loop.folder / "out")
    loop.do("unseen", "train-head", *head, "--out", loop.folder / "unseen", "--release", loop.told["release"]["folder"])
    loop.do("report", "report", "--out", loop.folder / "page.html")


def gold(loop: Loop) -> None:
    """Somebody has noted what plays in eight of the recordings."""
    truth = loop.truth()
    heard = sorted(row["track_id"] for row in loop.tracks() if row["group"] not in UNSEEN)
    write([Label("instrument", truth[track], "mira", "gold", track) for track in heard[:8]], loop.folder / "gold.parquet")


def test_dump(loop: Loop) -> None:
    for key, value in loop.told.items():
        print(key, json.dumps(value)[:1500])
        print("   again", json.dumps(loop.again.get(key))[:300])
    json.dump({"told": loop.told, "again": loop.again, "said": loop.said}, open("/tmp/L/loop.json", "w"))
    import shutil

    shutil.rmtree("/tmp/L/kept", ignore_errors=True)
    shutil.copytree(loop.folder, "/tmp/L/kept")
