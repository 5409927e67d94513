# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role scratch_node: its printed scenario runs, and it kills no epmd but that of its own node."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, NEWEST, life
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, Squatter, free_port, holders, listeners


def play(playbook: Path, port: int, erl: Path | str) -> subprocess.CompletedProcess[str]:
    """Run it on this host, with the node's epmd on this port and this program as `erl`."""
    return subprocess.run(
        [
            "ansible-playbook",
            *("-i", "localhost,", "-c", "local", str(playbook)),
            *("-e", "ansible_become=false", "-e", f"ansible_python_interpreter={sys.executable}"),
            *("-e", f"scratch_node_epmd_port={port}", "-e", f"scratch_node_erl={erl}"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )


def program(otp: Otp, directory: Path) -> Path:
    """This release of Erlang as one file that can be run."""
    file = directory / "erl"
    variables = " ".join(f"{key}='{value}'" for key, value in otp.environment().items())
    file.write_text(f'#!/bin/sh\nexec env {variables} {otp.erlexec} "$@"\n')
    file.chmod(0o755)
    return file


def entries(directory: Path, *names: str) -> Path:
    """A playbook that runs these entry points of the role."""
    playbook = directory / "play.yml"
    tasks = [
        {
            "name": f"Run {name}",
            "ansible.builtin.include_role": {"name": "beamops.epmd.scratch_node", "tasks_from": name},
        }
        for name in names
    ]
    playbook.write_text(json.dumps([{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    return playbook


@NEWEST
def test_the_printed_scenario_runs(otp: Otp, tmp_path: Path) -> None:
    readme = (CHECKOUT / "roles/scratch_node/README.md").read_text()
    printed = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert printed
    playbook = tmp_path / "converge.yml"
    playbook.write_text(printed.group(1))
    port = free_port()
    done = play(playbook, port, program(otp, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Expect the recovery" in done.stdout
    assert listeners(port) == set()


@NEWEST
@pytest.mark.parametrize("entry", ["main", "lose", "stop"])
def test_an_epmd_that_somebody_else_uses_is_left_alone(epmd: Epmd, node: Node, tmp_path: Path, entry: str) -> None:
    """Another name is enough."""
    before = life(node)
    done = play(entries(tmp_path, entry), epmd.port, "/no/such/erl")
    assert done.returncode != 0
    assert f"The epmd on port {epmd.port} has other names (vic), so it is left alone" in done.stdout
    assert (life(node), listeners(epmd.port), holders(epmd.port)) == (before, {epmd.pid}, {node.pid})


@NEWEST
def test_its_name_at_the_epmd_of_somebody_else_is_not_enough(epmd: Epmd, tmp_path: Path) -> None:
    """The port of the name has to be that of the node."""
    with Squatter(epmd.port, "scratch", 4711):
        done = play(entries(tmp_path, "stop"), epmd.port, "/no/such/erl")
        assert done.returncode != 0
        assert f"The epmd on port {epmd.port} has other names (scratch), so it is left alone" in done.stdout
        assert listeners(epmd.port) == {epmd.pid}


@NEWEST
@pytest.mark.parametrize("hangs", [False, True])
def test_a_port_that_is_taken_is_refused_at_the_start(epmd: Epmd, tmp_path: Path, hangs: bool) -> None:
    """Also an epmd without any name: nobody could tell later whose it is."""
    if hangs:
        epmd.suspend()
    try:
        done = play(entries(tmp_path, "main"), epmd.port, "/no/such/erl")
        assert done.returncode != 0
        assert f"Something listens on port {epmd.port} already (pid {epmd.pid})" in done.stdout
        assert listeners(epmd.port) == {epmd.pid}
    finally:
        epmd.resume()


@NEWEST
def test_its_own_epmd_is_left_alone_while_somebody_else_uses_it(otp: Otp, tmp_path: Path) -> None:
    port = free_port()
    started = play(entries(tmp_path, "main"), port, program(otp, tmp_path))
    assert started.returncode == 0, started.stdout + started.stderr
    before = listeners(port)
    with Squatter(port, "bystander", 4711):
        for entry in ("lose", "stop"):
            done = play(entries(tmp_path, entry), port, "/no/such/erl")
            assert done.returncode != 0
            assert f"The epmd on port {port} has other names (bystander), so it is left alone" in done.stdout
        assert listeners(port) == before
    stopped = play(entries(tmp_path, "stop"), port, "/no/such/erl")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert listeners(port) == set()


def test_an_epmd_without_its_name_outlives_the_node(tmp_path: Path) -> None:
    """A node of OTP 23 does not register itself again at another epmd."""
    otp, port = Otp.of(23), free_port()
    lost = play(entries(tmp_path, "main", "lose"), port, program(otp, tmp_path))
    assert lost.returncode == 0, lost.stdout + lost.stderr
    with otp.epmd(port) as other:
        stopped = play(entries(tmp_path, "stop"), port, "/no/such/erl")
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        assert (
            f"does not have the name of the scratch node, so it was left running. If nobody needs it: kill {other.pid}"
            in (" ".join(stopped.stdout.split()))
        )
        assert listeners(port) == {other.pid}
