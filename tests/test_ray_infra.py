"""infra/ray and infra/dashboards: what can be checked of them without a cloud."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collection import ROOT

FOLDER = ROOT / "infra" / "ray"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("name", ["local.yaml", "cluster.yaml"])
def test_ray_accepts_the_cluster_file(name: str) -> None:
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    filled = fillout_defaults(read(name))
    filled["cluster_synced_files"] = []
    validate_config(filled)
    with pytest.raises(Exception, match="providerr"):
        validate_config({**filled, "providerr": {}})


def test_both_cluster_files_bring_the_same_project_and_every_folder_of_it() -> None:
    mounts = read("local.yaml")["file_mounts"]
    assert read("cluster.yaml")["file_mounts"] == mounts
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert {Path(place).name for place in mounts.values()} > {"pipelines", "annotation", "augment", "extractors"}
    assert all((ROOT / place).exists() for place in mounts.values())


def test_kubernetes_accepts_the_pods() -> None:
    from kubernetes_validate import ValidationError, validate

    spec = read("raycluster.yaml")["spec"]
    pods = [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]
    for pod in pods:
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **pod}, "1.31", strict=True)
    wrong = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {**pods[0]["spec"], "containers": [{"imagee": "x"}]}}
    with pytest.raises(ValidationError):
        validate(wrong, "1.31", strict=True)


def test_job_cluster_and_chart_ask_for_the_same_machines() -> None:
    cluster, values = read("raycluster.yaml")["spec"], read("values.yaml")
    assert read("rayjob.yaml")["spec"]["rayClusterSpec"] == cluster
    decode, gpu = cluster["workerGroupSpecs"]
    pairs = [(cluster["headGroupSpec"], values["head"]), (decode, values["worker"]), (gpu, values["additionalWorkerGroups"]["gpu"])]
    for group, said in pairs:
        assert said["resources"] == group["template"]["spec"]["containers"][0]["resources"]
        assert said["rayStartParams"] == group["rayStartParams"]
        assert said.get("maxReplicas") == group.get("maxReplicas")
    # Helm lays these over its chart's own, which limit a pod to one core: a limit that is not said here would be below what is asked for.
    for _, said in pairs:
        assert said["resources"]["limits"] == said["resources"]["requests"]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in (cluster["headGroupSpec"], decode, gpu)}
    assert images == {f"{values['image']['repository']}:{values['image']['tag']}"}


def test_the_versions_are_those_that_the_tests_ran_with() -> None:
    ray = pinned("ray")
    assert read("raycluster.yaml")["spec"]["rayVersion"] == read("values.yaml")["head"]["rayVersion"] == ray
    assert f"rayproject/ray:{ray}-py311" in (FOLDER / "Dockerfile").read_text()
    assert f"apache/beam_python3.11_sdk:{pinned('apache-beam')}" in (ROOT / "infra" / "beam" / "Dockerfile").read_text()


def test_the_dashboard_asks_for_what_workers_tell() -> None:
    from pipelines.engines.ray_meters import COUNTERS

    panels = json.loads((ROOT / "infra" / "dashboards" / "ray.json").read_text())["panels"]
    asked = set(re.findall(r"ray_\w+", " ".join(target["expr"] for panel in panels for target in panel["targets"])))
    # What Ray itself tells is looked up on a head that runs, in test_jobs.
    assert asked == {f"ray_earmark_{name}_total" for name in COUNTERS} | {"ray_resources", "ray_object_store_memory"}
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_all_the_time_of_a_shard_is_counted_also_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.engines import ray_meters

    told: list[tuple[float, dict[str, str]]] = []
    several = threading.Event()

    class Counter:
        def inc(self, seconds: float, tags: dict[str, str]) -> None:
            told.append((seconds, tags))
            if len(told) == 3:
                several.set()

    monkeypatch.setattr(ray_meters, "_counters", lambda: {"busy_seconds": Counter()})
    monkeypatch.setattr(ray_meters, "EVERY", 0.001)
    before = time.monotonic()
    with pytest.raises(KeyError), ray_meters.busy("gpu"):
        inside = time.monotonic()
        assert several.wait(30)
        inside = time.monotonic() - inside
        raise KeyError
    assert inside <= sum(seconds for seconds, _ in told) <= time.monotonic() - before
    assert {tags["device"] for _, tags in told} == {"gpu"}


def test_what_a_run_costs_follows_from_the_rates_that_are_stated() -> None:
    from tests.benchmarks.cost import ROWS, TRACKS, core_hours, price, row

    text = (FOLDER / "README.md").read_text()
    rates = {name: float(rate) for name, rate in re.findall(r"^\| ([^|]+) \| (\d+) \| [\d.]+ \| [\d.]+ \|$", text, re.MULTILINE)}
    assert list(rates) == list(ROWS)
    assert all(row(name, rate) in text for name, rate in rates.items())
    assert f"of 30 s (H = {TRACKS * 30 / 3600:,.0f}) | of 4 minutes (H = {TRACKS * 240 / 3600:,.0f})" in text
    spot = read("cluster.yaml")["available_node_types"]["decode"]
    cores, work = spot["max_workers"] * spot["resources"]["CPU"], core_hours(rates["log-mel and MusiCNN, bf16"], 240)
    minutes, paid, many = 60 * work / cores, cores * (work / cores + 3 / 60), price(work, cores, 3 / 60, 0.02, 0)
    hours, alone, one = work / 16 + 3 / 60, 16 * (work / 16 + 3 / 60), price(work, 16, 3 / 60, 0.02, 0)
    words = " ".join(text.split())
    assert f"the {cores} spot cores of cluster.yaml hear" in words
    assert f"in {minutes:.1f} minutes of work; if they take three minutes to start, {paid:.0f} core hours are paid" in words
    assert f"One machine of 16 cores takes {hours:.1f} hours and {alone:.0f} core hours" in words
    assert f"that is {many:.1f} or {one:.2f}, the head apart" in words
