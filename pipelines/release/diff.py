"""What changed from one version of a release to another: rows, splits, labels and by whose word, features, terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from numpy.typing import NDArray

from extractors.uri import printable
from pipelines.cells import to_numpy
from pipelines.release.manifest import read_manifest
from pipelines.release.rows import place

# Whose word settles what votes left open.
ADJUDICATORS = ("gold", "person")


@dataclass(frozen=True)
class Labels:
    """Changes of one column, in rows that both versions have.

    changed: tags (or whole rows, of regions) of which something else is known now; rows: in how many rows.
    now_known, now_unknown: of these, nobody had spoken before, or nobody counts any more. by: whose word it is now.
    """

    column: str
    changed: int = 0
    rows: int = 0
    now_known: int = 0
    now_unknown: int = 0
    by: Mapping[str, int] = field(default_factory=dict)
    tags_added: Sequence[str] = ()
    tags_removed: Sequence[str] = ()


@dataclass(frozen=True)
class Diff:
    """From `before` to `after`. moved: recordings by (from, to) split; features: what differs, in words; terms: rows with others."""

    before: str
    after: str
    rows: Mapping[str, int]
    tracks: Mapping[str, int]
    moved: Sequence[Mapping[str, Any]]
    labels: Sequence[Labels]
    features: Sequence[str]
    terms: int
    same: bool = False

    @property
    def changed(self) -> int:
        """Labels changed, in all columns."""
        return sum(each.changed for each in self.labels)

    @property
    def by_adjudication(self) -> int:
        """Of these, those in which now an expert's or a person's own word stands."""
        return sum(count for each in self.labels for who, count in each.by.items() if who in ADJUDICATORS)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"labels_changed": self.changed, "by_adjudication": self.by_adjudication}

    def __str__(self) -> str:
        if self.same:
            return f"{self.before} and {self.after} are of the same inputs"
        lines = [f"from {self.before} to {self.after}:"]
        lines.append(f"  {self.rows['added']} rows added, {self.rows['removed']} removed, {self.rows['common']} in both")
        lines.append(f"  {self.tracks['added']} recordings added, {self.tracks['removed']} removed")
        lines.append(f"  {self.changed} labels changed, {self.by_adjudication} by adjudication")
        for each in self.labels:
            if each.changed or each.tags_added or each.tags_removed:
                by = ", ".join(f"{count} {who}" for who, count in each.by.items())
                known = f"; {each.now_known} newly known, {each.now_unknown} no longer" if each.now_known or each.now_unknown else ""
                lines.append(f"    {each.column}: {each.changed} in {each.rows} rows ({by or 'nobody'}{known})")
                lines += [
                    f"      tag {sign} {printable(tag)}"
                    for sign, tags in (("+", each.tags_added), ("-", each.tags_removed))
                    for tag in tags
                ]
        lines += [f"  {each['tracks']} recordings moved from {each['from']} to {each['to']}" for each in self.moved]
        lines += [f"  {each}" for each in self.features]
        if self.terms:
            lines.append(f"  {self.terms} rows under other terms")
        return "\n".join(lines)


def diff(before: Path, after: Path) -> Diff:
    """Compare two versions.

    Raises:
        StoreError: one of them is no release.
    """
    old, new = read_manifest(before), read_manifest(after)
    names = [f"{each['name']} {each['version']}" for each in (old, new)]
    columns = {each["name"]: each for each in old["columns"]["labels"]}
    both = [(columns[each["name"]], each) for each in new["columns"]["labels"] if each["name"] in columns]
    tables = [_read(folder, said, both) for folder, said in ((before, old), (after, new))]
    ids = [table.column("row_id").combine_chunks() for table in tables]
    at = place(ids[0], ids[1])
    now = np.flatnonzero(at >= 0)
    was = at[now]
    tracks = [set(pq.read_table(folder / "tracks.parquet", columns=["track_id"]).column(0).to_pylist()) for folder in (before, after)]
    licences = [tables[0].column("license").take(pa.array(was)), tables[1].column("license").take(pa.array(now))]
    return Diff(
        names[0],
        names[1],
        {"added": len(at) - len(now), "removed": len(ids[0]) - len(now), "common": len(now)},
        {"added": len(tracks[1] - tracks[0]), "removed": len(tracks[0] - tracks[1]), "common": len(tracks[0] & tracks[1])},
        _moved(before, after),
        [_labels(one, other, tables[0], tables[1], was, now) for one, other in both],
        _features(old, new),
        int(pc.sum(pc.not_equal(*licences)).as_py() or 0),
        old["digest"] == new["digest"],
    )


def _read(folder: Path, said: Mapping[str, Any], labels: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> pa.Table:
    """The rows, without their features."""
    columns = ["row_id", "license"]
    for pair in labels:
        for each in pair:
            columns += [name for name in (each["name"], each["hot"], each["by"]) if name and name not in columns]
    paths = [str(folder / path) for split in said["splits"].values() for path in split["shards"]]
    dataset = pads.dataset(paths, format="parquet")
    return dataset.to_table(columns=[name for name in columns if name in dataset.schema.names])


def _labels(
    one: Mapping[str, Any], other: Mapping[str, Any], before: pa.Table, after: pa.Table, was: NDArray[np.int64], now: NDArray[np.int64]
) -> Labels:
    """One column, in the rows that both have."""
    if not one["hot"] or not other["hot"]:
        texts = [_text(table.column(one["name"]).take(pa.array(rows))) for table, rows in ((before, was), (after, now))]
        changed = np.array([a != b for a, b in zip(*texts, strict=True)], bool)[:, None]
        known = [np.array([each is not None for each in text], bool)[:, None] for text in texts]
    else:
        tags = sorted({*one["tags"], *other["tags"]})
        values = [_values(each, table, rows, tags) for each, table, rows in ((one, before, was), (other, after, now))]
        known = [~np.isnan(each) for each in values]
        changed = (known[0] != known[1]) | (known[0] & known[1] & (values[0] != values[1]))
    rows = np.flatnonzero(changed.any(axis=1))
    who = after.column(other["by"]).take(pa.array(now[rows])).to_pylist()
    by: Counter[str] = Counter()
    for name, count in zip(who, changed[rows].sum(axis=1).tolist(), strict=True):
        by[name or "nobody"] += count
    return Labels(
        one["name"],
        int(changed.sum()),
        len(rows),
        int((changed & ~known[0] & known[1]).sum()),
        int((changed & known[0] & ~known[1]).sum()),
        dict(sorted(by.items(), key=lambda item: (-item[1], item[0]))),
        sorted(set(other["tags"]) - set(one["tags"])),
        sorted(set(one["tags"]) - set(other["tags"])),
    )


def _values(said: Mapping[str, Any], table: pa.Table, rows: NDArray[np.int64], tags: Sequence[str]) -> NDArray[np.float32]:
    """(rows, tags); a tag that the version does not have is lacking in rows that somebody spoke of."""
    column = table.column(said["hot"]).combine_chunks()
    hot = to_numpy(column, table.schema.field(said["hot"])) if said["tags"] else np.empty((len(table), 0), np.float32)
    known = table.column(said["name"]).is_valid().to_numpy()
    values = np.where(known, np.float32(0), np.float32(np.nan))[:, None].repeat(len(tags), axis=1)
    for at, tag in enumerate(said["tags"]):
        values[:, tags.index(tag)] = np.asarray(hot)[:, at]
    return values[rows]


def _text(column: pa.ChunkedArray) -> list[str | None]:
    return [None if each is None else str(each) for each in column.to_pylist()]


def _moved(before: Path, after: Path) -> list[dict[str, Any]]:
    splits = []
    for folder in (before, after):
        rows = pq.read_table(folder / "tracks.parquet", columns=["track_id", "split"])
        splits.append(dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True)))
    counted = Counter((splits[0][name], split) for name, split in splits[1].items() if splits[0].get(name, split) != split)
    return [{"from": one, "to": other, "tracks": count} for (one, other), count in sorted(counted.items())]


def _features(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs in features and libraries, in words."""
    said = []
    tables = [each["from"]["features"] for each in (old, new)]
    for name in sorted({*tables[0], *tables[1]}):
        if name not in tables[1]:
            said.append(f"features of {name}: removed")
        elif name not in tables[0]:
            said.append(f"features of {name}: added")
        elif tables[0][name]["variant"] != tables[1][name]["variant"]:
            said.append(f"features of {name}: computed in another way ({tables[0][name]['variant']}, now {tables[1][name]['variant']})")
        else:
            footers = [each[name].get("footer", {}).get("versions", {}) for each in tables]
            said += [f"features of {name}: made with {text}" for text in _versions(*footers)]
    columns = [{each["name"] for each in said_["columns"]["features"]} for said_ in (old, new)]
    said += [f"column {name}: removed" for name in sorted(columns[0] - columns[1])]
    said += [f"column {name}: added" for name in sorted(columns[1] - columns[0])]
    labels = [{each["name"] for each in said_["columns"]["labels"]} for said_ in (old, new)]
    said += [f"labels {name}: removed" for name in sorted(labels[0] - labels[1])]
    return said + [f"labels {name}: added" for name in sorted(labels[1] - labels[0])]


def _versions(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [
        f"{name} {old.get(name, 'none')}, now {new.get(name, 'none')}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
