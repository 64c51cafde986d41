"""`earmark queue …`: what to ask people next."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.terminal import show, tell

if TYPE_CHECKING:
    from pipelines.embeddings import Embeddings
    from pipelines.store import Store

SIMULATE = "simulate"


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    queue = add(commands, "queue", _queue, "order a campaign's clips by what an answer is worth, and push that to the server")
    queue.add_argument(
        "file", metavar="CAMPAIGN.toml", help=f"or '{SIMULATE}': measure orders on a labelled store, by people who do not exist"
    )
    queue.add_argument("--store", required=True, help="folder of the store")
    queue.add_argument("--embeddings", required=True, metavar="TABLE.COLUMN", help="one vector a clip: musicnn.max_pool_mean")
    queue.add_argument("--seed", type=int, default=0, help="of the head that learns, and of draws (%(default)s)")
    queue.add_argument("--question", default="", help="whose answers count; the first one that has tags if absent")
    queue.add_argument(
        "--quota",
        action="append",
        default=[],
        metavar="COLUMN=N",
        help="artist=3: at most 3 of one in front; tag=2: at least 2 of each rare tag",
    )
    queue.add_argument("--limit", type=int, default=500, help="clips whose order is pushed; others come after them (%(default)s)")
    queue.add_argument("--dry-run", action="store_true", help="nothing is written or pushed")
    queue.add_argument("--no-push", action="store_true", help="queue.parquet is written, the server is left alone")
    queue.add_argument("--data", default="studio", metavar="DIR", help="folder of `campaign serve` (%(default)s)")
    queue.add_argument("--url", default="", help="of another Label Studio than that in --data; with --token-file")
    queue.add_argument("--token-file", default="", metavar="FILE", help="with --url: a file that holds a token, from 'Account & Settings'")
    simulation = queue.add_argument_group(SIMULATE)
    simulation.add_argument("--kind", default="", help="of label that is learnt: instrument")
    simulation.add_argument("--seeds", type=int, default=5, help="repetitions (%(default)s)")
    simulation.add_argument("--error", type=float, default=0.15, help="share of wrong answers (%(default)s)")
    simulation.add_argument("--annotators", type=int, default=3, help="answers that a clip usually gets (%(default)s)")
    simulation.add_argument(
        "--group",
        default="group",
        metavar="COLUMN",
        help="of the catalogue, or a kind of label: never on both sides of the split (%(default)s)",
    )
    simulation.add_argument("--budget", type=int, default=0, help="answers at which an order ends; all if 0")
    simulation.add_argument("--out", default="", metavar="FILE.json", help="the curves")
    simulation.add_argument("--plot", default="", metavar="FILE.svg", help="a picture of them")


def _queue(options: argparse.Namespace, result: IO[str]) -> int:
    if options.file == SIMULATE:
        return _simulate(options, result)
    from extractors.uri import printable
    from pipelines.campaigns.desk import open_desk
    from pipelines.queue.queue import keep, queue
    from pipelines.store import Store

    if options.limit < 1:
        raise ValueError(f"--limit: {options.limit} is no number of clips; 1 at least")
    store = Store(options.store)
    desk = open_desk(options.file, store)
    found = queue(desk, _embeddings(store, options.embeddings), options.question, _quotas(options.quota), options.seed)
    front = found.front(options.limit)
    rows = found.rows.slice(0, options.limit)
    facts: dict[str, Any] = {"clips": found.rows.num_rows, "disputed": len(found.more), "remarks": found.remarks, "front": front}
    titles = {task.ext_id: task.title for task in desk.known()}
    lines = [
        f"{place:4} {key}  {printable(titles.get(name, ''))}  {reason}"
        for place, key, name, reason in zip(
            *(rows.column(name).to_pylist()[:10] for name in ("priority", "key", "ext_id", "reason")), strict=True
        )
    ]
    lines += [f"... {found.rows.num_rows - len(lines)} more"] if found.rows.num_rows > len(lines) else []
    for remark in found.remarks:
        tell(remark)
    if not options.dry_run:
        if options.no_push:
            keep(desk, found)
        else:
            facts |= _push(options, desk, found, front)
            lines.append(facts["said"])
    show(result, options.json, facts, "\n".join(lines) or "nothing to ask: every clip has its answers")
    return 0


def _push(options: argparse.Namespace, desk: Any, found: Any, front: list[str]) -> dict[str, Any]:
    from annotation.studio import Studio
    from pipelines.campaigns.cli import _address
    from pipelines.progress import bar
    from pipelines.queue.push import push
    from pipelines.queue.queue import keep

    studio = Studio(*_address(options), patience=15.0)
    with desk.mirror.lock("queue"):
        keep(desk, found)
        project, _ = studio.project(desk.campaign.name)
        # What a clip was raised to stays, whatever the next queue says: answers may be on their way.
        more = {**desk.more(), **{name: max(count, desk.more().get(name, 0)) for name, count in found.more.items() if name in set(front)}}
        desk.remember_more(more)
        with bar("pushing the order", "tasks") as advance:
            done = push(studio, project, front, more, advance)
    absent = f"; {len(done.absent)} clips have no task yet ('earmark campaign apply' makes them)" if done.absent else ""
    lost = f"; {done.lost} calls were lost on the way and read back" if done.lost else ""
    where = f"{studio.url}/projects/{project}/data?tab={done.view}"
    said = f"{done.changed} changes pushed{absent}{lost}; people open {where} and choose 'Label Tasks As Displayed'"
    return {"changed": done.changed, "view": done.view, "project": project, "absent": len(done.absent), "lost": done.lost, "said": said}


def _simulate(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.part import publish
    from pipelines.progress import bar
    from pipelines.queue.curves import drawn, summed, told
    from pipelines.queue.simulate import problem, simulate
    from pipelines.store import Store
    from pipelines.targets import targets

    _check(options)
    store = Store(options.store)
    clips = _embeddings(store, options.embeddings)
    gold = targets(store, clips, options.kind, author_kinds=("gold",))
    if not gold.tags:
        raise ValueError(f"{options.store}: no known labels of kind {options.kind!r}; add some with 'earmark labels add'")
    given, remarks = problem(clips.vectors, gold.values, gold.tags, _groups(store, clips, options.group))
    for remark in remarks:
        tell(remark)
    with bar("simulating", "curves") as advance:
        curves = list(simulate(given, options.seeds, options.error, options.annotators, options.budget, advance))
    found = summed(curves) | {
        "store": options.store,
        "embeddings": options.embeddings,
        "kind": options.kind,
        "group": options.group,
        "clips": len(given.truth),
        "tags": list(given.tags),
        "seeds": options.seeds,
        "error": options.error,
        "annotators": options.annotators,
        "remarks": remarks,
    }
    title = f"{options.kind}: {len(given.truth)} clips, {options.seeds} seeds, {options.error:.0%} errors"
    written = {options.out: json.dumps(found, indent=1, ensure_ascii=False).encode()} if options.out else {}
    written |= {options.plot: drawn(found, title)} if options.plot else {}
    for file, content in written.items():
        publish(Store(Path(file).absolute().parent).filesystem, str(Path(file).absolute()), content)
    show(result, options.json, found, told(found))
    return 0


def _check(options: argparse.Namespace) -> None:
    if not options.kind:
        raise ValueError(f"queue {SIMULATE}: --kind names the labels to learn, as instrument")
    if not 0 <= options.error < 1:
        raise ValueError(f"--error: {options.error} is not a share from 0 to 1")
    for name in ("seeds", "annotators"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name}: {getattr(options, name)}; 1 at least")


def _groups(store: Store, clips: Embeddings, name: str) -> list[str]:
    """The group of each clip: of a column of the catalogue, or a known label of the recording.

    Raises:
        ValueError: there is neither.
    """
    tracks = store.read("tracks")
    if tracks is not None and name in tracks.column_names:
        groups = dict(zip(tracks.column("track_id").to_pylist(), tracks.column(name).to_pylist(), strict=True))
        return [str(groups.get(track) or "") for track in clips.tracks]
    from pipelines.targets import targets

    said = targets(store, clips, name, author_kinds=("gold",))
    if not said.tags:
        raise ValueError(f"--group: {name!r} is no column of the catalogue, and no kind of known label")
    return [" ".join(tag for tag, has in zip(said.tags, row, strict=True) if has == 1) for row in said.values]


def _embeddings(store: Store, place: str) -> Embeddings:
    from pipelines.embeddings import embeddings

    table, _, column = place.partition(".")
    if not table or not column:
        raise ValueError(f"--embeddings: {place!r} is not TABLE.COLUMN, as musicnn.max_pool_mean")
    return embeddings(store, table, column)


def _quotas(given: list[str]) -> dict[str, int]:
    found = {}
    for each in given:
        column, _, count = each.partition("=")
        if not column or not count.isdecimal() or not int(count):
            raise ValueError(f"--quota: {each!r} is not COLUMN=N, as artist=3 or tag=2")
        found[column] = int(count)
    return found
