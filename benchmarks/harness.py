# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the benchmarks: measuring things in turns, the results as tables, and the payloads of the modules.

Each round does everything once, one after the other, so that a machine that becomes busy slows everything. Ratios and
differences are taken within a round; a table shows the median of the rounds, the lowest and the highest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

EMPTY = """
from ansible.module_utils.basic import AnsibleModule
def main():
    AnsibleModule({"name": {"type": "list", "elements": "str"}}).exit_json()
main()
"""

# Small on purpose: the peak memory of a child includes that of its parent at the time of the fork.
_LAUNCHER = """
import json, os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_pid, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
processor = usage.ru_utime + usage.ru_stime
print(json.dumps([seconds, processor, usage.ru_maxrss / 1024, status]), file=sys.stderr)
"""

Samples = dict[str, list[float]]
Way = Callable[[], float]


class Row(NamedTuple):
    """The measurements of one case, one for each round: the base, ours, and how they compare."""

    case: dict[str, str]
    base: list[float]
    ours: list[float]
    compared: list[float]
    goal: float | None = None


class Table(NamedTuple):
    """Rows of the same kind. head: titles of base, ours and compared. unit: of base and ours, and of compared."""

    title: str
    head: tuple[str, str, str]
    unit: tuple[str, str]
    rows: list[Row]
    note: str = ""


class Result(NamedTuple):
    """The results of one benchmark. constants: for the computations of scale.rst."""

    name: str
    title: str
    tables: list[Table]
    constants: dict[str, float] = {}  # noqa: RUF012 # never changed


class Run(NamedTuple):
    """One run of a module: its result, the time of its process, and its peak memory.

    processor: seconds of processor time, also of its children, which a busy machine disturbs less.
    """

    result: dict[str, Any]
    seconds: float
    processor: float
    megabytes: float


def in_turns(rounds: int, ways: Mapping[str, Way], warm_up: bool = True) -> Samples:
    """Measure every way once a round. warm_up: whether several rounds follow one that does not count."""
    samples: Samples = {name: [] for name in ways}
    for _unused in range(rounds + (warm_up and rounds > 1)):
        for name, way in ways.items():
            samples[name].append(way())
    return {name: values[-rounds:] for name, values in samples.items()}


def ratios(base: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Ours divided by the base, for each round."""
    return [mine / other for other, mine in zip(base, ours, strict=True)]


def differences(base: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Ours minus the base, for each round."""
    return [mine - other for other, mine in zip(base, ours, strict=True)]


def timed(work: Callable[[], object]) -> float:
    """How many seconds the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def payloads(directory: Path, modules: Mapping[str, Mapping[str, object]]) -> dict[str, Path]:
    """The files that Ansible copies to a target for these modules and their options (AnsiballZ).

    Ansible makes them when it runs a module, so each is run here once, whether it succeeds or not.
    """
    library = directory / "library"
    library.mkdir()
    (library / "empty.py").write_text(EMPTY)
    found = {}
    for module, options in modules.items():
        remote = directory / f"remote-{module}"
        settings = {
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_PIPELINING": "0",
            "ANSIBLE_REMOTE_TEMP": str(remote),
            "ANSIBLE_LIBRARY": f"{library}:plugins/modules",
        }
        command = ["ansible", "localhost", "-m", module, *(["-a", json.dumps(options)] if options else [])]
        done = subprocess.run(
            command, check=False, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        made = list(remote.rglob("AnsiballZ_*.py"))
        if len(made) != 1:
            raise SystemExit(f"bench: ansible made no payload for {module}: {done.stdout.decode(errors='replace')}")
        found[module] = made[0]
    return found


def run(payload: Path, changed: bool, within: Callable[[list[str]], list[str]] = list) -> Run:
    """Run a payload in a process of its own, and check that it succeeded and returned `changed`.

    within: turns a command line into one that runs on a host of the lab.
    """
    command = within([sys.executable, "-I", "-S", "-c", _LAUNCHER, sys.executable, str(payload)])
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    try:
        seconds, processor, megabytes, status = json.loads(done.stderr)
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"bench: {payload.name} failed: {done.stdout}{done.stderr}") from None
    if status or result.get("changed", False) is not changed:
        raise SystemExit(f"bench: {payload.name} did not return changed={changed}: {result}")
    return Run(result, seconds, processor, megabytes)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A temporary directory with a short name, since ssh has sockets there."""
    return tempfile.TemporaryDirectory(prefix="beamops-bench-")


def listed(numbers: Iterable[int]) -> str:
    """1, 8 and 64"""
    *first, last = [f"{number:,}" for number in numbers]
    return f"{', '.join(first)} and {last}" if first else last
