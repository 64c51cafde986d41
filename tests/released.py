"""A small release, written out by hand as the format says: what loaders and exports are tested on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from annotation.labels import Label, table
from pipelines.release.manifest import sealed

SPLITS = {"train": (37, 23), "valid": (12,), "test": (0,)}  # rows of each shard
TAGS = ["calm", "wild <b>", "été"]
MEL, EMBEDDING = (6, 4), 5
LONG = "é" * 140  # 280 bytes: too long for a file's name

ROW_GROUP = 8


def mel(number: int) -> np.ndarray:
    """The mel of a row."""
    return (number + np.arange(24).reshape(MEL) / 32).astype(np.float16)


def tags(number: int) -> list[str] | None:
    """The tags of a row: nobody said, none, or some."""
    return (None, [], TAGS[:1], TAGS[1:])[number % 4]


def rows(first: int, count: int) -> pa.Table:
    """Rows by number, with a column of each sort that a release has."""
    numbers = range(first, first + count)
    hot = [[np.nan] * 3 if tags(row) is None else [float(tag in tags(row)) for tag in TAGS] for row in numbers]
    region = pa.struct([("kind", pa.string()), ("value", pa.string()), ("start", pa.float64()), ("duration", pa.float64())])
    regions = [None if row % 3 == 0 else [{"kind": "section", "value": "A", "start": 0.5, "duration": 1.0}] for row in numbers]
    columns = {
        "row_id": (pa.array([f"{row:020x}-0" for row in numbers], pa.string()), {}),
        "clip_id": (pa.array([f"{row:020x}" for row in numbers], pa.string()), {}),
        "view": (pa.array([0] * count, pa.int32()), {}),
        "view_id": (pa.array([None] * count, pa.string()), {}),
        "track_id": (pa.array([f"track{row % 5}" for row in numbers], pa.string()), {}),
        "seconds": (pa.array([3.0] * count, pa.float64()), {}),
        "mel": (flat(np.array([mel(row) for row in numbers], np.float16), 24), {"shape": MEL, "dims": ["time", "mel"]}),
        "embedding": (flat(np.array([[row] * EMBEDDING for row in numbers], np.float32), EMBEDDING), {"shape": [EMBEDDING]}),
        "mood": (pa.array([tags(row) for row in numbers], pa.list_(pa.string())), {}),
        "mood_hot": (flat(np.array(hot, np.float32), len(TAGS)), {"shape": [len(TAGS)], "labels": TAGS}),
        "section": (pa.array(regions, pa.list_(region)), {}),
    }
    fields = [
        pa.field(name, array.type, metadata={key: json.dumps(value) for key, value in said.items()} or None)
        for name, (array, said) in columns.items()
    ]
    return pa.table([array for array, _ in columns.values()], schema=pa.schema(fields, {"earmark": "{}"}))


def flat(values: np.ndarray, size: int) -> pa.Array:
    """Arrays as a store keeps them."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size)


def released(folder: Path, change: Callable[[pa.Table], pa.Table] = lambda rows: rows, uris: Mapping[str, str] | None = None) -> Path:
    """Write the release.

    Args:
        change: to the rows of each shard. uris: of tracks, where they are not `TRACK.wav`.
    """
    first, described = 0, {}
    for split, sizes in SPLITS.items():
        (folder / split).mkdir(parents=True)
        shards = []
        for number, count in enumerate(sizes):
            shards.append(f"{split}/part-{number:05}.parquet")
            schemes = {"mel.list.element": "NONE", "embedding.list.element": "NONE"}
            pq.write_table(
                change(rows(first, count)), folder / shards[-1], row_group_size=ROW_GROUP, compression=schemes, use_dictionary=False
            )
            first += count
        described[split] = {"rows": sum(sizes), "shards": shards}
    tracks = {f"track{number}": f"/music/track{number}.wav" for number in range(5)} | dict(uris or {})
    known = {"track_id": list(tracks), "uri": list(tracks.values()), "seconds": [30.0] * 5, "split": ["train"] * 4 + ["valid"]}
    pq.write_table(pa.table(known), folder / "tracks.parquet")
    labels = [Label("tag.mood", "calm", "ada", "person", f"track{number}") for number in range(5)]
    labels += [
        Label("tag.mood", "wild <b>", "ada", "person", "track0", clip_id=f"{0:020x}"),
        Label("section", "A", "ada", "person", "track0", clip_id=f"{0:020x}", start=0.5, duration=1.0),
    ]
    pq.write_table(table(labels), folder / "labels.parquet")
    configs = "".join(f"  - split: {split}\n    path: {split}/*.parquet\n" for split in SPLITS if sum(SPLITS[split]))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{configs}---\n# Moods\n")
    (folder / "ATTRIBUTION.tsv").write_text("track_id\ttitle\n")
    manifest = {
        "format": 1,
        "name": "moods",
        "version": "v1",
        "digest": "ab" * 32,
        "splits": described,
        "columns": {
            "row": [],
            "features": [],
            "labels": [{"name": "mood", "hot": "mood_hot", "kind": "tag.mood", "as": "tags", "tags": TAGS}],
        },
    }
    sign(folder, manifest)
    return folder


def sign(folder: Path, manifest: dict) -> None:
    """Write the manifest of what is in the folder now."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            content = path.read_bytes()
            files[path.relative_to(folder).as_posix()] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_bytes(sealed({**manifest, "files": files}))
