"""infra/ray and infra/dashboards: what can be checked of them without a cloud."""

from __future__ import annotations

import inspect
import json
import re
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
    for group, said in ((decode, values["worker"]), (gpu, values["additionalWorkerGroups"]["gpu"])):
        assert said["resources"] == group["template"]["spec"]["containers"][0]["resources"]
        assert said["maxReplicas"] == group["maxReplicas"]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in (cluster["headGroupSpec"], decode, gpu)}
    assert images == {f"{values['image']['repository']}:{values['image']['tag']}"}


def test_the_versions_are_those_that_the_tests_ran_with() -> None:
    ray = pinned("ray")
    assert read("raycluster.yaml")["spec"]["rayVersion"] == read("values.yaml")["head"]["rayVersion"] == ray
    assert f"rayproject/ray:{ray}-py311" in (FOLDER / "Dockerfile").read_text()
    assert f"apache/beam_python3.11_sdk:{pinned('apache-beam')}" in (ROOT / "infra" / "beam" / "Dockerfile").read_text()


def test_the_dashboard_asks_for_what_workers_tell() -> None:
    from pipelines.engines import ray_cluster

    told = set(re.findall(r'^ +"(\w+)": "', inspect.getsource(ray_cluster._meters), re.MULTILINE))
    names = {f"ray_earmark_{name}_total" for name in told} | {"ray_earmark_busy"}
    panels = json.loads((ROOT / "infra" / "dashboards" / "ray.json").read_text())["panels"]
    asked = set(re.findall(r"ray_earmark_\w+", " ".join(target["expr"] for panel in panels for target in panel["targets"])))
    assert asked == names
    assert len({panel["id"] for panel in panels}) == len(panels)
