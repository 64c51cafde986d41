"""A page made of what others wrote runs nothing of theirs: every name, and every number, of a store and a release is an attack here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.reporting as sections
from pipelines.part import StoreError
from pipelines.report.report import write_report
from pipelines.store import Store
from tests.releasing import catalogue
from tests.reporting import Made
from tests.test_report_sections import browser

__all__ = ["browser"]
pytestmark = pytest.mark.slow

ATTACKS = (
    "</script><script>hacked()</script>",
    "</style></title></textarea><img src=x onerror=hacked()>",
    "\" autofocus onfocus=hacked() x=\" ' onmouseover='hacked()",
    "javascript:hacked()//https://evil.example/a.js",
    "\u2028hacked()\u2029//<!--<svg/onload=hacked()>",
    "width:expression(hacked());background:url(http://evil.example/a.png)",
    "{{constructor.constructor('hacked()')()}}${hacked()}<%hacked()%>",
    "data:text/html,<script>hacked()</script>",
    "<link rel=stylesheet href=//evil.example/a.css><meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href=http://evil.example/><iframe srcdoc='<script>parent.hacked()</script>'>&lt;script&gt;&#x3c;",
)
ALL = " ".join(ATTACKS)
# What a page is made of before it can say anything: names of columns and splits join one file to another.
KEPT = {"column", "split", "name", "tag", "measure", "question", "clip_id", "view_id", "kind", "uri"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sections, "HOSTILE", ALL)
        patched.setattr(sections, "MAIL", f"{ALL.replace(' ', '')}@example.org")
        patched.setattr(sections, "CAMPAIGN", sections.CAMPAIGN.replace("s<b>a</b>d", "s</script><img src=x onerror=hacked()>d"))
        yield Made(tmp_path_factory.mktemp("hostile"))


def spoilt(given: Any, numbers: bool, name: str = "") -> Any:
    """JSON with an attack in place of every text, or of every number."""
    if isinstance(given, dict):
        return {key: spoilt(value, numbers, key) for key, value in given.items()}
    if isinstance(given, list):
        return [spoilt(value, numbers, name) for value in given]
    if isinstance(given, str) and not numbers and name not in KEPT:
        return ALL
    return ALL if numbers and isinstance(given, int | float) and not isinstance(given, bool) else given


def harmless(browser: Any, page: Path) -> None:
    """Opens the page, lets everything in it happen, and looks whether anything of the attacks did."""
    window = browser.new_page()
    asked, dialogs = [], []
    window.on("request", lambda request: asked.append(request.url))
    window.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    window.add_init_script("window.hacked = () => { window.broken = true; }")
    window.goto(page.as_uri())
    window.evaluate("""() => { for (const each of document.querySelectorAll('*'))
        for (const kind of ['mouseover', 'focus', 'error', 'load']) each.dispatchEvent(new Event(kind)); }""")
    window.wait_for_load_state("networkidle")
    assert not window.evaluate("window.broken")
    assert window.url == page.as_uri()
    assert dialogs == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert window.evaluate("document.scripts.length") == 1
    assert window.evaluate("document.querySelectorAll('iframe, base, link:not([rel=icon]), meta[http-equiv=refresh], object').length") == 0
    policy = window.evaluate("""() => new Promise(done => {
        document.addEventListener('securitypolicyviolation', event => done(event.violatedDirective));
        document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="hacked()">');
        setTimeout(() => done('nothing stopped it'), 2000);
    })""")
    assert policy == "script-src-attr"  # were a name forgotten, the browser itself would refuse what it says
    window.close()


def test_in_a_browser_no_name_of_a_store_runs_asks_or_leads_anywhere(made: Made, browser: Any) -> None:
    assert made.html.count("&lt;/script&gt;&lt;script&gt;hacked()") > 20
    harmless(browser, made.page)


@pytest.mark.parametrize("numbers", [False, True])
def test_what_others_put_into_the_files_that_commands_left_is_text_or_one_line(made: Made, browser: Any, numbers: bool) -> None:
    files = [*made.desk.folder.glob("*.json"), made.release.folder / "proof.json", made.curve]
    kept = {file: file.read_bytes() for file in files}
    assert len(files) >= 5
    page, written = made.folder / "spoilt.html", 0
    try:
        for file in files:
            file.write_text(json.dumps(spoilt(json.loads(kept[file]), numbers)))
            try:
                write_report(made.store, page, 2, [made.curve], [made.release.folder])
                written += 1
                assert "<img src=x" not in page.read_text()
                assert "<script>hacked" not in page.read_text()
            except (StoreError, ValueError) as error:
                assert "\n" not in str(error)  # noqa: PT017
            if not numbers:
                continue  # the page of all of them is opened below
            file.write_bytes(kept[file])
        if written:
            harmless(browser, page)
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def test_a_catalogue_that_somebody_wrote_by_hand_is_shown_as_text(tmp_path: Path, browser: Any) -> None:
    places = ["javascript:hacked()", 'http://evil.example/a.wav"onerror=hacked()', "//evil.example/share/a.wav", "data:audio/wav,", ALL]
    said = dict.fromkeys(("title", "artist", "album", "license", "format"), ALL)
    store: Store = catalogue(tmp_path, [{"number": number, "uri": uri, **said} for number, uri in enumerate(places)])
    store.reject([{"uri": ALL, "stage": ALL, "track_id": "", "error": ALL, "message": ALL, "remedy": ALL}])
    write_report(store, tmp_path / "page.html")
    harmless(browser, tmp_path / "page.html")
