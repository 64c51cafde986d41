"""The report's sections on campaigns: how far each is, by whom, and what was found of its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotation import foreign
from pipelines.report.agreement import agreement, confusion
from pipelines.report.charts import bars, grid, listed, more, section
from pipelines.report.consensus import consensus, disputes, people
from pipelines.report.markup import text

if TYPE_CHECKING:
    from pipelines.store import Store

SHOWN = 12  # campaigns
PEOPLE = 40  # rows of the table of who answered
PROBLEMS = 10

# What `earmark` left in a campaign's folder, and which command does: status.json, ...
_MADE_BY = {
    "status.json": "earmark campaign status",
    "agreement.json": "earmark agreement",
    "annotators.json": "earmark consensus",
}


def campaigns(store: Store, link: Callable[[str], str]) -> list[str]:
    """HTML of a section for each campaign, by name; none where the store has none.

    Args:
        link: from a recording's URI to how the page links it, "" where it cannot.
    """
    if not store.local:
        said = '<p class="quiet">The campaigns of a store in a bucket are kept beside their files, and are not on this page.</p>\n'
        return [section("campaigns-more", "Campaigns", said)]
    root = Path(store.folder("campaigns"))
    if not root.is_dir():
        return []
    folders = sorted(each for each in root.iterdir() if any((each / name).is_file() for name in ("tasks.json", *_MADE_BY)))
    shown = [_campaign(store, folder, number, link) for number, folder in enumerate(folders[:SHOWN], 1)]
    if rest := folders[SHOWN:]:
        names = f"{', '.join(each.name for each in rest[:SHOWN])}{', …' if len(rest) > SHOWN else ''}"
        shown.append(section("campaigns-more", "Further campaigns", f'<p class="quiet">{len(rest)} are not shown: {text(names)}.</p>\n'))
    return shown


def _campaign(store: Store, folder: Path, number: int, link: Callable[[str], str]) -> str:
    missing: list[str] = []
    status = _part(folder, "status.json", _progress, missing)
    found = _part(folder, "agreement.json", lambda said: agreement(said) + confusion(said), missing)
    agreed = _part(folder, "annotators.json", lambda said: consensus(said) + people(said), missing)
    heard = disputes(store, folder, link)
    title = _title(folder)
    named = f'<p class="quiet"><code>{text(folder.name)}</code></p>\n' if title != folder.name else ""
    return section(f"campaign-{number}", f"Campaign: {title}", named, status, found, agreed, heard, *missing)


def _part(folder: Path, name: str, draw: Callable[[Any], str], missing: list[str]) -> str:
    """What one file tells; one that is not there, or not ours, is told of at the end."""
    try:
        return draw(foreign.document(folder / name))
    except FileNotFoundError:
        what = "is not there yet"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"cannot be read ({type(error).__name__}: {error})"
    command = f"{_MADE_BY[name]} CAMPAIGN.toml --store STORE"
    missing.append(f'<p class="note">{text(f"{name} {what}")}: <code>{text(command)}</code> makes it.</p>\n')
    return ""


def _title(folder: Path) -> str:
    try:
        return str(foreign.document(folder / "status.json")["title"])
    except (OSError, ValueError, LookupError, TypeError):
        return folder.name


def _progress(said: Mapping[str, Any]) -> str:
    stages = ("done", "in progress", "skipped", "open")
    counts = [(name, float(said[name.replace(" ", "_")]), f"{said[name.replace(' ', '_')]:,}") for name in stages]
    facts = [f"{said['done']:,} of {said['clips']:,} clips done", f"people differ about {said['disputed']:,}"]
    facts += [f"{said['answers']:,} answers", f"{said['wanted']:,} to come", f"{said['skips']:,} skips"]
    facts += [f"{said['per_hour']:.3g} an hour"] if said["per_hour"] is not None else []
    facts += [f"the end near {_minute(said['expected_end'])}"] if said["expected_end"] else []
    facts += [f"last answer {_minute(said['newest'])}"] if said["newest"] else []
    facts += [f"{said['strangers']:,} annotations are of tasks that it does not know"] if said["strangers"] else []
    line = f"<p>{' · '.join(map(text, facts))}</p>\n"
    problems = [str(each) for each in said["problems"]]
    if problems:
        count = max(len(problems), int(said["problems_in_all"]))
        rest = more(count - PROBLEMS, "more: earmark campaign status lists them")
        line += f"<h4>Not understood</h4>{listed(problems[:PROBLEMS], PROBLEMS, '')}{rest}"
    return f"<h3>Progress</h3>\n{line}{bars(counts, ('stage', 'clips'))}{_who(said['annotators'])}"


def _who(annotators: list[Mapping[str, Any]]) -> str:
    if not annotators:
        return ""
    busiest = sorted(annotators, key=lambda each: (-each["answers"], each["author"]))
    rows = [
        (
            each["author"],
            f"{each['answers']:,}",
            f"{each['skips']:,}",
            "" if each["lead_time_s"] is None else f"{each['lead_time_s']:.0f} s",
            "" if each["accepted"] is None else f"{each['accepted']:.0%}",
            f"{each['edited_by_others']:,}",
            f"{each['deleted']:,}",
        )
        for each in busiest[:PEOPLE]
    ]
    heads = ("annotator", "answers", "skips", "median time", "prediction kept", "edited by others", "deleted")
    return f"<h3>Who answered</h3>\n{grid(heads, rows, numbers=6)}{more(len(busiest) - PEOPLE, 'people who answered less are not shown')}"


def _minute(at: str) -> str:
    """A time for people, in UTC.

    >>> _minute("2026-11-22 10:20:30.5+00:00")
    '2026-11-22 10:20 UTC'
    """
    return f"{str(at)[:16].replace('T', ' ')} UTC"
