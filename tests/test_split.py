"""Groups over splits: by shares, by tags, and where they were before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.release.closure import Links, components
from pipelines.release.split import FREE, distances, settled, stratified

SHARES = (0.8, 0.1, 0.1)


def groups(count: int, tags: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Groups of one to five rows; each row has some of the tags, the first the commonest."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, count)
    likely = 0.5 ** np.arange(1, tags + 1)
    positives = np.array([(rng.random((size, tags)) < likely).sum(axis=0) for size in sizes], np.float64)
    return positives, sizes.astype(np.float64), [f"track {number}" for number in range(count)]


def free(count: int) -> NDArray[np.int64]:
    return np.full(count, FREE, np.int64)


def shares(split: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([weights[split == number].sum(axis=0) for number in range(3)]) / weights.sum(axis=0)


def test_every_tag_and_all_rows_are_divided_by_the_shares() -> None:
    positives, sizes, names = groups(1000, 6)
    split = stratified(positives, sizes, SHARES, free(1000), names)
    np.testing.assert_allclose(shares(split, sizes), SHARES, atol=0.01)
    for tag in range(6):
        # a group of several rows is the least that can be moved
        np.testing.assert_allclose(shares(split, positives[:, tag]), SHARES, atol=5 / positives[:, tag].sum() + 0.01)


def test_tags_are_spread_more_evenly_than_by_chance() -> None:
    positives, sizes, names = groups(300, 8, seed=3)
    split = stratified(positives, sizes, SHARES, free(300), names)
    drawn = np.random.default_rng(0).choice(3, size=(50, 300), p=SHARES)

    def apart(one: NDArray[np.int64]) -> float:
        there = np.array([positives[one == number].sum(axis=0) for number in range(3)])
        return float(np.nansum(distances(there, np.array([sizes[one == number].sum() for number in range(3)]))))

    assert apart(split) < min(apart(each) for each in drawn)


def test_the_example_of_the_paper_s_first_step_gives_the_rarest_tag_to_every_split() -> None:
    # ten groups have the common tag, two of them the rare one as well: with equal shares each split gets one of those
    positives = np.array([[1, 1], [1, 1], *[[1, 0]] * 8], np.float64)
    split = stratified(positives, np.ones(10), (0.5, 0.5), free(10), [str(at) for at in range(10)])
    assert sorted(split[:2]) == [0, 1]
    assert np.bincount(split).tolist() == [5, 5]


def test_the_order_of_groups_changes_nothing_and_the_seed_does() -> None:
    positives, sizes, names = groups(200, 4)
    split = stratified(positives, sizes, SHARES, free(200), names)
    order = np.random.default_rng(1).permutation(200)
    again = stratified(positives[order], sizes[order], SHARES, free(200), [names[at] for at in order])
    assert (again == split[order]).all()
    assert (stratified(positives, sizes, SHARES, free(200), names, seed=1) != split).any()


def test_what_has_a_split_keeps_it_and_what_is_new_fills_up_what_is_missing() -> None:
    positives, sizes, names = groups(400, 4)
    fixed = free(400)
    fixed[:200] = 0  # all of the old is for training
    split = stratified(positives, sizes, SHARES, fixed, names)
    assert (split[:200] == 0).all()
    np.testing.assert_allclose(shares(split, sizes), SHARES, atol=0.01)


def test_a_tag_with_one_positive_goes_where_models_learn() -> None:
    positives = np.zeros((50, 1))
    positives[17] = 1
    assert stratified(positives, np.ones(50), SHARES, free(50), [str(at) for at in range(50)])[17] == 0


def test_a_group_larger_than_a_split_goes_to_the_largest_and_the_others_share_the_rest() -> None:
    sizes = np.array([60.0, *[1.0] * 40])
    split = stratified(np.zeros((41, 0)), sizes, (0.6, 0.2, 0.2), free(41), [str(at) for at in range(41)])
    assert split[0] == 0
    np.testing.assert_allclose(np.array([sizes[split == number].sum() for number in range(3)]), [60, 20, 20])


def test_groups_that_growth_joins_go_where_models_learned_before() -> None:
    before = {"a": "test", "b": "train", "c": "valid", "d": "dev"}
    group = np.array([0, 0, 1, 2, 3])
    assert settled(before, group, ["a", "b", "c", "d", "e"], ["train", "valid", "test"]).tolist() == [0, 1, FREE, FREE]


def test_distances_are_those_of_the_definition() -> None:
    # tag 0: 5 of 10 and 5 of 10; tag 1: 2 of 10 and 6 of 10. LD of the first split: (|1 - 1| + |2/8 - 8/12|) / 2
    apart = distances(np.array([[5, 2], [5, 6]], np.float64), np.array([10.0, 10.0]))
    assert apart[0] == pytest.approx((0 + abs(2 / 8 - 8 / 12)) / 2)
    assert np.isnan(distances(np.zeros((1, 0)), np.array([3.0]))).all()
    assert np.isnan(distances(np.array([[1.0], [0.0]]), np.array([2.0, 0.0]))[1])


def test_where_every_tag_has_one_group_no_split_stays_empty() -> None:
    split = stratified(np.eye(20), np.ones(20), (0.7, 0.3), np.full(20, FREE), [str(at) for at in range(20)])
    assert np.bincount(split).tolist() == [14, 6]


def test_one_group_alone_is_learnt_from() -> None:
    assert stratified(np.ones((1, 1)), np.ones(1), (0.5, 0.5), np.array([FREE]), ["all"]).tolist() == [0]


def divided(relations: list[list[int]], before: dict[str, str], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups of recordings, by what each says in each relation (0 says nothing), and the split of every recording."""
    count = len(relations[0])
    links = [Links("artist", np.flatnonzero(keys), np.array(keys)[np.flatnonzero(keys)]) for keys in relations]
    _, group = np.unique(components(count, links), return_inverse=True)
    names = [f"{at:03}" for at in range(count)]
    sizes = np.bincount(group).astype(np.float64)
    first = [names[int(np.flatnonzero(group == number)[0])] for number in range(len(sizes))]
    fixed = settled(before, group, names, ["train", "valid", "test"])
    return group, stratified(np.zeros((len(sizes), 0)), sizes, SHARES, fixed, first, seed)[group]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 25), min_size=80, max_size=80), min_size=1, max_size=3), st.integers(20, 79), st.integers(0, 5))
def test_whatever_is_shared_nothing_crosses_shares_are_met_and_growth_moves_only_what_it_joins(
    relations: list[list[int]], earlier: int, seed: int
) -> None:
    words = ("train", "valid", "test")
    old_group, old = divided([keys[:earlier] for keys in relations], {}, seed)
    # Each group goes where most is missing: no split has more than its share and one group.
    for number, share in enumerate(SHARES):
        assert (old == number).sum() <= share * earlier + np.bincount(old_group).max()
    before = {f"{at:03}": words[split] for at, split in enumerate(old)}
    group, new = divided(relations, before, seed)
    for keys in relations:
        for key in set(keys) - {0}:
            assert len(set(new[np.array(keys) == key])) == 1
    for number in set(group):
        inside = np.flatnonzero(group[:earlier] == number)
        if len(inside):  # of a group that had several splits, all goes where models learned
            assert set(new[group == number]) == {old[inside].min()}
