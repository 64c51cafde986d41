"""What is said today: a view of rows that are never changed.

A row that corrects another names it in `replaces`. Three kinds say nothing about sound itself, and their rows are about the whole clip:

    "withdrawn", value ""       the row in `replaces` was taken back: an answer or a region that was deleted
    "skipped", value ""         somebody was asked about the clip and would not answer
    "nothing", value QUESTION   they answered, and had nothing to say to this question: no voice, none of the tags
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from annotation.labels import Label

if TYPE_CHECKING:
    import pyarrow as pa

WITHDRAWN, SKIPPED, NOTHING = "withdrawn", "skipped", "nothing"
# Kinds that readers who want to know about sound leave out.
SILENT = (WITHDRAWN, SKIPPED, NOTHING)


def current(labels: Iterable[Label]) -> list[Label]:
    """What stands: rows that no other row corrects or withdraws, each once, in their order. That somebody skipped stands, too.

    >>> first = Label("tag", "calm", "mira", "person", "t")
    >>> second = Label("tag", "sad", "mira", "person", "t", replaces=first.label_id)
    >>> [label.value for label in current([first, second])]
    ['sad']
    """
    rows = {label.label_id: label for label in labels}
    replaced = {label.replaces for label in rows.values()}
    return [label for name, label in rows.items() if name not in replaced and label.kind != WITHDRAWN]


def standing(rows: pa.Table, silent: bool = False) -> pa.Table:
    """`current` of a table of labels, for millions of rows: each row once, though two processes had added it.

    Args:
        silent: keep what says nothing about sound, too: who skipped, and who had nothing to say.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    replaced = pc.is_in(rows.column("label_id"), pc.drop_null(pc.unique(rows.column("replaces"))))
    unsaid = pc.is_in(rows.column("kind"), pa.array([WITHDRAWN] if silent else SILENT))
    rows = rows.filter(pc.invert(pc.or_(replaced, unsaid)))
    if pc.count_distinct(rows.column("label_id")).as_py() < rows.num_rows:
        first = rows.append_column("row", pa.array(range(rows.num_rows))).group_by("label_id").aggregate([("row", "min")])
        rows = rows.take(first.column("row_min").sort())
    return rows


def revised(before: Iterable[Label], after: Iterable[Label], at: datetime) -> list[Label]:
    """The rows to add when one author's answer to one clip has changed: what then stands (`current`) says what `after` says.

    Args:
        before: what stood of the answer (`current`), or all of its rows. after: what it says now; nothing, where it was deleted.
        at: when it was changed. It must be later than what it changes: what is said, taken back and said again are three rows.
    Returns:
        corrections (`replaces` names the row before), withdrawals and what is new; nothing for what is said as before. A correction
        takes the place of a row of its kind, that of the same value if there is one: a region that was moved, a tempo that was mended.
    """
    old, new = current(before), list(dict.fromkeys(replace(label, at=at, replaces=None) for label in after))
    _pairs(old, new, lambda label: replace(label, at=None, replaces=None))  # said again as it stands
    pairs = _pairs(old, new, lambda label: (label.kind, label.value)) + _pairs(old, new, lambda label: label.kind)
    corrections = [replace(label, replaces=past.label_id) for past, label in pairs]
    withdrawals = [
        replace(past, kind=WITHDRAWN, value="", start=None, duration=None, confidence=None, at=at, replaces=past.label_id) for past in old
    ]
    return [*corrections, *withdrawals, *new]


def _pairs(old: list[Label], new: list[Label], key: Callable[[Label], Hashable]) -> list[tuple[Label, Label]]:
    """Take from both lists what has the same key, each row once, the earlier in the clip first."""
    waiting: dict[Hashable, list[Label]] = defaultdict(list)
    for label in sorted(new, key=_place, reverse=True):
        waiting[key(label)].append(label)
    pairs = [(label, waiting[key(label)].pop()) for label in sorted(old, key=_place) if waiting[key(label)]]
    paired = {label for pair in pairs for label in pair}
    for labels in (old, new):
        labels[:] = [label for label in labels if label not in paired]
    return pairs


def _place(label: Label) -> tuple[float, float, str]:
    return label.start or 0.0, label.duration or 0.0, label.value
