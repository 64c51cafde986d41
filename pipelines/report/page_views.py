"""The report's section on one clip and its views: what was done to each, its player and pictures, and its labels, moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

from annotation.kinds import base, number, parse_note
from pipelines.report.markup import text
from pipelines.report.page import HINT, RAMP, clock, player, scene
from pipelines.report.pictures import RANGE_DB, inline
from pipelines.report.step_words import words
from pipelines.report.views import HeardClip, HeardView, Said

# These are drawn; the others are written, these first.
_DRAWN = ("beat", "downbeat", "note")
_FIRST = ("key", "tempo", "meter", "chord", "section", "instrument", "tag")
_MOST_VALUES = 4
_WIDTH, _ROLL, _BEATS = 960, 96, 20

_UNLABELLED = {
    "none": "No labels yet: <code>earmark labels add labels.parquet --store STORE</code> brings them, and the next run moves them.",
    "unmoved": "The labels were not moved yet: <code>earmark labels move RECIPE.toml --store STORE</code> does it.",
    "unsaid": "Nothing was said of this clip.",
}


def section(clip: HeardClip) -> str:
    """The whole section."""
    track = clip.track
    title = track.get("title") or str(track["uri"]).rpartition("/")[2]
    original = clip.views[0] if clip.views[0].view == 0 else None
    span = f"{clock(clip.start)} to {clock(clip.end)}"
    about = " · ".join(text(fact) for fact in (track.get("artist"), span) if fact)
    pitches = [_pitch(note) for view in clip.views for note in _of(view, "note")]
    span_of_notes = (min(pitches) - 1, max(pitches) + 2) if pitches else None
    rows = "".join(_view(view, original, clip.seconds, span_of_notes) for view in clip.views)
    note = f'<p class="note">{_UNLABELLED[clip.unlabelled]}</p>' if clip.unlabelled else ""
    return (
        f'<h2>Views of one clip</h2>\n<p class="quiet legend">{_legend(clip)}</p>\n'
        f'<section class="clip">\n<header><h3>{text(title)}</h3><p class="quiet" title="{text(track["uri"])}">{about}</p>{note}</header>\n'
        f"{rows}</section>\n"
    )


def _legend(clip: HeardClip) -> str:
    parts = []
    if any(view.mel for view in clip.views):
        parts.append(f"log-mel: −{RANGE_DB:g} dB {RAMP} the loudest of all views")
    if any(_of(view, *_DRAWN) for view in clip.views):
        parts.append('<i class="key own"></i>labels, moved with the sound')
        parts.append('<i class="key ghost"></i>where they were in the clip')
    if any(said.guest for view in clip.views for said in _of(view, "note")):
        parts.append('<i class="key guest"></i>of the track that was mixed in')
    if clip.softer_db > 0.05:
        parts.append(f"played {clip.softer_db:.1f} dB softer, so that none clips")
    return "".join(f"<span>{part}</span>" for part in parts) + HINT


def _view(view: HeardView, original: HeardView | None, seconds: float, pitches: tuple[float, float] | None) -> str:
    name = f"View {view.view}"
    if view.lineage and not view.lineage.steps:
        done = "<li>the clip, untouched</li>" if view is original else "<li>as the clip: nothing was drawn</li>"
    else:
        done = "".join(f"<li>{text(words(step))}</li>" for step in (view.lineage.steps if view.lineage else ()))
    sound = player(inline(view.sound, "audio/mpeg"), name, preload="metadata") if view.sound else ""
    silent = '<p class="note silent" hidden>This browser cannot play this view.</p>' if view.sound else ""
    note = f'<p class="note">{text(view.note)}</p>' if view.note else ""
    before = original if original is not view else None
    names, pictures = "", ""
    if pitches and _of(view, "note"):
        names += (
            f'<div class="roll"><span>{_note_name(pitches[1] - 2)}</span><span>notes</span><span>{_note_name(pitches[0] + 1)}</span></div>'
        )
        pictures += _roll(view, before, seconds, pitches)
    if _of(view, "beat", "downbeat"):
        names += '<div class="beats">beats</div>'
        pictures += _beats(view, before, seconds)
    if view.mel:
        names += '<div class="mel"><span>high</span><span>log-mel</span><span>low</span></div>'
        pictures += f'<img class="mel" alt="log-mel spectrogram" src="{inline(view.mel)}">'
    shown = scene(names, pictures, seconds, name) if pictures else ""
    return (
        f'<article class="track view" data-seconds="{seconds:.3f}">\n<header><div><h4>{name}</h4><ul class="steps">{done}</ul></div>'
        f"{sound}</header>\n{_facts(view, original)}{shown}{silent}{note}</article>\n"
    )


def _facts(view: HeardView, original: HeardView | None) -> str:
    """What is said of a view besides notes and beats: what differs from the original stands out, what is left out is named."""
    after, before = _values(view.said), _values(original.said if original else view.said)
    facts = ""
    for kind in sorted({*after, *before}, key=lambda kind: (_rank(kind), kind)):
        old, new = before.get(kind, {}), after.get(kind, {})
        if not new or base(kind) in _DRAWN:
            continue
        gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
        if _rank(kind) == len(_FIRST) and view is not original and not (gone or come):
            continue  # long ones that hardly ever change: said once
        if gone and come:
            value = f"<s>{_listed(kind, old)}</s> → <b>{_listed(kind, new)}</b>"
        else:
            value = _listed(kind, [each for each in new if each in old])
            value += f" <b>+ {_listed(kind, come)}</b>" if come else ""
            value += f" <s>{_listed(kind, gone)}</s>" if gone else ""
        facts += f"<div><dt>{text(kind)}</dt><dd>{value.strip()}</dd></div>"
    if left_out := [kind for kind in sorted(before, key=lambda kind: (_rank(kind), kind)) if kind not in after]:
        facts += f"<div><dt>left out</dt><dd><s>{text(', '.join(left_out))}</s></dd></div>"
    return f'<dl class="said">{facts}</dl>\n' if facts else ""


def _values(said: Iterable[Said]) -> dict[str, dict[str, None]]:
    """The values of each kind, each once, in time."""
    found: dict[str, dict[str, None]] = {}
    for each in said:
        found.setdefault(each.kind, {})[each.value] = None
    return found


def _rank(kind: str) -> int:
    return _FIRST.index(base(kind)) if base(kind) in _FIRST else len(_FIRST)


def _listed(kind: str, values: Collection[str]) -> str:
    """Values as HTML, the first few of them."""
    shown = [text(_value(kind, value)) for value in islice(values, _MOST_VALUES)]
    more = f" … {len(values)} in all" if len(values) > _MOST_VALUES else ""
    return ", ".join(shown) + more


def _value(kind: str, value: str) -> str:
    """A value for people.

    >>> _value("tempo", "68.625513535"), _value("key", "C major"), _value("onset", "")
    ('68.63 bpm', 'C major', 'yes')
    """
    if base(kind) == "tempo":
        try:
            return f"{round(number(value), 2):g} bpm"
        except ValueError:
            return value
    return value or "yes"


def _of(view: HeardView, *kinds: str) -> list[Said]:
    """A view's labels of some kinds that have a time."""
    return [each for each in view.said if base(each.kind) in kinds and each.start is not None]


def _pitch(note: Said) -> float:
    return parse_note(note.value)[0]


def _roll(view: HeardView, before: HeardView | None, seconds: float, pitches: tuple[float, float]) -> str:
    """Notes as bars on the time axis, a semitone high."""
    low, high = pitches
    scale = _ROLL / (high - low)
    thick = max(2.0, scale)

    def bars(name: str, notes: Iterable[Said]) -> str:
        path = ""
        for note in notes:
            left, width = _across(note.start or 0.0, seconds), max(_across(note.duration or 0.0, seconds), 2.0)
            path += f"M{left:.1f},{(high - 1 - _pitch(note)) * scale:.1f}h{width:.1f}v{thick:.1f}h-{width:.1f}z"
        return f'<path class="{name}" d="{path}"/>' if path else ""

    own = _of(view, "note")
    ghosts = bars("ghost", _of(before, "note")) if before else ""
    drawn = bars("own", (note for note in own if not note.guest)) + bars("guest", (note for note in own if note.guest))
    return (
        f'<svg class="roll" viewBox="0 0 {_WIDTH} {_ROLL}" preserveAspectRatio="none" role="img" aria-label="notes">{ghosts}{drawn}</svg>'
    )


def _beats(view: HeardView, before: HeardView | None, seconds: float) -> str:
    """Beats as lines on the time axis, longer ones where a bar begins."""

    def lines(name: str, beats: list[Said]) -> str:
        bars = {each.start for each in beats if base(each.kind) == "downbeat" or each.value.partition(" ")[0] == "1"}
        drawn = ""
        for start in sorted({each.start or 0.0 for each in beats}):
            x = _across(start, seconds)
            drawn += f'<line class="{name}" x1="{x:.2f}" x2="{x:.2f}" y1="{0 if start in bars else _BEATS // 2}" y2="{_BEATS}"/>'
        return drawn

    ghosts = lines("ghost", _of(before, "beat", "downbeat")) if before else ""
    drawn = ghosts + lines("own", _of(view, "beat", "downbeat"))
    return f'<svg class="beats" viewBox="0 0 {_WIDTH} {_BEATS}" preserveAspectRatio="none" role="img" aria-label="beats">{drawn}</svg>'


def _across(at: float, seconds: float) -> float:
    return at / seconds * _WIDTH


def _note_name(pitch: float) -> str:
    """A MIDI pitch's name; middle C is C4.

    >>> _note_name(60), _note_name(81.4)
    ('C4', 'A5')
    """
    nearest = round(pitch)
    return f"{('C', 'C♯', 'D', 'D♯', 'E', 'F', 'F♯', 'G', 'G♯', 'A', 'A♯', 'B')[nearest % 12]}{nearest // 12 - 1}"
