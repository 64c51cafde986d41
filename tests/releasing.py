"""A store without sound, for the tests of releases: a catalogue, embeddings and labels, as scan, run and people would have left them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotation.labels import Label
from augment.chain import view_id
from extractors.clip import clip_id
from pipelines.gather import add
from pipelines.recipe import Recipe, load
from pipelines.rows import KEYS, VIEWS, footed
from pipelines.store import Store
from pipelines.tracks import TRACKS

SECONDS = 10.0
RATE = 1000
PLAIN = json.dumps({"sample_rate": RATE, "samples": int(SECONDS * RATE), "steps": []}, separators=(",", ":"))
RECIPE = '[window]\nseconds = 10.0\n[[extract]]\nuse = "LogMel"\n'
AUGMENTED = RECIPE.replace("[[extract]]", '[views]\ncount = 2\n[labels]\non_refused = "drop"\n[[augment]]\nuse = "Gain"\n[[extract]]')


def track(number: int) -> str:
    """A track's name."""
    return f"{number:020x}"


def clip(number: int, at: int = 0) -> str:
    """A clip's name."""
    return clip_id(track(number), at * SECONDS, SECONDS)


def catalogue(folder: Path, rows: Sequence[dict[str, Any]], part: str = "shard") -> Store:
    """A store with these recordings of two clips each; what a row does not say is made up, and different for each."""
    store = Store(folder / "store")
    found = []
    for row in rows:
        number = row["number"]
        made = {"track_id": track(number), "uri": f"/music/{number}.wav", "seconds": 2 * SECONDS, "sha256": f"{number:064x}"}
        made |= {"artist": f"artist {number}", "album": None, "title": f"song {number}", "license": "CC BY 4.0", "group": None}
        found.append({"bytes": 1, "format": "wav", "sample_rate": RATE, "channels": 1, "license_source": "manifest"} | made | row)
    columns = {field.name: pa.array([each.get(field.name) for each in found], field.type) for field in TRACKS}
    store.publish("tracks", part, pa.table(columns, schema=TRACKS))
    return store


def heard(
    store: Store,
    numbers: Sequence[int],
    recipe: str = RECIPE,
    table: str = "emb",
    part: str = "shard",
    lineages: dict[tuple[int, int], list[dict[str, Any]]] | None = None,
    without: Sequence[tuple[int, int]] = (),
    seed: int = 0,
    clips: int = 2,
) -> Recipe:
    """Give recordings clips and embeddings of four numbers.

    Args:
        lineages: by number and clip, the steps of its view 1. without: (number, clip) that the table has no row of.
    """
    file = Path(store.base) / "recipe.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(recipe)
    found = load(file)
    variant = found.variants()["views"]
    rows, lines = [], []
    for number in numbers:
        for at in range(clips):
            rows.append((number, at, 0))
            lines.append(PLAIN)
            if (steps := (lineages or {}).get((number, at))) is not None:
                rows.append((number, at, 1))
                done = [{**step, "samples": int(SECONDS * RATE)} for step in steps]
                lines.append(json.dumps({"sample_rate": RATE, "samples": int(SECONDS * RATE), "steps": done}, separators=(",", ":")))
    names = [clip(number, at) for number, at, _ in rows]
    keys = {
        "clip_id": names,
        "view": pa.array([view for *_, view in rows], pa.int32()),
        "track_id": [track(number) for number, *_ in rows],
        "start": [at * SECONDS for _, at, _ in rows],
        "seconds": [SECONDS] * len(rows),
    }
    views = keys | {"view_id": [view_id(name, line) for name, line in zip(names, lines, strict=True)]}
    views |= {"peak": pa.array([0.5] * len(rows), pa.float32()), "lineage": lines}
    store.publish("views", part, pa.table(views, schema=footed(found, "views", variant).with_metadata(_footer(found))), variant)
    assert VIEWS.names == list(views)
    vectors = np.random.default_rng([seed, numbers[0]]).normal(size=(len(rows), 4)).astype(np.float32)
    kept = [at for at, (number, at_clip, _) in enumerate(rows) if (number, at_clip) not in without]
    field = pa.field("mean", pa.list_(pa.float32(), 4), metadata={"shape": "[4]"})
    cells = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 4)
    embedded = pa.table({**keys, "mean": cells}, schema=pa.schema([*KEYS, field], metadata=_footer(found)))
    store.publish(table, part, embedded.take(kept), f"{variant[:8]}-{table}")
    store.remember(found.model_dump(mode="json"), {table: f"{variant[:8]}-{table}", "views": variant})
    return found


def _footer(recipe: Recipe) -> dict[str, str]:
    return {"earmark": json.dumps({"recipe": recipe.name, "window": recipe.window.model_dump(mode="json")})}


def tagged(store: Store, tags: dict[int, Sequence[str]], kind: str = "tag", author_kind: str = "consensus", **more: Any) -> None:
    """Give both clips of each recording these tags; () is an answer too, to the question named as the kind."""
    labels = []
    for number, values in tags.items():
        for at in range(2):
            where = {"clip_id": clip(number, at), "track_id": track(number)}
            said = [(kind, value) for value in values] or [("nothing", kind)]
            labels += [Label(each, value, "consensus:majority", author_kind, **where, **more) for each, value in said]  # type: ignore[arg-type]
    add(store, labels)


def collection(folder: Path, count: int = 40, artists: int = 20, tags: Sequence[str] = ("calm", "wild"), **row: Any) -> Store:
    """Recordings by so many artists, each with two clips, an embedding and a tag."""
    store = catalogue(folder, [{"number": number, "artist": f"artist {number % artists}", **row} for number in range(count)])
    heard(store, range(count))
    tagged(store, {number: [tags[number // 2 % len(tags)]] for number in range(count)})
    return store


def spec(folder: Path, text: str = "", **tables: str) -> Path:
    """A release's file: embeddings and tags, unless `text` says otherwise."""
    file = folder / "release.toml"
    file.write_text(text or 'name = "set"\nfeatures = ["emb.mean"]\n' + "".join(f"[{k}]\n{v}\n" for k, v in tables.items()) + LABELS)
    return file


LABELS = '[[labels]]\nkind = "tag"\nquestion = "tag"\n'
