"""MP3, FLAC, WAV, AIFF and their like, decoded by libsndfile.

An MP3 that is damaged midway makes mpg123, inside libsndfile, write to the process's standard error; nothing here can stop it.
"""

from __future__ import annotations

import errno
import os

import numpy as np
import soundfile

from extractors.containers import AudioError, AudioInfo, pcm_is_complete
from extractors.cutting import Samples, skip
from extractors.decoder import BLOCK, put
from extractors.ffmpeg import possible
from extractors.prefetch import header_held, hold

_SYSTEM = 2  # libsndfile's number for what the system refused
# It says so of WAV with a width of 24 bits and room for 32, which may be either, or floats: it looks at the sound.
_GUESSED = "Using detection code"


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped here
    # soundfile seeks to where it already is after each read of a seekable file. In MP3 that throws the bit reservoir away,
    # and the start of every block is damaged (by as much as 0.3 of full scale in VBR).
    def seekable(self) -> bool:
        return False


class Libsndfile:
    """
    Args:
        is_held: the descriptor is of a copy in memory, whose reads do not fail.
    Raises:
        AudioError: libsndfile cannot open it.
        OSError: a read failed; in `fill` too.
    """

    def __init__(self, descriptor: int, size: int, is_held: bool) -> None:
        self._descriptor, self._size, self._is_held = descriptor, size, is_held
        self._file = self._opened()
        self.channels = int(self._file.channels)
        self._buffer = np.empty((max(1, BLOCK // self.channels), self.channels), np.float32)
        self._position = 0
        self._ended = False

    @property
    def sample_rate(self) -> int:
        return int(self._file.samplerate)

    def info(self) -> AudioInfo:
        container = self._file.format
        # FLAC written to a pipe does not know its length; libsndfile then says a very great one.
        seconds = possible(self._file.frames / self.sample_rate, self._descriptor, self.sample_rate)
        name = "wav" if container == "WAVEX" else container.lower()
        return AudioInfo(name, seconds, self.sample_rate, self.channels, pcm_is_complete(self._file.extra_info))

    def fill(self, out: Samples) -> int:
        done = 0
        while done < len(out) and not self._ended:
            block = self._buffer[: len(out) - done]
            frames = self._read(block)
            put(list(block[:frames].T), out[done : done + frames])
            done += frames
        return done

    def _read(self, block: Samples) -> int:
        try:
            frames = len(self._file.read(out=block))
        except soundfile.LibsndfileError as error:
            self._raise_if_unread(error)
            # What was decoded before the damage lies in the block already.
            frames = min(max(0, self._file.tell() - self._position), len(block))
            self._ended = True
        self._position += frames
        self._ended |= frames == 0
        return frames

    def seek(self, start: int) -> bool:
        if self._file.format != "FLAC" and not _is_plain(self._file):
            return False  # in MP3 a seek loses the bit reservoir
        try:
            self._position = self._file.seek(start)
        except soundfile.LibsndfileError:
            self._ended = start >= self._file.frames  # beyond the end
            if not self._ended:
                # FLAC says the same of damage, which is the end, and of a read that failed: decoding up to there tells.
                self.close()
                self._file, self._position = self._opened(), 0
                skip(self.fill, start)
        return True

    def _opened(self) -> _Forward:
        try:
            return self._tried()
        except soundfile.LibsndfileError as error:
            self._raise_if_unread(error)
            raise AudioError(str(error)) from error

    def _tried(self) -> _Forward:
        with header_held(self._descriptor, self._size) as is_held:
            if not is_held:
                return self._from_start()
            try:
                file = self._from_start()
                if _is_plain(file) and _GUESSED not in file.extra_info:
                    return file
                file.close()  # what is coded, or may be several things, is read while it is opened
            except soundfile.LibsndfileError:
                pass
        self._is_held = hold(self._descriptor, self._size)
        return self._from_start()

    def _from_start(self) -> _Forward:
        os.lseek(self._descriptor, 0, os.SEEK_SET)  # libsndfile takes a file to begin where it is
        return _Forward(self._descriptor, closefd=False)

    def _raise_if_unread(self, error: soundfile.LibsndfileError) -> None:
        if error.code == _SYSTEM and not self._is_held:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from error

    def close(self) -> None:
        self._file.close()


def _is_plain(file: _Forward) -> bool:
    return str(file.subtype).startswith(("PCM", "FLOAT", "DOUBLE"))
