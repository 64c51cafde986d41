"""The versions of a release: folders that are complete or not there, and are never rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotation import foreign
from extractors.uri import printable
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
    """The number of the release to be: above whatever is there."""
    return f"v{1 + max((int(match[1]) for each in folder.iterdir() if (match := _VERSION.fullmatch(each.name))), default=0)}"


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What a release says of itself.

    Raises:
        StoreError: there is no release in that folder, one of a later earmark, or one whose manifest leads out of it.
    """
    path = Path(folder) / MANIFEST
    try:
        said: dict[str, Any] = foreign.document(path)
        form = int(said["format"])
        paths = [*said["files"], *(shard for each in said["splits"].values() for shard in each["shards"])]
        strange = [each for each in said["files"].values() if not isinstance(each["bytes"], int) or not isinstance(each["sha256"], str)]
    except OSError as error:
        inside = [each for each in versions(Path(folder)) if (Path(folder) / each / MANIFEST).exists()]
        hint = f"name one of its versions: {', '.join(inside)}" if inside else "name the folder of a version, as in OUT/NAME/v1"
        raise StoreError(f"{folder}: no release ({error.strerror}: {MANIFEST}); {hint}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: not a manifest that earmark wrote ({type(error).__name__}: {error})") from error
    if form > FORMAT:
        raise StoreError(f"{path}: format {form}, and this earmark reads {FORMAT}; take a later earmark")
    if strange:
        raise StoreError(f"{path}: not a manifest that earmark wrote (a file of {strange[0]!r})")
    root = Path(folder).resolve()
    for each in paths:
        if not isinstance(each, str) or "\0" in each:
            raise StoreError(f"{path}: not a manifest that earmark wrote (a file called {each!r})")
        if Path(each).is_absolute() or ".." in Path(each).parts or not (root / each).resolve().is_relative_to(root):
            raise StoreError(f"{folder}: its manifest names {each!r}, which lies outside of it; this is no release to open")
    return said


def encoded(value: Any) -> bytes:
    """JSON, one way of writing it."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False, default=str) + "\n").encode()


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest with the hash of itself, so that a changed byte of it is seen, too."""
    rest = {name: value for name, value in manifest.items() if name != "seal"}
    return encoded({**rest, "seal": hashlib.sha256(encoded(rest)).hexdigest()})


def verify(folder: str | Path) -> list[str]:
    """What differs from the manifest, one line a file; nothing, if the release is whole."""
    folder = Path(folder)
    wrong = []
    manifest = read_manifest(folder)
    if sealed(manifest) != (folder / MANIFEST).read_bytes():
        wrong.append(f"{MANIFEST}: other bytes than were released")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() and not path.name.startswith(".")}
    wrong += [f"{printable(name)}: does not belong to the release" for name in sorted(there - {*manifest["files"], MANIFEST})]
    for name, said in manifest["files"].items():
        try:
            if (folder / name).exists() and not (folder / name).is_file():
                wrong.append(f"{name}: no file")  # a pipe would never end
                continue
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
