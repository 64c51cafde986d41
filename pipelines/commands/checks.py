"""What commands look at before anything runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.recipe import Recipe
    from pipelines.store import Store


def scanned(place: str, *tables: str) -> Store:
    """The store at a place. A name that is misspelt would look like a store in which all is well.

    Raises:
        StoreError: it has none of these tables.
    """
    from pipelines.part import StoreError
    from pipelines.store import Store

    store = Store(place)
    if not any(map(store.names, tables)):
        raise StoreError(f"{place}: no tracks yet; 'earmark scan FOLDER --store {place}' finds them")
    return store


def check_augmentations(recipe: Recipe) -> None:
    """Folders and files that augmentations name are looked at before anything runs.

    Raises:
        ValueError: with the augmentation's place in the recipe.
    """
    for index, augmentation in enumerate(recipe.augment):
        try:
            augmentation.check()
        except (ValueError, OSError) as error:
            raise ValueError(f"augment[{index}]: {error}") from error


def check_beam(options: argparse.Namespace) -> None:
    """What follows `--engine beam` is looked at before anything runs.

    Raises:
        ValueError: Beam would not know it.
    """
    from pipelines.engines.beam_options import check

    check(options.beam, [f"--{name.replace('_', '-')}" for name in vars(options)])
