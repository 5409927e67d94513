# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet of the lab: many hosts that are reached over ssh, and leave nothing behind."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from typing import Any

import psutil

from ansible_collections.beamops.epmd.tests.integration.support import run_ansible
from ansible_collections.beamops.epmd.tests.lab import Fleet, Otp, Plan

PLANS = [Plan("one"), Plan("two", nodes=("left", "right")), Plan("none", nodes=())]


def state() -> tuple[set[int], list[str], str]:
    """The processes, networks and mounts of this private host."""
    mounts = Path("/proc/self/mountinfo").read_text()
    return set(psutil.pids()), [name for _number, name in socket.if_nameindex()], mounts


def results(fleet: Fleet, directory: Path) -> dict[str, dict[str, Any]]:
    """The result of the module on each host."""
    command = ["ansible", "all", "-i", str(fleet.inventory()), "-m", "beamops.epmd.epmd_register", "-t", str(directory)]
    run_ansible(command, directory, {"ANSIBLE_DEPRECATION_WARNINGS": "0"})
    return {host.name: json.loads((directory / host.name).read_text()) for host in fleet.hosts}


def test_every_host_has_its_own_nodes_and_nothing_is_left(tmp_path: Path) -> None:
    before = state()
    with tempfile.TemporaryDirectory() as short, Fleet(PLANS, Otp.of(23), Path(short)) as fleet:
        hosts = [host.run(["uname", "-n"]).strip() for host in fleet.hosts]
        assert hosts == ["one", "two", "none"]
        fleet.lose(2)
        found = results(fleet, tmp_path)
        assert {host: sorted(node["name"] for node in result["nodes"]) for host, result in found.items()} == {
            "one": ["vic@one"],
            "two": ["left@two", "right@two"],
            "none": [],
        }
        assert {host: result["changed"] for host, result in found.items()} == {"one": True, "two": True, "none": False}
        assert [sorted(host.names()) for host in fleet.hosts[:2]] == [["vic"], ["left", "right"]]
    assert state() == before
