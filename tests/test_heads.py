"""Classifiers on stored embeddings: that they learn what scikit-learn learns, are judged honestly, and come back from disk as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from pipelines.heads.calibration import calibrate, expected_calibration_error, threshold
from pipelines.heads.files import head_hash, load, save
from pipelines.heads.groups import folds
from pipelines.heads.head import KINDS, as_probabilities, fit
from pipelines.heads.scores import areas, draws
from pipelines.heads.train import train

TAGS = ["calm", "wild", "<b>sad</b>\n🎻"]


def collection(clips: int = 600, dimensions: int = 12, tags: int = 3, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of unequal scales, and tags that follow from them by chance."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=(clips, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    chances = plain @ rng.normal(size=(dimensions, tags)) / 3 + rng.logistic(size=(clips, tags))
    return (plain * np.geomspace(0.01, 100, dimensions) + 5).astype(np.float32), (chances > 1).astype(np.float32)


def pipeline(strength: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000))


def test_a_linear_head_is_scikit_learns_also_from_disk_and_where_labels_are_missing(tmp_path: Path) -> None:
    vectors, values = collection()
    values[::3, 1] = np.nan
    head = fit(vectors, values, TAGS, strength=2.0)
    save(head, tmp_path / "head")
    found = load(tmp_path / "head").probabilities(vectors)
    np.testing.assert_array_equal(found, head.probabilities(vectors))
    vectors = vectors.astype(np.float64)
    scaler = StandardScaler().fit(vectors)  # of all clips, as tags share it
    for column in range(3):
        known = ~np.isnan(values[:, column])
        oracle = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(scaler.transform(vectors[known]), values[known, column])
        np.testing.assert_allclose(found[:, column], oracle.predict_proba(scaler.transform(vectors))[:, 1], atol=1e-5)


def test_an_exclusive_head_is_scikit_learns(tmp_path: Path) -> None:
    vectors, _ = collection()
    classes = np.digitize(vectors[:, 0], np.quantile(vectors[:, 0], [0.3, 0.7]))
    head = fit(vectors, np.eye(3, dtype=np.float32)[classes], TAGS, exclusive=True, strength=3.0)
    oracle = pipeline(3.0).fit(vectors.astype(np.float64), classes)
    np.testing.assert_allclose(head.probabilities(vectors), oracle.predict_proba(vectors), atol=1e-5)


def test_a_large_collection_in_single_precision_is_scikit_learns_nearly() -> None:
    vectors, values = collection(clips=50_000)  # 600,000 numbers
    oracle = pipeline(1.0).fit(vectors.astype(np.float64), values[:, 0])
    np.testing.assert_allclose(fit(vectors, values, TAGS).probabilities(vectors)[:, 0], oracle.predict_proba(vectors)[:, 1], atol=1e-3)


def test_an_svm_head_orders_clips_as_scikit_learns_and_gives_probabilities() -> None:
    vectors, values = collection()
    head = fit(vectors, values, TAGS, kind="svm", strength=10.0)
    oracle = make_pipeline(StandardScaler(), LinearSVC(C=0.1, dual=False, max_iter=10_000)).fit(vectors, values[:, 0])
    np.testing.assert_allclose(head.scores(vectors)[:, 0], oracle.decision_function(vectors), atol=1e-3)
    assert 0 < head.probabilities(vectors).min() < head.probabilities(vectors).max() < 1


def test_an_mlp_head_learns_what_no_line_can() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1000, 2)).astype(np.float32)
    values = np.column_stack([vectors[:, 0] * vectors[:, 1] > 0, vectors[:, 0] > 0]).astype(np.float32)
    values[:300, 1] = np.nan
    areas_of = {}
    for kind in ("linear", "mlp"):
        found = fit(vectors[200:], values[200:], TAGS[:2], kind=kind, strength=0.1).probabilities(vectors[:200])  # type: ignore[arg-type]
        areas_of[kind] = roc_auc_score(values[:200, 0], found[:, 0])
        assert roc_auc_score(vectors[:200, 0] > 0, found[:, 1]) > 0.98
    assert areas_of["linear"] < 0.65
    assert areas_of["mlp"] > 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exclusive", [False, True])
def test_every_kind_of_head_comes_back_from_disk_and_equal_inputs_give_equal_bytes(kind: Any, exclusive: bool, tmp_path: Path) -> None:
    vectors, values = collection(clips=90, dimensions=4, tags=2)
    if exclusive:
        values = np.eye(2, dtype=np.float32)[values[:, 0].astype(int)]
    else:
        values[:20, 0] = np.nan
    head = fit(vectors, values, TAGS[:2], kind=kind, exclusive=exclusive, seed=3)
    assert save(head, tmp_path / "one") == save(fit(vectors, values, TAGS[:2], kind, exclusive, seed=3), tmp_path / "two")
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    found = load(tmp_path / "one").probabilities(vectors)
    np.testing.assert_array_equal(found, head.probabilities(vectors))
    assert ((found > 0.5) == (values == 1))[20:].mean() > 0.7
    if exclusive:
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_what_is_not_finite_has_no_probability_and_is_not_learnt_from() -> None:
    vectors, values = collection()
    plain = fit(vectors, values, TAGS)
    broken = np.concatenate([vectors, np.full((2, 12), np.nan, np.float32), np.full((1, 12), np.inf, np.float32)])
    head = fit(broken, np.concatenate([values, np.ones((3, 3), np.float32)]), TAGS)
    found = head.probabilities(broken)
    assert np.isnan(found[-3:]).all()
    np.testing.assert_array_equal(found[:-3], plain.probabilities(vectors))


def test_a_dimension_that_never_changes_says_nothing() -> None:
    vectors, values = collection()
    constant = np.column_stack([vectors, np.full(len(vectors), 1e6 / 3, np.float32)])
    changed = constant.copy()
    changed[:, -1] += 1
    head = fit(constant, values, TAGS)
    np.testing.assert_allclose(head.probabilities(changed), fit(vectors, values, TAGS).probabilities(vectors), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((600, 3))}, "'calm': 600 clips have it and 0 lack it; both are needed; 'wild'"),
        ({"values": np.full((600, 3), np.nan)}, "no clip has both a label and an embedding"),
        ({"vectors": np.zeros((599, 12))}, r"vectors \(599, 12\) and values \(600, 3\)"),
        ({"exclusive": True}, "exclusive classes need one for each clip"),
        ({"strength": 0.0}, "strength: 0.0 is not above 0"),
        ({"kind": "forest"}, "kind: 'forest' is not one of linear, svm, mlp"),
        ({"tags": []}, "for 0 tags"),
    ],
)
def test_what_cannot_be_learnt_is_said(change: dict[str, Any], message: str) -> None:
    vectors, values = collection()
    with pytest.raises(ValueError, match=message):
        fit(**({"vectors": vectors, "values": values, "tags": TAGS} | change))


def test_areas_under_curves_are_scikit_learns_with_ties_and_weights() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(300) < 0.2
    found = np.round(rng.random(300) * (1 + truth), 1)
    weights = rng.integers(0, 3, (300, 45)).astype(np.float32)
    roc, pr = areas(found, truth, weights)
    for draw in range(45):
        assert roc[draw] == pytest.approx(roc_auc_score(truth, found, sample_weight=weights[:, draw]), abs=1e-6)
        assert pr[draw] == pytest.approx(average_precision_score(truth, found, sample_weight=weights[:, draw]), abs=1e-6)


def test_one_class_alone_has_no_area() -> None:
    for truth in (np.zeros(5), np.ones(5)):
        roc, pr = areas(np.arange(5.0), truth)
        assert np.isnan([roc[0], pr[0]]).all()


def test_groups_are_drawn_whole_and_as_many_as_there_are() -> None:
    often = draws(np.array([7, 7, 3, 9, 9, 9]), 500, seed=0)
    assert (often[0] == often[1]).all()
    assert (often[3] == often[5]).all()
    assert (often[[0, 2, 3]].sum(0) == 3).all()
    assert often[2].mean() == pytest.approx(1, abs=0.15)


def test_folds_keep_groups_whole_and_share_rare_tags() -> None:
    rng = np.random.default_rng(2)
    group = rng.integers(0, 100, 2000)
    values = np.zeros((2000, 2), np.float32)
    values[:, 0] = rng.random(2000) < 0.5
    values[np.isin(group, range(5)), 1] = 1  # a rare tag that five groups have throughout
    fold = folds(values, group, 5)
    assert all(len(set(fold[group == each].tolist())) == 1 for each in range(100))
    assert [len(set(group[(fold == each) & (values[:, 1] == 1)].tolist())) for each in range(5)] == [1] * 5
    assert np.bincount(fold).min() > 300
    with pytest.raises(ValueError, match="folds: 5 of 3 groups"):
        folds(values[:10], np.array([0] * 4 + [1] * 3 + [2] * 3), 5)


def test_clips_of_one_recording_on_both_sides_would_flatter_a_head() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(60), 10)
    # Embeddings tell recordings apart; whether one has the tag is a coin.
    vectors = (rng.normal(size=(60, 40))[group] + 0.3 * rng.normal(size=(600, 40))).astype(np.float32)
    values = rng.permutation(np.repeat([0, 1], 30))[group][:, None].astype(np.float32)
    by_clip = train(vectors, values, ["tag"], np.arange(600), draw=50).head.figures["macro"]["roc_auc"][0]
    by_group = train(vectors, values, ["tag"], group, draw=50).head.figures["macro"]["roc_auc"][0]
    assert by_clip > 0.9
    assert 0.3 < by_group < 0.7


def test_cross_validation_finds_the_figures_that_fresh_clips_have() -> None:
    vectors, values = collection(clips=3000)
    made = train(vectors[:1000], values[:1000], TAGS, np.arange(1000) // 2)
    fresh = made.head.probabilities(vectors[1000:])
    for column, tag in enumerate(TAGS):
        figures = made.head.figures["tags"][tag]
        value, low, high = figures["roc_auc"]
        assert low < value < high
        assert value == pytest.approx(roc_auc_score(values[1000:, column], fresh[:, column]), abs=0.03)
        assert figures["pr_auc"][0] == pytest.approx(average_precision_score(values[1000:, column], fresh[:, column]), abs=0.06)
        said = fresh[:, column] >= made.head.thresholds[column]
        assert figures["f1"] == pytest.approx(f1_score(values[1000:, column], said), abs=0.06)
        assert figures["f1"] > figures["guessing"]["f1"]
        assert figures["calibration_error"] < 0.06
    assert made.remarks == ()
    assert made.head.figures["groups"] == 500


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    # A score of known area: the share of pairs in which N(1, 1) is above N(0, 1) is the normal distribution at 1 / sqrt(2).
    rng, inside = np.random.default_rng(4), 0
    for _ in range(100):
        truth = np.repeat([0, 1], 60)
        found = truth + rng.normal(size=120)
        low, high = np.percentile(areas(found, truth, draws(np.arange(120), 200, seed=0))[0], [2.5, 97.5])
        inside += low < 0.7602 < high
    assert 87 <= inside <= 100


@pytest.mark.parametrize("exclusive", [False, True])
def test_calibration_mends_what_is_too_certain(exclusive: bool) -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(4000, 3)).astype(np.float32)
    true = as_probabilities(scores, 1.0, 0.0, exclusive)
    if exclusive:
        values = np.eye(3)[(true.cumsum(1) < rng.random((4000, 1))).sum(1).clip(0, 2)]
    else:
        values = (rng.random((4000, 3)) < true).astype(float)
    shown = 4 * scores  # four times as sure as it may be
    slope, offset = calibrate(shown[:2000], values[:2000], exclusive)
    np.testing.assert_allclose(slope, 0.25, atol=0.05)  # three standard errors
    np.testing.assert_allclose(offset, 0, atol=0.15)
    before = as_probabilities(shown[2000:], 1, 0, exclusive)
    after = as_probabilities(shown[2000:], slope, offset, exclusive)
    for column in range(3):
        assert expected_calibration_error(before[:, column], values[2000:, column]) > 0.1
        assert expected_calibration_error(after[:, column], values[2000:, column]) < 0.05


def test_calibration_of_clips_that_are_told_apart_without_error_stops_short_of_certainty() -> None:
    slope, offset = calibrate(np.array([[-1.0], [-1.0], [1.0], [1.0]]), np.array([[0.0], [0.0], [1.0], [1.0]]), False)
    found = as_probabilities(np.array([[1.0], [-1.0]]), slope, offset, False)
    np.testing.assert_allclose(found[:, 0], [3 / 4, 1 / 4], atol=1e-4)  # (n + 1) / (n + 2) of two


@pytest.mark.parametrize("precision", [0.0, 0.5, 0.8])
def test_a_threshold_is_the_best_of_all(precision: float) -> None:
    rng = np.random.default_rng(6)
    truth = rng.random(200) < 0.3
    found = np.round(rng.random(200) * 0.5 + 0.3 * truth, 2)
    limit, kept = threshold(found, truth, precision)
    assert kept
    said = {each: found >= each for each in np.unique(found)}
    if precision:
        good = [each for each in said if truth[said[each]].mean() >= precision]
        assert (found >= limit).sum() == said[min(good)].sum()
    else:
        assert f1_score(truth, found >= limit) == pytest.approx(max(f1_score(truth, each) for each in said.values()))


def test_a_precision_that_is_asked_for_is_met_on_fresh_clips_or_its_tag_is_never_said() -> None:
    vectors, values = collection(clips=4000)
    values[:, 2] = np.random.default_rng(7).random(4000) < 0.1  # nothing to do with the sound
    made = train(vectors[:2000], values[:2000], TAGS, np.arange(2000), precision=0.9, draw=20)
    fresh = made.head.probabilities(vectors[2000:]) >= made.head.thresholds
    for column in range(2):
        assert values[2000:][fresh[:, column], column].mean() > 0.86
        assert fresh[:, column].sum() > 100
    assert not fresh[:, 2].any()
    assert f"{TAGS[2]!r}: a precision of 0.9 was not reached; it is never said" in made.remarks


def test_tags_that_cannot_be_learnt_are_left_out_and_named() -> None:
    vectors, values = collection(clips=300, tags=2)
    values = np.column_stack([values, np.zeros((300, 4), np.float32)])
    values[0, 2] = 1  # one positive
    values[:, 3] = 1  # one class
    values[:, 4] = np.nan  # nobody said
    group = np.arange(300) // 3
    values[group < 2, 5] = 1  # two groups
    vectors[299] = np.nan
    made = train(vectors, values, ["a", "b", "once", "always", "never asked", "twice"], group, draw=20)
    assert made.head.tags == ("a", "b")
    assert set(made.remarks) == {
        "1 clips are left out: their embeddings are not finite",
        "'once' is left out: only 1 group of recordings has it, for 5 folds; label more",
        "'always' is left out: 299 clips have it and 0 lack it; both are needed",
        "'never asked' is left out: 0 clips have it and 0 lack it; both are needed",
        "'twice' is left out: only 2 groups of recordings have it, for 5 folds; label more, or take --folds 2",
    }
    assert sorted(made.head.figures["left_out"]) == ["always", "never asked", "once", "twice"]
    with pytest.raises(ValueError, match=r"nothing can be learnt: .*'once' is left out"):
        train(vectors, values[:, 2:3], ["once"], group)


def test_classes_without_enough_recordings_go_with_their_clips_and_the_commonest_is_beaten() -> None:
    rng = np.random.default_rng(8)
    classes = np.repeat([0, 1, 2, 3], [90, 60, 48, 2])
    vectors = (np.eye(4)[classes] * 3 + rng.normal(size=(200, 4))).astype(np.float32)
    values = np.eye(4, dtype=np.float32)[classes]
    values[0, 1] = 1  # two classes at once
    made = train(vectors, values, ["w", "x", "y", "z"], np.arange(200), exclusive=True, draw=50)
    assert made.head.tags == ("w", "x", "y")
    assert made.head.figures["clips"] == 197
    assert any("'z' is left out" in each for each in made.remarks)
    assert "1 clips are left out: they have several classes, and exclusive heads say one" in made.remarks
    found = made.head.figures["classes"]
    assert found["guessing"]["accuracy"] == pytest.approx(89 / 197, abs=1e-6)
    assert found["accuracy"][0] > 0.9
    assert found["macro_f1"] > 0.9
    # All commonest: F1 of that class 2p / (1 + p), 0 of the others.
    assert found["guessing"]["macro_f1"] == pytest.approx(2 * 89 / (197 + 89) / 3, abs=1e-6)


def test_training_twice_gives_the_same_head(tmp_path: Path) -> None:
    vectors, values = collection(clips=200)
    hashes = {save(train(vectors, values, TAGS, np.arange(200), draw=20).head, tmp_path / name) for name in "ab"}
    assert len(hashes) == 1
    assert (tmp_path / "a" / "head.json").read_bytes() == (tmp_path / "b" / "head.json").read_bytes()


def saved(folder: Path) -> Path:
    vectors, values = collection(clips=100)
    save(fit(vectors, values, TAGS), folder)
    return folder


def test_another_head_in_the_same_place_replaces_it_and_thresholds_are_part_of_the_hash(tmp_path: Path) -> None:
    vectors, values = collection(clips=100)
    head = fit(vectors, values, TAGS)
    first = save(head, tmp_path)
    assert first == head_hash(tmp_path)
    assert save(replace(head, thresholds=head.thresholds * np.float32(0.9)), tmp_path) != first
    assert save(fit(vectors, values, TAGS, strength=9.0), tmp_path) != first
    assert len(list(tmp_path.iterdir())) == 2


def test_a_head_is_whole_or_absent_wherever_writing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.heads import files

    before = load(saved(tmp_path)).probabilities(collection()[0])
    real = files.publish

    def killed(filesystem: Any, path: str, payload: bytes) -> None:
        if path.endswith("head.json"):
            raise KeyboardInterrupt
        real(filesystem, path, payload)

    monkeypatch.setattr(files, "publish", killed)
    vectors, values = collection(seed=9)
    with pytest.raises(KeyboardInterrupt):
        save(fit(vectors, values, TAGS), tmp_path)
    np.testing.assert_array_equal(load(tmp_path).probabilities(collection()[0]), before)


def _edit(name: str, value: Any) -> Any:
    def edit(folder: Path) -> None:
        file = folder / "head.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))

    return edit


def _numbers(change: Any) -> Any:
    """A folder whose numbers were exchanged, with the right hashes."""

    def edit(folder: Path) -> None:
        import hashlib

        from safetensors.numpy import load as unpacked
        from safetensors.numpy import save as packed

        from pipelines.heads.files import _hash

        said = json.loads((folder / "head.json").read_text())
        numbers = change((folder / said["weights"]).read_bytes(), unpacked, packed)
        (folder / said["weights"]).write_bytes(numbers)
        said["sha256"] = hashlib.sha256(numbers).hexdigest()
        said["hash"] = _hash(said["sha256"], said["kind"], said["exclusive"], said["thresholds"])
        (folder / "head.json").write_text(json.dumps(said))

    return edit


def _with(**arrays: Any) -> Any:
    return _numbers(lambda raw, unpacked, packed: packed(unpacked(raw) | arrays))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "head.json").unlink(), "No such file or directory; no head is there, 'earmark train-head --out"),
        (lambda folder: (folder / "head.json").write_text("{"), "not a head: Invalid JSON"),
        (lambda folder: (folder / "head.json").write_text("[" * 100_000), "not a head: "),
        (lambda folder: (folder / "head.json").write_bytes(b"\xff\xfe\x00"), "not a head: Invalid JSON"),
        (_edit("weights", "../../etc/passwd"), "not a head: weights: String should match pattern"),
        (_edit("kind", "pickle"), "not a head: kind"),
        (_edit("extra", 1), "not a head: extra"),
        (_edit("thresholds", {"calm": 0.1}), "was changed after it was written"),
        (_edit("exclusive", True), "was changed after it was written"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "the head is not whole"),
        (lambda folder: next(folder.glob("*.safetensors")).write_bytes(b"x"), "not the numbers that head.json speaks of"),
        (_numbers(lambda raw, *_: raw[:-4]), "not a whole safetensors file"),
        (_numbers(lambda raw, *_: (2**60).to_bytes(8, "little") + raw[8:]), "not a whole safetensors file"),
        (_numbers(lambda raw, *_: b""), "not a whole safetensors file"),
        (_with(other=np.zeros(3, np.float32)), "holds bias.0, mean, offset, other"),
        (_with(slope=np.zeros(2, np.float32)), r"slope has shape \(2,\), where \(3,\) is needed"),
        (_with(mean=np.zeros((12, 1), np.float32)), "is needed for 3 tags"),
        (_with(mean=np.full(12, np.nan, np.float32)), "mean is not float32 that is finite"),
        (_with(scale=np.zeros(12, np.float32)), "scale is not above 0"),
        (_with(**{"weights.0": np.zeros((12, 3), np.float64)}), "weights.0 is not float32"),
    ],
)
def test_a_folder_that_is_no_head_is_told_in_one_line(spoil: Any, message: str, tmp_path: Path) -> None:
    spoil(saved(tmp_path))
    with pytest.raises(ValueError, match=message) as told:
        load(tmp_path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 700


def test_vectors_of_another_length_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a head of 12 dimensions was given vectors of shape \(5, 11\)"):
        load(saved(tmp_path)).probabilities(np.zeros((5, 11)))
