"""What to ask next: what is chosen, why, and what is said where nothing can be known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.labels import Label, table
from extractors.clip import clip_id
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.embeddings import Embeddings
from pipelines.neighbours import centres
from pipelines.part import StoreError
from pipelines.queue.cli import _quotas
from pipelines.queue.curves import drawn, summed
from pipelines.queue.learner import compressed, learn
from pipelines.queue.order import ranked
from pipelines.queue.queue import keep, queue
from pipelines.queue.simulate import ORDERS, Problem, macro_f1, problem, simulate
from pipelines.queue.spread import NOISE, spread
from pipelines.queue.value import Known, judged, posterior
from pipelines.store import Store
from tests.campaigning import MOODS
from tests.collection import earmark, tones

AT = datetime(2026, 1, 1, tzinfo=UTC)


def blobs(each: Sequence[int], apart: float = 6.0, width: int = 8, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clouds of so many points each, and whose each point is."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(len(each), width))
    places *= apart / np.linalg.norm(places, axis=1, keepdims=True)
    truth = np.repeat(np.arange(len(each)), each)
    return (places[truth] + rng.normal(size=(len(truth), width))).astype(np.float32), truth


def variance_left(vectors: NDArray[Any], asked: Sequence[int]) -> float:
    """Oracle: the summed posterior variance of Bayesian linear regression, by the textbook's formula."""
    known = vectors[list(asked)].astype(np.float64)
    spare = np.linalg.inv(np.eye(vectors.shape[1]) + known.T @ known / NOISE)
    return float(np.einsum("ij,jk,ik->", vectors, spare, vectors))


def test_each_choice_takes_as_much_variance_as_any_could() -> None:
    vectors = compressed(blobs((10, 12, 8))[0])
    ones = np.ones(len(vectors))
    rows, gains = spread(vectors, ones, ones, np.zeros(len(vectors)), 4)
    asked: list[int] = []
    for row, gain in zip(rows.tolist(), gains, strict=True):
        left = [variance_left(vectors, [*asked, each]) for each in range(len(vectors))]
        before = variance_left(vectors, asked)
        assert before - left[row] == pytest.approx(gain, rel=1e-3)
        assert left[row] == pytest.approx(min(left), rel=1e-4)
        asked.append(row)


def test_diversity_takes_a_clip_of_each_cloud_before_a_second_of_any() -> None:
    vectors, truth = blobs((40, 30, 20, 10))
    near = compressed(vectors)
    ones = np.ones(len(near))
    rows, _ = spread(near, ones, ones, np.zeros(len(near)), 4)
    assert sorted(truth[rows]) == [0, 1, 2, 3]
    # Clouds that were heard are not asked about again while others were not.
    heard = np.zeros(len(near))
    heard[np.flatnonzero(truth < 2)[::10]] = 1.0
    rows, _ = spread(near, ones, np.where(heard > 0, 0.0, 1.0), heard, 2)
    assert sorted(truth[rows]) == [2, 3]


def test_no_more_of_a_group_than_its_quota_and_those_without_one_are_free() -> None:
    near = compressed(blobs((20, 20))[0])
    ones, groups = np.ones(40), np.repeat([0, -1], 20)
    rows, _ = spread(near, ones, ones, np.zeros(40), 15, groups, 3)
    assert len(rows) == 15
    assert (groups[rows] == 0).sum() == 3


def test_half_the_time_is_twice_the_value() -> None:
    near = compressed(blobs((15, 15))[0])
    known = Known(np.full((30, 2), np.nan, np.float32), np.zeros(30, np.int64), True)
    opinion = judged(near, known, 0)
    one = ranked(near, known, opinion, np.ones(30), np.ones(30, bool), 1)
    half = ranked(near, known, opinion, np.full(30, 0.5), np.ones(30, bool), 1)
    assert half.gains[0] == pytest.approx(2 * one.gains[0])
    slow = np.ones(30)
    slow[one.rows[0]] = 1000.0
    assert ranked(near, known, opinion, slow, np.ones(30, bool), 1).rows[0] != one.rows[0]


def test_answers_make_the_posterior_of_bayes() -> None:
    # Two of three say the first of three tags, each wrong with 0.2, errors spread evenly: 0.8² · 0.1 against 0.8 · 0.1² and 0.1³.
    found = posterior(np.array([[2, 1, 0]]), np.array([3]), 0.2, True)[0]
    likely = np.array([0.8**2 * 0.1, 0.8 * 0.1**2, 0.1**3])
    np.testing.assert_allclose(found, likely / likely.sum(), rtol=1e-5)
    # Tags that do not exclude each other: 2 of 3 say it.
    assert posterior(np.array([[2.0]]), np.array([3]), 0.2, False)[0, 0] == pytest.approx(0.8, rel=1e-5)
    assert np.isnan(posterior(np.zeros((1, 2)), np.array([0]), 0.2, True)).all()


def test_a_wrong_answer_among_its_like_is_the_most_doubted_and_asked_again_before_others_that_were_answered() -> None:
    vectors, truth = blobs((30, 30))
    near = compressed(vectors)
    counts = np.zeros((60, 2))
    counts[np.arange(60), truth] = 1
    counts[7] = [0, 1]
    known = Known(posterior(counts, np.ones(60, np.int64), 0.1, True), np.ones(60, np.int64), True)
    opinion = judged(near, known, 0)
    assert opinion.wrong.argmax() == 7
    assert opinion.wrong[7] > 0.5
    found = ranked(near, known, opinion, np.ones(60), np.ones(60, bool), 1)
    assert (found.rows[0], found.again[0]) == (7, True)


def test_a_discriminant_tells_gaussians_apart_as_well_as_can_be() -> None:
    """Oracle: the best rule there is for two round clouds at a distance d is wrong with the normal tail beyond d / 2."""
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 20_000)
    vectors = rng.normal(size=(20_000, 5)) + truth[:, None] * np.array([2.0, 0, 0, 0, 0])
    values = np.eye(2)[truth[:2000]]
    for exclusive, said in ((True, values), (False, values[:, 1:])):
        learner = learn(vectors[:2000], said, np.ones(2000), exclusive)
        guessed = learner.probabilities(vectors[2000:])[:, -1] > 0.5
        assert (guessed != truth[2000:]).mean() == pytest.approx(norm.cdf(-1), abs=0.012)


def test_a_tag_that_nobody_said_is_never_guessed_and_one_that_was_said_once_can_be() -> None:
    vectors, truth = blobs((20, 20, 1))
    values = np.zeros((41, 4))
    values[np.arange(41), truth] = 1
    guesses = learn(compressed(vectors), values, np.ones(41), True).probabilities(compressed(vectors))
    assert (guesses[:, 3] == 0).all()
    assert np.isfinite(guesses).all()
    assert guesses[40, 2] == guesses[:, 2].max()


def test_compressing_forgets_scale_and_is_the_same_each_time() -> None:
    vectors = np.abs(blobs((50, 50))[0])
    one = compressed(vectors)
    assert (one**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    np.testing.assert_array_equal(one, compressed(vectors))
    constant = np.hstack([vectors, np.full((100, 2), 7, np.float32)])
    np.testing.assert_allclose(compressed(constant) @ compressed(constant).T, one @ one.T, atol=1e-4)
    assert compressed(np.ones((3, 4), np.float32)).shape == (3, 0)


def test_centres_stand_one_in_each_cloud_the_largest_first() -> None:
    vectors, truth = blobs((50, 30, 20), apart=30)
    assert truth[centres(vectors, 3)].tolist() == [0, 1, 2]
    assert centres(vectors[:2], 5).tolist() == [0, 1]


# A campaign

CAMPAIGN = MOODS + "[clips]\nseconds = 1.0\n[overlap]\nannotators = 2\n"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue")
    tones(folder / "audio", 12, seconds=1.0)
    (folder / "campaign.toml").write_text(CAMPAIGN)
    earmark("scan", folder / "audio", "--store", folder / "store")
    return folder


@pytest.fixture
def desk(scanned: Path, tmp_path: Path) -> Desk:
    """A campaign about twelve clips, in a store of its own."""
    store = Store(tmp_path / "store")
    tracks = Store(scanned / "store").read("tracks")
    store.publish("tracks", "all", tracks)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    return open_desk(tmp_path / "campaign.toml", store)


def heard(desk: Desk, broken: Sequence[int] = (), left_out: Sequence[int] = ()) -> Embeddings:
    """Made-up embeddings of its clips: two clouds of six."""
    tracks = sorted(desk.store.read("tracks").to_pylist(), key=lambda row: row["uri"])  # type: ignore[union-attr]
    vectors, _ = blobs((6, 6))
    vectors[list(broken)] = np.nan
    kept = [row for row in range(12) if row not in left_out]
    ids = [tracks[row]["track_id"] for row in kept]
    return Embeddings(tuple(clip_id(each, 0.0, 1.0) for each in ids), tuple(ids), np.zeros(len(kept)), np.ones(len(kept)), vectors[kept])


def say(desk: Desk, *said: tuple[int, str, str]) -> None:
    """(clip, person, mood)."""
    clips = heard(desk)
    rows = [
        Label("tag.mood", mood, f"{who}@example.org", "person", clips.tracks[clip], clips.clips[clip], campaign="moods", at=AT)
        for clip, who, mood in said
    ]
    desk.store.publish("labels", "all", table(rows))


def test_before_any_answer_clips_are_ordered_by_diversity_alone_and_that_is_said(desk: Desk) -> None:
    found = queue(desk, heard(desk))
    assert found.rows.num_rows == 12
    first = found.rows.column("key").to_pylist()[:2]
    clouds = [heard(desk).clips.index(each) // 6 for each in first]
    assert sorted(clouds) == [0, 1]
    assert any("nobody has answered yet" in remark for remark in found.remarks)
    assert all(reason.startswith("new: ") for reason in found.rows.column("reason").to_pylist())
    assert found.rows.equals(queue(desk, heard(desk)).rows)
    assert not (desk.folder / "queue.parquet").exists()
    keep(desk, found)
    assert Store(desk.store.root).local
    assert (desk.folder / "queue.parquet").exists()


def test_who_contradict_each_other_are_heard_first_and_a_third_is_asked(desk: Desk) -> None:
    sides = [(clip, who, "calm" if clip < 6 else "wild") for clip in (0, 1, 2, 3, 6, 7, 8, 9) for who in ("ada", "bo")]
    say(desk, *sides, (4, "ada", "wild"), (4, "bo", "wild"))
    found = queue(desk, heard(desk))
    rows = {row["key"]: row for row in found.rows.to_pylist()}
    name = heard(desk).clips[4]
    assert rows[name]["reason"].startswith("disputed: 2 answers so far: wild, wrong with ")
    assert found.more == {rows[name]["ext_id"]: 3}
    # What has its answers and is undisputed is not asked about; what nobody heard is.
    assert {heard(desk).clips.index(each) for each in rows} == {4, 5, 10, 11}
    assert all("(" in rows[heard(desk).clips[each]]["reason"] for each in (5, 10, 11))


def test_clips_without_features_are_counted_and_come_last(desk: Desk) -> None:
    found = queue(desk, heard(desk, broken=[0], left_out=[11]))
    assert "1 of 12 clips have no embedding; they come last" in found.remarks
    assert "1 clips have an embedding that is not finite; they come last" in found.remarks
    assert found.rows.column("reason").to_pylist()[-2:] == ["no embedding: nothing is known of it"] * 2


def test_one_tag_alone_teaches_nothing_and_a_tag_with_one_clip_is_named(desk: Desk) -> None:
    say(desk, (0, "ada", "calm"), (1, "ada", "calm"))
    assert any("all answers say the same" in remark for remark in queue(desk, heard(desk)).remarks)
    say(desk, (0, "ada", "calm"), (1, "ada", "calm"), (7, "ada", "wild"))
    assert any(remark.startswith("one clip alone is known to have wild") for remark in queue(desk, heard(desk)).remarks)


def test_rare_tags_come_first_where_a_quota_says_so(desk: Desk) -> None:
    say(desk, *((clip, who, "calm" if clip < 6 else "wild") for clip in (0, 1, 2, 3, 4, 6) for who in ("ada", "bo")))
    found = queue(desk, heard(desk), quotas={"tag": 2})
    reasons = found.rows.column("reason").to_pylist()
    assert [reason.split(",")[0] for reason in reasons[:4]] == [
        "rare: 1 known to have wild",
        "rare: 5 known to have calm",
        "rare: 1 known to have wild",
        "rare: 5 known to have calm",
    ]
    first = [heard(desk).clips.index(each) for each in found.rows.column("key").to_pylist()[:3:2]]
    assert all(each >= 6 for each in first)


@pytest.mark.parametrize(
    ("quotas", "message"),
    [
        ({"artist": 3}, "no recording of the campaign has anything in column 'artist'"),
        ({"composer": 3}, "no column 'composer' in the catalogue"),
        ({"artist": 3, "album": 2}, "one column beside tag"),
    ],
)
def test_a_quota_that_cannot_be_kept_is_refused(desk: Desk, quotas: dict[str, int], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        queue(desk, heard(desk), quotas=quotas)


def test_embeddings_of_other_clips_are_named(desk: Desk) -> None:
    strange = Embeddings(("x",), ("y",), np.zeros(1), np.ones(1), np.ones((1, 4), np.float32))
    with pytest.raises(StoreError, match="none of the campaign's 12 clips has an embedding; run a recipe with a window of 1 s"):
        queue(desk, strange)


def test_a_quota_that_is_none_is_named() -> None:
    assert _quotas(["artist=3", "tag=2"]) == {"artist": 3, "tag": 2}
    with pytest.raises(ValueError, match="'artist' is not COLUMN=N"):
        _quotas(["artist"])


# Simulation


def made() -> Problem:
    vectors, truth = blobs((60, 50, 40, 30), apart=3)
    groups = np.array([f"g{number % 12}" for number in range(len(truth))])
    values = np.eye(4)[truth]
    return problem(vectors, values, ("a", "b", "c", "d"), groups.tolist())[0]


@pytest.fixture(scope="module")
def curves() -> list[Any]:
    return list(simulate(made(), 2, 0.15, 3, 120))


def test_every_order_is_measured_by_the_same_test_groups_and_no_answer_is_about_them(curves: list[Any]) -> None:
    assert {curve.order for curve in curves} == {*ORDERS, "all"}
    for curve in curves:
        assert curve.asked == sorted(curve.asked)
        assert max(curve.clips) <= len(made().truth)
        assert curve.scores["discriminant"][-1] > 0.6
        assert max(curve.clips) <= round(len(made().truth) * 0.7) + 15
    whole = [curve.scores["discriminant"][-1] for curve in curves if curve.order == "all"]
    assert len(whole) == 2


def test_the_same_seed_gives_the_same_curve(curves: list[Any]) -> None:
    again = list(simulate(made(), 1, 0.15, 3, 120))
    assert again == [curve for curve in curves if curve.seed == 0]


def test_a_plot_has_its_text_as_text_and_a_description(curves: list[Any]) -> None:
    found = summed(curves)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    svg = drawn(found, "moods & <more>")
    assert svg == drawn(found, "moods & <more>")
    root = ET.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.findtext(f"{space}title") == "moods & <more>"
    assert "random" in (root.findtext(f"{space}desc") or "")
    assert "answers asked of people" in {each.text for each in root.iter(f"{space}text")}


def test_macro_f1_is_scikit_learns() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    truth, guessed = rng.integers(0, 4, 50), rng.integers(0, 6, 50)
    assert macro_f1(truth, guessed) == pytest.approx(f1_score(truth, guessed, average="macro", labels=np.unique(truth)))


def test_what_cannot_be_simulated_is_said() -> None:
    vectors = np.eye(4, dtype=np.float32)
    with pytest.raises(ValueError, match="no clip has a group"):
        problem(vectors, np.eye(4), "abcd", [""] * 4)
    with pytest.raises(ValueError, match="1 tags in 2 groups"):
        problem(vectors, np.array([[1.0], [1], [1], [1]]), "a", ["x", "x", "y", "y"])
    values = np.array([[1, 1], [1, 0], [0, 1], [1, 0]], float)
    vectors[3] = np.nan
    kept, remarks = problem(vectors, values, "ab", ["x", "x", "y", "y"])
    assert len(kept.truth) == 2
    assert remarks == ["1 clips without one tag are left out", "1 clips without a finite embedding are left out", "one clip alone has a, b"]
