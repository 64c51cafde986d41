"""A store with a campaign, a release and a learning curve, names that would break a page, and the page."""

from __future__ import annotations

import json
import re
import wave
from pathlib import Path

import numpy as np

from annotation.statements import labels
from annotation.task import Task, ext_id
from pipelines.campaigns.asked import excerpts
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.campaigns.home import note
from pipelines.gather import add
from pipelines.queue.curves import summed
from pipelines.queue.simulate import HEADS, ORDERS, Curve
from pipelines.release.build import release
from pipelines.release.spec import load
from pipelines.report.report import write_report
from pipelines.store import Store
from pipelines.votes.agreement import measure
from pipelines.votes.consensus import agree
from tests.campaigning import choose
from tests.releasing import SECONDS, catalogue, heard

COUNT, RATE = 12, 8000

HOSTILE = "<img src=x onerror=hacked()>'\" & </section><script>hacked()</script>"

MAIL = "<script>hacked()</script>@example.org"

CAMPAIGN = """
name = "moods"
title = "Moods <script>hacked()</script>"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which moods?"
choices = ["calm", "wild", "s<b>a</b>d"]
multiple = true
[[questions]]
name = "key"
kind = "mode"
text = "Which mode?"
choices = ["major", "minor"]
required = true
[clips]
seconds = 10.0
[overlap]
annotators = 3
"""

RELEASE = """
name = "set"
title = "A set <script>hacked()</script>"
features = ["emb.mean"]
[[labels]]
kind = "tag.mood"
question = "mood"
"""


def answers(number: int) -> list[tuple[list[str], str] | None]:
    """What three people say of the clip with this number: moods and mode; the third errs on every fourth clip and skips the last one."""
    moods = (["calm"], ["wild"], ["wild", "s<b>a</b>d"])[number % 3]
    mode = ("major", "minor")[number % 2]
    wrong = (["calm", "wild"], ("minor", "major")[number % 2])
    return [(moods, mode), (moods, mode), None if number == 2 * COUNT - 1 else wrong if number % 4 == 0 else (moods, mode)]


def campaign(folder: Path, store: Store) -> Desk:
    """Three people answer about 24 clips; their answers come home as pages do."""
    (folder / "campaign.toml").write_text(CAMPAIGN)
    desk = open_desk(folder / "campaign.toml", store)
    tasks = [
        Task(
            ext_id(each.clip_id, each.track["sha256"]),
            each.track["track_id"],
            each.clip_id,
            each.start,
            each.seconds,
            "",
            each.track["title"],
        )
        for each in excerpts(desk)
    ]
    desk.remember(tasks)
    when, sent = "2026-03-01T00:{:02d}:00Z", []
    for number, task in enumerate(tasks):
        said = [
            {
                "id": 10 * number + who,
                "completed_by": who,
                "parent_prediction": None,
                "result": [choose("mood", *each[0]), choose("key", each[1])] if each else [],
                "was_cancelled": each is None,
                "lead_time": 5.0 + who,
                "updated_by": None,
                "created_at": when.format(number),
                "updated_at": when.format(number),
            }
            for who, each in enumerate(answers(number))
        ]
        sent.append(
            {"id": number, "data": {"ext_id": task.ext_id}, "updated_at": when.format(number), "predictions": [], "annotations": said}
        )
    with desk.mirror.lock():
        desk.mirror.keep({"project": "1@2026", "users": {"0": "ada@example.org", "1": "bo@example.org", "2": MAIL}, "tasks": sent})
    add(store, labels(desk.mirror, desk.campaign, desk.known()))
    return desk


def grown(order: str, seed: int) -> Curve:
    """A curve that rises to 1 after 100 answers by the queue, after 400 by others; one seed a little above the other."""
    asked = list(range(20, 620, 10))
    height = [min(1.0, (count + 8 * seed) / (100 if order == "queue" else 400)) for count in asked]
    return Curve(order, seed, asked, asked, dict.fromkeys(HEADS, [1.0] if order == "all" else height))


def curve_file(folder: Path) -> Path:
    """As `earmark queue simulate` writes it."""
    found = summed([grown(order, seed) for order in (*ORDERS, "all") for seed in (0, 1)])
    about = {"store": "store", "embeddings": "emb.mean", "kind": f"$x^ {HOSTILE}", "group": "group", "clips": 180}
    about |= {"tags": ["a", "b", HOSTILE], "seeds": 2, "error": 0.15, "annotators": 3, "remarks": [HOSTILE]}
    (folder / "curve.json").write_text(json.dumps(found | about))
    return folder / "curve.json"


class Made:
    """A store with a campaign, a release and a learning curve, and its page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = []
        for number in range(COUNT):
            path = folder / "music" / f"{number} %23#?.wav"
            path.parent.mkdir(exist_ok=True)
            sound(path, 200.0 + 20 * number)
            title = HOSTILE if number % 2 else f"song {number}"
            rows.append({"number": number, "uri": str(path), "sample_rate": RATE, "title": title, "artist": f"{HOSTILE} {number}"})
        rows[3]["license"] = None
        self.store = catalogue(folder, rows)
        heard(self.store, range(COUNT))
        self.desk = campaign(folder, self.store)
        self.status = note(self.desk)
        self.measured = measure(self.desk, draws=50)
        self.agreed = agree(self.desk, dispute=0.04)  # so that some clips are disputed
        (folder / "release.toml").write_text(RELEASE)
        self.release = release(self.store, load(folder / "release.toml"), folder / "out", folder / "release.toml")
        self.curve = curve_file(folder)
        self.page = folder / "page.html"
        write_report(self.store, self.page, 2, [self.curve], [self.release.folder])
        self.html = self.page.read_text()

    def section(self, name: str) -> str:
        found = re.search(rf'<section id="{name}".*?</section>', self.html, re.DOTALL)
        assert found, name
        return found[0]


def sound(path: Path, frequency: float) -> None:
    """Two clips' worth of a tone."""
    time = np.arange(int(2 * SECONDS * RATE)) / RATE
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((0.3 * np.sin(2 * np.pi * frequency * time) * 32767).astype("<i2").tobytes())


def rows(html: str) -> list[list[str]]:
    """The cells of all rows of tables, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in found]


def part(html: str, title: str, level: int = 3) -> str:
    """What stands under a heading."""
    after = html.partition(f"<h{level}>{title}</h{level}>")[2]
    assert after, title
    return re.split(rf"<h[2-{level}]", after)[0]
