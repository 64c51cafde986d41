"""Whose fault it is that a recording cannot be heard: its own, or that of the storage it lies on, which a later run may find mended."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
from typing import NoReturn

import pyarrow.compute as pc

from extractors import audio
from extractors.clip import track_id
from extractors.uri import is_local, to_path
from pipelines.store import Store

_BLOCK = 1 << 18
ENDLESS = "no end"  # so begins what is said of a worker that was ended because it hung


class Late(OSError):
    """Storage that failed after clips of the file were passed on: they cannot be taken back."""


def blame(place: str, reason: str, seconds: float) -> NoReturn:
    """Say why a file cannot be heard that ended every worker who tried.

    Args:
        place: its uri. reason: how they ended. seconds: that its storage has to give it.
    Raises:
        OSError: they hung, and so does whoever reads its bytes.
        AudioError: it is the file.
    """
    if reason.startswith(ENDLESS) and is_local(place) and not _given(to_path(place), seconds):
        raise OSError(errno.ETIMEDOUT, f"its storage does not give it within {seconds:.0f} s")
    remedy = (
        "convert the file with another program and scan again, or run with --retry-rejects after an upgrade; "
        "if it only needs more time or memory, raise run.deadline_seconds or run.memory_gb first"
    )
    raise audio.AudioError(f"{reason} while this file was heard", "poison", remedy)


def _given(path: str, seconds: float) -> bool:
    """Whether a file's bytes come in time. Another process reads them, as a read that hangs cannot be ended."""
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(["cat", "--", path], stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        return child.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        child.kill()  # and it is not waited for: it ends when its read does
        return False


def confirm(path: str, identity: str, samples: int | None, late: bool) -> None:
    """Read a file once more, as bytes and as sound: decoders take a read that fails for the end of a damaged file.

    Args:
        identity: the track's, which follows from its bytes.
        samples: how many it gave, fewer than it should; None where decoding raised.
        late: clips of it were passed on.
    Raises:
        Late: as OSError, and late.
        OSError: its storage does not give its bytes, or gave fewer the first time.
        AudioError: its bytes are not those that the scan saw.
    """
    try:
        again = _again(path, identity)
    except OSError as error:
        raise (Late if late else OSError)(error.errno, error.strerror, path) from error
    if again != samples:
        raise (Late if late else OSError)(errno.EIO, "its storage gave less of it at first than at a second reading", path)


def _again(path: str, identity: str) -> int | None:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if track_id(digest) != identity:
        message = f"{os.path.basename(path)!r}: other bytes than the scan saw"
        raise audio.AudioError(message, "changed", "scan again: it is another recording now")
    try:
        return sum(map(len, audio.stream(path, _BLOCK)))
    except audio.AudioError:
        return None


def away(store: Store, uri: str) -> bool:
    """Whether a file that is not in its place may be back another time.

    It may if its folder is empty or not there either, as when a disk is not mounted, unless a scan has seen since that it is gone.
    """
    if not is_local(uri):
        return False
    with contextlib.suppress(OSError), os.scandir(os.path.dirname(to_path(uri))) as beside:
        if next(beside, None) is not None:
            return False
    aliases = store.read("aliases", ["uri", "present", "scanned_at"])
    if aliases is None:
        return True
    said = aliases.filter(pc.equal(aliases.column("uri"), uri)).sort_by("scanned_at").column("present").to_pylist()
    return not said or bool(said[-1])
