# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook sweep over a fleet: who is reached over ssh, and what comes back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ansible_collections.beamops.epmd.benchmarks import sweep as sweep_benchmark
from ansible_collections.beamops.epmd.tests.integration.support import run_ansible
from ansible_collections.beamops.epmd.tests.lab import SMALL, Fleet, Otp, Plan, wait_until

PLANS = [Plan(name) for name in ("fine", "well", "lost", "gone")] + [Plan("loop", nodes=()), Plan("odd")]


def sweep(fleet: Fleet, directory: Path, *words: str) -> tuple[int, str, set[str]]:
    """Run it; its exit code, what it printed, and the hosts that it has reached over ssh."""
    inventory = fleet.inventory()
    command = ["ansible-playbook", "-i", str(inventory), "beamops.epmd.sweep", "-e", "recover_become=false", *words]
    done = run_ansible(command, directory, {"ANSIBLE_DEPRECATION_WARNINGS": "0"})
    reached = {host.name for host in fleet.hosts if (fleet.directory / f"{host.name}.ssh").exists()}
    return done.returncode, done.stdout + done.stderr, reached


def test_only_hosts_that_need_it_are_reached_over_ssh(tmp_path: Path) -> None:
    expected = json.dumps({"epmd_expected": ["vic"]})
    otp = Otp.of(23)
    with tempfile.TemporaryDirectory() as short, Fleet(PLANS, otp, Path(short)) as fleet:
        hosts = {host.name: host for host in fleet.hosts}
        # All that listens on loopback alone is fine there, and silent from here.
        node = [
            "env",
            "ERL_EPMD_ADDRESS=127.0.0.1",
            str(otp.root / "bin" / "erl"),
            "-detached",
            *SMALL,
            "-sname",
            "vic",
        ]
        hosts["loop"].run(node)
        names = [str(otp.bindir / "epmd"), "-names"]
        wait_until(lambda: "vic" in hosts["loop"].run(names), "the node on loopback")

        code, output, reached = sweep(fleet, tmp_path, "-e", expected, "--limit", "fine,well,odd")
        assert (code, reached) == (0, set()), output
        assert "epmds asked: 3 (3 up); names missing: 0; hosts to look at: 0" in output

        hosts["lost"].lose()
        hosts["gone"].run(["pkill", "-KILL", "epmd"])
        code, output, reached = sweep(fleet, tmp_path, "-e", expected)
        assert (code, reached) == (0, {"lost", "gone", "loop"}), output
        assert "epmds asked: 6 (4 up, 2 refused); names missing: 3; hosts to look at: 3" in output
        assert "looked at over ssh: 3 of 6 hosts" in output
        rows = [" ".join(line.strip(' ",').split()) for line in output.splitlines()]
        assert "gone 4369 refused nothing listens there; missing: vic" in rows
        assert all("vic" in hosts[name].names() for name in ("lost", "gone", "fine"))
        assert "vic@loop" in output


def test_the_benchmark_runs_without_ansible() -> None:
    """Its smallest size, with Ansible, is a part of `make bench-smallest`."""
    result = sweep_benchmark.measured(sweep_benchmark.SMOKE._replace(hosts=(0, 0), playbook=0))
    assert all(row.compared for table in result.tables for row in table.rows)
