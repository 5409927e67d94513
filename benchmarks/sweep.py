# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sweep over very many epmds, and a watch over them, against asking them one after the other and against ssh.

The epmds are simulated: one process that listens at every loopback address, each of which is a host, and answers as an
epmd with one name does. What asks them is kept on one core.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
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

NAME = "sweep"
SWEPT_GOAL = 5 / 10_000
"""Seconds for an epmd: 10,000 in 5 s."""
WATCHED_GOAL, MEBIBYTES_GOAL = 0.2, 100
"""Of a core, for 10,000 epmds every 30 s."""
PING_GOAL = 0.01
"""Of `ansible -m ping`, for a host."""
FEW_DESCRIPTORS = 256

_EPMDS = """
import socket, sys
listener = socket.create_server(("0.0.0.0", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _peer = listener.accept()
    with connection:
        connection.recv(16)
        connection.sendall(b"\\0\\0\\x11\\x11name vic at port 40001\\n")
"""

_TARGETS = """
import asyncio, json, os, resource, sys, time
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import sweep
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.hosts import Target
port, number, limit = map(int, sys.argv[1:4])
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
targets = (Target(f"h{n}", f"127.{1 + n // 65536}.{n // 256 % 256}.{n % 256}", port, ("vic",)) for n in range(number))

def spent():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # ru_maxrss of a child includes its parent.
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return usage.ru_utime + usage.ru_stime, int(peak) / 1024
"""

_SWEEP = f"""{_TARGETS}
states = []
start, (before, _memory) = time.perf_counter(), spent()
asyncio.run(sweep.sweep(targets, 30, sweep.slots(500), lambda target, answer: states.append(answer.state)))
seconds, (processor, memory) = time.perf_counter() - start, spent()
print(json.dumps([states.count("up"), seconds, processor - before, memory]))
"""

_WATCH = f"""{_TARGETS}
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import watch
interval, window = map(float, sys.argv[4:6])

async def ignore(event):
    assert event["epmd"]["type"] == "unwatched", event

async def main():
    watched = watch.Watch(watch.Options(hosts=[target.entry for target in targets], interval=interval), ignore)
    task = asyncio.create_task(watched.run())
    await asyncio.wait([task], timeout=interval)  # until all have been seen once
    before = spent()[0]
    await asyncio.wait([task], timeout=window)
    processor, memory = spent()
    seen = sum(known.seen for known in watched._known.values())
    task.cancel()
    await asyncio.wait([task])
    print(json.dumps([seen, window, processor - before, memory]))

asyncio.run(main())
"""


class Size(NamedTuple):
    """How much to measure."""

    epmds: dict[int, int]
    """Rounds by number."""
    looped: int
    """How many are asked by `epmd -names`."""
    watched: tuple[int, int, int]
    """Epmds, seconds of an interval, and seconds to measure."""
    hosts: tuple[int, int]
    """Of the fleet over ssh, and rounds."""
    playbook: int
    """Epmds of the playbook."""


SMOKE = Size({100: 1}, 3, (50, 1, 1), (1, 1), 20)
FULL = Size({1_000: 5, 10_000: 5, 50_000: 2}, 200, (10_000, 30, 60), (20, 3), 10_000)


class Spent(NamedTuple):
    """What a run took: elapsed seconds, seconds of processor time, MiB at its peak."""

    seconds: float
    processor: float
    megabytes: float


def measure(smoke: bool) -> Result:
    """All with nothing wrong anywhere."""
    return measured(SMOKE if smoke else FULL)


def measured(size: Size) -> Result:
    """The same in this size. With no hosts, and no epmds of the playbook, there is nothing of Ansible in it."""
    with scratch() as directory, _epmds() as port:
        swept = {number: _sweeps(port, number, rounds) for number, rounds in size.epmds.items()}
        most = max(number for number in swept if number <= 10_000)
        few = _sweeps(port, most, size.epmds[most], FEW_DESCRIPTORS)
        tables = [
            Table("A sweep", ("the goal", "the sweep", "ratio"), ("s", ""), _whole(swept, most, few), _limits_note()),
            Table(
                "What a sweep costs its controller",
                ("elapsed", "processor", "peak memory"),
                ("s", "MiB"),
                _costs(swept),
            ),
            Table(
                "For each epmd, against the command epmd -names, one after the other",
                ("epmd -names", "the sweep", "ratio"),
                ("ms", ""),
                _looped(port, size.looped, swept),
            ),
            *_watched(port, *size.watched),
        ]
        if size.hosts[0]:
            tables += _against_ssh(*size.hosts, swept, Path(directory))
        if size.playbook:
            tables.append(_playbook(port, size.playbook, Path(directory)))
    return Result(NAME, f"A sweep over {listed(size.epmds)} epmds", tables)


@contextlib.contextmanager
def _epmds() -> Iterator[int]:
    """Simulated epmds at all loopback addresses; their port."""
    process = subprocess.Popen([sys.executable, "-c", _EPMDS], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _run(code: str, number: int, *words: object) -> Spent:
    """Run one of the programs above. Errors: SystemExit unless it has seen all epmds."""
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: a sweep failed: {done.stderr}")
    seen, *spent = json.loads(done.stdout)
    if seen != number:
        raise SystemExit(f"bench: {seen} of {number} epmds were seen")
    return Spent(*spent)


def _sweeps(port: int, number: int, rounds: int, descriptors: int = 1024) -> list[Spent]:
    return [_run(_SWEEP, number, port, number, descriptors) for _unused in range(rounds)]


def _whole(swept: dict[int, list[Spent]], most: int, few: list[Spent]) -> list[Row]:
    cases = [(number, 1024, runs) for number, runs in swept.items()] + [(most, FEW_DESCRIPTORS, few)]
    rows = []
    for number, descriptors, runs in cases:
        base, ours = [SWEPT_GOAL * number] * len(runs), [run.seconds for run in runs]
        rows.append(Row({"epmds": f"{number:,}", "descriptors": str(descriptors)}, base, ours, ratios(base, ours), 1))
    return rows


def _limits_note() -> str:
    return (
        "On one core; another one simulates the epmds. Descriptors: how many a process may have open (ulimit -n), 1024 "
        f"by default. With {FEW_DESCRIPTORS}, fewer epmds are asked at once."
    )


def _costs(swept: dict[int, list[Spent]]) -> list[Row]:
    return [
        Row(
            {"epmds": f"{number:,}"},
            [run.seconds for run in runs],
            [run.processor for run in runs],
            [run.megabytes for run in runs],
        )
        for number, runs in swept.items()
    ]


def _looped(port: int, number: int, swept: dict[int, list[Spent]]) -> list[Row]:
    """epmd -names asks the epmd of its own host alone: here the same one again and again."""
    epmd = [str(Otp.of(25).bindir / "epmd"), "-port", str(port), "-names"]

    def loop() -> None:
        for _unused in range(number):
            if "vic" not in subprocess.run(epmd, check=True, capture_output=True, text=True).stdout:
                raise SystemExit("bench: epmd -names does not see the name")

    most, runs = list(swept.items())[-1]
    each = [1000 * run.seconds / most for run in runs]
    base = [1000 * timed(loop) / number for _unused in runs]
    return [Row({"epmds": f"{most:,} swept, {number:,} asked by epmd -names"}, base, each, ratios(base, each))]


def _watched(port: int, number: int, interval: int, window: int) -> list[Table]:
    spent = _run(_WATCH, number, port, number, 1024, interval, window)
    case = {"epmds": f"{number:,}", "every": f"{interval} s"}
    share, memory = [spent.processor], [spent.megabytes]
    goal = WATCHED_GOAL * window
    return [
        Table(
            "Watched: processor",
            ("a part of the time", "the watch", "ratio"),
            ("s", ""),
            [Row(case, [goal], share, ratios([goal], share), 1)],
            f"In {window} s of watching; the part is {WATCHED_GOAL:.0%} of one core.",
        ),
        Table(
            "Watched: memory",
            ("the goal", "the watch", "ratio"),
            ("MiB", ""),
            [Row(case, [MEBIBYTES_GOAL], memory, ratios([MEBIBYTES_GOAL], memory), 1)],
            "Of Python as a whole, without ansible-rulebook.",
        ),
    ]


def _against_ssh(hosts: int, rounds: int, swept: dict[int, list[Spent]], directory: Path) -> list[Table]:
    """What a host costs over ssh, its connection open, against what an epmd costs in the largest sweep."""
    with Fleet([Plan(f"h{number}") for number in range(1, hosts + 1)], Otp.of(23), directory) as fleet:

        def way(module: str) -> Any:
            command = ["ansible", "all", "-i", str(fleet.inventory()), "-f", str(min(hosts, 50)), "-m", module]

            def once() -> float:
                return timed(lambda: _ansible(command, {"ANSIBLE_PIPELINING": "1"}, " SUCCESS ", hosts))

            once()  # opens the connections
            return once

        modules = ("ansible.builtin.ping", "beamops.epmd.epmd_facts")
        samples = in_turns(rounds, {module: way(module) for module in modules}, warm_up=False)
    number, runs = list(swept.items())[-1]
    rows = []
    for module in modules:
        base = [1000 * seconds / hosts for seconds in samples[module]]
        ours = [1000 * runs[place % len(runs)].seconds / number for place in range(rounds)]
        case = {"over ssh": f"{module}, {hosts} hosts", "swept": f"{number:,} epmds"}
        rows.append(Row(case, base, ours, ratios(base, ours), PING_GOAL))
    return [Table("For each host, against ssh", ("over ssh", "the sweep", "ratio"), ("ms", ""), rows)]


def _playbook(port: int, number: int, directory: Path) -> Table:
    """The playbook over healthy epmds, all of it, against a play over the same inventory that does nothing."""
    hosts = {f"h{n}": {"ansible_host": f"127.1.{n // 256}.{n % 256}", "epmd_port": port} for n in range(number)}
    inventory = directory / "swept.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": {"epmd_expected": ["vic"]}}}))
    nothing = directory / "nothing.yml"
    task = {"ansible.builtin.debug": {}, "run_once": True}
    nothing.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))

    def way(playbook: str, seen: str) -> Any:
        command = ["ansible-playbook", "-i", str(inventory), playbook]
        return lambda: timed(lambda: _ansible(command, {}, seen, 1))

    ways = {"nothing": way(str(nothing), "Hello world!"), "sweep": way("beamops.epmd.sweep", f", {number} up; ")}
    samples = in_turns(1 if number < 1000 else 3, ways, warm_up=False)
    base, ours = samples["nothing"], samples["sweep"]
    row = Row({"healthy hosts": f"{number:,}"}, base, ours, ratios(base, ours))
    return Table("The playbook", ("a play without work", "sweep", "ratio"), ("s", ""), [row])


def _ansible(command: list[str], settings: dict[str, str], seen: str, times: int) -> None:
    """Errors: SystemExit unless it succeeds, and prints this so many times."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", **settings}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode or len(re.findall(re.escape(seen), done.stdout)) < times:
        raise SystemExit(f"bench: {command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
