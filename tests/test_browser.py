"""An annotator in a real browser, from signing in to the table of labels: what was heard, chosen and drawn is what is pulled."""

from __future__ import annotations

import functools
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np
import pytest

from annotation.labels import Label, from_rows
from annotation.pull import pull
from annotation.revisions import NOTHING
from annotation.statements import labels
from annotation.studio import Studio
from annotation.sync import apply
from annotation.task import Task, campaign_line
from pipelines.campaigns.asked import wanted
from pipelines.campaigns.cli import CHANGES
from pipelines.cli import main
from pipelines.clips.links import Keys, expiry
from pipelines.clips.server import server
from pipelines.store import Store
from tests.buckets import KEY, SECRET, TOKEN, enter, holding, new_bucket, s3_server
from tests.campaigning import choose
from tests.studio import Account, RunningStudio
from tests.test_backend import MODEL, PATCH, SECONDS, make_desk, running, tones

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PLAY = re.compile("playback-button:(play|pause)")
STEP = 0.02  # seconds: two pixels of the waveform


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """A browser's window; where it was last is in `last.png` of the test's folder."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1500, "height": 1000})
        window.set_default_timeout(60_000)
        yield window
        window.screenshot(path=tmp_path / "last.png")
        browser.close()


class Editor:
    """Label Studio's page for one clip after the other, as somebody uses it."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder, self.number = page, folder, 0

    def sign_in(self, url: str, person: Account) -> None:
        self.page.goto(f"{url}/user/login/")
        self.page.fill("input[name=email]", person.email)
        self.page.fill("input[name=password]", person.password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(lambda place: "login" not in place)

    def begin(self, url: str, project: int) -> None:
        self.page.goto(f"{url}/projects/{project}/data")
        self.page.get_by_text("Label All Tasks").click()

    def listen(self) -> None:
        """Play a second of the clip; its waveform and its spectrogram are there."""
        self.page.wait_for_function("document.querySelector('[data-testid=waveform-audio]')?.readyState >= 3")
        # The sound swells and fades twice a second: the wave is dark on white where it is loud, the spectrogram bright on dark.
        loud, faint = [7.25, 7.75, 8.25, 8.75], [7.0, 7.5, 8.0, 8.5]
        self.until(lambda: self.brightness(0.2, 0.4, loud) < self.brightness(0.2, 0.4, faint) - 20, "no waveform")
        assert self.sound("currentTime") == 0
        self.page.get_by_test_id(PLAY).click()
        self.until(lambda: self.sound("currentTime") > 1, "the clip does not play")
        self.page.get_by_test_id(PLAY).click()
        # Label Studio draws the first one only when it draws anything after its library has come.
        self.until(lambda: self.brightness(0.5, 1.0, loud) < 200, "no spectrogram")
        assert self.brightness(0.88, 0.96, loud) > self.brightness(0.88, 0.96, faint) + 10
        self.picture("heard")

    def until(self, true: Any, otherwise: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, otherwise
            self.page.wait_for_timeout(100)

    def brightness(self, top: float, bottom: float, seconds: Sequence[float]) -> float:
        """Of the picture of the sound at these times, between two heights (0 is the top, 1 the bottom); 255 is white."""
        script = """([top, bottom, places]) => {
            const canvas = document.querySelector('#waveform-layer-main'), first = Math.round(top * canvas.height);
            const rows = Math.round(bottom * canvas.height) - first, context = canvas.getContext('2d');
            return places.flatMap(place => {
                const pixels = context.getImageData(Math.round(place * canvas.width), first, 1, rows).data;
                return Array.from({length: rows}, (_, row) => {
                    const [red, green, blue, alpha] = pixels.subarray(4 * row);
                    return 255 - alpha + (red + green + blue) / 3 * alpha / 255;
                });
            });
        }"""
        levels = self.page.evaluate(script, [top, bottom, [each / SECONDS for each in seconds]])
        return float(np.mean(levels))

    def sound(self, what: str) -> Any:
        return self.page.evaluate(f"document.querySelector('[data-testid=waveform-audio]').{what}")

    def choose(self, choice: str) -> None:
        """Tick a choice, or take its tick away."""
        self.page.locator(f"input[name='{choice}']").click()

    def chosen(self) -> list[str]:
        boxes = self.page.locator(".lsf-choice input")
        return [box.get_attribute("name") for box in boxes.all() if box.is_checked()]

    def drag(self, begin: float, end: float) -> None:
        """Press at one second of the clip and let go at another."""
        box = self.page.locator("#waveform-layer-main").bounding_box()
        across, height = box["width"] / SECONDS, box["y"] + 0.25 * box["height"]
        self.page.mouse.move(box["x"] + begin * across, height)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + (begin + end) / 2 * across, height, steps=5)
        self.page.mouse.move(box["x"] + end * across, height, steps=5)
        self.page.mouse.up()

    def draw(self, label: str, begin: float, end: float) -> None:
        before = self.regions()
        self.page.locator(".lsf-label", has_text=label).click()
        self.drag(begin, end)
        self.until(lambda: len(self.regions()) == len(before) + 1, f"no region {label}")
        self.page.keyboard.press("Escape")  # nothing is selected any longer

    def regions(self) -> list[str]:
        return sorted(self.page.locator(".lsf-outliner-item__title").all_inner_texts())

    def submit(self) -> None:
        self.picture("before-submit")
        with self.page.expect_response(lambda answer: answer.request.method == "POST" and "/annotations" in answer.url) as answer:
            self.page.get_by_test_id("bottombar-submit-button").click()
        assert answer.value.status == 201

    def picture(self, name: str) -> None:
        """A screenshot in the test's folder, for people."""
        self.number += 1
        self.page.screenshot(path=self.folder / f"{self.number}-{name}.png")


def test_what_somebody_hears_chooses_and_draws_is_what_is_pulled(page: Any, studio: RunningStudio, tmp_path: Path) -> None:
    folder, door = tmp_path / "campaign", Studio(studio.url, studio.token)
    (folder / "store").mkdir(parents=True)
    with running(server(folder / "store/clips", Keys(folder / "store/campaigns/keys"), port=0)) as clips:
        desk = make_desk(folder, f"g-{uuid4().hex[:8]}", "mp3", more=f'base_url = "{clips}"\n')
        said, _ = wanted(desk)
        first, second, third, unheard = said.tasks
        assert list(said.guesses) == [first.ext_id, second.ext_id, third.ext_id]
        project = apply(door, said).project.id
        person, editor = studio.account("listener"), Editor(page, tmp_path)
        try:
            editor.sign_in(studio.url, person)
            editor.begin(studio.url, project)

            # The first clip sounds, and its guesses are right.
            editor.listen()
            assert editor.sound("src") == first.audio
            assert editor.sound("duration") == pytest.approx(SECONDS, abs=0.05)
            assert (editor.chosen(), editor.regions()) == (["calm"], ["voice"])
            editor.submit()

            # Of the second one, the mood is another, the singing lasts longer, and there is a guitar.
            editor.listen()
            editor.choose("calm")
            editor.choose("happy")
            editor.page.locator(".lsf-outliner-item__title", has_text="voice").click()
            editor.drag(2 * PATCH, 7.0)
            editor.page.keyboard.press("Escape")
            editor.draw("guitar", 0.5, 2.0)
            assert (editor.chosen(), editor.regions()) == (["happy"], ["guitar", "voice"])
            editor.submit()

            # Nobody sings in the third.
            editor.listen()
            editor.page.locator(".lsf-outliner-item__title", has_text="voice").click()
            editor.page.keyboard.press("Backspace")
            editor.until(lambda: not editor.regions(), "the region stays")
            editor.submit()

            # The model has not heard the last one, which begins empty.
            editor.listen()
            assert (editor.chosen(), editor.regions()) == ([], [])
            for mood in ("happy", "sad"):
                editor.choose(mood)
            editor.draw("guitar", 1.0, 3.0)
            editor.draw("voice", 4.0, 6.5)
            editor.submit()

            pulled = pull(door, desk.mirror, desk.campaign)
            assert (pulled.answers, pulled.new) == (4, 4)
            found = labels(desk.mirror, desk.campaign, desk.known())
            assert {label.author for label in found} == {person.email}
            assert said_of(first, found) == [("instrument", "voice", PATCH, PATCH), ("tag.mood", "calm", None, None)]
            close = functools.partial(pytest.approx, abs=STEP)
            assert said_of(second, found) == [
                ("instrument", "guitar", close(0.5), close(1.5)),
                ("instrument", "voice", close(PATCH), close(7.0 - PATCH)),
                ("tag.mood", "happy", None, None),
            ]
            assert said_of(third, found) == [(NOTHING, "voice", None, None), ("tag.mood", "calm", None, None)]
            assert said_of(unheard, found) == [
                ("instrument", "guitar", close(1.0), close(2.0)),
                ("instrument", "voice", close(4.0), close(2.5)),
                ("tag.mood", "happy", None, None),
                ("tag.mood", "sad", None, None),
            ]
            kept = {row.ext_id: (row.from_prediction, row.changed) for row in desk.mirror.latest().values()}
            assert kept == {
                first.ext_id: (MODEL, False),
                second.ext_id: (MODEL, True),
                third.ext_id: (MODEL, True),
                unheard.ext_id: ("", None),
            }
        finally:
            editor.picture("end")
            door.delete_project(project)


def said_of(task: Task, found: Iterable[Label]) -> list[tuple[str, str, float | None, float | None]]:
    """What labels say of a clip, sorted."""
    mine = [label for label in found if label.clip_id == task.clip_id]
    assert {(label.track_id, label.author_kind) for label in mine} == {(task.track_id, "person")}
    return sorted((label.kind, label.value, label.start, label.duration) for label in mine)


BUCKET_CAMPAIGN = """
name = "{name}"
title = "{name}"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which mood?"
choices = ["calm", "happy"]
[clips]
seconds = 10.0
[audio]
format = "mp3"
{more}
"""


def test_clips_in_a_bucket_are_heard_by_links_that_are_renewed_and_no_answer_is_lost(
    page: Any, studio: RunningStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, door, name = tmp_path / "campaign", Studio(studio.url, studio.token), f"g-{uuid4().hex[:8]}"
    folder.mkdir()
    tones(folder / "low.wav", 20.0, 220, 277.2, 329.6)
    (folder / "token").write_text(studio.token)
    file, person = folder / "campaign.toml", studio.account("listener")
    with s3_server() as endpoint:
        enter(monkeypatch, endpoint)
        bucket = new_bucket(endpoint)
        bucket.upload_file(str(folder / "low.wav"), "deep/low.wav")
        store = f"s3://{bucket.name}/store"
        said: list[str] = []

        def earmark(command: str, code: int = 0) -> str:
            place = ("--store", store, "--url", studio.url, "--token-file", str(folder / "token"))
            assert main(["campaign", command, str(file), *place]) == code
            said.extend(capfd.readouterr())
            return said[-2]

        monkeypatch.setattr("pipelines.engines.supervisor.supervised", lambda *_: None)  # it would fork pytest
        assert main(["scan", f"s3://{bucket.name}/deep", "--store", store]) == 0
        file.write_text(BUCKET_CAMPAIGN.format(name=name, more="expires_hours = 0.0003"))
        try:
            # Links of a second, and rules that let nobody in.
            assert "its link ends at" in earmark("preflight", code=1)
            assert "links end with the session that signs them" in earmark("plan", code=CHANGES)
            earmark("apply")
            project = door.project(name)[0]
            before = door.index(project)
            first = door.annotate(before[0].id, [choose("mood", "calm")], lead_time=5.0)["id"]

            # Links of seven days take their place, and nothing else changes.
            file.write_text(BUCKET_CAMPAIGN.format(name=name, more=""))
            lines = earmark("preflight", code=1).splitlines()
            way = f"so browsers keep the sound from {studio.url}; allow GET from there in the bucket's CORS rules"
            assert [way in line for line in lines] == [False, True, True]
            rules = {"AllowedOrigins": [studio.url], "AllowedMethods": ["GET", "HEAD"], "AllowedHeaders": ["*"]}
            bucket.Cors().put(CORSConfiguration={"CORSRules": [rules]})
            assert earmark("preflight").startswith("2 of 2 clips were heard as a browser would")
            assert "2 tasks changed" in earmark("apply")
            assert "nothing to do" in earmark("plan")
            after = door.index(project)
            assert [(each.id, each.ext_id, each.answers) for each in after] == [
                (each.id, each.ext_id, answers) for each, answers in zip(before, (1, 0), strict=True)
            ]
            assert [each["id"] for task in door.tasks(project, [before[0].id]) for each in task["annotations"]] == [first]

            # The clip that nobody has answered yet plays, and where somebody clicks.
            editor = Editor(page, tmp_path)
            editor.sign_in(studio.url, person)
            editor.begin(studio.url, project)
            editor.listen()
            link = editor.sound("src")
            assert link == after[1].data["audio"]
            assert expiry(link) > datetime.now(UTC) + timedelta(days=6)
            assert editor.sound("duration") == pytest.approx(SECONDS, abs=0.05)
            assert "8.00" in editor.page.evaluate(SEEK, 8.0)
            answer = httpx.get(link, headers={"Origin": studio.url, "Range": "bytes=1000-1999"})
            assert (answer.status_code, len(answer.content), answer.headers["content-type"]) == (206, 1000, "audio/mpeg")
            assert answer.headers["access-control-allow-origin"] == studio.url
            editor.choose("happy")
            editor.submit()
            assert "2 new answers" in earmark("pull")
            found = from_rows(Store(store).read("labels"))
            assert {(label.clip_id, label.kind, label.value) for label in found} == {
                (str(after[0].data["clip_id"]), "tag.mood", "calm"),
                (str(after[1].data["clip_id"]), "tag.mood", "happy"),
            }
            assert person.email in {label.author for label in found}
            secrets = (SECRET, KEY, TOKEN, quote(TOKEN, safe=""), "X-Amz-Signature")
            assert not [secret for secret in secrets if secret in "".join(said)]
            assert not holding(secrets, folder)
            assert not [each.key for each in bucket.objects.all() if any(word.encode() in each.get()["Body"].read() for word in secrets)]
        finally:
            for project_id in {each.id for each in door.projects(campaign_line(name))}:
                door.delete_project(project_id)


SEEK = """second => new Promise(done => {
    const sound = document.querySelector('[data-testid=waveform-audio]');
    sound.onseeked = () => done(sound.currentTime.toFixed(2));
    sound.currentTime = second;
})"""
