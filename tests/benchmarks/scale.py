"""What a large store costs: `python -m tests.benchmarks.scale catalogue | local | ray | bucket [FOLDER]`, each a table.

The rows are synthetic and made as parts at once. Each step runs in a process of its own: its CPU seconds and its peak of memory are
its own, and on a machine that is shared they say more than the clock. "By a further row" is the difference to the line above, so that
what starting takes, which is in both, cancels.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.benchmarks.measure import ROOT

SIZES = (100_000, 300_000, 1_000_000)
CLIPS = (1_000, 10_000, 50_000, 100_000)
PER_SHARD = 50  # clips in a shard
SECONDS = 0.1
BUCKET = "s3://bucket/music"


def tracks(numbers: np.ndarray[Any, Any], uri: Callable[[int], str], seconds: float, size: int) -> pa.Table:
    """Rows of the catalogue: 26 digits of an id, 10,000 artists, four licences."""
    from pipelines.tracks import TRACKS

    names = numbers.tolist()
    count = len(names)
    columns = {
        "track_id": [f"{number:020x}" for number in names],
        "uri": [uri(number) for number in names],
        "bytes": [size] * count,
        "sha256": [f"{number:064x}" for number in names],
        "format": [("flac", "mp3", "wav")[number % 3] for number in names],
        "seconds": [seconds] * count,
        "sample_rate": [16_000] * count,
        "channels": [1] * count,
        "title": [f"A piece of music, number {number}" for number in names],
        "artist": [f"artist {number * 7919 % 10_000}" for number in names],
        "album": [f"album {number // 12}" for number in names],
        "license": [("CC-BY-4.0", "CC0-1.0", "CC-BY-SA-4.0", None)[number % 4] for number in names],
        "license_source": ["tag"] * count,
        "group": [None] * count,
        "modified": [1.7e9] * count,
        "scanned_at": [datetime(2026, 1, 1, tzinfo=UTC)] * count,
    }
    return pa.table(columns, schema=TRACKS)


def remote(number: int) -> str:
    """Where a track of the million lies: 1,000 folders."""
    return f"{BUCKET}/{number // 1000:06}/piece {number:09}.flac"


def catalogue(folder: Path, count: int) -> None:
    """A store of so many tracks in 1,000 shards, as many labels (one in twenty corrects another), a tenth as many rejects."""
    from annotation.labels import schema
    from pipelines.store import REJECTS, Store
    from tests.benchmarks.driver import RECIPE

    store = Store(folder)
    shards = np.array_split(np.arange(count), 1000)
    variants = RECIPE.variants()
    for table, variant in variants.items():
        (folder / table / variant).mkdir(parents=True)
    for shard, numbers in enumerate(shards):
        store.publish("tracks", f"{shard:016x}", tracks(numbers, remote, 240.0, 9_600_000))
        for table, variant in variants.items():
            if shard:
                (folder / table / variant / f"{shard:016x}.parquet").touch()
    for part, numbers in enumerate(np.array_split(np.arange(count), 100)):
        names = numbers.tolist()
        labels = {
            "label_id": [hashlib.sha256(str(number).encode()).hexdigest()[:20] for number in names],
            "track_id": [f"{number:020x}" for number in names],
            "kind": [("tag", "key", "tempo")[number % 3] for number in names],
            "value": [f"value {number % 50}" for number in names],
            "author": ["somebody"] * len(names),
            "author_kind": [("person", "model")[number % 2] for number in names],
            "replaces": [hashlib.sha256(str(number - 1).encode()).hexdigest()[:20] if number % 20 == 1 else None for number in names],
        }
        nothing = {field.name: pa.nulls(len(names), field.type) for field in schema() if field.name not in labels}
        store.publish("labels", f"{part:016x}", pa.table(labels | nothing, schema=schema()))
    for part, numbers in enumerate(np.array_split(np.arange(0, count, 10), 100)):
        at = datetime(2026, 1, 1, tzinfo=UTC)
        rows = [
            {
                "uri": remote(number),
                "stage": "decode",
                "track_id": f"{number:020x}",
                "error": ("unreadable", "")[number % 20 == 0],
                "at": at,
            }
            for number in numbers.tolist()
        ]
        store.publish("rejects", f"{part:016x}", pa.Table.from_pylist(rows, schema=REJECTS))


def of_catalogue(step: str, folder: str) -> int:
    """One step on a large catalogue; the number says that it did something."""
    from pipelines.count import count
    from pipelines.ledger import Ledger
    from pipelines.plan import missing
    from pipelines.store import Store
    from tests.benchmarks.driver import RECIPE

    store = Store(folder)
    if step == "start":
        return 0
    if step == "resume":
        return len(missing(store, RECIPE))
    if step == "listing":
        return sum(len(store.names(table, variant)) for table, variants in store.tables().items() for variant in variants)
    if step == "count":
        return int(count(store).facts()["tracks"])
    if step == "known":
        ledger = Ledger()
        ledger.recall(store)
        return sum(1 for _ in ledger.missed())
    if step == "rejects":
        return len(store.open_rejects())
    raise ValueError(step)


STEPS = ("start", "resume", "listing", "count", "known", "rejects", "scan", "scan again")


def scanned(step: str, folder: str, count: int) -> int:
    """A scan of a bucket whose files are not read: what the listing, the catalogue and its shards take."""
    import fsspec

    from extractors.audio import AudioInfo
    from pipelines import catalog
    from pipelines.entries import Entry
    from pipelines.identify import Identity
    from pipelines.manifest import Words
    from pipelines.store import Store
    from tests.benchmarks.bucket import Bucket

    def simulated(entry: Entry, held: object = None) -> Identity:
        digest = hashlib.sha256(entry.uri.encode()).hexdigest()
        info = AudioInfo(format="flac", seconds=240.0, sample_rate=44_100, channels=2)  # type: ignore[call-arg]
        return Identity(entry.bytes or 0, digest, entry.modified, info, Words(artist="somebody"), None)

    Bucket.objects = count
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    catalog.identify = simulated  # type: ignore[attr-defined]
    report = catalog.scan(Store(f"{folder}/scanned"), ["bucket://bucket/music/"], 1000 * 240 / 3600, workers=2)
    return report.new if step == "scan" else report.known


def measured(*arguments: object) -> dict[str, float]:
    """What a step of this file says of itself, run in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.scale", "step", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def step(kind: str, *arguments: str) -> dict[str, float]:
    """Run a step here; CPU seconds are of this process, from after its imports, and `workers` of those that it started."""
    work: dict[str, Callable[..., int]] = {
        "catalogue": of_catalogue,
        "run": heard,
        "listed": listed,
        "scan": lambda name, folder, count: scanned(name, folder, int(count)),
    }
    began, used = time.perf_counter(), time.process_time()
    said = work[kind](*arguments)
    cpu = time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"said": said, "wall": time.perf_counter() - began, "cpu": cpu, "peak": peak, "workers": _of_workers}


def show_catalogue(folder: Path) -> None:
    """Each step at each size."""
    print(f"{'step':12} {'rows':>10} {'wall s':>8} {'CPU s':>8} {'µs/row':>8} {'peak MB':>8}   by a further row")
    for count in SIZES:
        catalogue(folder / str(count), count)
    for name in STEPS:
        before: tuple[int, dict[str, float]] | None = None
        for count in SIZES:
            store = folder / str(count)
            found = measured("scan", name, store, count) if name.startswith("scan") else measured("catalogue", name, store)
            each = f"{found['wall']:8.2f} {found['cpu']:8.2f} {1e6 * found['cpu'] / count:8.2f} {found['peak'] / 1e6:8.0f}"
            line = f"{name:12} {count:10,} {each}"
            if before is not None:
                more = count - before[0]
                further = {key: (found[key] - before[1][key]) / more for key in ("cpu", "peak")}
                line += f"   {1e6 * further['cpu']:6.2f} µs {further['peak']:6.0f} B"
            print(f"{line}  ({found['said']:,})", flush=True)
            before = count, found


def tiny(folder: Path, count: int) -> None:
    """A store whose tracks are clips of 0.1 s, all of one file."""
    import soundfile

    from pipelines.store import Store

    folder.mkdir(parents=True)
    sound = np.random.default_rng(0).normal(0, 0.1, round(16_000 * SECONDS))
    soundfile.write(folder / "clip.wav", sound, 16_000)
    store, size = Store(folder / "store"), (folder / "clip.wav").stat().st_size
    for shard, numbers in enumerate(np.array_split(np.arange(count), max(1, count // PER_SHARD))):
        store.publish("tracks", f"{shard:016x}", tracks(numbers, lambda _: str(folder / "clip.wav"), SECONDS, size))


_of_workers = 0.0


def heard(engine: str, folder: str) -> int:
    """A run over tiny clips; the process is the driver's, and with the local engine the workers' too."""
    import psutil

    from extractors import LogMel
    from extractors.clip import Window
    from pipelines.engines.engine import Engine
    from pipelines.recipe import Recipe
    from pipelines.run import run
    from pipelines.store import Store

    recipe = Recipe(window=Window(seconds=SECONDS), extract=(LogMel(sample_rate=16_000, n_fft=512, hop_length=256, n_mels=40),))
    store = Store(f"{folder}/store")
    made: Engine
    if engine == "ray":
        from pipelines.engines.ray_cluster import RayCluster

        made = RayCluster(workers=2, device="cpu")
    else:
        from pipelines.engines.local import Local

        made = Local(store.root, 2, "cpu")
    close = made.close

    def closing() -> None:
        global _of_workers
        for each in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                _of_workers += sum(each.cpu_times()[:2])
        close()

    made.close = closing  # type: ignore[method-assign]
    return run(store, recipe, made).clips


def show_clips(folder: Path, engine: str) -> None:
    """Runs over more and more clips."""
    title = f"{'engine':8} {'clips':>8} {'wall s':>8} {'CPU s: driver':>14} {'workers':>8} {'peak MB':>8}"
    print(f"{title}   by a further clip: wall, driver, all")
    before: tuple[int, dict[str, float]] | None = None
    for count in CLIPS:
        tiny(folder / f"{engine}{count}", count)
        found = measured("run", engine, folder / f"{engine}{count}")
        assert found["said"] == count
        line = f"{engine:8} {count:8,} {found['wall']:8.1f} {found['cpu']:14.2f} {found['workers']:8.1f} {found['peak'] / 1e6:8.0f}"
        if before is not None:
            more = count - before[0]
            wall, cpu, workers = (1e3 * (found[key] - before[1][key]) / more for key in ("wall", "cpu", "workers"))
            line += f"   {wall:.3f} ms, {cpu:.3f} ms, {cpu + workers:.3f} ms"
        print(line, flush=True)
        before = count, found


def listed(way: str, count: str) -> int:
    """List a bucket, and keep nothing: by fsspec's `find`, as one answer, or as it is asked for."""
    import fsspec

    from extractors.remote import listing
    from tests.benchmarks.bucket import Bucket

    Bucket.objects = int(count)
    if way == "find":
        return len(Bucket().find("bucket/music", detail=True))
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    return sum(1 for _ in listing("bucket://bucket/music/")) if way == "listing" else 0


def show_bucket() -> None:
    """What listing objects takes of a machine; the filesystem is simulated."""
    print(f"{'way':8} {'objects':>10} {'CPU s':>8} {'CPU µs/object':>14} {'peak MB':>8}")
    for way in ("start", "find", "listing"):
        for count in SIZES:
            found = measured("listed", way, count)
            each = f"{found['cpu']:8.2f} {1e6 * found['cpu'] / count:14.2f} {found['peak'] / 1e6:8.0f}"
            print(f"{way:8} {count:10,} {each}", flush=True)


def main(what: str, *more: str) -> None:
    """One table, or one step."""
    if what == "step":
        print(json.dumps(step(*more)))
        return
    with tempfile.TemporaryDirectory(prefix="earmark-scale-") as made:
        folder = Path(more[0]) if more else Path(made)
        if what == "catalogue":
            show_catalogue(folder)
        elif what in ("local", "ray"):
            show_clips(folder, what)
        elif what == "bucket":
            show_bucket()
        else:
            sys.exit("python -m tests.benchmarks.scale catalogue | local | ray | bucket [FOLDER]")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["?"]))
