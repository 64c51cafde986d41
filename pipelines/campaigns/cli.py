"""`earmark campaign …`: asking people about clips, on Label Studio."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.terminal import show, tell

if TYPE_CHECKING:
    from annotation.studio import Studio
    from annotation.sync import Wanted
    from pipelines.campaigns.desk import Desk

# What `plan` ends with where an apply would change something: 0 is nothing to do, 1 refused, 2 a mistake.
CHANGES = 3


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    campaign = commands.add_parser("campaign", help="ask people, on Label Studio").add_subparsers(required=True, metavar="COMMAND")
    serve = add(campaign, "serve", _serve, "run Label Studio on a PostgreSQL of its own")
    serve.add_argument("--host", default="127.0.0.1", help="where it listens (%(default)s)")
    serve.add_argument("--port", type=int, default=8080, help="at which it listens (%(default)s)")
    serve.add_argument("--public-url", default="", help="how browsers reach it, if that is different")
    serve.add_argument("--database", default="", help="postgresql://… of a server that runs already")
    serve.add_argument("--single-annotator", action="store_true", help="SQLite: for one person alone")
    invite = add(campaign, "invite", _invite, "make accounts for annotators")
    invite.add_argument("email", nargs="+", metavar="EMAIL", help="of each person; who has an account keeps it")
    invite.add_argument("--passwords", default="", metavar="FILE", help="where they are written; annotators.tsv beside the token if absent")
    clips = add(campaign, "clips", _clips, "serve the clips to browsers, by signed links")
    clips.add_argument("--host", default="127.0.0.1", help="where it listens (%(default)s)")
    clips.add_argument("--port", type=int, default=8090, help="at which it listens (%(default)s)")
    clips.add_argument("--store", required=True, help="folder of the store")
    plan = add(campaign, "plan", _plan, f"say what an apply would do; ends with {CHANGES} if that is anything")
    apply = add(campaign, "apply", _apply, "do it; a second time does nothing")
    for command in (plan, apply):
        command.add_argument("--recreate", action="store_true", help="make the project anew if somebody deleted it")
    pull = add(campaign, "pull", _pull, "fetch what people said into the store's labels")
    pull.add_argument("--full", action="store_true", help="compare everything; done by itself once a day")
    pull.add_argument("--watch", type=float, default=0.0, metavar="SECONDS", help="go on, so often")
    pull.add_argument("--listen", type=int, default=0, metavar="PORT", help="with --watch: webhooks at this port wake it in between")
    status = add(campaign, "status", _status, "how far it is, as of the last pull")
    preflight = add(campaign, "preflight", _preflight, "look at sound and screen as a browser will, before people are invited")
    preflight.add_argument("--sample", type=int, default=20, help="clips that are fetched (%(default)s)")
    backend = add(campaign, "backend", _backend, "answer Label Studio's requests for predictions on the fly")
    backend.add_argument("--host", default="127.0.0.1", help="where it listens (%(default)s)")
    backend.add_argument("--port", type=int, default=9090, help="at which it listens (%(default)s)")
    for command in (plan, apply, pull, status, preflight, backend):
        command.add_argument("file", metavar="CAMPAIGN.toml", help="the campaign: questions, clips, how many people hear each")
        command.add_argument("--store", required=True, help="folder of the store")
    for command in (serve, invite, plan, apply, pull, preflight):
        command.add_argument("--data", default="studio", metavar="DIR", help="folder of `campaign serve` (%(default)s)")
    for command in (invite, plan, apply, pull, preflight):
        command.add_argument("--url", default="", help="of another Label Studio than that in --data; with --token-file")
        command.add_argument(
            "--token-file", default="", metavar="FILE", help="with --url: a file that holds a token, from 'Account & Settings'"
        )


def _serve(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.studio.server import MISTAKES, serve

    with _told(*MISTAKES):
        serve(Path(options.data), options.host, options.port, options.public_url, options.database, options.single_annotator, tell)
    return 0


def _invite(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.studio.folder import entrance
    from pipelines.studio.invite import invite
    from pipelines.studio.server import MISTAKES

    with _told(*MISTAKES):
        url, token = _address(options)
        file = Path(options.passwords or (Path(options.token_file).parent if options.token_file else Path(options.data)) / "annotators.tsv")
        accounts = invite(options.email, url, token, file)
        door = url if options.url else entrance(Path(options.data)) or url
    new = [each.email for each in accounts if each.new]
    text = f"{len(new)} accounts made, {len(accounts) - len(new)} were there; passwords are in {file}; people sign in at {door}"
    show(result, options.json, {"new": new, "accounts": len(accounts), "passwords": str(file), "url": door}, text)
    return 0


def _clips(options: argparse.Namespace, result: IO[str]) -> int:
    import logging

    from pipelines.clips.links import Keys
    from pipelines.clips.server import server
    from pipelines.store import Store

    store = Store(options.store)
    if not store.local:
        raise ValueError(f"{store.root}: a bucket serves its clips itself, by the links that apply signs; this is for stores in folders")
    keys = Keys(Path(store.folder("campaigns")) / "keys")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    tell(f"clips of {options.store} are at http://{options.host}:{options.port}; Ctrl-C stops it")
    server(store.folder("clips"), keys, options.host, options.port).run()
    return 0


def _plan(options: argparse.Namespace, result: IO[str]) -> int:
    from annotation.sync import plan

    _, wanted = _wanted(options)
    made = plan(_studio(options), wanted)
    facts = {
        "changes": made.changes,
        "create": [task.ext_id for task in made.create],
        "update": [name for _, name, _ in made.update],
        "predictions": len(made.send) + made.embedded,
        "settings": sorted(made.settings),
        "refused": made.refused,
        "left": made.left,
    }
    show(result, options.json, facts, str(made))
    return 1 if made.refused else CHANGES if made.changes else 0


def _apply(options: argparse.Namespace, result: IO[str]) -> int:
    from annotation.sync import apply

    desk, wanted = _wanted(options)
    with desk.mirror.lock("apply"):
        done = apply(_studio(options), wanted, tell)
        desk.remember_project(done.project.key, done.project.title)
    facts = {"project": done.project.id, "done": dict(done.done), "lost": done.lost, "left": done.left}
    show(result, options.json, facts, str(done))
    return 0


def _pull(options: argparse.Namespace, result: IO[str]) -> int:
    import threading

    from annotation.pull import watch
    from pipelines.part import StoreError

    desk, studio = _desk(options), _studio(options)
    if not options.watch:
        _pulled(desk, studio, options.full, options.json, result)
        return 0

    def once() -> None:
        try:
            _pulled(desk, studio, options.full, options.json, result)
            result.flush()
        except (ValueError, StoreError) as error:  # server or store are away, or another pull is at work: the next one makes up for it
            tell(str(error))

    wake = threading.Event()
    if options.listen:
        from pipelines.campaigns.backend import server

        threading.Thread(target=server(desk, "0.0.0.0", options.listen, wake.set).run, name="webhooks", daemon=True).start()
    watch(once, lambda _: None, options.watch, wake, threading.Event())
    return 0


def _pulled(desk: Desk, studio: Studio, full: bool, machine: bool, result: IO[str]) -> None:
    from pipelines.campaigns.home import bring, note

    if desk.store.local:
        desk.store.present()  # answers that are kept where its disk was mounted would be hidden when it comes back
    pulled, new = bring(desk, studio, full)
    if pulled.full:
        note(desk)  # of all answers, which such a pull goes through anyway; the others are to be quick
    show(result, machine, {**asdict(pulled), "labels": new}, f"{pulled}\n{new} new rows in the labels of {desk.store.root}")


def _status(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.campaigns.home import note

    found = note(_desk(options))
    show(result, options.json, asdict(found), str(found))
    return 0


def _preflight(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.campaigns.preflight import preflight

    desk, wanted = _wanted(options)
    given = {name: [said] for name, said in wanted.predictions.items()}
    url = options.url or _address(options)[0]
    found = preflight(wanted.tasks, desk.campaign, url, options.sample, lambda task: given.get(task.ext_id, []))
    lines = [f"{found.heard} of {found.tasks} clips were heard as a browser would"]
    lines += [f"  ! {each}" for each in found.failures] + [f"  ~ {each}" for each in found.warnings]
    show(result, options.json, asdict(found), "\n".join(lines))
    return 1 if found.failures else 0


def _backend(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.campaigns.backend import server

    desk = _desk(options)
    tell(f"predictions for {desk.campaign.name} are at http://{options.host}:{options.port}; Ctrl-C stops it")
    server(desk, options.host, options.port).run()
    return 0


def _desk(options: argparse.Namespace) -> Desk:
    from pipelines.campaigns.desk import open_desk
    from pipelines.store import Store

    return open_desk(options.file, Store(options.store))


def _wanted(options: argparse.Namespace) -> tuple[Desk, Wanted]:
    """The campaign as it should be on the server; its clips are cut on the way."""
    from pipelines.campaigns.asked import wanted
    from pipelines.progress import bar

    desk = _desk(options)
    with bar("cutting clips", "clips") as advance:
        found, broken = wanted(desk, getattr(options, "recreate", False), advance)
    for each in broken:
        tell(str(each))
    return desk, found


def _studio(options: argparse.Namespace) -> Studio:
    from annotation.studio import Studio

    return Studio(*_address(options), patience=15.0)


def _address(options: argparse.Namespace) -> tuple[str, str]:
    """The server and a token for it: of `campaign serve`'s folder, or given.

    Raises:
        ValueError: neither is there.
    """
    from pipelines.studio.folder import StudioError, address

    if bool(options.url) != bool(options.token_file):
        raise ValueError("--url and --token-file go together")
    if options.url:
        return options.url, Path(options.token_file).read_text().strip()
    try:
        return address(Path(options.data))
    except StudioError as error:
        raise ValueError(str(error)) from error


@contextmanager
def _told(*mistakes: type[Exception]) -> Iterator[None]:
    """Mistakes of the servers' modules as one line."""
    try:
        yield
    except mistakes as error:
        raise ValueError(str(error)) from error
