"""Label Studio in a virtual environment of its own: its hundred and fifty packages would quarrel with ours."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

VERSION = "1.23.2"
PINS = Path(__file__).with_name("pins.txt")  # all packages of an environment in which the tests passed
GIGABYTES = 1.5


class InstallError(Exception):
    """Label Studio cannot be installed; one line says why."""


def cache() -> Path:
    """The folder in which earmark keeps what it can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earmark"


def environment() -> Path:
    """Where the virtual environment is or will be: EARMARK_STUDIO_VENV, or a folder of the cache."""
    given = os.environ.get("EARMARK_STUDIO_VENV")
    return Path(given).absolute() if given else cache() / f"label-studio-{VERSION}"


def install(folder: Path, tell: Callable[[str], None]) -> Path:
    """The program `label-studio` in an environment, installed if it is missing. Two that ask at once wait for one installation.

    Raises:
        InstallError: no room, no package index, or a folder that holds something else.
    """
    program = folder / "bin" / "label-studio"
    if _versions(folder) == [VERSION]:
        return program
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if there := _versions(folder):
            if there == [VERSION]:
                return program
            raise InstallError(f"{folder}: holds Label Studio {', '.join(there)}, not {VERSION}; EARMARK_STUDIO_VENV names another folder")
        if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
            raise InstallError(f"{folder}: not a virtual environment; EARMARK_STUDIO_VENV names another folder")
        free = shutil.disk_usage(folder.parent).free / 1e9
        if free < GIGABYTES:
            raise InstallError(
                f"{folder.parent}: {free:.1f} GB free, and Label Studio needs {GIGABYTES}; EARMARK_STUDIO_VENV names another folder"
            )
        tell(f"installing Label Studio {VERSION} in {folder} (once, a minute or two)")
        _run(folder, sys.executable, "-m", "venv", str(folder))
        python = str(folder / "bin" / "python")
        _run(folder, python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(PINS), f"label-studio=={VERSION}")
    return program


def _versions(folder: Path) -> list[str]:
    """What is wholly installed: pip installs a package after those that it needs, and writes RECORD last."""
    records = folder.glob("lib/python*/site-packages/label_studio-*.dist-info/RECORD")
    return sorted(record.parent.name.removeprefix("label_studio-").removesuffix(".dist-info") for record in records)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else f"exit code {done.returncode}")
        raise InstallError(
            f"Label Studio cannot be installed in {folder}: {why.removeprefix('ERROR: ')}; the same command goes on where it stopped"
        )
