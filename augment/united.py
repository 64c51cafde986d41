"""Labels of a mixture: those of all that sounds in it, as far as they may stand together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from annotation.kinds import number, parse_key
from annotation.labels import Label
from augment.augmentation import Change, Guest
from augment.contract import Policy, refusal
from augment.spelling import transposed_key
from augment.underway import LEAST, Moving, Span, Step, cut, names, refuse, taken

# Seconds that may be missing where something is to sound, or to be labelled, all along.
_SLACK = 0.01


def joined(present: list[Moving], step: Step, policy: Policy, labels_of: Callable[[str], Iterable[Label]]) -> list[Moving]:
    """The labels of a mixture: those that were there and those of its guests, as far as both may stand."""
    guests = [(guest, _placed(guest, step.after, policy, labels_of)) for guest in step.change.guests]
    if step.change.gone or step.change.swapped:
        return present + [each for _, theirs in guests for each in theirs if _comes(each, step.change)]
    spans = [(guest.at, guest.at + guest.seconds) for guest, _ in guests]
    new = [each for _, theirs in guests for each in theirs]
    stay = []
    for each in present:
        parts = [part for span in spans if (part := _common(each.span, span))]
        if not parts or each.rule.mix in ("united", "unchanged") or _agree(each, new, parts, step, policy):
            stay.append(each)
    for each in new:
        if each.rule.mix == "united":
            stay.append(each)
        elif each.rule.mix != "unchanged":
            # Where all agree, the label that was there says it already.
            _agree(each, present, [each.span or (0.0, step.after)], step, policy)
    return stay


def _placed(guest: Guest, length: float, policy: Policy, labels_of: Callable[[str], Iterable[Label]]) -> list[Moving]:
    """A guest's labels where it sounds; of the whole only if it sounds all the time."""
    theirs = (label for label in labels_of(guest.track_id) if label.track_id == guest.track_id and label.clip_id is None)
    placed = []
    for each in taken(theirs, policy, guest.start, guest.seconds):
        if each.span or guest.at > _SLACK or guest.at + guest.seconds < length - _SLACK:
            begin, end = each.span or (0.0, guest.seconds)
            each.span = cut((begin + guest.at, end + guest.at), length)
            if each.span is None:
                continue
        placed.append(each)
    return placed


def _comes(each: Moving, change: Change) -> bool:
    """Whether a guest's label comes with the stem that it lends."""
    lent = each.rule.stems == "unchanged" or (each.rule.stems == "named" and names(each.label.value, change.swapped))
    return each.rule.mix == "united" and lent


def _agree(each: Moving, others: Iterable[Moving], parts: Iterable[Span], step: Step, policy: Policy) -> bool:
    """Whether all others of the kind say the same, all along these parts.

    Raises:
        ContractError: they do not, and the policy is to stop.
    """
    if each.rule.mix == "dropped":
        return False
    if each.rule.mix == "refused":
        return refuse(each.label, step, refusal(each.label.kind, "mix", policy), policy)
    same_kind = [other for other in others if other.label.kind == each.label.kind]
    for part in parts:
        reached = part[0]
        for span, other in sorted(((span, other) for other in same_kind if (span := _common(other.span, part))), key=lambda it: it[0]):
            if span[0] > reached + _SLACK or not _equal(each, other):
                break
            reached = max(reached, span[1])
        else:
            if reached >= part[1] - _SLACK:
                continue
        return refuse(each.label, step, "refused unless equal", policy)
    return True


def _equal(one: Moving, other: Moving) -> bool:
    """Whether two labels of one kind say the same: keys by any name, tempos within a thousandth."""
    left, right = one.value(), other.value()
    if left is None or right is None or left == right:
        return left == right
    if one.rule.pitch == "key":
        # A fifth and back is the conventional name.
        left, right = (transposed_key(transposed_key(each, 7), -7) for each in (left, right))
        return parse_key(left) == parse_key(right)
    return one.rule.speed == "bpm" and math.isclose(number(left), number(right), rel_tol=1e-3)


def _common(span: Span | None, part: Span) -> Span | None:
    """What a stretch (None: everything) has in common with another."""
    if span is None:
        return part
    begin, end = max(span[0], part[0]), min(span[1], part[1])
    return (begin, end) if end - begin >= LEAST or (span[0] == span[1] and part[0] - LEAST <= begin < part[1]) else None
