"""Clips as people hear them: cut at the sample, as loud and as wide as the recording, once, in every encoding, in a real browser."""

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from augment.chain import Lineage, view_id
from extractors.audio import AudioError, read, stretches
from extractors.clip import clip_id
from pipelines.catalog import scan
from pipelines.clips.files import TYPES, Cuts, Excerpt, cut
from pipelines.store import Store
from pipelines.views import heard_again
from tests.sounds import SUFFIXES, clicks, noise, tone, write

RATE = 44_100
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


def catalogue(folder: Path) -> tuple[Store, dict[str, dict]]:
    """A store of a folder's recordings, and their rows by file name."""
    store = Store(folder.parent / "store")
    scan(store, [str(folder)])
    tracks = store.table("tracks").to_table().to_pylist()
    return store, {Path(row["uri"]).name: row for row in tracks}


def excerpt(track: dict, start: float, seconds: float) -> Excerpt:
    return Excerpt(clip_id(track["track_id"], start, seconds), track, start, seconds)


def sound(store: Store, made: Cuts, which: Excerpt, encoding: str) -> tuple[np.ndarray, int]:
    return soundfile.read(Path(store.root, "clips", encoding, made.files[which.name]), dtype="float32", always_2d=True)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


@pytest.mark.parametrize("ending", [".wav", ".flac", ".mp3", ".ogg", ".m4a"])
def test_a_clip_is_the_recordings_own_samples_with_both_channels(music: Path, ending: str) -> None:
    left, right = noise(RATE, 4.0, 0.3, seed=1), noise(RATE, 4.0, 0.2, seed=2)
    path = write(music / f"a{ending}", np.hstack([left, right]), RATE)
    store, tracks = catalogue(music)
    asked = [excerpt(tracks[path.name], start, 1.0) for start in (0.0, 1.5, 1.2345, 3.0)]  # overlapping, and not in their order
    made = cut(store, asked, "wav")
    assert not made.broken
    with av.open(str(path)) as container:  # as FFmpeg decodes it, from the beginning
        convert = av.AudioResampler(format="fltp")
        whole = np.hstack([part.to_ndarray() for frame in container.decode(audio=0) for part in convert.resample(frame)]).T
    for each in asked:
        samples, rate = sound(store, made, each, "wav")
        first = round(each.start * RATE)
        assert rate == RATE
        assert samples.shape == (RATE, 2)
        np.testing.assert_allclose(samples, whole[first : first + RATE], atol=2e-4)


@pytest.mark.parametrize("ending", SUFFIXES)
def test_stretches_of_one_pass_are_what_reading_each_gives(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", noise(48_000, 2.0, 0.3, channels=2), 48_000)
    places = [(0, 0), (0, 9_000), (10, 30_000), (20, 5_000), (40_000, 20_000), (90_000, 60_000), (95_000, 10), (500_000, 10)]
    both = list(stretches(path, places, 48_000, stereo=True))
    for place, mono, stereo in zip(places, stretches(path, places), both, strict=True):
        np.testing.assert_array_equal(mono, read(path, *place))
        assert stereo.shape == (len(mono), 2)
        np.testing.assert_allclose(stereo.mean(axis=1), mono, atol=1e-6)
    assert np.abs(both[1][:, 0] - both[1][:, 1]).max() > 0.1
    with pytest.raises(AudioError, match="has 48000 Hz, not the 44100 Hz"):
        list(stretches(path, places, 44_100))


def test_mono_stays_mono_and_more_than_two_channels_become_one(music: Path) -> None:
    write(music / "one.wav", tone(RATE, 1.0), RATE)
    write(music / "six.wav", tone(RATE, 1.0, channels=6), RATE)
    store, tracks = catalogue(music)
    asked = [excerpt(track, 0.0, 1.0) for track in tracks.values()]
    made = cut(store, asked, "flac")
    for each in asked:
        samples, _ = sound(store, made, each, "flac")
        np.testing.assert_allclose(samples, tone(RATE, 1.0), atol=1e-4)


@pytest.mark.parametrize("encoding", list(TYPES))
@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_a_moment_of_the_clip_is_at_the_same_moment_of_its_file(music: Path, encoding: str, rate: int) -> None:
    write(music / "a.wav", clicks(rate, 4.0, [round(2.25 * rate)]), rate)
    store, tracks = catalogue(music)
    asked = excerpt(tracks["a.wav"], 1.0, 2.5)
    samples, to_rate = sound(store, cut(store, [asked], encoding), asked, encoding)
    assert abs(np.abs(samples).argmax() / to_rate - 1.25) < 0.0002
    assert abs(len(samples) / to_rate - 2.5) < 0.0002


def test_an_mp3_has_the_tag_that_says_its_delay_and_the_bit_rate_that_was_asked_for(music: Path) -> None:
    write(music / "a.wav", noise(RATE, 6.0, 0.2, channels=2), RATE)
    store, tracks = catalogue(music)
    asked = excerpt(tracks["a.wav"], 0.0, 5.0)
    for kbps in (96, 192):
        data = Path(store.root, "clips/mp3", cut(store, [asked], "mp3", kbps).files[asked.name]).read_bytes()
        assert re.search(rb"(Info|Xing).{1,200}?LAME", data[:600], re.DOTALL)
        assert len(data) * 8 / 5.0 == pytest.approx(1000 * kbps, rel=0.03)


def test_loudness_is_left_alone_and_only_what_would_clip_is_turned_down_as_a_whole(music: Path) -> None:
    soundfile.write(music / "soft.wav", tone(RATE, 1.0, level=0.1), RATE, subtype="FLOAT")
    soundfile.write(music / "loud.wav", tone(RATE, 1.0, level=2.0), RATE, subtype="FLOAT")
    store, tracks = catalogue(music)
    soft, loud = (excerpt(tracks[name], 0.0, 1.0) for name in ("soft.wav", "loud.wav"))
    made = cut(store, [soft, loud], "flac")
    np.testing.assert_allclose(sound(store, made, soft, "flac")[0], tone(RATE, 1.0, level=0.1), atol=1e-4)
    np.testing.assert_allclose(sound(store, made, loud, "flac")[0], tone(RATE, 1.0, level=1.0), atol=1e-4)
    assert made.turned_down == {loud.name: pytest.approx(6.02, abs=0.01)}


def test_a_clip_is_cut_once_and_again_only_for_another_encoding_or_bit_rate(music: Path) -> None:
    write(music / "a.wav", noise(RATE, 3.0, 0.2), RATE)
    store, tracks = catalogue(music)
    asked = [excerpt(tracks["a.wav"], start, 1.0) for start in (0.0, 1.0, 2.0)]
    first = cut(store, asked[:2], "mp3")
    assert (first.new, len(first.files)) == (2, 2)
    (music / "a.wav").unlink()  # what is there needs no recording
    assert cut(store, asked[:2], "mp3") == Cuts(first.files)
    assert [len(cut(store, asked, *how).broken) for how in (("mp3", 192), ("mp3", 96), ("flac", 192))] == [1, 3, 3]
    write(music / "a.wav", noise(RATE, 3.0, 0.2), RATE)
    assert [cut(store, asked, *how).new for how in (("mp3", 192), ("mp3", 96), ("flac", 192), ("flac", 96))] == [1, 3, 3, 0]
    assert "clips" not in store.tables()


def test_broken_recordings_are_named_and_their_neighbours_are_cut(music: Path) -> None:
    names = ("good", "gone", "short", "text", "other")
    for seed, name in enumerate(names):
        write(music / f"{name}.wav", noise(RATE, 3.0, 0.2, seed=seed), RATE)
    store, tracks = catalogue(music)
    (music / "gone.wav").unlink()
    write(music / "short.wav", noise(RATE, 1.5, 0.2), RATE)
    (music / "text.wav").write_text("no sound")
    write(music / "other.wav", noise(RATE, 3.0, 0.2), 22_050)
    asked = [excerpt(tracks[f"{name}.wav"], start, 1.0) for name in names for start in (0.0, 1.0)]
    seen: list[tuple[int, int]] = []
    made = cut(store, asked, "flac", progress=lambda done, of: seen.append((done, of)))
    assert sorted(made.files) == sorted(each.name for each in (*asked[:2], asked[4]))
    lines = {each.excerpt.name: str(each) for each in made.broken}
    assert set(lines) == {each.name for each in (*asked[2:4], *asked[5:])}
    assert "gone.wav: gone.wav: no longer there; put it back" in lines[asked[2].name]
    assert "short.wav: 0.500 s of sound where 1.000 s should be" in lines[asked[5].name]
    assert "not audio" in lines[asked[6].name]
    assert "has 22050 Hz, not the 44100 Hz" in lines[asked[9].name]
    assert all("\n" not in line for line in lines.values())
    assert seen[0] == (0, 10)
    assert seen[-1] == (10, 10)


def test_a_view_is_heard_as_it_was_made_and_a_view_of_what_is_gone_is_named(music: Path) -> None:
    write(music / "a.wav", noise(RATE, 2.0, 0.2, channels=2), RATE)
    store, tracks = catalogue(music)
    track = tracks["a.wav"]
    step = {"use": "Reverse", "samples": RATE}
    lineage = Lineage(RATE, RATE, (step,))
    name = clip_id(track["track_id"], 0.5, 1.0)
    view = Excerpt(name, track, 0.5, 1.0, view_id(name, str(lineage)), str(lineage), 1.0)
    wrong = Excerpt(name, track, 0.5, 1.0, "f" * 20, str(Lineage(RATE, 17, (step,))), 1.0)
    made = cut(store, [view, wrong], "flac")
    expected = heard_again(track, 0.5, lineage, 1.0).samples
    np.testing.assert_allclose(sound(store, made, view, "flac")[0][:, 0], expected, atol=1e-4)
    assert made.files[view.name].startswith(view.view_id)
    assert [each.excerpt for each in made.broken] == [wrong]


def test_an_unknown_encoding_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="encoding 'aiff': not one of mp3, flac, ogg, wav"):
        cut(Store(tmp_path), [], "aiff")


def test_clips_of_a_store_in_a_bucket_lie_there_too(music: Path) -> None:
    write(music / "a.wav", noise(RATE, 1.0, 0.2), RATE)
    store = Store("memory://clips-of-a-bucket")
    scan(store, [str(music)])
    asked = excerpt(store.table("tracks").to_table().to_pylist()[0], 0.0, 1.0)
    name = cut(store, [asked], "flac").files[asked.name]
    with store.filesystem.open_input_file(f"{store.folder('clips', 'flac')}/{name}") as file:
        assert soundfile.read(io.BytesIO(file.read()))[0].shape == (RATE,)
    assert cut(store, [asked], "flac").new == 0


PAGE = """<!doctype html><title>?</title><script>
const found = {};
const decode = async (name, data) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const sound = await new OfflineAudioContext(2, 48000, 48000).decodeAudioData(bytes.buffer.slice());
  const samples = sound.getChannelData(0);
  let peak = 0;
  samples.forEach((value, index) => { if (Math.abs(value) > Math.abs(samples[peak])) peak = index; });
  const audio = new Audio(`data:${name};base64,${data}`);
  await new Promise((done) => { audio.onloadedmetadata = audio.onerror = done; });
  found[name] = { click: peak / sound.sampleRate, seconds: sound.duration, element: audio.duration, channels: sound.numberOfChannels };
};
Promise.all(Object.entries(FILES).map(([name, data]) => decode(name, data))).catch((error) => { found.error = String(error); }).finally(
  () => document.body.insertAdjacentHTML("beforeend", `<output>${JSON.stringify(found)}</output>`));
</script><body></body>"""


@needs_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_in_a_browser_every_encoding_has_the_click_where_the_clip_has_it(music: Path, tmp_path: Path, rate: int) -> None:
    write(music / "a.wav", clicks(rate, 6.0, [round(3.25 * rate)], channels=2), rate)
    store, tracks = catalogue(music)
    asked = excerpt(tracks["a.wav"], 1.0, 4.5)
    files = {}
    for encoding, kind in TYPES.items():
        path = Path(store.root, "clips", encoding, cut(store, [asked], encoding).files[asked.name])
        files[kind] = base64.b64encode(path.read_bytes()).decode()
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("FILES", json.dumps(files)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--mute-audio"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(re.findall(r"<output>({.*?})</output>", done.stdout)[0])
    assert set(found) == set(TYPES.values())
    for kind, heard in found.items():
        assert heard["click"] == pytest.approx(2.25, abs=0.005), kind
        assert heard["seconds"] == pytest.approx(4.5, abs=0.005), kind
        assert heard["element"] == pytest.approx(4.5, abs=0.05), kind
        assert heard["channels"] == 2
