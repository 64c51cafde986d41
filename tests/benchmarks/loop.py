"""The loop on a whole collection, with people who do not exist: `EARMARK_CORPUS=… python -m tests.benchmarks.loop [FOLDER] [error]`.

How often the consensus is right, beside one annotator and a majority; and what a head learns from each, at pitches that it never heard,
beside what it learns from known labels. FOLDER keeps what was heard, for another time.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.process import single_threaded

EMBEDDINGS = ("musicnn", "max_pool_mean")
RECIPE = '[window]\nseconds = 3.0\n[[extract]]\nuse = "MusiCNN"\noutputs = ["max_pool"]\n'
CAMPAIGN = """
name = "simulated"
title = "What plays?"
[[questions]]
name = "instrument"
kind = "instrument"
text = "What plays?"
choices = {choices}
[clips]
seconds = 3.0
[overlap]
annotators = 3
"""
PEOPLE, OVERLAP, HELD_OUT = 5, 3, 0.25


def main(folder: Path, corpus: Path, error: float = 0.15, seed: int = 0) -> list[dict[str, Any]]:
    """A row for each source of labels: share of clips that are right, and the macro-F1 of a head that learnt from them."""
    from annotation.labels import from_rows
    from annotation.revisions import standing
    from annotation.simulated import Annotator, simulate, spoken
    from pipelines.campaigns.desk import open_desk
    from pipelines.embeddings import embeddings
    from pipelines.gather import add
    from pipelines.store import Store
    from pipelines.votes.consensus import agree

    store = Store(str(folder / "store"))
    heard(folder, corpus)
    clips = embeddings(store, *EMBEDDINGS)
    rows = {row["track_id"]: row for row in store.read("tracks", ["track_id", "uri", "group"]).to_pylist()}  # type: ignore[union-attr]
    played = [Path(rows[track]["uri"]).relative_to(corpus).parts[0] for track in clips.tracks]
    tags = sorted(set(played))
    truth = np.array([tags.index(each) for each in played])
    pitch, groups = np.unique([rows[track]["group"] for track in clips.tracks], return_inverse=True)
    unseen = np.random.default_rng(seed).permutation(len(pitch))[: round(HELD_OUT * len(pitch))]
    test = np.isin(groups, unseen)
    (folder / "campaign.toml").write_text(CAMPAIGN.format(choices=json.dumps(tags)))
    desk = open_desk(folder / "campaign.toml", store)
    votes = simulate(
        truth, [Annotator(error=error)] * PEOPLE, OVERLAP, seed, tags, clips.clips, clips.tracks, question="instrument", kind="instrument"
    )
    add(store, spoken(votes, "simulated"))
    first = np.zeros(len(truth), np.int64)
    first[votes.clip[votes.answer][::-1]] = votes.value[::-1]  # the first answer of each clip stands
    said = {"gold": truth, "one annotator": first}
    for method in ("majority", "dawid-skene"):
        agree(desk, method)  # type: ignore[arg-type]
        labels = from_rows(standing(store.table("labels").to_table()))
        agreed = {label.clip_id: label.value for label in labels if label.author == f"consensus:{method}"}
        said[method] = np.array([tags.index(agreed[clip]) if clip in agreed else -1 for clip in clips.clips])
    return [
        {
            "labels": name,
            "clips": int((~test).sum()),
            "right": round(float((values == truth).mean()), 4),
            "unknown": int((values < 0).sum()),
            "macro_f1": round(learnt(clips.vectors, values, truth, tags, groups, test), 4),
        }
        for name, values in said.items()
    ]


def learnt(
    vectors: NDArray[np.float32], said: NDArray[np.int64], truth: NDArray[np.int64], tags: list[str], groups: Any, test: NDArray[np.bool_]
) -> float:
    """The macro-F1, by the truth, at pitches that are held out, of a head that learns from what is said at the others."""
    from pipelines.heads.figures import judged
    from pipelines.heads.train import train

    def table(values: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.where(values[:, None] < 0, np.nan, values[:, None] == np.arange(len(tags))).astype(np.float32)

    taught = ~test & (said >= 0)
    head = train(vectors[taught], table(said)[taught], tags, groups[taught], "linear", True, 3, draw=2).head
    columns = [tags.index(tag) for tag in head.tags]
    known = test & np.isin(truth, columns)
    found = judged(head, vectors[known], table(truth)[known][:, columns], groups[known], draw=2)
    return float(found["classes"]["macro_f1"])


def heard(folder: Path, corpus: Path) -> None:
    """Every recording, identified and heard; its pitch is its group."""
    from pipelines.cli import main as earmark

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([("uri", "group"), *((str(path), group(path)) for path in sorted(corpus.rglob("*.mp3")))])
    (folder / "recipe.toml").write_text(RECIPE)
    for command in (["scan", str(folder / "manifest.csv")], ["run", str(folder / "recipe.toml"), "--engine", "local"]):
        if earmark([*command, "--store", str(folder / "store")]):
            raise SystemExit(f"earmark {command[0]} failed")


def group(path: Path) -> str:
    """The pitch that a file's name says; of percussion, the instrument."""
    name, pitch, *_ = path.stem.split("_")
    return pitch or name


def told(rows: Iterable[dict[str, Any]]) -> str:
    """A table."""
    lines = [f"{'labels from':14} {'right':>7} {'unknown':>8} {'macro-F1 at unseen pitches':>27}"]
    return "\n".join([*lines, *(f"{row['labels']:14} {row['right']:7.1%} {row['unknown']:8} {row['macro_f1']:27.3f}" for row in rows)])


if __name__ == "__main__":
    single_threaded()
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="earmark-loop-"))
    print(told(main(place, Path(os.environ["EARMARK_CORPUS"]) / "philharmonia", *map(float, sys.argv[2:]))))
