"""What becomes of each kind of label under each augmentation."""

from __future__ import annotations

import pickle
from typing import ClassVar

import pytest
from pydantic import ValidationError

from annotation.kinds import _KINDS, base
from augment.augmentation import Augmentation, Change, Guest
from augment.choice import Chain, OneOf
from augment.contract import RULES, Policy, Rule, contract, refused, text, verdict
from augment.timing import Speed, TimeStretch

POLICY = Policy()
PITCH, SPEED, REVERSE, TIMBRE = Change(semitones=2), Change(rate=1.05), Change(mirrored=True), Change(timbre=True)
MIX, STEMS, OFFSET = Change(guests=(Guest("b", 0, 1),)), Change(gone=("drums",)), Change(offset=-1)


class Ends(Augmentation):
    """Has the extremes that it is given."""

    changes: ClassVar[dict[str, tuple[Change, ...]]] = {
        "shift": (Change(semitones=-2), Change(semitones=2)),
        "stretch": (Change(rate=0.8), Change(rate=1.25)),
    }
    name: str

    def extremes(self) -> tuple[Change, ...]:
        return self.changes[self.name]

    def label(self) -> str:
        return self.name


def test_kinds_with_rules_are_those_whose_values_are_known() -> None:
    assert set(RULES) == {base(kind) for kind in _KINDS}


@pytest.mark.parametrize(
    ("change", "unchanged", "transformed", "dropped"),
    [
        (PITCH, "tag instrument tempo beat meter section composer singing_voice onset", "key chord note pitch_contour", ""),
        (
            SPEED,
            "tag instrument key meter composer license",
            "tempo beat downbeat onset chord note section pitch_contour singing_voice",
            "",
        ),
        (REVERSE, "tag instrument key tempo composer license", "chord pitch_contour section music_speech", ""),
        (TIMBRE, " ".join(RULES), "", ""),
        (MIX, "", "tag instrument onset note composer license", ""),
        (STEMS, "key tempo meter beat downbeat section composer license", "", "tag instrument"),
        (Change(swapped=("drums",)), "key tempo meter beat downbeat section", "composer license", "tag instrument"),
        (OFFSET, "tag instrument key tempo meter text mood", "beat note chord section", ""),
    ],
)
def test_the_table(change: Change, unchanged: str, transformed: str, dropped: str) -> None:
    stated = dict.fromkeys(unchanged.split(), "unchanged")
    stated |= dict.fromkeys(transformed.split(), "transformed") | dict.fromkeys(dropped.split(), "dropped")
    assert {kind: verdict(kind, change, POLICY).effect for kind in stated} == stated


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (PITCH, "text mood"),
        (SPEED, "text mood"),
        (REVERSE, "meter beat downbeat onset note text mood"),
        (TIMBRE, "mood"),
        (MIX, "singing_voice music_speech key tempo meter beat downbeat chord pitch_contour section text mood"),
        (STEMS, "singing_voice music_speech onset chord note pitch_contour text mood"),
    ],
)
def test_the_table_of_refusals_and_nothing_else_is_refused(change: Change, kinds: str) -> None:
    assert {kind for kind in [*RULES, "mood"] if verdict(kind, change, POLICY).effect == "refused"} == set(kinds.split())


def test_how_tells_the_range() -> None:
    shift, stretch = Ends.changes["shift"], Ends.changes["stretch"]
    assert verdict("key", shift, POLICY).how == "C major → Bb major … D major"
    assert verdict("note", shift, POLICY).how == "-2 … +2 semitones"
    assert verdict("pitch_contour", [Change(semitones=12)], POLICY).how == "× 2"
    assert verdict("tempo", stretch, POLICY).how == "× 0.8 … 1.25"
    assert verdict("beat", stretch, POLICY).how == "times ÷ 0.8 … 1.25"
    assert verdict("tag.mtat", stretch, POLICY).how == "refused beyond × 0.9 … 1.12: slow, fast, …"
    assert verdict("section.salami_upper", stretch, POLICY).how == "times ÷ 0.8 … 1.25"
    assert verdict("chord.harte", OFFSET, POLICY).how == "times moved"
    assert verdict("pitch_contour.2", REVERSE, POLICY).how == "times turned round"
    assert verdict("mood", shift, POLICY).how == "refused: no rule"
    assert verdict("text", shift, POLICY).how == "refused: pitch changes"


def test_a_change_that_rounds_to_no_semitone_leaves_names() -> None:
    assert verdict("key", [Change(semitones=-0.5), Change(semitones=0.5)], POLICY).effect == "unchanged"
    assert verdict("note", [Change(semitones=0.5)], POLICY).effect == "transformed"


def test_tags_that_never_speak_of_tempo_may_be_stretched() -> None:
    stretch = Ends.changes["stretch"]
    assert verdict("tag", stretch, POLICY, ["rock", "slowcore"]).effect == "unchanged"
    assert verdict("tag", stretch, POLICY, ["rock", "slow jam", "Up-tempo"]).how.endswith(": Up-tempo, slow jam")
    assert verdict("tag", stretch, Policy(tags_keep_within=(0.8, 1.25)), ["slow"]).effect == "unchanged"
    assert verdict("tag", stretch, Policy(tempo_tags=("Langsam",)), ["slow", "sehr LANGSAM"]).how.endswith(": sehr LANGSAM")


def test_the_table_for_people_has_a_block_for_each_augmentation() -> None:
    policy = Policy(rules={"mood": Rule(pitch="unchanged", speed="dropped")})
    chain = [Ends(name="shift"), OneOf.model_construct(of=(Chain.model_construct(of=(Ends(name="stretch"),)),))]
    assert text(contract(chain, policy, ["key", "chord", "tag", "mood", "vocal_range"])).splitlines() == [
        "shift",
        "  key C major → Bb major … D major",
        "  chord transposed",
        "  tag, mood kept",
        "  vocal_range refused: no rule",
        "stretch",
        "  chord times ÷ 0.8 … 1.25",
        "  key kept",
        "  mood dropped",
        "  tag refused beyond × 0.9 … 1.12: slow, fast, …",
        "  vocal_range refused: no rule",
    ]


def test_what_stops_a_run_depends_on_the_policy() -> None:
    chain, kinds = [Ends(name="stretch")], {"tag": ["slow"], "beat": ["1"], "mood": []}
    assert [(label, kind) for label, kind, _ in refused(chain, POLICY, kinds)] == [("stretch", "tag"), ("stretch", "mood")]
    assert refused(chain, Policy(on_refused="drop"), kinds) == []


def test_a_rule_for_a_known_kind_leaves_what_it_does_not_name() -> None:
    policy = Policy.model_validate({"rules": {"note": {"reverse": "moved"}, "tag.mood": {"pitch": "refused"}}})
    assert policy.rule("note") == RULES["note"].model_copy(update={"reverse": "moved"})
    assert policy.rule("tag.mood").pitch == "refused"
    assert policy.rule("tag.mood").mix == "united"
    assert policy.rule("tag") == RULES["tag"]


def test_a_policy_is_a_value_that_survives_json_and_pickle() -> None:
    policy = Policy(on_refused="drop", rules={"a": Rule(pitch="midi"), "note": Rule(mix="dropped")})
    other_order = Policy.model_validate({"on_refused": "drop", "rules": {"note": {"mix": "dropped"}, "a": {"pitch": "midi"}}})
    assert Policy.model_validate_json(policy.model_dump_json()) == pickle.loads(pickle.dumps(policy)) == policy == other_order
    assert hash(policy) == hash(other_order) != hash(POLICY)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"on_refused": "ignore"}, "on_refused"),
        ({"rules": {"mood": {"pitch": "louder"}}}, "rules.mood.pitch"),
        ({"rules": {"mood": {"level": "unchanged"}}}, "rules.mood.level"),
        ({"rules": ["mood"]}, "rules"),
        ({"tags_keep_within": [1.2, 1.5]}, ""),
        ({"tempo_tags": ["slow", "up-tempo"]}, "tempo_tags"),
    ],
)
def test_a_mistake_is_named_with_its_place(said: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Policy.model_validate(said)
    assert ".".join(map(str, error.value.errors()[0]["loc"])) == message


def test_a_range_of_rates_has_to_have_one_in_it() -> None:
    with pytest.raises(ValueError, match=r"tags_keep_within needs 0 < low <= 1 <= high, got low=1\.2 high=1\.5"):
        Policy(tags_keep_within=(1.2, 1.5))


def test_speeds_that_are_kept_singly_and_are_too_much_together_are_refused_together() -> None:
    chain = (TimeStretch(low=1.05, high=1.1), Speed(low=1.05, high=1.1, p=0.5))
    (row,) = refused(chain, Policy(), {"tag": ["slow", "rock"], "key": ["C major"]})
    assert row[:2] == ("all together 1.05 … 1.21 × speed", "tag")
    assert row[2].how == "refused beyond × 0.9 … 1.12: slow"
    assert refused(chain, Policy(), {"tag": ["rock"]}) == []
    assert refused((OneOf(of=[each.model_dump() for each in chain]),), Policy(), {"tag": ["slow"]}) == []
