"""The report's HTML: what is known about tracks, tables and rejects, as text that no name can break out of."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from pipelines.report.markup import text
from pipelines.report.pictures import ANCHORS, RANGE_DB, inline

RAMP = f'<span class="ramp" style="background:linear-gradient(90deg,#{",#".join(ANCHORS)})"></span>'
_REST = (("tracks", "Tracks"), ("tables", "Tables"), ("rejects", "Rejects"))
HINT = "<span>Click a picture to listen from there; arrow keys move, space plays and pauses.</span>"


@dataclass
class Summary:
    """What a store holds. tables: (name, rows, parts, bytes, columns)."""

    name: str
    tracks: int = 0
    hours: float = 0.0
    clips: int = 0
    views: int = 0
    tables: list[tuple[str, int, int, int, list[str]]] = field(default_factory=list)


@dataclass
class Heard:
    """A track and its pictures. wave: an SVG path; mel, taggram: PNG; tags: (name, mean); empty where there is none."""

    row: Mapping[str, Any]
    link: str = ""
    wave: str = ""
    note: str = ""
    mel: bytes = b""
    taggram: bytes = b""
    tags: Sequence[tuple[str, float]] = ()


def page(
    summary: Summary, tracks: Sequence[Heard], rejects: Sequence[Mapping[str, Any]], views: str = "", sections: Sequence[str] = ()
) -> str:
    """The whole page, self-contained. views: HTML of the section about one clip's views; sections: of all that comes before the tracks."""
    body = (
        _header(summary, len(rejects)),
        _contents(sections),
        *sections,
        views,
        _tracks(summary, tracks),
        _tables(summary),
        _rejects(rejects),
    )
    folder = files("pipelines.report")
    script = f"\n{folder.joinpath('report.js').read_text()}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # All names are escaped; were one forgotten, the browser would still run nothing but this script, and fetch nothing but sound.
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; media-src * file: data:"
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}; base-uri 'none'; form-action 'none'\">\n"
        f'<title>earmark: {text(summary.name)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{folder.joinpath('report.css').read_text()}</style>\n<body>\n<main>\n{''.join(body)}</main>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Round times along an axis of `seconds`, at most ten steps of them: (s, label).

    >>> ticks(30.0)
    [(0, '0 s'), (5, '5'), (10, '10'), (15, '15'), (20, '20'), (25, '25')]
    >>> ticks(200.0)[:3]
    [(0, '0:00'), (30, '0:30'), (60, '1:00')]
    """
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    step = next((step for step in steps if seconds / step <= 10), 7200)
    times = [round(each * step, 3) for each in range(int(seconds / step) + 1) if each * step <= 0.97 * seconds]
    if seconds > 120:
        return [(at, clock(at)) for at in times]
    return [(at, f"{at:g}" if at else "0 s") for at in times]


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any.

    >>> clock(59.6), clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(count: float) -> str:
    """Bytes in a unit that fits.

    >>> size(512), size(2_340_000)
    ('512 bytes', '2.3 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def player(source: str, title: object, preload: str = "none") -> str:
    """Where a sound is played. source: URI, never empty."""
    return f'<audio controls preload="{preload}" src="{text(source)}" aria-label="{text(title)}"></audio>'


def scene(names: str, pictures: str, seconds: float, title: str) -> str:
    """Names on the left, pictures on one time axis of `seconds` on the right; names and pictures are HTML."""
    axis = "".join(f'<span style="left:{100 * at / seconds:.3f}%">{label}</span>' for at, label in ticks(seconds))
    values = f'aria-valuemin="0" aria-valuemax="{seconds:.1f}" aria-valuenow="0"'
    slider = f'role="slider" tabindex="0" aria-label="position in {text(title)}" {values}'
    stage = f'<div class="stage" {slider}>{pictures}<div class="head"></div></div>'
    return f'<div class="scene"><div class="names">{names}</div>{stage}<div class="axis">{axis}</div></div>\n'


def _header(summary: Summary, rejects: int) -> str:
    hours = f"{summary.hours:.1f}" if summary.hours >= 10 else f"{summary.hours:.2f}"
    facts = [(f"{summary.tracks:,}", "tracks"), (hours, "hours"), (f"{summary.clips:,}", "clips")]
    facts += [(f"{summary.views:,}", "views")] if summary.views > summary.clips else []
    facts += [(f"{rejects:,}", "rejects")]
    items = "".join(f"<li><b>{value}</b><span>{name}</span></li>" for value, name in facts)
    name = f'<p class="quiet"><code>{text(summary.name)}</code></p>'
    return f'<header>\n<h1>What was heard</h1>\n{name}\n<ul class="facts">{items}</ul>\n</header>\n'


def _contents(sections: Sequence[str]) -> str:
    """Links to the sections: a page that holds campaigns and releases is long."""
    found = [match.groups() for each in sections for match in re.finditer(r'<section id="([^"]+)"[^>]*><h2[^>]*>(.*?)</h2>', each)]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in [*found, *_REST])
    return f'<nav aria-label="contents"><ul>{links}</ul></nav>\n' if len(found) > 1 else ""


def _tracks(summary: Summary, tracks: Sequence[Heard]) -> str:
    which = "Tracks" if len(tracks) == summary.tracks else f"The first {len(tracks)} of {summary.tracks:,} tracks"
    legend = ""
    if any(track.mel for track in tracks):
        legend += f"<span>log-mel: −{RANGE_DB:g} dB {RAMP} each track’s loudest</span>"
    if any(track.taggram for track in tracks):
        legend += f"<span>tags: 0 {RAMP} 1</span>"
    return f'<h2 id="tracks">{which}</h2>\n<p class="quiet legend">{legend}{HINT}</p>\n' + "".join(map(_track, tracks))


def _track(track: Heard) -> str:
    row = track.row
    file = str(row["uri"]).rpartition("/")[2]
    title = row.get("title") or file
    channels = {1: "mono", 2: "stereo"}.get(row["channels"], f"{row['channels']} channels")
    sound = f"{row['format']}, {row['sample_rate'] / 1000:g} kHz, {channels}"
    facts = [row.get("artist"), row.get("album"), row.get("license"), clock(row["seconds"]), sound, file if file != title else ""]
    about = " · ".join(text(fact) for fact in facts if fact)
    sounds = player(track.link, title) if track.link else ""
    silent = f'<p class="note silent" hidden>This browser cannot play <code>{text(row["uri"])}</code>.</p>' if track.link else ""
    note = f'<p class="note">{text(track.note)}</p>' if track.note else ""
    if not (track.mel or track.taggram):
        note += '<p class="note">No features yet.</p>'
    return (
        f'<article class="track" data-seconds="{row["seconds"]:.3f}">\n<header><div><h3>{text(title)}</h3>'
        f'<p class="quiet" title="{text(row["uri"])}">{about}</p></div>{sounds}</header>\n{_scene(track, title)}{silent}{note}</article>\n'
    )


def _scene(track: Heard, title: str) -> str:
    if not (track.wave or track.mel or track.taggram):
        return ""
    names, pictures = "", ""
    if track.wave:
        names += '<div class="wave">waveform</div>'
        pictures += f'<svg viewBox="0 0 960 64" preserveAspectRatio="none" aria-hidden="true"><path d="{track.wave}"/></svg>'
    if track.mel:
        names += '<div class="mel"><span>high</span><span>log-mel</span><span>low</span></div>'
        pictures += f'<img class="mel" alt="log-mel spectrogram" src="{inline(track.mel)}">'
    if track.taggram:
        for at, (name, mean) in enumerate(track.tags):
            names += f'<div class="tag{"" if at else " first"}"><span>{text(name)}</span><i>{mean:.2f}</i></div>'
        said = "tags over time; on average " + text(", ".join(f"{name} {mean:.2f}" for name, mean in track.tags))
        pictures += f'<img class="tags" style="--count:{len(track.tags)}" alt="{said}" src="{inline(track.taggram)}">'
    return scene(names, pictures, track.row["seconds"] or 1.0, str(title))


def _tables(summary: Summary) -> str:
    rows = [
        f'<tr><td>{text(name)}</td><td class="number">{count:,}</td><td class="number">{parts:,}</td><td class="number">{size(held)}</td>'
        f'<td class="quiet">{text(", ".join(columns))}</td></tr>'
        for name, count, parts, held, columns in summary.tables
    ]
    heads = ("<th>table", '<th class="number">rows', '<th class="number">parts', '<th class="number">size', "<th>columns")
    return f'<h2 id="tables">Tables</h2>\n{_grid(heads, rows)}'


def _rejects(rejects: Sequence[Mapping[str, Any]]) -> str:
    if not rejects:
        return '<h2 id="rejects">Rejects</h2>\n<p class="quiet">None: every file could be used.</p>\n'
    causes = Counter(row["error"] for row in rejects)
    summary = ", ".join(f"{count} {text(cause)}" for cause, count in causes.most_common())
    rows = [
        f'<tr><td>{text(row["error"])}</td><td class="name"><code>{text(row["uri"])}</code></td><td>{text(row["stage"])}</td>'
        f"<td>{text(row['message'])}</td><td>{text(row['remedy'])}</td></tr>"
        for row in sorted(rejects, key=lambda row: (-causes[row["error"]], row["error"], row["uri"]))
    ]
    heads = ("<th>cause", "<th>file", "<th>stage", "<th>message", "<th>what to do")
    return f'<h2 id="rejects">Rejects</h2>\n<p>{len(rejects)} could not be used: {summary}.</p>\n{_grid(heads, rows)}'


def _grid(heads: Iterable[str], rows: Iterable[str]) -> str:
    return (
        f'<div class="wide"><table>\n<thead><tr>{"</th>".join(heads)}</th></tr></thead>\n<tbody>{"".join(rows)}</tbody>\n</table></div>\n'
    )
