# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What epmd_sweep makes of the answers of epmds, and of options that can't be meant."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.modules import epmd_sweep
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, answer, epmd
from ansible_collections.beamops.epmd.tests.unit.plugins.modules.support import args_of


def swept(**params: Any) -> dict[str, Any]:
    printed = io.StringIO()
    with args_of(params), contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        epmd_sweep.main()
    result: dict[str, Any] = json.loads(printed.getvalue())
    return result


def test_each_host_has_its_state_and_what_is_missing() -> None:
    with FakeServer(epmd({"vic": 1, "wim": 2})) as one, FakeServer(answer(b"SSH-2.0-x\r\n")) as two:
        with FakeServer(epmd({})) as gone:
            pass
        hosts = [
            {"name": "fine", "host": "127.0.0.1", "port": one.port, "expected": ["vic", "wim"]},
            {"name": "lost", "host": "127.0.0.1", "port": one.port, "expected": ["ann", "vic"]},
            {"name": "other", "host": "127.0.0.1", "port": two.port},
            {"name": "loopback", "host": "127.0.0.1", "expected": ["vic"]},
            f"127.0.0.1:{one.port}",
        ]
        result = swept(hosts=hosts, epmd_port=gone.port)
    found = {host["name"]: (host["state"], host["missing"], host["extra"]) for host in result["hosts"]}
    assert found == {
        "fine": ("up", [], []),
        "lost": ("up", ["ann"], ["wim"]),
        "other": ("malformed", None, None),
        "loopback": ("refused", ["vic"], []),
        "127.0.0.1": ("up", None, None),
    }
    assert (result["look_at"], result["unknown"]) == (["lost", "other", "loopback"], ["127.0.0.1"])
    assert {state: number for state, number in result["states"].items() if number} == {
        "up": 3,
        "malformed": 1,
        "refused": 1,
    }
    assert result["msg"] == (
        "epmds asked: 5 (3 up, 1 refused, 1 malformed); names missing: 2; hosts to look at: 3; "
        "hosts where it is not known what to expect: 1"
    )
    assert (result["changed"], result["at_once"]) == (False, 500)


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"hosts": ["a:0"]}, "entry 1 of hosts is '0', which is not a TCP port: give 1 to 65535"),
        ({"hosts": ["a"], "epmd_port": 0}, "epmd_port is 0, which is not a TCP port: give 1 to 65535"),
        ({"hosts": ["a"], "at_once": 0}, "at_once 0 is not a number of epmds: give 1 to 1024"),
        ({"hosts": ["a\x1b[31m", "a\x1b[31m"]}, "hosts has a?[31m with port 4369 twice: take one of the two out"),
    ],
)
def test_what_can_not_be_meant_is_refused(params: dict[str, Any], complaint: str) -> None:
    result = swept(**params)
    assert (result["failed"], result["reason"], result["msg"]) == (True, "invalid_option", complaint)


def test_a_name_from_outside_is_made_safe_to_show() -> None:
    with FakeServer(epmd({"v\x1bc": 1})) as server:
        (host,) = swept(hosts=[f"127.0.0.1:{server.port}"])["hosts"]
    assert host["names"] == {"v?c": 1}
