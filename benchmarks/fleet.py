# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over ssh: all of `ansible -m epmd_register` against all of `ansible -m ping`, and how it grows."""

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
PER_STRATEGY = """
- hosts: all
  gather_facts: false
  strategy: ansible.builtin.{strategy}
  roles: [beamops.epmd.ensure_registered]
"""


class Size(NamedTuple):
    """How much of it to measure. rounds: for each number of hosts."""

    rounds: dict[int, int]
    forks: tuple[int, ...]
    pipelining: tuple[str, ...]
    alone: int
    """Rounds with one host."""
    others: tuple[int, int]
    """Hosts and rounds, for new connections and for the strategies."""


SMOKE = Size({2: 1}, (2,), ("on",), 1, (2, 1))
FULL = Size({10: 5, 50: 3, 100: 2}, (10, 50), ("off", "on"), 5, (50, 2))


class Spent(NamedTuple):
    """Seconds that passed, and those of the controller's processors: of ansible, and of ssh but for what stays."""

    seconds: float
    processor: float


def measure(smoke: bool) -> Result:
    """All with the same hosts, of which some take part; their connections are open, unless it says otherwise."""
    size = SMOKE if smoke else FULL
    largest = max(size.rounds)
    plans = [Plan(f"h{number}") for number in range(1, largest + 1)]
    with scratch() as directory, Fleet(plans, Otp.of(23), Path(directory)) as fleet:
        bench = _Bench(fleet)
        bench.ansible(PING, largest, forks=10)  # opens the connections
        growth = [
            row
            for pipelining in size.pipelining
            for forks in size.forks
            for hosts in size.rounds
            # With a fork for each host, more forks change nothing.
            if hosts >= forks or forks == min(size.forks)
            for row in bench.compare(hosts, forks, pipelining, size.rounds[hosts])
        ]
        constants = bench.constants(size)
        again = bench.new_connections(*size.others)
        strategies = bench.strategies(*size.others)
    head = ("ping", "epmd_register", "ratio")
    rounds = "; ".join(f"{hosts} hosts: {number} rounds" for hosts, number in size.rounds.items())
    return Result(
        NAME,
        f"A fleet of {listed(size.rounds)} hosts over ssh",
        [
            Table("The whole run", head, ("s", ""), growth, f"{rounds}. The hosts share the controller's processors."),
            Table("With a new connection of ssh to each host", head, ("s", ""), again),
            Table("The role, by strategy", ("linear", "the other", "ratio"), ("s", ""), strategies),
        ],
        constants,
    )


class _Bench:
    """Runs of ansible over a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def ansible(
        self, module: str, hosts: int, forks: int, pipelining: str = "on", changed: bool = False, **variables: Any
    ) -> Spent:
        """One run over the first hosts, which has to succeed on every one of them."""
        command = ["ansible", "all", "-i", str(self._fleet.inventory(hosts, **variables)), "-m", module]
        spent, output = _spend([*command, "-f", str(forks)], pipelining)
        word = "CHANGED" if changed else "SUCCESS"
        if len(re.findall(rf"^\S+ \| {word} ", output, re.MULTILINE)) != hosts:
            raise SystemExit(f"bench: not {word} on all of the {hosts} hosts: {output}")
        return spent

    def compare(self, hosts: int, forks: int, pipelining: str, rounds: int) -> list[Row]:
        """All healthy and all lost, against ping."""
        samples = in_turns(
            rounds,
            {
                "ping": lambda: self.ansible(PING, hosts, forks, pipelining).seconds,
                "all healthy": lambda: self.ansible(REGISTER, hosts, forks, pipelining).seconds,
                "all lost": lambda: self._lost(hosts, forks, pipelining),
            },
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
        """As the first run of the day: no connection is open."""
        control: dict[str, Any] = {"ansible_ssh_args": self._fleet.ssh_args(share=False)}
        forks = min(hosts, 50)
        samples = in_turns(
            rounds,
            {
                "ping": lambda: self.ansible(PING, hosts, forks, **control).seconds,
                "ours": lambda: self.ansible(REGISTER, hosts, forks, **control).seconds,
            },
        )
        case = {"case": "all healthy", "hosts": str(hosts), "forks": str(forks), "pipelining": "on"}
        return [Row(case, samples["ping"], samples["ours"], ratios(samples["ping"], samples["ours"]))]

    def strategies(self, hosts: int, rounds: int) -> list[Row]:
        """The role in a playbook: how long until the last host is done."""
        forks = min(hosts, 10)

        def way(strategy: str) -> Callable[[], float]:
            play = self._fleet.directory / f"{strategy}.yml"
            play.write_text(PER_STRATEGY.format(strategy=strategy))
            command = ["ansible-playbook", "-i", str(self._fleet.inventory(hosts)), "-f", str(forks), str(play)]
            return lambda: _spend(command, "on")[0].seconds

        names = ("linear", "free", "host_pinned")
        samples = in_turns(rounds, {name: way(name) for name in names})
        return [
            Row(
                {"strategy": name, "hosts": str(hosts), "forks": str(forks)},
                samples["linear"],
                samples[name],
                ratios(samples["linear"], samples[name]),
            )
            for name in names[1:]
        ]

    def _local(self) -> float:
        """One run on a host itself, without a controller."""
        words = ["env", f"ANSIBLE_COLLECTIONS_PATH={os.environ['ANSIBLE_COLLECTIONS_PATH']}", "ansible", "localhost"]
        return timed(lambda: self._fleet.hosts[0].run([*words, "-m", REGISTER]))

    def constants(self, size: Size) -> dict[str, float]:
        """What the computations of docs/scale.md start from, in seconds; medians."""
        fewest, most = 1, max(size.rounds)
        forks = min(most, 50)
        control: dict[str, Any] = {"ansible_ssh_args": self._fleet.ssh_args(share=False)}

        def median(once: Callable[[], float], rounds: int = size.alone) -> float:
            return statistics.median(once() for _unused in range(rounds))

        nothing = median(lambda: self.ansible("ansible.builtin.debug", fewest, 1).seconds)
        alone = median(lambda: self.ansible(REGISTER, fewest, 1).seconds)
        alone_new = median(lambda: self.ansible(REGISTER, fewest, 1, **control).seconds)
        local = median(self._local)
        few, many, many_new = (
            median(lambda: self.ansible(REGISTER, hosts, forks, **variables).processor, rounds)  # noqa: B023
            for hosts, rounds, variables in ((fewest, size.alone, {}), (most, 2, {}), (most, 2, control))
        )
        return {
            "start": nothing,
            "host": alone - nothing,
            "host_new": alone_new - nothing,
            "local": local,
            "processor": (many - few) / (most - fewest),
            "processor_new": (many_new - few) / (most - fewest),
        }


def _spend(command: list[str], pipelining: str) -> tuple[Spent, str]:
    """Run ansible, and say what it took and what it printed."""
    settings = {"ANSIBLE_PIPELINING": "1" if pipelining == "on" else "0", "ANSIBLE_NOCOLOR": "1"}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        spent = Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise SystemExit(f"bench: {command[0]} ended with {process.returncode}: {said}")
    return spent, said
