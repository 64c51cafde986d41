"""Training loaders on the same features: `python -m tests.benchmarks.loader [ROUNDS] [WORKERS]` (3 rounds, 2 workers).

A release with log-mels (128 × 128, float16), embeddings (200, float32) and tags, and one with embeddings and tags alone; read by earmark,
by Hugging Face datasets (each way of using it) and by WebDataset from the tars that `earmark release export` makes; shuffled, in batches
of 64, in turns, page cache warm. Each epoch is a process of its own. Rows per second, and per second of CPU of all its processes, which
remains comparable where others use the cores too. Of the rounds the best counts.

`--make FOLDER` makes the releases there and keeps them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.released import flat, sign

BATCH = 64
CASES = {"logmel": 20_000, "embedding": 40_000}
SHARD = 4_000
TAGS = [f"tag {number}" for number in range(20)]
COLUMNS = {"logmel": ["logmel", "embedding", "mood_hot"], "embedding": ["embedding", "mood_hot"]}
WAITED = 1000  # rows that streams of the others keep to shuffle; earmark keeps 16 row groups of 8 MB


def make(folder: Path, case: str) -> None:
    """A release as `earmark release` writes it: features uncompressed, row groups of 8 MB; and its export."""
    from pipelines.release.export import export

    numbers = np.random.default_rng(0)
    (folder / case / "train").mkdir(parents=True)
    shards = []
    for at in range(0, CASES[case], SHARD):
        shards.append(f"train/part-{len(shards):05}.parquet")
        table = rows(numbers, case, at, SHARD)
        leaves = {f"{name}.list.element": "NONE" for name in COLUMNS[case]}
        group = (8 << 20) * SHARD // table.nbytes
        pq.write_table(table, folder / case / shards[-1], row_group_size=group, compression=leaves, use_dictionary=["row_id"])
    manifest: dict[str, Any] = {"format": 1, "name": case, "version": "v1", "digest": "0" * 64}
    manifest["splits"] = {"train": {"rows": CASES[case], "shards": shards}}
    manifest["columns"] = {"row": [], "features": [], "labels": []}
    sign(folder / case, manifest)
    export(folder / case, "webdataset", folder / f"{case}-tars")


def rows(numbers: np.random.Generator, case: str, first: int, count: int) -> pa.Table:
    """Noise that wanders, in dB, as log-mels do."""
    columns = {"row_id": pa.array([f"{row:020x}-0" for row in range(first, first + count)]), "mood": pa.array([TAGS[:2]] * count)}
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    if case == "logmel":
        wandering = numbers.standard_normal((count, 128, 128), np.float32).cumsum(1) * 2 - 60
        columns["logmel"] = flat(wandering.astype(np.float16), 128 * 128)
        fields.append(pa.field("logmel", columns["logmel"].type, metadata={"shape": "[128, 128]"}))
    columns["embedding"] = flat(numbers.standard_normal((count, 200), np.float32), 200)
    columns["mood_hot"] = flat((numbers.random((count, len(TAGS))) < 0.1).astype(np.float32), len(TAGS))
    fields += [
        pa.field(name, columns[name].type, metadata={"shape": f"[{columns[name].type.list_size}]"}) for name in ("embedding", "mood_hot")
    ]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def earmark(folder: Path, case: str, workers: int) -> Iterable[Any]:
    """This loader."""
    from torch.utils.data import DataLoader

    from pipelines.release.loader import Release

    loaded = Release(folder / case).torch("train", COLUMNS[case], batch_size=BATCH, shuffle=True, seed=1)
    return DataLoader(loaded, batch_size=None, num_workers=workers)


def _parquet(folder: Path, case: str, **options: Any) -> Any:
    import datasets

    datasets.disable_progress_bars()
    files = sorted(str(path) for path in (folder / case / "train").glob("*.parquet"))
    cache = str(folder / f"{case}-cache")
    return datasets.load_dataset("parquet", data_files=files, split="train", columns=COLUMNS[case], cache_dir=cache, **options)


def datasets_map(folder: Path, case: str, workers: int) -> Iterable[Any]:
    """Hugging Face's as its manual shows it: memory-mapped Arrow, rows by index, the loader's own shuffle and collate."""
    from torch.utils.data import DataLoader

    return DataLoader(_parquet(folder, case).with_format("torch"), batch_size=BATCH, shuffle=True, num_workers=workers)


def datasets_batches(folder: Path, case: str, workers: int) -> Iterable[Any]:
    """The same, asked for whole batches, as those who know it do."""
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    stored = _parquet(folder, case).with_format("torch")
    return DataLoader(stored, sampler=BatchSampler(RandomSampler(stored), BATCH, False), batch_size=None, num_workers=workers)


def datasets_stream(folder: Path, case: str, workers: int) -> Iterable[Any]:
    """Hugging Face's streaming over the same Parquet files."""
    from torch.utils.data import DataLoader

    stream = _parquet(folder, case, streaming=True).with_format("torch").shuffle(seed=1, buffer_size=WAITED)
    return DataLoader(stream, batch_size=BATCH, num_workers=workers)


def web_dataset(folder: Path, case: str, workers: int) -> Iterable[Any]:
    """WebDataset over the exported tars, batches made in the workers."""
    import torch
    import webdataset

    tars = sorted(str(path) for path in (folder / f"{case}-tars").glob("*.tar"))
    names = COLUMNS[case]
    stream = webdataset.WebDataset(tars, shardshuffle=len(tars), seed=1, empty_check=False).shuffle(WAITED)
    stream = stream.decode(only=[f"{name}.npy" for name in names]).to_tuple(*(f"{name}.npy" for name in names))
    stream = stream.map(lambda sample: dict(zip(names, sample, strict=True)))
    return webdataset.WebLoader(stream.batched(BATCH, collation_fn=torch.utils.data.default_collate), batch_size=None, num_workers=workers)


LOADERS: dict[str, Callable[[Path, str, int], Iterable[Any]]] = {
    "earmark": earmark,
    "datasets, rows by index": datasets_map,
    "datasets, batches by index": datasets_batches,
    "datasets, streaming": datasets_stream,
    "webdataset": web_dataset,
}


def epoch(folder: Path, case: str, name: str, workers: int) -> dict[str, float]:
    """One pass over the rows; the clocks start when the loader is asked for its first batch."""
    loader = LOADERS[name](folder, case, workers)
    began, used, count = time.perf_counter(), _cpu(), 0
    first = 0.0
    for batch in loader:
        first = first or time.perf_counter() - began
        count += len(batch["embedding"])
    wall = time.perf_counter() - began
    del loader
    if count != CASES[case]:
        raise RuntimeError(f"{name}: {count} rows of {CASES[case]}")
    return {"wall": count / wall, "cpu": count / (_cpu() - used), "first": first}


def _cpu() -> float:
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def race(folder: Path, case: str, workers: int, rounds: int) -> Iterator[str]:
    """All loaders in turns; lines of a table."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in LOADERS}
    for _ in range(rounds):
        for name, said in found.items():
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.loader",
                "--one",
                name,
                "--case",
                case,
                "--make",
                str(folder),
                "0",
                str(workers),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
            said.append(json.loads(done.stdout.splitlines()[-1]))
    yield f"{case}, {CASES[case]} rows, {workers} workers".ljust(46) + "  rows/s  rows/CPU s  first s  earmark / it: wall    CPU"
    best = {name: {key: max(each[key] for each in said) for key in ("wall", "cpu")} for name, said in found.items()}
    for name, each in best.items():
        ratio = {key: best["earmark"][key] / each[key] for key in each}
        first = min(one["first"] for one in found[name])
        yield f"  {name:44}{each['wall']:8.0f}{each['cpu']:12.0f}{first:9.2f}{ratio['wall']:20.2f}{ratio['cpu']:7.2f}"


def main() -> None:
    """Make what is missing, race, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    parser.add_argument("workers", nargs="?", type=int, default=2)
    parser.add_argument("--make", default="", metavar="FOLDER")
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--one", choices=LOADERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(epoch(Path(options.make), options.case, options.one, options.workers)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.make or temporary)
        for case in [options.case] if options.case else CASES:
            if not (folder / f"{case}-tars").exists():
                make(folder, case)
            for line in race(folder, case, options.workers, options.rounds):
                print(line, flush=True)


if __name__ == "__main__":
    main()
