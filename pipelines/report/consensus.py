"""The report's figures of the consensus: what was agreed on, how well each person hears, and what is disputed, to listen to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotation import foreign
from pipelines.report.charts import bars, intervals, listed, matrix, more
from pipelines.report.links import stretch
from pipelines.report.markup import text
from pipelines.report.page import clock, player

if TYPE_CHECKING:
    from pipelines.store import Store

QUESTIONS = 12
VALUES = 14
PEOPLE = 15  # of each question, the least informed
FACTS = 20
DISPUTES = 6  # clips


def consensus(said: Mapping[str, Any]) -> str:
    """HTML of what `earmark consensus` found, for each question."""
    asked = list(said["questions"].items())
    parts = [_question(name, found) for name, found in asked[:QUESTIONS]]
    return f"<h3>Consensus</h3>\n{''.join(parts)}{more(len(asked) - QUESTIONS, 'more questions are in annotators.json')}"


def _question(name: str, found: Mapping[str, Any]) -> str:
    facts = [found["method"] or "not merged", f"{found['clips']:,} clips", f"{found['answers']:,} answers"]
    facts += [f"{found['disputed']:,} disputed"] if found["method"] else []
    ordered = sorted(found["counts"].items(), key=lambda each: (-each[1], each[0]))
    counts = bars([(value, float(count), f"{count:,}") for value, count in ordered[:VALUES]], ("value", "clips")) if ordered else ""
    counts += more(len(ordered) - VALUES, "rarer values are in annotators.json")
    remarks = listed([str(each) for each in found["remarks"]], FACTS, "more remarks")
    drawn = f"<h4>{text(name)}</h4>\n<p>{' · '.join(map(text, facts))}</p>\n{remarks}{counts}"
    if found["confusion"]:
        drawn += '<p class="quiet">What people say (columns) where the consensus is the row, as shares of the row:</p>\n'
        drawn += _shares(found["confusion"])
    return drawn


def _shares(confusion: Mapping[str, Mapping[str, float]]) -> str:
    worst = sorted(confusion, key=lambda truth: (confusion[truth].get(truth, 0.0), truth))[:VALUES]
    names = [truth for truth in confusion if truth in set(worst)]
    counts = [[round(confusion[truth].get(said, 0.0), 3) for said in names] for truth in names]
    return matrix(names, counts, "", [1.0] * len(names)) + more(
        len(confusion) - VALUES, "values that are heard better are in annotators.json"
    )


def people(said: Mapping[str, Any]) -> str:
    """HTML of how well each person hears, the least informed first, with what is out of the ordinary."""
    parts = ""
    for name, found in list(said["questions"].items())[:QUESTIONS]:
        quality = found["annotators"]
        rows = [row for each in quality[:PEOPLE] for row in _rates(each)]
        if rows:
            parts += f"<h4>{text(name)}</h4>\n{intervals(rows, ('annotator', 'share', 'of what, and by what it is judged'))}"
            parts += more(len(quality) - PEOPLE, "people, who hear better or cannot be judged, are in annotators.json")
            parts += listed([f"{each['annotator']}: {fact}" for each in quality for fact in each["facts"]], FACTS, "more remarks")
    what = (
        "Sensitivity: of what holds, how much a person said. Specificity: of what does not, how much they left unsaid. "
        "Precision: of what they said, how much holds. With 95 % intervals (Wilson)."
    )
    return f'<h3>How well people hear</h3>\n<p class="quiet">{what}</p>\n{parts}' if parts else ""


def _rates(person: Mapping[str, Any]) -> Iterator[tuple[str, float | None, float | None, float | None, str]]:
    by = {"gold": "by gold", "others": "by what the others say"}.get(person["basis"], "")
    drift = person["drift"]
    told = f"second half {drift[0]:+.2f} ({drift[1]:+.2f} … {drift[2]:+.2f})" if drift else ""
    took = f"median {person['seconds']:.0f} s" if person["seconds"] is not None else ""
    measured = [(name, person[name]) for name in ("sensitivity", "specificity", "precision") if person[name]]
    for at, (name, rate) in enumerate(measured):
        more_of = "; ".join(filter(None, (by, told, took))) if not at else ""
        remark = f"{name} of {rate['of']}{'; ' if more_of else ''}{more_of}"
        yield person["annotator"], rate["share"], rate["low"], rate["high"], remark
    if not measured:
        yield person["annotator"], None, None, None, f"{person['answers']} answers; not to be judged"


def disputes(store: Store, folder: Path, link: Callable[[str], str]) -> str:
    """HTML of the clips about which the consensus is least sure, with players; "" where there is no consensus."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "consensus.parquet"
    if not file.is_file():
        return ""
    try:
        columns = ["key", "track_id", "view_id", "question", "value", "probability", "votes", "said"]
        found = pq.read_table(file, columns=columns, filters=[("disputed", "=", True)])
    except (pa.ArrowInvalid, OSError) as error:
        command = "<code>earmark consensus CAMPAIGN.toml --store STORE</code>"
        return f'<p class="note">consensus.parquet cannot be read ({text(str(error).splitlines()[0])}): {command} makes it.</p>\n'
    if not found.num_rows:
        return "<h3>Disputed</h3>\n<p>Nothing is disputed.</p>\n"
    worst = _worst(found)
    clips = len(set(found.column("key").to_pylist()))
    places = _places(folder, {row["key"] for row in worst})
    uris = _uris(store, [row["track_id"] for row in worst])
    items = "".join(_dispute(row, places.get(row["key"], {}), uris.get(row["track_id"], ""), link) for row in worst)
    which = f"the {len(worst)} least sure of {clips:,} clips" if clips > len(worst) else f"{clips} clips"
    return f'<h3>Disputed: {which}</h3>\n<ul class="heard">{items}</ul>\n'


def _worst(found: Any) -> list[dict[str, Any]]:
    """One row a clip, that nearest to as likely as not."""
    import numpy as np

    doubt = np.abs(np.nan_to_num(found.column("probability").to_numpy(), nan=0.5) - 0.5)
    keys = found.column("key").to_pylist()
    worst: dict[str, int] = {}
    for at in np.lexsort((np.array(keys), doubt)):
        worst.setdefault(keys[at], int(at))
        if len(worst) == DISPUTES:
            break
    return list(found.take(list(worst.values())).to_pylist())


def _places(folder: Path, keys: set[str]) -> dict[str, dict[str, Any]]:
    """Where clips lie in their recordings, as far as the campaign knows."""
    try:
        tasks = foreign.document(folder / "tasks.json", foreign.OURS)
        named = ((f"{each['clip_id']}/{each['view_id']}" if each.get("view_id") else each["clip_id"], each) for each in tasks)
        return {name: each for name, each in named if name in keys and all(math.isfinite(each[key]) for key in ("start", "seconds"))}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return {}


def _uris(store: Store, tracks: Sequence[str]) -> dict[str, str]:
    rows = store.table("tracks").to_table(["track_id", "uri"], filter=[("track_id", "in", sorted(set(tracks)))])
    return dict(zip(rows.column("track_id").to_pylist(), rows.column("uri").to_pylist(), strict=True))


def _dispute(row: Mapping[str, Any], place: Mapping[str, Any], uri: str, link: Callable[[str], str]) -> str:
    start, seconds = place.get("start"), place.get("seconds")
    title = str(place.get("title") or uri.rpartition("/")[2] or row["key"])
    span = f" · {clock(start)} to {clock(start + seconds)}" if start is not None and seconds is not None else ""
    said = f"{row['question']}: {row['value']}, {row['probability']:.2f} likely; said by {row['said']} of {row['votes']}"
    sound = ""
    if row["view_id"]:
        said += "; an augmented view"
    elif start is not None and seconds is not None and (linked := link(uri) if uri else ""):
        silent = f'<p class="note silent" hidden>This browser cannot play <code>{text(uri)}</code>.</p>'
        sound = player(stretch(linked, start, seconds), f"{title}, from {clock(start)}") + silent
    return f'<li><p><b>{text(title)}</b>{text(span)}</p><p class="quiet">{text(said)}</p>{sound}</li>'
