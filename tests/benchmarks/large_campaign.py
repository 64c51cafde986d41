"""A large campaign, timed: `python -m tests.benchmarks.large_campaign [CLIPS]` (10000), of clips of a second, answered once each.

The answers are written into the database at once, as if they had been given a day ago: by the API they would take an hour. Behind each time
stand the processor's seconds of the command itself, which other work on the machine does not change; the server's are not in them.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotation.studio import Studio
from annotation.task import campaign_line
from pipelines.campaigns.cli import CHANGES
from pipelines.studio.postgres import DATABASE, OWNER, installations
from tests.benchmarks.campaign import exact
from tests.campaigning import choose
from tests.collection import earmark, tones
from tests.studio import StudioProcess
from tests.whole_campaign import Whole

TRACK_SECONDS = 100
CHANGED = 50
CAMPAIGN = """
name = "large"
title = "A large campaign"
[[questions]]
name = "mood"
kind = "tag.mood"
text = "Which moods?"
choices = ["calm", "wild"]
multiple = true
[clips]
seconds = 1.0
"""
# One answer becomes one of each task; all of them, and what was imported, become a day old, no two alike: pulls look ten minutes back.
ANSWERS = """
do $$
declare names text; same text;
begin
  select string_agg(quote_ident(column_name), ', '), string_agg('one.' || quote_ident(column_name), ', ') into names, same
    from information_schema.columns where table_name = 'task_completion' and column_name not in ('id', 'task_id', 'unique_id');
  execute 'insert into task_completion (task_id, unique_id, ' || names || ') select task.id, gen_random_uuid(), ' || same
    || ' from task, (select * from task_completion limit 1) as one where task.id <> one.task_id and task.project_id = one.project_id';
end $$;
update task set total_annotations = 1, is_labeled = true, updated_at = updated_at - interval '1 day' - id * interval '5 seconds';
update task_completion set created_at = created_at - interval '1 day', updated_at = updated_at - interval '1 day';
"""


def timed(what: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it in a process of its own, and say how long it took."""

    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    began, used = time.perf_counter(), seconds()
    made = act()
    print(f"{what:44} {time.perf_counter() - began:8.2f} s {seconds() - used:8.2f} s of a processor", flush=True)
    return made


def main(clips: int) -> None:
    """From recordings to labels, and then some changes."""
    server = StudioProcess()
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Whole(Path(folder), server, "large")
            tones(made.folder / "audio", -(-clips // TRACK_SECONDS), TRACK_SECONDS)
            (made.folder / "campaign.toml").write_text(f"{CAMPAIGN}limit = {clips}\n")
            (made.folder / "token").write_text(server.token)
            earmark("scan", made.folder / "audio", "--store", made.folder / "store")
            timed(f"plan of {clips} clips, which cuts them", lambda: made.command("plan", code=CHANGES))
            timed("plan", lambda: made.command("plan", code=CHANGES))
            timed("apply", lambda: made.command("apply"))
            timed("plan, nothing to do", lambda: made.command("plan"))
            changes(made, clips)
    finally:
        server.close()


def changes(made: Whole, clips: int) -> None:
    """Answers of yesterday, then some of today."""
    own = Studio(made.server.url, made.server.account("large-0").token)
    index = own.index(own.projects(campaign_line("large"))[0].id)
    own.annotate(index[0].id, [choose("mood", "calm")], lead_time=1.0)
    _sql(made, ANSWERS)
    pulled = timed("first pull", lambda: made.command("pull"))
    exact(pulled["answers"] == pulled["labels"] == clips)
    timed("incremental pull of nothing", lambda: made.command("pull"))
    for _ in range(3):
        for there in index[:CHANGED]:
            own.annotate(there.id, [choose("mood", "wild")], lead_time=1.0)
        pulled = timed(f"incremental pull of {CHANGED} changes", lambda: made.command("pull"))
        exact(pulled["answers"] == CHANGED)
    pulled = timed("full reconcile", lambda: made.command("pull", "--full"))
    exact(pulled["full"] and pulled["answers"] == pulled["labels"] == 0)
    timed("status", lambda: made.command("status"))


def _sql(made: Whole, said: str) -> None:
    postgres = made.server._studio.postgres  # type: ignore[attr-defined]
    program = installations()[max(installations())] / "psql"
    command = [str(program), "-v", "ON_ERROR_STOP=1", "-qh", str(postgres.socket), "-U", OWNER, DATABASE]
    subprocess.run(command, input=said, text=True, check=True, cwd="/")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
