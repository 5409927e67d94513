# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario that users are shown for tests of their own runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, NEWEST, life
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, free_port, holders, listeners


def play(playbook: Path, port: int, program: str) -> subprocess.CompletedProcess[str]:
    """Run it on this host, with the node's epmd on this port and this program as `erl`."""
    return subprocess.run(
        [
            "ansible-playbook",
            *("-i", "localhost,", "-c", "local", str(playbook)),
            *("-e", "ansible_become=false", "-e", f"ansible_python_interpreter={sys.executable}"),
            *("-e", f"scratch_node_epmd_port={port}", "-e", f"scratch_node_erl={program}"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )


@NEWEST
def test_the_printed_scenario_runs(otp: Otp, tmp_path: Path) -> None:
    readme = (CHECKOUT / "roles/scratch_node/README.md").read_text()
    printed = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert printed
    playbook = tmp_path / "converge.yml"
    playbook.write_text(printed.group(1))
    port = free_port()
    program = tmp_path / "erl"
    variables = " ".join(f"{key}='{value}'" for key, value in otp.environment().items())
    program.write_text(f'#!/bin/sh\nexec env {variables} {otp.erlexec} "$@"\n')
    program.chmod(0o755)
    done = play(playbook, port, str(program))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Expect the recovery" in done.stdout
    assert listeners(port) == set()


@NEWEST
@pytest.mark.parametrize("entry", ["main", "lose", "stop"])
def test_an_epmd_that_somebody_else_needs_is_left_alone(epmd: Epmd, node: Node, tmp_path: Path, entry: str) -> None:
    """Of several names one is enough."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        f"""
- name: Take the epmd of another node
  hosts: all
  gather_facts: false
  tasks:
    - name: Run the role
      ansible.builtin.include_role: {{name: beamops.epmd.scratch_node, tasks_from: {entry}}}
"""
    )
    before = life(node)
    done = play(playbook, epmd.port, "/no/such/erl")
    assert done.returncode != 0
    assert f"The epmd on port {epmd.port} has other names (vic), so it is left alone" in done.stdout
    assert (life(node), listeners(epmd.port), holders(epmd.port)) == (before, {epmd.pid}, {node.pid})
