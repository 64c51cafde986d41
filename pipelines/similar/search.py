"""The search for recordings that are the same, which writes the table `groups`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from extractors.fingerprint import HASH_BITS
from pipelines.similar.duplicates import SCHEMA, TABLE, Pair, closure, near_pairs
from pipelines.similar.landmarks import PREFIXES, Heard, build, recordings, source
from pipelines.similar.lookup import Landmarks
from pipelines.similar.matching import matches
from pipelines.store import Store
from pipelines.versions import versions

if TYPE_CHECKING:
    from pipelines.embeddings import Embeddings

# Raised whenever the same fingerprints and embeddings would give other pairs.
VERSION = 2
# Landmarks that are looked up at once.
BLOCK = 1_000_000
# Agreements of landmarks that a search may have to count: above, only a share of the hashes is compared.
WORK = 2e9


@dataclass
class Found:
    """What a search found. heard: recordings with landmarks; unheard: recordings of the catalogue without; share: of hashes compared."""

    pairs: list[Pair]
    groups: dict[str, str]
    heard: int
    unheard: int
    share: float = 1.0

    def __str__(self) -> str:
        members: dict[str, list[str]] = {}
        for track, group in sorted(self.groups.items()):
            members.setdefault(group, []).append(track)
        several = {group: tracks for group, tracks in members.items() if len(tracks) > 1}
        lines = [f"{len(several)} groups of recordings that are the same, among {len(self.groups)}"]
        joined: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            joined.setdefault(self.groups[pair.track_id], []).append(pair)
        for group, tracks in several.items():
            lines.append(f"{group}: {len(tracks)} recordings")
            for pair in joined[group]:
                place = "" if pair.offset is None else f", begins at {pair.offset:.2f} s of it"
                score = f"{pair.score:.3f}" if pair.why == "embedding" else f"{pair.score:.0f}"
                lines.append(f"  {pair.track_id} is {pair.other} by {pair.why} ({score}{place})")
        if self.unheard:
            lines.append(f"{self.unheard} recordings of the catalogue have no landmarks: rejected, or scanned since the recipe was run")
        if self.share < 1:
            lines.append(
                f"only {self.share:.0%} of the hashes were compared, as there are so many: excerpts of a few seconds may be missed"
            )
        return "\n".join(lines)


def search(
    store: Store,
    embedding: tuple[str, str] | None = None,
    near: float = 0.98,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Found:
    """Look for recordings that are the same, and write the table `groups`.

    Args:
        embedding: table and column of vectors whose recordings count as the same from a cosine of `near` on.
        progress: called with how many parts of fingerprints were looked up, and how many there are.
    Raises:
        StoreError: there are no fingerprints, or no such embeddings.
    """
    vectors = None
    if embedding is not None:
        from pipelines.embeddings import embeddings

        vectors = embeddings(store, *embedding)
    build(store)
    index = Landmarks(store)
    share = shared(index)
    pairs, heard = by_fingerprint(store, index, share, progress)
    pairs += by_embedding(vectors, near) if vectors is not None else []
    catalogue = store.read("tracks", ["track_id"])
    every = set(catalogue["track_id"].to_pylist()) if catalogue is not None else set()
    joined = closure(heard | set(vectors.tracks if vectors is not None else ()), ((pair.track_id, pair.other) for pair in pairs))
    found = Found(
        sorted(pairs, key=lambda pair: (pair.track_id, pair.other, pair.why)), joined, len(heard), len(every - heard), share / PREFIXES
    )
    said = store.current().get(embedding[0], "") if embedding else ""
    _write(store, found, {"fingerprints": [index.source.table, index.source.variant, index.shards], "embedding": [embedding, said, near]})
    return found


def shared(index: Landmarks) -> int:
    """Prefixes of the index, of 16, that a search over all recordings compares: fewer than all where that would take hours."""
    agreements = 4.0 * index.landmarks**2 / (1 << HASH_BITS)  # some hashes are commoner than others
    return int(np.clip(PREFIXES * WORK / max(1.0, agreements), 1, PREFIXES))


def by_fingerprint(
    store: Store, index: Landmarks, prefixes: int, progress: Callable[[int, int], None] = lambda done, of: None
) -> tuple[list[Pair], set[str]]:
    """Each recording is looked up in the index: the shorter of two finds the longer.

    Returns:
        pairs, each once with its best score; the recordings that have landmarks.
    """
    best: dict[tuple[str, str], Pair] = {}
    heard: set[str] = set()
    for sounds in _blocks(store, index, progress):
        heard.update(each.track_id for each in sounds)
        for sound, found in zip(sounds, matches(index, sounds, width=2, prefixes=prefixes), strict=True):
            for match in found:
                turned = sound.track_id > match.track_id
                low, high = sorted((sound.track_id, match.track_id))
                pair = Pair(low, high, "fingerprint", float(match.score), -match.offset if turned else match.offset)
                if (low, high) not in best or best[low, high].score < pair.score:
                    best[low, high] = pair
    return list(best.values()), heard


def _blocks(store: Store, index: Landmarks, progress: Callable[[int, int], None]) -> Iterator[list[Heard]]:
    found = source(store)
    sounds: list[Heard] = []
    for done, shard in enumerate(index.shards, 1):
        for sound in recordings(store, found, shard):
            sounds.append(sound)
            if sum(len(each.hashes) for each in sounds) >= BLOCK:
                yield sounds
                sounds = []
        progress(done, len(index.shards))
    if sounds:
        yield sounds


def by_embedding(found: Embeddings, near: float) -> list[Pair]:
    """Recordings whose mean vectors are near: as a whole, and not in one clip."""
    from pipelines.similar.similar import pooled

    tracks, vectors = pooled(found)
    left, right, cosines = near_pairs(vectors, near)
    pairs = zip(left.tolist(), right.tolist(), cosines.tolist(), strict=True)
    # Recordings are in order of their track_id, and so are those of a pair.
    return [Pair(tracks[one], tracks[other], "embedding", cosine) for one, other, cosine in pairs]


def _write(store: Store, found: Found, origin: dict[str, Any]) -> None:
    """The table, as a variant of its own for what it came from."""
    rows = [(each.track_id, each.why, each.score, each.other, each.offset) for each in found.pairs]
    rows += [(each.other, each.why, each.score, each.track_id, None if each.offset is None else -each.offset) for each in found.pairs]
    alone = found.groups.keys() - {row[0] for row in rows}
    everyone: list[Any] = sorted(
        [*rows, *((track, None, None, None, None) for track in alone)], key=lambda row: (row[0], row[3] or "", row[1] or "")
    )
    columns = {"track_id": [row[0] for row in everyone], "group": [found.groups[row[0]] for row in everyone]}
    columns |= {name: [row[at] for row in everyone] for at, name in enumerate(("why", "score", "other", "offset"), 1)}
    determined = {"version": VERSION, "prefixes": found.share, **origin}
    variant = hashlib.sha256(json.dumps(determined, sort_keys=True).encode()).hexdigest()[:16]
    footer = {**determined, "versions": versions()}
    table = pa.table(columns, SCHEMA.with_metadata({"earmark": json.dumps(footer, sort_keys=True)}))
    if not store.names(TABLE, variant):
        store.publish(TABLE, "groups", table, variant)
    store.remember({"duplicates": determined}, {TABLE: variant})


def facts(found: Found) -> dict[str, Any]:
    """What `--json` prints."""
    return {**asdict(found), "pairs": [asdict(pair) for pair in found.pairs]}
