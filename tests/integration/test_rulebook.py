# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook beamops.epmd.heal, run by ansible-rulebook itself over a fleet of real nodes that nobody touches."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT
from ansible_collections.beamops.epmd.tests.lab import SMALL, Fleet, Host, Otp, Plan, wait_until

TOOLS = Path(os.environ.get("BEAMOPS_RULEBOOK") or "/nowhere") / "bin"
LOSSES = 20


class Rulebook:
    """A running ansible-rulebook: its log so far, and the events that it has seen."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [ast.literal_eval(line) for line in self.log.splitlines() if line.startswith("{'type': ")]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


@contextmanager
def healing(fleet: Fleet, directory: Path) -> Iterator[Rulebook]:
    """ansible-rulebook with beamops.epmd.heal, once it has seen all nodes."""
    inventory, state = fleet.inventory(), directory / "state.json"
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
    listed = subprocess.run(
        ["ansible-inventory", "-i", str(inventory), "--list"], check=True, capture_output=True, env=environment
    )
    hosts, variables, log = directory / "hosts.json", directory / "vars.yml", directory / "log"
    hosts.write_bytes(listed.stdout)
    variables.write_text(
        json.dumps({"epmd_hosts_file": str(hosts), "epmd_state_file": str(state), "epmd_interval": 2, "epmd_grace": 10})
    )
    command = ["ansible-rulebook", "-r", "beamops.epmd.heal", "-i", str(inventory), "--vars", str(variables)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [TOOLS / command[0], *command[1:]], env=environment, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT
        )
    try:

        def watched() -> bool:
            assert process.poll() is None, log.read_text()
            return state.exists() and all(epmd["seen"] for epmd in json.loads(state.read_text())["epmds"].values())

        wait_until(watched, "all epmds to be watched", seconds=120)
        yield Rulebook(log)
    finally:
        process.terminate()
        process.wait(60)


def has(host: Host, name: str) -> bool:
    try:
        return name in host.names()
    except OSError:
        return False


def pids(host: Host) -> str:
    return host.run(["pgrep", "beam"])


pytestmark = [
    pytest.mark.test_all,
    pytest.mark.skipif(not TOOLS.exists(), reason="ansible-rulebook is installed for `make test-all`"),
]


def test_lost_nodes_come_back_and_beyond_the_limit_one_person_is_called(tmp_path: Path) -> None:
    otp = Otp.of(23)
    plans = [Plan(f"h{number}") for number in range(1, LOSSES + 1)] + [Plan("restarted")]
    with tempfile.TemporaryDirectory() as short, Fleet(plans, otp, Path(short)) as fleet:
        *hosts, restarted = fleet.hosts
        first, *others = hosts
        before = pids(first)
        with healing(fleet, tmp_path) as rulebook:
            # A restart, as of a service.
            port = restarted.names()["vic"]
            restarted.run(["pkill", "-TERM", "beam"])
            wait_until(lambda: not has(restarted, "vic"), "the node to be gone")
            restarted.run([otp.root / "bin" / "erl", "-detached", *SMALL, "-sname", "vic"])

            first.run(["pkill", "-KILL", "epmd"])
            wait_until(lambda: has(first, "vic") and rulebook.of("epmd_up"), "the node to come back", seconds=120)
            assert pids(first) == before
            assert [(event["type"], event["host"]) for event in rulebook.events] == [
                ("epmd_down", "h1"),
                ("epmd_up", "h1"),
            ], rulebook.log
            assert restarted.names()["vic"] != port

            for host in others:
                host.run(["pkill", "-KILL", "epmd"])
            wait_until(lambda: len(rulebook.of("epmd_down")) == LOSSES, "all losses to be seen", seconds=120)
            wait_until(lambda: len(rulebook.of("epmd_up")) == 5, "five to come back", seconds=120)
            wait_until(lambda: rulebook.log.count("\nPLAY RECAP ") == 6, "the playbooks to end", seconds=120)
            healed = {event["host"] for event in rulebook.events if event["heal"]}
            assert len(healed) == 5
            assert {host.name for host in hosts if has(host, "vic")} == healed
            assert Counter(event["type"] for event in rulebook.events) == {
                "epmd_down": LOSSES,
                "epmd_up": 5,
                "call": 1,
            }
            assert rulebook.of("call")[0]["reason"] == "fleet_limit"
            assert rulebook.log.count("PLAY [Call a person]") == 1


def test_a_misspelt_argument_ends_it_with_one_sentence(tmp_path: Path) -> None:
    rulebook, inventory = tmp_path / "rulebook.yml", tmp_path / "inventory"
    source = {"name": "names", "beamops.epmd.names": {"hosts": ["192.0.2.1"], "intervals": 5}}
    rule = {"name": "rule", "condition": "event.epmd.heal == true", "action": {"print_event": {}}}
    rulebook.write_text(json.dumps([{"name": "set", "hosts": "all", "sources": [source], "rules": [rule]}]))
    inventory.write_text("localhost\n")
    command = [str(TOOLS / "ansible-rulebook"), "-r", str(rulebook), "-i", str(inventory)]
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "there is no argument intervals: did you mean interval? (there are hosts, hosts_file, interval, " in output
    assert "Traceback" not in output
