# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection again and again, and kills it, or has the kernel refuse a call, at one point of it.

A point is a process of the run, a system call, and the how manieth of this call it is in this process. strace(1) counts
in each process, too, but can't be told which process is meant, and what the first process does often, a later one would
never come to. So this is a tracer of its own, for Linux on x86-64.

A program of its own, for `_payload.py`: its arguments are the payload's zip and the name of the module. It prints
`ready`, or why it can't, and ends with its standard input. A request is one line of JSON, as for `_payload_server.py`,
with `patience` in seconds, `point` and `action`: `KILL` or the name of an error; without a point, `LIST` or `NOTHING`.
The reply is one line of JSON, see `reply`.

What counts begins where the module calls `ensure`, and ends where that returns: around it works ansible-core. A process
that has become another program is no longer looked at.

Standard: ptrace(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
PACKAGE = "ansible_collections.beamops.epmd.plugins"

TRACEME, POKEUSER, SYSCALL, DETACH = 0, 6, 24, 17
SETOPTIONS, GETEVENTMSG, GET_SYSCALL_INFO = 0x4200, 0x4201, 0x420E
TRACESYSGOOD, TRACEFORK, TRACEVFORK, TRACECLONE, TRACEEXEC = 1, 2, 4, 8, 16
NEW_PROCESS, NEW_PROGRAM = {1, 2, 3}, 4
WALL = 0x40000000
# Places in `struct user` of <sys/user.h>.
RAX, ORIG_RAX = 10 * 8, 15 * 8

MARK = "getppid"
"""Called where the work begins and where it ends: nothing else in a run calls it."""

GIVES_UP_ANYWAY = {"close"}
"""Has its effect also if it fails, so it is made before it fails."""

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class SyscallInfo(ctypes.Structure):
    """`struct ptrace_syscall_info`, up to the number of the call."""

    _fields_ = [
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 6),
    ]


def ptrace(request: int, pid: int, address: int = 0, data: Any = 0) -> None:
    """Errors: OSError."""
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def names() -> dict[int, str]:
    """The names of the system calls."""
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", HEADER.read_text(encoding="ascii"), re.MULTILINE)
    return {int(number): name for name, number in found}


class Trace:
    """The processes of one run while they are traced.

    A process is named by its place: the first is 0, its second child is 0.2. point: what is meant, None for nothing.
    """

    def __init__(self, first: int, point: list[Any] | None, action: str, calls: dict[int, str]) -> None:
        self.first = first
        self.traced = {first: "0"}
        self.listed: list[tuple[str, str]] = []
        self.was_reached = False
        self.status: int | None = None
        self._point = point
        self._action = action
        self._calls = calls
        self._early: set[int] = set()
        self._children: Counter[str] = Counter()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._counts = False
        self._refused: set[int] = set()

    def begin(self) -> None:
        """Let the first process go on, which stands. Without anything to do, it is not traced."""
        if self._action == "NOTHING":
            self.traced.clear()
            return
        os.waitpid(self.first, os.WUNTRACED)
        ptrace(SETOPTIONS, self.first, 0, TRACESYSGOOD | TRACEFORK | TRACEVFORK | TRACECLONE | TRACEEXEC)
        ptrace(SYSCALL, self.first)

    def end(self) -> None:
        """Kill what is left."""
        self.was_reached = True
        for pid in [self.first, *self.traced]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.follow()

    def follow(self) -> None:
        """To the end of the first process, and of the others that are of interest."""
        while self.status is None or self.traced:
            pid, status = os.waitpid(-1, WALL)
            if not os.WIFSTOPPED(status):
                self.traced.pop(pid, None)
                if pid == self.first:
                    self.status = os.waitstatus_to_exitcode(status)
            elif pid in self.traced:
                self._stopped(pid, status)
            else:
                self._early.add(pid)  # its parent is told of it later

    def _stopped(self, pid: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        passed_on = 0
        if event in NEW_PROCESS:
            self._born(pid)
        elif number == signal.SIGTRAP | 0x80:
            self._called(pid)
        elif not event and number != signal.SIGSTOP:
            passed_on = number
        is_over = self.was_reached and pid not in self._refused
        self._go_on(pid, DETACH if is_over or event == NEW_PROGRAM else SYSCALL, passed_on)

    def _go_on(self, pid: int, how: int, passed_on: int = 0) -> None:
        try:
            ptrace(how, pid, 0, passed_on)
        except ProcessLookupError:  # it was killed while it stood
            return
        if how == DETACH:
            self.traced.pop(pid)

    def _born(self, parent: int) -> None:
        number = ctypes.c_ulong()
        ptrace(GETEVENTMSG, parent, 0, ctypes.addressof(number))
        self._children[self.traced[parent]] += 1
        place = f"{self.traced[parent]}.{self._children[self.traced[parent]]}"
        child = number.value
        self.traced[child] = place
        if child not in self._early and not os.WIFSTOPPED(os.waitpid(child, WALL)[1]):
            del self.traced[child]  # it was killed at its start
            return
        self._early.discard(child)
        is_meant = self._point is None or f"{self._point[0]}.".startswith(f"{place}.")
        self._go_on(child, SYSCALL if is_meant else DETACH)

    def _called(self, pid: int) -> None:
        info = SyscallInfo()
        ptrace(GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == 2:  # on its way back
            if pid in self._refused:
                self._refused.discard(pid)
                ptrace(POKEUSER, pid, RAX, -getattr(errno, self._action))
            return
        call = self._calls.get(info.number, str(info.number))
        if call == MARK:
            self._counts = not self._counts
        if not self._counts or call == MARK:
            return
        place = self.traced[pid]
        self.listed.append((place, call))
        self._counted[place, call] += 1
        if self._point is None or [place, call, self._counted[place, call]] != self._point:
            return
        self.was_reached = True
        if self._action == "KILL":
            os.kill(pid, signal.SIGKILL)
            return
        self._refused.add(pid)
        if call not in GIVES_UP_ANYWAY:
            ptrace(POKEUSER, pid, ORIG_RAX, -1)


def begin(server: Any, loader: Any, request: dict[str, Any], output: int, errors: int) -> None:
    """What the first process does; it never returns."""
    code: object = 70
    try:
        os.dup2(errors, 2)
        utils = sys.modules[f"{PACKAGE}.module_utils._ensure"]
        ensure = utils.ensure

        def marked(*arguments: Any) -> Any:
            getattr(os, MARK)()
            try:
                return ensure(*arguments)
            finally:
                getattr(os, MARK)()

        utils.ensure = marked  # type: ignore[attr-defined]
        if request["action"] != "NOTHING":
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        code = server.run(loader, sys.argv[1], sys.argv[2], request, output)
    finally:
        os._exit(code if isinstance(code, int) else 70)


def reply(server: Any, loader: Any, calls: dict[int, str], request: dict[str, Any]) -> dict[str, Any]:
    """What a run came to: its output, errors, exit code (negative: the signal that ended it), seconds, and whether the
    point was reached; for LIST, the calls as pairs of process and name.

    is_late: whether it was ended after request["patience"] seconds.
    """
    output, errors = os.memfd_create("output"), os.memfd_create("errors")
    begun = time.monotonic()
    first = os.fork()
    if first == 0:
        begin(server, loader, request, output, errors)
    trace, is_late = Trace(first, request["point"], request["action"], calls), False
    signal.setitimer(signal.ITIMER_REAL, request["patience"])
    try:
        trace.begin()
        trace.follow()
    except TimeoutError:
        is_late = True
        trace.end()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = []
    for file in (output, errors):
        with open(file, "rb") as stream:
            stream.seek(0)
            said.append(stream.read().decode(errors="replace"))
    return {
        "output": said[0],
        "errors": said[1],
        "code": trace.status,
        "seconds": time.monotonic() - begun,
        "was_reached": trace.was_reached,
        "is_late": is_late,
        "calls": trace.listed if request["action"] == "LIST" else [],
    }


def too_late(*_unused: object) -> None:
    """The run does not end by itself."""
    raise TimeoutError


def why_not() -> str:
    """Why nothing can be traced here; empty if it can."""
    if os.uname().machine != "x86_64":
        return f"the tracer is for x86-64, not {os.uname().machine}"
    if not HEADER.exists():
        return f"there is no {HEADER}"
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            ptrace(TRACEME, 0)
            os._exit(0)
        os._exit(1)
    return "this machine does not permit ptrace(2)" if os.waitpid(child, 0)[1] else ""


def main() -> None:
    """Import what every run needs, then wait for requests."""
    refusal = why_not()
    if refusal:
        print(refusal)
        return
    server = importlib.import_module("_payload_server")
    calls = names()
    loader = server.load(sys.argv[1])
    signal.signal(signal.SIGALRM, too_late)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(reply(server, loader, calls, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
