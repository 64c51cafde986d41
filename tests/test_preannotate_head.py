"""The loop closes: what people said teaches a head, and the next campaign starts from its guesses."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation.labels import Label
from annotation.task import Task
from pipelines.campaigns.asked import tasks, wanted
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.campaigns.preannotate import author, preannotations
from pipelines.catalog import scan
from pipelines.cli import main
from pipelines.gather import add
from pipelines.heads.files import head_hash, load
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.tracks import TRACKS
from tests.collection import earmark, tones
from tests.studio import RunningStudio
from tests.test_table import field, flat

CORPUS = Path(os.environ.get("EARMARK_CORPUS", "/nowhere")) / "philharmonia"
SECONDS, PATCHES = 1.0, 2
EXTRACTOR = {"use": "MusiCNN", "model": "MTT_musicnn", "weights": "0123456789abcdef" * 4, "outputs": []}
CHOICES = ("cello", "flute", "oboe <b>")
CAMPAIGN = """
name = "next"
title = "The next one"
[[questions]]
name = "what"
kind = "instrument"
text = "What plays?"
choices = ["cello", "flute", "oboe <b>", "tuba"]
multiple = true
[clips]
seconds = 1.0
[audio]
format = "wav"
[predictions]
head = "heads/instrument"
"""


def heard(store: Store, of: Sequence[tuple[str, str, float, int]], extractor: dict[str, Any] = EXTRACTOR, broken: int = 0) -> None:
    """What a network would store: vectors near the direction of what plays, which a track's number tells; the second patch is empty."""
    rng = np.random.default_rng(0)
    mean = np.array([np.eye(5)[number % 3] * 4 for *_, number in of]) + rng.normal(size=(len(of), 5))
    patches = np.stack([mean, np.zeros_like(mean)], 1).astype(np.float32)
    mean[:broken] = np.nan
    arrays = {
        "clip_id": pa.array([clip for clip, *_ in of]),
        "view": pa.array([0] * len(of), pa.int32()),
        "track_id": pa.array([track for _, track, *_ in of]),
        "start": pa.array([start for _, _, start, _ in of]),
        "seconds": pa.array([SECONDS] * len(of)),
        "valid": pa.array([PATCHES] * len(of), pa.int32()),
        "penultimate_mean": flat(mean.astype(np.float32)),
        "penultimate": flat(patches),
    }
    said: dict[str, dict[str, Any]] = {"penultimate_mean": {"shape": (5,)}, "penultimate": {"shape": (PATCHES, 5)}}
    fields = [field(name, array, **said.get(name, {})) for name, array in arrays.items()]
    footer = {"extractor": extractor, "window": {"seconds": SECONDS}, "variant": "v"}
    store.publish("musicnn", "part", pa.table(list(arrays.values()), schema=pa.schema(fields, {"earmark": json.dumps(footer)})), "v")


def make(folder: Path, campaign: str = CAMPAIGN, taught: int = 20, broken: int = 0) -> Desk:
    """A campaign on 24 recordings of two clips each, of the first `taught` of which it is known what plays; a head on them."""
    files = tones(folder / "music", 24)
    store = Store(folder / "store")
    scan(store, [str(folder / "music")])
    ids = {Path(row["uri"]).stem: row["track_id"] for row in store.read("tracks", ["uri", "track_id"]).to_pylist()}  # type: ignore[union-attr]
    number = {ids[path.stem]: index for index, path in enumerate(files)}
    (folder / "campaign.toml").write_text(campaign.split("[predictions]")[0])
    found, _ = tasks(open_desk(folder / "campaign.toml", store))
    heard(store, [(task.clip_id, task.track_id, task.start, number[task.track_id]) for task in found], broken=broken)
    add(store, [Label("instrument", CHOICES[n % 3], "score", "gold", track) for track, n in number.items() if n < taught])
    teach(folder)
    (folder / "campaign.toml").write_text(campaign)
    return open_desk(folder / "campaign.toml", store)


def teach(folder: Path, *more: str, code: int = 0) -> None:
    given = ["--embeddings", "musicnn.penultimate_mean", "--kind", "instrument", "--out", str(folder / "heads" / "instrument")]
    assert main(["train-head", "--store", str(folder / "store"), *given, *more]) == code


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return make(tmp_path_factory.mktemp("loop"))


def asked(desk: Desk, **changed: Any) -> Desk:
    """The same with other predictions in its file."""
    lines = "".join(f"{name} = {value}\n" for name, value in changed.items())
    file = desk.file.with_name(f"{uuid4().hex}.toml")
    file.write_text(CAMPAIGN + lines)
    return open_desk(file, desk.store)


def plays(desk: Desk, task: Task) -> str:
    uri = next(row["uri"] for row in desk.store.read("tracks", ["uri", "track_id"]).to_pylist() if row["track_id"] == task.track_id)  # type: ignore[union-attr]
    return CHOICES[int(Path(uri).stem) % 3]


def test_a_head_guesses_what_it_was_taught_with_its_own_thresholds(desk: Desk) -> None:
    known = desk.known()
    assert len(known) == 48
    said = preannotations(desk.store, desk.campaign, known)
    head = load(desk.file.parent / "heads" / "instrument")
    assert set(said) == {task.ext_id for task in known}
    right = [plays(desk, task) in [label.value for label in said[task.ext_id]] for task in known]
    assert np.mean(right) > 0.9
    limits = dict(zip(head.tags, head.thresholds.tolist(), strict=True))
    guessed = [label for labels in said.values() for label in labels]
    assert all((label.confidence or 0) >= limits[label.value] for label in guessed)
    assert {(label.kind, label.author_kind, label.author) for label in guessed} == {
        ("instrument", "model", author(desk.store, desk.campaign))
    }
    clips = desk.store.table("musicnn").to_table(columns=["clip_id", "penultimate_mean"])
    expected = head.probabilities(np.stack(clips.column("penultimate_mean").combine_chunks().to_numpy_ndarray()))
    counts = sum((expected >= head.thresholds).sum(1))
    assert len(guessed) == counts


def test_a_campaign_wants_them_on_the_server(desk: Desk) -> None:
    found, broken = wanted(desk)
    assert broken == []
    assert len(found.guesses) > 40
    assert found.version == f"Head-instrument@{head_hash(desk.file.parent / 'heads' / 'instrument')[:16]}"


def test_other_weights_thresholds_or_maps_are_another_model(desk: Desk, tmp_path: Path) -> None:
    def name(**changed: Any) -> str:
        return author(desk.store, asked(desk, **changed).campaign)

    plain = name()
    same = {name(map='{ what = { flute = "flute", cello = "cello" } }'), name(map='{ what = { cello = "cello", flute = "flute" } }')}
    assert len(same) == 1  # order means nothing
    others = [
        name(threshold=0.3),
        name(thresholds="{ what = { cello = 0.3 } }"),
        name(map='{ what = { flute = "tuba" } }'),
        name(map='{ what = { flute = "flute" } }'),
        *same,
    ]
    assert len({plain, *others}) == 6
    assert all(each.startswith(plain) for each in others)
    make(tmp_path, taught=24)
    assert author(desk.store, open_desk(tmp_path / "campaign.toml", desk.store).campaign)[:30] != plain[:30]


def test_what_is_not_changed_by_the_files_words_keeps_its_name(desk: Desk) -> None:
    assert author(desk.store, asked(desk).campaign) == author(desk.store, asked(desk, blind="true").campaign)


def test_changed_thresholds_and_maps_of_an_extractor_are_another_model(tmp_path: Path) -> None:
    from tests.test_backend import make_desk

    made = make_desk(tmp_path, "one")

    def name(old: str, new: str) -> str:
        text = made.file.read_text()
        assert old in text
        (tmp_path / "other.toml").write_text(text.replace(old, new))
        return author(made.store, open_desk(tmp_path / "other.toml", made.store).campaign)

    before = author(made.store, made.campaign)
    assert before == name('title = "one"', 'title = "another"')
    after = {
        name("[audio]", "threshold = 0.4\n[audio]"),
        name("[audio]", "thresholds = { mood = { calm = 0.4 } }\n[audio]"),
        name('happy = "happy"', 'happy = "sad"'),
        name("[audio]", "min_seconds = 2.0\n[audio]"),
    }
    assert len({before, *after}) == 5
    # Said otherwise, but the same.
    assert before == name("[audio]", "threshold = 0.5\nthresholds = { mood = { calm = 0.5 } }\n[audio]")


def test_the_files_thresholds_and_map_rule(desk: Desk) -> None:
    def guessed(**changed: Any) -> set[str]:
        said = preannotations(desk.store, asked(desk, **changed).campaign, desk.known())
        return {label.value for labels in said.values() for label in labels}

    assert guessed() == set(CHOICES)
    assert guessed(threshold=0.999999) == set()
    assert guessed(thresholds="{ what = { flute = 0.999999 } }") == set(CHOICES) - {"flute"}
    assert guessed(map='{ what = { flute = "tuba" } }') == {"tuba"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"table": '"musicnn"'}, "predictions.head: predictions come from a table or from a head; name one of them"),
        ({"column": '"tags"'}, "predictions.column: a head knows its column; leave this out"),
        ({"map": '{ what = { flute = "tromba" } }'}, "predictions.map.what: 'tromba' is not a choice of 'what'"),
    ],
)
def test_a_mistake_in_the_file_is_named(desk: Desk, changed: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asked(desk, **changed)


def test_no_head_and_nothing_to_guess_from_are_named(desk: Desk) -> None:
    file = desk.file.with_name("none.toml")
    for old, new, message in (
        ("heads/instrument", "heads/none", "predictions.head: 'heads/none' is no head; 'earmark train-head' writes such a folder"),
        ('head = "heads/instrument"', "blind = true", "predictions.table: predictions come from a table or from a head"),
        ('head = "heads/instrument"', 'table = "musicnn"', "predictions.map: say which of the extractor's tags mean which choices"),
    ):
        file.write_text(CAMPAIGN.replace(old, new))
        with pytest.raises(ValueError, match=message):
            open_desk(file, desk.store)


def test_a_tag_that_the_head_has_not_and_questions_that_it_cannot_answer_are_named(desk: Desk) -> None:
    with pytest.raises(StoreError, match=r"predictions\.map: 'horn' is no tag of .*; there are cello, flute, oboe <b>"):
        author(desk.store, asked(desk, map='{ what = { horn = "tuba" } }').campaign)
    file = desk.file.with_name("mood.toml")
    file.write_text(CAMPAIGN.replace('kind = "instrument"', 'kind = "tag.mood"'))
    with pytest.raises(StoreError, match="no question of kind 'instrument' has a choice among cello, flute"):
        author(desk.store, open_desk(file, desk.store).campaign)


def test_embeddings_of_other_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    made = make(tmp_path)
    rows = [(task.clip_id, task.track_id, task.start, 0) for task in made.known()]
    heard(made.store, rows, EXTRACTOR | {"outputs": ["penultimate"]})
    assert preannotations(made.store, made.campaign, made.known())  # other columns, the same numbers
    heard(made.store, rows, EXTRACTOR | {"weights": "f" * 64})
    for call in (lambda: author(made.store, made.campaign), lambda: preannotations(made.store, made.campaign, made.known())):
        with pytest.raises(StoreError, match=r"learnt from another table than 'musicnn' of .*: weights is 'f.*; train it again") as told:
            call()
        assert "\n" not in str(told.value)


def test_a_clip_whose_embedding_is_not_finite_gets_no_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path, broken=3)
    assert "3 clips are left out: their embeddings are not finite" in capsys.readouterr().err
    assert len(preannotations(made.store, made.campaign, made.known())) == 45


def test_regions_are_guessed_patch_by_patch(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.campaigns import preannotate

    monkeypatch.setattr(preannotate, "_patch_seconds", lambda *_: SECONDS / PATCHES)
    file = desk.file.with_name("regions.toml")
    file.write_text(CAMPAIGN.replace("multiple = true", "regions = true") + "threshold = 0.5\nmin_seconds = 0.0\n")
    campaign = open_desk(file, desk.store).campaign
    said = preannotations(desk.store, campaign, desk.known())
    right = [
        [label for label in said[task.ext_id] if (label.value, label.start, label.duration) == (plays(desk, task), 0.0, 0.5)]
        for task in desk.known()
    ]
    assert np.mean([bool(each) for each in right]) > 0.8  # the second patch is of nothing


def test_labels_on_what_was_not_heard_and_tags_of_too_few_recordings_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path)
    tracks = made.store.read("tracks", ["track_id"]).column("track_id").to_pylist()  # type: ignore[union-attr]
    add(
        made.store,
        [Label("instrument", "harp", "score", "gold", tracks[0]), Label("instrument", "flute", "s", "gold", tracks[1], "c" * 20)],
    )
    capfd.readouterr()
    teach(tmp_path, "--json")
    told = capfd.readouterr()
    assert "1 labelled clips or recordings ('instrument' by gold or consensus) have no embedding" in told.err
    assert "'harp' is left out: only 1 group of recordings has it, for 5 folds; label more" in told.err
    facts = json.loads(told.out)
    assert facts["tags"] == list(CHOICES)
    assert facts["figures"]["macro"]["roc_auc"][0] > 0.9
    assert facts["hash"] == head_hash(tmp_path / "heads" / "instrument")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--kind", "tag.mood"], "no labels 'tag.mood' by gold or consensus on clips of musicnn.penultimate_mean"),
        (["--embeddings", "penultimate_mean"], "'penultimate_mean' is not TABLE.COLUMN, as in musicnn.penultimate_mean"),
        (["--embeddings", "musicnn.pool5"], "'musicnn' has no column 'pool5'"),
        (["--embeddings", "vggish.mean"], "no table 'vggish'"),
        (["--embeddings", "musicnn.clip_id"], "not one vector a clip"),
        (["--authors", "people"], "--authors: 'people' is not one of model, person, gold, consensus"),
        (["--groups", "label"], "groups: 'label' is not one of artist, album, group, none"),
        (["--folds", "1"], "--folds: 1 is below 2"),
        (["--folds", "40"], "only 7 groups of recordings have it, for 40 folds"),
        (["--precision", "1.5"], "--precision: 1.5 is not between 0 and 1"),
        (["--release", "nowhere"], "nowhere: no release there"),
    ],
)
def test_a_mistake_in_the_command_is_one_line_and_writes_nothing(
    desk: Desk, given: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    usual = {"--store": desk.store.root, "--embeddings": "musicnn.penultimate_mean", "--kind": "instrument", "--out": str(tmp_path / "h")}
    usual |= dict(zip(given[::2], given[1::2], strict=True))
    assert main(["train-head", *(each for pair in usual.items() for each in pair)]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told
    assert not (tmp_path / "h").exists()


def test_recordings_of_one_artist_or_one_duplicate_are_one_group(tmp_path: Path) -> None:
    from pipelines.heads.groups import groups

    store = Store(tmp_path)
    words = [
        ("a", "Ada", "x", None),
        ("b", "Ada", None, None),
        ("c", None, "x", None),
        ("d", None, None, "g"),
        ("e", None, None, None),
        ("f", "", "", "g"),
    ]
    rows = [{"track_id": track, "uri": track, "artist": artist, "album": album, "group": group} for track, artist, album, group in words]
    store.publish("tracks", "part", pa.Table.from_pylist(rows, TRACKS))

    def sets(*by: str) -> list[str]:
        found = groups(store, list("abcdef"), by).tolist()
        return sorted("".join(name for name, each in zip("abcdef", found, strict=True) if each == number) for number in set(found))

    assert sets() == ["a", "b", "c", "d", "e", "f"]
    assert sets("artist") == ["ab", "c", "d", "e", "f"]
    assert sets("artist", "album", "group") == ["abc", "df", "e"]
    store.publish("groups", "part", pa.table({"track_id": ["c", "e", "z"], "group": ["1", "1", "1"]}), "v")
    assert sets("artist", "album", "group") == ["abce", "df"]


def test_a_release_teaches_with_its_training_split_and_judges_on_its_test(desk: Desk, tmp_path: Path) -> None:
    clips = sorted(task.clip_id for task in desk.known())
    for split, rows in (("train", clips[:30]), ("test", clips[30:])):
        (tmp_path / "1.0.0" / split).mkdir(parents=True)
        pq.write_table(pa.table({"clip_id": rows}), tmp_path / "1.0.0" / split / "part.parquet")
    given = ["--embeddings", "musicnn.penultimate_mean", "--kind", "instrument", "--out", str(tmp_path / "h"), "--folds", "3"]
    assert main(["train-head", "--store", desk.store.root, *given, "--release", str(tmp_path / "1.0.0")]) == 0
    figures = load(tmp_path / "h").figures
    labelled = 40  # clips of the 20 recordings of which it is known what plays
    assert figures["clips"] + figures["test"]["clips"] == labelled
    assert 5 < figures["test"]["clips"] < 18
    assert figures["test"]["macro"]["roc_auc"][0] > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="EARMARK_CORPUS names no corpus")
def test_real_instruments_from_recordings_to_guesses_on_a_server(tmp_path: Path, studio: RunningStudio) -> None:
    from annotation.studio import Studio
    from annotation.sync import plan

    names = ("cello", "flute", "guitar", "trombone")
    there = [sorted((CORPUS / name).glob("*.mp3")) for name in names]
    files = [path for each in there for path in each[:: max(1, len(each) // 45)]]
    with open(tmp_path / "files.csv", "w", newline="") as file:
        csv.writer(file).writerows([("uri", "group"), *((str(path), path.stem.split("_")[1]) for path in files)])
    (tmp_path / "recipe.toml").write_text('[window]\nseconds = 3.0\n[[extract]]\nuse = "MusiCNN"\noutputs = ["penultimate"]\n')
    store = Store(tmp_path / "store")
    earmark("scan", tmp_path / "files.csv", "--store", store.root)
    earmark("run", tmp_path / "recipe.toml", "--store", store.root, "--engine", "local")
    tracks = store.read("tracks", ["track_id", "uri", "group"]).to_pylist()  # type: ignore[union-attr]
    known = {row["track_id"]: Path(row["uri"]).parent.name for row in tracks}
    # Half of the pitches are known; the others are asked about.
    pitches = sorted({row["group"] for row in tracks})[::2]
    add(
        store, [Label("instrument", known[row["track_id"]], "folder", "gold", row["track_id"]) for row in tracks if row["group"] in pitches]
    )
    given = ["--store", store.root, "--embeddings", "musicnn.penultimate_mean", "--kind", "instrument", "--exclusive"]
    made = earmark("train-head", *given, "--out", tmp_path / "heads" / "instrument")
    assert made["figures"]["classes"]["accuracy"][0] > made["figures"]["classes"]["guessing"]["accuracy"] + 0.25
    (tmp_path / "campaign.toml").write_text(
        f'name = "n-{uuid4().hex[:8]}"\n'
        + CAMPAIGN.split("\n", 2)[2]
        .replace('["cello", "flute", "oboe <b>", "tuba"]\nmultiple = true', json.dumps(names))
        .replace("1.0", "3.0")
    )
    desk = open_desk(tmp_path / "campaign.toml", store)
    found, broken = wanted(desk)
    assert not broken
    fresh = [task for task in found.tasks if next(row["group"] for row in tracks if row["track_id"] == task.track_id) not in pitches]
    said = preannotations(store, desk.campaign, fresh)
    guesses = [(known[task.track_id], said[task.ext_id][0].value) for task in fresh if said[task.ext_id]]
    assert len(guesses) > 0.6 * len(fresh)
    assert np.mean([truth == guess for truth, guess in guesses]) > 0.75
    planned = plan(Studio(studio.url, studio.token), found)
    assert planned.embedded + len(planned.send) == len(found.guesses) > 0
