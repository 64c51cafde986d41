"""A bucket of as many objects as are wanted, none of which exists: what listing them costs us, not the network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from fsspec.spec import AbstractFileSystem

PER_FOLDER = 1000


class Bucket(AbstractFileSystem):  # type: ignore[misc]
    """bucket://bucket/music/FOLDER/PIECE.flac, listed as s3fs lists: all at once below a folder, each object a dictionary."""

    protocol = "bucket"
    objects: ClassVar[int] = 0
    cachable = False

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Folders, whatever they are called."""
        return {"name": self._strip_protocol(path), "size": 0, "type": "directory"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """A folder's own."""
        path = str(self._strip_protocol(path)).rstrip("/")
        if path.count("/") < 2:
            folders = [f"{path}/{number:06}" for number in range(-(-self.objects // PER_FOLDER))]
            return [{"name": folder, "size": 0, "type": "directory"} for folder in folders] if detail else folders
        first = int(path.rpartition("/")[2]) * PER_FOLDER
        found = [_described(f"{path}/piece {number:09}.flac") for number in range(first, min(first + PER_FOLDER, self.objects))]
        return found if detail else [each["name"] for each in found]

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any) -> Any:
        """All below a folder, in one answer."""
        found = {each["name"]: each for each in self._below(path)}
        return found if detail else sorted(found)

    def _below(self, path: str) -> Iterator[dict[str, Any]]:
        for each in self.ls(path):
            if each["type"] == "directory":
                yield from self.ls(each["name"])
            else:
                yield each


def _described(name: str) -> dict[str, Any]:
    """What s3fs says of an object."""
    return {
        "Key": name,
        "LastModified": datetime(2026, 1, 1, tzinfo=UTC),
        "ETag": f'"{hash(name):032x}"',
        "ChecksumAlgorithm": ["CRC32"],
        "Size": 9_600_000,
        "StorageClass": "STANDARD",
        "type": "file",
        "size": 9_600_000,
        "name": name,
    }
