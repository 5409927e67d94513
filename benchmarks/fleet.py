# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over ssh: `ansible -m epmd_register` and the playbooks against `ansible -m ping`, and how it grows."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.beamops.epmd.benchmarks.harness import (
    Result,
    Row,
    Table,
    differences,
    in_turns,
    listed,
    ratios,
    scratch,
    timed,
)
from ansible_collections.beamops.epmd.tests.lab import Fleet, Otp, Plan

NAME = "fleet"
PING, REGISTER = "ansible.builtin.ping", "beamops.epmd.epmd_register"
CASES = {"all healthy": 1.2, "all lost": 1.3}
SETTINGS_NOTE = (
    "All in the same rounds, against 10 forks, pipelining and open connections. The controller is all of the hosts as "
    "well, so that more forks have nothing to wait for."
)
PER_STRATEGY = """
- hosts: all
  gather_facts: false
  strategy: ansible.builtin.{strategy}
  tasks:
    - beamops.epmd.epmd_facts:
    - beamops.epmd.epmd_register:
"""


class Size(NamedTuple):
    """How much to measure."""

    rounds: dict[str, dict[int, int]]
    """By pipelining ("off", "on") and number of hosts."""
    forks: tuple[int, ...]
    alone: int
    """Rounds with one host."""
    new: tuple[int, int]
    """Hosts and rounds, for new connections."""
    settings: tuple[int, int]
    """Hosts and rounds, for what a setting does."""
    strategies: tuple[int, int]
    """Hosts and rounds."""
    playbooks: tuple[int, int]
    """Hosts and rounds."""


SMOKE = Size({"on": {2: 1}}, (2,), 1, (2, 1), (2, 1), (2, 1), (2, 1))
FULL = Size({"off": {10: 2}, "on": {10: 5, 50: 2}}, (10, 50), 5, (20, 2), (10, 2), (10, 2), (10, 3))


class Spent(NamedTuple):
    """What one run took.

    seconds: elapsed time. processor: seconds of processor time of `ansible` and the processes that it waited for (not
    of shared ssh connections, which outlive it). megabytes: its largest process.
    """

    seconds: float
    processor: float
    megabytes: float


def measure(smoke: bool) -> Result:
    """All on the first of the same hosts, over open connections unless stated otherwise."""
    size = SMOKE if smoke else FULL
    hosts = size.rounds["on"]
    plans = [Plan(f"h{number}") for number in range(1, max(hosts) + 1)]
    with scratch() as directory, Fleet(plans, Otp.of(23), Path(directory)) as fleet:
        bench = _Bench(fleet)
        bench.ansible(PING, max(hosts), forks=10)  # opens the connections
        growth = [
            row
            for pipelining, rounds in size.rounds.items()
            for forks in size.forks
            for number in rounds
            # More forks than hosts make no difference.
            if number >= forks or forks == min(size.forks)
            for row in bench.compare(number, forks, pipelining, rounds[number])
        ]
        layers = bench.layers(size.alone)
        again = bench.new_connections(*size.new)
        settings = bench.settings(*size.settings)
        strategies = bench.strategies(*size.strategies)
        playbooks = bench.playbooks(*size.playbooks)
        start = statistics.median(layers[0].ours) / 1000
        constants = bench.constants(start, max(hosts), size.new[0], size.alone)
    head = ("ping", "epmd_register", "ratio")
    rounds = "; ".join(
        f"pipelining {pipelining}: {', '.join(f'{number} with {hosts} hosts' for hosts, number in each.items())}"
        for pipelining, each in size.rounds.items()
    )
    note = f"Rounds, {rounds}. All hosts share the processors of the controller, unlike in a real fleet."
    return Result(
        NAME,
        f"A fleet of {listed(hosts)} hosts over ssh",
        [
            Table("The whole run", head, ("s", ""), growth, note),
            Table("The playbooks, against one ad hoc ping", ("ping", "the playbook", "ratio"), ("s", ""), playbooks),
            Table("With a new ssh connection to each host", head, ("s", ""), again),
            Table("One setting changed", ("as advised", "the other", "ratio"), ("s", ""), settings, SETTINGS_NOTE),
            Table("A play of two tasks, by strategy", ("linear", "the other", "ratio"), ("s", ""), strategies),
            Table("One host, layer by layer", ("without", "with it", "more"), ("ms", "ms"), layers),
        ],
        constants,
    )


class _Bench:
    """Runs of ansible over a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._new: dict[str, Any] = {"ansible_ssh_args": fleet.ssh_args(share=False)}
        self._spent: dict[tuple[int, str, bool], list[Spent]] = {}
        """What our module took on healthy hosts, by number of hosts, pipelining, and whether connections were new."""

    def ansible(
        self,
        module: str,
        hosts: int,
        forks: int,
        pipelining: str = "on",
        changed: bool = False,
        new: bool = False,
        arguments: str = "",
    ) -> Spent:
        """One run on the first hosts. Errors: SystemExit if it does not succeed on all of them."""
        inventory = self._fleet.inventory(hosts, **(self._new if new else {}))
        command = ["ansible", "all", "-i", str(inventory), "-f", str(forks), "-m", module, "-a", arguments]
        spent, output = _spend(command, pipelining)
        word = "CHANGED" if changed else "SUCCESS"
        if len(re.findall(rf"^\S+ \| {word} ", output, re.MULTILINE)) != hosts:
            raise SystemExit(f"bench: not {word} on all of the {hosts} hosts: {output}")
        if module == REGISTER and not changed:
            self._spent.setdefault((hosts, pipelining, new), []).append(spent)
        return spent

    def compare(self, hosts: int, forks: int, pipelining: str, rounds: int) -> list[Row]:
        """Our module with all nodes healthy and with all lost, compared with ping."""
        samples = in_turns(
            rounds,
            {
                "ping": lambda: self.ansible(PING, hosts, forks, pipelining).seconds,
                "all healthy": lambda: self.ansible(REGISTER, hosts, forks, pipelining).seconds,
                "all lost": lambda: self._lost(hosts, forks, pipelining),
            },
            warm_up=False,
        )
        where = {"hosts": str(hosts), "forks": str(forks), "pipelining": pipelining}
        base = samples["ping"]
        return [
            Row({"case": case, **where}, base, samples[case], ratios(base, samples[case]), goal)
            for case, goal in CASES.items()
        ]

    def _lost(self, hosts: int, forks: int, pipelining: str) -> float:
        self._fleet.lose(hosts)
        return self.ansible(REGISTER, hosts, forks, pipelining, changed=True).seconds

    def new_connections(self, hosts: int, rounds: int) -> list[Row]:
        """As the first run of the day, when no connection is open."""
        forks = min(hosts, 50)
        samples = in_turns(
            rounds,
            {
                "ping": lambda: self.ansible(PING, hosts, forks, new=True).seconds,
                "ours": lambda: self.ansible(REGISTER, hosts, forks, new=True).seconds,
            },
            warm_up=False,
        )
        case = {"case": "all healthy", "hosts": str(hosts), "forks": str(forks), "pipelining": "on"}
        compared = ratios(samples["ping"], samples["ours"])
        return [Row(case, samples["ping"], samples["ours"], compared, CASES["all healthy"])]

    def settings(self, hosts: int, rounds: int) -> list[Row]:
        """What each setting of the advice is worth: our module on healthy hosts, with that one changed."""
        changed: dict[str, dict[str, Any]] = {
            "5 forks, the default": {"forks": 5},
            "20 forks": {"forks": 20},
            "no pipelining": {"pipelining": "off"},
            "new connections": {"new": True},
        }

        def way(different: dict[str, Any]) -> Callable[[], float]:
            return lambda: self.ansible(REGISTER, hosts, **{"forks": 10, **different}).seconds

        samples = in_turns(rounds, {name: way(different) for name, different in {"": {}, **changed}.items()}, False)
        base = samples[""]
        return [
            Row({"setting": name, "hosts": str(hosts)}, base, samples[name], ratios(base, samples[name]))
            for name in changed
        ]

    def strategies(self, hosts: int, rounds: int) -> list[Row]:
        """Both modules in a playbook: how long until the last host has finished."""
        forks = min(hosts, 10)

        def way(strategy: str) -> Callable[[], float]:
            play = self._fleet.directory / f"{strategy}.yml"
            play.write_text(PER_STRATEGY.format(strategy=strategy))
            command = ["ansible-playbook", "-i", str(self._fleet.inventory(hosts)), "-f", str(forks), str(play)]
            return lambda: _spend(command, "on")[0].seconds

        names = ("linear", "free", "host_pinned")
        samples = in_turns(rounds, {name: way(name) for name in names}, warm_up=False)
        return [
            Row(
                {"strategy": name, "hosts": str(hosts), "forks": str(forks)},
                samples["linear"],
                samples[name],
                ratios(samples["linear"], samples[name]),
            )
            for name in names[1:]
        ]

    def playbooks(self, hosts: int, rounds: int) -> list[Row]:
        """What people run, all of it, over the same hosts as one ad hoc ping."""
        forks = min(hosts, 10)

        def way(playbook: str, case: str) -> Callable[[], float]:
            words = ["ansible-playbook", "-i", str(self._fleet.inventory(hosts)), "-f", str(forks)]
            words += [f"beamops.epmd.{playbook}", "-e", f"{playbook}_become=false", "-e", "audit_fail=false"]

            def once() -> float:
                if case == "all lost":
                    self._fleet.lose(hosts)
                spent, output = _spend(words, "on")
                seen = len(re.findall(" registered " if case == "all healthy" else " missing ", output))
                if seen < hosts:
                    raise SystemExit(f"bench: {playbook} saw {seen} of {hosts} nodes as they are: {output}")
                return spent.seconds

            return once

        # The names that are lost for `audit` are registered by `recover`.
        order = [("audit", "all healthy"), ("recover", "all healthy"), ("audit", "all lost"), ("recover", "all lost")]
        ways = {f"{playbook}, {case}": way(playbook, case) for playbook, case in order}
        samples = in_turns(rounds, {"ping": lambda: self.ansible(PING, hosts, forks).seconds, **ways}, warm_up=False)
        return [
            Row(
                {"playbook": playbook, "case": case, "hosts": str(hosts), "forks": str(forks)},
                samples["ping"],
                samples[f"{playbook}, {case}"],
                ratios(samples["ping"], samples[f"{playbook}, {case}"]),
                CASES[case],
            )
            for playbook, case in order
        ]

    def _local(self) -> float:
        """One run on a host itself, without a controller."""
        words = ["env", f"ANSIBLE_COLLECTIONS_PATH={os.environ['ANSIBLE_COLLECTIONS_PATH']}", "ansible", "localhost"]
        return timed(lambda: self._fleet.hosts[0].run([*words, "-m", REGISTER]))

    def layers(self, rounds: int) -> list[Row]:
        """What each part of a run adds: the difference between a run with it and one without."""
        command = "ansible.builtin.raw"
        samples = in_turns(
            rounds,
            {
                "nothing": lambda: 0.0,
                "ansible": lambda: self._alone("ansible.builtin.debug"),
                "command": lambda: self._alone(command, changed=True, arguments="true"),
                "ping": lambda: self._alone(PING),
                "ours": lambda: self._alone(REGISTER),
                "file": lambda: self._alone(REGISTER, pipelining="off"),
                "new": lambda: self._alone(REGISTER, new=True),
            },
        )
        compared = (
            ("nothing", "ansible", "ansible itself, with a task that needs no host"),
            ("ansible", "command", "a command over the open connection"),
            ("command", "ping", "a module instead: its payload is built, sent and run"),
            ("ping", "ours", "our module instead of ping"),
            ("ours", "file", "no pipelining: the payload is copied to a file first"),
            ("ours", "new", "a new connection instead of the open one"),
        )
        return [
            Row({"layer": title}, samples[before], samples[after], differences(samples[before], samples[after]))
            for before, after, title in compared
        ]

    def _alone(self, module: str, **options: Any) -> float:
        return self.ansible(module, 1, 1, **options).seconds * 1000

    def constants(self, start: float, most: int, most_new: int, rounds: int) -> dict[str, float]:
        """The constants of the computations in scale.rst, in seconds: medians of runs that are in the tables, too."""

        def median(field: str, *runs: Any) -> float:
            found: list[float] = [getattr(spent, field) for spent in self._spent[runs]]
            return statistics.median(found)

        alone = median("processor", 1, "on", False)
        found = {
            "start": start,
            "host": median("seconds", 1, "on", False) - start,
            "host_off": median("seconds", 1, "off", False) - start,
            "host_new": median("seconds", 1, "on", True) - start,
            "local": statistics.median(self._local() for _unused in range(rounds)),
            "processor": (median("processor", most, "on", False) - alone) / (most - 1),
            "processor_new": (median("processor", most_new, "on", True) - alone) / (most_new - 1),
            "megabytes": median("megabytes", most, "on", False),
        }
        if (most, "off", False) in self._spent:
            found["processor_off"] = (median("processor", most, "off", False) - alone) / (most - 1)
        return found


def _spend(command: list[str], pipelining: str) -> tuple[Spent, str]:
    """Run ansible; returns what it took and what it printed. Errors: SystemExit if it fails."""
    settings = {"ANSIBLE_PIPELINING": "1" if pipelining == "on" else "0", "ANSIBLE_NOCOLOR": "1"}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        spent = Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise SystemExit(f"bench: {command[0]} ended with {process.returncode}: {printed}")
    return spent, printed
