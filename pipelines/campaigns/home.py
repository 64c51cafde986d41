"""What people said, all the way home: from the server into the mirror, and from there into the store's labels."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from annotation.mirror import Mark
from annotation.progress import Status, status
from annotation.pull import Pulled, Source, pull
from annotation.statements import basis, labels, unsayable
from pipelines.campaigns.desk import Desk
from pipelines.gather import add

TOLD = 100  # problems in status.json


def bring(desk: Desk, source: Source, full: bool = False) -> tuple[Pulled, int]:
    """Pull, and add what is new to the labels.

    Labels are made of the clips of which anything was heard since labels were last added, and of all clips where that is not known, where
    the campaign's questions or its clips have changed, or all is compared anyway. How far they go is noted after they are in the store: a
    process that is killed in between adds some of them again, which adds nothing.

    Returns:
        what was pulled, with a remark where answers of the clips that were looked at say what no label can, and how many rows are new in
        the labels.
    Raises:
        MirrorError, StudioError: as `annotation.pull.pull`. StoreError: as `pipelines.gather.add`; the next call makes up for it.
    """
    mirror = desk.mirror
    pulled = pull(source, mirror, desk.campaign, full)
    known = desk.known()
    by = basis(desk.campaign, known)
    before = Mark() if pulled.full or not desk.store.names("labels") else desk.labelled(by)
    now = mirror.mark()
    if now == before:
        return pulled, 0
    clips = mirror.since(before)
    new = add(desk.store, labels(mirror, desk.campaign, known, clips))
    desk.remember_labelled(now, by)
    if problems := unsayable(mirror, desk.campaign, known, clips):
        where, first = problems[0]
        more = f"; so are {len(problems) - 1} more" if len(problems) > 1 else ""
        pulled.remarks.append(f"{where}: {first}: kept, as no label{more}; 'earmark campaign status' lists them")
    return pulled, new


def note(desk: Desk) -> Status:
    """How far the campaign is, as of the last pull; kept as status.json, so that the report needs no campaign file.

    The file counts the clips and does not list them: there may be a hundred thousand.
    """
    found = status(desk.mirror, desk.known(), desk.campaign, desk.more())
    facts = asdict(replace(found, clips=(), problems=found.problems[:TOLD]))
    facts |= {"title": desk.campaign.title, "clips": len(found.clips), "problems_in_all": len(found.problems)}
    desk.keep("status.json", json.dumps(facts, default=str, indent=1))
    return found
