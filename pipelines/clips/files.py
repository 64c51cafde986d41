"""Clips cut out of their recordings into files that every browser plays, each once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.fs as pafs

from augment.augmentation import Unfit
from augment.chain import Lineage
from extractors.containers import AudioError
from extractors.uri import open_local, printable
from pipelines.part import StoreError
from pipelines.store import Store
from pipelines.views import ResourceError, heard_again

TYPES = {"mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "wav": "audio/wav"}
FILE_NAME = re.compile(rf"([0-9a-f]{{20}})-([0-9a-f]{{4}})[0-9a-f]{{4}}\.({'|'.join(TYPES)})")

# The rates of MP3. Below 32 kHz its frames, and with them what decoders round a length to, grow long.
_RATES = (32_000, 44_100, 48_000)
_LOSSY = ("mp3", "ogg")
_VERSION = 1  # raised when the same clip, encoding and bit rate give another file
_SLACK = 0.05  # seconds that a recording may end before what its header announced
_AT_ONCE = 32  # clips of one recording that are cut in one pass

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Excerpt:
    """A clip, or a view of one, that people are to hear.

    track: its row in the catalogue. start: seconds of the track. seconds: the clip's length; of a view, see `sound`.
    view_id, lineage: of a view, from the table `views`; window: seconds of the clips that it was made of, None for whole tracks.
    """

    clip_id: str
    track: Mapping[str, Any]
    start: float
    seconds: float
    view_id: str | None = None
    lineage: str = ""
    window: float | None = None

    @property
    def name(self) -> str:
        """20 hex digits: of the view if it is one."""
        return self.view_id or self.clip_id

    @property
    def sound(self) -> float:
        """Seconds that its file lasts."""
        return Lineage.parse(self.lineage).sound if self.view_id else self.seconds


@dataclass(frozen=True)
class Broken:
    """A clip that could not be cut: which, of which recording, why, and what to do."""

    excerpt: Excerpt
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"clip {self.excerpt.name} of {printable(self.excerpt.track['uri'])}: {self.message}; {self.remedy}"


@dataclass
class Cuts:
    """What became of excerpts.

    files: name in STORE/clips/<encoding>, by the excerpt's name. new: how many of them were cut now. turned_down: new ones whose peak
    was above 1, and by how many dB they are softer, as a whole; all others are as loud as their recordings.
    """

    files: dict[str, str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    new: int = 0
    turned_down: dict[str, float] = field(default_factory=dict)


def cut(
    store: Store,
    excerpts: Iterable[Excerpt],
    encoding: str = "mp3",
    kbps: int = 192,
    progress: Callable[[int, int], None] = lambda done, of: None,
    workers: int | None = None,
) -> Cuts:
    """Files for excerpts: STORE/clips/<encoding>/<clip_id or view_id>-<4 hex digits of encoding and kbps><4 of samples>.<encoding>.

    What is at second t of the clip is at second t of its file, and at second start + t of the track. Files that are there are not cut
    again; an excerpt that cannot be cut leaves its neighbours alone.

    Every browser plays all four from their first sample on. After a seek, Chromium is where it says in flac, wav and ogg, and up to
    50 ms late in mp3 (0.4 s with a variable bit rate, which is why it is constant).

    Clips of stereo recordings are stereo. Views are mono, as augmentations are, and so are clips of more than two channels.

    Args:
        encoding: mp3, flac, ogg or wav. kbps: kbit/s of mp3 (constant) and ogg (about).
        progress: called with how many excerpts are done, and how many there are.
        workers: threads; as many as there are processors if None.
    Raises:
        ValueError: no such encoding.
        StoreError: the store cannot be written.
    """
    if encoding not in TYPES:
        raise ValueError(f"encoding {encoding!r}: not one of {', '.join(TYPES)}")
    wanted = {excerpt.name: excerpt for excerpt in excerpts}
    made = Cuts()
    how = _How(store, encoding, kbps)
    made.files = {name: file for name, file in how.there().items() if name in wanted}
    done = len(made.files)
    progress(done, len(wanted))
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        missing = [excerpt for name, excerpt in wanted.items() if name not in made.files]
        futures = [pool.submit(_cut, how, group) for group in _groups(missing)]
        try:
            for future in as_completed(futures):
                part = future.result()
                made.files |= part.files
                made.broken += part.broken
                made.turned_down |= part.turned_down
                made.new += part.new
                done += part.new + len(part.broken)
                progress(done, len(wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return made


@dataclass(frozen=True)
class _How:
    """Where files go, and how they are encoded."""

    store: Store
    encoding: str
    kbps: int

    @property
    def folder(self) -> str:
        return self.store.folder("clips", self.encoding)

    @property
    def digest(self) -> str:
        kbps = self.kbps if self.encoding in _LOSSY else None
        return hashlib.sha256(json.dumps([_VERSION, self.encoding, kbps]).encode()).hexdigest()[:4]

    def there(self) -> dict[str, str]:
        """The files that are there, by clip or view."""
        infos = self.store.filesystem.get_file_info(pafs.FileSelector(self.folder, allow_not_found=True))
        # Backwards, so that the first counts: two versions of a decoder may have made two files of one clip.
        names = sorted((info.base_name for info in infos if info.type == pafs.FileType.File), reverse=True)
        matches = ((name, FILE_NAME.fullmatch(name)) for name in names)
        return {found[1]: name for name, found in matches if found and found[2] == self.digest}

    def write(self, name: str, samples: Samples, rate: int) -> str:
        """A clip's file, whole or absent; its name."""
        from extractors.audio import resample
        from extractors.encode import write

        to_rate = next((each for each in _RATES if each >= rate), _RATES[-1]) if self.encoding in _LOSSY else rate
        samples = np.ascontiguousarray(resample(samples, rate, to_rate))
        name = f"{name}-{self.digest}{hashlib.sha256(samples.data).hexdigest()[:4]}.{self.encoding}"
        try:
            with tempfile.TemporaryDirectory(prefix="earmark-") as beside:
                write(Path(beside, name), samples, to_rate, kbps=self.kbps)
                encoded = Path(beside, name).read_bytes()
        except (OSError, RuntimeError) as error:  # libsndfile's errors are RuntimeErrors; here that is a full disk
            raise StoreError(f"{tempfile.gettempdir()}: a clip could not be encoded there ({error}); free it or set TMPDIR") from error
        self.store.put(f"clips/{self.encoding}/{name}", encoded, TYPES[self.encoding])
        return name


def _groups(excerpts: Iterable[Excerpt]) -> Iterator[list[Excerpt]]:
    """Excerpts that are cut in one pass over their recording, by start."""
    tracks: dict[str, list[Excerpt]] = defaultdict(list)
    for excerpt in excerpts:
        tracks[excerpt.track["uri"]].append(excerpt)
    for track in tracks.values():
        track.sort(key=lambda each: each.start)
        for first in range(0, len(track), _AT_ONCE):
            yield track[first : first + _AT_ONCE]


def _cut(how: _How, group: list[Excerpt]) -> Cuts:
    made = Cuts()
    plain = [excerpt for excerpt in group if not excerpt.view_id]
    for sources in (plain, *([excerpt] for excerpt in group if excerpt.view_id)):
        waiting = list(reversed(sources))
        try:
            with contextlib.closing(_sounds(sources)) as sounds:
                for samples, rate in sounds:
                    _keep(how, waiting.pop(), samples, rate, made)
        except (AudioError, Unfit, ResourceError, OSError, ValueError) as error:
            remedy = getattr(error, "remedy", "") or "see whether the recording is there and whole, or scan it again"
            made.broken += [Broken(excerpt, str(error), remedy) for excerpt in reversed(waiting)]
    return made


def _sounds(excerpts: list[Excerpt]) -> Generator[tuple[Samples, int], None, None]:
    """The samples of clips of one track, or of one view, (n,) or (n, 2), and their rate (Hz)."""
    from extractors.audio import stretches

    if not excerpts:
        return
    first, track, rate = excerpts[0], excerpts[0].track, int(excerpts[0].track["sample_rate"])
    if first.view_id:
        sound = heard_again(track, first.start, Lineage.parse(first.lineage), first.window)
        yield sound.samples, sound.sample_rate
    else:
        places = [(round(each.start * rate), round(each.seconds * rate)) for each in excerpts]
        with open_local(track["uri"]) as path:
            for samples in stretches(path, places, rate, stereo=True):
                yield samples, rate


def _keep(how: _How, excerpt: Excerpt, samples: Samples, rate: int, made: Cuts) -> None:
    """Write a clip's file, unless it is too short, and note what came of it."""
    if (heard := len(samples) / rate) < excerpt.sound - _SLACK or not len(samples):
        message = f"{heard:.3f} s of sound where {excerpt.sound:.3f} s should be: the recording ends before"
        made.broken.append(Broken(excerpt, message, "put the whole recording back, or scan it again"))
        return
    peak = float(np.abs(samples).max())
    if peak > 1:
        samples = samples / np.float32(peak)
        made.turned_down[excerpt.name] = 20 * math.log10(peak)
    made.files[excerpt.name] = how.write(excerpt.name, samples, rate)
    made.new += 1
