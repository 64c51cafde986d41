"""Labels into a store and out of it: each once, whoever adds them and when, and none lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from annotation.labels import Label, table, write
from annotation.revisions import standing
from augment.contract import ContractError
from pipelines.cli import main
from pipelines.gather import add, export, gather
from pipelines.part import StoreError
from pipelines.recipe import load
from pipelines.relabel import kinds, relabel
from pipelines.rows import footed
from pipelines.store import Store

PLAIN = '{"sample_rate":10,"samples":10,"steps":[]}'
RECIPE = '[window]\nseconds = 1.0\n[[extract]]\nuse = "LogMel"\n'


def catalogue(folder: Path, *uris: str, seconds: float = 2.0) -> Store:
    """A store whose catalogue has tracks "0", "1", ... at these places."""
    store = Store(folder / "store")
    tracks = {"track_id": [str(each) for each in range(len(uris))], "uri": list(uris), "seconds": [seconds] * len(uris)}
    store.publish("tracks", "shard", pa.table(tracks))
    return store


def with_clip(store: Store, folder: Path) -> None:
    """Give track "0" one clip, "clip", of 0.5 s to 1.5 s, and a view of it, "view", that lasts 2 s."""
    (folder / "recipe.toml").write_text(RECIPE)
    recipe = load(folder / "recipe.toml")
    variant = recipe.variants()["views"]
    slow = '{"sample_rate":10,"samples":10,"steps":[{"use":"TimeStretch","rate":0.5,"samples":20}]}'
    columns = [["clip"] * 2, [0, 1], ["0"] * 2, [0.5] * 2, [1.0, 2.0], ["own", "view"], [0.5] * 2, [PLAIN, slow]]
    schema = footed(recipe, "views", variant)
    store.publish("views", "shard", pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema), variant)


def said(kind: str = "note", value: str = "60", track: str = "0", **more: Any) -> Label:
    """A person's label."""
    return Label(kind, value, "ann", "person", track, **more)


def labels_of(store: Store) -> list[str]:
    """The label_id of every stored row."""
    return sorted(store.table("labels").to_table(["label_id"]).column("label_id").to_pylist())


def test_a_second_process_that_adds_labels_is_sent_away_and_the_first_keeps_each_once(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/a.wav")
    with store.lock("labels-add"), pytest.raises(StoreError, match="another labels-add is at work"):
        add(store, [said()])
    assert add(store, [said(), said("key", "C major")]) == 2
    assert add(store, [said("key", "C major"), said("tempo", "90")]) == 1
    assert len(labels_of(store)) == len(set(labels_of(store))) == 3


def test_a_label_that_lies_in_two_parts_counts_once_and_is_exported_once(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/a.wav")
    with_clip(store, tmp_path)
    for part in ("one", "two"):  # as two machines may do on a bucket, where nothing locks
        store.publish("labels", part, table([said("key", "C major"), said("tag", part)]))
    assert relabel(store, load(tmp_path / "recipe.toml")).labels == 2 * 3
    assert export(store, tmp_path / "jams") == 1
    assert len(gather(store, [str(tmp_path / "jams")])) == 3


def test_in_a_chain_of_corrections_only_the_last_counts(tmp_path: Path) -> None:
    first = said("vocal_range", "alto")
    second = said("key", "C major", replaces=first.label_id)
    third = said("key", "A minor", replaces=second.label_id)
    assert standing(table([third, first, second])).column("value").to_pylist() == ["A minor"]
    store = catalogue(tmp_path, "/a.wav")
    add(store, [first, second, third])
    assert kinds(store) == {"key": ["A minor"]}


def test_what_was_withdrawn_and_who_skipped_reach_no_view_and_are_kept(tmp_path: Path) -> None:
    first = said("key", "C major")
    rows = [first, said("tag", "calm"), said("skipped", ""), said("nothing", "mood"), said("withdrawn", "", replaces=first.label_id)]
    store = catalogue(tmp_path, "/a.wav")
    with_clip(store, tmp_path)
    assert add(store, rows) == len(rows)
    assert kinds(store) == {"tag": ["calm"]}
    assert relabel(store, load(tmp_path / "recipe.toml")).labels == 2  # views, with one label each
    export(store, tmp_path / "jams")
    assert set(gather(store, [str(tmp_path / "jams")])) == set(rows)


def test_a_reject_for_labels_beyond_the_end_names_all_and_goes_when_they_are_corrected(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/a.wav")
    first, second = said(start=2.5, duration=0.1), said("onset", "", start=3.5, duration=0.0)
    for label in (first, second, said(start=1.0, duration=0.1)):
        add(store, [label])
    (reject,) = store.open_rejects()
    assert "note '60' at 2.5 s (and 1 more): beyond the end" in reject["message"]
    add(store, [said(start=0.5, duration=0.1, replaces=first.label_id)])
    assert "onset '' at 3.5 s: beyond the end" in store.open_rejects()[0]["message"]
    add(store, [said("onset", "", start=1.5, duration=0.0, replaces=second.label_id)])
    assert store.open_rejects() == []


def test_a_time_in_a_slower_view_may_be_later_than_the_end_of_the_recording(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/a.wav", seconds=1.0)
    add(store, [said(clip_id="clip", view_id="view", start=1.9, duration=0.1)])
    assert store.open_rejects() == []


def test_what_was_said_of_a_view_is_exported_beside_its_recording_and_comes_home(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/a.wav")
    with_clip(store, tmp_path)
    labels = [said(), said(clip_id="clip"), said(clip_id="clip", view_id="view"), said(clip_id="../no", start=0.5, duration=0.25)]
    add(store, labels)
    assert export(store, tmp_path / "jams") == 4
    assert sorted(path.name for path in tmp_path.rglob("*.jams")) == ["a-..%2Fno.jams", "a-clip.jams", "a-view.jams", "a.jams"]
    for name, seconds in (("a", 2.0), ("a-clip", 1.0), ("a-view", 2.0), ("a-..%2Fno", 0.75)):
        assert json.loads((tmp_path / "jams" / f"{name}.jams").read_text())["file_metadata"]["duration"] == seconds
    other = catalogue(tmp_path / "other", "/a.wav")
    assert add(other, gather(other, [str(tmp_path / "jams")])) == 4
    assert labels_of(other) == labels_of(store)


def test_labels_of_two_recordings_of_one_name_come_home(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/one/a.wav", "/two/a.wav", "/caf\\xe9.wav")
    add(store, [said(track="0"), said(track="1"), said(track="2")])
    export(store, tmp_path / "jams")
    assert sorted(label.track_id for label in gather(store, [str(tmp_path / "jams" / "a-1.jams")])) == ["1"]
    with pytest.raises(ValueError, match=r"a\.jams: 2 tracks have its name"):
        (tmp_path / "a.jams").write_text('{"annotations": [], "file_metadata": {"duration": 1}, "sandbox": {}}')
        gather(store, [str(tmp_path / "a.jams")])
    assert add(store, gather(store, [str(tmp_path / "jams")])) == 0


def test_a_jams_file_finds_a_recording_whose_name_is_no_text(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "file:///music/caf%E9.wav")
    add(store, [said()])
    export(store, tmp_path / "jams")
    (path,) = (tmp_path / "jams").iterdir()
    hostile = path.with_name("caf\udce9.jams")
    hostile.write_text(path.read_text().replace('"identifiers"', '"others"'))  # by its name alone
    assert [label.track_id for label in gather(store, [str(hostile)])] == ["0"]


def test_labels_that_come_in_while_others_are_moved_are_of_the_next_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = catalogue(tmp_path, "/a.wav")
    with_clip(store, tmp_path)
    add(store, [said("key", "C major")])
    listed = Store.names

    def names(self: Store, of: str, variant: str = "") -> list[str]:
        found = listed(self, of, variant)
        if of == "labels" and len(found) == 1:
            self.publish("labels", "late", table([said("tempo", "90")]))
        return found

    monkeypatch.setattr(Store, "names", names)
    first = relabel(store, load(tmp_path / "recipe.toml"))
    second = relabel(store, load(tmp_path / "recipe.toml"))
    assert (first.labels, second.labels) == (2, 4)
    assert first.variant != second.variant


def test_without_labels_there_is_nothing_to_move_and_it_says_what_to_do(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/a.wav")
    with_clip(store, tmp_path)
    with pytest.raises(StoreError, match="no labels yet; 'earmark labels add' brings them"):
        relabel(store, load(tmp_path / "recipe.toml"))


def test_labels_beyond_the_end_are_named_before_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = catalogue(tmp_path, "/a.wav")
    publish = Store.publish

    def killed(self: Store, name: str, *rest: Any) -> None:
        publish(self, name, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        add(store, [said(start=9.0, duration=0.0)])
    assert len(store.open_rejects()) == 1


def test_labels_of_clips_that_nobody_made_are_counted_and_a_store_without_labels_exports_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = catalogue(tmp_path, "/a.wav")
    with pytest.raises(StoreError, match="no labels yet; 'earmark labels add' brings them"):
        export(store, tmp_path / "jams")
    assert not (tmp_path / "jams").exists()
    with_clip(store, tmp_path)
    known = [said(), said(clip_id="clip"), said(clip_id="clip", view_id="view")]
    write([*known, said(clip_id="clip", view_id="gone"), said(clip_id="gone"), said(start=9.0, duration=0.0)], tmp_path / "labels.parquet")
    assert main(["labels", "add", str(tmp_path / "labels.parquet"), "--store", store.root]) == 0
    told = capfd.readouterr().out.splitlines()
    assert told[0] == "6 labels added"
    assert told[1].startswith("1 recordings have labels beyond their end")
    assert told[2].startswith("2 labels speak of clips or views that no run on this store has made")
    (tmp_path / "file").touch()
    assert main(["labels", "export", "--store", store.root, "--out", str(tmp_path / "file")]) == 2
    assert capfd.readouterr().err == f"earmark: {tmp_path}/file: File exists\n"


def test_a_rule_for_a_kind_that_no_label_has_is_named_by_the_check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = catalogue(tmp_path, "/a.wav")
    add(store, [said("tag.mine", "loud")])
    (tmp_path / "recipe.toml").write_text(RECIPE + '[labels.rules.Key]\npitch = "dropped"\n[labels.rules.tag]\npitch = "dropped"\n')
    assert main(["recipe", "check", str(tmp_path / "recipe.toml"), "--store", store.root]) == 0
    assert "no label is of the kind of [labels.rules.Key]; there are tag.mine" in capfd.readouterr().out


def test_what_was_heard_is_told_even_if_the_labels_cannot_be_moved(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise ContractError("tag 'slow' refused")

    monkeypatch.setattr("pipelines.relabel.relabel", refused)
    monkeypatch.setattr("pipelines.engines.supervisor.supervised", lambda *_: None)
    store = catalogue(tmp_path, "/a.wav")
    with_clip(store, tmp_path)
    add(store, [said()])
    variants = load(tmp_path / "recipe.toml").variants()
    store.publish("logmel", "shard", pa.table({"view": [0]}), variants["logmel"])
    assert main(["run", str(tmp_path / "recipe.toml"), "--store", store.root, "--engine", "local"]) == 2
    out, err = capfd.readouterr()
    assert out.startswith("nothing to do: every part is there\n")
    assert err == "earmark: tag 'slow' refused\n"


@pytest.mark.parametrize(("policy", "code", "said_of_it"), [("stop", 1, "a run would stop"), ("drop", 0, "left out of the views")])
def test_a_check_says_what_a_refusal_leads_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], policy: str, code: int, said_of_it: str
) -> None:
    store = catalogue(tmp_path, "/a.wav")
    add(store, [said("vocal_range", "alto")])
    views = f'[labels]\non_refused = "{policy}"\n[views]\ncount = 2\n[[augment]]\nuse = "PitchShift"\n'
    (tmp_path / "recipe.toml").write_text(views + RECIPE)
    assert main(["recipe", "check", str(tmp_path / "recipe.toml"), "--store", store.root]) == code
    out = capfd.readouterr().out
    assert "vocal_range refused: no rule" in out
    assert said_of_it in out.splitlines()[-1]


def test_a_table_that_people_wrote_gives_labels_and_each_wrong_row_is_named_by_its_line(tmp_path: Path) -> None:
    store = catalogue(tmp_path, "/one/Für Elise.v2.wav", "/two/b.mp3", "/three/b.flac")
    sheet = tmp_path / "gold.csv"
    rows = ["tracks/Für Elise.v2.wav,key,A minor,,,,,", "1,tag,calm,0.5,1.5,,expert,gold", '2,text,"two, three",,,0.25,,', ",,,,,,,"]
    sheet.write_text("\n".join(["\ufeffrecording,kind,value,start,duration,confidence,author,author_kind", *rows]))
    assert gather(store, [str(sheet)]) == [
        Label("key", "A minor", "gold", "person", "0"),
        Label("tag", "calm", "expert", "gold", "1", start=0.5, duration=1.5),
        Label("text", "two, three", "gold", "person", "2", confidence=0.25),
    ]
    for head, row, why in (
        ("recording,kind", "1,tag", "no column value"),
        ("recording,kind,value,begin", "1,tag,calm,1", "'begin': no column of labels"),
        ("recording,kind,value", "b.mp3,tag,calm", "line 2: recording 'b.mp3': 2 tracks have this name; give the track_id"),
        ("recording,kind,value", "c,tag,calm", "line 2: recording 'c': no track has this name"),
        ("recording,kind,value", "1,key,H moll", "line 2: key 'H moll'"),
        ("recording,kind,value,start", "1,tag,calm,soon", "line 2: start 'soon': not a number"),
        ("recording,kind,value,start", "1,tag,calm,nan", "line 2: label.start: nan"),
        ("recording,kind,value", "1,tag,calm,wild", "line 2: 4 cells under 3 columns"),
        ("recording,kind,value,author_kind", "1,tag,calm,me", "line 2: label.author_kind: 'me'"),
        ("recording,kind,value", '1,tag,"calm', "line 2: unexpected end of data"),
    ):
        sheet.write_text(f"{head}\n{row}\n")
        with pytest.raises(ValueError, match=r"^[^\n]*gold\.csv[^\n]*$") as error:
            gather(store, [str(sheet)])
        assert why in str(error.value)
