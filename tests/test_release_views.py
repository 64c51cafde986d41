"""Views in releases, and the terms of all that sounds in a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from annotation.labels import Label
from pipelines.cli import main
from pipelines.gather import add
from pipelines.store import Store
from tests.making import HEAD, made, reasons, rows, split_of
from tests.releasing import AUGMENTED, LABELS, catalogue, clip, collection, heard, spec, tagged, track

# Views


def augmented(folder: Path, steps: dict[tuple[int, int], list[dict[str, Any]]], count: int = 30, **row: Any) -> Store:
    """Recordings of whose clips some have a view 1."""
    store = catalogue(folder, [{"number": number, **row} for number in range(count)])
    heard(store, range(count), AUGMENTED, lineages=steps)
    tagged(store, {number: ["calm"] if number % 2 else ["wild"] for number in range(count)})
    return store


GAIN = {"use": "Gain", "gain_db": -3.0}


def mixed(number: int) -> dict[str, Any]:
    """A step that mixes a recording in."""
    return {"use": "Mix", "track_id": track(number), "uri": f"/music/{number}.wav", "start": 0.0, "seconds": 10.0, "snr_db": 0.0}


def test_views_are_in_train_alone_with_their_own_labels(tmp_path: Path) -> None:
    augmented(tmp_path, {(number, at): [GAIN] for number in range(30) for at in range(2)})
    done = made(tmp_path)
    for split, said in done.manifest["splits"].items():
        table = rows(done, split)
        assert set(table["view"].to_pylist()) == ({0, 1} if split == "train" else {0})
        assert said["rows"] == len(table)
    views = [row for row in rows(done).to_pylist() if row["view"] == 1]
    assert all(row["tag"] == ["calm" if int(row["track_id"], 16) % 2 else "wild"] for row in views)
    everywhere = made(tmp_path, HEAD + '[rows]\nviews = "all"\n' + LABELS)
    assert set(rows(everywhere, "test")["view"].to_pylist()) == {0, 1}
    nowhere = made(tmp_path, HEAD + '[rows]\nviews = "none"\n' + LABELS)
    assert set(rows(nowhere)["view"].to_pylist()) == {0}


def test_a_view_that_mixes_in_another_split_s_recording_is_left_out_or_joins_the_groups(tmp_path: Path) -> None:
    steps = {(number, 0): [mixed((number + 1) % 30)] for number in range(30)}
    augmented(tmp_path, steps)
    done = made(tmp_path)
    split = split_of(done)
    for row in rows(done).to_pylist():
        if row["view"]:
            assert split[track((int(row["track_id"], 16) + 1) % 30)] == row["split"] == "train"
    left_out = sum(split[track(number)] == "train" != split[track((number + 1) % 30)] for number in range(30))
    assert left_out > 0
    told = [each for each in done.proof["excluded"] if each["what"] == "lineage"]
    assert sum(each["entries"] for each in told) >= left_out
    joined = made(tmp_path, HEAD + '[split]\nclose = ["lineage"]\n' + LABELS)
    assert joined.proof["groups"] == 1
    assert "lineage" in joined.proof["too_large"][0]["by"]


def test_a_mixture_has_the_guest_s_tags_and_does_not_lack_what_the_guest_may_have(tmp_path: Path) -> None:
    store = augmented(tmp_path, {(0, 0): [mixed(1)], (2, 0): [mixed(29)], (4, 0): [GAIN]}, artist="one")
    with_nobody = catalogue(tmp_path, [{"number": 40, "artist": "one"}, {"number": 41, "artist": "one"}], "more")
    heard(with_nobody, [40, 41], AUGMENTED, part="more", lineages={(40, 0): [mixed(41)]})
    tagged(store, {40: ["wild"]})
    found = {(row["clip_id"], row["view"]): row["tag_hot"] for row in rows(made(tmp_path)).to_pylist()}
    assert found[clip(0), 0] == [0, 1]
    assert found[clip(0), 1][0] == 1  # calm came with the guest
    assert found[clip(0), 1][1] == 1
    np.testing.assert_array_equal(found[clip(4), 1], [0, 1])
    np.testing.assert_array_equal(found[clip(40), 1], [np.nan, 1])  # nobody spoke of the guest


def test_a_view_carries_the_terms_of_all_that_sounds_in_it(tmp_path: Path) -> None:
    licences = {0: "CC BY-SA 3.0", 1: "CC BY-NC-SA 3.0", 2: "CC0", 3: "CC BY-ND 4.0", 4: "CC BY 4.0"}
    store = catalogue(tmp_path, [{"number": number, "artist": "one", "license": text} for number, text in licences.items()])
    heard(
        store,
        range(5),
        AUGMENTED,
        lineages={
            (0, 0): [mixed(1)],
            (0, 1): [mixed(4)],
            (1, 0): [mixed(4)],
            (3, 0): [GAIN],
            (4, 0): [{"use": "AddBackground", "uri": "file:///noise/rain.wav", "start": 0.0, "seconds": 1.0, "snr_db": 3.0}],
            (4, 1): [{"use": "AddBackground", "uri": "file:///birds/lark.wav", "start": 0.0, "seconds": 1.0, "snr_db": 3.0}],
        },
    )
    done = made(tmp_path, HEAD + '[licences]\nstated = { "/noise/*" = "CC BY-NC 4.0" }\n')
    found = {(int(row["track_id"], 16), row["start"] > 0, row["view"]): row for row in rows(done).to_pylist()}
    assert (0, False, 1) not in found
    assert found[0, True, 1]["license"] == "CC-BY-SA-3.0"
    assert found[0, True, 1]["license_sources"] == ["CC-BY-4.0", "CC-BY-SA-3.0"]
    assert found[1, False, 1]["license"] == "CC-BY-NC-SA-3.0"
    assert (3, False, 0) in found
    assert (3, False, 1) not in found
    assert found[4, False, 1]["license"] == "CC-BY-NC-4.0"
    assert (4, True, 1) not in found
    assert reasons(done) == {
        "CC-BY-NC-SA-3.0 and CC-BY-SA-3.0 each ask that what is made of them has their own licence": 1,
        "CC-BY-ND-4.0 allows no changed sound": 1,
        "what is mixed into the view: no licence is said; say what it means under licences.stated": 1,
    }
    lines = [line.split("\t") for line in (done.folder / "ATTRIBUTION.tsv").read_text().splitlines()]
    assert {line[3]: line[4] for line in lines[1:]} == {
        **{
            f"/music/{number}.wav": name
            for number, name in enumerate(["CC-BY-SA-3.0", "CC-BY-NC-SA-3.0", "CC0-1.0", "CC-BY-ND-4.0", "CC-BY-4.0"])
        },
        "file:///noise/rain.wav": "CC-BY-NC-4.0",
    }
    card = (done.folder / "README.md").read_text()
    assert card.splitlines()[2:7] == [
        "license:",
        *(f"- {name}" for name in ("cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nd-4.0")),
    ]
    assert "The strictest terms of any row are CC-BY-ND-4.0" in card


def test_a_background_of_a_folder_is_at_home_where_models_learn(tmp_path: Path) -> None:
    rain = {"use": "AddBackground", "uri": "file:///noise/rain.wav", "start": 0.0, "seconds": 1.0, "snr_db": 3.0}
    augmented(tmp_path, {(number, 0): [rain] for number in range(30)})
    text = HEAD + '[rows]\nviews = "all"\n[licences]\nstated = { "*" = "CC0" }\n' + LABELS
    done = made(tmp_path, text)
    assert {row["split"] for row in rows(done).to_pylist() if row["view"]} == {"train"}
    assert any("at home in 'train'" in reason for reason in reasons(done))
    lineage = next(each for each in done.proof["closure"] if each["relation"] == "lineage")
    assert (lineage["values"], lineage["crossing"]) == (1, 0)


def test_what_was_said_of_a_view_counts_for_the_clip_as_it_sounds_there(tmp_path: Path) -> None:
    slow = {"use": "TimeStretch", "rate": 0.5}
    store = augmented(tmp_path, {(0, 0): [slow]}, artist="one")
    table = store.table("views").to_table(["clip_id", "view", "view_id"]).to_pylist()
    view = next(row["view_id"] for row in table if row["clip_id"] == clip(0) and row["view"] == 1)
    said = Label("instrument", "flute", "mira", "gold", track(0), clip_id=clip(0), view_id=view, start=2.0, duration=4.0)
    add(store, [said])
    words = '[rows]\nlabelled = "no"\n[[labels]]\nkind = "instrument"\nas = "regions"\n'
    found = {(row["clip_id"], row["view"]): row["instrument"] for row in rows(made(tmp_path, HEAD + words)).to_pylist()}
    assert [(each["value"], each["start"], each["duration"]) for each in found[clip(0), 1]] == [("flute", 2.0, 4.0)]
    assert [(each["value"], each["start"], each["duration"]) for each in found[clip(0), 0]] == [("flute", 1.0, 2.0)]


# Licences


def test_allowed_licences_stay_and_every_recording_left_out_has_its_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    texts = ["CC0", "CC BY 4.0", "CC BY-NC 4.0", None, "free for research", "(c) 2010 X. All rights reserved."]
    store = catalogue(tmp_path, [{"number": number, "license": text} for number, text in enumerate(texts)])
    heard(store, range(6))
    file = spec(tmp_path, HEAD)
    where = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert main(["release", str(file), *where, "--allow", "CC0,CC-BY", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    left = pq.read_table(Path(facts["folder"]) / "exclusions.parquet").to_pylist()
    assert {int(row["track_id"], 16): row["reason"] for row in left} == {
        2: "CC-BY-NC-4.0 is not among the licences allowed: CC0, CC-BY",
        3: "no licence is said; say what it means under licences.stated",
        4: "licence not understood: 'free for research'; say what it means under licences.means",
        5: "all rights reserved",
    }
    assert all(row["clip_id"] is None for row in left)
    means = '[licences]\nmeans = { "free for research" = "CC BY-NC 4.0" }\nunlicensed = "keep"\n'
    kept = rows(made(tmp_path, HEAD + means))
    assert {int(name, 16): text for name, text in zip(kept["track_id"].to_pylist(), kept["license"].to_pylist(), strict=True)} == {
        0: "CC0-1.0",
        1: "CC-BY-4.0",
        2: "CC-BY-NC-4.0",
        3: "unknown",
        4: "CC-BY-NC-4.0",
    }
    assert main(["release", str(file), *where, "--allow", "free"]) == 2
    assert capfd.readouterr().err == (
        "earmark: 'free' is no licence known here; as in CC0, CC-BY, CC-BY-SA-4.0, CC-BY-NC-SA, public-domain, ODbL\n"
    )


def test_what_grants_nothing_does_not_slip_in_by_what_grants_even_less(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 0, "license": "all rights reserved"}, {"number": 1, "license": None}])
    heard(store, [0, 1], AUGMENTED, lineages={(0, 0): [{"use": "AddBackground", "track_id": track(1), "uri": "/music/1.wav"}]})
    text = HEAD + '[rows]\nlabelled = "no"\n[licences]\nreserved = "keep"\n[split]\nshares = { train = 1.0 }\n'
    done = made(tmp_path, text)
    assert set(rows(done)["view"].to_pylist()) == {0}
    reasons = [row["reason"] for row in pq.read_table(done.folder / "exclusions.parquet").to_pylist() if row["view"] == 1]
    assert reasons == ["what is mixed into the view: no licence is said; say what it means under licences.stated"]


def test_the_mark_of_the_public_domain_is_no_licence_of_databases(tmp_path: Path) -> None:
    collection(tmp_path, license="Public Domain")
    front = (made(tmp_path).folder / "README.md").read_text().split("---\n")[1]
    assert 'license: other\nlicense_name: "public-domain"\n' in front


def test_a_collection_without_licences_is_refused_with_a_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path, license=None)
    file = spec(tmp_path)
    assert main(["release", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no row is left to release: 40 × no licence is said" in error
    assert "[licences] stated" in error
    assert error.count("\n") == 1
    assert [path.name for path in (tmp_path / "out" / "set").iterdir()] == [".release.lock"]
