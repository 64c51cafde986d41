"""The page's sections on campaigns, learning curves and releases: what was measured, and nothing that a name could break."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.report.together import co_occurrence
from tests.releasing import SECONDS
from tests.reporting import COUNT, Made, part, rows
from tests.test_report import CHROMIUM


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("sections"))


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
