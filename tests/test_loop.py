"""The whole loop by its commands, on real recordings and a real Label Studio: answers, consensus, queue, head, guesses, release."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from annotation.labels import Label, from_rows, write
from annotation.results import to_result
from annotation.revisions import current
from annotation.simulated import Annotator, simulate, spoken
from annotation.studio import Studio
from annotation.task import campaign_line
from pipelines.campaigns.cli import CHANGES
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.embeddings import embeddings
from pipelines.heads.files import load
from pipelines.release.loader import Release
from pipelines.store import Store
from tests.collection import earmark
from tests.studio import RunningStudio

CORPUS = Path(os.environ.get("EARMARK_CORPUS", "/nowhere")) / "philharmonia"
INSTRUMENTS = ("cello", "double-bass", "flute", "french-horn", "oboe", "trombone")
EACH = 12  # recordings of an instrument, each of another pitch
UNSEEN = ("A4", "B3", "C2", "C4", "C5", "D2", "D5")  # pitches that nobody is asked about before a head has guessed
PEOPLE, ERROR, OVERLAP = 5, 0.15, 3
FLOOR = 0.6  # macro-F1 at unseen pitches
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
    pytest.mark.timeout(900),  # the fixture does all the work, a minute and a half of it on a quiet machine
    pytest.mark.skipif(not CORPUS.is_dir(), reason="EARMARK_CORPUS names no corpus"),
]


@dataclass
class Loop:
    """What went through the commands.

    names: of the campaigns, by their files. told, again: what each command printed the first time and the second.
    said: (clip, author, value) of every answer. early: clips that were heard before the queue was made.
    """

    folder: Path
    server: RunningStudio
    names: dict[str, str]
    told: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, str, str]] = field(default_factory=list)
    early: set[str] = field(default_factory=set)

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

    def clips(self) -> dict[str, str]:
        """What plays in each clip that anybody was asked about."""
        truth = self.truth()
        return {task.clip_id: truth[task.track_id] for name in self.names for task in self.desk(name).known()}

    def tracks(self) -> list[dict[str, Any]]:
        """The catalogue."""
        rows = self.store.read("tracks")
        assert rows is not None
        return list(rows.to_pylist())

    def once(self, name: str, *command: str | Path, code: int = 0) -> None:
        """A command on the store."""
        self.told[name] = earmark(*command, "--store", self.store.root, code=code)

    def twice(self, name: str, *command: str | Path) -> None:
        """A command on the store, and the same once more."""
        self.once(name, *command)
        self.again[name] = earmark(*command, "--store", self.store.root)

    def campaign(self, name: str) -> tuple[str | Path, ...]:
        """What follows `earmark campaign COMMAND`."""
        return self.file(name), *self.place

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
            list(pool.map(work, range(PEOPLE)))

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
    head = ("train-head", "--embeddings", EMBEDDINGS, "--kind", "instrument", "--exclusive", "--groups", "group", "--folds", "3")
    loop.twice("scan", "scan", loop.folder / "manifest.csv")
    loop.twice("run", "run", loop.file("recipe"), "--engine", "local")
    gold(loop)
    loop.once("labels", "labels", "add", loop.folder / "gold.parquet")
    loop.once("plan", "campaign", "plan", *loop.campaign("asked"), code=CHANGES)
    loop.twice("apply", "campaign", "apply", *loop.campaign("asked"))
    loop.answer("asked", seed=1, share=0.7)
    loop.once("early pull", "campaign", "pull", *loop.campaign("asked"))
    loop.early = {clip for clip, *_ in loop.said}
    loop.twice("queue", "queue", *loop.campaign("asked"), "--embeddings", EMBEDDINGS, "--limit", "12")
    loop.answer("asked", seed=2)
    loop.twice("pull", "campaign", "pull", *loop.campaign("asked"))
    loop.once("agreement", "agreement", loop.file("asked"))
    loop.twice("consensus", "consensus", loop.file("asked"))
    loop.twice("train-head", *head, "--out", loop.folder / "head")
    loop.once("next plan", "campaign", "plan", *loop.campaign("next"), code=CHANGES)
    loop.once("next apply", "campaign", "apply", *loop.campaign("next"))
    loop.answer("next", seed=3)
    loop.once("next pull", "campaign", "pull", *loop.campaign("next"))
    loop.once("next consensus", "consensus", loop.file("next"))
    loop.twice("release", "release", loop.file("release"), "--out", loop.folder / "out")
    loop.once("judged", *head, "--out", loop.folder / "judged", "--release", loop.told["release"]["folder"])
    loop.once("report", "report", "--out", loop.folder / "page.html")


def gold(loop: Loop) -> None:
    """Somebody has noted what plays in eight of the recordings."""
    truth = loop.truth()
    heard = sorted(row["track_id"] for row in loop.tracks() if row["group"] not in UNSEEN)
    write([Label("instrument", truth[track], "mira", "gold", track) for track in heard[:8]], loop.folder / "gold.parquet")


def test_what_is_pulled_is_what_people_said(loop: Loop) -> None:
    assert sorted(loop.standing("person")) == sorted(loop.said)
    assert loop.told["early pull"]["answers"] + loop.told["pull"]["answers"] + loop.told["next pull"]["answers"] == len(loop.said)
    gold = math.ceil(0.1 * len(loop.desk("asked").known()))
    heard = Counter(clip for clip, *_ in loop.said)
    assert sorted(heard.values()) == [OVERLAP] * (len(heard) - gold) + [PEOPLE] * gold


def test_people_agree_as_far_as_their_errors_let_them(loop: Loop) -> None:
    (whole,) = (each for each in loop.told["agreement"]["agreement"] if each["question"] == "instrument" and not each["value"])
    # Two agree if both are right, or wrong in the same way; chance is one in six.
    agree, chance = (1 - ERROR) ** 2 + ERROR**2 / (len(INSTRUMENTS) - 1), 1 / len(INSTRUMENTS)
    assert whole["low"] < (agree - chance) / (1 - chance) < whole["high"]
    assert whole["annotators"] == PEOPLE


def test_the_consensus_is_right_where_single_people_are_wrong(loop: Loop) -> None:
    truth = loop.clips()
    single = np.mean([truth[clip] != value for clip, _, value in loop.said])
    assert abs(single - ERROR) < 3 * math.sqrt(ERROR * (1 - ERROR) / len(loop.said))
    agreed = loop.standing("consensus")
    assert {author for _, author, _ in agreed} == {"consensus:dawid-skene"}
    assert {clip for clip, *_ in agreed} == {clip for clip, *_ in loop.said}
    assert sum(truth[clip] != value for clip, _, value in agreed) <= single * len(agreed) / 2


def test_the_queue_asks_for_clips_that_nobody_heard_and_for_disputed_ones(loop: Loop) -> None:
    told = loop.told["queue"]
    rows = pq.read_table(loop.desk("asked").folder / "queue.parquet").to_pylist()
    assert told["front"] == [row["ext_id"] for row in rows[:12]]
    clips = {task.ext_id: task.clip_id for task in loop.desk("asked").known()}
    server = Studio(loop.server.url, loop.server.token)
    index = server.index(server.project(loop.names["asked"])[0])
    fresh = {clips[each.ext_id] for each in index if each.overlap < PEOPLE} - loop.early  # what is known is not asked
    assert {row["clip_id"] for row in rows if not row["votes"]} == fresh
    assert all(row["votes"] < OVERLAP or row["reason"].startswith("disputed") for row in rows)
    assert [each.ext_id for each in sorted(index, key=lambda each: each.data.get("queue") or "9")[:12]] == told["front"]


def test_a_head_knows_the_instruments_at_pitches_that_it_never_heard(loop: Loop) -> None:
    judged = loop.told["judged"]["figures"]["test"]
    assert judged["clips"] == len(loop.desk("next").known()) > 20
    assert judged["classes"]["macro_f1"] > FLOOR
    assert judged["classes"]["guessing"]["macro_f1"] < 0.1


def test_the_next_campaign_starts_from_what_the_head_says(loop: Loop) -> None:
    head, clips = load(loop.folder / "head"), embeddings(loop.store, *EMBEDDINGS.split("."))
    chances = dict(zip(clips.clips, head.probabilities(clips.vectors), strict=True))
    expected = {}
    for task in loop.desk("next").known():
        likely = [
            (chance, tag) for chance, tag, high in zip(chances[task.clip_id], head.tags, head.thresholds, strict=True) if chance >= high
        ]
        if likely:
            expected[task.ext_id] = max(likely)[1]
    server = Studio(loop.server.url, loop.server.token)
    project = server.project(loop.names["next"])[0]
    names = {each.id: each.ext_id for each in server.index(project)}
    guesses = server.predictions(project)
    sent = {names[each.task]: each.result[0]["value"]["choices"][0] for each in guesses}
    assert sent == expected
    assert loop.told["next plan"]["predictions"] == len(sent) > len(names) / 2
    truth = {task.ext_id: loop.truth()[task.track_id] for task in loop.desk("next").known()}
    assert np.mean([truth[name] == guess for name, guess in sent.items()]) > FLOOR


def test_no_pitch_crosses_the_release_and_every_row_has_its_licence(loop: Loop) -> None:
    folder = Path(loop.told["release"]["folder"])
    proof = json.loads((folder / "proof.json").read_text())
    assert proof["crossing"] == {"tracks": 0, "groups": 0, "mixed_in": 0}
    released = Release(folder)
    pitch = {row["track_id"]: row["group"] for row in loop.tracks()}
    pitches = {split: {pitch[name] for name in released.table(split).to_pandas()["track_id"]} for split in released.splits}
    assert pitches["test"] == set(UNSEEN)
    assert not any(one & other for one, other in combinations(pitches.values(), 2))
    rows = pd.concat([released.table(split).to_pandas() for split in released.splits])
    assert set(rows["license"]) == {"CC-BY-SA-3.0"}
    truth = loop.clips()
    agreed = {clip: value for clip, _, value in loop.standing("consensus")}
    known = {label.track_id for label in from_rows(loop.store.read("labels")) if label.author_kind == "gold"}
    for row in rows.itertuples():
        assert list(row.instrument) == [truth[row.clip_id] if row.track_id in known else agreed[row.clip_id]]


def test_the_release_is_batches_of_tensors(loop: Loop) -> None:
    released = Release(loop.told["release"]["folder"])
    rows = list(released.torch("train", ["max_pool_mean", "instrument_hot"], batch_size=8, shuffle=True, seed=3))
    assert rows[0]["max_pool_mean"].shape == (8, 753)
    assert rows[0]["instrument_hot"].shape == (8, len(INSTRUMENTS))
    hot = np.concatenate([batch["instrument_hot"].numpy() for batch in rows])
    assert len(hot) == released.manifest["splits"]["train"]["rows"]
    assert (hot.sum(axis=1) == 1).all()


def test_a_second_time_each_command_does_nothing(loop: Loop) -> None:
    again = loop.again
    assert again["scan"]["new"] == 0
    assert again["run"]["planned"] == 0
    assert again["apply"]["done"] == {}
    assert (again["queue"]["changed"], again["queue"]["front"]) == (0, loop.told["queue"]["front"])
    assert (again["pull"]["answers"], again["pull"]["labels"]) == (0, 0)
    assert (again["consensus"]["added"], loop.told["consensus"]["added"] > 0) == (0, True)
    assert again["train-head"] == loop.told["train-head"]
    assert (again["release"]["new"], again["release"]["digest"]) == (False, loop.told["release"]["digest"])
    assert [path.name for path in (loop.folder / "out" / "orchestra").iterdir() if not path.name.startswith(".")] == ["v1"]


def test_the_report_tells_of_all_of_it(loop: Loop) -> None:
    page = (loop.folder / "page.html").read_text()
    assert "note 3" in page
