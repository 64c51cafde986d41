"""A release's card: README.md as Hugging Face reads it, with figures."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from extractors.uri import printable
from pipelines.release.draft import Draft
from pipelines.release.licences import Licence
from pipelines.release.proof import FEW
from pipelines.release.terms import POLICY, strictest

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
# The licences that Hugging Face knows by name; whatever is not here is "other".
_HUB = {"CC0-1.0": "cc0-1.0", "ODbL-1.0": "odbl"} | {
    name: name.lower()
    for family, versions in (
        ("CC-BY", ("2.0", "2.5", "3.0", "4.0")),
        ("CC-BY-SA", ("3.0", "4.0")),
        ("CC-BY-NC", ("2.0", "3.0", "4.0")),
        ("CC-BY-ND", ("4.0",)),
        ("CC-BY-NC-SA", ("2.0", "3.0", "4.0")),
        ("CC-BY-NC-ND", ("3.0", "4.0")),
    )
    for name in (f"{family}-{version}" for version in versions)
}
_MOST_TAGS = 60


def card(draft: Draft, manifest: Mapping[str, Any], proof: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The text of README.md.

    Args:
        figures: by path, what each shows.
    """
    spec, name = draft.spec, f"{draft.spec.name} {manifest['version']}"
    lines = [*_front(draft, manifest), "", f"# {_plain(spec.title or spec.name)}", ""]
    if spec.description:
        lines += [spec.description.strip(), ""]
    lines += [f"{name} · digest `{manifest['digest'][:16]}` · {len(draft.kept)} rows of {len(draft.members)} recordings", ""]
    lines += [f"![{_plain(what)}]({path})" for path, what in figures.items()]
    lines += ["", "## Splits", "", *_split_table(proof), "", *_moved(proof)]
    lines += ["## Proof that nothing leaks", "", *_closure(proof), "", *_large(proof), *_nearest(proof)]
    for column in draft.said:
        if column.tags:
            lines += [f"## Tags: {_plain(column.words.column)}", "", *_tags(draft, proof, column.words.column, column.tags), ""]
    lines += _few(proof)
    lines += ["## Columns", "", *_columns(manifest), ""]
    lines += ["## Licences", "", POLICY, "", *_licences(draft, manifest), "", "Who is to be named is in `ATTRIBUTION.tsv`.", ""]
    lines += ["## Left out", "", *_excluded(proof), ""]
    lines += ["## Where it comes from", "", "`manifest.json` has the hashes of all of it.", "", *_origins(manifest), ""]
    return "\n".join(lines)


def _front(draft: Draft, manifest: Mapping[str, Any]) -> list[str]:
    """YAML; every text in it is JSON, which YAML reads as it is, but for letters written as two halves."""
    rows = len(draft.kept)
    terms = [draft.terms.licences[code] for code in np.unique(draft.terms.row[draft.kept])]
    keys = sorted({_hub(each) for each in terms})
    lines = ["---", f"pretty_name: {json.dumps(printable(draft.spec.title or draft.spec.name), ensure_ascii=False)}"]
    # Rows of a collection keep their own terms: a list says that no single licence covers all of them.
    lines += [f"license: {keys[0]}"] if len(keys) == 1 else ["license:", *(f"- {key}" for key in keys)]
    if "other" in keys:
        named = sorted(str(each).lower() for each in terms if _hub(each) == "other")
        lines.append(f"license_name: {json.dumps(' '.join(named))}")
    lines += ["task_categories:", "- audio-classification", "tags:", "- audio", "- music", "- earmark", "size_categories:"]
    lines += [f"- {next((name for most, name in _SIZES if rows < most), 'n>10M')}", "configs:", "- config_name: default", "  data_files:"]
    for split in (split for split, said in manifest["splits"].items() if said["rows"]):  # datasets refuses a file without rows
        lines += [f"  - split: {split}", f'    path: "{split}/*.parquet"']
    return [*lines, "---"]


def _hub(licence: Licence) -> str:
    return _HUB.get(str(licence), "other")


def _table(head: Sequence[str], rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(_plain(str(cell)) for cell in row)} |" for row in rows),
    ]


def _plain(text: str) -> str:
    """Text that is only text in Markdown and HTML: names come from files."""
    said = html.escape(" ".join(printable(text).split()), quote=False)
    for mark in "\\`*[]|":
        said = said.replace(mark, f"\\{mark}")
    return said


def _split_table(proof: Mapping[str, Any]) -> list[str]:
    head = ("split", "rows", "augmented", "recordings", "groups", "artists", "hours", "share of clips", "wanted")
    return _table(
        head,
        [
            (
                *(each[key] for key in ("split", "rows", "views", "tracks", "groups", "artists")),
                *(f"{each['seconds'] / 3600:.2f}", f"{each['share_of_clips']:.1%}", f"{each['share_wanted']:.1%}"),
            )
            for each in proof["splits"]
        ],
    )


def _moved(proof: Mapping[str, Any]) -> list[str]:
    if not proof["moved"]:
        return []
    rows = [(count, *change) for change, count in moves(proof)[:20]]
    said = f"{len(proof['moved'])} recordings have another split than in the version before:"
    return [said, "", *_table(("recordings", "from", "to", "why"), rows), ""]


def moves(proof: Mapping[str, Any]) -> list[tuple[tuple[str, str, str], int]]:
    """(from, to, why) of recordings that moved, and how many; the most first."""
    return Counter((each["from"], each["to"], each["why"]) for each in proof["moved"]).most_common()


def _closure(proof: Mapping[str, Any]) -> list[str]:
    zero = not any(proof["crossing"].values())
    said = f"Of {proof['groups']} groups of recordings that belong together, {'none crosses' if zero else 'SOME CROSS'} a split."
    rows = [
        (
            each["relation"],
            "yes" if each["closes"] else "no",
            each["values"] if each["checked"] else "–",
            each["crossing"] if each["checked"] else "–",
            f"{each['note']}{'; ' if each['note'] and each['say_nothing'] else ''}"
            + (f"{each['say_nothing']} recordings name none that counts, and are not one" if each["say_nothing"] else ""),
        )
        for each in proof["closure"]
    ]
    return [said, "", *_table(("what recordings share", "holds them together", "values", "of them in several splits", "remarks"), rows)]


def _large(proof: Mapping[str, Any]) -> list[str]:
    if not proof["too_large"]:
        return []
    rows = [
        (each["tracks"], f"{each['share']:.1%}", each["split"], each["by"] or "one recording", each["way_out"])
        for each in proof["too_large"]
    ]
    head = ("recordings", "share", "split", "held together by", "way out")
    return ["Groups that are larger than the smallest split, so that shares could not be met:", "", *_table(head, rows), ""]


def _nearest(proof: Mapping[str, Any]) -> list[str]:
    nearest = proof["nearest"]
    if not nearest["checked"]:
        return [f"Nearest pairs across splits: {nearest['note']}.", ""]
    rows = [
        (
            f"{each['cosine']:.4f}",
            *(
                f"{side['title'] or side['uri'].rpartition('/')[2]} at {side['start']:g} s ({side['split']})"
                for side in (each["a"], each["b"])
            ),
        )
        for each in nearest["pairs"]
    ]
    remark = f" ({nearest['note']})" if nearest["note"] else ""
    return [
        f"The nearest clips of different splits, by cosine of {nearest['column']}{remark}, to listen to:",
        "",
        *_table(("cosine", "", ""), rows),
        "",
    ]


def _tags(draft: Draft, proof: Mapping[str, Any], column: str, tags: Sequence[str]) -> list[str]:
    found = {(row["tag"], row["split"]): row for row in proof["tags"] if row["column"] == column}
    total = {tag: sum(found[tag, split]["rows"] for split in draft.splits) for tag in tags}
    shown = sorted(tags, key=lambda tag: (-total[tag], tag))[:_MOST_TAGS]
    head = ("tag", *(f"{split}: rows (artists)" for split in draft.splits))
    rows = [(tag, *(f"{found[tag, split]['rows']} ({_artists(found[tag, split])})" for split in draft.splits)) for tag in shown]
    apart = next(each for each in proof["distribution"] if each["column"] == column)["splits"]
    distance = ", ".join(f"{split} {'–' if value is None else f'{value:.3f}'}" for split, value in apart.items())
    more = [f"{len(tags) - len(shown)} rarer tags are in proof.json."] if len(tags) > len(shown) else []
    least = min((row["artists"] for row in found.values()), default=0)
    return [
        *_table(head, rows),
        "",
        *more,
        f"Fewest artists of a tag in a split: {least}. Distance of the splits' distributions (LD, 0 is alike): {distance}.",
    ]


def _artists(row: Mapping[str, Any]) -> str:
    unnamed = row["tracks_without_artist"]
    return f"{row['artists']}" + (f" + {unnamed} recordings that name none" if unnamed else "")


def _few(proof: Mapping[str, Any]) -> list[str]:
    if not proof["few"]:
        return []
    rows = [(each["column"], each["tag"], each["split"], each["note"]) for each in proof["few"][:100]]
    return [f"## Tags with fewer than {FEW} rows in a split", "", *_table(("column", "tag", "split", "what there is"), rows), ""]


def _columns(manifest: Mapping[str, Any]) -> list[str]:
    features = [
        (each["name"], f"{each['table']}.{each['column']}, {each['dtype']} {each['shape']}") for each in manifest["columns"]["features"]
    ]
    labels = [
        (
            each["name"],
            f"{each['kind']}: "
            + ("tags; in " + each["hot"] + " 1 has, 0 lacks, NaN nobody said" if each["hot"] else "what lies where, in seconds of the row"),
        )
        for each in manifest["columns"]["labels"]
    ]
    return _table(
        ("column", "what"),
        [("row_id, clip_id, view, view_id, track_id, start, seconds", "which stretch of which recording, s"), *features, *labels],
    )


def _licences(draft: Draft, manifest: Mapping[str, Any]) -> list[str]:
    allow = draft.spec.licences.allow
    said = [f"Allowed: {', '.join(allow)}." if allow else "Every licence is allowed.", ""]
    said[0] += (
        f" Recordings without a licence that is understood: {draft.spec.licences.unlicensed}d."
        if draft.spec.licences.unlicensed == "exclude"
        else (" Recordings without a licence that is understood are kept, and marked `unknown`.")
    )
    binding = strictest([draft.terms.licences[code] for code in np.unique(draft.terms.row[draft.kept])])
    said[0] += f" The strictest terms of any row are {binding}; who takes all rows is bound by the terms of each."
    return [*said, *_table(("terms of a row", "rows"), list(manifest["licences"]["counts"].items()))]


def _excluded(proof: Mapping[str, Any]) -> list[str]:
    if not proof["excluded"]:
        return ["Nothing."]
    rows = [(each["entries"], each["tracks"], each["what"], each["reason"]) for each in proof["excluded"][:40]]
    return ["Each has its reason in `exclusions.parquet`.", "", *_table(("entries", "recordings", "what", "reason"), rows)]


def _origins(manifest: Mapping[str, Any]) -> list[str]:
    said = manifest["from"]
    rows = [(f"table {name}", each["variant"]) for name, each in said["features"].items()]
    rows += [
        ("labels", f"{said['labels']['rows']} rows, {said['labels']['digest'][:16]}"),
        ("votes", f"{said['votes']['rows']} rows, {said['votes']['digest'][:16]}"),
    ]
    rows += [(f"consensus of {name}", f"{', '.join(each['methods'])}, {each['digest'][:16]}") for name, each in said["consensus"].items()]
    rows += [
        ("catalogue", said["tracks"][:16]),
        ("splits", said["splits"][:16]),
        ("libraries", ", ".join(f"{k} {v}" for k, v in said["libraries"].items())),
    ]
    return _table(("what", "which"), rows)
