"""Everything that a release came from, as hashes: equal inputs are one version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.release.closure import Links
from pipelines.release.draft import Draft
from pipelines.release.manifest import FORMAT
from pipelines.release.origins import digest as digest_lines
from pipelines.release.origins import digest_of
from pipelines.versions import versions

# What determines a split, a licence or an attribution.
_CATALOGUE = ("track_id", "uri", "title", "artist", "album", "license", "group")


def pedigree(draft: Draft) -> dict[str, Any]:
    """What the manifest says under `from`."""
    labels, kinds = draft.labels, pa.array(sorted({each.words.kind for each in draft.said}), pa.string())
    about = labels.filter(pc.is_in(labels.column("kind"), kinds))
    used = labels.take(pa.array(np.unique(np.concatenate([np.empty(0, np.int64), *(each.used for each in draft.said)]))))
    votes = about.filter(pc.equal(about.column("author_kind"), "person"))
    members = draft.catalogue.take(pa.array(draft.members))
    track_ids = members.column("track_id").to_pylist()
    split = [draft.splits[at] for at in draft.divided.split[draft.members]]
    return {
        "features": {source.name: source.facts() for source in draft.sources},
        "recipes": {source.name: source.recipe for source in draft.sources},
        "views": {"variant": next((source.views for source in draft.sources if source.augmented), ""), "digest": _rows(draft)},
        "labels": _labels(used),
        "votes": _labels(votes),
        "consensus": _consensus(draft, used),
        "tracks": digest_lines(
            "\t".join(str(each) for each in row) for row in zip(*(members.column(name).to_pylist() for name in _CATALOGUE), strict=True)
        ),
        "splits": digest_lines(f"{name} {where}" for name, where in zip(track_ids, split, strict=True)),
        "closure": {name: _links(draft, links) for name, links in draft.closure.links.items()},
        "store": draft.store.root.rstrip("/").rpartition("/")[2],
        "libraries": versions(),
        "earmark": _own(),
    }


def digest(draft: Draft, origin: Mapping[str, Any]) -> str:
    """A release's name by content.

    Libraries are noted and not counted: what they could change, features and views, has their versions in its own footer. Neither are
    recipes, which also say how work is spread: what counts of them is in the tables' variants and footers.
    """
    counted = {name: value for name, value in origin.items() if name not in ("store", "libraries", "earmark", "recipes")}
    return digest_of({"format": FORMAT, "spec": draft.spec.model_dump(mode="json", by_alias=True), "from": counted})


def _rows(draft: Draft) -> str:
    """Which rows there are, of which views, in which split."""
    names = draft.rows.table.take(pa.array(draft.kept))
    state = hashlib.sha256(draft.split.tobytes())
    for column in ("row_id", "view_id"):
        for chunk in pc.fill_null(names.column(column), "").chunks:
            state.update("\n".join(chunk.to_pylist()).encode())
    return state.hexdigest()


def _links(draft: Draft, links: Links) -> dict[str, Any]:
    """What the recordings that are released have in common, by one relation."""
    mine = np.isin(links.members, draft.members)
    ids = draft.catalogue.column("track_id").take(pa.array(links.members[mine])).to_pylist()
    said = sorted(f"{name} {links.names[key]}" for name, key in zip(ids, links.keys[mine].tolist(), strict=True))
    return {"checked": links.checked, "digest": digest_lines(said), "closes": links.relation in draft.spec.split.close}


def _labels(rows: pa.Table) -> dict[str, Any]:
    ids = rows.column("label_id").sort() if len(rows) else rows.column("label_id")
    return {"rows": len(rows), "digest": digest_lines(ids.to_pylist())}


def _consensus(draft: Draft, used: pa.Table) -> dict[str, Any]:
    """By campaign: the methods, the rows that are heard, and the hash of what the campaign keeps of its consensus."""
    found: dict[str, Any] = {}
    rows = used.filter(pc.equal(used.column("author_kind"), "consensus"))
    for campaign in sorted({each or "" for each in pc.unique(rows.column("campaign")).to_pylist()}):
        mine = rows.filter(pc.equal(pc.fill_null(rows.column("campaign"), ""), campaign))
        methods = sorted({author.removeprefix("consensus:") for author in pc.unique(mine.column("author")).to_pylist()})
        found[campaign] = {"methods": methods, **_labels(mine), "snapshot": _snapshot(draft, campaign)}
    return found


def _snapshot(draft: Draft, campaign: str) -> str:
    path = draft.store.folder("campaigns", f"{campaign}/consensus.parquet")
    try:
        with draft.store.filesystem.open_input_file(path) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def _own() -> str:
    try:
        return version("earmark")
    except PackageNotFoundError:
        return ""
