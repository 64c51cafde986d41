"""Which recordings belong together: by what they share, directly or through others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.release.closure import Links, components, words
from pipelines.release.lineage import others
from pipelines.release.origins import sources
from pipelines.release.rows import rows, tracks
from pipelines.release.spec import load
from tests.releasing import AUGMENTED, catalogue, heard, spec, track


def names(*said: str | None) -> pa.Table:
    return pa.table({"artist": pa.array(said, pa.string())})


def linked(*said: str | None, ignored: tuple[str, ...] = ()) -> list[int]:
    table = names(*said)
    return components(len(table), [words(table, "artist", np.ones(len(table), bool), ignored)]).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_groups_are_those_that_joining_one_pair_after_another_gives(pairs: list[tuple[int, int]]) -> None:
    parent = list(range(12))

    def root(at: int) -> int:
        return at if parent[at] == at else root(parent[at])

    for one, other in pairs:
        parent[max(root(one), root(other))] = min(root(one), root(other))
    members = np.array([end for pair in pairs for end in pair], np.int64)
    keys = np.repeat(np.arange(len(pairs)), 2)
    assert components(12, [Links("fingerprint", members, keys)]).tolist() == [root(at) for at in range(12)]


def test_a_chain_over_two_relations_is_one_group() -> None:
    artist = Links("artist", np.array([0, 1]), np.array([5, 5]))
    album = Links("album", np.array([1, 2]), np.array([5, 5]))
    assert components(4, [artist, album]).tolist() == [0, 0, 0, 3]


def test_missing_and_unknown_artists_are_not_one_artist() -> None:
    assert linked(None, None, "", " ", "Unknown Artist", "Unknown Artist", "Various Artists", "various  artists") == list(range(8))


def test_an_artist_is_one_however_the_name_is_written() -> None:
    decomposed, composed, wide = "Cafe\u0301 Noir", "CAFÉ  noir", "ｃａｆé noir"
    assert linked(decomposed, "Mira", composed, wide) == [0, 1, 0, 0]


def test_names_that_people_ignore_link_nobody() -> None:
    assert linked("The House Band", "the house band", "Mira", "Mira", ignored=("The House Band",)) == [0, 1, 2, 2]


def test_recordings_that_are_not_asked_for_link_nobody() -> None:
    table = names("Mira", "Mira", "Bo")
    assert components(3, [words(table, "artist", np.array([True, False, True]), ())]).tolist() == [0, 1, 2]


def test_what_is_mixed_into_views_is_found_in_their_lineage(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": number} for number in range(4)])
    heard(
        store,
        range(4),
        AUGMENTED,
        lineages={
            (0, 0): [{"use": "Mix", "track_id": track(1), "uri": "/music/1.wav"}],
            (1, 0): [{"use": "AddBackground", "track_id": track(2), "uri": "/music/2.wav"}],
            (2, 0): [{"use": "AddBackground", "uri": "file:///noise/rain.wav"}],
            (2, 1): [{"use": "AddBackground", "uri": "/music/3.wav"}],
            (3, 0): [
                {
                    "use": "Remix",
                    "stems": [{"name": "bass", "uri": "/music/3/bass.wav"}, {"name": "voice", "uri": "x", "track_id": track(0)}],
                }
            ],
            (3, 1): [],
        },
    )
    asked = load(spec(tmp_path))
    table, wanted = tracks(store, asked)
    found = rows(store, sources(store, asked), table.column("track_id").combine_chunks(), wanted)
    mixed = others(found, table)
    guests = [
        (int(found.track[row]), int(guest), bool(joins)) for row, guest, joins in zip(mixed.row, mixed.track, mixed.joins, strict=True)
    ]
    assert sorted(guests) == [(0, 1, True), (1, 2, False), (2, 3, False), (3, 0, True)]
    assert [mixed.files[at] for at in mixed.file] == ["file:///noise/rain.wav"]
    assert mixed.changed.sum() == 5  # the last view had no steps: it is the clip untouched
    assert not mixed.unknown.any()


@pytest.mark.parametrize("column", ["artist", "album", "group"])
def test_links_are_named_as_they_were_written_first(column: str) -> None:
    links = words(pa.table({column: ["  Mira ", "MIRA", None]}), column, np.ones(3, bool), ())
    assert links.names == ["  Mira "]
    assert links.missing == 1
