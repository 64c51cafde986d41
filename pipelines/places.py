"""TOML files that describe something: read into a model, every mistake told in one line with file, line, place, value and choices."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from annotation import foreign

Model = TypeVar("Model", bound=BaseModel)
_PLACE = re.compile(r"([a-z_]\w*(?:\[\d+\])?(?:\.[\w-]+(?:\[\d+\])?)*): (.*)", re.DOTALL)
_HEADING = re.compile(r"\s*\[+\s*([^\[\]]+?)\s*\]+")
_SETTING = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
# Nothing that is described here lies deeper than five tables. Python's parser takes room that grows with the square of a name's dots:
# two hundred kilobytes of them would fill forty gigabytes.
_DEEP = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
_LARGEST = 1 << 24  # bytes of a file
_TOLD = 20  # mistakes; each is looked for in the whole file
_LINE = 400  # characters of a line in which a name is looked for


class FileError(ValueError):
    """A file that cannot be understood: one line for each mistake, with its place."""


def load_toml(
    path: str | Path,
    model: type[Model],
    named: Mapping[str, type[BaseModel]] | None = None,
    hint: str = "name a TOML file",
    error: type[FileError] = FileError,
) -> Model:
    """Read a TOML file into a model; its validators find the file's folder in `info.context["folder"]`.

    Args:
        named: models that the file chooses by their names (`use = "LogMel"`).
        hint: what to do where there is no file.
        error: what is raised.
    Raises:
        FileError: file, line, place, value and the choices, in one line per mistake.
    """
    named = named or {}
    try:
        text = foreign.text(path, _LARGEST)
        if deep := _DEEP.search(text):
            raise RecursionError(_short(deep[0]))
        content = tomllib.loads(text)
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}; {hint}") from problem
    except foreign.NoFile as problem:
        raise error(f"{problem}; {hint}") from problem
    except ValueError as problem:  # TOML's and UTF-8's own, and Python's for whole numbers of thousands of digits
        raise error(f"{path}: not TOML: {problem}") from problem
    except RecursionError as problem:
        raise error(f"{path}: nested too deeply for a file that somebody wrote; correct it") from problem
    try:
        return model.model_validate(content, context={"folder": Path(path).parent})
    except ValidationError as problem:
        raise error(_explain(Path(path).name, text, problem.errors(), model, named)) from problem


def _explain(file: str, text: str, mistakes: Sequence[Any], root: type[BaseModel], named: Mapping[str, type[BaseModel]]) -> str:
    """One line for each of pydantic's errors, in the file's order."""
    # A member that is wrong is not counted, so that the tuple is "too short" as well.
    told = [each for each in mistakes if each["type"] != "too_short"] or mistakes
    lines = sorted(_explain_one(text, mistake, root, named) for mistake in told[:_TOLD])
    lines += [(0, f"and {len(told) - _TOLD} more mistakes")] * (len(told) > _TOLD)
    return "\n".join(f"{file}, line {line}: {said}" if line else f"{file}: {said}" for line, said in lines)


def _explain_one(text: str, mistake: Any, root: type[BaseModel], named: Mapping[str, type[BaseModel]]) -> tuple[int, str]:
    """The line that a mistake is in, and what to say."""
    # The union's tag stands in the location although the user never wrote it there.
    location = [key for key in mistake["loc"] if key not in named]
    message = mistake["msg"].removeprefix("Value error, ")
    value = mistake.get("input")
    if mistake["type"] == "extra_forbidden":
        message = f"no such setting; there are {', '.join(sorted(_reach(root, mistake['loc'][:-1], named)[-1].model_fields))}"
        value = None
    elif mistake["type"] == "union_tag_invalid":
        location.append("use")
        message = f"{value.get('use')!r} is not one of {mistake['ctx']['expected_tags'].replace(chr(39), '')}"
        value = None
    elif mistake["type"] == "union_tag_not_found":
        location.append("use")
        message = f"missing; say which: {', '.join(each.__name__ for each in _reach(root, mistake['loc'], named))}"
        value = None
    elif isinstance(value, dict | list | tuple) or mistake["type"] == "missing":
        value = None
    if (found := _PLACE.match(message)) and re.split(r"\W", found[1])[0] in _reach(root, mistake["loc"], named)[-1].model_fields:
        # Written by a model's own validator, which knows the place better.
        location += [int(key) if key.isdigit() else key for key in re.findall(r"[\w-]+", found[1])]
        message = found[2]
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in location).lstrip(".")
    given = f", got {_short(value)}" if value is not None and repr(value) not in message else ""
    return _line(text, location), f"{place or root.__name__.lower()}: {message}{given}".replace("\n", " ")


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 100 else f"{said[:100]}..."


def _reach(root: type[BaseModel], location: Sequence[Any], named: Mapping[str, type[BaseModel]]) -> tuple[type[BaseModel], ...]:
    """The models that may stand at a location."""
    reached: tuple[type[BaseModel], ...] = (root,)
    for key in location:
        fields = reached[-1].model_fields
        if key in named:
            reached = (named[key],)
        elif key in fields:
            reached = tuple(_models(fields[key].annotation)) or reached
    return reached


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _line(text: str, location: Sequence[Any]) -> int:
    """The line in the TOML text that comes nearest to a location; 0 where there is none."""
    names = [key for key in location if isinstance(key, str)]
    index = location[1] if len(location) > 1 and isinstance(location[1], int) else None
    section: list[str] = []
    count, nearest, best, quoted = -1, 0, 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if quoted:
            quoted = "" if quoted in line else quoted
            continue
        # Of a heading of fifty thousand blanks the expression would take minutes.
        if heading := _HEADING.match(line[:_LINE]):
            path = section = _names(heading[1])
            count += section == names[:1]
        elif setting := _SETTING.match(line[:_LINE]):
            path = section + _names(setting[1])
            opened = next((quote for quote in ('"""', "'''") if line.count(quote) % 2), "")
            quoted = opened
        else:
            continue
        # Of a list of tables only the one that is meant; of equally near lines the last, which is the list's latest entry.
        if path == names[: len(path)] and len(path) >= max(best, 1) and (index is None or section[:1] != names[:1] or count == index):
            nearest, best = number, len(path)
    return nearest


def _names(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(dotted)]


def line_of(path: str | Path, location: Sequence[Any]) -> int:
    """The line in a TOML file that comes nearest to a location, for mistakes that show only later; 0 where there is none."""
    try:
        return _line(foreign.text(path, _LARGEST), location)
    except (OSError, ValueError):
        return 0
