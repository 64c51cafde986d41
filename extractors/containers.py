"""What a file says of itself before anything decodes it: that it is there, and how long it claims to be."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from extractors.chunks import FORMS

_SIZES = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be \d+\)", re.MULTILINE)
# Writers to a pipe cannot know the size and put the largest number, or nearly: nothing is missing from such a file.
_SIZE_UNKNOWN = 0x7FFFF000
_SLACK = 0.1  # seconds that a header may be out by
_OGG_PAGE = 65_307  # bytes, the longest there is


class AudioError(ValueError):
    """A file that gives no sound; one line that says which and why.

    kind: the cause in a word or two, to count by: empty, not audio, no samples, not finite, vanished, unreadable, changed.
    remedy: what to do about it, one line.
    """

    # One argument, the rest as attributes with defaults: this is what survives pickling between workers.
    def __init__(self, message: str, kind: str = "not audio", remedy: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.remedy = remedy


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says.

    format: mp3, flac, vorbis, opus, aac, wav, aiff, …: the codec's name, or the container's where sound lies uncompressed.
    seconds: length that the header declares, or counted over the packets where it declares none.
    sample_rate: Hz.
    complete: False where the container shows that its end is missing (`truncated` says the rest).
    """

    format: str
    seconds: float
    sample_rate: int
    channels: int
    complete: bool = True


def truncated(info: AudioInfo, frames: int) -> bool:
    """Whether a file gave less sound than it declares, `frames` being what `stream` or `clips` returned at their end.

    A cut raw AAC, or MP3 without a tag, does not show it.

    >>> truncated(AudioInfo("mp3", 10.0, 44100, 2), 220500)
    True
    """
    return not info.complete or frames < (info.seconds - _SLACK) * info.sample_rate


def display_name(path: str | bytes) -> str:
    r"""The file's own name as one printable line.

    >>> display_name(b"/music/two\nlines \xff.mp3")
    'two\\nlines \\udcff.mp3'
    """
    name = os.path.basename(os.fsdecode(path))
    return name if name.isprintable() else repr(name)[1:-1]


def open_file(path: str | bytes) -> tuple[int, int]:
    """A descriptor for reading, and the file's size in bytes.

    Raises:
        AudioError: vanished, unreadable (no permission, a folder, a pipe) or empty.
    """
    name = display_name(path)
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to waits for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(f"{name}: no longer there", "vanished", "put it back, or scan again to note that it is gone") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        cause = error.strerror if isinstance(error, OSError) else str(error)
        raise AudioError(f"{name}: cannot be opened: {cause}", "unreadable", "check the file's permissions and its disk") from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return descriptor, status.st_size
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise AudioError(f"{name}: empty file (0 bytes)", "empty", "copy it again from its source")
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
    raise AudioError(f"{name}: {what}, not a file", "unreadable", "name files; a folder is searched by scan")


def suits_libsndfile(descriptor: int, size: int) -> bool:
    """False for Ogg, which libsndfile decodes slowly, and for MP3 whose length it would not know: it stops where it takes the end to be.

    An MP3's length stands in its first frame. Where it is missing, or not true of the file (cut off; or joined end to end, where the
    first part speaks for itself alone), libsndfile guesses, and mpg123 inside it prints warnings.
    """
    position = _after_id3(descriptor)
    head = os.pread(descriptor, 4, position)
    if head == b"OggS":
        return False
    if _is_frame(head):
        told = _mp3_bytes(descriptor, position)
        return told is not None and abs(size - position - told) <= 0.01 * size
    return position == 0 or head == b"fLaC"


def tells_of_reads(descriptor: int) -> bool:
    """Whether a file is FLAC, WAV, AIFF or their like, in whose sound libsndfile tells a read that fails from the end."""
    return os.pread(descriptor, 4, _after_id3(descriptor)) in (b"fLaC", *FORMS)


def _is_frame(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0


def mp3_is_complete(descriptor: int, size: int) -> bool:
    """Whether an MP3 holds as many bytes as its first frame says, within 1 %; true if it says nothing."""
    position = _after_id3(descriptor)
    return (_mp3_bytes(descriptor, position) or 0) <= size - position + 0.01 * size


def _after_id3(descriptor: int) -> int:
    """Where the file proper begins, behind ID3v2 tags."""
    position = 0
    while (head := os.pread(descriptor, 10, position))[:3] == b"ID3" and len(head) == 10:
        position += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)
    return position


def _mp3_bytes(descriptor: int, position: int) -> int | None:
    """Bytes of all MP3 frames, where the first one tells that and their number, and the two can belong together.

    Source: the Xing or Info tag lies behind the side information, 36 bytes into an MPEG-1 stereo frame, 21 or 13 in the smaller kinds:
    four letters, four bytes of flags, frames (flag 1), bytes (flag 2).
    """
    frame = os.pread(descriptor, 64, position)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 <= at <= len(frame) - 16 or frame[at + 7] & 3 != 3:
        return None
    frames, told = (int.from_bytes(frame[at + k : at + k + 4]) for k in (8, 12))
    # From 8 kbit/s to 320: a frame of layer III has 24 to 1441 bytes.
    return told if 20 * frames <= told <= 1500 * (frames + 1) else None


def ogg_is_complete(descriptor: int, size: int) -> bool:
    """Whether the last page is there whole and says that it is the last.

    Source: RFC 3533, section 6.
    """
    tail = os.pread(descriptor, _OGG_PAGE + 27, max(0, size - _OGG_PAGE - 27))
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return False
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    return bool(tail[at + 5] & 4) and len(segments) == tail[at + 26] and len(tail) >= at + 27 + len(segments) + sum(segments)


def pcm_is_complete(log: str) -> bool:
    """Whether a WAV or AIFF holds as much sound as its header says, from libsndfile's log of reading the header.

    >>> pcm_is_complete("data : 1058892 (should be 529424)")
    False
    >>> pcm_is_complete("data : 529424")
    True
    """
    return not any(0 < int(size) < _SIZE_UNKNOWN for size in _SIZES.findall(log))
