"""Colours that are told apart from each other, and read on light pages and on dark ones."""

from __future__ import annotations

import colorsys
from functools import lru_cache

_HUES = 12  # around the circle in steps of five, so that neighbours differ; the next round lies between them
# (saturation, luminance) in turn; a luminance of 0.14 to 0.30 keeps a contrast of 3 to white and to #1f1f1f (WCAG 2.2, 1.4.11).
_TONES = ((0.95, 0.20), (0.55, 0.27), (0.75, 0.15))


@lru_cache
def colour(index: int) -> str:
    """The colour of this number, the same for ever.

    >>> colour(0), colour(1)
    ('#f70606', '#2fa168')
    """
    rounds, place = divmod(index, _HUES)
    hue = (place * 5 % _HUES + rounds / 2) / _HUES
    saturation, wanted = _TONES[(index + rounds) % len(_TONES)]
    low, high = 0.0, 1.0
    for _ in range(24):
        lightness = (low + high) / 2
        red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
        low, high = (lightness, high) if luminance(red, green, blue) < wanted else (low, lightness)
    return "#" + "".join(f"{round(part * 255):02x}" for part in (red, green, blue))


def luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance of sRGB in [0, 1] (WCAG 2.2).

    >>> luminance(1.0, 1.0, 1.0)
    1.0
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
