"""`earmark release …`: training sets: made, compared, exported, checked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.terminal import show

if TYPE_CHECKING:
    from pipelines.release.build import Made

_WORDS = ("diff", "export", "verify", "schema")


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    release = add(commands, "release", _release, "make a training set, divided without leaks; or: release diff A B, export DIR, verify DIR")
    release.formatter_class = argparse.RawDescriptionHelpFormatter
    release.description = (
        "earmark release RELEASE.toml --store STORE --out DIR   the next version, in DIR/NAME, unless the same inputs have one\n"
        "earmark release diff DIR/NAME/v1 DIR/NAME/v2           what changed from one to the other\n"
        "earmark release export DIR/NAME/v1 --to FORMAT --out O webdataset, huggingface or jams\n"
        "earmark release verify DIR/NAME/v1                     whether every file is as its manifest says\n"
        "earmark release schema                                 the JSON Schema of RELEASE.toml"
    )
    release.add_argument(
        "what", nargs="+", metavar="RELEASE.toml", help="the release's file; or one of diff, export, verify, schema, and folders"
    )
    release.add_argument("--store", default="", help="folder or URI of the store")
    release.add_argument("--out", default="", metavar="DIR", help="folder of releases; of an export")
    release.add_argument("--allow", default="", metavar="CC0,CC-BY", help="licences, in place of the file's")
    release.add_argument("--to", default="", choices=("webdataset", "huggingface", "jams"), help="format of an export")


def _release(options: argparse.Namespace, result: IO[str]) -> int:
    word, *rest = options.what
    if word in _WORDS and not (len(options.what) == 1 and word != "schema"):
        commands = {"diff": _diff, "export": _export, "verify": _verify, "schema": _schema}
        return commands[word](rest, options, result)
    if len(options.what) > 1 or word in _WORDS:
        raise ValueError(
            f"release {' '.join(options.what)}: name one file, or {', '.join(_WORDS)} and folders; 'earmark release --help' shows how"
        )
    if not options.store or not options.out:
        raise ValueError(f"release {word}: needs --store STORE and --out DIR")
    if options.to:
        raise ValueError(f"release {word}: --to is of 'earmark release export DIR/NAME/v1 --to {options.to} --out O'")
    if "://" in options.out:
        raise ValueError(f"release {word}: --out {options.out}: releases are made in a folder of this machine; copy them from there")
    from pipelines.progress import bar
    from pipelines.release.build import release
    from pipelines.release.spec import load
    from pipelines.store import Store

    spec = load(word, [each.strip() for each in options.allow.split(",") if each.strip()])
    with bar("releasing", "rows") as advance:
        made = release(Store(options.store), spec, Path(options.out), Path(word), advance)
    show(result, options.json, _facts(made), _text(made))
    return 0


def _diff(folders: list[str], options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.release.diff import diff

    if len(folders) != 2:
        raise ValueError("release diff: name two versions, as in 'earmark release diff DIR/NAME/v1 DIR/NAME/v2'")
    found = diff(Path(folders[0]), Path(folders[1]))
    show(result, options.json, found.facts(), str(found))
    return 0


def _export(folders: list[str], options: argparse.Namespace, result: IO[str]) -> int:
    if len(folders) != 1 or not options.to or not options.out:
        raise ValueError("release export: name one version, a format and a place: 'earmark release export DIR/NAME/v1 --to jams --out O'")
    from pipelines.release.export import export

    facts = export(Path(folders[0]), options.to, Path(options.out))
    show(result, options.json, facts, str(facts.get("text", "")) or f"{options.to}: {options.out}")
    return 0


def _verify(folders: list[str], options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.release.manifest import read_manifest, verify

    wrong = [f"{folder}/{line}" for folder in folders for line in verify(folder)]
    files = sum(len(read_manifest(folder)["files"]) for folder in folders)
    show(result, options.json, {"files": files, "wrong": wrong}, "\n".join(wrong) or f"{files} files are as they were released")
    return 1 if wrong else 0


def _schema(rest: list[str], options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.release.spec import schema

    print(json.dumps(schema(), indent=2), file=result)
    return 0


def _facts(made: Made) -> dict[str, Any]:
    said = {key: made.manifest[key] for key in ("name", "version", "digest", "splits")}
    told = ("crossing", "too_large", "few", "moved", "excluded", "closure")
    return {
        "folder": str(made.folder),
        "new": made.new,
        **said,
        **{key: made.proof[key] for key in told},
        "nearest": made.proof["nearest"]["pairs"],
    }


def _text(made: Made) -> str:
    from pipelines.release.card import moves

    if not made.new:
        return f"nothing to do: {made.folder} is of the same inputs"
    proof = made.proof
    lines = [
        f"{made.folder}: {sum(each['rows'] for each in proof['splits'])} rows in {proof['groups']} groups, of which none crosses a split"
    ]
    for each in proof["splits"]:
        lines.append(
            f"  {each['split']:8} {each['rows']:8} rows, {each['tracks']:6} recordings, {each['share_of_clips']:6.1%} of the clips"
            f" ({each['share_wanted']:.1%} wanted)"
        )
    if empty := [each["split"] for each in proof["splits"] if not each["rows"]]:
        previous = made.manifest["previous"]
        kept = (
            f": recordings keep the split that they had in {previous['version']}; under another name all are divided anew"
            if previous
            else ""
        )
        lines.append(f"no row is in {' or '.join(empty)}{kept}")
    lines += [f"left out: {each['entries']} × {each['what']}: {each['reason']}" for each in proof["excluded"][:10]]
    lines += [
        f"not checked: {each['relation']}: {each['note'].removeprefix('not checked: ')}" for each in proof["closure"] if not each["checked"]
    ]
    for each in proof["too_large"][:5]:
        held = each["by"] or "one recording"
        lines.append(
            f"larger than a split: {each['tracks']} recordings, {each['share']:.1%}, all in {each['split']}: {held}; {each['way_out']}"
        )
    for (before, after, why), count in moves(proof)[:10]:
        lines.append(f"moved: {count} recordings from {before} to {after}: {why}")
    if proof["few"]:
        shown = ", ".join(f"{each['tag']} in {each['split']} ({each['rows']})" for each in proof["few"][:6])
        lines.append(
            f"too few: {len(proof['few'])} times a tag has fewer than 10 rows in a split: {shown}{', …' * (len(proof['few']) > 6)}"
        )
    if proof["nearest"]["pairs"]:
        pair = proof["nearest"]["pairs"][0]
        near = " and ".join(f"{each['uri'].rpartition('/')[2]} at {each['start']:g} s ({each['split']})" for each in (pair["a"], pair["b"]))
        lines.append(f"nearest across splits: cosine {pair['cosine']:.4f}: {near}")
    return "\n".join(lines)
