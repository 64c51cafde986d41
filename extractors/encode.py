"""Sound written to a file, so that equal sound and equal tags give equal bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# libsndfile's Vorbis encoder puts a whole write on the stack and overflows it: sound is handed over a second at a time.
BLOCK = 44_100


# Nominal bit rates of Vorbis at its qualities 0, 0.1, …, 1 (kbit/s, 44.1 kHz stereo), as libvorbis documents them.
VORBIS_KBPS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


def write(
    path: str | Path, samples: NDArray[np.float32], sample_rate: int, tags: Mapping[str, str] | None = None, kbps: int | None = None
) -> None:
    """Encode sound in the format that the name's ending says.

    Args:
        path: ends in .flac (16 bit), .ogg (Vorbis), .mp3 (variable bit rate, with the header that lets decoders
            cut the encoder's delay) or .wav (16 bit).
        samples: (frames, channels) or (frames,) float32 in [-1, 1].
        sample_rate: Hz.
        tags: title, artist, album, license and the like, by those names.
        kbps: kbit/s of .mp3, constant then, so that players find every second by its byte; about so many of .ogg. The encoders' choice
            if None.
    Raises:
        ValueError: an ending that is none of these, tags for a wav file, or a bit rate for mp3 below 32 kHz.
    """
    import soundfile

    path = Path(path)
    ending = path.suffix.lower()
    formats = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III"), ".wav": ("WAV", "PCM_16")}
    if ending not in formats:
        raise ValueError(f"{path.name}: the ending is not one of {', '.join(formats)}")
    if tags and ending == ".wav":
        raise ValueError(f"{path.name}: a wav file carries no tags; use .flac, .ogg or .mp3")
    samples = np.atleast_2d(samples.T).T
    kind, subtype = formats[ending]
    # Whole or absent: a name that readers see never holds half a file.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{ending}")
    try:
        options = _rate(ending, sample_rate, kbps) if kbps else {}
        with soundfile.SoundFile(unfinished, "w", sample_rate, samples.shape[1], format=kind, subtype=subtype, **options) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
        _tag(unfinished, ending, tags or {})
        if ending == ".ogg":
            _renumber(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _rate(ending: str, sample_rate: int, kbps: int) -> dict[str, Any]:
    """libsndfile's words for a bit rate: a compression level from 0 (best) to 1."""
    if ending == ".ogg":
        quality = float(np.interp(kbps, VORBIS_KBPS, np.linspace(0, 1, len(VORBIS_KBPS))))
        return {"compression_level": 1 - quality}
    if ending != ".mp3":
        return {}
    if sample_rate < 32_000:
        raise ValueError(f"mp3: a bit rate is for 32, 44.1 and 48 kHz, not {sample_rate} Hz")
    return {"bitrate_mode": "CONSTANT", "compression_level": (320 - min(320, max(32, kbps))) / (320 - 32)}


def _tag(path: Path, ending: str, tags: Mapping[str, str]) -> None:
    """Put tags into a file: Vorbis comments in flac and ogg, ID3v2.4 in mp3."""
    if not tags:
        return
    if ending == ".mp3":
        from mutagen import id3

        frames = {"title": id3.TIT2, "artist": id3.TPE1, "album": id3.TALB, "composer": id3.TCOM, "date": id3.TDRC}
        header = id3.ID3()
        for name, value in tags.items():
            header.add(frames[name](text=value) if name in frames else id3.TXXX(desc=name.upper(), text=value))
        header.save(path)
        return
    from mutagen.flac import FLAC
    from mutagen.oggvorbis import OggVorbis

    file = FLAC(path) if ending == ".flac" else OggVorbis(path)
    file.update({name: [value] for name, value in tags.items()})
    file.save()


def _renumber(path: Path) -> None:
    """Give an Ogg stream serial number 1: the encoder draws a random one, and equal sound would differ in bytes."""
    from mutagen.ogg import OggPage

    pages = []
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        while file.tell() < end:
            page = OggPage(file)
            page.serial = 1
            pages.append(page.write())
    path.write_bytes(b"".join(pages))
