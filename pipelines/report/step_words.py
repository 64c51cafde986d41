"""What was done to a view, in words: one line for each draw of its lineage."""

from __future__ import annotations

from augment.augmentation import Draw
from extractors.uri import printable


def words(draw: Draw) -> str:
    """A draw for people; of one that nobody foresaw, its name and numbers.

    >>> words({"use": "PitchShift", "semitones": 2.0, "samples": 100})
    'pitch +2 semitones'
    >>> words({"use": "AddNoise", "snr_db": 14.23, "colour": "white", "offset": 7})
    'white noise at 14.2 dB SNR'
    >>> words({"use": "Sparkle", "amount": 0.5, "samples": 100})
    'Sparkle: amount 0.5'
    """
    try:
        return _words(draw) or _any(draw)
    except (LookupError, TypeError, ValueError):  # a draw of an earlier version lacks something
        return _any(draw)


def _words(draw: Draw) -> str:
    match draw.get("use"):
        case "PitchShift":
            return _pitch(draw)
        case "TimeStretch":
            return f"{draw['rate']:.3g} × speed, pitch kept"
        case "Speed":
            return f"{draw['rate']:.3g} × speed, pitch follows"
        case "PitchAndTempo":
            return f"{_pitch(draw)}, {draw['rate']:.3g} × speed"
        case "Gain":
            return f"gain {_signed(draw['gain_db'])} dB"
        case "AddNoise":
            return f"{draw['colour']} noise at {_db(draw)} SNR"
        case "ImpulseResponse":
            return _room(draw)
        case "AddBackground":
            return f"{_file(draw)} behind it at {_db(draw)} SNR"
        case "Mix":
            return f"mixed with {_file(draw)}, {_db(draw)} softer"
        case "Filter":
            gain = f", {_signed(draw['gain_db'])} dB" if "gain_db" in draw else ""
            return f"{draw['kind']} at {draw['hz']:,.0f} Hz{gain}"
        case "Crop":
            return f"cut to {draw['start']:.2f} to {draw['start'] + draw['seconds']:.2f} s"
        case "Shift":
            return f"{abs(draw['seconds']):.2f} s {'later' if draw['seconds'] >= 0 else 'earlier'}"
        case "Pad":
            return f"silence: {draw['before']:.2f} s before, {draw['after']:.2f} s after"
        case "Reverse":
            return "backwards"
        case "SpecMask":
            return f"masks over {len(draw['time'])} stretches of time and {len(draw['mel'])} groups of bands"
        case "Remix":
            levels = [f"{stem['name']} {_signed(stem['gain_db'])} dB" for stem in draw["stems"]]
            gone = [f"no {name}" for name in draw.get("gone", ())]
            return f"stems: {', '.join(levels + gone) or 'none found'}"
        case "Audiomentations":
            drawn = draw["parameters"]  # of each part that it is made of
            return _any({"use": draw["transform"], **(drawn[0] if len(drawn) == 1 else {})})
    return ""


def _any(draw: Draw) -> str:
    """
    >>> _any({"use": "Echo", "delay": 0.123456, "centre": 4712.4, "deep": {"a": 1}, "of": "x", "samples": 9})
    'Echo: delay 0.123, centre 4,712, of x'
    """
    said = [
        f"{key} {value:{',.0f' if abs(value) >= 1000 else '.3g'}}" if isinstance(value, float) else f"{key} {value}"
        for key, value in draw.items()
        if key not in ("use", "samples") and isinstance(value, int | float | str)
    ]
    return ": ".join(filter(None, (str(draw.get("use", "?")), ", ".join(said))))


def _pitch(draw: Draw) -> str:
    semitones = draw["semitones"]
    return f"pitch {_signed(semitones, 2)} semitone{'' if abs(semitones) == 1 else 's'}"


def _room(draw: Draw) -> str:
    share = "" if draw["mix"] == 1 else f", {draw['mix']:.0%} of it"
    if "uri" in draw:
        return f"in the room of {_file(draw)}{share}"
    sides = " × ".join(f"{side:.1f}" for side in draw["sides"])
    return f"room of {sides} m, RT60 {draw['rt60']:.2f} s{share}"


def _file(draw: Draw) -> str:
    return printable(str(draw["uri"])).rpartition("/")[2]


def _db(draw: Draw) -> str:
    return f"{draw['snr_db']:.1f} dB".replace("-", "−")


def _signed(value: float, digits: int = 1) -> str:
    """
    >>> _signed(2.0), _signed(-0.52), _signed(0.001)
    ('+2', '−0.5', '0')
    """
    rounded = round(float(value), digits)
    return f"{rounded:+g}".replace("-", "−") if rounded else "0"
