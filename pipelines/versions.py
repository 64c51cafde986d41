"""Which libraries made a part: noted in its footer, because an upgrade can change samples."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    *("numpy", "scipy", "soundfile", "av", "soxr", "openvino", "torch", "pyarrow"),
    *("python-stretch", "audiomentations", "fast-mp3-augment", "loudness", "numpy-audio-limiter"),
)


@cache
def versions() -> dict[str, str]:
    """The versions of the libraries that take part in making values; what is not installed is left out.

    >>> "numpy" in versions()
    True
    """
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
