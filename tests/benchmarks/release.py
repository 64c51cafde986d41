"""A release of many rows, timed against copying the same bytes: `python -m tests.benchmarks.release --rows 100000`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.labels import schema as labels_schema
from extractors.clip import clip_id
from pipelines.recipe import load as load_recipe
from pipelines.release import build
from pipelines.release.spec import load
from pipelines.rows import KEYS, footed
from pipelines.store import Store
from pipelines.tracks import TRACKS

CLIPS = 10  # of a track
TAGS = 50
RECIPE = '[window]\nseconds = 3.0\n[[extract]]\nuse = "LogMel"\n'
SPEC = 'name = "bench"\nfeatures = ["emb.vector"]\n[shards]\ncompression = "{compression}"\n[[labels]]\nkind = "tag"\nquestion = "tag"\n'


def store_of(folder: Path, rows: int, dimensions: int, kind: str) -> Store:
    """A store of so many clips, with vectors of random numbers and two tags a clip, in parts of a hundred tracks."""
    store, rng = Store(folder / "store"), np.random.default_rng(0)
    count = rows // CLIPS
    names = np.array([hashlib.sha256(f"{number}".encode()).hexdigest()[:20] for number in range(count)])
    columns: dict[str, Any] = {field.name: pa.nulls(count, field.type) for field in TRACKS}
    columns |= {"track_id": pa.array(names), "uri": pa.array([f"/m/{name}.wav" for name in names]), "sha256": pa.array(names)}
    columns |= {
        "artist": pa.array([f"artist {number % (count // 4)}" for number in range(count)]),
        "license": pa.array(["CC BY 4.0"] * count),
    }
    columns["seconds"] = pa.array([3.0 * CLIPS] * count)
    store.publish("tracks", "shard", pa.table(columns, schema=TRACKS))
    (folder / "recipe.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "recipe.toml")
    variant = recipe.variants()["views"]
    labels = []
    for at in range(0, count, 100):
        tracks = np.repeat(names[at : at + 100], CLIPS)
        starts = np.tile(np.arange(CLIPS) * 3.0, len(tracks) // CLIPS)
        clips = pa.array([clip_id(track, start, 3.0) for track, start in zip(tracks, starts, strict=True)])
        same = pa.array(np.full(len(tracks), 3.0))
        keys = [clips, pa.array(np.zeros(len(tracks), np.int32)), pa.array(tracks), pa.array(starts), same]
        part = f"{at:08}"
        views = [
            *keys,
            clips,
            pa.array(np.ones(len(tracks), np.float32)),
            pa.array(['{"sample_rate":1,"samples":3,"steps":[]}'] * len(tracks)),
        ]
        store.publish("views", part, pa.Table.from_arrays(views, schema=footed(recipe, "views", variant)), variant)
        cells = rng.normal(size=(len(tracks), dimensions)).astype(kind)
        field = pa.field("vector", pa.list_(pa.from_numpy_dtype(np.dtype(kind)), dimensions), metadata={"shape": f"[{dimensions}]"})
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(cells.reshape(-1)), type=field.type)
        store.publish("emb", part, pa.Table.from_arrays([*keys, vectors], schema=pa.schema([*KEYS, field])), "v")
        labels.append((clips, pa.array(tracks)))
    store.remember(recipe.model_dump(mode="json"), {"emb": "v", "views": variant})
    all_clips, all_tracks = (pa.concat_arrays([each[side] for each in labels]) for side in (0, 1))
    said = {field.name: pa.nulls(2 * len(all_clips), field.type) for field in labels_schema()}
    said["clip_id"], said["track_id"] = pa.concat_arrays([all_clips, all_clips]), pa.concat_arrays([all_tracks, all_tracks])
    tags = rng.integers(0, TAGS, 2 * len(all_clips))
    said["value"] = pc.binary_join_element_wise("tag", pa.array(tags).cast(pa.string()), " ")
    said["label_id"] = pa.array([f"{number:020x}" for number in range(len(tags))])
    fixed = {"kind": "tag", "author": "consensus:majority", "author_kind": "consensus"}
    said |= {name: pa.array([value] * len(tags)) for name, value in fixed.items()}
    store.publish("labels", "shard", pa.table(said, schema=labels_schema()))
    return store


def copied(source: Path, target: Path) -> float:
    """Seconds to copy a folder file by file, down to the disk."""
    before = time.perf_counter()
    for path in sorted(source.rglob("*")):
        if path.is_file():
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            handle = os.open(to, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    return time.perf_counter() - before


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same function, with the seconds that it takes noted."""

    def wrapped(*arguments: Any) -> Any:
        before = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            spent[name] = time.perf_counter() - before

    return wrapped


def main() -> None:
    """Make a store, release it, copy the release."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=200)
    parser.add_argument("--kind", default="float32")
    parser.add_argument("--compression", default="none")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        store = store_of(folder, options.rows, options.dimensions, options.kind)
        (folder / "release.toml").write_text(SPEC.format(compression=options.compression))
        spec = load(folder / "release.toml")
        if options.profile:
            import cProfile

            cProfile.runctx("build.release(store, spec, folder / 'profiled')", globals(), locals(), sort="cumtime")
        spent: dict[str, float] = {}
        for part in ("draft", "proof", "write_all"):
            setattr(build, part, timed(getattr(build, part), part, spent))
        before, cpu = time.perf_counter(), time.process_time()
        made = build.release(store, spec, folder / "out")
        took, cpu = time.perf_counter() - before, time.process_time() - cpu
        size = sum(path.stat().st_size for path in made.folder.rglob("*") if path.is_file())
        copy = copied(made.folder, folder / "copy")
        facts = {
            "rows": sum(each["rows"] for each in made.manifest["splits"].values()),
            "megabytes": round(size / 1e6, 1),
            "release_s": round(took, 2),
            "release_cpu_s": round(cpu, 2),
            **{f"{part}_s": round(seconds, 2) for part, seconds in spent.items()},
            "copy_s": round(copy, 2),
            "rows_per_s": round(options.rows / took),
            "megabytes_per_s": round(size / 1e6 / took, 1),
            "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        }
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
