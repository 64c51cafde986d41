"""The page's section on one clip's views: every view seen and heard as it was made, its labels where they sound now."""

import base64
import io
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from annotation.labels import Label
from pipelines.catalog import scan
from pipelines.engines.local import Local
from pipelines.gather import add
from pipelines.recipe import Recipe
from pipelines.relabel import relabel
from pipelines.report.report import write_report
from pipelines.report.step_words import words
from pipelines.run import run
from pipelines.store import Store
from tests.test_report import HOSTILE, SECONDS, needs_a_browser, probed, silence_then_tone

# Six seconds, a tone of 440 Hz from the third on: 4.8 s, from 2.4 s on, 493.9 Hz.
RATE, SEMITONES = 1.25, 2
PLAIN = """
[window]
seconds = 6.0
[[extract]]
use = "LogMel"
sample_rate = 8000
n_fft = 256
hop_length = 128
n_mels = 40
"""
AUGMENTED = f"""
seed = 1
{PLAIN}
[views]
count = 3
[labels]
on_refused = "drop"
[[augment]]
use = "PitchShift"
low = {SEMITONES}
high = {SEMITONES}
[[augment]]
use = "TimeStretch"
low = {RATE}
high = {RATE}
[[augment]]
use = "Gain"
low_db = -6.0
high_db = 6.0
"""


def make(folder: Path, recipe: str, labelled: bool) -> Store:
    """A store of two recordings, one of which has labels."""
    (folder / "music").mkdir(parents=True)
    silence_then_tone(folder / "music" / HOSTILE, 440)
    silence_then_tone(folder / "music" / "low.wav", 220)
    store = Store(folder / "store")
    scan(store, [str(folder / "music")])
    rows = store.read("tracks").to_pylist()
    if labelled:
        add(store, labels(next(row["track_id"] for row in rows if "hacked" in row["uri"])))
    spec = Recipe.model_validate(tomllib.loads(recipe))
    run(store, spec, Local(store.root, 1))
    if labelled:
        relabel(store, spec)
    return store


def labels(track: str) -> list[Label]:
    whole = [("key", "C major"), ("tempo", "120"), ("instrument", "<b>harp</b>"), ("composer", "<img src=x onerror=hacked()>")]
    whole += [("<i>mine</i>", "</dl><script>hacked()</script>")]
    said = [Label(kind, value, "score", "gold", track) for kind, value in whole]
    said += [Label("beat", str(1 + at % 4), "score", "gold", track, start=float(at), duration=0.0) for at in range(6)]
    return [*said, Label("note", "69 90", "score", "gold", track, start=3.0, duration=3.0)]


def written(store: Store, folder: Path) -> str:
    write_report(store, folder / "page.html")
    return (folder / "page.html").read_text()


def views(html: str) -> list[str]:
    """The HTML of each view."""
    return re.findall(r'<article class="track view".*?</article>', html, re.DOTALL)


def xs(view: str, name: str) -> list[float]:
    """Where lines stand, as shares of the picture's width."""
    return sorted(float(x) / 960 for x in re.findall(rf'<line class="{name}" x1="([\d.]+)"', view))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make(tmp_path_factory.mktemp("views"), AUGMENTED, labelled=True)


@pytest.fixture(scope="module")
def html(store, tmp_path_factory) -> str:
    return written(store, tmp_path_factory.mktemp("page"))


def test_each_view_of_the_labelled_clip_is_a_row_that_says_what_was_done(html):
    rows = views(html)
    assert len(rows) == 3
    assert "View 0</h4>" in rows[0]
    assert "the clip, untouched" in rows[0]
    for row in rows[1:]:
        steps = re.findall(r"<li>(.*?)</li>", row)
        assert steps[:2] == ["pitch +2 semitones", "1.25 × speed, pitch kept"]
        assert re.fullmatch(r"gain (0|[+−][\d.]+) dB", steps[2])
    assert len({re.search("gain (.*?)<", row)[1] for row in rows[1:]}) == 2
    assert "onerror=hacked()&gt;" in re.search(r'class="clip">\n<header>(.*?)</header>', html, re.DOTALL)[1]


def test_the_players_hold_each_views_own_sound(html):
    heard = [base64.b64decode(sound) for sound in re.findall(r"data:audio/mpeg;base64,([^\"]*)", html)]
    assert len(heard) == 3
    for sound, (pitch, rate) in zip(heard, ((440, 1), *[(440 * 2 ** (SEMITONES / 12), RATE)] * 2), strict=True):
        samples, sample_rate = soundfile.read(io.BytesIO(sound))
        assert len(samples) / sample_rate == pytest.approx(SECONDS / rate, abs=0.001)
        begins = np.argmax(np.abs(samples) > 0.1) / sample_rate
        assert begins == pytest.approx(SECONDS / 2 / rate, abs=0.05)
        tone = samples[int((begins + 0.5) * sample_rate) :][:sample_rate]
        assert np.abs(np.fft.rfft(tone * np.hanning(len(tone)))).argmax() == pytest.approx(pitch, abs=3)


def test_beats_and_notes_lie_where_they_sound_with_what_they_were_behind_them(html):
    original, *others = views(html)
    at = np.arange(6) / SECONDS
    assert xs(original, "own") == pytest.approx(at, abs=1e-3)
    assert xs(original, "ghost") == []
    before = re.search(r'<path class="own" d="M([\d.]+),([\d.]+)h([\d.]+)', original)
    for view in others:
        assert xs(view, "own") == pytest.approx(at / RATE, abs=1e-3)
        assert xs(view, "ghost") == pytest.approx(at, abs=1e-3)
        after = re.search(r'<path class="own" d="M([\d.]+),([\d.]+)h([\d.]+)', view)
        assert float(after[1]) / 960 == pytest.approx(3 / RATE / SECONDS, abs=1e-3)
        assert float(after[3]) / 960 == pytest.approx(3 / RATE / SECONDS, abs=1e-3)
        assert float(after[2]) < float(before[2])  # higher


def test_what_changed_stands_out_and_what_was_left_out_is_named(html):
    original, *others = views(html)
    assert "<dt>key</dt><dd>C major</dd>" in original
    assert not re.search("<b>|<s>", original)
    for view in others:
        assert "<dt>key</dt><dd><s>C major</s> → <b>D major</b></dd>" in view
        assert "<dt>tempo</dt><dd><s>120 bpm</s> → <b>150 bpm</b></dd>" in view
        assert "<dt>instrument</dt><dd>&lt;b&gt;harp&lt;/b&gt;</dd>" in view
        assert "<dt>left out</dt><dd><s>&lt;i&gt;mine&lt;/i&gt;</s></dd>" in view


def test_values_and_names_stay_text(html):
    assert not re.search(r"<script>hacked|<img src=x|<i>mine|<b>harp", html)
    assert "&lt;/dl&gt;&lt;script&gt;hacked()" in html


def test_clips_are_counted_once_and_tracks_are_shown_untouched(html, tmp_path):
    plain = written(make(tmp_path, PLAIN, labelled=False), tmp_path)
    facts = [dict(map(reversed, re.findall(r"<li><b>(.*?)</b><span>(.*?)</span>", page))) for page in (html, plain)]
    assert facts[0] == {**facts[1], "views": "6"}
    assert facts[1]["clips"] == "2"
    tracks = [re.findall(r'<img class="mel"[^>]*>', page.partition('<h2 id="tracks">Tracks</h2>')[2]) for page in (html, plain)]
    assert len(tracks[0]) == 2
    assert tracks[0] == tracks[1]
    assert not views(plain)
    assert "Views of one clip" not in plain


def test_without_labels_there_are_views_and_a_word_on_where_labels_come_from(tmp_path):
    store = make(tmp_path, AUGMENTED, labelled=False)
    html = written(store, tmp_path)
    assert [("<audio" in view, 'img class="mel"' in view, "<svg" in view) for view in views(html)] == [(True, True, False)] * 3
    assert "earmark labels add" in html
    add(store, labels(store.read("tracks").to_pylist()[0]["track_id"]))
    assert "earmark labels move" in written(store, tmp_path)


def test_a_recording_that_is_gone_leaves_a_note_where_its_player_was(store, tmp_path):
    moved = shutil.copytree(Path(store.root).parent, tmp_path / "copy")
    (tracks,) = (moved / "store" / "tracks").glob("*.parquet")
    rows = store.read("tracks")
    gone = [uri.replace(str(Path(store.root).parent), str(tmp_path / "nowhere")) for uri in rows.column("uri").to_pylist()]
    tracks.unlink()
    Store(moved / "store").publish("tracks", tracks.stem, rows.set_column(rows.schema.get_field_index("uri"), "uri", [gone]))
    rows = views(written(Store(moved / "store"), tmp_path))
    assert len(rows) == 3
    for row in rows:
        assert "<audio" not in row
        assert "no sound: " in row
        assert 'img class="mel"' in row


def test_another_recipes_spectrograms_and_labels_are_not_taken_for_these_views(store, tmp_path):
    other = Store(shutil.copytree(store.root, tmp_path / "store"))
    later = AUGMENTED.replace("seed = 1", "seed = 2").replace("LogMel", "Mfcc")
    run(other, Recipe.model_validate(tomllib.loads(later)), Local(other.root, 1))
    html = written(other, tmp_path)
    assert len(views(html)) == 3
    assert not any('img class="mel"' in view or "<dl" in view for view in views(html))


def test_a_draw_that_lacks_something_is_said_as_far_as_it_goes():
    assert words({"use": "Mix", "snr_db": 3.0, "samples": 5}) == "Mix: snr_db 3"
    assert words({"use": "Gain", "gain_db": "loud"}) == "Gain: gain_db loud"
    assert words({}) == "?"


# Played by the page itself, once its sounds are there.
PROBE = """
window.hacked = () => { document.title = "hacked"; };
addEventListener("load", () => setTimeout(() => {
  const found = { durations: [], beats: [], changed: [] };
  for (const view of document.querySelectorAll(".view")) {
    const box = view.querySelector(".stage").getBoundingClientRect();
    const across = (line) => { const at = line.getBoundingClientRect(); return ((at.left + at.right) / 2 - box.left) / box.width; };
    found.durations.push(view.querySelector("audio").duration);
    found.beats.push([...view.querySelectorAll("line.own")].map(across));
    found.changed.push([...view.querySelectorAll(".said b")].map((each) => each.textContent));
  }
  const view = document.querySelectorAll(".view")[1], stage = view.querySelector(".stage"), audio = view.querySelector("audio");
  const box = stage.getBoundingClientRect();
  stage.dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width / 2, clientY: box.top + 5, bubbles: true }));
  found.clicked = [audio.currentTime, parseFloat(stage.querySelector(".head").style.left), audio.paused];
  found.title = document.title;
  found.images = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
  document.body.insertAdjacentHTML("beforeend", `<output>${JSON.stringify(found)}</output>`);
}, 2000));
"""


@needs_a_browser
def test_in_a_browser_views_play_for_as_long_as_they_sound_and_beats_stand_under_them(html, tmp_path):
    found = probed(html, tmp_path, PROBE)
    assert found["durations"] == pytest.approx([SECONDS, SECONDS / RATE, SECONDS / RATE], abs=0.05)
    for beats, rate in zip(found["beats"], (1, RATE, RATE), strict=True):
        assert sorted(beats) == pytest.approx(np.arange(6) / rate / SECONDS, abs=0.002)
    assert found["changed"] == [[], ["D major", "150 bpm"], ["D major", "150 bpm"]]
    assert found["clicked"] == [pytest.approx(SECONDS / 2, abs=0.01), pytest.approx(50, abs=0.1), False]
    assert found["images"]
    assert found["title"].startswith("earmark")
