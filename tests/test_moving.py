"""Labels moved from a track to the views of its clips, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import augment
from annotation.labels import Label
from augment.augmentation import Augmentation, Change, Draw, Guest
from augment.chain import Lineage
from augment.contract import ContractError, Policy, Rule
from augment.moving import to_track, view_labels

RATE = 1000
DROP = Policy(on_refused="drop")
STOP = Policy()


class Said(Augmentation):
    """Means what its draw says."""

    @classmethod
    def change(cls, draw: Draw) -> Change:
        said = {name: draw[name] for name in Change.__dataclass_fields__ if name in draw}
        return Change(**{**said, "guests": tuple(Guest(**guest) for guest in said.get("guests", ()))})


@pytest.fixture(autouse=True, scope="module")
def known() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "AUGMENTATIONS", (*augment.AUGMENTATIONS, Said))
        yield


def lineage(seconds: float, *changes: Change, after: float | None = None) -> Lineage:
    """Of a clip of so many seconds, after some changes; without `after` each keeps all that it has."""
    draws, length = [], seconds
    for change in changes:
        length = length / change.rate if after is None else after
        draws.append({"use": "Said", **asdict(change), "samples": round(length * RATE)})
    return Lineage(RATE, round(seconds * RATE), tuple(draws))


def label(kind: str, value: str, start: float | None = None, duration: float | None = None, **rest: Any) -> Label:
    return Label(kind, value, "score", "gold", **{"track_id": "t", **rest}, start=start, duration=duration)


def view(
    labels: list[Label], lineage: Lineage, policy: Policy = DROP, start: float = 0.0, window: float | None = None, **others: Any
) -> Any:
    """(kind, value, start, duration) of a view's labels."""
    moved = view_labels(labels, "t", "c", "v", start, window, lineage, policy, lambda track_id: others.get(track_id, ()))
    assert {(each.clip_id, each.view_id) for _, each in moved} <= {("c", "v")}
    return [(each.kind, each.value, each.start, each.duration) for _, each in moved]


def test_a_clip_takes_what_lies_in_it_and_counts_from_its_beginning() -> None:
    labels = [
        label("beat", "1", 29.9, 0.0),
        label("beat", "2", 30.0, 0.0),
        label("beat", "3", 40.0, 0.0),
        label("chord", "C", 28.0, 4.0),
        label("chord", "G", 39.0, 4.0),
        label("chord", "F", 20.0, 10.0),
        label("key", "C major"),
    ]
    assert view(labels, lineage(10), start=30.0) == [
        ("beat", "2", 0.0, 0.0),
        ("chord", "C", 0.0, 2.0),
        ("chord", "G", 9.0, 1.0),
        ("key", "C major", None, None),
    ]


def test_each_label_tells_the_statement_that_it_comes_from() -> None:
    beat = label("beat", "1", 3.0, 0.0, campaign="spring", confidence=0.5)
    [(label_id, moved)] = view_labels([beat], "t", "c", None, 1.0, 10.0, lineage(10), STOP)
    assert label_id == beat.label_id
    assert moved == label("beat", "1", 2.0, 0.0, campaign="spring", confidence=0.5, clip_id="c")


def test_labels_of_the_clip_and_of_the_view_count_and_those_of_others_do_not() -> None:
    labels = [
        label("tag", "clip", 1.0, 1.0, clip_id="c"),
        label("tag", "view", 1.0, 1.0, clip_id="c", view_id="v"),
        label("tag", "other clip", clip_id="d"),
        label("tag", "other view", clip_id="c", view_id="w"),
        label("tag", "other track", track_id="u"),
    ]
    assert view(labels, lineage(10, Change(rate=2.0)), start=5.0) == [("tag", "clip", 0.5, 0.5), ("tag", "view", 1.0, 1.0)]


def test_half_speed_doubles_every_time_and_halves_the_tempo() -> None:
    labels = [label("beat", "1", 2.0, 0.0), label("section", "verse", 1.0, 4.0), label("tempo", "120.0000"), label("key", "C major")]
    assert view(labels, lineage(10, Change(rate=0.5))) == [
        ("beat", "1", 4.0, 0.0),
        ("section", "verse", 2.0, 8.0),
        ("tempo", "60", None, None),
        ("key", "C major", None, None),
    ]


def test_a_view_that_is_longer_than_the_window_is_cut_at_its_end() -> None:
    labels = [label("beat", "1", 4.0, 0.0), label("beat", "2", 5.0, 0.0), label("section", "verse", 1.0, 8.0)]
    assert view(labels, lineage(10, Change(rate=0.5)), window=10.0) == [("beat", "1", 8.0, 0.0), ("section", "verse", 2.0, 8.0)]


def test_pitch_moves_key_chord_note_and_contour_and_the_key_spells_the_chord() -> None:
    labels = [
        label("key", "C major", 0.0, 5.0),
        label("key", "A minor", 5.0, 5.0),
        label("chord", "G#:dim", 1.0, 1.0),
        label("chord", "G#:dim", 6.0, 1.0),
        label("note", "60 92", 1.0, 1.0),
        label("note", "126", 1.0, 1.0),
        label("pitch_contour", "-440.0", 1.0, 0.0),
        label("beat", "1", 1.0, 0.0),
    ]
    assert [value for _, value, _, _ in view(labels, lineage(10, Change(semitones=3.0)))] == [
        "Eb major",
        "C minor",
        "B:dim",
        "B:dim",
        "63 92",
        "-523.251130601",
        "1",
    ]


def test_two_shifts_that_are_no_semitone_each_are_one_together() -> None:
    labels = [label("key", "C major"), label("note", "60", 1.0, 1.0)]
    assert [value for _, value, _, _ in view(labels, lineage(10, Change(semitones=0.4)))] == ["C major", "60.4"]
    assert [value for _, value, _, _ in view(labels, lineage(10, Change(semitones=0.4), Change(semitones=0.4)))] == ["Db major", "60.8"]


def test_reversal_turns_stretches_round_and_refuses_beats() -> None:
    labels = [label("chord", "C", 1.0, 2.0), label("key", "C major"), label("beat", "1", 1.0, 0.0)]
    assert view(labels, lineage(10, Change(mirrored=True))) == [("chord", "C", 7.0, 2.0), ("key", "C major", None, None)]
    with pytest.raises(ContractError, match=r"^Said: beat '1' refused: time runs backwards; state a rule in \[labels.rules.beat\], or set"):
        view(labels, lineage(10, Change(mirrored=True)), STOP)


def test_what_a_crop_cut_off_does_not_come_back_in_the_silence_of_a_shift() -> None:
    crop, shift = Change(offset=-4.0), Change(offset=3.0)
    labels = [label("section", "verse", 2.0, 4.0), label("beat", "1", 2.0, 0.0), label("beat", "2", 5.0, 0.0)]
    draws = [{"use": "Said", **asdict(crop), "samples": 6000}, {"use": "Said", **asdict(shift), "samples": 6000}]
    assert view(labels, Lineage(RATE, 10000, tuple(draws))) == [("section", "verse", 3.0, 2.0), ("beat", "2", 4.0, 0.0)]


def test_tags_of_tempo_go_beyond_the_range_of_all_steps_together() -> None:
    labels = [label("tag.mtat", "slow"), label("tag.mtat", "rock")]
    one = Change(rate=1.1)
    assert [value for _, value, _, _ in view(labels, lineage(10, one), STOP)] == ["slow", "rock"]
    assert [value for _, value, _, _ in view(labels, lineage(10, one, one))] == ["rock"]
    with pytest.raises(ContractError, match=r"tag.mtat 'slow' refused beyond × 0.9 … 1.12, here × 1.21 in all"):
        view(labels, lineage(10, one, one), STOP)


def test_a_kind_of_ones_own_needs_a_rule_and_may_state_one() -> None:
    labels = [label("lead", "60", 1.0, 1.0)]
    with pytest.raises(ContractError, match="lead '60' refused: no rule"):
        view(labels, lineage(10, Change(semitones=1)), STOP)
    with pytest.raises(ContractError, match=r'state a rule in \[labels\.rules\."lead\.high"\], or'):
        view([label("lead.high", "60")], lineage(10, Change(semitones=1)), STOP)
    rules = {"lead": Rule(pitch="midi", timbre="dropped")}
    assert view(labels, lineage(10, Change(semitones=1)), Policy(rules=rules)) == [("lead", "61", 1.0, 1.0)]
    assert view(labels, lineage(10, Change(timbre=True)), Policy(rules=rules)) == []


def test_stems_that_go_take_labels_along_that_name_them_and_those_that_are_lent_bring_theirs() -> None:
    labels = [label("instrument", "Drums"), label("instrument", "Piano"), label("key", "C major"), label("note", "60", 1.0, 1.0)]
    assert view(labels, lineage(10, Change(gone=("drums",)))) == [("instrument", "Piano", None, None), ("key", "C major", None, None)]
    gone = Change(gone=("electric_piano", "-"))  # a name without words names nothing
    assert [value for _, value, _, _ in view([*labels, label("tag", "electric piano")], lineage(10, gone))] == ["Drums", "Piano", "C major"]
    lent = Change(swapped=("drums",), guests=(Guest("u", 0, 10),))
    theirs = [label(*said, track_id="u") for said in (("tag", "brushed drums"), ("tag", "jazz"), ("license", "CC0"), ("key", "D major"))]
    assert [value for _, value, _, _ in view(labels, lineage(10, lent), u=theirs)] == ["Piano", "C major", "brushed drums", "CC0"]


MIX = Change(guests=(Guest("u", 20.0, 4.0, at=3.0),))


def guest(kind: str, value: str, start: float | None = None, duration: float | None = None) -> Label:
    return label(kind, value, start, duration, track_id="u")


def test_a_guests_labels_join_where_it_sounds_with_their_own_source_and_move_on() -> None:
    theirs = [guest("note", "50", 21.0, 1.0), guest("note", "51", 23.0, 9.0), guest("note", "52", 30.0, 1.0), guest("tag", "rock")]
    steps = lineage(10, MIX, Change(rate=2.0, semitones=12))
    moved = view_labels([label("note", "60", 1.0, 1.0)], "t", "c", "v", 0.0, None, steps, DROP, lambda track_id: theirs)
    assert [(each.track_id, each.value, each.start, each.duration) for _, each in moved] == [
        ("t", "72", 0.5, 0.5),
        ("u", "62", 2.0, 0.5),
        ("u", "63", 3.0, 0.5),
        ("u", "rock", 1.5, 2.0),
    ]


def test_a_guest_that_sounds_all_the_time_brings_labels_of_the_whole() -> None:
    all_along = Change(guests=(Guest("u", 20.0, 10.0),))
    assert view([], lineage(10, all_along), u=[guest("tag", "rock")]) == [("tag", "rock", None, None)]


def test_mixing_keeps_a_key_only_if_both_have_it_as_they_sound() -> None:
    ours = [label("key", "Gb major"), label("tempo", "100")]
    same = [guest("key", "F# major"), guest("tempo", "100.05")]
    assert [value for _, value, _, _ in view(ours, lineage(10, MIX), STOP, u=same)] == ["Gb major", "100"]
    for theirs in ([guest("key", "G major"), same[1]], [guest("key", "F# major", 20.0, 2.0), same[1]], [same[1]]):
        assert [kind for kind, _, _, _ in view(ours, lineage(10, MIX), u=theirs)] == ["tempo"]
        with pytest.raises(ContractError, match=r"key .* refused unless equal"):
            view(ours, lineage(10, MIX), STOP, u=theirs)
    shifted = [guest("key", "G major"), same[1]]
    assert [value for _, value, _, _ in view(ours, lineage(10, Change(semitones=1), MIX), STOP, u=shifted)] == ["G major", "100"]


def test_mixing_spares_what_lies_where_no_guest_sounds() -> None:
    ours = [label("chord", "C", 0.0, 3.0), label("chord", "F", 3.0, 2.0), label("beat", "1", 8.0, 0.0), label("beat", "2", 4.0, 0.0)]
    assert [value for _, value, _, _ in view(ours, lineage(10, MIX))] == ["C", "1"]


def test_a_guests_key_does_not_join_without_one_that_is_equal() -> None:
    assert view([], lineage(10, MIX), u=[guest("key", "C major")]) == []
    with pytest.raises(ContractError, match="key 'C major' refused unless equal"):
        view([], lineage(10, MIX), STOP, u=[guest("key", "C major")])


def test_what_is_said_of_a_view_is_said_of_the_track() -> None:
    steps = lineage(10, Change(rate=2.0, semitones=2.0))
    heard = label("note", "62 90", 1.0, 0.5, clip_id="c", view_id="v", campaign="spring")
    assert to_track(heard, steps, STOP, 30.0, 10.0) == label("note", "60 90", 32.0, 1.0, campaign="spring")
    assert to_track(label("tempo", "120", clip_id="c", view_id="v"), steps, STOP, 30.0, 10.0) == label("tempo", "60", 30.0, 10.0)
    assert to_track(label("key", "D major", clip_id="c"), steps, STOP, 0.0, None) == label("key", "C major")


def test_what_is_said_of_the_whole_of_a_view_is_said_of_what_the_window_lets_hear() -> None:
    of_view = label("tag", "loud", clip_id="c", view_id="v")
    slow = lineage(10, Change(rate=0.5))
    for window, seconds in ((10.0, 5.0), (30.0, 10.0)):
        back = to_track(of_view, slow, DROP, 100.0, window)
        assert back is not None
        assert (back.start, back.duration) == (100.0, seconds)


def test_what_lies_in_silence_that_was_put_in_is_cut_off() -> None:
    padded = lineage(10, Change(offset=2.0), after=14.0)
    assert to_track(label("section", "intro", 0.0, 3.0, clip_id="c"), padded, STOP, 5.0, 10.0) == label("section", "intro", 5.0, 1.0)
    assert to_track(label("section", "outro", 12.5, 1.0, clip_id="c"), padded, STOP, 5.0, 10.0) is None
    assert to_track(label("beat", "1", 1.0, 0.0, clip_id="c"), padded, STOP, 5.0, 10.0) is None


def test_what_is_heard_in_a_mixture_or_of_a_lent_stem_is_not_said_of_the_recording() -> None:
    tag = label("tag", "rock", clip_id="c", view_id="v")
    for change in (MIX, Change(swapped=("drums",))):
        with pytest.raises(ContractError, match=r"tag 'rock' refused: .*, and it may be that which was heard"):
            to_track(tag, lineage(10, change), STOP, 0.0, 10.0)
        assert to_track(tag, lineage(10, change), DROP, 0.0, 10.0) is None
    assert to_track(label("beat", "1", 1.0, 0.0, clip_id="c"), lineage(10, Change(swapped=("drums",))), STOP, 0.0, 10.0)
    assert to_track(tag, lineage(10, Change(gone=("drums",))), STOP, 0.0, 10.0) == label("tag", "rock", 0.0, 10.0)


def test_a_label_of_a_track_is_nothing_to_bring_back() -> None:
    with pytest.raises(ValueError, match="tag 'rock': speaks of a track, not of a clip"):
        to_track(label("tag", "rock"), lineage(10), STOP, 0.0, 10.0)


def test_a_step_that_nobody_makes_is_named() -> None:
    with pytest.raises(ValueError, match="no augmentation 'Melt'; there are AddBackground, "):
        view([], Lineage(RATE, 1000, ({"use": "Melt", "samples": 1000},)))


_changes = st.builds(
    Change,
    rate=st.floats(0.5, 2.0),
    offset=st.floats(-0.1, 1.0),
    semitones=st.integers(-12, 12).map(float) | st.floats(-12, 12).map(lambda it: round(it, 9)),
    mirrored=st.booleans(),
    timbre=st.booleans(),
)
_said = st.sampled_from(
    [
        ("chord", "Eb:min7"),
        ("key", "F# major"),
        ("tempo", "117.3"),
        ("note", "60 92"),
        ("note", "61.25"),
        ("pitch_contour", "-440.5"),
        ("tag", "x"),
    ]
)
TURNABLE = Policy(rules={"note": Rule.model_validate({"reverse": "moved"})})


@given(st.lists(_changes, max_size=4), _said, st.floats(10, 20), st.sampled_from([0.0, 0.25]), st.booleans())
def test_there_and_back_is_where_it_was_within_a_millisecond(
    changes: list[Change], said: tuple[str, str], start: float, duration: float, in_key: bool
) -> None:
    # Each step keeps all that surrounds the label, and more: nothing of it is cut off.
    steps, length = [], 30.0
    for change in changes:
        length = length / change.rate + max(change.offset, 0.0) + 1.0
        steps.append({"use": "Said", **asdict(change), "samples": round(length * RATE)})
    way = Lineage(RATE, 30 * RATE, tuple(steps))
    there = label(*said, start + 100.0, duration)
    keys = [label("key", "G# minor")] if in_key else []
    moved = [each for _, each in view_labels([there, *keys], "t", "c", "v", 100.0, 30.0 * 2**5, way, TURNABLE)]
    [arrived] = [each for each in moved if each.start is not None]
    key = next((each.value for each in moved if each.start is None), None)
    back = to_track(arrived, way, TURNABLE, 100.0, 30.0, key)
    assert back is not None
    assert (back.start, back.duration) == pytest.approx((there.start, there.duration), abs=1e-3)
    assert replace(back, start=there.start, duration=there.duration) == there
