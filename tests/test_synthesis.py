"""Synthesis: what the labels say is what the sound does."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import mir_eval.key
import mutagen
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from annotation.kinds import parse_note
from annotation.labels import Label
from augment import synthesis
from augment.instruments import SAMPLE_RATE, STRUCK, SUSTAINED, Strike, open_synthesizer, programs, render
from augment.scores import Note, Written, beat_length, full_length, play, read
from augment.synthesis import Draw, draw, make, synthesize
from augment.truth import beats
from augment.works import WORKS, Work
from extractors import encode

ROOT = Path(synthesis.__file__).parent.parent
WORK = {work.name: work for works in WORKS.values() for work in works}
REEL = WORK["traditional-shaws-reel"]


@pytest.fixture(scope="module")
def synthesizer() -> Any:
    return open_synthesizer()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    synthesize(folder, pieces=4, seconds=8, seed=7)
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "labels.parquet").to_pylist()


def manifest(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def told(labels: list[Label], kind: str) -> list[Label]:
    return [label for label in labels if label.kind == kind]


def onsets(labels: list[Label]) -> list[float]:
    return sorted({label.start for label in told(labels, "note") if label.start is not None})


def decoded_by_av(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        planar = container.streams.audio[0].codec_context.format.is_planar
    sound = np.concatenate([frame if planar else frame.reshape(-1, 2).T for frame in frames], axis=1).T
    return sound / 32768 if sound.dtype == np.int16 else sound


def heard_at(sound: np.ndarray, near: float) -> float:
    """Where the spectrum grows most within 50 ms of `near`: seconds. Halfway between the two windows compared."""
    window, hop, lag = 512, 22, 12
    first = max(0, int((near - 0.05) * SAMPLE_RATE) - window // 2)
    starts = np.arange(first, min(first + int(0.1 * SAMPLE_RATE), len(sound) - window), hop)
    frames = np.sqrt(np.abs(np.fft.rfft(sound[starts[:, None] + np.arange(window)] * np.hanning(window), axis=1)))
    growth = np.maximum(frames[lag:] - frames[:-lag], 0).sum(axis=1)
    best = int(np.argmax(growth))
    return float(starts[best] + starts[best + lag] + window) / 2 / SAMPLE_RATE


def test_pieces_lie_beside_their_labels_and_manifest(made: Path) -> None:
    listed = manifest(made)
    assert [row["uri"].rsplit(".", 1)[1] for row in listed] == ["mp3", "flac", "ogg", "mp3"]
    assert sorted(path.name for path in made.iterdir()) == sorted([row["uri"] for row in listed] + ["labels.parquet", "manifest.csv"])
    ids = [hashlib.sha256((made / row["uri"]).read_bytes()).hexdigest()[:20] for row in listed]
    assert list(dict.fromkeys(row["track_id"] for row in rows(made))) == ids
    assert len({row["label_id"] for row in rows(made)}) == len(rows(made))
    kinds = Counter((row["track_id"], row["kind"]) for row in rows(made))
    for track in ids:
        assert all(kinds[track, kind] == 1 for kind in ("key", "composer", "license"))
        assert all(kinds[track, kind] >= 1 for kind in ("tempo", "meter", "instrument", "downbeat"))
        assert kinds[track, "note"] > kinds[track, "beat"] / 2 > kinds[track, "downbeat"] / 2


def test_every_piece_is_exactly_as_long_as_asked_and_never_clips(made: Path) -> None:
    for row in manifest(made):
        for sound in (soundfile.read(made / row["uri"])[0], decoded_by_av(made / row["uri"])):
            assert sound.shape == (8 * SAMPLE_RATE, 2)
            assert 0.5 < np.abs(sound).max() < 1
            assert np.abs(sound[-1]).max() < 0.01


def test_labels_stay_within_the_piece_and_keys_are_keys(made: Path) -> None:
    for row in rows(made):
        if row["start"] is not None:
            assert 0 <= row["start"] < row["start"] + row["duration"] <= 8 + 1e-9 or (row["duration"] == 0 and row["start"] < 8)
        if row["kind"] == "key":
            mir_eval.key.validate_key(row["value"])
        assert (row["author"], row["author_kind"], row["confidence"], row["at"]) == ("score", "gold", 1.0, None)


def test_tags_say_what_the_manifest_says(made: Path) -> None:
    for row in manifest(made):
        tags = mutagen.File(made / row["uri"]).tags
        names = ("TIT2", "TPE1", "TALB", "TXXX:LICENSE") if row["uri"].endswith("mp3") else ("title", "artist", "album", "license")
        for name, column in zip(names, ("title", "artist", "album", "license"), strict=True):
            assert "".join(map(str, tags[name])) == row[column]


def test_the_same_seed_gives_the_same_bytes_and_leaves_nothing_elsewhere(made: Path, tmp_path: Path) -> None:
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    code = f"from augment.synthesis import synthesize; synthesize({str(tmp_path / 'again')!r}, pieces=4, seconds=8, seed=7)"
    surroundings = os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONHASHSEED": "5"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    assert not list((tmp_path / "home").iterdir()) + list((tmp_path / "tmp").iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(path.name for path in made.iterdir())
    for path in made.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_fewer_pieces_are_the_beginning_of_more(made: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    pieces = synthesize(tmp_path, pieces=2, seconds=8, seed=7, progress=lambda piece: seen.append(piece.path.name))
    assert seen == [piece.path.name for piece in pieces] == [row["uri"] for row in manifest(made)[:2]]
    assert all(piece.path.read_bytes() == (made / piece.path.name).read_bytes() for piece in pieces)
    assert rows(tmp_path) == rows(made)[: len(rows(tmp_path))]


def test_another_seed_is_another_collection() -> None:
    assert [draw(1, index) for index in range(8)] != [draw(2, index) for index in range(8)]
    drawn = [draw(3, index) for index in range(24)]
    assert {one.work for one in drawn[:4]} & set(WORKS["keyboard"])
    assert len({one.work for one in drawn}) >= 23
    assert {one.instrument for one in drawn} == {*STRUCK, *SUSTAINED}
    assert {one.format for one in drawn} == {"mp3", "flac", "ogg"}
    assert len({one.transposition for one in drawn}) >= 6


@pytest.mark.parametrize("instrument", STRUCK)
def test_a_struck_note_sounds_within_10_ms_of_its_label_at_any_pitch_and_time(synthesizer: Any, instrument: str) -> None:
    rng = np.random.default_rng(1)
    times = [float(time) for time in np.arange(12) * 2.0 + rng.uniform(0, 0.8, 12)] + [90.123]
    strikes = [Strike(time, 0.4, int(pitch), 80) for time, pitch in zip(times, rng.integers(36, 92, 13), strict=True)]
    sound = np.abs(render(synthesizer, {0: (STRUCK[instrument][0], strikes)}, 92)).max(axis=1)
    for time in times:
        first = max(0, int((time - 0.05) * SAMPLE_RATE))
        silence = sound[first : max(first + 1, int((time - 0.001) * SAMPLE_RATE))].max()
        window = sound[first : first + 8820]
        rises = first + int(np.argmax(window > silence + 0.1 * window.max()))
        assert -0.001 < rises / SAMPLE_RATE - time < 0.01


@pytest.mark.parametrize(
    ("name", "instrument", "format"),
    [
        ("traditional-shaws-reel", "piano", "mp3"),
        ("traditional-irish-wash-woman", "guitar", "ogg"),
        ("traditional-moll-roe-in-the-morning", "marimba", "flac"),
        ("traditional-beebes-hornpipe", "harpsichord", "ogg"),
        ("bach-chorale-bwv-253", "xylophone", "mp3"),
        ("mozart-string-quartet-k-80-i", "vibraphone", "ogg"),
        ("joplin-maple-leaf-rag", "banjo", "mp3"),
    ],
)
def test_onsets_heard_in_the_file_are_those_of_the_labels(
    tmp_path: Path, synthesizer: Any, name: str, instrument: str, format: str
) -> None:
    work = WORK[name]
    piece, labels = make(Draw(0, work, instrument, format, work.tempo, 2), tmp_path, 12, synthesizer)
    times = onsets(labels)
    # Neighbours closer than the detector's windows would be taken for one another.
    apart = [b for a, b, c in zip(times, times[1:], times[2:], strict=False) if b - a > 0.1 and c - b > 0.1]
    assert len(apart) > 10
    for sound in (soundfile.read(piece.path)[0], decoded_by_av(piece.path)):
        errors = np.array([heard_at(sound.mean(axis=1), time) - time for time in apart])
        assert np.mean(np.abs(errors) < 0.01) > 0.97
        assert abs(np.median(errors)) < 0.004


def partial(stretch: np.ndarray, pitch: float) -> float:
    """The strongest partial of a stretch of sound, as a multiple of a MIDI pitch's frequency."""
    spectrum = np.abs(np.fft.rfft(stretch * np.hanning(len(stretch)), 1 << 18))
    return float(np.argmax(spectrum) * SAMPLE_RATE / (1 << 18) / (440 * 2 ** ((pitch - 69) / 12)))


@pytest.mark.parametrize("instrument", [*STRUCK, *SUSTAINED])
@pytest.mark.parametrize("pitch", [45, 57, 62, 69, 74])
def test_every_instrument_sounds_at_the_pitch_that_it_is_asked_for(synthesizer: Any, instrument: str, pitch: int) -> None:
    for program in (STRUCK | SUSTAINED)[instrument]:
        sound = render(synthesizer, {0: (program, [Strike(0.0, 1.0, pitch, 90)])}, 1.2).mean(axis=1)
        heard = partial(sound[4410 : 4410 + 32768], pitch)
        # Low tones of small instruments have partials that are louder than their fundamental; reeds beat by half a semitone.
        assert 1 <= round(heard) <= 8
        assert 12 * abs(np.log2(heard / round(heard))) < (0.5 if instrument == "accordion" else 0.25)


def test_pitches_heard_are_those_of_the_labels(tmp_path: Path, synthesizer: Any) -> None:
    piece, labels = make(Draw(0, REEL, "marimba", "flac", 60, -3), tmp_path, 12, synthesizer)
    sound = soundfile.read(piece.path)[0].mean(axis=1)
    long = sorted(told(labels, "note"), key=lambda note: -(note.duration or 0))[:10]
    for note in long:
        start = round(float(note.start or 0) * SAMPLE_RATE)
        stretch = sound[start : start + round(float(note.duration or 0) * SAMPLE_RATE)]
        assert 12 * abs(np.log2(partial(stretch, parse_note(note.value)[0]))) < 0.4


def test_transposition_moves_notes_and_key_and_nothing_else(tmp_path: Path, synthesizer: Any) -> None:
    _, low = make(Draw(0, REEL, "piano", "flac", 88, 0), tmp_path, 6, synthesizer)
    _, high = make(Draw(1, REEL, "piano", "flac", 88, 4), tmp_path, 6, synthesizer)
    assert [told(low, "key")[0].value, told(high, "key")[0].value] == ["G major", "B major"]
    assert [(n.start, n.duration, parse_note(n.value)[0] + 4) for n in told(low, "note")] == [
        (n.start, n.duration, parse_note(n.value)[0]) for n in told(high, "note")
    ]
    for kind in ("tempo", "meter", "beat", "downbeat"):
        assert [(n.start, n.value) for n in told(low, kind)] == [(n.start, n.value) for n in told(high, kind)]


def test_twice_the_tempo_halves_every_time(tmp_path: Path, synthesizer: Any) -> None:
    _, slow = make(Draw(0, REEL, "piano", "flac", 60, 0), tmp_path, 8, synthesizer)
    _, fast = make(Draw(1, REEL, "piano", "flac", 120, 0), tmp_path, 4, synthesizer)
    assert float(told(slow, "tempo")[0].value) * 2 == float(told(fast, "tempo")[0].value) == 120
    for kind in ("note", "beat", "downbeat"):
        assert np.allclose([n.start for n in told(slow, kind)], [2 * float(n.start or 0) for n in told(fast, kind)], atol=2e-6)
    assert np.allclose(np.diff([float(n.start or 0) for n in told(fast, "beat")]), 0.5, atol=2e-6)


def test_a_short_score_begins_again_and_notes_over_the_end_are_cut(tmp_path: Path, synthesizer: Any) -> None:
    work = WORK["mozart-piano-sonata-k-545-i"]  # 48 quarters: 24 s at 120
    _, labels = make(Draw(0, work, "piano", "flac", 120, 0), tmp_path, 30.3, synthesizer)
    notes = [(round(float(n.start or 0), 4), n.value) for n in told(labels, "note")]
    again = [(round(start - 24, 4), value) for start, value in notes if start > 23.99]
    assert again == notes[: len(again)]
    assert max(float(n.start or 0) + float(n.duration or 0) for n in told(labels, "note")) == pytest.approx(30.3, abs=2e-5)
    assert len(told(labels, "downbeat")) == 16  # bars of 2 s: 0, 2, … 30


def bar(length: float, meter: str = "4/4", *notes: Note) -> Written:
    return Written(length, meter, notes)


def test_an_upbeat_is_no_downbeat_and_a_bar_that_a_repeat_cuts_in_two_has_one() -> None:
    score = [bar(1), bar(4), bar(3), bar(1), bar(4), bar(3)]  # … and its last bar is filled by the upbeat of the next time
    _, bars = play(tuple(score), 32)
    assert [one.phase for one in bars[:6]] == [3, 0, 0, 3, 0, 0]
    assert [time for time, number in beats(bars) if number == 1] == [1, 5, 9, 13, 17, 21, 25, 29]
    assert [number for _, number in beats(bars)] == ([4] + [1, 2, 3, 4] * 8)[:32]


def test_beats_of_compound_meters_are_dotted() -> None:
    _, bars = play((bar(0.5, "6/8"), bar(3, "6/8"), bar(4.5, "9/8")), 8)
    assert list(beats(bars)) == [(0.5, 1), (2.0, 2), (3.5, 1), (5.0, 2), (6.5, 3)]
    assert [beat_length(meter) for meter in ("2/2", "3/4", "3/8", "12/8")] == [2, 1, 0.5, 1.5]


def test_ties_are_joined_over_bars_but_not_over_a_jump() -> None:
    held, going_on = Note(0, 3, 1, 60), Note(0, 0, 2, 60, tied=True)
    notes, _ = play((bar(4, "4/4", going_on), bar(4, "4/4", held)), 12)
    assert notes == [Note(0, 0, 2, 60), Note(0, 7, 3, 60)]


def test_a_pitch_struck_again_in_the_same_part_ends_the_first() -> None:
    notes, _ = play((bar(4, "4/4", Note(0, 0, 4, 60), Note(0, 1, 1, 60), Note(1, 0, 4, 60)),), 4)
    assert notes == [Note(0, 0, 1, 60), Note(1, 0, 4, 60), Note(0, 1, 1, 60)]


@pytest.mark.parametrize("name", ["bach-chorale-bwv-269", "traditional-liverpool-hornpipe", "bach-chorale-bwv-253"])
def test_repeats_and_notes_are_music21s(name: str) -> None:
    """music21's own unfolding and joining of ties is the oracle."""
    import music21

    work = WORK[name]
    written = read(work)
    length = sum(one.length for one in written)
    ours, _ = play(written, length)
    parser = music21.converter.Converter()
    parser.parseFileNoPickle(Path(music21.__file__).parent / "corpus" / work.path)
    unfolded = parser.stream.expandRepeats().stripTies()
    theirs = [
        (part, round(float(note.offset), 4), pitch.midi)
        for part, stream in enumerate(unfolded.parts)
        for note in stream.flatten().notes
        if not note.duration.isGrace
        for pitch in note.pitches
    ]
    assert float(unfolded.duration.quarterLength) == length
    assert sorted((note.part, round(note.onset, 4), note.pitch) for note in ours) == sorted(theirs)


def test_instruments_are_shared_out_from_the_highest_part_to_the_lowest() -> None:
    assert programs("string-quartet", 8) == [40, 40, 40, 40, 41, 41, 42, 42]
    assert programs("woodwinds", 1) == [73]


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_encoding_shifts_no_sample(tmp_path: Path, ending: str) -> None:
    # Noise beneath: FFmpeg finds the end of a Vorbis stream of silence up to 500 frames too late, whoever wrote it.
    clicks = np.random.default_rng(0).normal(0, 0.01, (3 * SAMPLE_RATE + 123, 2)).astype(np.float32)
    for place in (5, 30_001, 100_000, len(clicks) - 200):
        clicks[place : place + 64] += 0.8 * (np.hanning(64) * np.sin(np.arange(64) * 1.2))[:, None].astype(np.float32)
    encode.write(tmp_path / f"clicks.{ending}", clicks, SAMPLE_RATE, {"title": "clicks"})
    for sound in (soundfile.read(tmp_path / f"clicks.{ending}")[0], decoded_by_av(tmp_path / f"clicks.{ending}")):
        assert sound.shape == clicks.shape
        shifts = np.fft.irfft(np.fft.rfft(sound[:, 0]) * np.conj(np.fft.rfft(clicks[:, 0])))
        assert np.argmax(shifts) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"clicks.{ending}"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pieces": 0}, "pieces >= 1, got 0"),
        ({"seconds": float("nan")}, "seconds >= 1, got nan"),
        ({"seconds": float("inf")}, "seconds >= 1, got inf"),
        ({"seed": -1}, "seed >= 0, got -1"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesize(**({"out": tmp_path / "out", "pieces": 1, "seconds": 2, "seed": 0} | change))
    assert not (tmp_path / "out").exists()


def test_an_unknown_ending_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.aac: the ending is not one of \.flac, \.ogg, \.mp3, \.wav"):
        encode.write(tmp_path / "a.aac", np.zeros((10, 1), np.float32), 8000)


def test_names_of_works_are_distinct_and_safe() -> None:
    assert len(WORK) == sum(map(len, WORKS.values()))
    assert all(name.isascii() and name.replace("-", "").isalnum() for name in WORK)


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK.values(), ids=lambda work: work.name)
def test_every_work_has_regular_bars_and_sounds_from_the_first_second(work: Work) -> None:
    written = read(work)
    notes, bars = play(written, sum(one.length for one in written))
    downbeats = [(one.start, one.meter) for one in bars if one.phase == 0]
    assert all(round(b - a, 6) == full_length(meter) for (a, meter), (b, _) in pairwise(downbeats))
    assert min(note.onset for note in notes) * 60 / (work.tempo * beat_length(bars[0].meter)) < 0.8
    assert all(note.duration > 0 and note.pitch - 5 >= 21 and note.pitch + 6 <= 108 for note in notes)
