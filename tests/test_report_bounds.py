"""The page where commands have not run, files are broken, scores are missing, or there is more than a page can show."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pipelines.report.links import link, stretch
from pipelines.report.report import write_report
from tests.releasing import catalogue
from tests.reporting import part, rows


def test_a_page_without_any_of_these_has_none_of_them(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', html) == ["collection"]
    assert "<nav" not in html


def test_a_campaign_says_which_commands_have_not_run_and_which_files_cannot_be_read(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    folder = tmp_path / "store/campaigns/moods"
    folder.mkdir(parents=True)
    (folder / "tasks.json").write_text("[]")
    (folder / "agreement.json").write_text('{"agreement": [{}]}')
    (folder / "consensus.parquet").write_text("<script>hacked()</script>")
    (tmp_path / "store/campaigns/keys").write_text("secret of the clip server")
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "status.json is not there yet: <code>earmark campaign status CAMPAIGN.toml --store STORE</code> makes it." in html
    assert "agreement.json cannot be read (KeyError: &#x27;accepted&#x27;): <code>earmark agreement" in html
    assert "annotators.json is not there yet" in html
    assert "consensus.parquet cannot be read (" in html
    assert "secret" not in html


def test_what_a_browser_cannot_fetch_is_not_linked(tmp_path: Path) -> None:
    (tmp_path / "a #.wav").write_text("")
    page = tmp_path / "page.html"
    assert stretch(link(str(tmp_path / "a #.wav"), page), 1.25, 0.5) == "a%20%23.wav#t=1.25,1.75"
    assert link("https://example.org/a.mp3", page) == "https://example.org/a.mp3"
    for uri in (str(tmp_path / "gone.wav"), "s3://bucket/a.wav", "javascript:hacked()"):
        assert stretch(link(uri, page), 0.0, 1.0) == ""


def test_two_hundred_people_five_hundred_tags_and_thirty_campaigns_make_no_large_page(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    tags = [f"tag {number}" for number in range(500)]
    rate = {"share": 0.8, "low": 0.7, "high": 0.9, "of": 50}
    quality = [
        {"annotator": f"person {number}", "answers": 50, "basis": "others", "sensitivity": rate, "specificity": rate, "precision": None}
        | {"drift": None, "seconds": 5.0, "facts": ["says little"]}
        for number in range(200)
    ]
    score = {"question": "mood", "measure": "alpha", "score": 0.5, "low": 0.4, "high": 0.6, "clips": 9, "annotators": 3}
    score |= {"why": "", "accepted": False, "detail": {}}
    found = {"method": "majority", "clips": 100_000, "answers": 300_000, "disputed": 9, "counts": dict.fromkeys(tags, 5), "remarks": []}
    found |= {"annotators": quality, "confusion": {one: dict.fromkeys(tags, 0.002) for one in tags}}
    person = {"answers": 9, "skips": 0, "lead_time_s": None, "accepted": None, "edited_by_others": 0, "deleted": 0}
    status = dict.fromkeys(("done", "in_progress", "skipped", "open", "disputed", "answers", "skips", "wanted", "strangers"), 1)
    status |= {
        "clips": 100_000,
        "per_hour": None,
        "newest": None,
        "expected_end": None,
        "title": "Large",
        "problems": [],
        "problems_in_all": 0,
    }
    written = {
        "status.json": status | {"annotators": [{**person, "author": f"person {number}"} for number in range(200)]},
        "agreement.json": {
            "agreement": [{**score, "value": tag} for tag in tags],
            "confusion": {"mood": [[one, other, 1.0] for at, one in enumerate(tags) for other in tags[at:]]},
            "meanings": {},
            "draws": 10,
            "seed": 0,
        },
        "annotators.json": {"questions": {"mood": found}},
    }
    for number in range(30):
        folder = tmp_path / f"store/campaigns/c{number:02}"
        folder.mkdir(parents=True)
        for name, content in written.items() if number == 0 else [("tasks.json", [])]:
            (folder / name).write_text(json.dumps(content))
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert len(html) < 300_000
    for line in (
        "160 people who answered less are not shown",
        "460 higher scores are in agreement.json",
        "486 values that are confused less are in agreement.json",
        "486 rarer values are in annotators.json",
        "185 people, who hear better or cannot be judged, are in annotators.json",
        "18 are not shown: c12, c13",
    ):
        assert line in html


def test_a_score_without_an_interval_is_shown_without_one_and_one_without_a_score_with_its_reason(tmp_path: Path) -> None:
    store = catalogue(tmp_path, [{"number": 1}])
    folder = tmp_path / "store/campaigns/moods"
    folder.mkdir(parents=True)
    plain = {
        "question": "beats",
        "value": "",
        "clips": 2,
        "answers": 4,
        "annotators": 2,
        "accepted": False,
        "detail": {"pairs": 3, "octave": 2},
    }
    said = [
        {**plain, "measure": "alpha", "score": -0.25, "low": None, "high": None, "why": "no interval: 2 clips"},
        {**plain, "measure": "start deviation", "score": 0.031, "low": 0.02, "high": 0.04, "why": ""},
        {**plain, "measure": "Cohen's kappa", "score": None, "low": None, "high": None, "why": "all answers are one person's"},
        {**plain, "measure": "exact", "score": 0.9, "low": 0.8, "high": 1.0, "why": "", "accepted": True},
    ]
    (folder / "agreement.json").write_text(json.dumps({"agreement": said, "confusion": {}, "meanings": {}, "draws": 10, "seed": 0}))
    write_report(store, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    shown = rows(part(html, "Agreement"))
    assert ["beats", "", "-0.25", "alpha; 2 clips, 2 people; octave 2; no interval: 2 clips"] in shown
    assert ["beats", "start deviation", "0.031 s", "0.020 … 0.040", "2"] in shown
    assert "beats, Cohen&#x27;s kappa: all answers are one person&#x27;s" in html
    assert rows(part(html, "Agreement with answers that merely accepted a pre-annotation"))[1][2] == "0.90 0.80 … 1.00"
