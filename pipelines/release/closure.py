"""Which recordings belong together, so that no split may part them: connected components of what they share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.release.lineage import Others
from pipelines.release.rows import Rows
from pipelines.release.spec import Release
from pipelines.store import Store

# What stands in a tag where nobody is named: those who have it are not one.
NOBODY = frozenset(
    (
        *("unknown", "unknown artist", "unknown album", "<unknown>", "unbekannt", "anonymous", "no artist", "artist", "album", "untitled"),
        *("various", "various artists", "va", "v.a.", "diverse", "traditional", "trad", "trad.", "none", "n/a", "na", "null", "-", "?"),
    )
)


@dataclass(frozen=True, eq=False)
class Links:
    """One relation: members (n,), places in the catalogue; keys (n,), what each has: equal keys belong together.

    names: by key, in words. missing: recordings that say nothing. note: why it was not looked at, or what was.
    """

    relation: str
    members: NDArray[np.int64]
    keys: NDArray[np.int64]
    names: Sequence[str] = ()
    missing: int = 0
    checked: bool = True
    note: str = ""


@dataclass(frozen=True, eq=False)
class Closure:
    """group: (catalogue,) number of each recording's group: the place of its first member. links: all that was looked at, by relation."""

    group: NDArray[np.int64]
    links: Mapping[str, Links] = field(default_factory=dict)

    def why(self, members: NDArray[np.int64], closing: Iterable[str], most: int = 3) -> str:
        """What holds most of these recordings together, in words."""
        inside = np.zeros(len(self.group), bool)
        inside[members] = True
        said: list[tuple[int, str]] = []
        for relation in closing:
            if (links := self.links.get(relation)) is None or not links.checked:
                continue
            keys, counts = np.unique(links.keys[inside[links.members]], return_counts=True)
            for at in np.argsort(-counts, kind="stable")[:most]:
                if counts[at] > 1:
                    said.append((int(counts[at]), f"{relation} {links.names[keys[at]]!r} ({counts[at]} recordings)"))
        return ", ".join(text for _, text in sorted(said, key=lambda each: (-each[0], each[1]))[:most])


def components(count: int, links: Iterable[Links]) -> NDArray[np.int64]:
    """Groups of recordings that are linked, directly or through others; a group's number is the place of its first member.

    >>> components(4, [Links("artist", np.array([0, 3]), np.array([7, 7]))]).tolist()
    [0, 1, 2, 0]

    Source:
        hooking to the least and pointer jumping, after Shiloach and Vishkin: An O(log n) parallel connectivity algorithm, 1982.
    """
    further = count
    left: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    right: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for each in links:
        keys, number = np.unique(each.keys, return_inverse=True)
        left.append(each.members)
        right.append(number.astype(np.int64) + further)  # a node for each value, which all who have it are linked to
        further += len(keys)
    one, other = np.concatenate(left), np.concatenate(right)
    group = np.arange(further)
    while True:  # as often as the logarithm of the longest chain
        least = np.minimum(group[one], group[other])
        joined = group.copy()
        for ends in (group[one], group[other], one, other):
            np.minimum.at(joined, ends, least)
        joined = joined[joined[joined]]
        if (joined == group).all():
            ends_at: NDArray[np.int64] = joined[:count]
            return ends_at
        group = joined


def closure(store: Store, spec: Release, catalogue: pa.Table, members: NDArray[np.bool_], rows: Rows, others: Others) -> Closure:
    """Groups of the catalogue's recordings; every relation is looked at, those in `split.close` close.

    Args:
        members: (catalogue,) the recordings that the release is about; what others are called links nobody.
    """
    links = {name: words(catalogue, name, members, spec.split.ignore.get(name, ())) for name in ("artist", "album", "group")}
    sha = catalogue.column("sha256")
    links["bytes"] = words(catalogue.select([]).append_column("bytes", sha), "bytes", members, ())
    links["fingerprint"] = _fingerprints(store, catalogue)
    links["embedding"] = _embeddings(store, spec, catalogue)
    links["lineage"] = _lineage(rows, others, catalogue)
    closing = [links[name] for name in spec.split.close if links[name].checked]
    return Closure(components(len(catalogue), closing), links)


def words(catalogue: pa.Table, column: str, members: NDArray[np.bool_], ignored: Iterable[str]) -> Links:
    """Recordings by what a column says, however it is written; those that say nothing, or that nobody is known, are not one."""
    distinct = catalogue.column(column).combine_chunks().dictionary_encode()
    texts = distinct.dictionary.to_pylist()
    plain = [spelled(text) for text in texts]
    unnamed = NOBODY | {spelled(text) for text in ignored} | {""}
    numbers = {text: at for at, text in enumerate(dict.fromkeys(text for text in plain if text not in unnamed))}
    of = np.array([numbers.get(text, -1) for text in plain] + [-1], np.int64)
    keys = of[pc.fill_null(distinct.indices, len(texts)).to_numpy()]
    names: dict[int, str] = {}
    for text, key in zip(texts, of.tolist(), strict=False):
        names.setdefault(key, text)
    named = np.flatnonzero((keys >= 0) & members)
    missing = int(((keys < 0) & members).sum())
    return Links(column, named, keys[named], [names[key] for key in range(len(numbers))], missing)


def spelled(text: str) -> str:
    """A name without what tags differ in: case, width, accents' encoding, spaces.

    >>> spelled("  The  BEATLES ") == spelled("the beatles")
    True
    """
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip().casefold()


def _fingerprints(store: Store, catalogue: pa.Table) -> Links:
    from pipelines.part import StoreError

    try:
        from pipelines.similar.duplicates import duplicate_groups

        pairs = [pair for pair in duplicate_groups(store) if pair[2] == "fingerprint"]
    except (StoreError, ImportError, NotImplementedError) as error:
        # Where a store lies is no part of what a release is.
        why = str(error).removeprefix(f"{store.root}: ").replace(f"--store {store.root}", "--store STORE")
        return _unchecked("fingerprint", why or "this earmark has no fingerprints")
    return _pairs("fingerprint", catalogue, [pair[:2] for pair in pairs], f"{len(pairs)} pairs of recordings that sound the same")


def _embeddings(store: Store, spec: Release, catalogue: pa.Table) -> Links:
    from pipelines.embeddings import embeddings

    near = spec.split.near
    if near is None:
        return _unchecked("embedding", "no [split.near] names a column of embeddings")
    try:
        from pipelines.similar.duplicates import near_pairs

        table, _, column = near.column.partition(".")
        found = embeddings(store, table, column)
        left, right, _ = near_pairs(found.vectors, near.cosine)
    except (ImportError, NotImplementedError):
        return _unchecked("embedding", "this earmark looks for no near-duplicates")
    tracks = pa.array(found.tracks, pa.string())
    pairs = np.stack([np.asarray(left), np.asarray(right)], axis=1)
    ids = [tracks.take(pa.array(pairs[:, side])).to_pylist() for side in (0, 1)]
    across = sorted({pair for pair in zip(*ids, strict=True) if pair[0] != pair[1]})
    note = f"{len(across)} pairs of recordings with clips of cosine {near.cosine:g} or more in {near.column}"
    return _pairs("embedding", catalogue, across, note)


def _pairs(relation: str, catalogue: pa.Table, pairs: Sequence[tuple[str, ...]], note: str) -> Links:
    place = {name: at for at, name in enumerate(catalogue.column("track_id").to_pylist())}
    known = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    ends = np.array(known, np.int64).reshape(-1, 2)
    titles = [name[:8] for name in catalogue.column("track_id").to_pylist()] if len(ends) else []
    return Links(relation, ends.ravel(), np.repeat(np.arange(len(ends)), 2), [f"{titles[a]} = {titles[b]}" for a, b in known], note=note)


def _lineage(rows: Rows, others: Others, catalogue: pa.Table) -> Links:
    """A recording with all that sounds in its views: key by what is mixed in."""
    count = len(catalogue)
    members = [rows.track[others.row], others.track, rows.track[others.file_row]]
    keys = np.concatenate([others.track, others.track, others.file + count])
    pairs = np.unique(np.stack([np.concatenate(members), keys], axis=1), axis=0)
    kept, place = np.unique(pairs[:, 1], return_inverse=True)
    ids = catalogue.column("track_id")
    names = [ids[int(key)].as_py()[:8] if key < count else others.files[key - count] for key in kept]
    return Links("lineage", pairs[:, 0], place, names, note=f"{len(kept)} recordings and files are mixed into views")


def _unchecked(relation: str, why: str) -> Links:
    nothing = np.empty(0, np.int64)
    return Links(relation, nothing, nothing, checked=False, note=f"not checked: {why}")
