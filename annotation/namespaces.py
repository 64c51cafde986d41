"""Which JAMS namespace holds which kind of label, and how a value is said there and here.

Source: Humphrey et al., JAMS: a JSON annotated music specification for reproducible MIR research, ISMIR 2014, and its schemata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from annotation.kinds import (
    base,
    check,
    format_number,
    format_pitch_contour,
    number,
    parse_key,
    parse_note,
    parse_pitch_contour,
    parse_position,
)

# Data of these are columns, not rows.
DENSE = frozenset({"pitch_contour", "pitch_hz", "pitch_midi", "pitch_class"})
# What has no namespace of its own goes here: JAMS lets it hold anything.
OTHER = "blob"
# These are only known to hold JSON.
_JSON = frozenset({"chord_roman", "lyrics_bow", "mood_thayer", "pattern_jku", "pitch_class", "scaper", "vector", OTHER})
_TAGS = (
    *("audioset", "audioset_genre", "audioset_instruments", "fma_genre", "fma_subgenre", "urbansound"),
    *("cal10k", "cal500", "gtzan", "medleydb_instruments", "msd_tagtraum_cd1", "msd_tagtraum_cd2"),
)
_SECTIONS = ("salami_function", "salami_lower", "salami_upper", "tut")
_VOCABULARIES = {f"tag.{name}": f"tag_{name}" for name in _TAGS} | {f"section.{name}": f"segment_{name}" for name in _SECTIONS}
_KEEPS_JSON = "jams."


def said(namespace: str, value: Any) -> tuple[str, str]:
    """Kind and value of the label that an observation is.

    What is no value of its namespace, or of a namespace that is not known, is kept as JSON in a kind "jams.NAMESPACE".

    >>> said("tag_gtzan", "jazz"), said("key_mode", "F#:minor"), said("vector", [1, 2])
    (('tag.gtzan', 'jazz'), ('key', 'F# minor'), ('jams.vector', '[1, 2]'))
    >>> said("note_hz", 440), said("multi_segment", {"label": "A", "level": 1}), said("beat", None)
    (('note.hz', '69'), ('section.multi.1', 'A'), ('beat', ''))
    """
    try:
        kind, text = _said(namespace, value)
        check(kind, text)
    except (ValueError, TypeError, KeyError, OverflowError):
        return f"{_KEEPS_JSON}{namespace}", json.dumps(value, ensure_ascii=False)
    return kind, text


def value_in(namespace: str, kind: str, text: str) -> Any:
    """The value of an observation that says what a label says.

    Raises:
        ValueError: the namespace cannot say it.

    >>> value_in("beat", "beat", "3"), value_in("note_midi", "note", "60 92"), value_in("pitch_contour", "pitch_contour.2", "-440.0")
    (3, 60, {'index': 2, 'frequency': 440.0, 'voiced': False})
    """
    if kind.startswith(_KEEPS_JSON) and kind != _KEEPS_JSON + namespace and namespace != OTHER:
        raise ValueError(f"{namespace}: cannot hold {kind}")
    if kind.startswith(_KEEPS_JSON):
        return json.loads(text)
    if namespace == OTHER:
        return text
    check(kind, text)
    if namespace == "pitch_contour":
        frequency, voiced = parse_pitch_contour(text)
        return {"index": _ordinal(kind), "frequency": frequency, "voiced": voiced}
    if namespace == "multi_segment":
        return {"label": text, "level": _ordinal(kind)}
    if namespace in _FORMS:
        return _FORMS[namespace].value(text)
    if namespace.startswith(("tag_", "segment_")):
        return text
    raise ValueError(f"{namespace}: cannot hold {kind}")


def home(kind: str, text: str) -> str:
    """The namespace that a label is written to.

    Tags and sections go to the namespace of their taxonomy where JAMS has it (whether the value is in its vocabulary is not looked at).

    >>> home("tag.gtzan", "jazz"), home("tag.mine", "jazz"), home("note", "60 92"), home("note", "C4"), home("meter", "6/8")
    ('tag_gtzan', 'tag_open', 'note_midi', 'blob', 'blob')
    """
    word, _, rest = kind.partition(".")
    if word == "jams":
        namespace = rest if rest in _JSON else OTHER
    elif kind in _VOCABULARIES:
        namespace = _VOCABULARIES[kind]
    elif kind.startswith("section.multi."):
        namespace = "multi_segment"
    else:
        namespace = _HOMES.get(kind) or _HOMES.get(base(kind), OTHER)
    try:
        value_in(namespace, kind, text)
    except ValueError:
        return OTHER
    return namespace


def _said(namespace: str, value: Any) -> tuple[str, str]:
    if namespace == "pitch_contour":
        index, frequency, voiced = _exactly(value, index=int, frequency=(int, float), voiced=bool)
        return f"pitch_contour.{index}" if index else "pitch_contour", format_pitch_contour(frequency, voiced)
    if namespace == "multi_segment":
        label, level = _exactly(value, label=str, level=int)
        return f"section.multi.{level}", label
    if namespace in _FORMS:
        form = _FORMS[namespace]
        return form.kind, form.text(value)
    word, _, rest = namespace.partition("_")
    return {"tag": "tag.", "segment": "section."}[word] + rest, _text(value)


def _exactly(value: Any, **types: Any) -> list[Any]:
    """The values of an object that has these keys, of these types, and no others.

    Raises:
        TypeError: it does not.
    """
    if type(value) is not dict or len(value) != len(types):
        raise TypeError(value)
    for name, kind in types.items():
        if not isinstance(value[name], kind) or (kind is not bool and isinstance(value[name], bool)):
            raise TypeError(value)
    return [value[name] for name in types]


def _ordinal(kind: str) -> int:
    """The number at a kind's end; 0 where there is none."""
    last = kind.rpartition(".")[2]
    return int(last) if last.isdecimal() else 0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return value


def _midi(hz: float) -> float:
    """MIDI pitch of a frequency above 0 Hz."""
    return 69 + 12 * math.log2(hz / 440)


def _hz(midi: float) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))


def _position(value: Any) -> str:
    whole = {"measure": int, "num_beats": int, "beat_units": int}
    position, measure, beats, unit = _exactly(value, position=(int, float), **whole)
    return f"{format_number(position)} {measure} {beats}/{unit}"


def _key_mode(text: str) -> str:
    tonic, mode = parse_key(text)
    if len(tonic) > 2:
        raise ValueError(f"key_mode: cannot hold {tonic}")
    return f"{tonic}:{mode}" if mode else tonic


class _Form(NamedTuple):
    """kind: of the labels. text: from an observation's value, TypeError or ValueError if it is none. value: back from the text."""

    kind: str
    text: Callable[[Any], str]
    value: Callable[[str], Any]


_FORMS = {
    "tag_open": _Form("tag", _text, str),
    "beat": _Form(
        "beat", lambda value: "" if value is None else format_number(_number(value)), lambda text: number(text) if text else None
    ),
    "beat_position": _Form(
        "beat.position",
        _position,
        lambda text: dict(zip(("position", "measure", "num_beats", "beat_units"), parse_position(text), strict=True)),
    ),
    # Anything may stand beside an onset, mostly nothing.
    "onset": _Form(
        "onset",
        lambda value: "" if value is None else json.dumps(value, ensure_ascii=False),
        lambda text: json.loads(text) if text else None,
    ),
    "chord": _Form("chord", _text, str),
    "chord_harte": _Form("chord.harte", _text, str),
    "key_mode": _Form("key", lambda value: _text(value).replace(":", " ", 1), _key_mode),
    "tempo": _Form("tempo", lambda value: repr(_number(value)), number),
    "note_midi": _Form("note", lambda value: format_number(_number(value)), lambda text: parse_note(text)[0]),
    "note_hz": _Form("note.hz", lambda value: format_number(_midi(_number(value))), lambda text: _hz(parse_note(text)[0])),
    "pitch_hz": _Form("pitch_contour.hz", lambda value: format_pitch_contour(_number(value)), lambda text: float(number(text))),
    "pitch_midi": _Form(
        "pitch_contour.midi",
        lambda value: format_pitch_contour(_hz(_number(value))),
        lambda text: _midi(parse_pitch_contour(text)[0]),
    ),
    "segment_open": _Form("section", _text, str),
    "lyrics": _Form("text.lyrics", _text, str),
}

# An instrument is named by an open tag; "text" alone is not lyrics, and goes elsewhere.
_HOMES = {form.kind: namespace for namespace, form in _FORMS.items()} | {"instrument": "tag_open", "pitch_contour": "pitch_contour"}
