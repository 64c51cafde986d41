"""XML of a lead or a server: nothing outside is read, nothing unfolds, and nothing is so deep or long that looking at it takes a while."""

from __future__ import annotations

import gzip
import json
import resource

import pytest

from annotation.interface import check_interface, controls, removed
from annotation.outcome import Away
from annotation.plan import _bare
from annotation.studio import Studio
from tests.answers import Answers
from tests.hostile import one_line
from tests.test_results import CAMPAIGN

LAUGHS = "".join(f'<!ENTITY {chr(98 + each)} "{f"&{chr(97 + each)};" * 10}">' for each in range(9))
SCREENS = {
    "a billion laughs": f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">{LAUGHS}]><View>&j;</View>',
    "a long laugh": f'<!DOCTYPE l [<!ENTITY a "{"x" * 100_000}">]><View>{"&a;" * 100_000}</View>',
    "a file": '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>',
    "an address": '<!DOCTYPE l SYSTEM "http://127.0.0.1:1/l.dtd"><View/>',
    "depth": "<View>" * 100_000 + "</View>" * 100_000,
    "controls in controls": '<Choices toName="a">' * 20_000 + "</Choices>" * 20_000,
    "breadth": f"<View>{'<Choices/>' * 200_000}</View>",
    "attributes": "<View " + " ".join(f'a{each}=""' for each in range(100_000)) + "/>",
    "a name that is nothing": "<View>\0</View>",
    "half a character": "<View a='\ud800'/>",
}


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_that_attacks_is_one_line(name: str) -> None:
    for look in (controls, lambda xml: removed(xml, xml)):
        with pytest.raises(ValueError, match=r"DOCTYPE|not XML|more than") as error:
            look(SCREENS[name])
        one_line(error.value, "")
        assert len(str(error.value)) < 200
    assert len(check_interface(SCREENS[name], CAMPAIGN)) == 1
    assert _bare(SCREENS[name]) == SCREENS[name].strip()  # a server's: compared as it stands


@pytest.mark.slow
def test_an_answer_that_unpacks_without_end_is_not_taken_whole() -> None:
    packed = gzip.compress(b'[{"id": 1, "email": "' + bytes(5 << 27) + b'"}]', 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Answers(200, packed, **{"content-encoding": "gzip"}) as server:
        with pytest.raises(Away, match="listing users: an answer of more than 512 MiB") as error:
            Studio(server.url, "a" * 40, patience=0.0).users()
        one_line(error.value, "")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1400 << 10
    with Answers(200, gzip.compress(json.dumps([{"id": 1, "email": "ä@example.org"}]).encode()), **{"content-encoding": "gzip"}) as server:
        assert Studio(server.url, "a" * 40).users() == {1: "ä@example.org"}
