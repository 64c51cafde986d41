"""What would keep people from hearing a clip is found before they are invited, and a browser agrees."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from annotation.campaign import Audio, Campaign
from annotation.question import Question
from annotation.task import Task
from extractors.clip import clip_id
from pipelines.campaigns.preflight import Report, preflight
from pipelines.catalog import scan
from pipelines.clips.files import Excerpt, cut
from pipelines.clips.links import Keys, sign
from pipelines.store import Store
from tests.sounds import noise, tone, write
from tests.test_clip_server import serving

RATE, SECONDS = 44_100, 2.0
STUDIO = "http://studio.example:8080"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
CAMPAIGN = Campaign(
    name="moods",
    title="Moods",
    questions=(Question(name="mood", text="Which mood?", kind="tag", choices=("happy", "sad")),),
    audio=Audio(format="mp3"),
)


def task(url: str, seconds: float = SECONDS, number: int = 0) -> Task:
    return Task(f"{number:020x}-00112233", "t" * 20, f"{number:020x}", 0.0, seconds, url)


def lines(report: Report) -> list[str]:
    found = list(map(str, report.failures))
    assert all("\n" not in line for line in found)
    return found


class Odd(BaseHTTPRequestHandler):
    """Serves one sound in every wrong way; the way is the path's first part."""

    sounds: ClassVar[dict[str, bytes]] = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        way, _, query = self.path.strip("/").partition("?")
        body, status, headers = self.sounds.get(way, self.sounds["wav"]), 200, {"Content-Type": "audio/wav"}
        if way == "login":
            body, headers = b"<html>log in</html>", {"Content-Type": "text/html"}
        elif way in ("401", "404", "500"):
            status, body = int(way), b""
        elif way == "moved":
            status, body, headers = 302, b"", {"Location": "/nocors"}
        elif way == "elsewhere":
            status, body, headers = 302, b"", {"Location": f"http://localhost:{self.server.server_port}/wav?key=secret"}
        elif way == "large":
            body *= 40
        elif way == "strict" and query:  # a signature over the whole query breaks when the editor appends to it
            status, body = 403, b""
        if way not in ("nocors",):
            headers["Access-Control-Allow-Origin"] = "https://elsewhere.example" if way == "other" else "*"
        if status == 200 and "range" in self.headers and way != "norange":
            status, headers["Content-Range"] = 206, f"bytes 0-{len(body) - 1}/{len(body)}"
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("odd")
    sounds = {"wav": tone(RATE, SECONDS), "short": tone(RATE, SECONDS - 0.1), "silent": np.zeros((round(RATE * SECONDS), 1), np.float32)}
    Odd.sounds = {name: write(folder / f"{name}.wav", sound, RATE).read_bytes() for name, sound in sounds.items()}
    soundfile.write(folder / "a.aiff", tone(RATE, SECONDS), RATE)
    Odd.sounds |= {"aiff": (folder / "a.aiff").read_bytes(), "text": b"no sound at all", "half": Odd.sounds["wav"][:90_000]}
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_clips_of_a_store_behind_the_clip_server_pass(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    for index, suffix in enumerate((".wav", ".mp3", ".ogg")):
        write(tmp_path / "music" / f"a{suffix}", noise(RATE, 5.0, 0.2, seed=index, channels=2), RATE)
    store = Store(tmp_path / "store")
    scan(store, [str(tmp_path / "music")])
    tracks = store.table("tracks").to_table().to_pylist()
    asked = [Excerpt(clip_id(row["track_id"], start, 2.0), row, start, 2.0) for row in tracks for start in (0.0, 2.5)]
    keys, until = Keys(tmp_path / "store/campaigns/clip-keys"), datetime.now(UTC) + timedelta(days=30)
    for encoding in ("mp3", "ogg", "flac", "wav"):
        made = cut(store, asked, encoding)
        with serving(tmp_path / "store/clips", keys) as url:
            tasks = [task(sign(url, made.files[each.name], until, keys), 2.0, index) for index, each in enumerate(asked)]
            report = preflight(tasks, CAMPAIGN, "http://localhost:8080")
            assert (report.failures, report.warnings, report.tasks, report.heard) == ([], [], 6, 6), encoding
            bad = [task(tasks[0].audio.replace("/c/", "/c/1"), 2.0), task(sign(url, made.files[asked[0].name], until, keys), 2.06)]
            forbidden, longer = lines(preflight(bad, CAMPAIGN, "http://localhost:8080"))
    name = made.files[asked[0].name]
    assert forbidden == (
        f"task {bad[0].ext_id} ({url}/c/…/{name}): 403 Forbidden; sign it anew by applying the campaign, with the keys that the server has"
    )
    assert "2.000 s of sound where the catalogue says 2.060 s; regions would land elsewhere" in longer
    gone = lines(preflight(tasks[:1], CAMPAIGN, "http://localhost:8080"))[0]  # the server has ended
    assert "no answer" in gone
    assert re.search(r"[\w-]{43}/", gone) is None


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("wav", None),
        ("norange", None),
        ("silent", None),
        ("nocors", "no Access-Control-Allow-Origin, so browsers keep the sound from http://localhost:8080; allow it"),
        ("other", "Access-Control-Allow-Origin is https://elsewhere.example"),
        ("moved", "no Access-Control-Allow-Origin"),
        ("elsewhere", "it points to another host, localhost; set audio.base_url to where the clips are"),
        ("large", "more than 4120576 bytes for 2 s of sound; "),
        ("login", "a web page (text/html) where sound should be"),
        ("401", "401 Unauthorized; no login reaches the editor's requests"),
        ("404", "404 Not Found; cut the clips again"),
        ("500", "500 Internal Server Error"),
        ("strict", "403 Forbidden when lsref=1 is appended"),
        ("text", "not audio that libsndfile or FFmpeg can read (15 bytes)"),
        ("short", "1.900 s of sound where the catalogue says 2.000 s"),
        ("half", "s of sound where the catalogue says 2.000 s"),
        ("aiff", "aiff, which not every browser plays"),
    ],
)
def test_each_fault_is_named_in_one_line(odd: str, way: str, cause: str | None) -> None:
    url = f"{odd}/{way}?x=1" if way in ("wav",) else f"{odd}/{way}"
    report = preflight([task(url)], CAMPAIGN, "http://localhost:8080")
    found = lines(report)
    if cause is None:
        assert found == []
        assert [warning.cause.split(":")[0] for warning in report.warnings] == {
            "norange": ["no Range"],
            "silent": ["silent throughout"],
        }.get(way, [])
    else:
        assert len(found) == 1
        assert f"task {task('').ext_id} ({url}): " in found[0]
        assert cause in found[0]
        assert "; " in found[0]


def test_a_link_that_the_store_signed_is_not_appended_to(odd: str) -> None:
    report = preflight([task(f"{odd}/strict?X-Amz-Signature=0f")], CAMPAIGN, "http://localhost:8080")
    assert "403 Forbidden; " in lines(report)[0]  # this server refuses any query; that it was lsref's would be said
    assert "0f" not in lines(report)[0]


@pytest.mark.parametrize(
    ("url", "studio", "cause"),
    [
        ("http://clips.invalid/a.mp3", "https://studio.example", "plain http, and https://studio.example is https"),
        ("http://127.0.0.1:1/a.mp3", "https://studio.example", "127.0.0.1 is each annotator's own machine"),
        ("s3://bucket/a.mp3", STUDIO, "a browser cannot open s3://; presign it"),
        ("a.mp3", None, "it is no URL"),
        ("http://[::1/a.mp3", STUDIO, "it is no URL (Invalid IPv6 URL)"),
        ("http://clips.invalid:99999/a.mp3", STUDIO, "no answer"),
    ],
)
def test_addresses_that_no_annotator_reaches_are_named(url: str, studio: str | None, cause: str) -> None:
    assert any(cause in line for line in lines(preflight([task(url)], CAMPAIGN, studio)))


def test_links_that_end_too_soon_are_named(odd: str, tmp_path: Path) -> None:
    keys, name = Keys(tmp_path / "keys"), "0" * 20 + "-00112233.mp3"
    tomorrow, yesterday = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
    soon, over = (sign(f"{odd}/wav?", name, at, keys).replace("?/c", "/c") for at in (tomorrow, yesterday))
    found = lines(preflight([task(soon), task(over)], CAMPAIGN, "http://localhost:8080"))
    assert f"its link ends at {tomorrow:%Y-%m-%d %H:%M} UTC, in less than 3 days" in found[0]
    assert f"its link was over at {yesterday:%Y-%m-%d %H:%M} UTC; apply the campaign again" in found[1]
    amazon = f"{odd}/wav?X-Amz-Date={datetime.now(UTC):%Y%m%dT%H%M%SZ}&X-Amz-Expires=60&X-Amz-Signature=0f"
    assert "presigned links hold for seven days at most" in lines(preflight([task(amazon)], CAMPAIGN, "http://localhost:8080"))[0]
    assert not lines(preflight([task(amazon)], CAMPAIGN, "http://localhost:8080", lasting=timedelta(seconds=30)))


def test_screen_and_predictions_are_looked_at_too(odd: str) -> None:
    own = CAMPAIGN.model_copy(update={"interface": "<View><Audio name='audio' value='$audio'/></View>"})
    assert [line for line in lines(preflight([task(f"{odd}/wav")], own, STUDIO)) if line.startswith("the screen: ")]

    def given(_: Task) -> list[dict]:
        item = {"from_name": "mood", "to_name": "audio", "type": "choices", "value": {"choices": ["furious"]}}
        return [{"model_version": "MusiCNN@0123", "score": 7.5, "result": [item]}]

    found = lines(preflight([task(f"{odd}/wav")], CAMPAIGN, "http://localhost:8080", predictions=given))
    assert any("prediction of MusiCNN@0123: score: not between 0 and 1, got 7.5" in line for line in found)
    assert any("furious" in line for line in found)
    assert "it has no tasks" in lines(preflight([], CAMPAIGN))[0]


def test_a_sample_is_spread_over_all_tasks(odd: str) -> None:
    tasks = [task(f"{odd}/{'404' if index in (0, 499, 999) else 'wav'}", number=index) for index in range(1000)]
    report = preflight(tasks, CAMPAIGN, "http://localhost:8080", sample=5)
    assert (report.tasks, report.heard) == (1000, 3)
    assert {finding.about for finding in report.failures} == {f"task {tasks[index].ext_id}" for index in (0, 999)}


PAGE = """<!doctype html><script>
const found = {};
const hear = async (url) => {
  const audio = new Audio();
  audio.crossOrigin = "anonymous";
  const loaded = new Promise((done) => { audio.onloadedmetadata = () => done(true); audio.onerror = () => done(false); });
  audio.src = url;
  let decoded = null;
  try {
    const answer = await fetch(url + "?lsref=1");
    decoded = (await new OfflineAudioContext(1, 1, 44100).decodeAudioData(await answer.arrayBuffer())).duration;
  } catch (error) {}
  found[url] = [await loaded, decoded];
};
Promise.all(URLS.map(hear)).finally(
  () => document.body.insertAdjacentHTML("beforeend", `<output>${JSON.stringify(found)}</output>`));
</script><body></body>"""


@needs_a_browser
@pytest.mark.slow
def test_a_browser_hears_just_what_passes(odd: str, tmp_path: Path) -> None:
    urls = [f"{odd}/{way}" for way in ("wav", "norange", "short", "nocors", "other", "moved", "login", "404", "strict", "text", "aiff")]
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("URLS", json.dumps(urls)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--mute-audio"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    heard = json.loads(re.findall(r"<output>({.*?})</output>", done.stdout)[0])
    assert set(heard) == set(urls)
    for url in urls:
        loaded, seconds = heard[url]
        right = loaded and seconds is not None and abs(seconds - SECONDS) <= 0.05
        assert right == (not preflight([task(url)], CAMPAIGN, "http://localhost:8080").failures), (url, heard[url])
