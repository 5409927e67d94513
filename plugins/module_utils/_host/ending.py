# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends one process, and no other that has its number by then. Linux only, and private to the collection.

Standard: proc(5), /proc/PID/stat: the state of a process, and when it was started in ticks of the clock since boot, by
which it is told from a later one with the same pid.
"""

from __future__ import annotations

import os
import signal
import time

from .._deadline import Deadline
from .._errors import EpmdError
from .._limits import KILL_SECONDS
from .._record import Record
from . import rights

POLL_SECONDS = 0.001


class Running(Record):
    """A process, and its start in ticks since boot."""

    pid: int
    since: int

    @property
    def started(self) -> float:
        """Its start, as `time.time` has it."""
        ago = time.clock_gettime(time.CLOCK_BOOTTIME) - self.since / os.sysconf("SC_CLK_TCK")
        return time.time() - ago


def running(pid: int) -> Running | None:
    """The process that has this pid now; None where there is none, or it has ended and nobody has waited for it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in parentheses, may contain anything.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return Running(pid, int(fields[19])) if fields[0] not in ("Z", "X") else None


def is_first_of_container(pid: int) -> bool:
    """Whether it is the first process of a process namespace of its own, whose end is that of all others there."""
    try:
        return pid != 1 and rights.pid_inside(pid) == 1
    except EpmdError:
        return False


def end(process: Running, deadline: Deadline) -> None:
    """End it, by SIGKILL where it does not obey, and wait until it has gone. Errors: EpmdError."""
    for number, seconds in ((signal.SIGTERM, KILL_SECONDS / 2), (signal.SIGKILL, KILL_SECONDS)):
        if running(process.pid) != process:
            return
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise EpmdError(f"pid {process.pid} can't be ended: Operation not permitted; run with become") from None
        until = time.monotonic() + min(seconds, deadline.left())
        while running(process.pid) == process and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
    if running(process.pid) == process:
        raise EpmdError(f"pid {process.pid} does not end, even by SIGKILL: see what it waits for in /proc/PID/stack")
