"""The page that people look at: right pictures at the right time, players that seek, nothing that a name could break."""

import json
import os
import re
import shutil
import subprocess
import wave
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest

from pipelines.catalog import scan
from pipelines.report.pictures import Stretch, along, colours, png
from pipelines.report.report import write_report
from pipelines.store import Store
from tests.test_table import field, flat

SECONDS, RATE = 6.0, 8000
FRAMES, BANDS, PATCHES = 60, 32, 2
TAGS = ("loud", "<u>tag</u>", "quiet")
HOSTILE = "<img src=x onerror=hacked()>'\" & %2e#?.wav"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


def silence_then_tone(path: Path, frequency: float) -> None:
    """Three seconds of nothing, three of a tone."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    sound = np.where(time < SECONDS / 2, 0, 0.5 * np.sin(2 * np.pi * frequency * time))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def features(store: Store, table: str, use: str, columns: dict[str, tuple[np.ndarray, dict[str, object]]]) -> None:
    """A table with one clip per track, written as a run writes it."""
    for shard in store.names("tracks"):
        tracks = store.read("tracks", names=[shard])["track_id"].to_pylist()
        arrays = {
            "clip_id": pa.array(tracks),
            "view": pa.array([0] * len(tracks), pa.int32()),
            "track_id": pa.array(tracks),
            "start": pa.array([0.0] * len(tracks)),
            "seconds": pa.array([SECONDS] * len(tracks)),
        }
        fields = [field(name, array) for name, array in arrays.items()]
        for name, (value, metadata) in columns.items():
            arrays[name] = flat(np.stack([value] * len(tracks)))
            fields.append(field(name, arrays[name], shape=value.shape, **metadata))
        footer = {"extractor": {"use": use}, "window": {"seconds": SECONDS}}
        rows = pa.table(list(arrays.values()), schema=pa.schema(fields, {"earmark": json.dumps(footer)}))
        with store.writer(table, shard, rows.schema, variant="v") as part:
            part.append(rows)
            part.publish(len(tracks))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Two good recordings and one of text, all with hostile names, and their features."""
    music = tmp_path_factory.mktemp("music")
    silence_then_tone(music / HOSTILE, 440)
    silence_then_tone(music / "low.wav", 220)
    (music / "<b>text<script>hacked()<.mp3").write_text("no sound at all")
    store = Store(music.parent / "store")
    scan(store, [str(music)])
    mel = np.full((FRAMES, BANDS), -80, np.float16)
    mel[FRAMES // 2 :, : BANDS // 2] = -3  # the tone: later half, lower half of the bands
    features(store, "logmel", "LogMel", {"mel": (mel, {"dims": ["time", "mel"]})})
    tags = np.array([[0.1, 0.3, 0.9], [0.9, 0.3, 0.2]], np.float32)
    features(store, "musicnn", "MusiCNN", {"tags": (tags, {"dims": ["patch", "tag"], "labels": TAGS})})
    return store


@pytest.fixture
def html(store, tmp_path) -> str:
    write_report(store, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text()


def test_a_png_holds_the_levels_in_the_colour_map(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "p.png").write_bytes(png(np.array([[0.0, 0.5, 1.0, np.nan], [2.0, -1.0, np.inf, 1.0]])))
    pixels = np.asarray(image.open(tmp_path / "p.png").convert("RGBA")).astype(int)
    dark, bright = colours()[[1, 255]].astype(int)
    for place, colour in (((0, 0), dark), ((0, 2), bright), ((1, 0), bright), ((1, 1), dark), ((0, 1), colours()[128].astype(int))):
        assert np.abs(pixels[place][:3] - colour).max() <= 1, place
    np.testing.assert_array_equal(pixels[..., 3], [[255, 255, 255, 0], [255, 255, 0, 255]])


def test_the_colour_map_grows_lighter_all_the_way():
    red, green, blue = (colours() / 255.0).T
    assert (np.diff(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2) > -1e-3).all()


def test_frames_lie_where_they_sound_whatever_the_windows_are():
    ramp = np.linspace(0, 1, 1000)[:, None]
    apart = [Stretch(start, 2.5, ramp[int(start * 100) : int(start * 100) + 250]) for start in (0.0, 2.5, 5.0, 7.5)]
    overlapping = [Stretch(start, 5.0, ramp[int(start * 100) : int(start * 100) + 500]) for start in (0.0, 2.5, 5.0)]
    expected = (np.arange(100) + 0.5) / 100
    for stretches in (apart, overlapping, [Stretch(0.0, 10.0, ramp)]):
        np.testing.assert_allclose(along(stretches, 10.0, 100)[0], expected, atol=0.006)


def test_the_page_asks_nothing_of_the_network_and_links_sound_relative_to_itself(html, store, tmp_path):
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", html)
    assert {source.partition(":")[0] for source in sources if source.startswith(("data:", "http", "//"))} == {"data"}
    assert not re.search(r"@import|url\(", html)
    assert f'src="{os.path.relpath(Path(store.root).parent, tmp_path)}' in html.replace("%20", " ")


def test_names_from_files_tags_and_errors_stay_text(html):
    assert "<script>hacked" not in html
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=hacked()&gt;&#x27;&quot; &amp; %2e#?.wav" in html
    assert "&lt;u&gt;tag&lt;/u&gt;" in html


def test_tags_come_by_their_mean_and_rejects_by_their_cause(html, store):
    names = re.findall(r'<div class="tag[^"]*"><span>(.*?)</span><i>(.*?)</i>', html)[:3]
    assert names == [("quiet", "0.55"), ("loud", "0.50"), ("&lt;u&gt;tag&lt;/u&gt;", "0.30")]
    reject = store.open_rejects()[0]
    assert f"1 could not be used: 1 {reject['error']}." in html
    assert reject["remedy"].replace("'", "&#x27;") in html


def test_a_store_that_was_only_scanned_has_a_page_too(tmp_path):
    (tmp_path / "music").mkdir()
    silence_then_tone(tmp_path / "music/a.wav", 300)
    silence_then_tone(tmp_path / "music/b.wav", 400)
    scan(Store(tmp_path / "store"), [str(tmp_path / "music")])
    (tmp_path / "music/a.wav").unlink()
    write_report(Store(tmp_path / "store"), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert html.count("No features yet.") == 2
    assert html.count("no waveform: ") == 1
    assert html.count("<audio") == html.count("<svg") == 1
    assert "None: every file could be used." in html
    write_report(Store(tmp_path / "store"), tmp_path / "one.html", tracks=1)
    assert "The first 1 of 2 tracks" in (tmp_path / "one.html").read_text()


def browse(page: Path, *arguments: str) -> str:
    """What Chromium prints for a page, after five seconds of its own time."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    quiet = ["--disable-component-update", "--autoplay-policy=no-user-gesture-required", "--mute-audio", "--hide-scrollbars"]
    command = [str(CHROMIUM), *flags.split(), *quiet, f"--user-data-dir={page.parent / 'profile'}", "--window-size=1200,2000"]
    command += ["--virtual-time-budget=5000", *arguments, page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


# Played by the page itself, no driver needed: a click at three quarters, keys, sound that has moved on.
PROBE = """
window.hacked = () => { document.title = "hacked"; };
addEventListener("load", () => {
  const found = { images: [...document.images].every((image) => image.complete && image.naturalWidth > 0) };
  const track = document.querySelector(".track"), stage = track.querySelector(".stage"), audio = track.querySelector("audio");
  const head = stage.querySelector(".head"), box = stage.getBoundingClientRect();
  const mel = track.querySelector("img.mel").getBoundingClientRect();
  const state = () => [audio.currentTime, parseFloat(head.style.left), Number(stage.getAttribute("aria-valuenow")), audio.paused];
  const press = (key) => stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  found.mel = [mel.left, mel.top, mel.width, mel.height];
  found.audio = [...document.querySelectorAll("audio")].map((each) => each.src);
  stage.dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width * 0.75, clientY: box.top + 5, bubbles: true }));
  found.clicked = state();
  press(" "), press("Home"), press("ArrowRight"), press("ArrowDown");
  found.keys = state();
  audio.currentTime = 3;
  audio.dispatchEvent(new Event("timeupdate"));
  found.moved = state();
  found.title = document.title;
  document.body.insertAdjacentHTML("beforeend", `<output>${JSON.stringify(found)}</output>`);
});
"""


def probed(html: str, folder: Path, probe: str = PROBE) -> dict:
    """What the page found out about itself."""
    page = folder / "probe.html"
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)  # it lets no script run but the page's own
    page.write_text(html.replace("</style>", f"</style><script>{probe}</script>", 1))
    return json.loads(re.findall(r"<output>({.*?)</output>", browse(page, "--dump-dom"))[0])


@needs_a_browser
def test_in_a_browser_a_click_seeks_and_the_line_follows(html, tmp_path):
    found = probed(html, tmp_path)
    assert found["images"]
    assert found["title"].startswith("earmark")
    assert found["clicked"] == [pytest.approx(0.75 * SECONDS, abs=0.01), pytest.approx(75, abs=0.1), 4.5, False]
    assert found["keys"] == [4, pytest.approx(100 * 4 / SECONDS), 4, True]
    assert found["moved"] == [3, 50, 3, True]
    files = [Path(unquote(link.removeprefix("file://"))) for link in found["audio"]]
    assert sorted(file.name for file in files) == sorted([HOSTILE, "low.wav"])
    assert all(file.exists() for file in files)


@needs_a_browser
def test_in_a_browser_the_tone_is_seen_when_and_where_it_sounds(html, tmp_path):
    image = pytest.importorskip("PIL.Image")
    found = probed(html, tmp_path)
    browse(tmp_path / "page.html", f"--screenshot={tmp_path / 'page.png'}")
    seen = np.asarray(image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    left, top, width, height = found["mel"]

    def colour(across: float, down: float) -> np.ndarray:
        return seen[round(top + down * height), round(left + across * width)]

    dark, bright = colours()[[1, 255]].astype(int)
    for across, down in ((0.1, 0.25), (0.1, 0.75), (0.45, 0.9), (0.9, 0.25)):
        assert np.abs(colour(across, down) - dark).max() <= 3
    for across, down in ((0.55, 0.6), (0.9, 0.75), (0.97, 0.95)):
        assert np.abs(colour(across, down) - bright).max() <= 3
