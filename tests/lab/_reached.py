# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Ansible reaches a host or a container of the lab: by a program that enters it, in the place of ssh(1)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

# The last argument of ssh(1) is the command, and the host is always the same.
_SSH = """#!/bin/sh
for command; do :; done
exec {enter} sh -c "$command"
"""


def reached_by(enter: Sequence[str], directory: Path) -> dict[str, str]:
    """The variables of a host that is entered by this command line; the program is put into this directory."""
    ssh = directory / "ssh"
    ssh.write_text(_SSH.format(enter=shlex.join(enter)))
    ssh.chmod(0o700)
    return {
        "ansible_connection": "ssh",
        "ansible_ssh_executable": str(ssh),
        "ansible_ssh_transfer_method": "piped",
        "ansible_pipelining": "true",
        "ansible_remote_tmp": "/tmp",
        "ansible_become_method": "su",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
