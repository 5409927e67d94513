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
from ansible_collections.beamops.epmd.tests.integration.test_targets import CORES, find_controller
from ansible_collections.beamops.epmd.tests.lab import SMALL, Fleet, Otp, Plan, wait_until

PLANS = [Plan(name) for name in ("fine", "well", "lost", "gone")] + [Plan("loop", nodes=()), Plan("odd")]


class Controller:
    """Runs playbooks over a fleet, with an ansible-core and its cache of facts."""

    def __init__(self, fleet: Fleet, directory: Path, core: str) -> None:
        self._fleet = fleet
        self._directory = directory
        self._settings = {
            **find_controller(core),
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(directory / f"facts-{core}"),
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        }

    def __call__(self, playbook: str, *words: str) -> tuple[int, str, set[str]]:
        """The exit code, what it printed, and the hosts that are or were reached over ssh."""
        inventory = str(self._fleet.inventory())
        command = ["ansible-playbook", "-i", inventory, f"beamops.epmd.{playbook}", *words]
        done = run_ansible([*command, "-e", "recover_become=false audit_become=false"], self._directory, self._settings)
        reached = {host.name for host in self._fleet.hosts if (self._fleet.directory / f"{host.name}.ssh").exists()}
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

        play = Controller(fleet, tmp_path, CORES[0])
        for core in CORES:
            each = Controller(fleet, tmp_path, core)
            code, output, reached = each("sweep", "-e", expected, "--limit", "fine,well,odd")
            assert (code, reached) == (0, set()), output
            assert "3 epmds asked, 3 up; 0 names missing" in output

        hosts["lost"].lose()
        hosts["gone"].run(["pkill", "-KILL", "epmd"])
        code, output, reached = play("sweep", "-e", expected)
        assert (code, reached) == (0, {"lost", "gone", "loop"}), output
        assert "6 epmds asked, 4 up, 2 refused; 3 names missing; 3 hosts to be looked at from inside" in output
        rows = [" ".join(line.split()) for line in output.splitlines()]
        assert "gone 4369 refused nothing listens there; missing: vic" in rows
        assert all("vic" in hosts[name].names() for name in ("lost", "gone", "fine"))
        assert "vic@loop" in output

        # What is expected is known by the facts that a look has left. Of these hosts none reaches another, so all but
        # that from which they are asked are looked at.
        assert play("audit", "--limit", "fine,well")[0] == 0
        hosts["well"].lose()
        code, output, reached = play("sweep", "-e", "sweep_from=fine", "--limit", "fine,well,odd")
        assert "3 epmds asked, 1 up, 2 down; 1 name missing; 2 hosts to be looked at from inside" in output, output
        assert (code, "vic" in hosts["well"].names()) == (0, True), output


def test_the_benchmark_runs_without_ansible() -> None:
    """Its smallest size, with Ansible, is a part of `make bench-smallest`."""
    result = sweep_benchmark.measured(sweep_benchmark.SMOKE._replace(hosts=(0, 0), playbook=0))
    assert all(row.compared for table in result.tables for row in table.rows)
