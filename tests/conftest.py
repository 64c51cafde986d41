"""Fixtures that several test modules share, and the order in which workers take modules."""

import pytest

from tests.studio import studio, studio_process

__all__ = ["studio", "studio_process"]

# Those that take minutes come first: a worker that began one of them last would keep the others waiting.
LONG = (
    "test_chaos.py",
    "test_loop.py",
    "test_faults.py",
    "test_whole_campaign.py",
    "test_run.py",
    "test_consensus.py",
    "test_cluster.py",
    "test_object_store.py",
    "test_beam.py",
    "test_similar.py",
    "test_studio.py",
    "test_browser.py",
    "test_preannotate_head.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long modules first, the others as they came."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))
