"""infra/dashboards: what the panels and alerts come to, worked out by Prometheus' own promtool on series that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.prometheus import FOLDER, needs_prometheus, panels, promtool

pytestmark = needs_prometheus
HOUR = 3600


def meter(name: str, values: str, worker: str = "w", **labels: str) -> dict[str, str]:
    """A series of one worker, a value a minute: "0+60x10" grows by 60 ten times, "_x10" is not there."""
    told = ",".join(f'{label}="{value}"' for label, value in {"WorkerId": worker, **labels}.items())
    return {"series": f"ray_{name}{{{told}}}", "values": values}


def cores(count: int, kind: str = "CPU") -> list[dict[str, str]]:
    """What a machine of so many cores or GPUs tells, with all of them in use or none."""
    return [
        {"series": f'ray_resources{{Name="{kind}",State="{state}"}}', "values": f"{value}x240"}
        for state, value in (("USED", count), ("AVAILABLE", 0))
    ]


def at(minutes: int, expression: str, *values: float) -> dict[str, Any]:
    """What an expression without labels has to come to."""
    return {"expr": expression, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": value} for value in values]}


def test_totals_are_of_the_time_shown_whoever_has_come_or_gone(tmp_path: Path) -> None:
    clips, hours = "earmark_clips_total", "earmark_sound_seconds_total"
    series = [
        meter(clips, "1000x200", "of the day before, whose machine still tells"),
        meter(clips, "500x30", "of the day before, gone"),
        meter(clips, "_x100 7x100", "seen first when it had heard all"),
        meter(clips, "_x80 0+2x20", "gone with its machine"),
        meter(clips, "300+1x200", "at work all the time"),
        meter(hours, "7200+3600x200"),
    ]
    shown = panels(HOUR)
    asked = [at(130, shown["Clips"][0], 7 + 40 + 60), at(130, shown["Hours of sound"][0], 60)]
    promtool(tmp_path, {"interval": "1m", "input_series": series, "promql_expr_test": asked})


def test_rates_are_of_all_workers_and_one_that_goes_or_begins_again_makes_no_peak(tmp_path: Path) -> None:
    speed = "earmark_sound_seconds_total"
    series = [
        meter(speed, "0+6000x200", "steady"),
        meter(speed, "0+6000x30", "gone"),
        meter(speed, "0+6000x60 0+6000x100", "from nothing again"),
        meter("earmark_busy_seconds_total", "0+60x200", device="cpu"),
        meter("earmark_busy_seconds_total", "0+30x200", device="gpu"),
        meter("earmark_rejects_total", "0x100 0+3x100"),
        *cores(4),
        *cores(1, "GPU"),
    ]
    shown = panels(HOUR)
    gpus, cpus = shown["Occupancy"]
    asked = [
        at(25, shown["Times real time"][0], 300),
        at(50, shown["Times real time"][0], 200),
        at(70, shown["Times real time"][0], 200),
        at(25, gpus, 0.5),
        at(25, cpus, 0.25),
        at(25, shown["Rejects"][0], 0),
        at(120, shown["Rejects"][0], 15),
    ]
    promtool(tmp_path, {"interval": "1m", "input_series": series, "promql_expr_test": asked})


def alert(name: str, minutes: int, summary: str = "", **labels: str) -> dict[str, Any]:
    """What stands of an alert at a time; without a summary it is quiet."""
    rules = yaml.safe_load((FOLDER / "ray.rules.yml").read_text())["groups"][0]["rules"]
    rule = next(each for each in rules if each["alert"] == name)
    told = {"exp_labels": rule["labels"] | labels, "exp_annotations": rule["annotations"] | {"summary": summary}}
    return {"alertname": name, "eval_time": f"{minutes}m", "exp_alerts": [told] if summary else []}


def test_alerts_stand_while_they_should_and_no_longer(tmp_path: Path) -> None:
    """Four hours on eight cores: in the second no shard ends, in the third much is rejected, in the last three cores work."""
    series = [
        meter("earmark_busy_seconds_total", "0+480x180 86400+180x60", device="cpu"),
        meter("earmark_tracks_total", "0+60x60 3600x60 3600+60x120"),
        meter("earmark_rejects_total", "0+1x120 120+6x60 480x60"),
        *cores(8),
        {"series": 'ray_node_disk_utilization_percentage{ip="10.0.0.2"}', "values": "50x100 93x60 60x80"},
        {"series": 'ray_node_disk_utilization_percentage{ip="10.0.0.3"}', "values": "50x240"},
    ]
    stalled = "Workers are busy and have ended no shard for half an hour"
    rejects = "90 files and views rejected in a quarter of an hour: one in twenty or more"
    idle = "37.5% of the cores are busy with a run, and no more than half of the GPUs"
    full = "Root disk of 10.0.0.2: 93 % full; from 95 % on Ray keeps nothing there"
    stand = [
        *(alert("EarmarkStalled", at, stalled if at == 100 else "") for at in (50, 80, 100, 130, 230)),
        *(alert("EarmarkRejects", at, rejects if at == 150 else "") for at in (50, 150, 230)),
        *(alert("EarmarkIdle", at, idle if at == 230 else "") for at in (50, 100, 150, 190, 230)),
        *(alert("EarmarkDiskFull", at, full if at == 120 else "", ip="10.0.0.2") for at in (50, 103, 120, 230)),
    ]
    # Cores that feed busy GPUs may wait for them.
    gpus = [meter("earmark_busy_seconds_total", "0+45x240", device="gpu"), *cores(1, "GPU")]
    fed = {"interval": "1m", "input_series": series + gpus, "alert_rule_test": [alert("EarmarkIdle", 230)]}
    promtool(tmp_path, {"interval": "1m", "input_series": series, "alert_rule_test": stand}, fed)
