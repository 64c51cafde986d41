"""The page's sections on campaigns, learning curves and releases: what was measured, bounded, and nothing that a name could break."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import wave
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation.statements import labels
from annotation.task import Task, ext_id
from pipelines.campaigns.asked import excerpts
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.campaigns.home import note
from pipelines.cli import main
from pipelines.gather import add
from pipelines.queue.curves import summed
from pipelines.queue.simulate import HEADS, ORDERS, Curve
from pipelines.release.build import release
from pipelines.release.spec import load
from pipelines.report.links import link, stretch
from pipelines.report.report import write_report
from pipelines.report.together import co_occurrence
from pipelines.store import Store
from pipelines.votes.agreement import measure
from pipelines.votes.consensus import agree
from tests.campaigning import choose
from tests.releasing import SECONDS, catalogue, heard
from tests.test_report import CHROMIUM

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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("sections"))


def rows(html: str) -> list[list[str]]:
    """The cells of all rows of tables, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in found]


def part(html: str, title: str, level: int = 3) -> str:
    """What stands under a heading."""
    after = html.partition(f"<h{level}>{title}</h{level}>")[2]
    assert after, title
    return re.split(rf"<h[2-{level}]", after)[0]


def test_progress_is_that_of_the_last_status(made: Made) -> None:
    section = made.section("campaign-1")
    assert "23 of 24 clips done · people differ about 6 · 71 answers · 1 to come · 1 skips" in section
    stages = {row[0]: row[2] for row in rows(part(section, "Progress")) if len(row) == 3}
    assert stages == {"stage": "clips", "done": "23", "in progress": "1", "skipped": "0", "open": "0"}
    people = rows(part(section, "Who answered"))[1:]
    assert [row[:4] for row in people[:2]] == [["ada@example.org", "24", "0", "5 s"], ["bo@example.org", "24", "0", "6 s"]]
    assert people[2][1:4] == ["23", "1", "7 s"]


def test_the_status_command_keeps_what_the_page_shows(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    kept = made.desk.folder / "status.json"
    kept.unlink()
    assert main(["campaign", "status", str(made.desk.file), "--store", made.store.root, "--json"]) == 0
    told, said = json.loads(capfd.readouterr().out), json.loads(kept.read_text())
    assert len(told.pop("clips")) == said.pop("clips") == 24
    assert (said.pop("title"), said.pop("problems_in_all")) == (made.desk.campaign.title, 0)
    assert said == told


def test_agreement_stands_worst_first_with_its_intervals(made: Made) -> None:
    shown = rows(part(made.section("campaign-1"), "Agreement"))[1:]
    scored = [each for each in made.measured.agreement if each.score is not None]
    assert [row[0] for row in shown] == [f"{each.question}: {_escaped(each.value)}" if each.value else each.question for each in scored]
    assert [row[2] for row in shown] == [f"{each.score:.2f} {each.low:.2f} … {each.high:.2f}" for each in scored]
    assert [float(row[2].split()[0]) for row in shown] == sorted(float(row[2].split()[0]) for row in shown)


def _escaped(value: str) -> str:
    return value.replace("<", "&lt;").replace(">", "&gt;")


def test_the_confusion_of_people_is_krippendorffs_coincidence_matrix(made: Made) -> None:
    # Twelve clips are major, one of three people errs on six of these; twelve are minor, one of which has two answers.
    section = part(made.section("campaign-1"), "Confusion between people")
    assert rows(part(section, "key", 4)) == [["", "major", "minor"], ["major", "24", "6"], ["minor", "6", "35"]]
    mood = rows(part(section, "mood", 4))
    assert mood[0] == ["", "calm", "s&lt;b&gt;a&lt;/b&gt;d", "wild", "(nothing)"]
    cells = np.array([[float(cell) for cell in row[1:]] for row in mood[1:]])
    np.testing.assert_array_equal(cells, cells.T)


def test_people_are_shown_with_intervals_the_least_informed_first_and_what_is_out_of_the_ordinary(made: Made) -> None:
    section = part(made.section("campaign-1"), "How well people hear")
    for agreed in made.agreed.agreed:
        shown = rows(part(section, agreed.question.name, 4))[1:]
        expected = [rate for each in agreed.quality for rate in (each.sensitivity, each.specificity) if rate]
        assert [row[2] for row in shown] == [f"{rate.share:.2f} {rate.low:.2f} … {rate.high:.2f}" for rate in expected]
        assert shown[0][0] == "&lt;script&gt;hacked()&lt;/script&gt;@example.org"
        for each in agreed.quality:
            assert all(_escaped(fact) in section for fact in each.facts)


def test_disputed_clips_are_heard_from_where_they_begin(made: Made) -> None:
    kept = pq.read_table(made.desk.folder / "consensus.parquet").to_pylist()
    disputed = {row["key"] for row in kept if row["disputed"]}
    assert len(disputed) >= 2
    section = made.section("campaign-1")
    starts = {task.clip_id: task.start for task in made.desk.known()}
    players = re.findall(r"#t=(\d+),(\d+)", section)
    assert len(players) == min(6, len(disputed))
    assert {float(begin) for begin, _ in players} <= {starts[name] for name in disputed}
    assert {int(end) - int(begin) for begin, end in players} == {SECONDS}


def test_the_learning_curve_is_a_picture_and_a_table_of_the_same_numbers(made: Made) -> None:
    section = made.section("curve-1")
    assert re.findall(r'<img alt="learning curves of [^"]+" src="data:image/svg\+xml;base64,', section)
    needed = {row[0]: row[1:] for row in rows(part(section, "discriminant")) if len(row) == 5}
    # 95 % of 1 is where count + 8 * seed reaches 95 % of 100 or of 400, in steps of ten; the mean of both seeds where count + 4 does.
    assert needed["queue"] == ["100, 90", "100", "100", "3.8 ×"]
    assert needed["random"] == ["380, 380", "380", "380", "1 ×"]
    points = {row[0]: row[1:] for row in rows(part(section, "Macro-F1 by answers", 4))[1:]}
    assert list(points) == ["20", "40", "80", "160", "320", "610"]
    assert points["80"][0].startswith(f"{(80 + 4) / 400:.2f} (")
    assert points["80"][-1].startswith(f"{(80 + 4) / 100:.2f} (")


def test_the_release_shows_splits_tags_terms_and_what_was_left_out(made: Made) -> None:
    section, proof = made.section("release-1"), made.release.proof
    splits = rows(part(section, "Splits"))[1:]
    assert [row[:2] for row in splits] == [[each["split"], str(each["rows"])] for each in proof["splits"]]
    assert sum(int(row[1]) for row in splits) == 2 * (COUNT - 1)
    tags = {row[0]: row[1:] for row in rows(part(section, "Tags: tag_mood").partition("<h4>")[0])[1:]}
    found = {(each["tag"], each["split"]): f"{each['rows']} ({each['artists']})" for each in proof["tags"]}
    assert tags["wild"] == [found["wild", split] for split in ("train", "valid", "test")]
    assert "none crosses a split" in part(section, "Proof against leaks")
    assert rows(part(section, "Licences"))[1:] == [["CC-BY-4.0", "", "22"]]
    assert [row[-2:] for row in rows(part(section, "Left out, and why"))[1:]] == [["1", "1"]]


def test_tags_that_occur_together_are_those_of_the_untouched_clips(made: Made, tmp_path: Path) -> None:
    shown = rows(part(made.section("release-1"), "Tags that occur together", 4))
    names = ["calm", "s&lt;b&gt;a&lt;/b&gt;d", "wild"]
    assert sorted(shown[0][1:]) == names
    # What stands in the release, counted the slow way.
    released = [set(row["tag_mood"]) for file in made.release.folder.glob("*/part-*.parquet") for row in pq.read_table(file).to_pylist()]
    raw = {"calm": "calm", names[1]: "s<b>a</b>d", "wild": "wild"}
    for row in shown[1:]:
        for name, cell in zip(shown[0][1:], row[1:], strict=True):
            assert int(cell) == sum({raw[row[0]], raw[name]} <= tags for tags in released)
    hot = np.array([[1, 1, np.nan], [1, 0, 1], [1, 1, 1]], np.float32)
    columns = {"view": pa.array([0, 0, 1], pa.int32()), "hot": pa.FixedSizeListArray.from_arrays(pa.array(hot.ravel()), 3)}
    pq.write_table(pa.table(columns), tmp_path / "part.parquet")
    np.testing.assert_array_equal(co_occurrence([tmp_path / "part.parquet"], "hot", 3), [[2, 1, 1], [1, 1, 0], [1, 0, 1]])


def test_the_nearest_pairs_are_linked_relative_to_the_page_from_the_second_that_matters(made: Made) -> None:
    section = part(made.section("release-1"), "Nearest clips of different splits")
    links = re.findall(r'<audio[^>]* src="([^"]*)#t=(\d+),(\d+)"', section)
    sides = [pair[side] for pair in made.release.proof["nearest"]["pairs"] for side in ("a", "b")]
    assert len(links) == len(sides) >= 4
    for (source, begin, end), side in zip(links, sides, strict=True):
        assert (made.folder / unquote(source)).resolve() == Path(side["uri"]).resolve()
        assert (float(begin), float(end)) == (side["start"], side["start"] + side["seconds"])


def test_names_of_people_tags_titles_and_kinds_stay_text(made: Made) -> None:
    assert "<script>hacked" not in made.html
    assert "<img src=x" not in made.html
    assert "s<b>" not in made.html
    assert made.html.count("&lt;script&gt;hacked()") > 20


def test_no_name_becomes_an_element_or_an_attribute(made: Made) -> None:
    scripts, strange = 0, []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            nonlocal scripts
            scripts += tag == "script"
            run = [name for name, value in attributes if name.startswith("on") or "javascript:" in (value or "").lower()]
            foreign = tag in ("img", "iframe", "object", "embed", "base", "form") and "data:image" not in dict(attributes).get("src", "")
            if run or foreign:
                strange.append((tag, attributes))

    page = Page()
    page.feed(made.html)
    page.close()
    assert strange == []
    assert scripts == 1  # the page's own


def test_a_page_without_any_of_these_has_none_of_them(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', html) == ["collection"]
    assert "<nav" not in html


def test_a_campaign_says_which_commands_have_not_run_and_which_files_cannot_be_read(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    folder = tmp_path / "store/campaigns/moods"
    folder.mkdir(parents=True)
    (folder / "tasks.json").write_text("[]")
    (folder / "agreement.json").write_text('{"agreement": [{}]}')
    (folder / "consensus.parquet").write_text("<script>hacked()</script>")
    (tmp_path / "store/campaigns/keys").write_text("secret of the clip server")
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "status.json is not there yet: <code>earmark campaign status CAMPAIGN.toml --store STORE</code> makes it." in html
    assert "agreement.json cannot be read (KeyError: &#x27;accepted&#x27;): <code>earmark agreement" in html
    assert "annotators.json is not there yet" in html
    assert "consensus.parquet cannot be read (" in html
    assert "secret" not in html


def test_what_is_no_curve_or_no_release_is_named_in_one_line(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*options: str) -> str:
        assert main(["report", "--store", made.store.root, "--out", str(tmp_path / "page.html"), *options]) == 2
        assert not (tmp_path / "page.html").exists()
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    (tmp_path / "other.json").write_text('{"kind": "x"}')
    assert f"{tmp_path}/no.json: cannot be read (No such file or directory)" in told("--curve", str(tmp_path / "no.json"))
    assert "no learning curve (KeyError: 'tags'); name a file that 'earmark queue simulate --out' wrote" in told(
        "--curve", str(tmp_path / "other.json")
    )
    assert "name one of its versions: v1" in told("--release", str(made.release.folder.parent))
    assert "no release" in told("--release", str(tmp_path))
    shutil.copytree(made.release.folder, tmp_path / "v1")
    (tmp_path / "v1/proof.json").write_text('{"splits": [{}]}')
    assert f"not as it was released (KeyError: 'rows'); 'earmark release verify {tmp_path}/v1' says" in told("--release", f"{tmp_path}/v1")


def test_what_a_browser_cannot_fetch_is_not_linked(tmp_path: Path) -> None:
    (tmp_path / "a #.wav").write_text("")
    page = tmp_path / "page.html"
    assert stretch(link(str(tmp_path / "a #.wav"), page), 1.25, 0.5) == "a%20%23.wav#t=1.25,1.75"
    assert link("https://example.org/a.mp3", page) == "https://example.org/a.mp3"
    for uri in (str(tmp_path / "gone.wav"), "s3://bucket/a.wav", "javascript:hacked()"):
        assert stretch(link(uri, page), 0.0, 1.0) == ""


def test_two_hundred_people_five_hundred_tags_and_thirty_campaigns_make_no_large_page(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    tags = [f"tag {number}" for number in range(500)]
    rate = {"share": 0.8, "low": 0.7, "high": 0.9, "of": 50}
    quality = [
        {"annotator": f"person {number}", "answers": 50, "basis": "others", "sensitivity": rate, "specificity": rate, "precision": None}
        | {"drift": None, "seconds": 5.0, "facts": ["says little"]}
        for number in range(200)
    ]
    score = {"question": "mood", "measure": "alpha", "score": 0.5, "low": 0.4, "high": 0.6, "clips": 9, "annotators": 3}
    score |= {"why": "", "accepted": False, "detail": {}}
    found = {"method": "majority", "clips": 100_000, "answers": 300_000, "disputed": 9, "counts": dict.fromkeys(tags, 5), "remarks": []}
    found |= {"annotators": quality, "confusion": {one: dict.fromkeys(tags, 0.002) for one in tags}}
    person = {"answers": 9, "skips": 0, "lead_time_s": None, "accepted": None, "edited_by_others": 0, "deleted": 0}
    status = dict.fromkeys(("done", "in_progress", "skipped", "open", "disputed", "answers", "skips", "wanted", "strangers"), 1)
    status |= {
        "clips": 100_000,
        "per_hour": None,
        "newest": None,
        "expected_end": None,
        "title": "Large",
        "problems": [],
        "problems_in_all": 0,
    }
    written = {
        "status.json": status | {"annotators": [{**person, "author": f"person {number}"} for number in range(200)]},
        "agreement.json": {
            "agreement": [{**score, "value": tag} for tag in tags],
            "confusion": {"mood": [[one, other, 1.0] for at, one in enumerate(tags) for other in tags[at:]]},
            "meanings": {},
            "draws": 10,
            "seed": 0,
        },
        "annotators.json": {"questions": {"mood": found}},
    }
    for number in range(30):
        folder = tmp_path / f"store/campaigns/c{number:02}"
        folder.mkdir(parents=True)
        for name, content in written.items() if number == 0 else [("tasks.json", [])]:
            (folder / name).write_text(json.dumps(content))
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert len(html) < 300_000
    for line in (
        "160 people who answered less are not shown",
        "460 higher scores are in agreement.json",
        "486 values that are confused less are in agreement.json",
        "486 rarer values are in annotators.json",
        "185 people, who hear better or cannot be judged, are in annotators.json",
        "18 are not shown: c12, c13",
    ):
        assert line in html


def test_a_score_without_an_interval_is_shown_without_one_and_one_without_a_score_with_its_reason(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    folder = tmp_path / "store/campaigns/moods"
    folder.mkdir(parents=True)
    plain = {
        "question": "beats",
        "value": "",
        "clips": 2,
        "answers": 4,
        "annotators": 2,
        "accepted": False,
        "detail": {"pairs": 3, "octave": 2},
    }
    said = [
        {**plain, "measure": "alpha", "score": -0.25, "low": None, "high": None, "why": "no interval: 2 clips"},
        {**plain, "measure": "start deviation", "score": 0.031, "low": 0.02, "high": 0.04, "why": ""},
        {**plain, "measure": "Cohen's kappa", "score": None, "low": None, "high": None, "why": "all answers are one person's"},
        {**plain, "measure": "exact", "score": 0.9, "low": 0.8, "high": 1.0, "why": "", "accepted": True},
    ]
    (folder / "agreement.json").write_text(json.dumps({"agreement": said, "confusion": {}, "meanings": {}, "draws": 10, "seed": 0}))
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    shown = rows(part(html, "Agreement"))
    assert ["beats", "", "-0.25", "alpha; 2 clips, 2 people; octave 2; no interval: 2 clips"] in shown
    assert ["beats", "start deviation", "0.031 s", "0.020 … 0.040", "2"] in shown
    assert "beats, Cohen&#x27;s kappa: all answers are one person&#x27;s" in html
    assert rows(part(html, "Agreement with answers that merely accepted a pre-annotation"))[1][2] == "0.90 0.80 … 1.00"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        started = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"])
        yield started
        started.close()


@pytest.fixture(params=[390, 1280])
def shown(request: pytest.FixtureRequest, made: Made, browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """The page in a window as wide as a telephone's or a desk's, and what it asked for."""
    window = browser.new_page(viewport={"width": request.param, "height": 900})
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    window.add_init_script("window.hacked = () => { window.broken = true; }")
    window.goto(made.page.as_uri())
    yield window, asked
    window.close()


def test_in_a_browser_nothing_is_wider_than_the_page_and_nothing_is_asked_of_the_network(shown: tuple[Any, list[str]], made: Made) -> None:
    window, asked = shown
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert window.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert not window.evaluate("window.broken")
    assert asked[0] == made.page.as_uri()
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_in_a_browser_headings_follow_each_other_and_pictures_have_words(shown: tuple[Any, list[str]]) -> None:
    window, _ = shown
    levels = window.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    nameless = """[...document.querySelectorAll("img, svg, audio, [role=slider], [role=region]")].filter((each) =>
        !(each.alt || each.getAttribute("aria-label") || each.getAttribute("aria-hidden"))).length"""
    assert window.evaluate(nameless) == 0
    ids = window.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    targets = window.evaluate("[...document.querySelectorAll('nav a')].map((each) => each.getAttribute('href').slice(1))")
    assert {"collection", "campaign-1", "curve-1", "release-1", "tracks"} <= set(targets) <= set(ids)


def test_in_a_browser_the_tab_key_reaches_links_players_and_wide_tables_in_their_order(shown: tuple[Any, list[str]]) -> None:
    window, _ = shown
    places = "[...document.querySelectorAll('a[href], audio, .stage, .wide[tabindex]')]"
    count = window.evaluate(f"{places}.length")
    reached: list[int] = []
    for _ in range(12 * count):  # a player has several stops of its own
        window.keyboard.press("Tab")
        at = window.evaluate(f"{places}.indexOf(document.activeElement)")
        if not reached or reached[-1] != at:
            reached.append(at)
        if at == count - 1:
            break
    assert reached == list(range(count))
    window.evaluate("document.querySelector('nav a[href=\"#release-1\"]').focus()")
    window.keyboard.press("Enter")
    assert window.evaluate("Math.abs(document.querySelector('#release-1').getBoundingClientRect().top) < 50")


def test_in_a_browser_a_pair_plays_from_its_second_and_one_sound_at_a_time(shown: tuple[Any, list[str]], made: Made) -> None:
    window, _ = shown
    sides = [pair[side] for pair in made.release.proof["nearest"]["pairs"] for side in ("a", "b")]
    at = next(place for place, side in enumerate(sides) if side["start"] > 0)
    script = """async ([one, other]) => {
        const players = document.querySelectorAll("ol.heard audio");
        players[other].muted = players[one].muted = true;
        await players[other].play();
        await players[one].play();
        const found = [players[one].currentTime, players[other].paused];
        players[one].pause();
        return found;
    }"""
    time, paused = window.evaluate(script, [at, (at + 1) % len(sides)])
    assert time == pytest.approx(sides[at]["start"], abs=0.5)
    assert paused
    assert window.evaluate("[...document.querySelectorAll('.heard .silent')].every((each) => each.hidden)")
