"""Fixtures that several test modules share, threads, and the order in which workers take modules."""

import os

import pytest

from tests.studio import studio, studio_process

__all__ = ["studio", "studio_process"]

# Nothing has imported NumPy or torch yet. Workers whose libraries each start a thread for every core wait for one another, spinning.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Those that take minutes come first: a worker that began one of them last would keep the others waiting.
LONG = (
    "test_chaos.py",
    "test_whole_campaign.py",
    "test_run.py",
    "test_loop.py",
    "test_faults.py",
    "test_cluster.py",
    "test_readme.py",
    "test_studio.py",
    "test_nodes.py",
    "test_jobs.py",
    "test_object_store.py",
    "test_bucket_at_once.py",
    "test_beam.py",
    "test_views.py",
    "test_similar.py",
    "test_ray_submit.py",
    "test_browser.py",
    "test_preannotate_head.py",
    "test_bad_storage.py",
    "test_home.py",
    "test_pull_faults.py",
    "test_pull.py",
    "test_consensus.py",
    "test_queue.py",
    "test_batched.py",
    "test_hostile_bombs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long modules first, the others as they came."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))
