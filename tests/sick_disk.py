"""A disk whose reads fail, or take long, as a test says: a folder seen through FUSE, spoken to the kernel without a library."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

# Operations of linux/fuse.h that a folder which is only read needs.
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, READDIR = 1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 28
RELEASEDIR, BATCH_FORGET = 29, 42
DIRECT = 1  # each read comes to us, and none from the kernel's cache


class SickDisk:
    """A folder mounted for reading, as a context; a test that may not mount is skipped.

    fault: called with a file's name, an offset and a size before each read; the reader sees what it raises, and waits while it sleeps.
    """

    def __init__(self, folder: Path, place: Path) -> None:
        self.place = place
        self.fault: Callable[[str, int, int], None] = lambda name, offset, size: None
        self._paths = {1: str(folder)}
        self._nodes = {str(folder): 1}
        self._device = -1
        self._answering = threading.Lock()

    def __enter__(self) -> SickDisk:
        self.place.mkdir(exist_ok=True)
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR)
        except OSError as error:
            pytest.skip(f"no FUSE here: {error}")
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"sick", str(self.place).encode(), b"fuse", 1, options):  # 1: only for reading
            os.close(self._device)
            pytest.skip(f"may not mount: {os.strerror(ctypes.get_errno())}")
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self.place], check=False, capture_output=True)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 17)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                with self._answering:
                    os.close(self._device)  # unmounted
                    self._device = -1
                return
            operation, unique, node = struct.unpack_from("IQQ", request, 4)[0], *struct.unpack_from("QQ", request, 8)
            if operation == READ:  # one that hangs keeps no other waiting
                threading.Thread(target=self._reply, args=(operation, unique, node, request[40:]), daemon=True).start()
            elif operation not in (FORGET, BATCH_FORGET):
                self._reply(operation, unique, node, request[40:])

    def _reply(self, operation: int, unique: int, node: int, said: bytes) -> None:
        failed, answer = 0, b""
        try:
            answer = self._answer(operation, node, said)
        except OSError as error:
            failed = error.errno or errno.EIO
        with self._answering, contextlib.suppress(OSError):  # the reader was killed meanwhile
            if self._device >= 0:
                os.write(self._device, struct.pack("IiQ", 16 + len(answer), -failed, unique) + answer)

    def _answer(self, operation: int, node: int, said: bytes) -> bytes:
        path = self._paths.get(node, "")
        if operation == INIT:
            return struct.pack("IIIIHHIIHHI7I", 7, 31, 0, 0, 1, 1, 4096, 1, 0, 0, 0, *[0] * 7)
        if operation == LOOKUP:
            path = os.path.join(path, os.fsdecode(said.rstrip(b"\0")))
            node = self._nodes.setdefault(path, len(self._nodes) + 1)
            self._paths[node] = path
            return struct.pack("QQQQII", node, 0, 0, 0, 0, 0) + _attributes(path, node)
        if operation == GETATTR:
            return struct.pack("QII", 0, 0, 0) + _attributes(path, node)
        if operation in (OPEN, OPENDIR):
            return struct.pack("QII", 0, DIRECT if operation == OPEN else 0, 0)
        if operation == READ:
            offset, size = struct.unpack_from("QI", said, 8)
            self.fault(os.path.basename(path), offset, size)
            with open(path, "rb") as file:
                return os.pread(file.fileno(), size, offset)
        if operation == READDIR:
            (offset,) = struct.unpack_from("Q", said, 8)
            return b"".join(_entry(place, name) for place, name in enumerate(sorted(os.listdir(path)), 1) if place > offset)
        if operation == STATFS:
            return bytes(80)
        if operation in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "not needed")


def _attributes(path: str, node: int) -> bytes:
    found = os.lstat(path)
    seconds = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
    nanoseconds = tuple(at % 10**9 for at in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns))
    who = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid)
    return struct.pack("6Q10I", node, found.st_size, found.st_blocks, *seconds, *nanoseconds, *who, 0, 4096, 0)


def _entry(place: int, name: str) -> bytes:
    encoded = os.fsencode(name)
    return struct.pack("QQII", place, place, len(encoded), stat.S_IFREG >> 12) + encoded + bytes(-len(encoded) % 8)
