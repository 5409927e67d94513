# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Busy hosts: a node with many clients, and many processes beside it. What that adds to a run on an idle host."""

from __future__ import annotations

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
    run,
    scratch,
)
from ansible_collections.beamops.epmd.tests.lab import SMALL, Fleet, Host, Otp, Plan

NAME = "connections"
GOAL = 50.0
CLIENTS_PORT = 5222

# Leaves room for what a process has open beside its connections.
ROOM = 200

# Of one address. They have ports below those that the kernel gives, since it takes minutes to find the last free ones.
CLIENTS_EACH = 20_000
CLIENTS_FIRST = 10_000

# The service of the node: it accepts all that come, and lets them be.
_SERVICE = f"""
spawn(fun() ->
    {{ok, Listener}} = gen_tcp:listen({CLIENTS_PORT}, [{{active, false}}, {{backlog, 1024}}]),
    (fun Accept() -> {{ok, _}} = gen_tcp:accept(Listener), Accept() end)()
end).
"""

# Clients, and a service of somebody else's for those connections that one process can't have.
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
_PROCESSES = 'for number in $(seq "$0"); do sleep infinity & done; echo started; wait'


def measure(smoke: bool) -> Result:
    """The hosts run side by side, and each round measures all of them."""
    rounds = 1 if smoke else 15
    counts = (10, 100) if smoke else (10, 1_000, 100_000)
    processes = 50 if smoke else 2_000
    _soft, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    largest = limit - ROOM
    arguments = [*SMALL, "+Q", "262144", "-eval", " ".join(_SERVICE.split())]
    plans = [
        Plan("idle"),
        *(Plan(f"connections{count}", arguments=arguments) for count in counts),
        Plan(f"processes{processes}"),
    ]
    # As packages have it: what else listens or connects on a host belongs to others.
    plans = [plan._replace(user="nobody") for plan in plans]
    with scratch() as name:
        directory = Path(name)
        directory.chmod(0o755)
        files = payloads(directory, {"epmd_register": {}})
        with Fleet(plans, Otp.of(25).copy(directory / "erlang"), directory) as fleet:
            idle, *connected, crowded = fleet.hosts
            for host, count in zip(connected, counts, strict=True):
                _connect(host, count, largest)
            _say(crowded, ["sh", "-c", _PROCESSES, str(processes)])

            def way(host: Host) -> Callable[[], float]:
                return lambda: run(files["epmd_register"], changed=False, within=host.command).seconds * 1000

            samples = in_turns(rounds, {host.name: way(host) for host in fleet.hosts})
    base = samples[idle.name]
    cases = [f"{count:,} connections" for count in counts] + [f"{processes:,} processes"]
    rows = [
        Row({"host": case}, base, samples[host.name], differences(base, samples[host.name]), GOAL)
        for case, host in zip(cases, [*connected, crowded], strict=True)
    ]
    note = ""
    if max(counts) > largest:
        note = (
            f"The machine allows {limit:,} descriptors for a process: the node has {largest:,} of the {max(counts):,} "
            "connections, and other processes of the host have the rest. Both ends are on the host, so its table has "
            "twice as many entries. The node has a user of its own, as with the usual packages, so the module reads "
            "only its oldest descriptors. For a node that shares its user with other services, as one that runs as "
            "root may, it reads all of them, which takes 6 microseconds for each."
        )
    table = Table("The process of the module", ("idle host", "this host", "more"), ("ms", "ms"), rows, note)
    return Result(NAME, f"One node with {listed(counts)} connections, and {processes:,} processes", [table])


def _connect(host: Host, count: int, largest: int) -> None:
    """Connections on the node as far as it may have them, and the rest on other processes."""
    port, room, place = CLIENTS_PORT, largest, 1
    while count > 0:
        if not room:
            port, room = port + 1, largest
            _say(host, [sys.executable, "-c", _OTHER_SERVICE, str(port)])
        some = min(count, room, CLIENTS_EACH)
        _say(host, [sys.executable, "-c", _CLIENTS, str(port), str(some), f"127.0.1.{place}"])
        count, room, place = count - some, room - some, place + 1


def _say(host: Host, words: list[str]) -> None:
    """Start a process on the host, which stays, and wait for its first word."""
    process = host.spawn(words, output=subprocess.PIPE)
    if process.stdout is None or not process.stdout.readline().strip().isalpha():
        raise SystemExit(f"bench: {words[:2]} did not start on {host.name}: {process.communicate()[0]!r}")
