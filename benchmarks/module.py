# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host, one node: the process of the module alone, compared with a module that does nothing.

Both are the very files that Ansible copies to a target, each in a process of its own. Times, and instructions as
valgrind counts them, which do not depend on what else the machine does.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, forget, wait_until

NAME = "module"
RELEASE = 23
"""Its nodes never register themselves again, so that none is found healed, however long the module takes to come."""
ATTEMPTS = 3
GOALS = {"nothing to repair": 1.15, "the name is lost": 1.25, "epmd is dead": 1.3}
MEMORY_GOAL = 1.3


def measure(smoke: bool) -> Result:
    """Times and memory in turns; the instructions, which hardly differ from run to run, once for each case."""
    rounds = 1 if smoke else 30
    counted = not smoke and shutil.which("valgrind") is not None
    times, memory, instructions = [], [], []
    with scratch() as name:
        directory = Path(name)
        files = payloads(directory, {"empty": {}, "epmd_register": {}})
        empty = _instructions(files["empty"], directory) if counted else 0
        for case, goal in GOALS.items():
            with _trial(case) as trial:
                runs = trial.compare(files, rounds)
                if counted:
                    trial.lose()
                    ours = [_instructions(files["epmd_register"], directory)]
                    instructions.append(Row({"case": case}, [empty], ours, ratios([empty], ours), goal))
            base, ours = ([each.seconds * 1000 for each in of_one] for of_one in runs)
            times.append(Row({"case": case}, base, ours, ratios(base, ours), goal))
            base, ours = ([each.megabytes for each in of_one] for of_one in runs)
            memory.append(Row({"case": case}, base, ours, ratios(base, ours), MEMORY_GOAL))
    head = ("empty AnsibleModule", "epmd_register", "ratio")
    tables = [
        Table("Time", head, ("ms", ""), times),
        Table("Peak memory", head, ("MiB", ""), memory, "The largest resident size of the process."),
    ]
    if counted:
        note = (
            "Of the process itself, without the kernel and without its children; counted by valgrind in one run each."
        )
        tables.append(Table("Instructions", head, ("millions", ""), instructions, note))
    return Result(NAME, "One host: the process of the module", tables)


def _instructions(payload: Path, directory: Path) -> float:
    """How many millions of instructions a payload takes, without its children."""
    for file in directory.glob("counted.*"):
        file.unlink()
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/counted.%p"]
    command += [sys.executable, str(payload)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    # A child has what its parent had when it was forked, and little more.
    found = [re.findall(r"^totals: (\d+)", file.read_text(), re.MULTILINE) for file in directory.glob("counted.*")]
    if done.returncode or not any(found):
        raise SystemExit(f"bench: valgrind could not count {payload.name}: {done.stdout}{done.stderr}")
    return max(int(number) for numbers in found for number in numbers) / 1e6


def _end_successors() -> None:
    """End every epmd of this private host, and wait until none is left.

    A module of an earlier round may have started one that is slow to come up.
    """

    def successors() -> list[psutil.Process]:
        return [process for process in psutil.process_iter(["name"]) if process.info["name"] == "epmd"]

    def are_gone() -> bool:
        for process in successors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return not successors()

    wait_until(are_gone, "every epmd to end")


@contextlib.contextmanager
def _trial(case: str) -> Iterator[_Trial]:
    otp = Otp.of(RELEASE)
    with otp.epmd() as epmd, otp.node("vic", epmd_port=epmd.port) as node:
        yield _Trial(case, epmd, node)


class _Trial:
    """A node and its epmd, which can be brought into the state of a case again and again."""

    def __init__(self, case: str, epmd: Epmd, node: Node) -> None:
        self._case = case
        self._changes = case != "nothing to repair"
        self._epmd = epmd
        self._node = node

    def lose(self) -> None:
        """Lose the name, unless nothing is to be repaired."""
        if self._changes:
            forget(self._epmd, self._node)
            _end_successors()
        if self._case == "the name is lost":
            self._epmd.start()

    def compare(self, files: dict[str, Path], rounds: int) -> tuple[list[Run], list[Run]]:
        """The runs of both modules, in turns."""
        runs: dict[str, list[Run]] = {name: [] for name in files}

        def empty() -> float:
            runs["empty"].append(run(files["empty"], changed=False))
            return runs["empty"][-1].seconds

        def ours() -> float:
            runs["epmd_register"].append(self._once(files["epmd_register"]))
            return runs["epmd_register"][-1].seconds

        in_turns(rounds, {"empty": empty, "ours": ours})
        return runs["empty"][-rounds:], runs["epmd_register"][-rounds:]

    def _once(self, payload: Path) -> Run:
        """A run that did what its case is about: where an epmd came up meanwhile, once more."""
        for _unused in range(ATTEMPTS):
            self.lose()
            done = run(payload, self._changes)
            if any(daemon["started"] for daemon in done.result["daemons"]) is (self._case == "epmd is dead"):
                return done
        raise SystemExit(f"bench: an epmd came up by itself, again and again: {done.result}")
