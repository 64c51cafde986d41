"""What the driver itself costs: time to plan a resume, memory while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.plan import missing
from pipelines.store import Store
from pipelines.tracks import TRACKS
from tests.benchmarks.driver import RECIPE
from tests.benchmarks.measure import ROOT

PER_SHARD = 15  # tracks of four minutes in an hour


def test_a_resume_among_100_000_parts_is_planned_within_5_seconds(tmp_path: Path) -> None:
    variants = RECIPE.variants()
    for table, variant in [("tracks", ""), *variants.items()]:
        folder = tmp_path / table / variant
        folder.mkdir(parents=True)
        for number in range(100_000):
            (folder / f"{number:016x}.parquet").touch()
    for number in (5, 50_000):
        (tmp_path / "logmel" / variants["logmel"] / f"{number:016x}.parquet").unlink()
    began = time.perf_counter()
    units = missing(Store(tmp_path), RECIPE)
    seconds = time.perf_counter() - began
    print(f"\nplanning among 100,000 parts in each of {1 + len(variants)} tables: {seconds:.2f} s")
    assert [(int(unit.shard, 16), unit.tables) for unit in units] == [(5, ("logmel",)), (50_000, ("logmel",))]
    assert seconds < 5


def test_the_drivers_memory_is_flat_from_1_000_to_100_000_tracks(tmp_path: Path) -> None:
    few, many = (simulated(tmp_path / str(tracks), tracks) for tracks in (1_000, 100_000))
    print(
        f"\ndriver, work simulated: {few['peak_bytes'] / 1e6:.0f} MB at 1,000 tracks, {many['peak_bytes'] / 1e6:.0f} MB at 100,000"
        f" ({1e3 * many['seconds'] / many['shards']:.2f} ms a shard)"
    )
    assert (few["shards"], many["shards"]) == (67, 6667)
    assert many["peak_bytes"] < 1.1 * few["peak_bytes"]


def simulated(folder: Path, tracks: int) -> dict[str, Any]:
    """What `driver` says of a run over so many catalogued tracks."""
    values = {"string": "a name of some length.mp3", "double": 240.0, "int64": 9_600_000, "int32": 44_100}
    row = {field.name: values.get(str(field.type)) for field in TRACKS}
    store = Store(folder)
    store.publish("tracks", f"{0:016x}", pa.Table.from_pylist([row] * PER_SHARD, schema=TRACKS))
    for number in range(1, -(-tracks // PER_SHARD)):
        (folder / "tracks" / f"{number:016x}.parquet").hardlink_to(folder / "tracks" / f"{0:016x}.parquet")
    said = subprocess.run([sys.executable, "-m", "tests.benchmarks.driver", str(folder)], cwd=ROOT, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(said.stdout)
    return found
