"""Groups over splits: every tag in every split by its share, nothing moved that had a place before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FREE = -1


def stratified(
    positives: NDArray[np.float64],
    sizes: NDArray[np.float64],
    shares: Sequence[float],
    fixed: NDArray[np.int64],
    names: Sequence[str],
    seed: int = 0,
) -> NDArray[np.int64]:
    """Iterative stratification of whole groups.

    The tag with the fewest rows left goes first; its groups, the largest first, go where that tag is missed most, then where rows
    are missed most, among splits that have room for more than half of them. Groups without tags fill up what is left.

    Args:
        positives: (groups, tags) rows of each group that have the tag. sizes: (groups,) rows.
        shares: of each split; they make 1.
        fixed: (groups,) the split of those that have one already, else `FREE`.
        names: of the groups: with the seed they settle what is equally good, so that the order of groups does not matter.
    Returns:
        (groups,) the split of each.
    Source:
        Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, ECML PKDD 2011, algorithm 1; here on groups, as weights.
    """
    tags = positives.shape[1]
    split = fixed.copy()
    share = np.array(shares, np.float64)
    # What each split misses of each tag, and of rows in the last column.
    weights = np.concatenate([positives, sizes[:, None]], axis=1).astype(np.float64)
    missed = share[:, None] * weights.sum(axis=0)
    for at in np.flatnonzero(split != FREE):
        missed[split[at]] -= weights[at]
    chance = np.array([_chance(seed, name) for name in names], np.uint64)
    free = split == FREE
    left = weights[free].sum(axis=0)
    while free.any():
        # Of tags, the rarest that is left; of none, the rows themselves.
        rare = np.where(left[:tags] > 0, left[:tags], np.inf)
        tag = int(rare.argmin()) if tags and np.isfinite(rare.min()) else tags
        here = np.flatnonzero(free & (weights[:, tag] > 0)) if tag < tags else np.flatnonzero(free)
        for at in here[np.lexsort((chance[here], -weights[here, -1], -weights[here, tag]))]:
            # Where every tag is rare, each would go to the largest share and none to the others: a split that is full takes no more.
            room = np.flatnonzero(missed[:, -1] > weights[at, -1] / 2)
            if len(room):
                wants = missed[room, tag]
                best = room[wants == wants.max()]
                rows = missed[best, -1]
                best = best[rows == rows.max()]
                chosen = int(best[int(chance[at]) % len(best)])
            else:  # too large for all: where most is missed, the first of them, which is the one that is learnt from
                chosen = int(missed[:, -1].argmax())
            split[at] = chosen
            missed[chosen] -= weights[at]
            left -= weights[at]
        free[here] = False
        left[tag] = 0  # floats that were subtracted do not end at 0 exactly
    return split


def settled(before: Mapping[str, str], groups: NDArray[np.int64], track_ids: Sequence[str], splits: Sequence[str]) -> NDArray[np.int64]:
    """The split that each group's recordings had in an earlier version; of several, the first by the order of `splits`.

    The first is the one that is learnt from: what a model may have heard never becomes a test.

    Args:
        before: split by track_id. groups: (tracks,) 0 … groups - 1.
    Returns:
        (groups,) a place in `splits`, or `FREE`.
    """
    number = {name: at for at, name in enumerate(splits)}
    had = np.array([number.get(before.get(name, ""), len(splits)) for name in track_ids], np.int64)
    first = np.full(int(groups.max(initial=-1)) + 1, len(splits), np.int64)
    np.minimum.at(first, groups, had)
    return np.where(first < len(splits), first, FREE)


def distances(positives: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each split's tags are from those of all rows: the mean over tags of |positives ÷ negatives there − the same of all|.

    Args:
        positives: (splits, tags) rows. sizes: (splits,) rows.
    Returns:
        (splits,) 0 is alike; nan for a split without rows, or without tags.
    Source:
        LD, label distribution, in section 4 of Sechidis, Tsoumakas, Vlahavas 2011.
    """
    if not positives.shape[1]:
        return np.full(len(sizes), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        here = positives / (sizes[:, None] - positives)
        whole = positives.sum(axis=0) / (sizes.sum() - positives.sum(axis=0))
        apart = np.abs(here - whole)
    apart[~np.isfinite(apart)] = np.nan
    counted = (~np.isnan(apart)).sum(axis=1)
    return np.where(counted > 0, np.nansum(apart, axis=1) / np.maximum(counted, 1), np.nan)


def _chance(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8])
