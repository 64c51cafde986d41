"""The order of a queue on the server: a column of each task that comes soon, and a tab that is sorted by it.

Label Studio gives tasks by their ids ("Sequential sampling"), which are for good. Its "Uncertainty sampling" draws by lot as soon as the
server has two accounts, and goes by the scores of pre-annotations, which are the campaign's. A tab can be sorted by a column of the tasks'
data: "next task" of that tab gives them in this order, and each to no more people than are to hear it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.outcome import Gone, StudioError, Unknown
from annotation.records import Indexed
from annotation.studio import Studio

COLUMN = "queue"  # of a task's data; text, since PostgreSQL sorts it as such
ORDER = f"tasks:data.{COLUMN}"
TAB = {"title": "Next", "type": "list", "target": "tasks", "ordering": [ORDER], "filters": {"conjunction": "and", "items": []}}
SEQUENCE = "Sequential sampling"  # in the order of the tab, then; the others draw by lot
ROUNDS = 8  # without a loss; two are enough, unless somebody else works against them
LOST = 10  # writes of which nobody knows what became, before it is given up


@dataclass(frozen=True)
class Push:
    """What is to be done. tasks: (id, ext_id, fields). tab, sampling: whether these are missing. absent: ext_ids without a task."""

    tasks: list[tuple[int, str, dict[str, Any]]]
    tab: bool
    sampling: bool
    absent: list[str] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many writes it takes."""
        return len(self.tasks) + self.tab + self.sampling


@dataclass(frozen=True)
class Pushed:
    """What was done. view: of the tab, by which "next task" is asked. lost: writes that had to be read back."""

    view: int
    changed: int
    absent: list[str]
    lost: int = 0


def planned(studio: Studio, project: int, order: Sequence[str], more: Mapping[str, int]) -> Push:
    """What a push would change.

    Args:
        order: ext_ids, the next first; all other tasks come after these. more: people who are to hear a clip, by ext_id.
    """
    ranks = {ext_id: f"{place:06d}" for place, ext_id in enumerate(order, 1)}
    index = studio.index(project)
    todo = [(each.id, each.ext_id, fields) for each in index if each.ext_id and (fields := _differences(each, ranks, more))]
    todo.sort(key=lambda each: (ranks.get(each[1], "9"), each[0]))
    names = {each.ext_id for each in index}
    tab = all(view.get("ordering") != [ORDER] for view in studio.views(project).values())
    return Push(todo, tab, studio.sampling(project) != SEQUENCE, [each for each in order if each not in names])


def _differences(there: Indexed, ranks: Mapping[str, str], more: Mapping[str, int]) -> dict[str, Any]:
    rank = ranks.get(there.ext_id)
    fields: dict[str, Any] = {}
    if there.data.get(COLUMN) != rank:
        kept = {name: value for name, value in there.data.items() if name != COLUMN}
        fields["data"] = kept if rank is None else {**kept, COLUMN: rank}
    if more.get(there.ext_id, 0) > there.overlap:
        # The server takes a task out of its queue when it is complete, and does not look again when more people are to hear it.
        fields |= {"overlap": more[there.ext_id], "is_labeled": False}
    return fields


def push(
    studio: Studio,
    project: int,
    order: Sequence[str],
    more: Mapping[str, int],
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Pushed:
    """Bring the order to the server, until nothing is left to change; no answer, draft or pre-annotation is touched.

    Killed anywhere it is simply repeated. After a write whose answer was lost all is read again.

    Raises:
        Refused: the server does not take something. Away, StudioError: it gives no answers; give the same command again.
    """
    changed = lost = rounds = 0
    while True:
        todo = planned(studio, project, order, more)
        if not todo.changes:
            views = [number for number, view in sorted(studio.views(project).items()) if view.get("ordering") == [ORDER]]
            return Pushed(views[0], changed, todo.absent, lost)
        rounds += 1
        if rounds > ROUNDS:
            raise StudioError(f"{studio.url}: still to do after {ROUNDS} rounds; is somebody else changing the order of project {project}?")
        try:
            if todo.sampling:
                studio.update_project(project, sampling=SEQUENCE)
                changed += 1
            if todo.tab:
                studio.create_view(project, TAB)
                changed += 1
            for count, (task, _, fields) in enumerate(todo.tasks):
                progress(count, len(todo.tasks))
                studio.update_task(task, **fields)
                changed += 1
        except (Unknown, Gone) as error:
            lost, rounds = lost + 1, 0
            if lost > LOST:
                raise StudioError(f"{error}; {lost} calls were lost. Give the same command again: it goes on from here") from None
            time.sleep(studio.pause * 10)
