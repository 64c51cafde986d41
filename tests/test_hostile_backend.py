"""What Label Studio asks the ML backend for is looked up by name: no address in a request is ever fetched, no file opened."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from annotation.interface import interface
from pipelines.campaigns.backend import server
from pipelines.campaigns.desk import open_desk
from tests.releasing import catalogue
from tests.test_backend import running

CAMPAIGN = 'name = "abc"\ntitle = "abc"\n[[questions]]\nname = "q"\nkind = "tag"\ntext = "q"\nchoices = ["a", "b"]\n'


def test_no_address_in_a_request_is_asked(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    desk = open_desk(tmp_path / "campaign.toml", catalogue(tmp_path, [{"number": 1}]))
    with socket.create_server(("127.0.0.1", 0)) as other, running(server(desk, port=0)) as url:
        other.setblocking(False)
        here = f"http://127.0.0.1:{other.getsockname()[1]}/a.wav"
        for audio in (here, "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", "/data/../../etc/passwd"):
            task = {"id": 1, "data": {"audio": audio, "ext_id": audio}}
            said = {"project": "1.1", "tasks": [task], "params": {"context": audio}, "hostname": here, "extra_params": audio}
            asked = [
                httpx.post(f"{url}/{call}", json=said | {"schema": interface(desk.campaign)}) for call in ("predict", "setup", "webhook")
            ]
            assert [each.status_code for each in asked] == [200] * 3
            assert asked[0].json() == {"results": [[]]}
        with pytest.raises(BlockingIOError):
            other.accept()
        bomb = '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>'
        refused = httpx.post(f"{url}/setup", json={"project": "1.1", "schema": bomb})
        assert (refused.status_code, refused.json()) == (400, {"error": "schema: a DOCTYPE or ENTITY is not allowed; leave it out"})
