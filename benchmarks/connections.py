# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Busy hosts: what many clients of a node, or many processes beside it, add to a run on an idle host."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
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
from ansible_collections.beamops.epmd.tests.lab import SMALL, Fleet, Host, Otp, Plan

NAME = "connections"
RELEASE = 23  # its nodes do not register themselves again
CASES = {"healthy": False, "lost": True}
GOAL = 0.15
"""Of an empty module, beside a run on an idle host."""
CLIENTS_PORT = 5222

# The descriptors that a process needs besides those of its connections.
OWN_DESCRIPTORS = 200

# For each source address. Their ports are below the kernel's own range, where finding the last free one takes minutes.
CLIENTS_EACH = 20_000
CLIENTS_FIRST = 10_000

# The service of the node: it accepts every connection, and keeps it open.
_SERVICE = f"""
spawn(fun() ->
    {{ok, Listener}} = gen_tcp:listen({CLIENTS_PORT}, [{{active, false}}, {{backlog, 1024}}]),
    (fun Accept() -> {{ok, _}} = gen_tcp:accept(Listener), Accept() end)()
end).
"""

# The clients, and a service of other processes, for the connections that are too many for one process.
_CLIENTS = f"""
import resource, signal, socket, sys
port, count, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
for number in range(count):
    source = (address, {CLIENTS_FIRST} + number)
    kept.append(socket.create_connection(("127.0.0.1", port), source_address=source))
print("connected", flush=True)
signal.pause()
"""
_OTHER_SERVICE = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
print("listening", flush=True)
kept = []
while True:
    kept.append(listener.accept())
"""
_COUNTED = """
import os, sys
real, found = os.readlink, []
def counted(path, **options):
    found.append("/fd/" in os.fsdecode(path))
    return real(path, **options)
os.readlink = counted
sys.argv = sys.argv[1:]
__file__ = sys.argv[0]
try:
    with open(__file__, "rb") as file:
        exec(compile(file.read(), __file__, "exec"))
finally:
    print(sum(found), file=sys.stderr)
"""
_PROCESSES = 'for number in $(seq "$0"); do sleep infinity & done; echo started; wait'


def measure(smoke: bool) -> Result:
    """All hosts run during the whole benchmark. Each busy host is measured right after the idle one."""
    rounds = 1 if smoke else 10
    counts = (10, 100) if smoke else (10, 1_000, 100_000)
    processes = 50 if smoke else 2_000
    limit = _descriptors_allowed(counts[-1] + OWN_DESCRIPTORS)
    largest = limit - OWN_DESCRIPTORS
    arguments = [*SMALL, "+Q", "262144", "-eval", " ".join(_SERVICE.split())]
    plans = [
        Plan("idle"),
        *(Plan(f"connections{count}", arguments=arguments) for count in counts),
        Plan(f"processes{processes}"),
    ]
    titles = [f"{count:,} connections" for count in counts] + [f"{processes:,} processes"]
    with scratch() as name:
        directory = Path(name)
        files = payloads(directory, {"empty": {}, "epmd_register": {}})
        with Fleet(plans, Otp.of(RELEASE), directory) as fleet:
            idle, *connected, crowded = fleet.hosts
            for host, count in zip(connected, counts, strict=True):
                _connect(host, count, largest)
            _start(crowded, ["sh", "-c", _PROCESSES, str(processes)])

            def way(host: Host, module: str, lost: bool = False) -> Callable[[], float]:
                def once() -> float:
                    if lost:
                        host.lose()
                    return run(files[module], changed=lost, within=host.command).processor * 1000

                return once

            busy = dict(zip(titles, [*connected, crowded], strict=True))
            ways = {"empty": way(idle, "empty")}
            for case, lost in CASES.items():
                for title, host in busy.items():
                    ways[f"{title}, {case}, idle"] = way(idle, "epmd_register", lost)
                    ways[f"{title}, {case}"] = way(host, "epmd_register", lost)
            samples = in_turns(rounds, ways)
            read = [
                _row_of_reads(title, case, *(_reads(files["epmd_register"], at, lost) for at in (idle, host)))
                for case, lost in CASES.items()
                for title, host in busy.items()
            ]
    rows = []
    for case in CASES:
        for title in titles:
            base, ours = samples[f"{title}, {case}, idle"], samples[f"{title}, {case}"]
            more = ratios(samples["empty"], differences(base, ours))
            rows.append(Row({"host": title, "case": case}, base, ours, more, GOAL))
    note = "Processor time of the process and of its children; all processes belong to root."
    if max(counts) > largest:
        note += (
            f" This machine allows {limit:,} descriptors for each process: of the {max(counts):,} connections, the "
            f"node has {largest:,}, and other processes of the host have the rest. Both ends are on the host, so its "
            "table has twice as many entries."
        )
    head = ("idle host", "this host", "more, of an empty module")
    tables = [
        Table("The process of the module", head, ("ms", ""), rows, note),
        Table(
            "What is read of the node's descriptors",
            ("idle host", "this host", "more"),
            ("links", "links"),
            read,
            "Counted in one run: links in /proc/PID/fd. They do not grow with the connections.",
        ),
    ]
    return Result(NAME, f"One node with {listed(counts)} connections, and {processes:,} processes", tables)


def _descriptors_allowed(wanted: int) -> int:
    """How many descriptors a process of this machine can have: as many as are wanted, where that can be set."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        with contextlib.suppress(ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _reads(payload: Path, host: Host, lost: bool) -> int:
    """How many descriptors of processes a run looks at."""
    if lost:
        host.lose()
    command = host.command([sys.executable, "-I", "-c", _COUNTED, str(payload)])
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    try:
        return int(done.stderr)
    except ValueError:
        raise SystemExit(f"bench: {payload.name} failed: {done.stdout}{done.stderr}") from None


def _row_of_reads(title: str, case: str, base: int, ours: int) -> Row:
    return Row({"host": title, "case": case}, [base], [ours], [ours - base])


def _connect(host: Host, count: int, largest: int) -> None:
    """Open connections to the node, as many as it can have, and the rest to other processes."""
    port, free, place = CLIENTS_PORT, largest, 1
    while count > 0:
        if not free:
            port, free = port + 1, largest
            _start(host, [sys.executable, "-c", _OTHER_SERVICE, str(port)])
        some = min(count, free, CLIENTS_EACH)
        _start(host, [sys.executable, "-c", _CLIENTS, str(port), str(some), f"127.0.1.{place}"])
        count, free, place = count - some, free - some, place + 1


def _start(host: Host, words: list[str]) -> None:
    """Start a lasting process on the host, and wait for its first line."""
    process = host.spawn(words, output=subprocess.PIPE)
    if process.stdout is None or not process.stdout.readline().strip().isalpha():
        raise SystemExit(f"bench: {words[:2]} did not start on {host.name}: {process.communicate()[0]!r}")
