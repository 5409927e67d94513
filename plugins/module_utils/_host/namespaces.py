# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a process lives: which of its namespaces are ours, and whether its root directory is. Linux only.

Standard: namespaces(7); proc(5), `/proc/PID/ns` and `/proc/PID/root`. Elsewhere, and of a process that hides, all is
taken for ours: what is done then fails, or is right. `inside.py` works there. Private to the collection.
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
    return _link(pid, kind) in (None, _link("self", kind))


def network_of(pid: int) -> int | None:
    """The network namespace of a process by its number; None where it is ours, or can't be seen."""
    link = _link(pid, "net")
    if link is None or link == _link("self", "net"):
        return None
    return int(re.sub("[^0-9]", "", link))


def shares_root(pid: int) -> bool:
    """Whether a process has our root directory, also where it has private mounts (PrivateTmp= of systemd)."""
    with contextlib.suppress(OSError):
        theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/")
        return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return True


def is_container(pid: int) -> bool:
    """Whether a process has a root directory or a process namespace of its own, so that its programs run there."""
    return not (shares(pid, "pid") and shares_root(pid))


def mapped(ids: str, outside: int) -> int:
    """The number inside of a user namespace of a user or group outside, by its map (user_namespaces(7))."""
    for line in ids.splitlines():
        first_inside, first_outside, count = map(int, line.split())
        if first_outside <= outside < first_outside + count:
            return first_inside + outside - first_outside
    return outside
