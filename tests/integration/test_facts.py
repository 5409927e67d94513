# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts: the same verdicts as the module that repairs, and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import Register, life, lose
from ansible_collections.beamops.epmd.tests.lab import Epmd, FakeServer, Node, Otp, forget, hang, holders, listeners

pytestmark = pytest.mark.one_release


def gather(register: Register, *flags: str, **options: Any) -> dict[str, Any]:
    done = register(*flags, module="epmd_facts", **options)
    assert not done.failed, done.output
    assert not done.result["changed"]
    facts: dict[str, Any] = done.result["ansible_facts"]["epmd"]
    return facts


def test_a_healthy_and_a_lost_node(otp: Otp, epmd: Epmd, node: Node, register: Register) -> None:
    with otp.epmd() as other, otp.node("lost", epmd_port=other.port) as lost:
        lose(other, lost)
        before = [life(each) for each in (node, lost)]
        facts = gather(register)
        nodes = {found["name"]: found for found in facts["nodes"]}
        assert nodes[node.name]["verdict"] == "registered"
        assert nodes[node.name]["registered"]
        assert nodes[lost.name]["verdict"] == ("missing" if otp.release == 23 else "epmd_down")
        assert not nodes[lost.name]["registered"]
        assert "changed" not in nodes[lost.name]
        daemons = {daemon["port"]: daemon for daemon in facts["daemons"]}
        assert set(daemons) == {epmd.port, other.port}
        found = tuple(daemons[other.port][key] for key in ("state", "names", "msg"))
        assert found == (("up", {}, "") if otp.release == 23 else ("down", None, "epmd is down"))
        assert daemons[epmd.port]["names"] == {"vic": node.port}
        assert daemons[epmd.port]["pid"] == epmd.pid
        assert daemons[epmd.port]["user"] == "root"
        assert daemons[epmd.port]["addresses"]
        assert [life(each) for each in (node, lost)] == before
        assert holders(other.port) == set()
        assert listeners(other.port) == ({other.pid} if otp.release == 23 else set())

        assert "started" not in daemons[epmd.port]

        predicted = register("--check")
        assert {found["name"]: found["verdict"] for found in predicted.result["nodes"]} == {
            name: found["verdict"] for name, found in nodes.items()
        }
        assert gather(register, "--check") == facts


def test_a_default_epmd_without_nodes_is_a_fact(otp: Otp, register: Register) -> None:
    with otp.epmd(port=4369) as epmd:
        facts = gather(register)
        assert facts["nodes"] == []
        (daemon,) = facts["daemons"]
        assert (daemon["port"], daemon["pid"], daemon["state"], daemon["names"]) == (4369, epmd.pid, "up", {})


def test_an_epmd_that_hangs_is_a_fact_and_not_a_failure(epmd: Epmd, node: Node, register: Register) -> None:
    forget(epmd, node)
    with FakeServer(hang, port=epmd.port):
        facts = gather(register, timeout=2)
        (found,) = facts["nodes"]
        assert found["verdict"] == "epmd_unresponsive"
        (daemon,) = facts["daemons"]
        assert (daemon["pid"], daemon["state"], daemon["names"]) == (None, "mute", None)
        assert daemon["msg"].startswith("epmd gives no table: ")
