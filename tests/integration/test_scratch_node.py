# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario that users are shown for tests of their own runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, NEWEST
from ansible_collections.beamops.epmd.tests.lab import Otp, free_port, listeners


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
    done = subprocess.run(
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
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Expect the recovery" in done.stdout
    assert listeners(port) == set()
