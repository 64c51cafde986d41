"""Chains: what is drawn, for whom, and that it can be repeated."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest

import augment
from augment import (
    AUGMENTATIONS,
    AddNoise,
    Augmentation,
    Chain,
    Change,
    Gain,
    Lineage,
    OneOf,
    PitchShift,
    Reverse,
    Scene,
    Sound,
    TimeStretch,
    Unfit,
    augmented,
    replay,
)
from augment.chain import view_id

RATE = 8_000


class Louder(Augmentation):
    """A stand-in that is drawn between two factors, and given to a GPU if it may."""

    use: Literal["Louder"] = "Louder"
    on_gpu = True
    most: float = 2.0

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> dict[str, Any]:
        return {"factor": float(rng.uniform(1, self.most))}

    @classmethod
    def audio(cls, sound: Sound, draw: dict[str, Any], scene: Scene) -> Sound:
        return sound.with_samples(sound.samples * np.float32(draw["factor"]))

    @classmethod
    def change(cls, draw: dict[str, Any]) -> Change:
        return Change(timbre=True)


class Shorter(Augmentation):
    """A stand-in that cuts the end off, and only on a CPU."""

    use: Literal["Shorter"] = "Shorter"
    by: int = 100

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> dict[str, Any]:
        return {"by": int(rng.integers(1, self.by))}

    @classmethod
    def audio(cls, sound: Sound, draw: dict[str, Any], scene: Scene) -> Sound:
        return sound.with_samples(sound.samples[: -draw["by"]].copy())

    @classmethod
    def change(cls, draw: dict[str, Any]) -> Change:
        return Change()


class Broken(Louder):
    """A stand-in whose samples are no numbers."""

    use: Literal["Broken"] = "Broken"  # type: ignore[assignment]
    on_gpu = False

    @classmethod
    def audio(cls, sound: Sound, draw: dict[str, Any], scene: Scene) -> Sound:
        return sound.with_samples(sound.samples * np.float32(np.nan))


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "AUGMENTATIONS", (*AUGMENTATIONS, Louder, Shorter, Broken, Halved))


def sound(seed: int = 0) -> Sound:
    return Sound(np.random.default_rng(seed).normal(size=RATE).astype(np.float32), RATE)


def view(chain: list[Augmentation], number: int = 1, clip: str = "clip", seed: int = 7, defer: bool = False) -> augment.View:
    return augmented(chain, sound(), Scene(), seed, clip, number, defer)


def steps(chain: list[Augmentation], **place: Any) -> list[dict[str, Any]]:
    return list(view(chain, **place).lineage.steps)


def test_the_same_clip_view_and_seed_give_the_same_draws_and_any_other_gives_others() -> None:
    drawn = steps([Louder()])
    assert steps([Louder()]) == drawn
    assert all(steps([Louder()], **other) != drawn for other in ({"number": 2}, {"clip": "other"}, {"seed": 8}))


def test_a_lineage_read_back_from_its_text_replays_to_the_same_samples() -> None:
    made = view([Louder(), Shorter(), Louder()])
    lineage = Lineage.parse(str(made.lineage))
    assert lineage == made.lineage
    assert [step["use"] for step in lineage.steps] == ["Louder", "Shorter", "Louder"]
    np.testing.assert_array_equal(replay(lineage, sound(), Scene()).samples, made.sound.samples)
    assert round(lineage.sound * RATE) == len(made.sound.samples) < RATE


def test_seconds_before_and_after_each_step_are_those_of_its_samples() -> None:
    lineage = view([Shorter(), Louder()]).lineage
    (_, first, second), (_, third, fourth) = lineage.seconds()
    assert first == 1.0
    assert second == third == fourth == lineage.sound == 1.0 - lineage.steps[0]["by"] / RATE


def test_two_of_a_kind_draw_for_themselves() -> None:
    first, second = steps([Louder(), Louder()])
    assert first["factor"] != second["factor"]


def test_other_parameters_leave_alone_every_view_in_which_the_augmentation_takes_no_part() -> None:
    before = {number: steps([Louder(p=0.5), Shorter(p=0.5)], number=number) for number in range(40)}
    after = {number: steps([Louder(p=0.5, most=3.0), Shorter(p=0.5)], number=number) for number in range(40)}
    changed = {number for number in before if before[number] != after[number]}
    assert changed == {number for number in before if any(step["use"] == "Louder" for step in before[number])}
    assert 0 < len(changed) < 40


def test_one_more_augmentation_leaves_the_draws_of_the_others_as_they_were() -> None:
    before, after = steps([Louder(), Louder()]), steps([Louder(), Shorter(), Louder()])
    assert [step["factor"] for step in before] == [step["factor"] for step in after if step["use"] == "Louder"]


def test_probability_is_the_share_of_views() -> None:
    share = np.mean([len(steps([Louder(p=0.3)], number=number)) for number in range(2000)])
    assert share == pytest.approx(0.3, abs=0.04)


def test_one_of_takes_each_in_proportion_to_its_weight_and_never_two() -> None:
    choice = OneOf.model_construct(p=1.0, of=(Louder(), Shorter()), weights=(3.0, 1.0))
    drawn = [steps([choice], number=number) for number in range(2000)]
    assert {len(each) for each in drawn} == {1}
    assert np.mean([each[0]["use"] == "Louder" for each in drawn]) == pytest.approx(0.75, abs=0.04)


def test_a_chain_is_applied_whole_or_not_at_all() -> None:
    chain = Chain.model_construct(p=0.5, of=(Louder(), Shorter()))
    assert {len(steps([chain], number=number)) for number in range(50)} == {0, 2}


@pytest.mark.parametrize(
    ("weights", "said"),
    [((1.0,), "as many weights as augmentations, got 1 for 2"), ((0.0, 0.0), "not all 0"), ((-1.0, 2.0), "weights >= 0")],
)
def test_weights_that_do_not_fit_are_named(weights: tuple[float, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OneOf(of=[{"use": "OneOf", "of": [{"use": "Reverse"}]}, {"use": "Reverse"}], weights=weights)


def test_what_a_gpu_can_do_last_is_left_pending_and_gives_the_same_in_the_end() -> None:
    whole, deferred = view([Louder(), Shorter(), Louder(), Louder()]), view([Louder(), Shorter(), Louder(), Louder()], defer=True)
    assert deferred.lineage == whole.lineage
    assert [step["use"] for step in deferred.pending] == ["Louder", "Louder"]
    heard = deferred.sound
    for step in deferred.pending:
        heard = Louder.audio(heard, step, Scene())
    np.testing.assert_array_equal(heard.samples, whole.sound.samples)


class Halved(Louder):
    """A stand-in that measures the clip, and only on a CPU."""

    use: Literal["Halved"] = "Halved"  # type: ignore[assignment]
    on_gpu = False

    def draw(self, rng: np.random.Generator, sound: Sound, scene: Scene) -> dict[str, Any]:
        return {"factor": 0.5 / float(np.abs(sound.samples).max())}


def test_what_measures_the_samples_does_so_after_all_that_comes_before_it() -> None:
    whole, deferred = view([Louder(), Halved(), Louder()]), view([Louder(), Halved(), Louder()], defer=True)
    assert deferred.lineage == whole.lineage
    assert len(deferred.pending) == 1
    assert np.abs(deferred.sound.samples).max() == pytest.approx(0.5)


def test_samples_that_are_no_numbers_make_the_view_unfit() -> None:
    with pytest.raises(Unfit, match="Broken gave samples that are no numbers") as caught:
        view([Broken()])
    assert caught.value.kind == "not finite"


def test_a_sound_that_is_not_the_lineages_own_is_refused() -> None:
    lineage = view([Louder()]).lineage
    with pytest.raises(ValueError, match="8000 samples at 8000 Hz, got 7999"):
        replay(lineage, Sound(sound().samples[1:], RATE), Scene())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sample_rate":1,"samples":2}', json.dumps({"steps": []})])
def test_a_text_that_is_no_lineage_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="not one that earmark wrote"):
        Lineage.parse(text)


def test_an_augmentation_that_this_version_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="no augmentation 'Teleport'; there are"):
        replay(Lineage(RATE, RATE, ({"use": "Teleport", "samples": RATE},)), sound(), Scene())


def test_equal_sounds_of_one_clip_have_one_identity() -> None:
    assert view_id("a", str(view([Louder()]).lineage)) == view_id("a", str(view([Louder()]).lineage))
    assert len({view_id("a", str(view([Louder()], number=number).lineage)) for number in range(9)}) == 9


def test_an_augmentation_says_in_few_words_what_it_draws() -> None:
    said = [each.label() for each in (PitchShift(), TimeStretch(low=0.5), AddNoise(), Gain(low_db=-3.5), Reverse())]
    assert said == [
        "PitchShift -2 … 2 semitones",
        "TimeStretch 0.5 … 1.25 × speed",
        "AddNoise 5 … 40 dB SNR",
        "Gain -3.5 … 12 dB",
        "Reverse",
    ]
