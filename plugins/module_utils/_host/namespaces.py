# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a process lives: which of its namespaces, and which root directory, are ours. Linux only.

Standard: namespaces(7); proc(5), `/proc/PID/ns` and `/proc/PID/root`. What is done there is in `_inside.py`.
"""

from __future__ import annotations

import contextlib
import os
import re


def _link(pid: int | str, kind: str) -> str | None:
    """The identity of a namespace; None where it can't be seen."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None


def shares(pid: int, kind: str) -> bool:
    """Whether a namespace of a process is ours (kind: its name in /proc/PID/ns)."""
    # One that hides itself is taken for one of ours: what is done then fails, or is right.
    return _link(pid, kind) in (None, _link("self", kind))


def network_of(pid: int) -> int | None:
    """The network namespace of a process by its number; None where it is ours, or can't be seen."""
    if shares(pid, "net"):
        return None
    return int(re.sub("[^0-9]", "", _link(pid, "net") or "0"))


def shares_root(pid: int) -> bool:
    """Whether a process has our root directory, also where it has private mounts (PrivateTmp= of systemd)."""
    with contextlib.suppress(OSError):
        theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/")
        return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return True


def is_container(pid: int) -> bool:
    """Whether a process has a root directory or a process namespace of its own: programs are started in there."""
    return not (shares(pid, "pid") and shares_root(pid))


def shares_pids(pid: int) -> bool:
    """Whether a process is in our process namespace, and so under our init."""
    return shares(pid, "pid")
