"""The report's section on a release: its splits, tags and terms, the proof that nothing leaks, and what a leak would sound like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation import foreign
from pipelines.part import StoreError
from pipelines.report.charts import bars, grid, more, section
from pipelines.report.links import stretch
from pipelines.report.markup import text
from pipelines.report.page import clock, player
from pipelines.report.together import together

TAGS = 40  # rows of a table of tags, the most frequent
FEW = 20
REASONS = 20
PAIRS = 12
COLUMNS = 8  # of labels
LICENCES = 12


def release(folder: Path, number: int, link: Callable[[str], str]) -> str:
    """HTML of the section.

    Args:
        folder: of a version, OUT/NAME/v1. number: of the section, from 1.
        link: from a recording's URI to how the page links it, "" where it cannot.
    Raises:
        StoreError: there is no release in the folder, or its files are not what they were.
    """
    from pipelines.release.manifest import read_manifest

    manifest = read_manifest(folder)
    try:
        proof = foreign.document(folder / "proof.json")
        return _section(folder, manifest, proof, number, link)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        way_out = f"'earmark release verify {folder}' says what differs"
        raise StoreError(f"{folder}: not as it was released ({type(error).__name__}: {error}); {way_out}") from error


def _section(folder: Path, manifest: Mapping[str, Any], proof: Mapping[str, Any], number: int, link: Callable[[str], str]) -> str:
    title = f"{manifest['name']} {manifest['version']}"
    rows, tracks = (sum(each[key] for each in proof["splits"]) for key in ("rows", "tracks"))
    facts = [manifest["title"], f"{rows:,} rows of {tracks:,} recordings", f"digest {manifest['digest'][:16]}"]
    parts = [
        f"<p>{' · '.join(text(fact) for fact in facts if fact)}</p>\n",
        _splits(proof),
        _proof(proof),
        _nearest(proof["nearest"], link),
    ]
    columns = [each for each in manifest["columns"]["labels"] if each["hot"]]
    for column in columns[:COLUMNS]:
        parts += [_tags(proof, column["name"], column["tags"]), together(folder, manifest["splits"], column)]
    parts.append(more(len(columns) - COLUMNS, "more columns of tags are in proof.json"))
    parts += [_few(proof["few"]), _licences(manifest["licences"]), _excluded(proof["excluded"])]
    return section(f"release-{number}", f"Release: {title}", *parts)


def _splits(proof: Mapping[str, Any]) -> str:
    heads = ("split", "rows", "augmented", "recordings", "groups", "artists", "hours", "share of clips", "wanted")
    keys = ("rows", "views", "tracks", "groups", "artists")
    rows = [
        (
            each["split"],
            *(f"{each[key]:,}" for key in keys),
            f"{each['seconds'] / 3600:.2f}",
            f"{each['share_of_clips']:.1%}",
            f"{each['share_wanted']:.1%}",
        )
        for each in proof["splits"]
    ]
    return f"<h3>Splits</h3>\n{grid(heads, rows, numbers=8)}"


def _proof(proof: Mapping[str, Any]) -> str:
    leaks = {name: count for name, count in proof["crossing"].items() if count}
    said = f"Of {proof['groups']:,} groups of recordings that belong together, "
    said += "none crosses a split." if not leaks else f"SOME CROSS a split: {', '.join(f'{k} {v}' for k, v in leaks.items())}."
    rows = [
        (
            each["relation"],
            "yes" if each["closes"] else "no",
            "; ".join(filter(None, (each["note"], f"{each['say_nothing']:,} recordings name none" if each["say_nothing"] else ""))),
            f"{each['values']:,}" if each["checked"] else "–",
            f"{each['crossing']:,}" if each["checked"] else "–",
        )
        for each in proof["closure"]
    ]
    heads = ("what recordings share", "holds them together", "remarks", "values", "in several splits")
    large = [
        (each["by"] or "one recording", each["split"], each["way_out"], f"{each['tracks']:,}", f"{each['share']:.1%}")
        for each in proof["too_large"]
    ]
    drawn = f"<h3>Proof against leaks</h3>\n<p>{text(said)}</p>\n{grid(heads, rows, numbers=2)}"
    if large:
        table = grid(("held together by", "split", "way out", "recordings", "share"), large[:FEW], numbers=2)
        drawn += f"<h4>Larger than the smallest split</h4>\n{table}{more(len(large) - FEW, 'more are in proof.json')}"
    return drawn


def _nearest(nearest: Mapping[str, Any], link: Callable[[str], str]) -> str:
    title = "<h3>Nearest clips of different splits</h3>\n"
    if not nearest["checked"]:
        return f"{title}<p>{text(nearest['note'])}.</p>\n"
    note = f"By cosine of {nearest['column']}; a leak would sound twice the same." + (f" {nearest['note']}." if nearest["note"] else "")
    pairs = "".join(
        f'<li><p>cosine <b>{each["cosine"]:.4f}</b></p><div class="pair">{_side(each["a"], link)}{_side(each["b"], link)}</div></li>'
        for each in nearest["pairs"][:PAIRS]
    )
    return f'{title}<p class="quiet">{text(note)}</p>\n<ol class="heard">{pairs}</ol>\n'


def _side(clip: Mapping[str, Any], link: Callable[[str], str]) -> str:
    name = str(clip["title"] or str(clip["uri"]).rpartition("/")[2])
    start, seconds = float(clip["start"]), float(clip["seconds"])
    said = " · ".join(filter(None, (str(clip["artist"]), f"{clock(start)} to {clock(start + seconds)}", str(clip["split"]))))
    linked = stretch(link(str(clip["uri"])), start, seconds)
    if linked:
        silent = f'<p class="note silent" hidden>This browser cannot play <code>{text(clip["uri"])}</code>.</p>'
        sound = player(linked, f"{name}, from {clock(start)}, {clip['split']}") + silent
    else:
        sound = f'<p class="note">Not to be heard from here: <code>{text(clip["uri"])}</code></p>'
    return f'<div><p>{text(name)}</p><p class="quiet">{text(said)}</p>{sound}</div>'


def _tags(proof: Mapping[str, Any], column: str, tags: Sequence[str]) -> str:
    found = {(row["tag"], row["split"]): row for row in proof["tags"] if row["column"] == column}
    splits = [each["split"] for each in proof["splits"]]
    total = {tag: sum(found[tag, split]["rows"] for split in splits) for tag in tags}
    shown = sorted(tags, key=lambda tag: (-total[tag], tag))[:TAGS]
    rows = [(tag, *(f"{found[tag, split]['rows']:,} ({_artists(found[tag, split])})" for split in splits)) for tag in shown]
    apart: dict[str, float | None] = next((each["splits"] for each in proof["distribution"] if each["column"] == column), {})
    distance = ", ".join(f"{split} {'–' if value is None else f'{value:.3f}'}" for split, value in apart.items())
    least = min((row["artists"] for row in found.values()), default=0)
    said = f"Fewest artists of a tag in a split: {least}. Distance of the splits' distributions (LD, 0 is alike): {distance}."
    return (
        f"<h3>Tags: {text(column)}</h3>\n{grid(('tag', *(f'{split}: rows (artists)' for split in splits)), rows, numbers=len(splits))}"
        f'{more(len(tags) - TAGS, "rarer tags are in proof.json")}<p class="quiet">{text(said)}</p>\n'
    )


def _artists(row: Mapping[str, Any]) -> str:
    unnamed = row["tracks_without_artist"]
    return f"{row['artists']:,}" + (f" + {unnamed:,} unnamed" if unnamed else "")


def _few(few: Sequence[Mapping[str, Any]]) -> str:
    if not few:
        return ""
    rows = [(each["column"], each["tag"], each["split"], each["note"]) for each in few[:FEW]]
    table = grid(("column", "tag", "split", "what there is"), rows)
    return f"<h3>Tags with too little to learn from or to measure by</h3>\n{table}{more(len(few) - FEW, 'more are in proof.json')}"


def _licences(licences: Mapping[str, Any]) -> str:
    allow = f"Allowed: {', '.join(licences['allow'])}." if licences["allow"] else "Every licence is allowed."
    counted = sorted(licences["counts"].items(), key=lambda each: (-each[1], each[0]))
    drawn = bars([(name, float(count), f"{count:,}") for name, count in counted[:LICENCES]], ("terms of a row", "rows"))
    return f"<h3>Licences</h3>\n<p>{text(allow)}</p>\n{drawn}{more(len(counted) - LICENCES, 'more are in manifest.json')}"


def _excluded(excluded: Sequence[Mapping[str, Any]]) -> str:
    if not excluded:
        return "<h3>Left out</h3>\n<p>Nothing.</p>\n"
    rows = [(each["what"], each["reason"], f"{each['entries']:,}", f"{each['tracks']:,}") for each in excluded[:REASONS]]
    table = grid(("what", "reason", "entries", "recordings"), rows, numbers=2)
    return f"<h3>Left out, and why</h3>\n{table}{more(len(excluded) - REASONS, 'more reasons are in exclusions.parquet')}"
