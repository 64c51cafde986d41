"""Labels moved: from a track to a view of one of its clips, and from a view back to the track.

Times move step by step, as each step may cut. Pitch and speed add up and change a value once, at the end: two shifts of 0.4 semitones are
one of 0.8, and move names by a semitone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from annotation.labels import Label
from augment.chain import Lineage
from augment.contract import Policy, refusal, touched
from augment.underway import BACK, LEAST, Moving, Span, Step, backward, cut, forward, refuse, stays, steps, taken, value_after
from augment.united import joined


def view_labels(
    labels: Iterable[Label],
    track_id: str,
    clip_id: str,
    view_id: str | None,
    start: float,
    window_seconds: float | None,
    lineage: Lineage,
    policy: Policy,
    labels_of: Callable[[str], Iterable[Label]] = lambda track_id: (),
) -> list[tuple[str, Label]]:
    """What is true of a view, from what was said of its track.

    What lies outside the clip, or is cut off by a step or by the window's end, is left out or clipped. A label of the whole stays one of
    the whole. Labels of the clip itself are taken too, and those of the view as they are; those of other clips and views are not:
    `to_track` makes labels of the track of them.

    Args:
        labels: of the track, of all sorts.
        view_id: None for the clip untouched.
        start: of the clip in its track (seconds). window_seconds: its length; None for the whole track.
        labels_of: labels of another track, of which a stretch was mixed in.
    Returns:
        for each label of the view the label_id of the statement that it comes from, and the label, in seconds of the view. Labels of
        tracks that were mixed in keep their track_id.
    Raises:
        ContractError: a label that a step refuses, with on_refused = "stop".
        ValueError: a value that its kind cannot have.
    """
    own = [label for label in labels if label.track_id == track_id]
    length = lineage.samples / lineage.sample_rate
    present = taken((label for label in own if label.view_id is None and label.clip_id in (None, clip_id)), policy, start, length)
    heard = _heard(lineage, window_seconds)
    found = []
    for each in moved(present, steps(lineage), policy, labels_of):
        span = each.span and cut(each.span, heard)
        value = each.value()
        if value is not None and (span or each.span is None):
            found.append((each.label.label_id, _written(each.label, span, value, clip_id, view_id)))
    if view_id is not None:
        found += [(label.label_id, label) for label in own if label.view_id == view_id]
    return found


def moved(present: list[Moving], steps: Sequence[Step], policy: Policy, labels_of: Callable[[str], Iterable[Label]]) -> list[Moving]:
    """Labels of a clip after some steps."""
    for step in steps:
        aspects = [aspect for aspect in touched(step.change) if aspect != "mix"]
        present = [each for each in present if _carried(each, step) and stays(each, step, aspects, policy)]
        if step.change.guests:
            present = joined(present, step, policy, labels_of)
    return present


def to_track(
    label: Label, lineage: Lineage, policy: Policy, start: float, window_seconds: float | None, key: str | None = None
) -> Label | None:
    """What was said of a view, said of its track, in the track's time and pitch.

    Args:
        label: of a clip or a view; of the whole of it: it then speaks of that stretch of the track.
        lineage: of the view; without steps for the clip untouched.
        start, window_seconds: as in `view_labels`.
        key: of the view where a chord sounds, if it is known, to spell it.
    Returns:
        the label; None where it speaks of nothing that is in the recording (silence that was put in), or where the policy drops it.
    Raises:
        ContractError: what holds for the view need not hold for the recording, with on_refused = "stop".
        ValueError: a label that speaks of a track already, or a value that its kind cannot have.
    """
    if label.clip_id is None:
        raise ValueError(f"label {label.kind} {label.value!r}: speaks of a track, not of a clip; to_track moves those with a clip_id")
    rule, back = policy.rule(label.kind), steps(lineage)
    rate, semitones = math.prod(step.change.rate for step in back), sum(step.change.semitones for step in back)
    whole = 0.0, _heard(lineage, window_seconds)
    span = cut(whole if label.start is None else (label.start, label.start + (label.duration or 0.0)), lineage.sound)
    under_way = Moving(label, rule, span, rate=rate)
    for step in reversed(back):
        under_way.span = under_way.span and backward(under_way.span, step)
        if not under_way.span:
            return None
        # What is heard in a mixture need not be the recording's; what is heard although a stem is gone, is.
        for aspect in touched(step.change):
            foreign = aspect == "mix" or (aspect == "stems" and step.change.swapped)
            if foreign and getattr(rule, aspect) not in ("unchanged", "dropped"):
                refuse(label, step, f"{refusal(label.kind, aspect, policy)}, and it may be that which was heard", policy)
                return None
        aspects = [aspect for aspect in touched(step.change) if getattr(rule, aspect) != "named"]
        if not stays(under_way, step, aspects, policy):
            return None
    value = value_after(rule, label.value, -semitones, 1 / rate, key, BACK)
    if under_way.span is None or value is None:
        return None
    begin, end = under_way.span
    if label.start is None and window_seconds is None and end - begin > lineage.samples / lineage.sample_rate - LEAST:
        return _written(label, None, value, None, None)
    return _written(label, (begin + start, end + start), value, None, None)


def _heard(lineage: Lineage, window_seconds: float | None) -> float:
    """Seconds of a view that anybody hears: no more than the window."""
    return lineage.sound if window_seconds is None else min(lineage.sound, window_seconds)


def _carried(each: Moving, step: Step) -> bool:
    """Move a label by one step; whether any of it is left."""
    each.semitones += step.change.semitones
    each.rate *= step.change.rate
    if each.span:
        each.span = forward(each.span, step)
        return each.span is not None
    return True


def _written(label: Label, span: Span | None, value: str, clip_id: str | None, view_id: str | None) -> Label:
    """The label with new times and value; span None: of the whole."""
    begin, duration = (None, None) if span is None else (round(span[0], 9), round(span[1] - span[0], 9))
    return replace(label, value=value, clip_id=clip_id, view_id=view_id, start=begin, duration=duration)
