"""A release in another form: WebDataset tars, a Hugging Face dataset, JAMS files; in a folder that is whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.part import StoreError, attempt, unfinished
from pipelines.release.loader import Release

# What an export is about, beside what it holds: licences ask for it.
_ALONG = ("README.md", "ATTRIBUTION.tsv")
NOTE = "export.json"
_ABANDONED = 24 * 3600.0  # seconds after which another machine's attempt counts as dead


def export(folder: Path, to: str, out: Path) -> dict[str, Any]:
    """Write a release in another form; doing it again does nothing, and after a kill it starts anew.

    The release's bytes are verified first. `out` holds the export, README.md and ATTRIBUTION.tsv of the release, and export.json, which
    says what it was made of and has the hash of each file. Equal releases give equal files.

    Args:
        to: "webdataset", "huggingface" or "jams".
        out: a folder that is not there yet, or empty.
    Returns:
        what was written: release, version, digest, to, out, files, bytes, rows (of JAMS: labels), text.
    Raises:
        StoreError: no whole release, no such form, `out` holds something else, or cannot be written.
    """
    forms = _forms()
    if to not in forms:
        raise StoreError(f"--to: {to!r} is not one of {', '.join(forms)}")
    release = Release(folder)
    made = {"release": release.name, "version": release.version, "digest": release.digest, "to": to}
    out = out.resolve()  # a link to a folder is that folder
    if out.is_relative_to(release.folder.resolve()):
        raise StoreError(f"{out}: lies inside the release, which stays as it is; name a folder elsewhere")
    if done := _done(out, made):
        return {**done, "out": str(out), "text": f"{out}: there already, whole"}
    release.verify()
    try:
        with _beside(out) as under_way:
            rows = forms[to](release, under_way)
            for name in _ALONG:
                if (release.folder / name).is_file():
                    shutil.copyfile(release.folder / name, under_way / name)
            files = {path.relative_to(under_way).as_posix(): _described(path) for path in sorted(under_way.rglob("*")) if path.is_file()}
            note = {**made, "rows": rows, "files": files}
            (under_way / NOTE).write_text(json.dumps(note, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{error.filename or out}: {error.strerror or error}; nothing was exported") from error
    facts = {**made, **_facts(note)}
    what = "labels" if to == "jams" else "rows"
    return {**facts, "out": str(out), "text": f"{out}: {rows} {what} in {facts['files']} files, {facts['bytes'] / 1e6:.1f} MB"}


def _forms() -> dict[str, Callable[[Release, Path], int]]:
    from pipelines.release import hugging_face, jams_files, webdataset_tars

    return {"webdataset": webdataset_tars.write, "huggingface": hugging_face.write, "jams": jams_files.write}


def _facts(note: dict[str, Any]) -> dict[str, Any]:
    return {"rows": note["rows"], "files": len(note["files"]), "bytes": sum(each["bytes"] for each in note["files"].values())}


def _done(out: Path, made: dict[str, Any]) -> dict[str, Any] | None:
    """The facts of an export that is there already.

    Raises:
        StoreError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        note = json.loads((out / NOTE).read_text(encoding="utf-8"))
        whole = all((out / path).stat().st_size == said["bytes"] for path, said in note["files"].items())
        was = {name: note[name] for name in made}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(f"{out}: holds something that is no whole export; remove it or name another folder") from None
    if was != made or not whole:
        what = "no longer whole" if was == made else f"{was['to']} of {was['release']} {was['version']} ({was['digest'][:12]})"
        raise StoreError(f"{out}: holds another export, {what}; remove it or name another folder")
    return {**made, **_facts(note)}


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A hidden folder that takes the place of `out` in one step, or is gone if writing failed; dead ones are cleared first."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{_literal(out.name)}.*"):
        if left.is_dir() and unfinished(left.name, _ABANDONED, left.stat().st_mtime):
            shutil.rmtree(left, ignore_errors=True)
    under_way = Path(attempt(str(out)))
    under_way.mkdir()
    try:
        yield under_way
        for path in under_way.rglob("*"):
            _to_disk(path)
        _to_disk(under_way)
        os.rename(under_way, out)
        _to_disk(out.parent)
    finally:
        shutil.rmtree(under_way, ignore_errors=True)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _described(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
