# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with one node and with many: what each further node costs, healthy, or lost and repaired in the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible_collections.beamops.epmd.benchmarks.harness import (
    Result,
    Row,
    Table,
    differences,
    in_turns,
    listed,
    payloads,
    ratios,
    run,
    scratch,
)
from ansible_collections.beamops.epmd.tests.lab import Fleet, Host, Otp, Plan

NAME = "nodes"
GOALS = {"all healthy": 0.015, "all lost": 0.025}
"""Of an empty module, for each further node."""


def measure(smoke: bool) -> Result:
    """All hosts run during the whole benchmark; each round measures all of them."""
    rounds = 1 if smoke else 10
    sizes = (1, 3) if smoke else (1, 8, 64)
    rows = []
    with scratch() as name:
        directory = Path(name)
        files = payloads(directory, {"empty": {}, "epmd_register": {}})
        plans = [Plan(f"nodes{size}", nodes=[f"n{number}" for number in range(size)]) for size in sizes]
        with Fleet(plans, Otp.of(23), directory) as fleet:

            def way(host: Host, size: int, lost: bool) -> Callable[[], float]:
                def once() -> float:
                    if lost:
                        host.lose()
                    done = run(files["epmd_register"], changed=lost, within=host.command)
                    if len(host.names()) != size or len(done.result["nodes"]) != size:
                        raise SystemExit(f"bench: not all of the {size} nodes are registered: {done.result}")
                    return done.seconds * 1000

                return once

            for case in ("all healthy", "all lost"):
                hosts = zip(fleet.hosts, sizes, strict=True)
                ways = {str(size): way(host, size, case == "all lost") for host, size in hosts}
                ways["empty"] = lambda: run(files["empty"], changed=False, within=fleet.hosts[0].command).seconds * 1000
                samples = in_turns(rounds, ways)
                base, empty = samples["1"], samples["empty"]
                for size in sizes[1:]:
                    ours = samples[str(size)]
                    each = [more / (size - 1) for more in ratios(empty, differences(base, ours))]
                    rows.append(Row({"case": case, "nodes": str(size)}, base, ours, each, GOALS[case]))
    head = ("with 1 node", "with that many", "more for each further node, of an empty module")
    table = Table("The process of the module", head, ("ms", ""), rows)
    return Result(NAME, f"One host with {listed(sizes)} nodes", [table])
