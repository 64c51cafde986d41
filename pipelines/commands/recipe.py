"""`earmark recipe …`: what a recipe would do."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import IO, Any

from pipelines.commands.checks import check_augmentations
from pipelines.terminal import show


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    recipe = commands.add_parser("recipe", help="check recipes, print their schema").add_subparsers(required=True, metavar="COMMAND")
    check = add(recipe, "check", _check, "say what a recipe would compute, how large it will be, and what becomes of labels")
    check.add_argument(
        "file", metavar="RECIPE.toml", help="what is computed of each clip; 'earmark recipe schema' prints all that it may say"
    )
    check.add_argument("--store", help="count the clips of this store's tracks")
    add(recipe, "schema", _schema, "print the JSON Schema of recipes")


def _check(options: argparse.Namespace, result: IO[str]) -> int:
    from annotation.kinds import base
    from augment.contract import RULES, contract, refused, text
    from pipelines.estimate import estimate
    from pipelines.recipe import load
    from pipelines.relabel import kinds
    from pipelines.store import Store

    recipe = load(options.file)
    check_augmentations(recipe)
    store = Store(options.store) if options.store else None
    found = estimate(recipe, store)
    held = kinds(store) if store else {}
    rows = contract(recipe.augment, recipe.labels, held or [*RULES, *recipe.labels.rules])
    stops = refused(recipe.augment, recipe.labels, held)
    lines = [str(found)]
    if rows:
        lines.append(f"\nwhat becomes of labels{'' if held else ' (of every kind that has a rule)'}:\n{text(rows)}")
    idle = sorted(set(recipe.labels.rules) - {name for kind in held for name in (kind, base(kind))}) if held else []
    if idle:
        lines.append(f"\nno label is of the kind of [labels.rules.{'], [labels.rules.'.join(idle)}]; there are {', '.join(held)}")
    if stops:
        lines.append('\na run would stop for what is refused; on_refused = "drop" under [labels] leaves such labels out of the views')
    elif recipe.labels.on_refused == "drop" and any(said.effect == "refused" for _, _, said in rows):
        lines.append("\nwhat is refused is left out of the views")
    table = [{"augmentation": label, "kind": kind, "effect": said.effect, "how": said.how} for label, kind, said in rows]
    show(result, options.json, {**asdict(found), "contract": table, "stops": len(stops)}, "\n".join(lines))
    return 1 if stops else 0


def _schema(options: argparse.Namespace, result: IO[str]) -> int:
    from pipelines.recipe import Recipe

    print(json.dumps(Recipe.model_json_schema(), indent=2), file=result)
    return 0
