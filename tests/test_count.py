"""Counting: by Arrow and by Beam what pandas finds in the rows themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from annotation.labels import Label, from_rows, table
from annotation.revisions import current
from pipelines.count import Counts, count
from pipelines.store import REJECTS, Store
from pipelines.tracks import TRACKS
from tests.collection import command, earmark

HOSTILE = ("a\nb", "<script>alert(1)</script>", "Ω\u202eevil", "", None, "a,b: 3 (1.00 h)", "🎻", "a" * 500, "Sad Trio", "sad trio")
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with all that makes counting hard: rows twice, in two parts and in one; corrections of corrections; no name, no length."""
    rng = np.random.default_rng(0)
    store = Store(tmp_path_factory.mktemp("counted"))
    tracks = []
    for number in range(300):
        seconds = [None, math.nan, math.inf][number] if number < 3 else float(rng.uniform(0, 500))
        named = {column: HOSTILE[rng.integers(len(HOSTILE))] for column in ("license", "artist")}
        tracks.append({"track_id": f"{number:020x}", "seconds": seconds, "format": ["flac", "mp3"][number % 2], **named})
    for part in range(10):  # the first tracks are in two parts, and were called differently then
        rows = tracks[30 * part : 30 * part + 30] + [{**track, "artist": "another"} for track in tracks[:part]]
        store.publish("tracks", f"part{part}", pa.Table.from_pylist(rows, schema=TRACKS))
    labels = [
        Label(
            ["tag", "text", "tag.mood"][number % 3],
            HOSTILE[rng.integers(len(HOSTILE))] or "",
            f"person {number}",
            ("person", "model", "gold", "consensus")[rng.integers(4)],
            tracks[number % 300]["track_id"],
        )
        for number in range(400)
    ]
    corrected = [replace(label, value="better", replaces=label.label_id, at=AT) for label in labels[:50]]
    again = [replace(label, value="best", replaces=label.label_id) for label in corrected[:20]]
    gone = [replace(label, kind="withdrawn", value="", replaces=label.label_id) for label in [*labels[50:80], *again[:5]]]
    more = [replace(label, kind=kind, value=value) for label in labels[80:90] for kind, value in (("skipped", ""), ("nothing", "voice"))]
    for part, rows in enumerate((labels[:200], [*gone[:10], *labels[150:]], [*again, *corrected], [*gone, *more], labels[:90])):
        store.publish("labels", f"part{part}", pa.concat_tables([table(rows), table(rows[:3])]))
    said = [
        {"uri": f"{uri!r}", "stage": stage, "error": error, "at": AT + timedelta(seconds=int(rng.integers(6)))}
        for uri in HOSTILE
        for stage in ("scan", "decode")
        for error in ("", "unreadable", "poison", "a\nb")
    ]
    for part in range(4):
        store.publish("rejects", f"part{part}", pa.Table.from_pylist(said[part::4] + said[part::7], schema=REJECTS))
    return store


def expected(store: Store) -> dict[tuple[str, ...], dict[str | None, tuple[int, int]]]:
    """All names of each group with their rows and microseconds, by pandas and by `current`, from the whole tables."""
    found: dict[tuple[str, ...], dict[str | None, tuple[int, int]]] = {}
    tracks: Any = store.table("tracks").to_pandas().drop_duplicates("track_id").astype({"artist": object, "license": object})
    tracks["sound"] = (tracks["seconds"].replace([math.inf, math.nan], 0.0) * 1e6).round().astype("int64")
    for column in ("format", "license", "artist"):
        names = tracks[column].where(tracks[column].notna(), "no name at all")
        sums = tracks.groupby(names, sort=False)["sound"].agg(["size", "sum"])
        found[column,] = {None if name == "no name at all" else name: (int(n), int(s)) for name, n, s in sums.itertuples()}
    frame = pd.DataFrame([(label.kind, label.author_kind, label.value) for label in current(from_rows(store.table("labels").to_table()))])
    for (kind, author_kind, value), rows in frame.value_counts().items():  # type: ignore[misc]
        found.setdefault(("label", kind, author_kind), {})[value] = (rows, 0)
    for row in store.open_rejects():
        group = found.setdefault(("reject", row["stage"]), {})
        group[row["error"]] = (group.get(row["error"], (0, 0))[0] + 1, 0)
    return found


def test_the_store_of_these_tests_is_as_hard_as_it_says(store: Store) -> None:
    found = expected(store)
    assert sum(rows for rows, _ in found["artist",].values()) == 300
    assert None in found["artist",]
    assert "" in found["artist",]
    assert ("label", "skipped", "person") in found
    assert not any(of[1] == "withdrawn" for of in found if of[0] == "label")
    # 400 said, 30 of them withdrawn, and of 20 corrections twice corrected 5; 10 skipped and 10 had nothing to say.
    assert sum(rows for of, names in found.items() if of[0] == "label" for rows, _ in names.values()) == 400 - 30 - 5 + 20
    assert sum(len(names) for of, names in found.items() if of[0] == "reject") > 2


def check(counts: Counts, store: Store, top: int) -> None:
    whole = expected(store)
    assert {tally.of for tally in counts.tallies} == set(whole)
    assert counts.shards == 10
    for tally in counts.tallies:
        names = whole[tally.of]
        ranked = sorted(names, key=lambda name: (-names[name][0], name is None, name or ""))
        assert tally.names == len(names)
        assert tally.rows == sum(rows for rows, _ in names.values())
        assert abs(tally.microseconds - sum(sound for _, sound in names.values())) == 0
        assert tally.most == tuple((name, *names[name]) for name in ranked[:top])


@pytest.mark.parametrize("at_once", [1_000_000, 100, 7])
@pytest.mark.parametrize("top", [3, 1000])
def test_counts_are_those_of_pandas_however_many_rows_are_held_at_once(store: Store, top: int, at_once: int) -> None:
    check(count(store, top, at_once), store, top)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [(), ("--direct_running_mode=multi_processing", "--direct_num_workers=2")], ids=["one process", "two processes"]
)
def test_beam_counts_what_pandas_counts_and_leaves_nothing_behind(
    store: Store, options: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    from pipelines.engines import beam_counts

    capfd.readouterr()
    check(beam_counts.count(store, 3, options), store, 3)
    assert capfd.readouterr().err == ""
    assert not list((Path(store.root) / ".beam").iterdir())


@pytest.mark.slow
def test_the_command_prints_the_same_by_both_engines_and_hostile_names_stay_on_their_line(store: Store) -> None:
    import subprocess

    facts = earmark("count", "--store", store.root)
    assert facts == earmark("count", "--store", store.root, "--engine", "beam", "--runner=DirectRunner")
    assert (facts["tracks"], facts["shards"], facts["format"]["names"]) == (300, 10, 2)
    assert facts["hours"] == pytest.approx(sum(each["hours"] for each in facts["format"]["most"]))
    shown = subprocess.run(command("count", "--store", store.root), capture_output=True, text=True, check=True).stdout
    assert len(shown.splitlines()) == 1 + len(expected(store))
    assert "\u202e" not in shown


@pytest.mark.slow
def test_an_empty_store_has_nothing_by_either_engine(tmp_path: Path) -> None:
    from pipelines.engines import beam_counts

    store = Store(tmp_path)
    assert count(store) == beam_counts.count(store) == Counts(0, ())
    assert earmark("count", "--store", tmp_path)["tracks"] == 0


def test_tables_without_rows_have_nothing_to_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.publish("tracks", "none", TRACKS.empty_table())
    store.publish("labels", "none", table([]))
    store.publish("rejects", "none", REJECTS.empty_table())
    assert count(store) == Counts(1, ())


@pytest.mark.slow
def test_a_pipeline_that_cannot_start_is_one_line(store: Store) -> None:
    from pipelines.engines import beam_counts
    from pipelines.part import StoreError

    with pytest.raises(StoreError, match=r"the Beam pipeline that counts failed: .*NoSuchRunner") as raised:
        beam_counts.count(store, 3, ["--runner=NoSuchRunner"])
    assert "\n" not in str(raised.value)
