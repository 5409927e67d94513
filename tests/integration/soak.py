# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Very many runs of the modules against one node, with all that happens to it and its epmd: nothing may add up.

Shared by a test of test_recovery.py, with few runs, and `tests/toolchain/soak`, with 20,000: `soak.py run RELEASE RUNS
LIVES` prints a line of JSON, and `soak.py table FILE...` makes the table for runs.rst from such lines.

Everything happens at fixed places. Ten runs are made at once, each in a process of its own; of ten, one is in check
mode and one is of epmd_facts. Every hundred runs are met by the next event, and the first hundred of a node by all.
Then the node is measured, and again at its end.

Standard: "What must always hold" of the collection: no growth in the node, and nothing lost that was registered.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, settle
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    LabError,
    Node,
    Otp,
    Squatter,
    cut_silently,
    forget,
    holders,
    listeners,
    run_payload,
    wait_until,
)

AT_ONCE = 10
CONNECTIONS = 2
"""Of a run to a node."""

FIRST = 100
"""Runs after which a node is measured for the first time."""

TIMEOUT = 60
BREATH = 1 << 20
"""Bytes by which the memory of a node may differ between two looks: its heaps and tables grow and shrink in steps."""

BYSTANDER = ("bystander", 4711)


class Measures(NamedTuple):
    """What may not be more at the end. Memory in bytes, after a garbage collection: the median of some looks."""

    atoms: int
    known: int
    log: int
    memory: int
    processes: int
    ports: int
    descriptors: int
    epmd: int


WORDS = {
    "atoms": "atoms",
    "known": "known nodes",
    "log": "lines in the log",
    "memory": "memory, KiB",
    "processes": "processes in the node",
    "ports": "ports of the node",
    "descriptors": "descriptors of the node",
    "epmd": "descriptors of epmd",
}
"""How the table calls them."""

RUNS, LOSSES, CUTS, EPMD_RESTARTS, NODE_RESTARTS, MET, MET_FAILED = COUNTS = (
    "runs",
    "losses",
    "silent cuts",
    "restarts of epmd, under runs",
    "restarts of the node, under runs",
    "runs that met a restart",
    "of these failed, and said why",
)
"""What is counted, as the table calls it."""

COUNTED = """
    [garbage_collect(P) || P <- processes()],
    [erlang:system_info(atom_count), length(nodes(known)), erlang:memory(total),
     erlang:system_info(process_count), erlang:system_info(port_count)]
"""


def measure(node: Node, epmd: Epmd) -> Measures:
    """Look at a node that has settled, some times, since its memory breathes."""
    settle(node)
    looks = [json.loads(node.eval(COUNTED)) for _unused in range(5)]
    atoms, known, _memory, processes, ports = looks[-1]
    memory = int(statistics.median(look[2] for look in looks))
    # Its port tells it: a test before this one may have left an epmd of its own to this private host.
    served = wait_until(lambda: only_one(listeners(epmd.port)), "one epmd to have the port")
    # Epmd closes what has been closed at the other end as soon as it is idle.
    connected = 2 + len(epmd.names())
    wait_until(lambda: descriptors(served) <= 3 + connected, "epmd to close what was closed")
    return Measures(
        atoms, known, len(node.log.splitlines()), memory, processes, ports, descriptors(node.pid), descriptors(served)
    )


def only_one(pids: set[int]) -> int:
    """The pid; 0 while there are several, or none."""
    return next(iter(pids)) if len(pids) == 1 else 0


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Done(NamedTuple):
    """One run: when it began and ended, and what it returned."""

    begin: float
    end: float
    is_check: bool
    module: str
    result: dict[str, Any]


class Soak:
    """One epmd, one node at a time, and the runs against them.

    wrong: what should not have happened, in sentences. counted: the runs and events. looks: the measures of each node.
    """

    def __init__(self, otp: Otp, epmd: Epmd, pool: ThreadPoolExecutor) -> None:
        self.wrong: list[str] = []
        self.counted: Counter[str] = Counter()
        self.looks: list[tuple[Measures, Measures]] = []
        self._otp = otp
        self._epmd = epmd
        self._pool = pool
        self._node = self._started()
        self._bystander: Squatter | None = None
        self._register_bystander()

    def close(self) -> None:
        """End the node."""
        self._lose_bystander()
        self._node.close()

    def run(self, runs: int, lives: int) -> None:
        """So many runs, against so many nodes, one after the other."""
        for life in range(lives):
            if life:
                self._disturbed(AT_ONCE * 5, self._restart_node)
            self._live(runs // lives - (AT_ONCE * 5 if life else 0))

    def _live(self, runs: int) -> None:
        events = (self._lose, self._cut, self._restart, self._rest)
        for event in events:
            event(FIRST // len(events))
        self._crowd()
        # Atoms that the node's own retry may make: how a connection to an epmd can end.
        self._node.eval("[econnrefused, econnreset, econnaborted, enotconn, epipe, etimedout, closed, timeout, einval]")
        first = measure(self._node, self._epmd)
        for number, done in enumerate(range(FIRST, runs, FIRST)):
            events[number % len(events)](min(FIRST, runs - done))
        last = measure(self._node, self._epmd)
        self.looks.append((first, last))
        print(f"soak: OTP {self._otp.release}: {self.counted[RUNS]:,} runs, {last}", file=sys.stderr, flush=True)
        for name, before, after in zip(Measures._fields, first, last, strict=True):
            if after > before + (BREATH if name == "memory" else 0):
                self.wrong.append(f"{WORDS[name]}: {before} after the first {FIRST} runs, {after} at the end")

    def _crowd(self) -> None:
        """As many connections at once as runs can have: the node lends a name to each, and has it for later ones."""
        with contextlib.ExitStack() as stack:
            for _unused in range(CONNECTIONS * AT_ONCE):
                connection = NodeConnection.open("127.0.0.1", self._node.port, Deadline(TIMEOUT), Deadline(TIMEOUT))
                stack.callback(connection.close)
                connection.authenticate(COOKIE.encode())

    # The events. Each is followed or met by this many runs.

    def _rest(self, runs: int) -> None:
        """Nothing happens, so nothing is changed."""
        self._judge(self._many(runs), may_change=False)

    def _lose(self, runs: int) -> None:
        """Epmd is killed; it comes back at once for a node that stays lost then, and else not by itself."""
        self.counted[LOSSES] += 1
        self._lose_bystander()
        forget(self._epmd, self._node)
        if self._otp.release == 23:
            self._epmd.start()
            self._register_bystander()
        self._judge(self._many(runs), may_change=True)

    def _cut(self, runs: int) -> None:
        """The connection between node and epmd is cut, and neither is told."""
        self.counted[CUTS] += 1
        with cut_silently(self._epmd, self._node):
            self._register_bystander()
            self._judge(self._many(runs // 2), may_change=True)
        self._judge(self._many(runs - runs // 2), may_change=False)

    def _restart(self, runs: int) -> None:
        """Epmd is restarted under the runs, and under the name of a bystander."""
        self.counted[EPMD_RESTARTS] += 1
        self._disturbed(runs, self._restart_epmd)

    def _restart_epmd(self) -> None:
        self._lose_bystander()
        self._epmd.kill()
        with contextlib.suppress(LabError):  # one of the runs was faster
            self._epmd.start()
        self._register_bystander()

    def _restart_node(self) -> None:
        self.counted[NODE_RESTARTS] += 1
        self._node.close()
        wait_until(lambda: "vic" not in self._epmd.names(), "epmd to notice that the node has ended")
        self._node = self._started()

    def _lose_bystander(self) -> None:
        if self._bystander:
            self._bystander.close()
            self._bystander = None

    def _register_bystander(self) -> None:
        """As its owner does when it sees an epmd again."""
        self._lose_bystander()
        self._bystander = wait_until(self._bystander_at_last, "an epmd for the bystander")

    def _bystander_at_last(self) -> Squatter | None:
        try:
            return Squatter(self._epmd.port, *BYSTANDER)
        except OSError:
            return None

    def _started(self) -> Node:
        return self._otp.node("vic", epmd_port=self._epmd.port, cookie=COOKIE)

    # The runs.

    def _many(self, runs: int) -> list[Done]:
        """This many runs, of which as many are made at once as there are threads."""
        self.counted[RUNS] += runs
        return list(self._pool.map(self._once, range(runs)))

    def _disturbed(self, runs: int, event: Callable[[], None]) -> None:
        """Runs in the middle of which something happens. Those that meet it may fail; the next one has to repair."""
        self.counted[RUNS] += runs
        pending: list[Future[Done]] = [self._pool.submit(self._once, number) for number in range(runs)]
        wait_until(lambda: sum(each.done() for each in pending) >= runs // 2, "half of the runs", 600)
        begin = time.monotonic()
        event()
        wait_until(lambda: self._node.eval("is_alive()") == "true", "the node")
        end = time.monotonic()
        all_done = [each.result() for each in pending]
        met = [done for done in all_done if done.begin <= end and done.end >= begin]
        self.counted[MET] += len(met)
        self.counted[MET_FAILED] += sum(bool(done.result.get("failed")) for done in met)
        self.wrong += [
            f"no reason: {done.result}" for done in met if done.result.get("failed") and not done.result["msg"]
        ]
        self._judge([done for done in all_done if done not in met], may_change=True)
        # A newer node may be about to register itself.
        self._judge(self._many(1), may_change=True)

    def _once(self, number: int) -> Done:
        """One run: of ten, one in check mode, and one that only looks."""
        is_check, module = number % 10 == 3, "epmd_facts" if number % 10 == 7 else "epmd_register"
        options = {"name": ["vic"], "timeout": TIMEOUT} if module == "epmd_register" else {"timeout": TIMEOUT}
        begin = time.monotonic()
        result = run_payload(module, options, check=is_check)
        return Done(begin, time.monotonic(), is_check, module, result)

    def _judge(self, runs: list[Done], may_change: bool) -> None:
        """Whether these runs ended well, and all is registered that was."""
        for done in runs:
            result = done.result
            is_repair = done.module == "epmd_register" and not done.is_check
            nodes = result.get("nodes", result.get("ansible_facts", {}).get("epmd", {}).get("nodes", []))
            if result.get("failed"):
                self.wrong.append(f"{done.module} fails: {result['msg']}")
            elif is_repair and [node["registered"] for node in nodes] != [True]:
                self.wrong.append(f"{done.module} left it unregistered: {nodes}")
            elif result.get("changed") and not may_change:
                self.wrong.append(f"{done.module} changes what is well: {result['msg']}")
        if self._bystander is None:  # epmd was dead
            self._register_bystander()
        wanted = {"vic": self._node.port, BYSTANDER[0]: BYSTANDER[1]}
        if self._epmd.names() != wanted or self._node.pid not in holders(self._epmd.port):
            self.wrong.append(f"epmd has {self._epmd.names()}, not {wanted}")


@contextlib.contextmanager
def soak(otp: Otp) -> Iterator[Soak]:
    """A node with its epmd, for many runs."""
    with otp.epmd() as epmd, ThreadPoolExecutor(AT_ONCE) as pool, contextlib.closing(Soak(otp, epmd, pool)) as found:
        yield found


def table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table for runs.rst, a row for each release: what was counted, and for each measure the worst of its nodes."""
    rows = [["", *COUNTS, "at once", *WORDS.values(), "not as it should be"]]
    for line in lines:
        counted = [f"{line['counted'].get(what, 0):,}" for what in COUNTS]
        measured = [grown(name, [(a[at], b[at]) for a, b in line["looks"]]) for at, name in enumerate(Measures._fields)]
        rows.append([f"OTP {line['release']}", *counted, str(AT_ONCE), *measured, f"{len(line['wrong']):,}"])
    return rows


def grown(name: str, looks: Sequence[tuple[int, int]]) -> str:
    """What was measured first and at the end, of the node in which that has grown most."""
    unit = 1024 if name == "memory" else 1
    first, last = max(looks, key=lambda look: look[1] - look[0])
    return f"{first // unit:,} to {last // unit:,}"


def main(release: int, runs: int, lives: int) -> int:
    """Print what was counted and measured, as a line of JSON; returns 1 if something was wrong."""
    with soak(Otp.of(release)) as found:
        found.run(runs, lives)
    print(json.dumps({"release": release, "counted": found.counted, "looks": found.looks, "wrong": found.wrong}))
    for sentence in found.wrong:
        print(f"soak: OTP {release}: {sentence}", file=sys.stderr)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    if sys.argv[1] == "table":
        texts = [Path(file).read_text(encoding="utf-8") for file in sys.argv[2:]]
        csv.writer(sys.stdout).writerows(table([json.loads(text) for text in texts]))
    else:
        sys.exit(main(*map(int, sys.argv[2:])))
