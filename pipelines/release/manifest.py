"""The versions of a release: folders that are complete or not there, and are never rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.part import StoreError, attempt

FORMAT = 1
MANIFEST = "manifest.json"
_VERSION = re.compile(r"v([1-9][0-9]*)")


def versions(folder: Path) -> list[str]:
    """Those of a release that are there, the first first.

    Args:
        folder: OUT/NAME.
    """
    if not folder.is_dir():
        return []
    found = [match for each in folder.iterdir() if (match := _VERSION.fullmatch(each.name)) and each.is_dir()]
    return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]


def next_version(folder: Path) -> str:
    """The number of the release to be."""
    there = versions(folder)
    return f"v{int(there[-1][1:]) + 1}" if there else "v1"


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What a release says of itself.

    Raises:
        StoreError: there is no release in that folder, or one of a later earmark.
    """
    path = Path(folder) / MANIFEST
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form = int(said["format"])
    except OSError as error:
        inside = [each for each in versions(Path(folder)) if (Path(folder) / each / MANIFEST).exists()]
        hint = f"name one of its versions: {', '.join(inside)}" if inside else "name the folder of a version, as in OUT/NAME/v1"
        raise StoreError(f"{folder}: no release ({error.strerror}: {MANIFEST}); {hint}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a manifest that earmark wrote ({type(error).__name__}: {error})") from error
    if form > FORMAT:
        raise StoreError(f"{path}: format {form}, and this earmark reads {FORMAT}; take a later earmark")
    return said


def verify(folder: str | Path) -> list[str]:
    """What differs from the manifest, one line a file; nothing, if the release is whole."""
    folder = Path(folder)
    wrong = []
    for name, said in read_manifest(folder)["files"].items():
        try:
            with open(folder / name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != said["bytes"]:
                    wrong.append(f"{name}: {size} bytes where the manifest says {said['bytes']}")
                elif hashlib.file_digest(file, "sha256").hexdigest() != said["sha256"]:
                    wrong.append(f"{name}: other bytes than the manifest says")
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
    return wrong


@contextmanager
def hidden(folder: Path, version: str) -> Iterator[Path]:
    """A folder that nobody sees, to build in; `publish` shows it, and whatever else happens removes it. Dead ones are swept.

    For use under the release's lock: whatever is hidden beside it belongs to nobody alive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for dead in folder.glob(".v*.*.*.*"):
        shutil.rmtree(dead, ignore_errors=True)
    building = Path(attempt(str(folder.absolute() / version)))
    building.mkdir()
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def publish(building: Path, folder: Path, version: str) -> Path:
    """Show what was built: one step, after everything is on the disk.

    Raises:
        OSError: the version is there already.
    """
    for below in [building, *(each for each in building.rglob("*") if each.is_dir())]:
        _sync(below)
    place = folder / version
    os.rename(building, place)
    _sync(folder)
    return place


def keep(path: Path, payload: bytes) -> dict[str, Any]:
    """Write a small file of a release, down to the disk.

    Returns:
        its entry in the manifest.
    """
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
