"""A campaign that asks again about disputed clips: the file of the first one, with other clips."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation.campaign import Campaign
from annotation.labels import unfinished
from pipelines.campaigns.desk import Desk, open_desk
from pipelines.part import StoreError

_AGAIN = re.compile(r"-again([0-9]*)$")


def requeue(desk: Desk, clips: Sequence[str], file: Path) -> Campaign:
    """Write the campaign's file, and beside it a list of its clips; both are overwritten.

    The questions are the same, and nobody starts from a pre-annotation.

    Args:
        clips: keys of clips, or of views ("clip/view").
    Raises:
        StoreError: the files cannot be written, or would be the campaign's own.
        FileError: the campaign's file is no longer what it was.
    """
    if file.resolve() == desk.file.resolve():
        raise StoreError(f"{file}: is the campaign's own file; name another for the clips that are asked again")
    ids = file.with_suffix(".txt")
    content = tomllib.loads(desk.file.read_text(encoding="utf-8"))
    content["name"] = again(desk.campaign.name)
    content["title"] = f"{desk.campaign.title[:40]}, again"
    content.pop("predictions", None)
    content["clips"] = {**content.get("clips", {}), "ids": ids.name, "limit": 0}
    overlap = content.get("overlap", {})
    content["overlap"] = {"annotators": overlap.get("annotators", 1)}
    _move(content, desk.file.parent, file.parent)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for path, text in ((ids, "".join(f"{clip}\n" for clip in clips)), (file, toml(content))):
            with unfinished(path) as beside:
                beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}; choose another place") from error
    return open_desk(file, desk.store).campaign


def again(name: str) -> str:
    """The name of the campaign that asks again.

    >>> again("moods"), again("moods-again"), again("moods-again9")
    ('moods-again', 'moods-again2', 'moods-again10')
    """
    if found := _AGAIN.search(name):
        return f"{name[: found.start()]}-again{int(found[1] or 1) + 1}"
    return f"{name[:32].rstrip('-')}-again"


def toml(content: Mapping[str, Any]) -> str:
    r"""A TOML file of text, numbers, times, lists and tables.

    >>> print(toml({"name": "a \"b\"", "clips": {"limit": 3, "by": {"x y": [1.5, True]}}, "questions": [{"name": "mood"}]}), end="")
    name = "a \"b\""
    <BLANKLINE>
    [clips]
    limit = 3
    by = { "x y" = [1.5, true] }
    <BLANKLINE>
    [[questions]]
    name = "mood"
    """
    lines = [f"{_name(name)} = {_value(value)}" for name, value in content.items() if not _nested(value)]
    for name, value in content.items():
        if _nested(value):
            for table in value if isinstance(value, list) else [value]:
                lines += ["", f"[[{_name(name)}]]" if isinstance(value, list) else f"[{_name(name)}]"]
                lines += [f"{_name(each)} = {_value(said)}" for each, said in table.items()]
    return "\n".join(lines) + "\n"


def _move(content: dict[str, Any], before: Path, after: Path) -> None:
    """Make the files that are named beside the first campaign's findable from beside the second's."""
    named = [(content, "interface"), (content.get("gold", {}), "file"), *((each, "taxonomy") for each in content.get("questions", []))]
    for table, setting in named:
        said = table.get(setting)
        if said and not said.lstrip().startswith("<") and not Path(said).is_absolute():
            table[setting] = os.path.relpath(before / said, after)


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_name(name)} = {_value(each)}' for name, each in value.items())} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    return str(value.isoformat())


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)
