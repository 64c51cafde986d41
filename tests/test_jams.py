"""JAMS: what a file says comes back, as labels and as a file; the jams package is the judge of what is written."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jams as oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.jams import Jams, read_jams, write_jams
from annotation.labels import Label

TRACK = "e3b0c44298fc1c149afb"
# The jams package calls jsonschema in a way that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:Passing a schema:DeprecationWarning")
anywhere = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

# One observation's value in each namespace, and the label that it is.
SAID: list[tuple[str, Any, str, str]] = [
    ("tag_open", "calm", "tag", "calm"),
    ("tag_gtzan", "hip-hop", "tag.gtzan", "hip-hop"),
    ("beat", 2, "beat", "2"),
    ("beat", 2.0, "beat", "2"),
    ("beat", None, "beat", ""),
    ("beat", 0, "jams.beat", "0"),
    ("beat_position", {"position": 2, "measure": 7, "num_beats": 3, "beat_units": 4}, "beat.position", "2 7 3/4"),
    ("onset", None, "onset", ""),
    ("onset", 0.5, "onset", "0.5"),
    ("onset", "", "onset", '""'),
    ("chord", "F#:min7/b3", "chord", "F#:min7/b3"),
    ("chord_harte", "C:maj", "chord.harte", "C:maj"),
    ("chord_roman", {"tonic": "C", "chord": "V"}, "jams.chord_roman", '{"tonic": "C", "chord": "V"}'),
    ("key_mode", "F#:minor", "key", "F# minor"),
    ("key_mode", "N", "key", "N"),
    ("key_mode", "D", "jams.key_mode", '"D"'),
    ("tempo", 120, "tempo", "120"),
    ("tempo", 97.5, "tempo", "97.5"),
    ("tempo", 0, "jams.tempo", "0"),
    ("note_midi", 60.0, "note", "60"),
    ("note_midi", 60.5, "note", "60.5"),
    ("note_midi", 300, "jams.note_midi", "300"),
    ("note_hz", 440.0, "note.hz", "69"),
    ("note_hz", 880, "note.hz", "81"),
    ("note_hz", 0.0, "jams.note_hz", "0.0"),
    ("pitch_midi", 69, "pitch_contour.midi", "440.0"),
    ("pitch_hz", -220, "pitch_contour.hz", "-220.0"),
    ("pitch_contour", {"index": 0, "frequency": 440.0, "voiced": True}, "pitch_contour", "440.0"),
    ("pitch_contour", {"index": 2, "frequency": 440, "voiced": False}, "pitch_contour.2", "-440.0"),
    ("pitch_contour", {"index": 0, "frequency": 0.0, "voiced": False}, "pitch_contour", "-0.0"),
    ("pitch_contour", {"voiced": True}, "jams.pitch_contour", '{"voiced": true}'),
    ("segment_open", "verse 1", "section", "verse 1"),
    ("segment_salami_upper", "A'", "section.salami_upper", "A'"),
    ("segment_salami_function", "chorus", "section.salami_function", "chorus"),
    ("multi_segment", {"label": "A", "level": 1}, "section.multi.1", "A"),
    ("lyrics", "la la", "text.lyrics", "la la"),
    ("vector", [1, 2.5], "jams.vector", "[1, 2.5]"),
    ("lyrics_bow", [["la", 2]], "jams.lyrics_bow", '[["la", 2]]'),
    ("mood_thayer", [0.1, -0.2], "jams.mood_thayer", "[0.1, -0.2]"),
    ("tag_open", None, "jams.tag_open", "null"),
]


def document(namespace: str, data: Any, **more: Any) -> dict[str, Any]:
    return {"annotations": [{"namespace": namespace, "annotation_metadata": {}, "data": data, **more}], "file_metadata": {"duration": 10}}


def observation(value: Any, time: Any = 1.5, duration: Any = 0.5, confidence: Any = None) -> dict[str, Any]:
    return {"time": time, "duration": duration, "value": value, "confidence": confidence}


def through(path: Path, said: Any) -> tuple[Jams, Any]:
    """A document read, and what is written of it."""
    path.write_text(json.dumps(said))
    jams = read_jams(path, TRACK)
    write_jams(jams, path)
    return jams, json.loads(path.read_text())


def same(left: Any, right: Any) -> bool:
    """Equal in types too: 1, 1.0 and true differ, nan is nan."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@pytest.mark.parametrize(("namespace", "value", "kind", "text"), SAID)
def test_an_observation_is_a_label_and_is_written_as_it_was(tmp_path: Path, namespace: str, value: Any, kind: str, text: str) -> None:
    said = document(namespace, [observation(value, confidence=0.25)])
    jams, back = through(tmp_path / "a.jams", said)
    assert jams.labels == [Label(kind, text, "unknown", "person", TRACK, start=1.5, duration=0.5, confidence=0.25)]
    assert same(back, said)


@pytest.mark.parametrize(("namespace", "value", "kind", "text"), SAID)
def test_a_label_alone_becomes_the_same_observation_and_is_valid(tmp_path: Path, namespace: str, value: Any, kind: str, text: str) -> None:
    label = Label(kind, text, "mira", "person", TRACK, start=1.5, duration=0.5, confidence=0.25)
    path = tmp_path / "a.jams"
    write_jams(Jams.of([label], 10.0), path)
    (annotation,) = oracle.load(str(path), validate=True).annotations
    (written,) = annotation.data
    assert (written.time, written.duration, written.confidence) == (1.5, 0.5, 0.25)
    assert written.value == value or math.isclose(written.value, value)
    # A value that its namespace does not allow would make the file invalid elsewhere.
    assert annotation.namespace == (
        namespace if not kind.startswith("jams.") or namespace in ("chord_roman", "vector", "lyrics_bow", "mood_thayer") else "blob"
    )
    assert read_jams(path, TRACK).labels == [label]


def test_every_vocabulary_of_jams_is_a_taxonomy_or_kept_as_json(tmp_path: Path) -> None:
    for namespace in oracle.schema.__dict__["__NAMESPACE__"]:
        try:
            words = oracle.schema.values(namespace)
        except (oracle.NamespaceError, KeyError):
            continue
        jams, _ = through(tmp_path / "a.jams", document(namespace, [observation(word) for word in words]))
        assert {label.kind.partition(".")[0] for label in jams.labels} <= {"tag", "section"}, namespace
        assert [label.value for label in jams.labels] == words
        write_jams(Jams.of(jams.labels, 10.0), tmp_path / "b.jams")
        (annotation,) = oracle.load(str(tmp_path / "b.jams"), validate=True).annotations
        assert annotation.namespace == namespace


def test_a_file_of_the_jams_package_with_all_its_metadata_comes_back(tmp_path: Path) -> None:
    jam = oracle.JAMS(file_metadata=oracle.FileMetadata(title="Air", artist="Bach", duration=10.0, identifiers={"isrc": "x"}))
    metadata = oracle.AnnotationMetadata(
        curator=oracle.Curator("Ada", "ada@example.org"),
        annotator={"name": "mira", "age": 7},
        version=2,
        corpus="RWC",
        data_source="program",
    )
    beats = oracle.Annotation("beat", time=1, duration=8, annotation_metadata=metadata, sandbox={"bars": [1, 2]})
    for at in range(8):
        beats.append(time=1 + at, duration=0, value=1 + at % 4, confidence=at / 10)
    contour = oracle.Annotation("pitch_contour")
    contour.append(time=0, duration=0, value={"index": 0, "frequency": 440.0, "voiced": True}, confidence=None)
    jam.annotations.extend([beats, contour])
    jam.sandbox.update(mine={"deep": [None, True]})
    jam.save(str(tmp_path / "a.jams"))
    before = json.loads((tmp_path / "a.jams").read_text())
    jams = read_jams(tmp_path / "a.jams", TRACK)
    write_jams(jams, tmp_path / "b.jams")
    assert same(json.loads((tmp_path / "b.jams").read_text()), before)
    assert oracle.load(str(tmp_path / "b.jams"), validate=True) == jam
    assert jams.labels[2] == Label("beat", "3", "mira", "model", TRACK, start=3.0, duration=0.0, confidence=0.2)
    assert not any(annotation.exact for annotation in jams.annotations)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_namespaces = st.sampled_from(sorted({namespace for namespace, *_ in SAID} | {"blob", "my_own", "tag_mine"}))
_rows = st.builds(
    observation,
    st.sampled_from([value for _, value, *_ in SAID]) | _json,
    st.integers(-5, 5) | st.floats(),
    st.integers(-5, 5) | st.floats(),
    st.none() | st.floats(0, 1) | _json,
)
_objects = st.dictionaries(st.text(max_size=3), _json, max_size=2)


@anywhere
@given(
    st.lists(
        st.fixed_dictionaries(
            {"namespace": _namespaces, "data": st.lists(_rows, max_size=5), "annotation_metadata": _objects},
            optional={"sandbox": _objects, "time": st.none() | st.integers(0, 9), "duration": st.none() | st.floats(0, 9), "more": _json},
        ),
        max_size=3,
    ),
    _objects,
    st.booleans(),
)
def test_whatever_a_file_says_is_written_again(tmp_path: Path, annotations: list[Any], sandbox: Any, dense: bool) -> None:
    if dense:
        for each in annotations:
            each["data"] = {name: [row[name] for row in each["data"]] for name in ("time", "duration", "value", "confidence")}
    said = {"annotations": annotations, "sandbox": sandbox, "file_metadata": {"title": "Ä"}}
    jams, back = through(tmp_path / "a.jams", said)
    assert same(back, said)
    assert read_jams(tmp_path / "a.jams", TRACK).labels == jams.labels


_times = st.none() | st.floats(0, 100)
_values = st.sampled_from([(kind, text) for *_, kind, text in SAID]) | st.sampled_from(
    [
        ("note", "60 92"),
        ("tempo", "120.0000"),
        ("downbeat", "1"),
        ("instrument", "flute"),
        ("meter", "6/8"),
        ("tag.mine", "x"),
        ("vocal range", "C3-G5"),
        ("key", "no key at all"),
        ("key", "F## minor"),
        ("chord.mine", "C:min"),
        ("jams.vector", "not JSON"),
        ("jams.nobody", '{"a":1}'),
        ("pitch_contour.melody", "440"),
        ("pitch_contour.midi", "-440.0"),
        ("text", "Ünïcode 𝄞"),
        ("singing_voice", "yes"),
    ]
)


@st.composite
def _labels(draw: st.DrawFn) -> list[Label]:
    clip, view = draw(st.sampled_from([(None, None), ("c", None), ("c", "v")]))
    labels = []
    for kind, value in draw(st.lists(_values, max_size=8)):
        labels.append(
            Label(
                kind,
                value,
                draw(st.sampled_from(["mira", "", "score"])),
                draw(st.sampled_from(["model", "person", "gold", "consensus"])),
                TRACK,
                clip,
                draw(_times),
                draw(_times),
                draw(st.none() | st.floats(0, 1)),
                draw(st.sampled_from([None, "spring"])),
                draw(st.none() | st.datetimes(timezones=st.just(UTC))),
                draw(st.sampled_from([None, "ab12"])),
                view,
            )
        )
    return labels


@anywhere
@given(_labels())
def test_labels_come_back_from_a_valid_file_with_their_ids(tmp_path: Path, labels: list[Label]) -> None:
    path = tmp_path / "a.jams"
    write_jams(Jams.of(labels, 100.0), path)
    loaded = oracle.load(str(path), validate=True)
    back = read_jams(path, TRACK).labels
    assert Counter(back) == Counter(labels)
    assert Counter(label.label_id for label in back) == Counter(label.label_id for label in labels)
    # So too when another program has read and written the file.
    loaded.save(str(path))
    assert Counter(read_jams(path, TRACK).labels) == Counter(labels)


def test_what_is_about_the_whole_track_lasts_as_long_as_it_for_others_and_is_about_the_whole_here(tmp_path: Path) -> None:
    label = Label("key", "C major", "score", "gold", TRACK)
    write_jams(Jams.of([label], 12.5), tmp_path / "a.jams")
    loaded = oracle.load(str(tmp_path / "a.jams"))
    (key,) = loaded.search(namespace="key_mode")[0].data
    assert (key.time, key.duration, key.value) == (0, 12.5, "C:major")
    assert loaded.file_metadata.duration == 12.5
    assert read_jams(tmp_path / "a.jams", TRACK).labels == [label]


def test_an_observation_that_was_edited_elsewhere_counts_more_than_what_was_kept_of_it(tmp_path: Path) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    notes = [Label("note", f"{pitch} 92", "mira", "person", TRACK, start=float(pitch), duration=1.0, at=at) for pitch in (60, 62)]
    path = tmp_path / "a.jams"
    write_jams(Jams.of(notes, 100.0), path)
    said = json.loads(path.read_text())
    said["annotations"][0]["data"][1]["value"] = 63
    path.write_text(json.dumps(said))
    assert read_jams(path, TRACK).labels == [notes[0], replace(notes[1], value="63")]


def test_a_label_that_was_moved_is_written_moved_and_its_neighbour_as_it_was(tmp_path: Path) -> None:
    said = document("beat", [observation(1.0, -0.5), observation(1.0, 0.5, 0.0, 1.5), observation(2.0, 1.0, 0.0)])
    (tmp_path / "a.jams").write_text(json.dumps(said))
    jams = read_jams(tmp_path / "a.jams", TRACK)
    (beats,) = jams.annotations
    assert [label.start for label in beats.labels] == [0.5, 1.0]
    moved = replace(beats, labels=(beats.labels[0], replace(beats.labels[1], start=2.0)))
    write_jams(replace(jams, annotations=(moved,)), tmp_path / "b.jams")
    data = json.loads((tmp_path / "b.jams").read_text())["annotations"][0]["data"]
    assert same(data, [observation(1.0, -0.5), observation(1.0, 0.5, 0.0, 1.5), observation(2, 2.0, 0.0)])


def test_labels_of_two_sounds_are_refused() -> None:
    labels = [Label("tag", "calm", "mira", "person", TRACK, clip_id=clip) for clip in ("a", "b")]
    with pytest.raises(ValueError, match=r"^Jams\.of: labels of 2 tracks, clips or views; .* make one for each$"):
        Jams.of(labels, 10.0)
    with pytest.raises(ValueError, match=r"^Jams\.of needs 0 <= seconds, got nan$"):
        Jams.of([], math.nan)


def test_a_label_that_its_annotation_cannot_hold_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    jams = Jams.of([Label("beat", "1", "mira", "person", TRACK, start=1.0)], 10.0)
    wrong = replace(jams.annotations[0], labels=(Label("chord", "C", "mira", "person", TRACK),))
    with pytest.raises(ValueError, match=r"^annotations\[0\]: beat cannot hold chord 'C'"):
        write_jams(replace(jams, annotations=(wrong,)), tmp_path / "a.jams")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": not JSON, and so not a JAMS file ("),
        ("[" * 100_000, ": not JSON, and so not a JAMS file ("),
        ("[]", ": no list of annotations; a JAMS file is an object that has one"),
        ('{"annotations": {}}', ": no list of annotations"),
        ('{"annotations": [], "sandbox": 3}', ": sandbox: '3' is not an object"),
        ('{"annotations": [3]}', ": annotations[0]: no namespace"),
        ('{"annotations": [{"namespace": "beat", "data": 3}]}', ": annotations[0].data: neither a list of observations nor an object"),
        ('{"annotations": [{"namespace": "beat"}]}', ": annotations[0].data: neither a list of observations nor an object"),
        ('{"annotations": [{"namespace": "beat", "data": [3]}]}', ": annotations[0].data[0]: not an observation"),
        ('{"annotations": [{"namespace": "beat", "data": [{"time": "1", "duration": 0}]}]}', ": annotations[0].data[0].time: '1' is not"),
        ('{"annotations": [{"namespace": "beat", "data": [{"time": 1}]}]}', ": annotations[0].data[0].duration: 'None' is not seconds"),
        ('{"annotations": [{"namespace": "beat", "data": [{"time": true, "duration": 0}]}]}', ": annotations[0].data[0].time: 'True' is"),
        (
            '{"annotations": [{"namespace": "pitch_hz", "data": {"time": [1], "duration": [], "value": [], "confidence": []}}]}',
            ": annotations[0].data: 1 of time, 0 of duration, 0 of value, 0 of confidence; there must be as many of each",
        ),
        (
            '{"annotations": [{"namespace": "beat", "data": [], "sandbox": {"earmark": {"x": 1}}}]}',
            ": annotations[0].sandbox.earmark.x: no field",
        ),
        (
            '{"annotations": [{"namespace": "beat", "data": [], "sandbox": {"earmark": {"at": ["2026"]}}}]}',
            ": annotations[0].sandbox.earmark.at: 1 entries for 0 observations; take at out of the sandbox",
        ),
        (
            '{"annotations": [{"namespace": "beat", "data": [], "sandbox": {"earmark": {"at": "noon"}}}]}',
            ": annotations[0].sandbox.earmark.at: 'noon' is not a time in ISO 8601",
        ),
        (
            '{"annotations": [{"namespace": "beat", "data": [], "sandbox": {"earmark": {"author": null}}}]}',
            ": annotations[0].sandbox.earmark.author: 'None' is not text",
        ),
        (
            '{"annotations": [{"namespace": "onset", "data": [{"time": 1, "duration": 0}], "sandbox": {"earmark": {"author_kind": "I"}}}]}',
            ": annotations[0].data[0]: label.author_kind: 'I' is not one of",
        ),
        (
            '{"annotations": [{"namespace": "beat", "data": [], "annotation_metadata": []}]}',
            ": annotations[0].annotation_metadata: '[]' is not",
        ),
    ],
)
def test_a_broken_file_is_named_with_the_place_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jams"
    path.write_text(text)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}{message}")) as error:
        read_jams(path, TRACK)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.jams: no such file$"):
        read_jams(tmp_path / "none.jams", TRACK)
