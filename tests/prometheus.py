"""A Prometheus of the test's own, and what Grafana asks it for."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collection import ROOT
from tests.families import end

FOLDER = ROOT / "infra" / "dashboards"
MISSING = [tool for tool in ("prometheus", "promtool") if shutil.which(tool) is None]
needs_prometheus = pytest.mark.skipif(bool(MISSING), reason="no Prometheus: apt-get install prometheus")


def panels(seconds: int) -> dict[str, list[str]]:
    """What each panel of the dashboard asks for, by its title, where Grafana shows the last `seconds`."""
    shown = json.loads((FOLDER / "ray.json").read_text())["panels"]
    return {panel["title"]: [each["expr"].replace("$__range", f"{seconds}s") for each in panel["targets"]] for panel in shown}


@dataclass
class Prometheus:
    """A server that listens."""

    url: str

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that an expression comes to now.

        Raises:
            urllib.error.HTTPError: the expression is none.
        """
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]


@contextlib.contextmanager
def watching(target: str, port: int, folder: Path) -> Iterator[Prometheus]:
    """Start a Prometheus that asks an exporter ("host:port") twice a second; it ends with the block."""
    often = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    scrape = {"job_name": "ray", "static_configs": [{"targets": [target]}], **often}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    words = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/series"]
    with open(folder / "prometheus.log", "w") as log:
        child = subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            for _ in range(600):
                with contextlib.suppress(OSError):
                    if server.ask("up") == [({"__name__": "up", "instance": target, "job": "ray"}, 1.0)]:
                        break
                assert child.poll() is None, (folder / "prometheus.log").read_text()
                time.sleep(0.1)
            yield server
        finally:
            end(child)


def promtool(folder: Path, *tests: dict[str, Any]) -> None:
    """Have promtool work out expressions and alerts on series that are made up; what it finds wrong is told."""
    case = {"rule_files": [str(FOLDER / "ray.rules.yml")], "evaluation_interval": "1m", "tests": list(tests)}
    (folder / "tests.yml").write_text(yaml.safe_dump(case, sort_keys=False))
    done = subprocess.run(["promtool", "test", "rules", folder / "tests.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
