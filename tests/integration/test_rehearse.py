# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook beamops.epmd.rehearse on hosts of the lab: who would come back, who would not and why, and nothing left."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, run_ansible
from ansible_collections.beamops.epmd.tests.lab import Fleet, Host, Otp, Plan

LOOK = "ps -e -o pid=,user=,lstart=,args= | grep -E '[b]eam|[e]pmd'; ss -Hltnp | sort; epmd -names; ls -a /root /tmp"


class Row(NamedTuple):
    """A row of the table."""

    verdict: str
    why: str


def seen(host: Host) -> str:
    """What runs and listens on a host, the table of its epmd, and the files where a node could leave some."""
    return host.run(["sh", "-c", LOOK])


def rows(output: str) -> dict[tuple[str, str], Row]:
    """The table, by host and node."""
    _before, head, table = output.partition("host  ")
    assert head, output
    found = [re.split(r" {2,}", line, maxsplit=3) for line in table.split("\n\n")[0].splitlines()[1:]]
    return {(row[0], row[1]): Row(row[2], row[3]) for row in found}


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    plans = [Plan("well", nodes=("left", "right")), Plan("none", nodes=())]
    with tempfile.TemporaryDirectory() as short, Fleet(plans, Otp.of(23), Path(short)) as running:
        yield running


def test_a_fleet(fleet: Fleet, tmp_path: Path) -> None:
    before = {host.name: seen(host) for host in fleet.hosts}
    command = [
        "ansible-playbook",
        "-v",
        "-i",
        str(fleet.inventory()),
        "beamops.epmd.rehearse",
        "-e",
        "rehearse_become=false",
    ]
    done = run_ansible(command, tmp_path, {})
    print(done.stdout, done.stderr)
    print(before)
    assert {host.name: seen(host) for host in fleet.hosts} == before
    assert 0
