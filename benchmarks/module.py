# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host, one node: the process of the module alone, compared with a module that does nothing.

Both are the very files that Ansible copies to a target, each in a process of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil

from ansible_collections.beamops.epmd.benchmarks.harness import (
    Result,
    Row,
    Run,
    Table,
    in_turns,
    payloads,
    ratios,
    run,
    scratch,
)
from ansible_collections.beamops.epmd.tests.lab import Otp, forget, wait_until

NAME = "module"
GOALS = {"nothing to repair": 1.15, "the name is lost": 1.25, "epmd is dead": 1.3}
MEMORY_GOAL = 1.3


def measure(smoke: bool) -> Result:
    """The lost name needs OTP 23: newer nodes register themselves again as soon as there is an epmd."""
    rounds = 1 if smoke else 30
    times, memory = [], []
    with scratch() as directory:
        files = payloads(Path(directory), {"empty": {}, "epmd_register": {}})
        compared = [(23, "nothing to repair"), (23, "the name is lost"), (25, "epmd is dead")]
        runs = [_compare(files, release, case, rounds) for release, case in compared]
    for (release, case), found in zip(compared, runs, strict=True):
        named = {"case": f"{case} (OTP {release})"}
        base, ours = ([each.seconds * 1000 for each in runs] for runs in found)
        times.append(Row(named, base, ours, ratios(base, ours), GOALS[case]))
        base, ours = ([each.megabytes for each in runs] for runs in found)
        memory.append(Row(named, base, ours, ratios(base, ours), MEMORY_GOAL))
    head = ("empty AnsibleModule", "epmd_register", "ratio")
    return Result(
        NAME,
        "One host: the process of the module",
        [
            Table("Time", head, ("ms", ""), times),
            Table("Peak memory", head, ("MiB", ""), memory, "The largest resident size of the process."),
        ],
    )


def _end_successors() -> None:
    """End every epmd of this private host, and wait until none is left.

    A module of an earlier round may have started one that is slow to come up. A newer node would register there within
    2 s, by itself, and leave nothing to repair.
    """

    def successors() -> list[psutil.Process]:
        return [process for process in psutil.process_iter(["name"]) if process.info["name"] == "epmd"]

    def are_gone() -> bool:
        for process in successors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return not successors()

    wait_until(are_gone, "every epmd to end")


def _compare(files: dict[str, Path], release: int, case: str, rounds: int) -> tuple[list[Run], list[Run]]:
    """The runs of both modules, in turns."""
    otp, changed = Otp.of(release), case != "nothing to repair"
    runs: dict[str, list[Run]] = {name: [] for name in files}
    with otp.epmd() as epmd, otp.node("vic", epmd_port=epmd.port) as node:

        def lose() -> None:
            if changed:
                forget(epmd, node)
                _end_successors()
            if case == "the name is lost":
                epmd.start()

        def way(name: str, changes: bool, before: Callable[[], None]) -> Callable[[], float]:
            def once() -> float:
                before()
                runs[name].append(run(files[name], changes))
                return runs[name][-1].seconds

            return once

        in_turns(rounds, {"empty": way("empty", False, lambda: None), "ours": way("epmd_register", changed, lose)})
    return runs["empty"][-rounds:], runs["epmd_register"][-rounds:]
